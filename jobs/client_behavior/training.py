"""Fitting: every candidate on most clients, chosen by how it foretells the others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.client_behavior import (
    blend,
    features,
    lstm_training,
    markov,
    model,
    moves,
    tabular,
    waiting,
)
from jobs.client_behavior.labels import HEADS, HORIZON, Marks, marks
from jobs.client_behavior.lstm import Lstm
from jobs.client_behavior.model import (
    NEXT,
    OF_HEADS,
    RECENCY,
    Fitted,
    Standing,
    tabular_key,
)
from jobs.client_behavior.reading import microseconds
from jobs.client_behavior.sequences import DAY_US, Flags, Places, Sequences, Times, settled
from jobs.client_scores.slices import percent

# Moments that who buys and who leaves is learned at, days before the newest whose outcome is known.
MOMENT_STEPS = (0, 15, 30)
LEAST_CLIENTS = 50
HELD_PERCENT, CHAIN_PERCENT = 25, 20
# A regression and trees see so many events and clients: of more, an even share of the newest ones.
EVENTS = 60_000
CLIENTS = 100_000
EPOCHS = 6
BASELINES = {"markov_0": "base_rate", "markov_1": "recency"}

BLEND = "blend"

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """What a training knows.

    Attributes:
        found: what clients did before ``end``, churn among it.
        end: day before which all of it happened; outcomes are known up to there.
        silence_days: days without an event that are churn.
    """

    found: Sequences
    end: date
    silence_days: int

    def moments(self) -> list[int]:
        """Return the moments to learn at, newest first, microseconds since 1970 UTC."""
        newest = self.end - HORIZON
        return [microseconds(newest - timedelta(days=step)) for step in MOMENT_STEPS]

    def settled(self) -> Sequences:
        """Return the events that tell what comes next without favour, see `sequences.settled`."""
        return settled(self.found, self.silence_days * DAY_US, microseconds(self.end))


@dataclass(frozen=True)
class Trained:
    """What a training made.

    Attributes:
        fitted: 'model' and the baselines by name, each with every candidate in it (`served`).
        selection: each task's candidates and their loss on held-out clients: task, candidate,
            held_log_loss, held_rows.
        blends: each task's best blend, whether it serves or not.
        maps: what calibrates each candidate of who buys and who leaves, by head and candidate.
    """

    fitted: dict[str, Fitted]
    selection: pd.DataFrame
    blends: dict[str, dict[str, float]]
    maps: dict[tuple[str, str], Calibration]


def fit_all(past: Past, begin: Lstm | None = None, epochs: int = EPOCHS) -> Trained:
    """Return 'model', what foretold held-out clients best, and the baselines.

    Args:
        past: what is known.
        begin: weights that the network goes on from; None begins anew.
        epochs: budget of the network.

    Raises:
        NothingToLearnFrom: if there are no events, or everybody or nobody bought or left, of those
            who are learned from or of those held out.
    """
    found = past.found
    if len(found.clients) < LEAST_CLIENTS:
        raise NothingToLearnFrom(
            f"steps of {len(found.clients)} clients before {past.end}, at least {LEAST_CLIENTS} "
            "are needed; are the days loaded?"
        )
    held = percent(found.clients) < HELD_PERCENT
    known = marks(found, past.moments())
    _require_both(known, past, held)
    learned = found.where(~held[found.client()])
    # Orders and strengths are chosen by clients of its own: nobody held out is counted.
    chosen_by = percent(learned.clients) < HELD_PERCENT + CHAIN_PERCENT
    chain = markov.fit(learned, chosen_by)
    counted = past.settled()
    matrix = moves.square(moves.transitions(counted, ~held), found.states)
    first = moves.absorbing(matrix, found.states)
    unfitted = Fitted(
        name="",
        states=found.states,
        silence_days=past.silence_days,
        chain=chain,
        waits=waiting.learn(counted),
        lstm=lstm_training.fit(found, known, held, epochs, begin),
        tabular=_tabular(found, known, held, past),
        serves={},
        maps=dict.fromkeys(HEADS, Calibration()),
        rates={
            head: float(np.nanmean(getattr(known, head)[~held[known.client]])) for head in HEADS
        },
        before=tuple(first["purchase_before_churn"].fillna(0).clip(0, 1)),
    )
    compared = _compared(unfitted, past, known, held)
    best = {task: _best(compared, task) for task in compared.blends}
    settled = {"model": _settled(unfitted, compared, best)}
    for chain_name, head_name in BASELINES.items():
        plain = {"next": chain_name, **dict.fromkeys(HEADS, head_name)}
        settled[chain_name] = replace(_settled(unfitted, compared, plain), name=chain_name)
    return replace(compared, fitted=settled)


def served(fitted: Fitted) -> Fitted:
    """Return the model without the regressions and trees that do not serve; the network stays.

    A later training may go on from its weights.
    """
    keys = {tabular_key(task, name) for task, share in fitted.serves.items() for name in share}
    return replace(fitted, tabular={key: one for key, one in fitted.tabular.items() if key in keys})


def _require_both(known: Marks, past: Past, held: Flags) -> None:
    held_out = held[known.client]
    parts = {
        "to learn from": ~held_out,
        "held out, which choose": held_out & (known.moment == past.moments()[0]),
    }
    for head in HEADS:
        for words, those in parts.items():
            label = getattr(known, head)[those]
            label = label[~np.isnan(label)]
            if not 0 < label.sum() < len(label):
                raise NothingToLearnFrom(
                    f"{head} has a single value in the {len(label)} clients and moments {words}, "
                    f"of the {HORIZON.days} days before {past.end}; cannot train. The newest "
                    "published day goes on serving"
                )


def _tabular(found: Sequences, known: Marks, held: Flags, past: Past) -> dict[str, Any]:
    """Return the regressions and trees of every task, fitted on clients that are not held out."""
    kept: dict[str, Any] = {}
    wanted = _newest(~held[found.client()], found.at, past.moments()[0], EVENTS)
    read = features.of_events(found, wanted)
    for name in tabular.MODELS:
        kept[tabular_key("next", name)] = tabular.fit(name, read, found.state[wanted])
    parts = [known.of(moment) for moment in past.moments()]
    rows = pd.concat(
        [features.of_clients(found.between(0, moment), moment) for moment in past.moments()],
        ignore_index=True,
    )
    who = np.concatenate([part.client for part in parts])
    for head in HEADS:
        label = np.concatenate([getattr(part, head) for part in parts])
        chosen = _spread(np.flatnonzero(~held[who] & ~np.isnan(label)), CLIENTS)
        labels = label[chosen].astype(int)
        for name in tabular.MODELS:
            kept[tabular_key(head, name)] = tabular.fit(name, rows.iloc[chosen], labels)
        recent = rows.iloc[chosen][list(RECENCY)]
        kept[tabular_key(head, "recency")] = tabular.fit("logistic", recent, labels)
    return kept


def _newest(kept: Flags, at: Times, since: int, most: int) -> Flags:
    """Return which of the ``kept`` are the ``most`` newest, ties by place.

    Where more than these are from ``since`` on, it is an even share of all of them: the newest of a
    large shop are of its last hours, and no day is like all days.
    """
    recent = np.flatnonzero(kept & (at >= since))
    if len(recent) > most:
        chosen = _spread(recent, most)
    else:
        places = np.flatnonzero(kept)
        chosen = places[np.argsort(-at[places], kind="stable")[:most]]
    found = np.zeros(len(kept), bool)
    found[chosen] = True
    return found


def _spread(places: Places, most: int) -> Places:
    """Return at most so many of the places, evenly from the first to the last."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).astype(np.int64)]


def _compared(fitted: Fitted, past: Past, known: Marks, held: Flags) -> Trained:
    """Return how every candidate, and the best blend of them, foretold the held-out clients."""
    found, newest = past.found, past.moments()[0]
    wanted = held[found.client()] & (found.at >= newest)
    if not wanted.any():
        raise NothingToLearnFrom(
            f"no event of the held-out clients in the {HORIZON.days} days before {past.end}"
        )
    chances = model.next_chances(fitted, found, wanted, NEXT)
    happened = found.state[wanted]
    of_truth = {"next": {name: of_what_came(each, happened) for name, each in chances}}
    blends = {"next": blend.weights(of_truth["next"])}
    of_truth["next"][BLEND] = blend.mixed(of_truth["next"], blends["next"])
    standing, part = Standing(fitted, found.between(0, newest), newest), known.of(newest)
    maps = {}
    for head in HEADS:
        label = getattr(part, head)
        seen = held[part.client] & ~np.isnan(label)
        told = model.head_chances(standing, head, OF_HEADS)
        told = {name: each[seen] for name, each in told.items()}
        blends[head] = blend.weights(
            {name: of_what_came(each, label[seen]) for name, each in told.items()}
        )
        told[BLEND] = blend.mixed(told, blends[head])
        of_truth[head] = {}
        for name, each in told.items():
            z = logistic_map.log_odds(each)
            maps[head, name] = logistic_map.fit(z, label[seen])
            chance = logistic_map.probability(logistic_map.apply(maps[head, name], z))
            of_truth[head][name] = of_what_came(chance, label[seen])
    rows = [
        (task, name, -float(np.log(each).mean()), len(each))
        for task, by_name in of_truth.items()
        for name, each in by_name.items()
    ]
    columns = ["task", "candidate", "held_log_loss", "held_rows"]
    return Trained({}, pd.DataFrame(rows, columns=columns), blends, maps)


def _best(compared: Trained, task: str) -> str:
    """Return the candidate, or the blend, with the least loss; ties by name."""
    rows = compared.selection[compared.selection["task"] == task]
    return str(rows.sort_values(["held_log_loss", "candidate"])["candidate"].iloc[0])


def of_what_came(chances: Numbers, happened: NDArray[Any]) -> Numbers:
    """Return the chance that was given to what happened.

    Args:
        chances: events x states; or the chance of one thing, an entry each.
        happened: code of the state that came; or 0 and 1.
    """
    if chances.ndim == 1:
        return np.where(happened == 1, chances, 1 - chances)
    found: Numbers = chances[np.arange(len(chances)), happened]
    return found


def _settled(fitted: Fitted, compared: Trained, chosen: Mapping[str, str]) -> Fitted:
    """Return the model that serves these candidates, by task, with the maps that calibrate them."""
    shares = {
        task: compared.blends[task] if name == BLEND else {name: 1.0}
        for task, name in chosen.items()
    }
    name = "; ".join(f"{task}: {_in_words(shares[task])}" for task in shares)
    maps = {head: compared.maps[head, chosen[head]] for head in HEADS}
    return replace(fitted, name=name, serves=shares, maps=maps)


def _in_words(share: Mapping[str, float]) -> str:
    if len(share) == 1:
        return next(iter(share))
    return " + ".join(f"{weight:.2f} {name}" for name, weight in sorted(share.items()))
