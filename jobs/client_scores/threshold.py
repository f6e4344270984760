"""From chances to a yes or no: a threshold for a stated aim, and what it promises."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from jobs import evaluation, settings
from jobs.settings import BadSetting

# A precision seen on fewer clients is luck.
LEAST_CLIENTS = 20
MOST_CLIENTS = 2**31
NOBODY = 1.0  # a threshold that no chance reaches
KINDS = {
    "precision": "'precision P': at least this share of those named are right, as many as can be",
    "clients": "'clients K': the K clients with the highest chances",
    "value": "'value GAIN COST': the most value, GAIN for each one right and COST for each named",
}

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Aim:
    """What a threshold is for: a kind of KINDS with its numbers."""

    kind: str
    numbers: tuple[float, ...]

    def __str__(self) -> str:
        """Return the aim as it is written in the setting."""
        written = (f"{n:.0f}" if n.is_integer() else repr(n) for n in self.numbers)
        return " ".join([self.kind, *written])


@dataclass(frozen=True)
class Threshold:
    """Who is said yes to, and what that promised on rows that the model was not fitted on.

    Attributes:
        aim: as written.
        threshold: chance from which a client is said yes to; NOBODY where the aim can't be met.
        budget: for an aim of clients, how many are named on a day.
        precision, recall, f1: promised, each with ``_low`` and ``_high``; NaN where unknown.
    """

    aim: str
    threshold: float
    budget: int | None
    precision: float
    precision_low: float
    precision_high: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float

    def kept(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in asdict(self).items()
        }


def of_kept(kept: Mapping[str, Any]) -> Threshold:
    """Return what ``Threshold.kept`` wrote."""
    known: dict[str, Any] = {n: np.nan if value is None else value for n, value in kept.items()}
    return Threshold(**{**known, "budget": kept["budget"]})


def aim_of(job: str, default: str) -> Aim:
    """Return the job's aim: the setting NIGHTSHIFT_<JOB>_AIM, one of KINDS.

    Raises:
        BadSetting: naming what was found and what is known.
    """
    name = f"NIGHTSHIFT_{job.upper()}_AIM"
    written = settings.setting(name, default)
    kind, *words = written.split() or [""]
    try:
        numbers = tuple(map(float, words))
        right = {
            "precision": len(numbers) == 1 and 0 < numbers[0] < 1,
            "clients": len(numbers) == 1
            and 1 <= numbers[0] < MOST_CLIENTS
            and numbers[0].is_integer(),
            "value": len(numbers) == 2 and 0 < numbers[1] < numbers[0] < np.inf,
        }.get(kind, False)
    except ValueError:
        right = False
    if not right:
        raise BadSetting(f"{name} is {written!r}; expected {', '.join(KINDS.values())}")
    return Aim(kind, numbers)


def choose(
    aim: Aim,
    chances: ArrayLike,
    labels: ArrayLike,
    clients: ArrayLike,
    known: int | None = None,
    resamples: int = evaluation.RESAMPLES,
) -> Threshold:
    """Return the threshold for ``aim``, and what it promises, from rows not fitted on.

    Args:
        aim: what for.
        chances: calibrated, one per row.
        labels: 0 or 1.
        clients: who each row belongs to.
        known: clients that a budget is taken from: those of a day; default as many as here.
        resamples: of the promise's intervals.
    """
    p, y = np.asarray(chances, dtype=float), np.asarray(labels, dtype=float)
    order = np.argsort(-p, kind="stable")
    ranked, found = p[order], np.cumsum(y[order])
    named = np.arange(1, len(p) + 1)
    # Equal chances are named together.
    whole = np.append(ranked[1:] != ranked[:-1], True)
    budget = None
    if aim.kind == "precision":
        # A client may stand here at several cutoffs, and is one client.
        different = np.cumsum(~pd.Series(np.asarray(clients)[order]).duplicated().to_numpy())
        fits = whole & (found / named >= aim.numbers[0]) & (different >= LEAST_CLIENTS)
        last = int(np.flatnonzero(fits)[-1]) if fits.any() else -1
    elif aim.kind == "value":
        worth = np.where(whole, aim.numbers[0] * found - aim.numbers[1] * named, -np.inf)
        last = int(worth.argmax()) if len(p) and worth.max() > 0 else -1
    else:
        budget = int(aim.numbers[0])
        share = budget / (known or len(p))
        last = min(max(round(share * len(p)), 1), len(p)) - 1
    threshold = NOBODY if last < 0 else _between(ranked, last)
    yes = p >= threshold
    if budget is not None:
        # Of equal chances a budget takes as many as there is room for.
        yes = np.zeros(len(p), dtype=bool)
        yes[order[: last + 1]] = True
    promised = evaluation.yes_or_no(y, yes, clients, resamples)
    ends = {
        name + end: getattr(promised[name], which)
        for name in ("precision", "recall")
        for end, which in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    return Threshold(str(aim), threshold, budget, f1=promised["f1"].value, **ends)


def says_yes(threshold: Threshold, chances: ArrayLike) -> NDArray[np.bool_]:
    """Return who is said yes to, of all clients of one day."""
    p = np.asarray(chances, dtype=float)
    if threshold.budget is None:
        return p >= threshold.threshold
    yes = np.zeros(len(p), dtype=bool)
    yes[np.argsort(-p, kind="stable")[: threshold.budget]] = True
    return yes


def _between(ranked: Numbers, last: int) -> float:
    """Return a threshold between the last chance named and the next, safe from rounding.

    Where everybody is named it is 0: they stay so when the level of the chances moves.
    """
    below = ranked[ranked < ranked[last]]
    return float((ranked[last] + below[0]) / 2) if len(below) else 0.0
