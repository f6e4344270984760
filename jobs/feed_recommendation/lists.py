"""The final list: best first, topics spread, some fresh posts among them; stated as rules.

- Of any TOPIC_WINDOW posts in a row at most TOPIC_MOST have the same topic, as long as another
  candidate is left.
- Of every FRESH_EVERY posts in a row, counted from the top, one is fresh, while one is left whose
  topic allows it: new posts are shown to somebody, or nobody would ever learn who likes them.
- Else by score; ties go to the post with the smaller id.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

DEPTH = 100
TOPIC_WINDOW, TOPIC_MOST = 10, 4
FRESH_EVERY = 10


@dataclass(frozen=True)
class Lists:
    """Final lists: users by depth.

    Attributes:
        post: places of posts in the context; -1 where a list is shorter.
        score: what the list was ordered by before topics were spread; 0 where it is shorter.
        source: codes of result.feed_source, of the source that ranked the post best; 0 where the
            list is shorter.
    """

    post: NDArray[np.int32]
    score: NDArray[np.float32]
    source: NDArray[np.int16]


def arrange(
    scores: NDArray[np.float32],
    post: NDArray[np.int32],
    rank: NDArray[np.uint8],
    topic: NDArray[np.int32],
    fresh: NDArray[np.bool_],
    depth: int = DEPTH,
) -> Lists:
    """Return the final lists.

    Args:
        scores: users by candidates.
        post: users by candidates, places of posts in order of their ids; -1 where there is none.
        rank: users by candidates by sources: the rank, from 1, that a source gave; 0 for none.
        topic: topic of each post.
        fresh: whether each post is fresh.
        depth: length of the lists.
    """
    topics = int(topic.max(initial=-1)) + 1
    scores = np.ascontiguousarray(scores, np.float32)
    return Lists(*_arrange(scores, post, rank, topic, fresh, topics, depth))


def by_score(
    scores: NDArray[np.float32],
    post: NDArray[np.int32],
    rank: NDArray[np.uint8],
    depth: int = DEPTH,
) -> Lists:
    """Return the same as `arrange` in the order of the scores alone, without its rules."""
    every = np.arange(post.max(initial=-1) + 1, dtype=np.int32)  # each post a topic of its own
    return arrange(scores, post, rank, every, np.zeros(len(every), np.bool_), depth)


@njit(cache=True)
def _best_first(scores: Any, post: Any) -> Any:
    """Return the columns of one user's candidates, best first, ties by post.

    Sorted digit by digit, which takes less than half of the time of numpy's sort.
    """
    bits, size = scores.view(np.uint32), len(post)
    keys, order = np.empty(size, np.uint32), np.empty(size, np.int32)
    other_keys, other = np.empty(size, np.uint32), np.empty(size, np.int32)
    starts = np.zeros((4, 256), np.int32)
    count = 0
    for column in range(size):
        if post[column] >= 0:
            # A float's bits, but the sign, grow with its size.
            it = bits[column]
            falling = it if it >> np.uint32(31) else it ^ np.uint32(0x7FFFFFFF)
            keys[count], order[count] = falling, column
            for digit in range(4):
                starts[digit, (falling >> np.uint32(8 * digit)) & np.uint32(255)] += 1
            count += 1
    for digit in range(4):
        start = 0
        for value in range(256):
            start, starts[digit, value] = start + starts[digit, value], start
        for place in range(count):
            value = (keys[place] >> np.uint32(8 * digit)) & np.uint32(255)
            to = starts[digit, value]
            starts[digit, value] = to + 1
            other_keys[to], other[to] = keys[place], order[place]
        keys, other_keys, order, other = other_keys, keys, other, order
    for place in range(1, count):
        column, before = order[place], place - 1
        score, it = scores[column], post[column]
        while before >= 0 and scores[order[before]] == score and post[order[before]] > it:
            order[before + 1] = order[before]
            before -= 1
        order[before + 1] = column
    return order[:count]


@njit(cache=True, parallel=True)
def _arrange(
    scores: Any, post: Any, rank: Any, topic: Any, fresh: Any, topics: int, depth: int
) -> Any:
    users = len(post)
    posts = np.full((users, depth), -1, np.int32)
    score = np.zeros((users, depth), np.float32)
    sources = np.zeros((users, depth), np.int16)
    for user in prange(users):
        order = _best_first(scores[user], post[user])
        count = len(order)
        used = np.zeros(count, np.bool_)
        shown = np.zeros(topics, np.int32)  # of each topic, among the posts of the window
        first, last_fresh = 0, -1
        for position in range(min(depth, count)):
            while used[first]:
                first += 1
            chosen = -1
            if position % FRESH_EVERY == FRESH_EVERY - 1 and last_fresh <= position - FRESH_EVERY:
                for place in range(first, count):
                    it = post[user, order[place]]
                    if fresh[it] and not used[place] and shown[topic[it]] < TOPIC_MOST:
                        chosen = place
                        break
            if chosen < 0:
                for place in range(first, count):
                    it = post[user, order[place]]
                    if not used[place] and shown[topic[it]] < TOPIC_MOST:
                        chosen = place
                        break
            if chosen < 0:
                chosen = first
            used[chosen] = True
            column = order[chosen]
            it = post[user, column]
            if fresh[it]:
                last_fresh = position
            shown[topic[it]] += 1
            if position >= TOPIC_WINDOW - 1:
                shown[topic[posts[user, position - TOPIC_WINDOW + 1]]] -= 1
            posts[user, position], score[user, position] = it, scores[user, column]
            best = 0
            for source in range(rank.shape[2]):
                given = rank[user, column, source]
                if given > 0 and (best == 0 or given < best):
                    best, sources[user, position] = given, source + 1
    return posts, score, sources
