"""Who saw and liked what, as arrays: one element per user, day and post."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Bits of feature.user_post_day.actions.
VIEW, LIKE, SHARE, COMMENT, HIDE = 1, 2, 4, 8, 16
EPOCH = date(1970, 1, 1)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """Events of users, ordered by user, day and time within the day.

    Attributes:
        users: user ids, sorted.
        posts: post ids, sorted; events of other posts are left out.
        starts: for each user the first of its events, and one element more.
        post: place in ``posts`` of each event.
        day: its day, counted from 1970-01-01.
        hour: UTC hour of its first event.
        action: sum of the bits VIEW, LIKE, SHARE, COMMENT, HIDE.
        known_from, known_to: days between which the platform knew it so.
    """

    users: Ints
    posts: Ints
    starts: Ints
    post: NDArray[np.int32]
    day: NDArray[np.int32]
    hour: NDArray[np.int8]
    action: NDArray[np.uint8]
    known_from: NDArray[np.int32]
    known_to: NDArray[np.int32]

    @property
    def user(self) -> NDArray[np.int32]:
        """Return the place in ``users`` of each event."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), np.diff(self.starts))

    def where(self, chosen: NDArray[np.bool_]) -> "History":
        """Return the chosen events, with all users."""
        counts = np.concatenate([[0], np.cumsum(chosen)])[self.starts]
        return History(
            self.users,
            self.posts,
            counts,
            self.post[chosen],
            self.day[chosen],
            self.hour[chosen],
            self.action[chosen],
            self.known_from[chosen],
            self.known_to[chosen],
        )

    def before(self, cutoff: date, window_days: int | None = None) -> "History":
        """Return what happened before ``cutoff`` and was known by then.

        Args:
            cutoff: an as_of.
            window_days: only so many days before it; default all.
        """
        last = number(cutoff)
        chosen = (self.day < last) & (self.known_from <= last) & (self.known_to > last)
        if window_days is not None:
            chosen &= self.day >= last - window_days
        return self.where(chosen)

    def on(self, day: date, known_by: date) -> "History":
        """Return what happened on ``day``, as known by a later date: the labels of a cutoff."""
        by = number(known_by)
        return self.where(
            (self.day == number(day)) & (self.known_from <= by) & (self.known_to > by)
        )

    def of(self, places: Ints) -> "History":
        """Return the events of some users, in the order of ``places``."""
        counts = np.diff(self.starts)[places]
        starts = np.concatenate([[0], np.cumsum(counts)])
        chosen = np.repeat(self.starts[places] - starts[:-1], counts) + np.arange(starts[-1])
        return History(
            self.users[places],
            self.posts,
            starts,
            self.post[chosen],
            self.day[chosen],
            self.hour[chosen],
            self.action[chosen],
            self.known_from[chosen],
            self.known_to[chosen],
        )


def number(day: date) -> int:
    """Return the days from 1970-01-01 to ``day``."""
    return (day - EPOCH).days


def gather(batches: Iterable[pa.RecordBatch], users: Ints, posts: Ints) -> History:
    """Return the history that rows of feature.user_post_day hold.

    Args:
        batches: rows ordered by user_id and event_day, with the columns user_id, event_day,
            known_from, known_to, post_ids, hours, actions; streamed, so that memory holds the
            compact arrays and one batch.
        users: user ids, sorted; rows of others are left out.
        posts: post ids, sorted; elements of others are left out.
    """
    parts: list[tuple[NDArray[np.generic], ...]] = []
    for batch in batches:
        columns = {name: batch.column(name) for name in batch.schema.names}
        counts = np.asarray(columns["post_ids"].value_lengths())
        user_at, known = places(users, _numbers(columns["user_id"]))
        post_at, listed = places(posts, _numbers(columns["post_ids"].flatten()))
        chosen = listed & np.repeat(known, counts)
        spread: Ints = np.repeat(np.arange(len(counts)), counts)[chosen]
        days = [_days(columns[name])[spread] for name in ("event_day", "known_from", "known_to")]
        parts.append(
            (
                user_at[spread].astype(np.int32),
                post_at[chosen].astype(np.int32),
                _numbers(columns["hours"].flatten())[chosen].astype(np.int8),
                _numbers(columns["actions"].flatten())[chosen].astype(np.uint8),
                *days,
            )
        )
    kinds = (np.int32, np.int32, np.int8, np.uint8, np.int32, np.int32, np.int32)
    columns_of: list[NDArray[Any]] = [
        np.concatenate([np.empty(0, kind), *(part[place] for part in parts)])
        for place, kind in enumerate(kinds)
    ]
    user, post, hour, action, day, known_from, known_to = columns_of
    starts = np.searchsorted(user, np.arange(len(users) + 1))
    return History(users, posts, starts, post, day, hour, action, known_from, known_to)


def places(sorted_ids: Ints, ids: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Return where each id stands among ``sorted_ids``, and whether it does."""
    if len(sorted_ids) == 0:
        return np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
    low, high = int(sorted_ids[0]), int(sorted_ids[-1])
    if high - low < 8 * len(sorted_ids) + 1_000_000:  # a table of places is ten times faster
        table = np.full(high - low + 1, -1, np.int64)
        table[sorted_ids - low] = np.arange(len(sorted_ids))
        inside = (ids >= low) & (ids <= high)
        found = np.where(inside, table[np.where(inside, ids - low, 0)], -1)
        return np.maximum(found, 0), found >= 0
    found = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return found, sorted_ids[found] == ids


def _numbers(column: pa.Array) -> Ints:
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _days(column: pa.Array) -> NDArray[np.int32]:
    """Return dates as days from 1970-01-01; infinity is as late as can be."""
    return np.asarray(column.cast(pa.int32()).to_numpy(zero_copy_only=False), dtype=np.int32)
