"""Markov chains of clients' sequences: what comes next by the last events, at most MAX_ORDER.

A context is the last events before one, as a number with a digit of base S + 1 for each, the newest
the least significant; the start's code stands where there is none. So a context's remainder is the
same one without its oldest event, which is what an order backs off to where it has seen little.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from jobs.client_behavior.sequences import CHURN, PURCHASE, Flags, Sequences

MAX_ORDER = 3
CONFIDENCE = 0.95
# Events' worth that the shorter context, or everybody, counts against what was seen.
STRENGTHS = tuple(2.0**power for power in range(-2, 14))
BLENDS = tuple(4.0**power for power in range(8))
# Events looked at at once: an array of them times the states stays small.
BLOCK_EVENTS = 250_000
# Squarings of the matrix: steps beyond any number that a chain takes to settle.
SQUARINGS = 50

Chances = NDArray[np.float32]
Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Chain:
    """How often each state came after each context, and how far to trust it.

    Attributes:
        states: names; a code is a place in it.
        counts: of order 0 to MAX_ORDER, each of shape ((S + 1) ** order, S).
        strengths: of order 1 and up: how many events the order below counts for.
        order: the one chosen on clients held out.
        personal: how many events everybody's chances count for against the client's own states, and
            these against what the client did after the same state; None without.
    """

    states: tuple[str, ...]
    counts: tuple[Counts, ...]
    strengths: tuple[float, ...]
    order: int
    personal: tuple[float, float] | None

    def save(self, path: Path) -> None:
        """Write the chain; the same one gives the same bytes each time."""
        arrays = {f"count_{order}": counts for order, counts in enumerate(self.counts)}
        with path.open("wb") as file:
            np.savez(
                file,
                states=np.array(self.states),
                strengths=np.array(self.strengths),
                order=np.array(self.order),
                personal=np.array(self.personal or ()),
                **arrays,  # type: ignore[arg-type]
            )


def load(path: Path) -> Chain:
    """Return the chain that `Chain.save` wrote."""
    with np.load(path) as arrays:
        personal = arrays["personal"].tolist()
        return Chain(
            tuple(arrays["states"].tolist()),
            tuple(arrays[f"count_{order}"] for order in range(MAX_ORDER + 1)),
            tuple(arrays["strengths"].tolist()),
            int(arrays["order"]),
            (personal[0], personal[1]) if personal else None,
        )


def fit(sequences: Sequences, held: Flags) -> Chain:
    """Return the chain of all clients, with what those held out say is best of those who are not.

    Strengths and blend have the highest likelihood; the order is the smallest whose loss is within
    one standard error, by client, of the best.

    Args:
        sequences: what clients did, and nothing later than what may be known.
        held: for each client, whether to choose by them.

    Raises:
        ValueError: if no client is held out, or all are.
    """
    if len(held) != len(sequences.clients) or not 0 < held.sum() < len(held):
        raise ValueError(
            f"{held.sum()} of {len(held)} flags hold clients out of {len(sequences.clients)}; "
            "expected one for each client, and both kinds"
        )
    of_client = np.repeat(held, np.diff(sequences.starts))
    chosen_by = sequences.where(of_client)
    learned, seen = _counts(sequences.where(~of_client)), _counts(chosen_by)
    strengths = _strengths(learned, seen)
    tables = _tables(learned, strengths)
    order = _order(_losses(tables, chosen_by), np.diff(chosen_by.starts))
    everyone = tuple(one + other for one, other in zip(learned, seen, strict=True))
    personal = _personal(tables[order], order, chosen_by)
    return Chain(sequences.states, everyone, strengths, order, personal)


def chances(chain: Chain) -> tuple[Numbers, ...]:
    """Return each order's chances of the next state, shapes as ``chain.counts``.

    Rows sum to one and none is 0. The last row of order 1 has those of a client's first event.
    """
    return _tables(chain.counts, chain.strengths)


def next_events(
    chain: Chain, sequences: Sequences, order: int, personal: bool, wanted: Flags | None = None
) -> Chances:
    """Return the chance of each state at each wanted event, from what the client did before it.

    Args:
        chain: what `fit` returned.
        sequences: events in the chain's states, with all that came before the wanted ones.
        order: how many of the last events count, 0 to MAX_ORDER.
        personal: whether the client's own history is blended in.
        wanted: for each event, whether it is; all of them without.

    Returns:
        One row for each wanted event, in their order, one column for each state; rows sum to 1.

    Raises:
        ValueError: if the states are others than the chain's, the order is none of its, or it has
            no blend.
    """
    table = _checked(chain, sequences, order, personal)
    blend = chain.personal if personal else None
    flags = np.ones(len(sequences.state), bool) if wanted is None else wanted
    found = np.empty((int(flags.sum()), len(chain.states)), np.float32)
    filled = 0
    for block, events in _blocks(sequences):
        kept = flags[events]
        rows = _predicted(table, order, blend, block, kept)
        found[filled : filled + len(rows)] = rows
        filled += len(rows)
    return found


def after(chain: Chain, sequences: Sequences, order: int, personal: bool) -> Chances:
    """Return the chance of each state at the event after each client's last, one row a client.

    Arguments and errors are those of `next_events`.
    """
    table = _checked(chain, sequences, order, personal)
    blend = chain.personal if personal else None
    found = np.empty((len(sequences.clients), len(chain.states)), np.float32)
    filled = 0
    for block, _ in _blocks(sequences):
        longer, added = _with_one_more(block)
        rows = _predicted(table, order, blend, longer, added)
        found[filled : filled + len(rows)] = rows
        filled += len(rows)
    return found


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


def matrix(table: pd.DataFrame, states: Sequence[str]) -> Numbers:
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


def _checked(chain: Chain, sequences: Sequences, order: int, personal: bool) -> Numbers:
    """Return the chances of the order; raise what `next_events` says."""
    if chain.states != sequences.states:
        raise ValueError(
            f"the chain knows the states {chain.states}, the events are in {sequences.states}; "
            "fit it anew"
        )
    if not 0 <= order <= MAX_ORDER:
        raise ValueError(f"order is {order}; expected 0 to {MAX_ORDER}")
    if personal and chain.personal is None:
        raise ValueError("the chain has no personal blend; fit it anew")
    return chances(chain)[order]


def _blocks(found: Sequences) -> Iterator[tuple[Sequences, slice]]:
    """Return the clients in blocks of BLOCK_EVENTS, or of one client, and their events' places."""
    first = 0
    while first < len(found.clients):
        most = found.starts[first] + BLOCK_EVENTS
        last = max(int(np.searchsorted(found.starts, most, side="right")) - 1, first + 1)
        events = slice(int(found.starts[first]), int(found.starts[last]))
        starts = found.starts[first : last + 1] - found.starts[first]
        clients = found.clients[first:last]
        yield (
            Sequences(found.states, clients, starts, found.state[events], found.at[events]),
            events,
        )
        first = last


def _with_one_more(found: Sequences) -> tuple[Sequences, Flags]:
    """Return the events and one more for each client, whatever it is, and which these are."""
    ends = found.starts[1:]
    more = np.arange(len(ends))
    longer = Sequences(
        found.states,
        found.clients,
        found.starts + np.append(more, len(ends)),
        np.insert(found.state, ends, 0),
        np.insert(found.at, ends, found.at[ends - 1]),
    )
    added = np.zeros(len(longer.state), bool)
    added[ends + more] = True
    return longer, added


def _context(found: Sequences, order: int) -> Places:
    """Return each event's context."""
    code = np.zeros(len(found.state), np.int64)
    for back in range(1, order + 1):
        code += found.before(back).astype(np.int64) * (found.start + 1) ** (back - 1)
    return code


def _counts(found: Sequences) -> tuple[Counts, ...]:
    """Return how often each state follows each context, by order."""
    size = len(found.states)
    counts = [np.zeros(((size + 1) ** order, size), np.int64) for order in range(MAX_ORDER + 1)]
    for block, _ in _blocks(found):
        for order, table in enumerate(counts):
            cell = _context(block, order) * size + block.state
            table += np.bincount(cell, minlength=table.size).reshape(table.shape)
    return tuple(counts)


def _tables(counts: Sequence[Counts], strengths: Sequence[float]) -> tuple[Numbers, ...]:
    """Return the chances of each order; without strengths for all, of as many as there are."""
    most = counts[0] + 0.5
    tables: list[Numbers] = [most / most.sum()]
    # Fewer strengths than counts while they are looked for.
    for seen, strength in zip(counts[1:], strengths, strict=False):
        tables.append(_backed_off(seen, tables[-1], strength))
    return tuple(tables)


def _backed_off(seen: Counts, below: Numbers, strength: float) -> Numbers:
    """Return an order's chances from its counts and the chances of the order below."""
    shorter = np.tile(below, (len(seen) // len(below), 1))
    table: Numbers = (seen + strength * shorter) / (seen.sum(axis=1, keepdims=True) + strength)
    return table


def _strengths(learned: Sequence[Counts], seen: Sequence[Counts]) -> tuple[float, ...]:
    """Return each order's best strength for what was seen of others than was learned from."""
    found: list[float] = []
    for order in range(1, MAX_ORDER + 1):
        below = _tables(learned, found)[-1]
        likely = [
            float((seen[order] * np.log(_backed_off(learned[order], below, strength))).sum())
            for strength in STRENGTHS
        ]
        found.append(STRENGTHS[int(np.argmax(likely))])
    return tuple(found)


def _losses(tables: Sequence[Numbers], found: Sequences) -> Numbers:
    """Return the log loss of each client's events, summed, one column an order."""
    losses = np.zeros((len(found.clients), len(tables)))
    done = 0
    for block, _ in _blocks(found):
        rows = slice(done, done + len(block.clients))
        for order, table in enumerate(tables):
            chance = table[_context(block, order), block.state]
            losses[rows, order] = np.add.reduceat(-np.log(chance), block.starts[:-1])
        done = rows.stop
    return losses


def _order(losses: Numbers, events: Places) -> int:
    """Return the smallest order within one standard error of the best."""
    mean = losses.sum(axis=0) / events.sum()
    best = int(np.argmin(mean))
    error = np.sqrt(((losses[:, best] - mean[best] * events) ** 2).sum()) / events.sum()
    return int(np.flatnonzero(mean <= mean[best] + error)[0])


def _personal(table: Numbers, order: int, found: Sequences) -> tuple[float, float]:
    """Return the blend that is best for what these clients did."""
    blends = list(product(BLENDS, BLENDS))
    likely = np.zeros(len(blends))
    for block, _ in _blocks(found):
        everything = np.ones(len(block.state), bool)
        own, same = _own(block, everything)
        own_all, same_all = own.sum(axis=1), same.sum(axis=1)
        rows = np.arange(len(block.state))
        own_seen, same_seen = own[rows, block.state], same[rows, block.state]
        chance = table[_context(block, order), block.state]
        for place, (weak, strong) in enumerate(blends):
            blended = (own_seen + weak * chance) / (own_all + weak)
            likely[place] += np.log((same_seen + strong * blended) / (same_all + strong)).sum()
    return blends[int(np.argmax(likely))]


def _predicted(
    table: Numbers,
    order: int,
    blend: tuple[float, float] | None,
    block: Sequences,
    wanted: Flags,
) -> Numbers:
    """Return the chances at the wanted events of a block."""
    found: Numbers = table[_context(block, order)[wanted]]
    if blend is None:
        return found
    own, same = _own(block, wanted)
    found = (own + blend[0] * found) / (own.sum(axis=1, keepdims=True) + blend[0])
    found = (same + blend[1] * found) / (same.sum(axis=1, keepdims=True) + blend[1])
    return found


def _own(block: Sequences, wanted: Flags) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return how often the client was in each state before each wanted event.

    The second counts only what came after the same state as the one before the event.
    """
    client, size = block.client(), len(block.states)
    pair = client * (size + 1) + block.before()
    own = _so_far(client, block.state, size, wanted)
    return own, _so_far(pair, block.state, size, wanted)


def _so_far(group: Places, state: NDArray[np.int8], size: int, wanted: Flags) -> NDArray[np.int32]:
    """Return how often each state occurred earlier in the same group, one row a wanted event."""
    order = np.argsort(group, kind="stable")
    places = np.arange(len(order))
    total = np.zeros((len(order), size), np.int32)
    total[places, state[order]] = 1
    # Only what came before the event: the event itself is what is predicted.
    total[1:] = np.cumsum(total[:-1], axis=0, dtype=np.int32)
    total[:1] = 0
    begins = np.diff(group[order], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(begins, places, 0))
    rank = np.empty_like(order)
    rank[order] = places
    found: NDArray[np.int32] = total[rank[wanted]] - total[first[rank[wanted]]]
    return found


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
    for block, _ in _blocks(found):
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
