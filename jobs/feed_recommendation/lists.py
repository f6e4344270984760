"""The final list: best first, topics spread, some fresh posts among them; stated as rules.

- Of any TOPIC_WINDOW posts in a row at most TOPIC_MOST have the same topic, as long as another
  candidate is left.
- Of every FRESH_EVERY posts in a row, counted from the top, one is fresh, while one is left whose
  topic allows it: new posts are shown to somebody, or nobody would ever learn who likes them.
- Else by score; ties go to the post with the smaller id.
"""

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

DEPTH = 100
TOPIC_WINDOW, TOPIC_MOST = 10, 4
FRESH_EVERY = 10


def arrange(
    scores: NDArray[np.float32],
    post: NDArray[np.int32],
    topic: NDArray[np.int32],
    fresh: NDArray[np.bool_],
    depth: int = DEPTH,
) -> NDArray[np.int16]:
    """Return, for each user, the columns of the candidates in the order of the final list.

    Args:
        scores: users by candidates.
        post: users by candidates, places of posts in order of their ids; -1 where there is none.
        topic: topic of each post.
        fresh: whether each post is fresh.
        depth: length of the lists.

    Returns:
        Users by ``depth``; -1 where a list is shorter.
    """
    return np.asarray(_arrange(scores, post, topic, fresh, depth))


def by_score(
    scores: NDArray[np.float32], post: NDArray[np.int32], depth: int = DEPTH
) -> NDArray[np.int16]:
    """Return the same as `arrange` in the order of the scores alone, without its rules."""
    every = np.arange(post.max(initial=-1) + 1, dtype=np.int32)  # each post a topic of its own
    return arrange(scores, post, every, np.zeros(len(every), np.bool_), depth)


@njit(cache=True, parallel=True)
def _arrange(scores: Any, post: Any, topic: Any, fresh: Any, depth: int) -> Any:
    users, size = post.shape
    out = np.full((users, depth), -1, np.int16)
    for user in prange(users):
        count = 0
        best = np.argsort(-scores[user])
        for place in range(1, size):  # ties go to the smaller id: few, so they are put right after
            column, before = best[place], place - 1
            score, it = scores[user, column], post[user, column]
            while before >= 0 and (
                scores[user, best[before]] == score and post[user, best[before]] > it
            ):
                best[before + 1] = best[before]
                before -= 1
            best[before + 1] = column
        order = np.empty(size, np.int16)
        for column in best:
            if post[user, column] >= 0:
                order[count] = column
                count += 1
        used = np.zeros(count, np.bool_)
        first = 0
        for position in range(min(depth, count)):
            while used[first]:
                first += 1
            window = max(0, position - TOPIC_WINDOW + 1)
            wants_fresh = position % FRESH_EVERY == FRESH_EVERY - 1
            for place in range(position - FRESH_EVERY + 1, position):
                if wants_fresh and fresh[post[user, out[user, place]]]:
                    wants_fresh = False
            chosen = -1
            for attempt in range(2):
                if attempt == 0 and not wants_fresh:
                    continue
                for place in range(first, count):
                    candidate = post[user, order[place]]
                    if used[place] or (attempt == 0 and not fresh[candidate]):
                        continue
                    same = 0
                    for before in range(window, position):
                        if topic[post[user, out[user, before]]] == topic[candidate]:
                            same += 1
                    if same < TOPIC_MOST:
                        chosen = place
                        break
                if chosen >= 0:
                    break
            if chosen < 0:
                chosen = first
            used[chosen] = True
            out[user, position] = order[chosen]
    return out
