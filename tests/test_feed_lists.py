"""The rules of the final list, against the same rules written plainly."""

import numpy as np
import pytest

from jobs.feed_recommendation import lists
from jobs.feed_recommendation.lists import FRESH_EVERY, TOPIC_MOST, TOPIC_WINDOW

USERS, SIZE, POSTS = 200, 60, 500


def case(seed: int, topics: int, decimals: int):
    """Return scores with ties and of both signs, posts with gaps, ranks, topics and fresh ones."""
    random = np.random.default_rng(seed)
    post = random.random((USERS, POSTS)).argsort(axis=1)[:, :SIZE].astype(np.int32)
    post[random.random(post.shape) < 0.1] = -1
    post[0] = -1
    scores = random.normal(0, 1, post.shape).round(decimals).astype(np.float32)
    scores[post < 0] = 9.0  # of no candidate, any number
    rank = random.integers(0, 40, (*post.shape, 8)).astype(np.uint8)
    rank[random.random(rank.shape) < 0.5] = 0
    return (
        scores,
        post,
        rank,
        random.integers(0, topics, POSTS).astype(np.int32),
        random.random(POSTS) < 0.05,
    )


def plainly(scores, post, topic, fresh, depth: int) -> list[int]:
    """Return one user's list, as the rules say it."""
    left = [(-score, at) for score, at in zip(scores.tolist(), post.tolist(), strict=True)]
    left = [at for _, at in sorted(pair for pair in left if pair[1] >= 0)]
    found: list[int] = []
    while left and len(found) < depth:
        near = [topic[at] for at in found[max(0, len(found) - TOPIC_WINDOW + 1) :]]
        allowed = [at for at in left if near.count(topic[at]) < TOPIC_MOST]
        block = found[len(found) - FRESH_EVERY + 1 :] if len(found) >= FRESH_EVERY - 1 else []
        if len(found) % FRESH_EVERY == FRESH_EVERY - 1 and not any(fresh[at] for at in block):
            allowed = [at for at in allowed if fresh[at]] or allowed
        found.append((allowed or left)[0])
        left.remove(found[-1])
    return found


@pytest.mark.parametrize(("topics", "decimals", "depth"), [(7, 1, 40), (2, 3, 100), (30, 6, 10)])
def test_a_list_is_what_the_rules_say(topics, decimals, depth):
    scores, post, rank, topic, fresh = case(topics, topics, decimals)

    found = lists.arrange(scores, post, rank, topic, fresh, depth)

    for user in range(USERS):
        expected = plainly(scores[user], post[user], topic, fresh, depth)
        listed = found.post[user]
        assert listed[: len(expected)].tolist() == expected
        assert (listed[len(expected) :] == -1).all()
        for position, at in enumerate(expected):
            column = post[user].tolist().index(at)
            given = {rank[user, column, code]: code + 1 for code in range(7, -1, -1)}
            given.pop(0, None)
            assert found.source[user, position] == (given[min(given)] if given else 0)
            assert found.score[user, position] == scores[user, column]
        assert not found.score[user, len(expected) :].any()
    # The rules are at work: the order of the scores alone is another one.
    assert (found.post != lists.by_score(scores, post, rank, depth).post).any()


def test_by_score_is_best_first_and_ties_go_to_the_smaller_id():
    scores, post, rank, _, _ = case(1, 7, 1)

    found = lists.by_score(scores, post, rank, 30)

    for user in range(USERS):
        best = sorted(
            (-score, at)
            for score, at in zip(scores[user].tolist(), post[user].tolist(), strict=True)
            if at >= 0
        )
        assert found.post[user].tolist() == ([at for _, at in best] + [-1] * 30)[:30]
