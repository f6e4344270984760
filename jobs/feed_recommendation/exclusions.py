"""Posts that a user must not be shown: the user's own, those of blocked authors.

They are what the user has seen, as far as lists are concerned. So they join the history as events
in which nothing was done, on a day before all others: what proposes, learns or asks leaves them out
as it leaves out what was viewed, at a cutoff between their known_from and known_to, and no count,
rate or taste takes notice of them.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine

from jobs.feed_recommendation.history import History, Ints, number, places
from jobs.warehouse import read_batches

# No bit of feature.user_post_day.actions, and a day of no window.
NOTHING, BEFORE_ALL = 0, number(date.min)


@dataclass(frozen=True)
class Exclusions:
    """Pairs of user and post, ordered by user and post.

    Attributes:
        user: place among the users.
        post: place among the posts.
        known_from, known_to: days between which the pair held.
    """

    user: NDArray[np.int32]
    post: NDArray[np.int32]
    known_from: NDArray[np.int32]
    known_to: NDArray[np.int32]

    def on(self, cutoff: date) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the places of users and posts whose pair holds at a cutoff."""
        by = number(cutoff)
        holds = (self.known_from <= by) & (self.known_to > by)
        return self.user[holds], self.post[holds]


def read(
    engine: Engine,
    as_of: date,
    users: Ints,
    posts: Ints,
    *,
    first_cutoff: date | None = None,
    shard: int = 0,
    shards: int = 1,
) -> Exclusions:
    """Return what is excluded for one hash range of the users, streamed into compact arrays.

    Args:
        engine: the warehouse.
        as_of: known by it.
        users: user ids, sorted; pairs of others are left out.
        posts: post ids, sorted; pairs of others are left out.
        first_cutoff: the earliest cutoff that will be asked for; default as_of.
        shard: number of the hash range, from 0.
        shards: how many hash ranges there are.
    """
    parts: list[list[NDArray[np.int32]]] = [[np.zeros(0, np.int32)] * 4]
    for batch in read_batches(
        engine,
        "feed_recommendation/exclusions.sql",
        as_of=as_of,
        first_cutoff=first_cutoff or as_of,
        shard=shard,
        shards=shards,
    ):
        user, is_user = places(users, np.asarray(batch.column("user_id")))
        post, is_post = places(posts, np.asarray(batch.column("post_id")))
        known = [
            np.asarray(batch.column(name).cast(pa.int32())) for name in ("known_from", "known_to")
        ]
        kept = is_user & is_post
        parts.append([each[kept].astype(np.int32) for each in (user, post, *known)])
    user_at, post_at, known_from, known_to = map(np.concatenate, zip(*parts, strict=True))
    return Exclusions(user_at, post_at, known_from, known_to)


def add(history: History, excluded: Exclusions) -> History:
    """Return the history with what is excluded in it, each user's before all that the user did."""
    if not len(excluded.user):
        return history
    counts = np.diff(history.starts)
    more = np.bincount(excluded.user, minlength=len(history.users))
    starts = np.concatenate([[0], np.cumsum(counts + more)])
    # Each user's first places are for the excluded, the others for what was there.
    at = np.arange(len(excluded.user)) - np.repeat(np.cumsum(more) - more, more)
    first = np.repeat(starts[:-1], more) + at
    later = np.repeat(starts[:-1] + more - history.starts[:-1], counts) + np.arange(counts.sum())

    def merged(before: NDArray[Any], new: NDArray[Any] | int) -> NDArray[Any]:
        out = np.empty(starts[-1], before.dtype)
        out[first], out[later] = new, before
        return out

    return History(
        history.users,
        history.posts,
        starts,
        merged(history.post, excluded.post),
        merged(history.day, BEFORE_ALL),
        merged(history.hour, 0),
        merged(history.action, NOTHING),
        merged(history.known_from, excluded.known_from),
        merged(history.known_to, excluded.known_to),
    )
