"""Views of our lists: a session is served the next unseen posts of its part, and views some."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from jobs.simulate.clock import Array, Columns, concatenate, take
from jobs.simulate.social.world import FIRST_POST_ID, FIRST_USER_ID, World

REQUEST = 5  # posts a request is served
# of the posts at each position of a request are viewed
VIEWED = np.array([0.95, 0.80, 0.65, 0.52, 0.42])
BLOCK = 4_000  # users at once, to bound memory


class Lists(NamedTuple):
    """The lists of a day by user and day part."""

    parts: Array  # first UTC hours of the parts, ascending
    row: Array  # by user and part: the row in ``posts``; -1 is none
    posts: Array  # places of posts in order; -1 fills up


def lists(world: World, served: pd.DataFrame) -> Lists:
    """Return the lists of a frame of user_id, day_part and post_ids, the best post first.

    Raises:
        ValueError: if a part is no hour, a user has two lists for one, or a list has a post twice.
    """
    parts = np.unique(served["day_part"].to_numpy(dtype=np.int64))
    if len(parts) and not (parts[0] >= 0 and parts[-1] < 24):
        raise ValueError(f"served: day_part {parts[0]} to {parts[-1]}, expected 0 to 23")
    if served.duplicated(["user_id", "day_part"]).any():
        raise ValueError("served: a user has two lists for one day_part, expected one")
    user = served["user_id"].to_numpy(dtype=np.int64) - FIRST_USER_ID
    known = (user >= 0) & (user < len(world.birth))
    found = [np.asarray(ids, dtype=np.int64) for ids in served["post_ids"]]
    posts = np.full((len(found), max(map(len, found), default=0)), -1, dtype=np.int32)
    for place, ids in enumerate(found):
        posts[place, : len(ids)] = ids - FIRST_POST_ID
    posts[(posts < 0) | (posts >= len(world.published))] = -1
    ordered = np.sort(posts, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("served: a list names a post twice, expected once")
    row = np.full((len(world.birth), len(parts)), -1, dtype=np.int32)
    part = np.searchsorted(parts, served["day_part"].to_numpy(dtype=np.int64))
    row[user[known], part[known]] = np.flatnonzero(known)
    return Lists(parts, row, posts)


def part_of(found: Lists, hour: Array) -> Array:
    """Return the place of the part that each hour is in; -1 before the first."""
    return np.asarray(np.searchsorted(found.parts, hour, side="right") - 1)


def no_bits(world: World) -> Array:
    """Return that no user has viewed any post: users x posts, eight posts to a byte."""
    return np.zeros((len(world.birth), (len(world.published) + 7) // 8), dtype=np.uint8)


def add_views(bits: Array, world: World, user_ids: Array, post_ids: Array) -> None:
    """Mark views, given by ids, in what ``no_bits`` returned; unknown users and posts are left."""
    user, post = user_ids - FIRST_USER_ID, post_ids - FIRST_POST_ID
    known = (user >= 0) & (user < len(world.birth)) & (post >= 0) & (post < len(world.published))
    user, post = user[known], post[known]
    for bit in range(8):  # as numpy.packbits: the first post is the highest bit
        of = post % 8 == bit
        bits[user[of], post[of] // 8] |= np.uint8(128 >> bit)


def serve(
    rng: np.random.Generator,
    world: World,
    found: Lists,
    sessions: Columns,
    gone: Array,
    seen: Array,
) -> tuple[Columns, Array]:
    """Return the posts served to sessions, in order, and which sessions had any left to see.

    Columns: session (its place in ``sessions``), position (from 1 in each request), post, viewed.
    ``sessions`` has user, row (of its list), wanted (views) and stands in order of user and time;
    ``gone`` is the places of posts that can't be shown any more, ``seen`` what ``add_views``
    marked of earlier days.
    """
    # a whole request for each piece of VIEWED.sum() wanted views, a last one by chance
    asked = sessions["wanted"] / VIEWED.sum()
    requests = np.floor(asked + rng.random(len(asked))).astype(np.int64)
    left = np.zeros(len(asked), dtype=bool)
    parts: list[Columns] = []
    users = np.unique(sessions["user"])
    for begin in range(0, len(users), BLOCK):
        block = users[begin : begin + BLOCK]
        low, high = np.searchsorted(sessions["user"], [block[0], block[-1] + 1])
        inside = np.searchsorted(block, sessions["user"][low:high])
        # the last column takes the -1 that fills lists up
        out = np.zeros((len(block), len(world.published) + 1), dtype=bool)
        out[:, -1] = True
        out[:, gone] = True
        out[:, :-1] |= np.unpackbits(seen[block], axis=1, count=out.shape[1] - 1).astype(bool)
        rank = np.arange(low, high) - (low + np.searchsorted(inside, inside))
        for turn in range(int(rank.max(initial=-1)) + 1):
            now = np.flatnonzero(rank == turn)
            who, session = inside[now], now + low
            listed = found.posts[sessions["row"][session]]
            free = ~out[who[:, None], listed]
            left[session] = free.any(axis=1)
            number = np.cumsum(free, axis=1)
            chosen = free & (number <= REQUEST * requests[session][:, None])
            at, column = np.nonzero(chosen)
            order = number[at, column] - 1
            post = listed[at, column]
            out[who[at], post] = True
            parts.append(
                {
                    "session": session[at],
                    "position": order % REQUEST + 1,
                    "post": post.astype(np.int64),
                }
            )
    none = np.zeros(0, dtype=np.int64)
    empty = dict.fromkeys(("session", "position", "post"), none)
    slots = concatenate([empty, *parts])
    slots = take(slots, np.argsort(slots["session"], kind="stable"))
    slots["viewed"] = rng.random(len(slots["post"])) < VIEWED[slots["position"] - 1]
    return slots, left
