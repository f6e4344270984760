"""A small LSTM over what clients did: TensorFlow trains it, and scoring does without.

It reads each event's state and how long the client had waited for it, and holds what it knows of
the client in UNITS numbers (Hochreiter and Schmidhuber 1997). From these it tells the next state;
with the silence since, whether the client buys, and churns, within the horizon. `lstm_training`
makes its weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from jobs.client_behavior.sequences import DAY_US, Codes, Flags, Places, Sequences, Times
from jobs.products import product

UNITS = 32
# What a state that the model has never met gets: small, and no infinite loss where it comes.
FLOOR = 1e-6
BLOCK_INPUTS = 1 << 18

HOUR_US = DAY_US // 24
# Where one bucket of waiting ends and the next begins; the first of all is for no event before.
WAITS = np.array([HOUR_US // 60, HOUR_US // 2, 6 * HOUR_US, *(DAY_US * np.array([1, 3, 7, 30]))])
SILENCES = np.array([HOUR_US, 6 * HOUR_US, *(DAY_US * np.array([1, 2, 4, 7, 14, 21, 30, 45, 60]))])
NEVER = -1

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Lstm:
    """A trained model.

    Attributes:
        states: names of the states it knows, in the order of its codes.
        weights: its arrays, by name.
    """

    states: tuple[str, ...]
    weights: dict[str, Matrix]

    def save(self, path: Path) -> None:
        """Write the model to ``path`` (.npz), the same bytes each time."""
        arrays = dict(sorted(self.weights.items()))
        np.savez(path, states=np.array(self.states), **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class After:
    """What comes after the last event of each client.

    Attributes:
        next: chance of each state to be the next one, shape (clients, states).
        purchase: chance of a purchase within the horizon.
        churn: chance of a churn within it.
    """

    next: Matrix
    purchase: Matrix
    churn: Matrix


@dataclass(frozen=True)
class Inputs:
    """What the model reads: before each client's events one input that says they begin.

    Client i's inputs are ``starts[i]:starts[i + 1]``; ``target`` is the state that follows each, -1
    after the last.
    """

    starts: Places
    code: Codes
    bucket: Codes
    target: Codes


def load(path: Path) -> Lstm:
    """Return the model that `Lstm.save` wrote."""
    with np.load(path) as arrays:
        weights = dict(arrays)
    return Lstm(tuple(str(name) for name in weights.pop("states")), weights)


def next_events(model: Lstm, sequences: Sequences, wanted: Flags | None = None) -> Matrix:
    """Return the chance of each state to be each event, from all that its client did before.

    Rows sum to 1 and are, to the bit, the same whichever other clients are there.

    Args:
        model: whose states are all in the sequences, or the other way round. States that it does
            not know have chance FLOOR.
        sequences: columns are in the order of their states.
        wanted: for which events; without it for all.

    Raises:
        ValueError: if both know states that the other does not.
    """
    inputs = inputs_of(sequences, _codes(model, sequences.states))
    places = np.flatnonzero(np.ones(len(sequences.at), bool) if wanted is None else wanted)
    # The input before an event stands as far right of it as clients began before its own.
    client = np.searchsorted(sequences.starts, places, side="right") - 1
    found = np.empty((len(places), len(sequences.states)), np.float32)
    for part, hidden in hidden_after(model, inputs, client, places - sequences.starts[client]):
        found[part] = next_chances(model, hidden, sequences.states)
    return found


def after(model: Lstm, sequences: Sequences, now_us: int) -> After:
    """Return what comes after each client's last event, one row per client.

    Args:
        model: as for `next_events`.
        sequences: what clients did until ``now_us``.
        now_us: the moment the horizon begins, microseconds since 1970 UTC.

    Raises:
        ValueError: if both know states that the other does not, or an event is after ``now_us``.
    """
    late = int((sequences.at > now_us).sum())
    if late:
        raise ValueError(f"{late} of {len(sequences.at)} events are after {now_us}")
    inputs = inputs_of(sequences, _codes(model, sequences.states))
    counts = np.diff(sequences.starts)
    silence = bucket_of(now_us - sequences.at[sequences.starts[1:] - 1], SILENCES)
    following = np.empty((len(counts), len(sequences.states)), np.float32)
    within = np.empty((len(counts), 2), np.float32)
    for part, hidden in hidden_after(model, inputs, np.arange(len(counts)), counts):
        following[part] = next_chances(model, hidden, sequences.states)
        within[part] = _sigmoid(odds_within(model.weights, hidden, silence[part]))
    return After(following, within[:, 0], within[:, 1])


def _codes(model: Lstm, states: tuple[str, ...]) -> Codes:
    """Return the model's code of each of ``states`` and of the start.

    Raises:
        ValueError: if both know states that the other does not.
    """
    if set(states) - set(model.states) and set(model.states) - set(states):
        raise ValueError(
            f"the model knows {', '.join(model.states)}; the sequences have {', '.join(states)}"
        )
    places = {name: code for code, name in enumerate(model.states)}
    start = len(places)
    return np.array([*(places.get(name, start + 1) for name in states), start], np.int8)


def inputs_of(sequences: Sequences, codes: Codes) -> Inputs:
    """Return what the model reads, states as ``codes`` has them."""
    before = sequences.starts[:-1]
    starts = sequences.starts + np.arange(len(sequences.starts))
    return Inputs(
        starts,
        codes[np.insert(sequences.state, before, sequences.start)],
        np.insert(bucket_of(sequences.waited(), WAITS), before, 0).astype(np.int8),
        np.insert(sequences.state, sequences.starts[1:], NEVER),
    )


def bucket_of(lasted: Times, edges: Times) -> NDArray[np.intp]:
    """Return each time's bucket, 0 for NEVER."""
    return np.where(lasted == NEVER, 0, 1 + np.searchsorted(edges, lasted, side="right"))


def hidden_after(
    model: Lstm, inputs: Inputs, client: Places, place: Places
) -> Iterator[tuple[slice, Matrix]]:
    """Yield what the model holds of clients after their inputs number ``place``.

    By blocks of clients: which of the asked one is about, and their rows. ``client`` ascends.
    """
    lengths = np.zeros(len(inputs.starts) - 1, np.int64)
    np.maximum.at(lengths, client, place + 1)
    ends = np.cumsum(lengths)
    table, recurrent = _tables(model.weights)
    first, done = 0, 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(ends, done + BLOCK_INPUTS, side="right")))
        part = slice(*np.searchsorted(client, [first, last]))
        begin = np.concatenate([[0], ends[first:last] - done])
        hidden = np.empty((begin[-1], len(recurrent)), np.float32)
        _walk(
            inputs.code, inputs.bucket, inputs.starts[first:last], begin, table, recurrent, hidden
        )
        yield part, hidden[begin[client[part] - first] + place[part]]
        first, done = last, int(ends[last - 1])


def _tables(weights: dict[str, Matrix]) -> tuple[Matrix, Matrix]:
    """Return what each state and wait brings to the gates, and what is known of the client.

    The three sigmoids' columns are halved: a sigmoid is a tanh of half of it.
    """
    units = len(weights["recurrent"])
    half = np.full(4 * units, 0.5, np.float32)
    half[2 * units : 3 * units] = 1
    split = weights["state"].shape[1]
    state = product(weights["state"], weights["input"][:split])
    wait = product(weights["wait"], weights["input"][split:])
    table = (state[:, None] + wait[None] + weights["bias"]) * half
    return np.ascontiguousarray(table), np.ascontiguousarray(weights["recurrent"] * half)


@njit(cache=True, fastmath={"contract"})
def _tanh(x: Any) -> Any:
    """Return tanh to 5e-7: of arithmetic alone, so that the compiler takes eight at once.

    A quotient of polynomials, as Eigen has it.
    """
    f = np.float32
    x = min(max(x, f(-7.9)), f(7.9))
    y = x * x
    top = y * f(-2.76076847742355e-16) + f(2.00018790482477e-13)
    top = y * top + f(-8.60467152213735e-11)
    top = y * top + f(5.12229709037114e-08)
    top = y * top + f(1.48572235717979e-05)
    top = y * top + f(6.37261928875436e-04)
    top = y * top + f(4.89352455891786e-03)
    bottom = y * f(1.19825839466702e-06) + f(1.18534705686654e-04)
    bottom = y * bottom + f(2.26843463243900e-03)
    bottom = y * bottom + f(4.89352518554385e-03)
    return x * top / bottom


@njit(cache=True, parallel=True, fastmath={"contract"})
def _walk(
    code: Any, bucket: Any, starts: Any, begin: Any, table: Any, recurrent: Any, hidden: Any
) -> None:
    """Fill rows ``begin[i]:begin[i + 1]`` of ``hidden`` with what is known after client i's inputs.

    No client's numbers depend on another's: each is summed in one order.
    """
    units, half = recurrent.shape[0], np.float32(0.5)
    for client in prange(len(starts)):
        known = np.zeros(units, np.float32)
        cell = np.zeros(units, np.float32)
        gates = np.empty(4 * units, np.float32)
        for step in range(begin[client + 1] - begin[client]):
            at = starts[client] + step
            gates[:] = table[code[at], bucket[at]]
            for unit in range(units):
                share, row = known[unit], recurrent[unit]
                for each in range(4 * units):
                    gates[each] += share * row[each]
            for each in range(4 * units):
                gates[each] = _tanh(gates[each])
            for unit in range(units):
                enter = half * gates[unit] + half
                keep = half * gates[units + unit] + half
                leave = half * gates[3 * units + unit] + half
                cell[unit] = keep * cell[unit] + enter * gates[2 * units + unit]
                known[unit] = leave * _tanh(cell[unit])
            hidden[begin[client] + step] = known


def next_chances(model: Lstm, hidden: Matrix, states: tuple[str, ...]) -> Matrix:
    """Return the chances of ``states`` to come next, rows that sum to 1."""
    logits = product(hidden, model.weights["next"]) + model.weights["next_bias"]
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    chance = chance / chance.sum(axis=1, keepdims=True)
    if states != model.states:
        codes = _codes(model, states)[:-1]
        known = codes < len(model.states)
        chance = np.where(known, chance[:, np.where(known, codes, 0)], np.float32(FLOOR))
        chance = chance / chance.sum(axis=1, keepdims=True)
    return np.asarray(chance, np.float32)


def odds_within(weights: dict[str, Matrix], hidden: Matrix, bucket: NDArray[np.intp]) -> Matrix:
    """Return the log-odds of a purchase and of a churn within the horizon."""
    told = np.hstack([hidden, weights["silence"][bucket]])
    inner = np.tanh(product(told, weights["head"]) + weights["head_bias"])
    return product(inner, weights["within"]) + weights["within_bias"]


def _sigmoid(odds: Matrix) -> Matrix:
    return np.asarray((np.tanh(odds / 2) + 1) / 2, np.float32)
