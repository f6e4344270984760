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


def test_a_condensed_list_holds_what_was_judged_in_the_order_of_the_whole_list():
    whole = np.array([[5, 3, 8, 1, 9], [3, 5, NONE, NONE, NONE]], np.int32)
    user, judged = np.array([0, 0, 0, 1]), np.array([9, 3, 77, 5])

    found = ranking.condensed(whole, user, judged)

    assert found.tolist() == lists([3, 9], [5]).tolist()


def test_a_list_that_was_never_shown_is_condensed_to_what_it_says_of_the_shown():
    # The incumbent showed 1 to 4, of which 4 was liked. The challenger would have shown 11 to 20
    # first, yet of the four it prefers the one that was liked.
    incumbent, challenger = np.arange(1, 21), np.array([*range(11, 21), 4, 3, 2, 1])
    whole = np.full((2, 20), NONE, np.int32)
    whole[0], whole[1, :14] = incumbent, challenger
    user, judged = np.repeat([0, 1], 4), np.tile([1, 2, 3, 4], 2)
    liked = np.array([0, 1]), np.array([4, 4])

    plain = ranking.per_user(whole, *liked)["ndcg@10"]
    found = ranking.per_user(ranking.condensed(whole, user, judged), *liked)["ndcg@10"]

    assert plain[0] > plain[1] == 0
    assert found[1] == 1 > found[0]
