"""Candidates: what each source proposes to each user, merged, with the rank each source gave."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from jobs.products import CHUNK_ROWS, add_products

# Codes are those of result.feed_source less one: the columns of Candidates.rank.
SOURCES = (
    "als",
    "neighbours",
    "content",
    "popular_7d",
    "popular_30d",
    "popular_segment",
    "fresh",
    "popular_all",
)
ALS, NEIGHBOURS, CONTENT, POPULAR_7D, POPULAR_30D, SEGMENT, FRESH, POPULAR_ALL = range(8)
# How many unseen posts each source proposes; popular_all also fills up what is
# then missing.
QUOTAS = np.array([40, 40, 40, 40, 25, 25, 15, 15], np.int32)
SIZE = 150
FILL = 120

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """Unseen posts proposed to each user.

    Attributes:
        post: users by SIZE, places of posts; -1 where there is none. In order of proposal. If
            posts were to be added, wider by the most that a user has, and those stand behind.
        rank: users by SIZE by sources: the rank, from 1, that a source gave; 0 if it did not
            propose the post.
        als, neighbours, content: users by SIZE, the scores of these sources; 0 where a source
            knows nothing of the user or the post.
    """

    post: NDArray[np.int32]
    rank: NDArray[np.uint8]
    als: Matrix
    neighbours: Matrix
    content: Matrix


def propose(
    seen_starts: NDArray[np.int64],
    seen: NDArray[np.int32],
    taste: Matrix,
    factors: Matrix,
    learned: NDArray[np.bool_],
    wishes: Matrix,
    vectors: Matrix,
    liked_starts: NDArray[np.int32],
    liked: NDArray[np.int32],
    neighbours: NDArray[np.int32],
    weights: Matrix,
    orders: dict[str, NDArray[np.int32]],
    segment: NDArray[np.int32],
    segment_orders: NDArray[np.int32],
    turn: NDArray[np.int64],
    added_starts: NDArray[np.int64],
    added: NDArray[np.int32],
) -> Candidates:
    """Return the candidates of a block of users.

    Args:
        seen_starts: for each user the first of its elements in ``seen``, and one element more.
        seen: places of the posts that users must not get, one user after another.
        taste: users by factors, for ALS; zeros where it knows nothing of the user.
        factors: factors by posts.
        learned: by post, whether ALS knows it.
        wishes: users by dimensions, for content; zeros where it knows nothing of the user.
        vectors: dimensions by posts.
        liked_starts: for each user the first of its elements in ``liked``, and one element more.
        liked: places of the posts that users liked.
        neighbours: by post, places of its neighbours; -1 where no more.
        weights: by post and neighbour, what a like of the post adds to it.
        orders: places of posts by source, from the best down: popular_7d, popular_30d,
            popular_all, fresh.
        segment: each user's segment.
        segment_orders: by segment, places of posts from the best down, -1 where no more.
        turn: where in the fresh posts each user begins, so that each is shown to somebody.
        added_starts: for each user the first of its elements in ``added``, and one element more.
        added: places of posts to stand behind the candidates, unless they are among them.
    """
    found = _propose(
        seen_starts.astype(np.int64),
        seen.astype(np.int32),
        np.ascontiguousarray(taste, np.float32),
        np.ascontiguousarray(factors, np.float32),
        learned,
        np.ascontiguousarray(wishes, np.float32),
        np.ascontiguousarray(vectors, np.float32),
        liked_starts.astype(np.int64),
        liked.astype(np.int32),
        neighbours,
        weights,
        orders["popular_7d"],
        orders["popular_30d"],
        orders["popular_all"],
        orders["fresh"],
        segment.astype(np.int32),
        segment_orders,
        turn.astype(np.int64),
        QUOTAS,
        added_starts.astype(np.int64),
        added.astype(np.int32),
        SIZE + int(np.diff(added_starts).max(initial=0)),
    )
    return Candidates(*found)


@njit(cache=True)
def _best(scores: Any, seen: Any, posts: Any, quota: int) -> int:
    """Write the places of the ``quota`` best unseen posts into ``posts``; return how many.

    Best first, ties to the smaller place.
    """
    kept = np.empty(quota, np.float32)
    count = 0
    for post in range(len(scores)):
        score = scores[post]
        if (count == quota and not score > kept[count - 1]) or score == -np.inf:
            continue
        if seen[post] == 1:
            continue
        place = count if count < quota else quota - 1
        while place > 0 and kept[place - 1] < score:
            kept[place] = kept[place - 1]
            posts[place] = posts[place - 1]
            place -= 1
        kept[place] = score
        posts[place] = post
        count = min(count + 1, quota)
    return count


@njit(cache=True)
def _first(order: Any, seen: Any, posts: Any, quota: int) -> int:
    """Write the first ``quota`` unseen posts of an order into ``posts``; return how many."""
    count = 0
    for post in order:
        if post < 0 or count == quota:
            break
        if seen[post] == 0:
            posts[count] = post
            count += 1
    return count


@njit(cache=True, parallel=True)
def _propose(
    seen_starts: Any,
    seen: Any,
    taste: Any,
    factors: Any,
    learned: Any,
    wishes: Any,
    vectors: Any,
    liked_starts: Any,
    liked: Any,
    neighbours: Any,
    weights: Any,
    popular_7d: Any,
    popular_30d: Any,
    popular_all: Any,
    fresh: Any,
    segment: Any,
    segment_orders: Any,
    turn: Any,
    quotas: Any,
    added_starts: Any,
    added: Any,
    width: int,
) -> Any:
    users, count = len(taste), factors.shape[1]
    out = np.full((users, width), -1, np.int32)
    ranks = np.zeros((users, width, 8), np.uint8)
    given = np.zeros((3, users, width), np.float32)
    for chunk in prange((users + CHUNK_ROWS - 1) // CHUNK_ROWS):
        first = chunk * CHUNK_ROWS
        last = min(first + CHUNK_ROWS, users)
        als = np.zeros((last - first, count), np.float32)
        content = np.zeros((last - first, count), np.float32)
        add_products(taste[first:last], factors, als)
        add_products(wishes[first:last], vectors, content)
        for user in range(first, last):
            hidden = np.zeros(count, np.uint8)
            for place in range(seen_starts[user], seen_starts[user + 1]):
                hidden[seen[place]] = 1
            pull = np.full(count, -np.inf, np.float32)
            for place in range(liked_starts[user], liked_starts[user + 1]):
                for each in range(neighbours.shape[1]):
                    other = neighbours[liked[place], each]
                    if other < 0:
                        break
                    if pull[other] == -np.inf:
                        pull[other] = 0
                    pull[other] += weights[liked[place], each]
            knows_taste, knows_wishes = taste[user].any(), wishes[user].any()
            unlearned = hidden | ~learned
            slot = np.full(count, -1, np.int16)
            proposed = np.empty(SIZE, np.int32)
            size = 0
            for source in range(8):
                quota, number = quotas[source], 0
                if source == ALS:
                    if knows_taste:
                        number = _best(als[user - first], unlearned, proposed, quota)
                elif source == NEIGHBOURS:
                    number = _best(pull, hidden, proposed, quota)
                elif source == CONTENT:
                    if knows_wishes:
                        number = _best(content[user - first], hidden, proposed, quota)
                elif source == POPULAR_7D:
                    number = _first(popular_7d, hidden, proposed, quota)
                elif source == POPULAR_30D:
                    number = _first(popular_30d, hidden, proposed, quota)
                elif source == SEGMENT:
                    number = _first(segment_orders[segment[user]], hidden, proposed, quota)
                elif source == FRESH:
                    if len(fresh) > 0:
                        turned = np.roll(fresh, -(turn[user] % len(fresh)))
                        number = _first(turned, hidden, proposed, quota)
                else:
                    number = _first(popular_all, hidden, proposed, SIZE)
                for rank in range(number):
                    post = proposed[rank]
                    if source == POPULAR_ALL and rank >= quota and size >= FILL:
                        break
                    if slot[post] < 0:
                        if size == SIZE:
                            continue
                        slot[post] = size
                        out[user, size] = post
                        size += 1
                    ranks[user, slot[post], source] = rank + 1
            for place in range(added_starts[user], added_starts[user + 1]):
                post = added[place]
                if slot[post] < 0:
                    slot[post] = size
                    out[user, size] = post
                    size += 1
            for place in range(size):
                post = out[user, place]
                if learned[post]:
                    given[0, user, place] = als[user - first, post]
                given[1, user, place] = max(pull[post], np.float32(0))
                given[2, user, place] = content[user - first, post]
    return out, ranks, given[0], given[1], given[2]
