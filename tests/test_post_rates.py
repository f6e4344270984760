"""Rates of views: likelihood, shrinkage, intervals, figures; how texts look; topics' past rates."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from jobs.post_conversion import rates, rows
from jobs.post_conversion.layout import NAMES, layout, plain

RANDOM = np.random.default_rng(5)


def drawn(posts: int, strength: float, rate: float = 0.1) -> tuple[np.ndarray, ...]:
    """Return counts, views and true rates of posts that differ as so many views' worth allows."""
    views = RANDOM.integers(5, 2_000, posts).astype(float)
    truth = RANDOM.beta(rate * strength, (1 - rate) * strength, posts)
    return RANDOM.binomial(views.astype(int), truth).astype(float), views, truth


def test_the_loss_is_that_of_the_binomial_but_for_its_constant():
    count, views = np.array([3.0, 0.0, 7.0]), np.array([10.0, 4.0, 7.0])
    one, other = np.full(3, 0.3), np.full(3, 0.6)

    told = rates.loss(count, views, one) - rates.loss(count, views, other)

    expected = binom.logpmf(count, views, other) - binom.logpmf(count, views, one)
    assert told == pytest.approx(expected)


@pytest.mark.parametrize("strength", [20.0, 200.0])
def test_strength_is_found_again(strength):
    count, views, _ = drawn(20_000, strength)

    assert rates.strength(count, views, np.full(len(views), 0.1)) == pytest.approx(
        strength, rel=0.1
    )


def test_posts_that_do_not_differ_leave_a_prediction_sure():
    views = np.full(5_000, 300.0)
    count = RANDOM.binomial(300, 0.1, 5_000)

    assert rates.strength(count, views, np.full(5_000, 0.1)) > 5_000
    assert rates.strength([0.0], [1.0], [0.1]) == rates.STRONGEST


def test_the_interval_holds_the_true_rate_and_the_count_as_often_as_it_says():
    count, views, truth = drawn(5_000, 60.0)
    rate = np.full(len(views), 0.1)

    low, high = rates.interval(rate, 60.0)

    assert ((truth >= low) & (truth <= high)).mean() == pytest.approx(0.95, abs=0.01)
    assert rates.coverage(count, views, rate, 60.0) == pytest.approx(0.955, abs=0.02)
    assert rates.coverage(count, views, rate, 2_000.0) < 0.6
    many = np.full(400, 30_000.0)
    found = RANDOM.binomial(30_000, RANDOM.beta(6, 54, 400)).astype(float)
    assert rates.coverage(found, many, np.full(400, 0.1), 60.0) == pytest.approx(0.95, abs=0.03)


def test_what_is_expected_lies_nearer_the_truth_than_prediction_or_observation_alone():
    count, views, truth = drawn(3_000, 80.0)

    told = rates.expected(np.full(len(views), 0.1), 80.0, count, views)

    error = np.abs(told - truth).mean()
    assert error < np.abs(count / views - truth).mean()
    assert error < np.abs(0.1 - truth).mean()
    assert rates.expected([0.1], 80.0, [0], [0]) == pytest.approx([0.1])


def test_many_views_of_a_post_are_worth_no_more_than_posts_differ():
    assert rates.worth([1, 10, 1_000_000], 99.0) == pytest.approx([1, 9.174, 100], rel=0.01)
    assert rates.worth([0.0], 10.0) == [0]


def test_figures_see_who_posted_through():
    """Rates that differ between groups only: a headline correlation, nothing within."""
    group = np.repeat(["a", "b"], 300)
    views = np.full(600, 400.0)
    rate = np.where(group == "a", 0.05, 0.2)
    count = RANDOM.binomial(400, rate).astype(float)
    noisy = rate * np.exp(RANDOM.normal(0, 0.01, 600))

    told = rates.figures(count, views, noisy, group)

    assert told["spearman"] > 0.7
    assert abs(told["spearman_within"]) < 0.12
    assert told["calibration_error"] < 0.01
    assert told["top_decile_lift"] == pytest.approx(0.2 / 0.125, rel=0.05)
    assert told["absolute_error"] == pytest.approx(np.abs(count / 400 - noisy).mean())


def test_a_wrong_level_is_an_error_of_calibration_and_not_of_rank():
    views = np.full(1_000, 500.0)
    truth = RANDOM.uniform(0.05, 0.15, 1_000)
    count = RANDOM.binomial(500, truth).astype(float)
    group = np.full(1_000, "all")

    right, doubled = (rates.figures(count, views, each, group) for each in (truth, 2 * truth))

    assert doubled["spearman"] == pytest.approx(right["spearman"])
    assert doubled["calibration_error"] == pytest.approx(0.1, abs=0.01)
    assert right["calibration_error"] < 0.005
    assert right["log_loss"] < doubled["log_loss"]


def test_figures_of_nothing_say_nothing():
    assert all(np.isnan(value) for value in rates.figures([0], [0], [0.1], ["a"]).values())
    alike = rates.figures([1, 2, 3], [10, 10, 10], [0.1, 0.1, 0.1], ["a", "b", "c"])
    assert alike["spearman"] == 0
    assert alike["top_decile_lift"] == pytest.approx(1)
    assert alike["calibration_error"] == pytest.approx(abs(6 / 30 - 0.1))
    assert np.isnan(alike["spearman_within"])


def test_how_a_text_looks():
    text = "Смотри https://a.example/x ЗДЕСЬ!! @friend [id7|Имя] #tag \N{GRINNING FACE}\nждём? 12"

    told = dict(zip(NAMES, layout([text, ""])[0], strict=True))

    for name in ("links", "hashtags", "emoji", "lines", "questions"):
        assert told[name] == pytest.approx(np.log1p(1)), name
    assert told["mentions"] == pytest.approx(np.log1p(2))
    assert told["exclamations"] == pytest.approx(np.log1p(2))
    letters = sum(each.isalpha() for each in text)
    assert told["cyrillic_share"] == pytest.approx(18 / letters)
    assert told["no_text"] == 0
    assert layout([""])[0][NAMES.index("no_text")] == 1
    assert plain("a https://b.example/c @d").split() == ["a", "link", "mention"]
    assert layout([]).shape == (0, len(NAMES))


def test_a_text_of_a_megabyte_takes_no_longer_than_its_beginning():
    assert (layout(["ab " * 400_000]) == layout(["ab " * 400_000 + "!"])).all()


def posts_frame(days: list[int], topics: list[str], likes: list[int]) -> pd.DataFrame:
    """Return posts of 100 views each, published on days after 1 January."""
    first = date(2026, 1, 1)
    published = [datetime(2026, 1, 1, 15, 30, tzinfo=UTC) + timedelta(days=day) for day in days]
    return pd.DataFrame(
        {
            "post_id": range(len(days)),
            "published_at": pd.to_datetime(published),
            "published_day": [first + timedelta(days=day) for day in days],
            "text": "",
            "uri": None,
            "topic": topics,
            "views": 100,
            "likes": likes,
            "views_on_time": 100,
            "likes_on_time": likes,
        }
    )


def test_a_topics_past_is_what_was_over_before_the_post():
    """A post's own likes, and those of windows that were still running, tell nothing."""
    base = posts_frame([0, 0, 6, 7, 8], ["a", "b", "a", "a", "a"], [10, 50, 90, 20, 30])
    told = rows.topic_log_odds(base, base, ("like",))

    def of(over: list[int], all_over: list[int]) -> float:
        prior = (sum(all_over) + 1) / (100 * len(all_over) + 100)
        return float(rates.shrunk([sum(over)], [100 * len(over)], [prior], rows.TOPIC_VIEWS)[0])

    expected = [of([], []), of([], []), of([], []), of([10], [10, 50]), of([10], [10, 50])]
    assert told[:, 0] == pytest.approx(expected)
    changed = base.assign(likes_on_time=[10, 50, 0, 0, 0])
    assert rows.topic_log_odds(changed, changed, ("like",))[:, 0] == pytest.approx(told[:, 0])


def test_one_post_of_very_many_views_is_not_its_topics_past():
    base = posts_frame([0, 1, 20], ["a", "a", "a"], [20_000_000, 400, 0])
    base["views_on_time"] = [100_000_000, 20_000, 100]
    prior = (4_000 + 400 + 1) / (20_000 + 20_000 + 100)

    told = rows.topic_log_odds(base, base, ("like",))

    expected = rates.shrunk([4_000 + 400], [40_000], [prior], rows.TOPIC_VIEWS)
    assert told[2, 0] == pytest.approx(expected[0])
    assert rates.rate_of(told[2, 0]) == pytest.approx(0.11, abs=0.001)


def test_rows_join_pictures_by_post_and_file_and_counts_stay_below_views():
    base = posts_frame([0, 1, 2], ["a", "a", "b"], [10, 120, 0])
    base["uri"] = ["x.jpg", "new.jpg", None]
    drawn = pd.DataFrame(
        {
            "post_id": [0, 1, 9],
            "uri": ["x.jpg", "old.jpg", "y.jpg"],
            "vector": [np.ones(4, np.float32)] * 3,
        }
    )

    found = rows.build(base, ("like",), {"svd": np.eye(3, dtype=np.float32)}, drawn)

    assert found.has_picture.tolist() == [True, False, False]
    assert found.picture.sum(axis=1).tolist() == [4, 0, 0]
    assert found.counts()[:, 0].tolist() == [10, 100, 0]
    assert found.layout.shape == (3, len(rows.numbers(("like",))))
    assert not found.without_pictures().has_picture.any()
    part = found.where(np.array([2, 0]))
    assert part.posts["post_id"].tolist() == [2, 0]
    assert part.vectors["svd"].tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("seen", [0.05, 0.03, 0.1, 0.2])
def test_one_post_that_everybody_saw_does_not_tell_how_far_posts_differ(seen):
    random = np.random.default_rng(6)
    views = random.integers(50, 500, 600)
    rate = np.full(600, 0.05)
    counts = random.binomial(views, random.beta(0.05 * 80, 0.95 * 80, 600))
    alone = rates.strength(counts, views, rate)
    assert alone == pytest.approx(80, rel=0.25)

    with_it = rates.strength(
        np.append(counts, seen * 10_000_000), np.append(views, 10_000_000), np.append(rate, 0.05)
    )

    assert with_it == pytest.approx(alone, rel=0.1)


def test_the_strength_of_a_rare_action_is_found_too():
    random = np.random.default_rng(8)
    views = random.integers(100, 1_000, 4_000)
    counts = random.binomial(views, random.beta(0.001 * 20, 0.999 * 20, 4_000))

    assert rates.strength(counts, views, np.full(4_000, 0.001)) == pytest.approx(20, rel=0.3)


def test_without_a_view_more_than_one_there_is_nothing_to_tell_it_by():
    assert rates.strength([0, 1], [0, 1], [0.1, 0.1]) == rates.STRONGEST


def test_a_prediction_lies_within_its_interval():
    rate = np.concatenate([np.logspace(-6, -1, 30), 1 - np.logspace(-6, -1, 30)])
    for known in (1, 50, 584, 1e4, 1e6):
        low, high = rates.interval(rate, known)
        assert (low <= rate).all()
        assert (rate <= high).all()
        assert ((low >= 0) & (high <= 1)).all()


def test_more_likes_than_views_are_no_rate_beyond_one():
    """Counters that are not of one moment: likes of posts whose views nobody counted."""
    base = posts_frame([0, 1, 20], ["a", "a", "a"], [60, 500, 0])
    base["views_on_time"] = [0, 100, 100]

    told = rows.topic_log_odds(base, base, ("like",))

    assert np.isfinite(told).all()
    prior = (100 + 1) / (100 + 100)
    assert told[2, 0] == pytest.approx(rates.shrunk([100], [100], [prior], rows.TOPIC_VIEWS)[0])
    assert np.isfinite(rates.shrunk([5], [0], [1.0], 10)).all()


@pytest.mark.parametrize("posts", [5, 19, 60, 600])
def test_no_post_counts_for_more_than_its_share(posts):
    views = np.random.default_rng(2).integers(50, 500, posts).astype(float)

    found = rates.capped(np.append(views, 10_000_000), 0.05)

    assert found[-1] / found.sum() == pytest.approx(max(0.05, 2 / (posts + 1)), rel=1e-6)
    assert (found[:-1] == np.minimum(views, found[-1])).all()
    even = np.full(posts, 100.0)
    assert (rates.capped(even, 0.05) == even).all()
    assert rates.capped([], 0.05).tolist() == []
    assert rates.capped([0, 0], 0.05).tolist() == [0, 0]
