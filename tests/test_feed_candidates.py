"""Posts that the gate adds to candidates: scored as they are, never listed."""

from types import SimpleNamespace

import numpy as np
import pytest

from jobs.feed_recommendation import candidates, model
from jobs.feed_recommendation.candidates import SIZE, SOURCES

USERS, POSTS, WIDTH = 3, 400, 8
RANDOM = np.random.default_rng(7)
WISHES = RANDOM.random((USERS, WIDTH)).astype(np.float32)
VECTORS = RANDOM.random((WIDTH, POSTS)).astype(np.float32)


def proposed(added: list[list[int]]) -> candidates.Candidates:
    """Return candidates of a catalog that is larger than what is proposed."""
    order = np.arange(POSTS, dtype=np.int32)
    return candidates.propose(
        np.zeros(USERS + 1, np.int64),
        np.zeros(0, np.int32),
        np.zeros((USERS, WIDTH), np.float32),
        np.zeros((WIDTH, POSTS), np.float32),
        np.zeros(POSTS, np.bool_),
        WISHES,
        VECTORS,
        np.zeros(USERS + 1, np.int32),
        np.zeros(0, np.int32),
        np.full((POSTS, 2), -1, np.int32),
        np.zeros((POSTS, 2), np.float32),
        {"popular_7d": order, "popular_30d": order, "popular_all": order, "fresh": order[:20]},
        np.zeros(USERS, np.int32),
        order[None, :SIZE],
        np.arange(USERS),
        np.concatenate([[0], np.cumsum([len(each) for each in added])]),
        np.array([post for each in added for post in each], np.int32),
    )


@pytest.fixture(scope="module")
def plain() -> candidates.Candidates:
    return proposed([[], [], []])


@pytest.fixture(scope="module")
def added(plain) -> list[list[int]]:
    """Return two posts that nobody proposes to the first user and one that somebody does."""
    beyond = np.setdiff1d(np.arange(POSTS), plain.post)[-2:].tolist()
    return [[int(plain.post[0, 3]), *beyond], [], beyond[:1]]


def test_added_posts_stand_behind_the_candidates_once_and_change_none(plain, added):
    found = proposed(added)

    assert plain.post.shape == (USERS, SIZE)
    assert found.post.shape == (USERS, SIZE + 3)
    for user, mine in enumerate(added):
        size = int((plain.post[user] >= 0).sum())
        new = [post for post in mine if post not in plain.post[user]]
        expected = [*plain.post[user, :size].tolist(), *new]
        assert found.post[user, : len(expected)].tolist() == expected
        assert (found.post[user, len(expected) :] == -1).all()
        assert (found.rank[user, :size] == plain.rank[user, :size]).all()
        behind = slice(size, len(expected))
        assert not found.rank[user, behind].any()
        assert found.content[user, behind] == pytest.approx(WISHES[user] @ VECTORS[:, new])


@pytest.mark.parametrize("order", [model.MODEL, SOURCES[0]])
def test_an_added_post_is_in_no_list_however_good_its_score(plain, added, order):
    found = proposed(added)
    table = model.Table(found, profiles=None, posts=None, pairs=None, asked=None)
    context = SimpleNamespace(topic=np.zeros(POSTS, np.int32), age_days=np.full(POSTS, 9.0))
    score = np.where(found.post >= 0, found.post, -np.inf).astype(np.float32)  # the added are best

    listed = model.arranged(context, table, score, order, 10).post

    assert set(listed[0].tolist()) <= set(plain.post[0].tolist())
    best = np.sort(plain.post[0])[::-1][:10]
    assert listed[0].tolist() == best.tolist()
