"""Sequences: what each client did, in order of time, in flat arrays.

Events with one time are ordered by state, and a state that a client is in several times at once
(the lines of a basket) is one event. Silence is an event too: a client with none for so many days
is in ``churn`` from the end of these days on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PURCHASE, CHURN = "purchase", "churn"
DAY_US = 86_400_000_000
SESSION_GAP_US = 30 * 60 * 1_000_000
# A client with more has the newest ones looked at: nobody's steps count more than these.
MOST_EVENTS = 2_000
# Events looked at at once: an array of them times the states stays small.
BLOCK_EVENTS = 250_000

Codes = NDArray[np.int8]
Times = NDArray[np.int64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sequences:
    """The events of clients, client after client, each client's in order of time.

    Attributes:
        states: names of the states; an event's code is a place in it. The last one is churn.
        clients: ids, ascending, each with at least one event.
        starts: one more than clients; client i's events are ``starts[i]:starts[i + 1]``.
        state: code of each event.
        at: time of each event, microseconds since 1970 UTC.
    """

    states: tuple[str, ...]
    clients: NDArray[np.int64]
    starts: Places
    state: Codes
    at: Times

    @property
    def start(self) -> int:
        """Return the code that stands before a client's first event."""
        return len(self.states)

    def client(self) -> Places:
        """Return the place of each event's client in ``clients``."""
        return np.repeat(np.arange(len(self.clients)), np.diff(self.starts))

    def place(self) -> Places:
        """Return each event's place among its client's, from 0."""
        return np.arange(len(self.state)) - np.repeat(self.starts[:-1], np.diff(self.starts))

    def before(self, back: int = 1) -> Codes:
        """Return the state ``back`` events before each event; `start` where there is none."""
        found = np.full(len(self.state), self.start, np.int8)
        found[back:] = self.state[: max(len(self.state) - back, 0)]
        found[self.place() < back] = self.start
        return found

    def waited(self) -> Times:
        """Return the microseconds since the client's event before; -1 for the first."""
        found = np.diff(self.at, prepend=0)
        found[self.starts[:-1]] = -1
        return found

    def where(self, kept: Flags) -> "Sequences":
        """Return the events for which ``kept`` is true, without clients who have none left."""
        client = self.client()[kept]
        counts = np.bincount(client, minlength=len(self.clients))
        left = counts > 0
        starts = np.concatenate([[0], np.cumsum(counts[left])])
        return Sequences(self.states, self.clients[left], starts, self.state[kept], self.at[kept])

    def between(self, first: int, end: int) -> "Sequences":
        """Return what happened from ``first`` to before ``end``, microseconds since 1970 UTC."""
        return self.where((self.at >= first) & (self.at < end))

    def ends(self) -> Codes:
        """Return the state that each client is in after all of it."""
        return self.state[self.starts[1:] - 1]


def build(
    states: tuple[str, ...],
    client: NDArray[np.int64],
    at: Times,
    state: Codes,
    most: int | None = MOST_EVENTS,
) -> Sequences:
    """Return the sequences of events that come in any order.

    Args:
        states: names, churn last.
        client: id of each event's client.
        at: time of each event, microseconds since 1970 UTC.
        state: code of each event, a place in ``states``.
        most: how many there are of a client, the newest ones; None for all.
    """
    order = np.lexsort((state, at, client))
    client, at, state = client[order], at[order], state[order]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(client) != 0) | (np.diff(at) != 0) | (np.diff(state) != 0)
    client, at, state = client[new], at[new], state[new]
    clients, counts = np.unique(client, return_counts=True)
    if most is not None:
        ends = np.cumsum(counts)
        kept = np.repeat(ends, counts) - np.arange(len(client)) <= most
        counts, at, state = np.minimum(counts, most), at[kept], state[kept]
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Sequences(states, clients, starts, state.astype(np.int8), at)


def joined(one: Sequences, other: Sequences) -> Sequences:
    """Return the events of both, all of them; those that both have count once.

    However much a client did later, what it did before stays.
    """
    return build(
        one.states,
        np.concatenate([part.clients[part.client()] for part in (one, other)]),
        np.concatenate([one.at, other.at]),
        np.concatenate([one.state, other.state]),
        most=None,
    )


def settled(found: Sequences, silence_us: int, until: int) -> Sequences:
    """Return the events without those that came after one of the last ``silence_us``.

    Of these it is known what came soon and not yet who will be silent, so that counting what comes
    next would make churn rarer than it is.
    """
    waited = found.waited()
    return found.where((waited < 0) | (found.at - waited <= until - silence_us))


def with_churn(found: Sequences, silence_us: int, until: int) -> Sequences:
    """Return the sequences with a churn wherever a client did nothing for ``silence_us``.

    Its time is the end of these days, if that is before or at ``until``.
    """
    ends = found.starts[1:] - 1
    after = np.append(found.at[1:], 0)
    after[ends] = until
    silent = after - found.at >= silence_us
    # An event at the very end of the silence still comes after it.
    where = np.flatnonzero(silent) + 1
    code = len(found.states) - 1
    added = np.bincount(found.client()[silent], minlength=len(found.clients))
    return Sequences(
        found.states,
        found.clients,
        found.starts + np.concatenate([[0], np.cumsum(added)]),
        np.insert(found.state, where, code),
        np.insert(found.at, where, found.at[silent] + silence_us),
    )


def sessions(found: Sequences, gap_us: int = SESSION_GAP_US) -> NDArray[np.int32]:
    """Return the number of each event's session among its client's, from 0.

    A session ends where nothing happens for ``gap_us``.
    """
    waited = found.waited()
    begins = (waited > gap_us).astype(np.int64)
    total = np.cumsum(begins)
    first = np.repeat(total[found.starts[:-1]], np.diff(found.starts))
    return (total - first).astype(np.int32)


def blocks(found: Sequences) -> Iterator[tuple[Sequences, slice]]:
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
