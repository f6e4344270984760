"""Figures of ranked lists, against values worked out by hand."""

import numpy as np
import pytest

from jobs import ranking

NONE = -1


def lists(*rows: list[int]) -> np.ndarray:
    return np.array([row + [NONE] * (10 - len(row)) for row in rows], np.int32)


def test_figures_of_one_user_as_worked_out_by_hand():
    found = ranking.per_user(lists([7, 3, 5, 1]), np.array([0, 0, 0]), np.array([3, 1, 9]))

    # hits at ranks 2 and 4, three relevant items
    best = 1 + 1 / np.log2(3) + 1 / 2
    assert found["hitrate@5"] == [1]
    assert found["ndcg@10"] == pytest.approx([(1 / np.log2(3) + 1 / np.log2(5)) / best])
    assert found["map@10"] == pytest.approx([(1 / 2 + 2 / 4) / 3])
    assert found["recall@10"] == pytest.approx([2 / 3])


def test_a_hit_below_the_fifth_place_is_no_hit_at_five():
    found = ranking.per_user(lists([1, 2, 3, 4, 5, 6]), np.array([0]), np.array([6]))

    assert found["hitrate@5"] == [0]
    assert found["recall@10"] == [1]


def test_users_do_not_share_their_items_and_an_empty_list_hits_nothing():
    found = ranking.per_user(lists([1], [1], []), np.array([0, 1, 2]), np.array([1, 2, 1]))

    assert found["ndcg@10"].tolist() == [1, 0, 0]


def test_an_item_liked_twice_counts_once():
    once = ranking.per_user(lists([4, 1]), np.array([0]), np.array([1]))
    twice = ranking.per_user(lists([4, 1]), np.array([0, 0]), np.array([1, 1]))

    assert {name: value.tolist() for name, value in once.items()} == {
        name: value.tolist() for name, value in twice.items()
    }


def test_a_user_without_anything_relevant_is_an_error():
    with pytest.raises(ValueError, match="1 of 2 users have nothing relevant"):
        ranking.per_user(lists([1], [2]), np.array([0]), np.array([1]))


def test_coverage_and_novelty_as_worked_out_by_hand():
    found = ranking.over_catalog(lists([0, 1], [0]), np.array([2.0, 0.0, 0.0, 0.0]))

    # two of four items; shares (2 + 1) / 6 and 1 / 6
    assert found["coverage@10"] == 0.5
    assert found["novelty@10"] == pytest.approx((1 + np.log2(6) + 1) / 3)
    assert ranking.over_catalog(lists([], []), np.ones(3)) == {
        "coverage@10": 0.0,
        "novelty@10": 0.0,
    }
