"""How good probabilities are: the figures of every job, and their bootstrap intervals.

All figures take 0/1 labels and probabilities, do not depend on the order of the rows, and share
ties evenly. Definitions:

- ``roc_auc``: chance that a positive ranks above a negative, a tie counting one half.
- ``pr_auc``: average precision, sum over thresholds of (recall gained) * precision.
- ``brier``: mean squared difference between probability and label.
- ``ece``: expected calibration error over ten bins of equal mass: the rows are cut by rank into
  tenths (a tie is never cut, so heavy ties make fewer bins); the mean over rows of their bin's
  absolute gap between share of positives and mean probability.
- ``lift``: share of positives in the tenth with the highest probabilities over the share in all.

Of a yes or no (``yes_or_no``): ``precision``, of the rows said yes to the share of positives;
``recall``, of the positives the share said yes to; ``f1``, their harmonic mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

METRICS = ("roc_auc", "pr_auc", "brier", "ece", "lift")
YES_NO_METRICS = ("precision", "recall", "f1")
HIGHER_IS_BETTER = {"roc_auc": True, "pr_auc": True, "brier": False, "ece": False, "lift": True}
BINS = 10
RESAMPLES = 1000
CONFIDENCE = 0.95

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Ranked:
    """Rows from the highest probability down, and where each group of equal ones ends."""

    order: NDArray[np.intp]
    labels: Numbers
    excess: Numbers  # label - probability
    ends: NDArray[np.bool_]


def metrics(labels: ArrayLike, probabilities: ArrayLike) -> dict[str, float]:
    """Return every figure of METRICS by name.

    Raises:
        ValueError: if the labels hold a single value or a probability is not within 0 and 1.
    """
    ranked = _rank(labels, probabilities)
    return dict(zip(METRICS, _figures(ranked, np.ones(len(ranked.order))), strict=True))


def resample(
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    clients: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 7,
) -> dict[str, pd.DataFrame]:
    """Return, for each name, the figures in ``resamples`` bootstrap samples, METRICS as columns.

    Clients are drawn with replacement, each with all their rows, and every name sees the same
    draws: row i of one frame is paired with row i of another. A sample with a single label gives
    NaN.

    Args:
        labels: 0 or 1, one per row.
        probabilities: one array per name, aligned with ``labels``.
        clients: who each row belongs to; without it every row is its own client.
        resamples: how many samples.
        seed: of the draws.
    """
    ranked = {name: _rank(labels, values) for name, values in probabilities.items()}
    rows = len(np.asarray(labels))
    code = None if clients is None else np.unique(np.asarray(clients), return_inverse=True)[1]
    units = rows if code is None else int(code.max()) + 1
    random = np.random.default_rng(seed)
    figures = {name: np.empty((resamples, len(METRICS))) for name in ranked}
    for draw in range(resamples):
        drawn = random.integers(0, units, units, dtype=np.int32)
        weights = np.bincount(drawn, minlength=units).astype(float)
        if code is not None:
            weights = weights[code]
        for name, rank in ranked.items():
            figures[name][draw] = _figures(rank, weights)
    return {name: pd.DataFrame(values, columns=list(METRICS)) for name, values in figures.items()}


def intervals(
    labels: ArrayLike,
    probabilities: Mapping[str, ArrayLike],
    clients: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 7,
) -> dict[str, dict[str, Interval]]:
    """Return each name's figures with their percentile intervals, by name and figure."""
    samples = resample(labels, probabilities, clients, resamples, seed)
    return {
        name: {
            metric: _interval(value, samples[name][metric])
            for metric, value in metrics(labels, values).items()
        }
        for name, values in probabilities.items()
    }


def difference(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    clients: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 7,
) -> dict[str, Interval]:
    """Return ``first`` minus ``second`` with the paired interval, by figure."""
    both = {"first": first, "second": second}
    samples = resample(labels, both, clients, resamples, seed)
    one, two = metrics(labels, first), metrics(labels, second)
    return {
        metric: _interval(
            one[metric] - two[metric], samples["first"][metric] - samples["second"][metric]
        )
        for metric in METRICS
    }


def yes_or_no(
    labels: ArrayLike,
    yes: ArrayLike,
    clients: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 7,
) -> dict[str, Interval]:
    """Return YES_NO_METRICS of answers with their percentile intervals, by name.

    Precision is NaN where nobody is said yes to; recall and f1 are 0 then.

    Args:
        labels: 0 or 1, one per row.
        yes: whether each row is said yes to.
        clients: who each row belongs to; they are drawn with all their rows. Without it every row
            is its own client.
        resamples: how many samples.
        seed: of the draws.
    """
    y, said = np.asarray(labels, dtype=float), np.asarray(yes, dtype=float)
    rows = np.column_stack([y * said, said, y])
    if clients is not None:
        code = np.unique(np.asarray(clients), return_inverse=True)[1]
        rows = np.column_stack([np.bincount(code, column) for column in rows.T])
    # Rows that are neither yes nor positive change nothing, and are most.
    telling = rows[rows.any(axis=1)]
    random = np.random.default_rng(seed)
    samples = np.empty((resamples, len(YES_NO_METRICS)))
    for draw in range(resamples):
        # How often each of the telling units comes up when all are drawn with replacement.
        drawn = random.binomial(len(rows), len(telling) / len(rows)) if len(rows) else 0
        picked = random.integers(0, max(len(telling), 1), drawn)
        weights = np.bincount(picked, minlength=len(telling)).astype(float)
        samples[draw] = _yes_or_no(*(weights @ telling))
    value = _yes_or_no(*rows.sum(axis=0))
    return {
        name: _interval(value[place], pd.Series(samples[:, place]))
        for place, name in enumerate(YES_NO_METRICS)
    }


def _yes_or_no(right: float, said: float, positives: float) -> list[float]:
    """Return YES_NO_METRICS from the counts of right yeses, of yeses and of positives."""
    return [
        right / said if said else np.nan,
        right / positives if positives else np.nan,
        2 * right / (said + positives) if said + positives else np.nan,
    ]


def decile(probabilities: ArrayLike, clients: ArrayLike) -> NDArray[np.int16]:
    """Return each row's decile: 1 for the tenth with the highest chance; ties by client."""
    chance = np.asarray(probabilities)
    order = np.lexsort((np.asarray(clients), -chance))
    ranks = np.empty(len(chance), dtype=np.int64)
    ranks[order] = np.arange(len(chance))
    return (ranks * 10 // max(len(chance), 1) + 1).astype(np.int16)


def decile_table(labels: ArrayLike, probabilities: ArrayLike, clients: ArrayLike) -> pd.DataFrame:
    """Return one row per decile, from the highest chances down.

    Columns: decile, clients, predicted (sum of chances), observed (positives), predicted_rate,
    observed_rate, lift (against the rate of all), gain (share of all positives down to here).
    """
    rows = pd.DataFrame(
        {
            "decile": decile(probabilities, clients),
            "predicted": np.asarray(probabilities, dtype=float),
            "observed": np.asarray(labels, dtype=float),
        }
    )
    table = rows.groupby("decile", as_index=False).agg(
        clients=("observed", "size"), predicted=("predicted", "sum"), observed=("observed", "sum")
    )
    table["predicted_rate"] = table["predicted"] / table["clients"]
    table["observed_rate"] = table["observed"] / table["clients"]
    table["lift"] = table["observed_rate"] / rows["observed"].mean()
    table["gain"] = table["observed"].cumsum() / table["observed"].sum()
    return table


def _interval(value: float, samples: pd.Series) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    if samples.isna().all():
        return Interval(float(value), np.nan, np.nan)
    low, high = np.nanquantile(samples.to_numpy(), [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))


def _rank(labels: ArrayLike, probabilities: ArrayLike) -> _Ranked:
    y, p = np.asarray(labels, dtype=float), np.asarray(probabilities, dtype=float)
    if len(y) != len(p):
        raise ValueError(f"{len(y)} labels but {len(p)} probabilities")
    if not ((y == 0) | (y == 1)).all() or not 0 < y.sum() < len(y):
        raise ValueError(f"labels must be 0 and 1, both present; found {np.unique(y)[:5]}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"probabilities must lie within 0 and 1; found {p.min()} to {p.max()}")
    order = np.argsort(-p, kind="stable")
    y, p = y[order], p[order]
    return _Ranked(order, y, y - p, np.append(p[1:] != p[:-1], True))


def _figures(ranked: _Ranked, weights: Numbers) -> list[float]:
    """Return METRICS of rows that count ``weights`` times."""
    # numba takes a second to import, which an alert or a sensor has no use for
    from jobs.weighted_figures import figures

    return list(figures(ranked.order, ranked.labels, ranked.excess, ranked.ends, weights, BINS))
