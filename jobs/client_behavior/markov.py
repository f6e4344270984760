"""Markov chains of clients' sequences: what comes next by the last events, at most MAX_ORDER.

A context is the last events before one, as a number with a digit of base S + 1 for each, the newest
the least significant; the start's code stands where there is none. So a context's remainder is the
same one without its oldest event, which is what an order backs off to where it has seen little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.client_behavior.sequences import Flags, Sequences, blocks

MAX_ORDER = 3
# Events' worth that the shorter context, or everybody, counts against what was seen.
STRENGTHS = tuple(2.0**power for power in range(-2, 14))
BLENDS = tuple(4.0**power for power in range(8))

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
    for block, events in blocks(sequences):
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
    for block, _ in blocks(sequences):
        longer, added = _with_one_more(block)
        rows = _predicted(table, order, blend, longer, added)
        found[filled : filled + len(rows)] = rows
        filled += len(rows)
    return found


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
    for block, _ in blocks(found):
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
    for block, _ in blocks(found):
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
    for block, _ in blocks(found):
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
