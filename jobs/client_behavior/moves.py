"""The matrix of clients' moves: how often each state follows each other one, and what follows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from jobs.client_behavior.sequences import CHURN, PURCHASE, Flags, Places, Sequences, blocks

CONFIDENCE = 0.95
# Squarings of the matrix: steps beyond any number that a chain takes to settle.
SQUARINGS = 50

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


def transitions(sequences: Sequences, kept: Flags | None = None) -> pd.DataFrame:
    """Return how often each state follows each other one, with 95 % intervals.

    One row for each pair of states that occur, in their order: from_state, to_state, count,
    from_count (all transitions from it), clients (who made this one), probability, low, high. The
    probabilities from a state sum to one and none is 0: all pairs together get one transition more
    than were seen, shared evenly; so they are all the same where from_count is 0.

    Clients differ, and what one does again says less than what another does: the interval is of so
    many independent transitions as have the standard error of the ratio of sums over clients (Korn
    and Graubard 1998), by Jeffreys' prior.

    Args:
        sequences: what clients did.
        kept: for each client, whether they count; all do without.
    """
    if kept is not None:
        sequences = sequences.where(np.repeat(kept, np.diff(sequences.starts)))
    seen = np.unique(sequences.state)
    sums = _sums(sequences)
    count, from_count = sums.count[np.ix_(seen, seen)], sums.from_count[seen, None]
    share = count / np.maximum(from_count, 1)
    effective = _effective(sums)[np.ix_(seen, seen)]
    probability = (count + 1 / max(len(seen), 1)) / (from_count + 1)
    hits, misses = effective * share + 0.5, effective * (1 - share) + 0.5
    tail = (1 - CONFIDENCE) / 2
    names = np.array(sequences.states)[seen]
    return pd.DataFrame(
        {
            "from_state": np.repeat(names, len(seen)),
            "to_state": np.tile(names, len(seen)),
            "count": count.ravel(),
            "from_count": np.repeat(from_count.ravel(), len(seen)),
            "clients": sums.clients[np.ix_(seen, seen)].ravel(),
            "probability": probability.ravel(),
            "low": np.minimum(stats.beta.ppf(tail, hits, misses), probability).ravel(),
            "high": np.maximum(stats.beta.ppf(1 - tail, hits, misses), probability).ravel(),
        }
    )


def square(table: pd.DataFrame, states: Sequence[str]) -> Numbers:
    """Return the probabilities of `transitions`, shape (S, S), rows the states from.

    A row is 0 where nothing is known to follow: from_count is 0, or the state did not occur.
    """
    found = np.zeros((len(states), len(states)))
    known = table[table["from_count"] > 0]
    place = {state: code for code, state in enumerate(states)}
    rows, columns = (known[side].map(place).to_numpy(int) for side in ("from_state", "to_state"))
    found[rows, columns] = known["probability"]
    return found


def absorbing(
    matrix: Numbers, states: Sequence[str], absorbing: tuple[str, str] = (PURCHASE, CHURN)
) -> pd.DataFrame:
    """Return how a client in each state goes on to a purchase or to churn, one row a state.

    Columns: from_state; purchase_before_churn, its chance, given that one of both comes;
    steps_to_purchase, events until the purchase, given that it comes first; steps_to_end, events
    until either. NaN where what is given can't be. By the fundamental matrix (Kemeny and Snell
    1960).

    Args:
        matrix: chances, shape (S, S); a row of zeros is a state that nothing follows.
        states: names.
        absorbing: the state hoped for, and the other one.

    Raises:
        ValueError: if one of ``absorbing`` is not among the states.
    """
    if missing := set(absorbing) - set(states):
        raise ValueError(f"{sorted(missing)} not among the states {list(states)}")
    ends = np.array([states.index(state) for state in absorbing])
    inner = _leading_to(matrix, ends)
    left = np.eye(len(inner)) - matrix[np.ix_(inner, inner)]
    reached = np.linalg.solve(left, matrix[np.ix_(inner, ends)])
    total = reached.sum(axis=1)
    # Sums over all steps of the chance to be still on the way to each end.
    steps = np.linalg.solve(left, reached)
    columns = np.full((3, len(states)), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns[:, inner] = [
            reached[:, 0] / total,
            np.where(reached[:, 0] > 0, steps[:, 0] / reached[:, 0], np.nan),
            steps.sum(axis=1) / total,
        ]
    columns[:, ends[0]] = 1, 0, 0
    columns[:, ends[1]] = 0, np.nan, 0
    names = ("purchase_before_churn", "steps_to_purchase", "steps_to_end")
    return pd.DataFrame({"from_state": list(states), **dict(zip(names, columns, strict=True))})


def stationary(matrix: Numbers, start: Numbers) -> Numbers:
    """Return the share of all events that are in each state in the long run, shape (S,).

    Args:
        matrix: chances, shape (S, S); a row of zeros is a state that nothing follows: who was in it
            begins again.
        start: chances of a client's first event, shape (S,).
    """
    ending = matrix.sum(axis=1) == 0
    # Half of the steps stay where they are: a chain that goes in a circle settles as well.
    power = (np.eye(len(start)) + np.where(ending[:, None], start, matrix)) / 2
    for _ in range(SQUARINGS):
        power = power @ power
        power /= power.sum(axis=1, keepdims=True)
    shares: Numbers = start @ power
    shares /= shares.sum()
    return shares


@dataclass
class _Sums:
    """Sums over clients, of how often each went from one state to another.

    Attributes:
        count: of transitions, shape (S, S), rows the states from; so are those below.
        clients: who made it.
        squares: of each client's count.
        products: of each client's count and all their transitions from the state.
        from_count: of transitions from each state, shape (S,); so are those below.
        from_clients: who made any.
        from_squares: of each client's transitions from the state.
    """

    count: Counts
    clients: Counts
    squares: Counts
    products: Counts
    from_count: Counts
    from_clients: Counts
    from_squares: Counts


def _sums(found: Sequences) -> _Sums:
    size = len(found.states)
    pairs = np.zeros((4, size * size), np.int64)
    froms = np.zeros((3, size), np.int64)
    for block, _ in blocks(found):
        before = block.before()
        some = before != block.start
        key = (block.client()[some] * size + before[some]) * size + block.state[some]
        keys, counts = np.unique(key, return_counts=True)
        if not len(keys):
            continue
        group = keys // size
        begins = np.flatnonzero(np.diff(group, prepend=-1))
        all_from = np.add.reduceat(counts, begins)
        of_pair = np.repeat(all_from, np.diff(np.append(begins, len(keys))))
        values = (counts, np.ones_like(counts), counts**2, counts * of_pair)
        pairs += [_summed(keys % (size * size), value, size * size) for value in values]
        totals = (all_from, np.ones_like(all_from), all_from**2)
        froms += [_summed(group[begins] % size, total, size) for total in totals]
    return _Sums(*pairs.reshape(4, size, size), *froms)


def _summed(place: Places, value: Counts, size: int) -> Counts:
    """Return the sum of the values at each place; floats hold these integers exactly."""
    return np.bincount(place, value, size).astype(np.int64)


def _effective(sums: _Sums) -> Numbers:
    """Return of how many independent transitions each share has the standard error, (S, S).

    A share of 0 or 1 has none to tell by: it takes that of all shares from the state, and if these
    are 0 and 1 too, one transition of each client.
    """
    total, clients = sums.from_count[:, None], sums.from_clients[:, None]
    share = sums.count / np.maximum(total, 1)
    spread = sums.squares - 2 * share * sums.products + share**2 * sums.from_squares[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.maximum(spread, 0) / total**2 * clients / (clients - 1)
        chance = share * (1 - share)
        whole = chance.sum(axis=1, keepdims=True) / variance.sum(axis=1, keepdims=True)
        whole = np.where(chance.sum(axis=1, keepdims=True) > 0, whole, clients)
        effective = np.where(chance > 0, chance / variance, whole)
    # Few clients say little of how much they differ; a single one says nothing.
    upper = (1 + CONFIDENCE) / 2
    many = stats.t.ppf(upper, np.maximum(total - 1, 1))
    few = stats.t.ppf(upper, np.maximum(clients - 1, 1))
    effective = np.minimum(effective * (many / few) ** 2, total)
    return np.where(clients > 1, effective, 0)


def _leading_to(matrix: Numbers, ends: Places) -> Places:
    """Return the other states from which one of the ends can be reached."""
    reached = np.zeros(len(matrix), bool)
    reached[ends] = True
    for _ in range(len(matrix)):
        reached |= (matrix[:, reached] > 0).any(axis=1)
    reached[ends] = False
    return np.flatnonzero(reached)
