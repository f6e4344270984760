"""What is fitted and compared: planted words and pictures are found, and nothing else is."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import post_worlds
import pytest

from jobs import evaluation
from jobs.calibration import NothingToLearnFrom
from jobs.feed_recommendation import tfidf
from jobs.post_conversion import (
    boosting,
    experiments,
    hybrid,
    model,
    rates,
    reasons,
    regression,
    rows,
    scores,
    slices,
    training,
)
from jobs.post_conversion.model import GLOBAL, TOPIC, Candidate

AS_OF = post_worlds.FIRST_DAY + timedelta(days=108)
ACTIONS = ("like", "share", "comment", "hide")


@pytest.fixture(scope="module")
def told():
    return post_worlds.frame(post_worlds.draw(posts=900), AS_OF)


@pytest.fixture(scope="module")
def pictures():
    """Return vectors that hold the appeal among noise."""
    drawn = post_worlds.draw(posts=900)
    drawn = drawn[drawn["uri"].notna()]
    random = np.random.default_rng(1)
    vectors = random.normal(0, 1, (len(drawn), 8)).astype(np.float32)
    vectors[:, 3] += 3 * drawn["appeal"]
    return pd.DataFrame({"post_id": drawn["post_id"], "uri": drawn["uri"], "vector": list(vectors)})


def read(part: pd.DataFrame, told: pd.DataFrame, pictures: pd.DataFrame) -> rows.Rows:
    own = tfidf.fit(slices.learning_posts(told, AS_OF)["text"].tolist())
    return rows.build(part, ACTIONS, {"svd": own.embed(part["text"].tolist())}, pictures, told)


@pytest.fixture(scope="module")
def learned(told, pictures):
    return read(slices.learning_posts(told, AS_OF), told, pictures)


@pytest.fixture(scope="module")
def asked(told, pictures):
    return read(slices.gate_posts(told, AS_OF), told, pictures)


@pytest.fixture(scope="module")
def trained(learned):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hybrid, "EPOCHS", 30)
        patch.setitem(boosting.SETTINGS, "iterations", 150)
        return training.fit_all(learned)


@pytest.fixture(scope="module")
def table(trained, asked):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "RESAMPLES", 400)
        return experiments.table(
            trained, {action: trained.best(action) for action in ACTIONS}, asked
        )


def test_the_slices_follow_each_other_and_leave_the_windows_time(told):
    """No post that is learned from was still in its window when the gate's first came out."""
    learned, asked = slices.learning_posts(told, AS_OF), slices.gate_posts(told, AS_OF)

    assert len(asked) > 50
    window = timedelta(days=rows.WINDOW_DAYS)
    assert max(learned["published_day"]) + window <= min(asked["published_day"])
    assert max(asked["published_day"]) + window <= AS_OF
    assert max(learned["published_day"]) == slices.gate_begin(AS_OF) - window


def test_every_candidate_is_compared_with_and_without_pictures(table):
    asked_for = {
        *(("linear", "tfidf"), ("ridge", "tfidf"), ("forest", "tfidf")),
        *(("ridge", "svd"), ("catboost", "svd"), ("hybrid", "svd")),
    }
    for action in ACTIONS:
        part = table[table["action"] == action]
        with_pictures = part[part["with_pictures"]]
        assert set(zip(with_pictures["model"], with_pictures["text"], strict=True)) == asked_for
        without = part[~part["with_pictures"]]
        assert set(zip(without["model"], without["text"], strict=True)) == {
            *asked_for, tuple(GLOBAL[:2]), tuple(TOPIC[:2]),
        }  # fmt: skip
        assert part["serves"].sum() == 1
        assert part["interval_coverage"].notna().equals(part["serves"])
    assert table["posts"].nunique() == 1
    assert (table["log_loss_low"] < table["log_loss"]).all()
    assert (table["log_loss"] < table["log_loss_high"]).all()


def test_pictures_gain_likes_and_no_shares(table):
    """The interval of likes, which the planted effect is on, excludes zero; that of shares not."""
    for text in ("tfidf", "svd"):
        rows_of = table[
            (table["model"] == "ridge") & (table["text"] == text) & table["with_pictures"]
        ].set_index("action")
        assert rows_of.loc["like", "picture_gain_low"] > 0, text
        assert rows_of.loc["share", "picture_gain_low"] <= 0, text


def test_a_gain_is_how_much_less_the_same_model_loses_with_pictures(table):
    lost = table.set_index(["action", "model", "text", "with_pictures"])["log_loss"]
    for row in table[table["with_pictures"]].to_dict("records"):
        key = row["action"], row["model"], row["text"]
        assert row["picture_gain"] == pytest.approx(lost[(*key, False)] - lost[(*key, True)])
        assert row["picture_gain_low"] <= row["picture_gain"] <= row["picture_gain_high"]


def test_words_are_found_and_beat_the_baselines(table):
    for action in ("like", "comment", "hide"):
        part = table[table["action"] == action].set_index(["model", "text", "with_pictures"])
        best = part[part["serves"]].iloc[0]
        assert best["log_loss"] < part.loc[tuple(TOPIC), "log_loss"]
        assert best["log_loss"] < part.loc[tuple(GLOBAL), "log_loss"]
        assert best["spearman_within"] > 0.3


def test_intervals_cover_what_came(table):
    serving = table[table["serves"]]
    assert (serving["interval_coverage"] > 0.85).all()


def test_a_version_that_is_saved_says_the_same_when_it_is_loaded(trained, asked, tmp_path):
    for each in (
        Candidate("ridge", "tfidf", True),
        Candidate("forest", "tfidf"),
        Candidate("catboost", "svd", True),
        Candidate("hybrid", "svd", True),
        GLOBAL,
        TOPIC,
    ):
        fitted = trained.serving(dict.fromkeys(trained.actions, each))
        model.save(fitted, tmp_path / str(each))
        again = model.load(tmp_path / str(each))
        assert (model.predicted(again, asked) == model.predicted(fitted, asked)).all(), each
        assert again.serves == fitted.serves
        assert again.strengths == fitted.strengths


def test_a_training_is_the_same_each_time(trained, learned, asked, monkeypatch):
    monkeypatch.setattr(hybrid, "EPOCHS", 30)
    monkeypatch.setitem(boosting.SETTINGS, "iterations", 150)

    again = training.fit_all(learned)

    assert again.selection.equals(trained.selection)
    for candidate, one in trained.models.items():
        assert (one.log_odds(asked) == again.models[candidate].log_odds(asked)).all(), candidate


def test_what_a_picture_adds_has_its_appeals_sign(trained, asked):
    fitted = trained.serving(dict.fromkeys(ACTIONS, Candidate("ridge", "tfidf", True)))
    rate = model.predicted(fitted, asked)

    added = model.picture_added(fitted, asked, rate)

    assert np.isnan(added[~asked.has_picture]).all()
    drawn = post_worlds.draw(posts=900).set_index("post_id")["appeal"]
    appeal = drawn.loc[asked.posts["post_id"]].to_numpy()[asked.has_picture]
    assert np.corrcoef(added[asked.has_picture, 0], appeal)[0, 1] > 0.7
    blind = trained.serving(dict.fromkeys(ACTIONS, Candidate("ridge", "tfidf")))
    assert np.isnan(model.picture_added(blind, asked, rate)).all()


def by_name(one, place, asked, post: int) -> dict[str, float]:
    """Return what each name adds to one post's log-odds, written plainly."""
    alone = asked.where(np.array([post]))
    if isinstance(one, regression.Regression):
        found = one.table(alone).toarray()[0] * one.weights[place]
    else:
        found = one.contributions(alone, place)[0, :-1]
    sums: dict[str, float] = {}
    for column, value in zip(one.names(alone), found, strict=True):
        blind = column == "picture" and not alone.has_picture[0]
        name = "no picture" if blind else column
        sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value for name, value in sums.items() if value}


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate("ridge", "tfidf", True),
        Candidate("ridge", "svd", True),
        Candidate("catboost", "svd", True),
    ],
)
def test_reasons_and_rest_sum_to_the_log_odds(trained, asked, candidate):
    fitted = trained.serving(dict.fromkeys(ACTIONS, candidate))
    told = scores.of_posts(fitted, asked).to_pandas()

    rate = told["predicted_rate"].astype(float)
    sums = told["reason_contributions"].map(sum) + told["reason_rest"]
    assert sums.to_numpy() == pytest.approx(np.log(rate / (1 - rate)), abs=1e-4)
    assert told["reason_features"].map(len).max() == reasons.MOST
    # The rest is what is left of all contributions: without the top ones it is no constant.
    place = asked.actions.index("like")
    one = fitted.models[candidate]
    every = reasons.of_rows(one, place, asked, fitted.maps["like"])
    assert every is not None
    slope = fitted.maps["like"].slope
    told_of = every.features.to_pylist(), every.contributions.to_pylist()
    for post, (names, values) in enumerate(zip(*told_of, strict=True)):
        each = by_name(one, place, asked, post)
        assert len(set(names)) == len(names)
        largest = sorted(each, key=lambda name: (-abs(each[name]), name))[: reasons.MOST]
        assert [each[name] * slope for name in names] == pytest.approx(values, rel=1e-4, abs=1e-6)
        assert [abs(each[name]) for name in names] == pytest.approx(
            [abs(each[name]) for name in largest], rel=1e-9
        )


def test_the_words_that_moved_a_post_are_its_reasons(trained, asked):
    fitted = trained.serving(dict.fromkeys(ACTIONS, Candidate("ridge", "tfidf")))
    told = scores.of_posts(fitted, asked).to_pandas()
    hides = told[told["action"] == "hide"].set_index("post_id")
    texts = asked.posts.set_index("post_id")["text"]

    named = [
        any("casin" in feature for feature in hides.loc[post, "reason_features"])
        for post in texts.index[texts.str.contains("casino")]
    ]

    assert np.mean(named) > 0.7
    assert not any("casin" in " ".join(hides.loc[post, "reason_features"])
                   for post in texts.index[~texts.str.contains("casino")])  # fmt: skip


def test_a_forest_and_a_network_give_no_reasons(trained, asked):
    fitted = trained.serving(dict.fromkeys(ACTIONS, Candidate("hybrid", "svd", True)))
    told = scores.of_posts(fitted, asked).to_pandas()

    assert told["reason_rest"].isna().all()
    assert (told["reason_features"].map(len) == 0).all()
    assert (told["predicted_low"] <= told["predicted_rate"]).all()
    assert (told["predicted_rate"] <= told["predicted_high"]).all()


def test_without_any_picture_nothing_is_compared_with_pictures(told):
    none = pd.DataFrame({"post_id": [], "uri": [], "vector": []}).astype({"post_id": "int64"})
    found = training.fit_all(read(slices.learning_posts(told, AS_OF), told, none))

    assert not any(candidate.with_pictures for candidate in found.models)


def test_an_action_that_nobody_takes_any_more_has_a_rate_of_nearly_nothing(
    learned, asked, monkeypatch
):
    """Hides that stopped: the later posts have none, and nothing is divided by zero."""
    monkeypatch.setattr(hybrid, "EPOCHS", 2)
    monkeypatch.setitem(boosting.SETTINGS, "iterations", 20)
    posts = learned.posts.assign(hides=0)
    found = training.fit_all(
        rows.Rows(
            posts, learned.actions, learned.layout, learned.vectors, learned.picture,
            learned.has_picture,
        )
    )  # fmt: skip

    fitted = found.serving({action: found.best(action) for action in ACTIONS})
    rate = model.predicted(fitted, asked)

    assert np.isfinite(rate).all()
    assert rate[:, ACTIONS.index("hide")].max() < 0.001


def test_too_few_posts_or_no_action_at_all_say_so(learned):
    with pytest.raises(NothingToLearnFrom, match="20 viewed posts"):
        training.fit_all(learned.where(np.arange(20)))
    idle = learned.posts.assign(likes=0, shares=0, comments=0, hides=0)
    with pytest.raises(NothingToLearnFrom, match="ended in an action"):
        training.fit_all(
            rows.Rows(
                idle, learned.actions, learned.layout, learned.vectors, learned.picture,
                learned.has_picture,
            )
        )  # fmt: skip


def test_the_gates_rows_weigh_posts_by_their_views(trained, asked):
    fitted = {"one": trained.serving(dict.fromkeys(ACTIONS, GLOBAL))}

    losses = experiments.losses(fitted, asked)

    table = experiments.table(trained, dict.fromkeys(ACTIONS, GLOBAL), asked)
    for action in ACTIONS:
        row = table[(table["action"] == action) & (table["model"] == GLOBAL.model)].iloc[0]
        assert losses[action]["one"].mean() == pytest.approx(row["log_loss"])
    total = sum(losses[action]["one"].mean() for action in ACTIONS)
    assert losses["all"]["one"].mean() == pytest.approx(total)


def test_one_post_that_everybody_saw_changes_little_for_the_others(learned, asked, monkeypatch):
    """A viral post among those that candidates are chosen and calibrated by."""
    monkeypatch.setattr(hybrid, "EPOCHS", 2)
    monkeypatch.setitem(boosting.SETTINGS, "iterations", 30)
    place = learned.posts["published_at"].argsort().iloc[-10]
    posts = learned.posts.copy()
    for column, count in {"views": 10_000_000, "likes": 1_500_000, "shares": 200_000}.items():
        posts[column] = np.where(np.arange(len(posts)) == place, count, posts[column])
    candidate = Candidate("ridge", "tfidf", True)

    usual, viral = (
        training.fit_all(replace(learned, posts=each, tables={})) for each in (learned.posts, posts)
    )

    told = [
        model.predicted(each.serving(dict.fromkeys(ACTIONS, candidate)), asked)[:, 0]
        for each in (usual, viral)
    ]
    # Its like rate is .15, that of all others .1.
    assert np.median(told[1] / told[0]) < 1.3


@pytest.mark.parametrize("size", [1, 30, 3_000])
def test_scores_that_rank_later_posts_backwards_say_one_rate_for_all(size):
    """Least squares with more words than posts may be as wild as that."""
    random = np.random.default_rng(9)
    views = random.integers(50, 500, 150).astype(float)
    true = np.clip(0.1 + 0.03 * random.normal(size=150), 0.01, 0.3)
    count = random.binomial(views.astype(int), true).astype(float)

    backwards = training._map(-size * true, count, views)
    forwards = training._map(size * true, count, views)

    assert backwards.slope == 0
    rate = rates.rate_of(np.full(150, backwards.intercept))
    assert rate[0] == pytest.approx(count.sum() / views.sum())
    assert forwards.slope > 0
    told = rates.rate_of(forwards.intercept + forwards.slope * size * true)
    assert rates.loss(count, views, told).sum() < rates.loss(count, views, rate).sum()
