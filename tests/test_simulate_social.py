"""The simulated feed: as hard as real data, the same everywhere, and true to what it planted."""

import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sqlalchemy import Engine, text

from jobs.simulate.clock import DAY_US, Columns, concatenate, day_date
from jobs.simulate.codes import NULL
from jobs.simulate.social import feed, images, job, lists, rows, truth
from jobs.simulate.social.feed import COMMENT, HIDE, LIKE, SHARE, UNKNOWN, VIEW
from jobs.simulate.social.likes import TOPIC_WEIGHT, appeal, pictured
from jobs.simulate.social.plan import plan, posts_for
from jobs.simulate.social.texts import text as text_of
from jobs.simulate.social.users import age_on, moves
from jobs.simulate.social.words import TOPICS
from jobs.simulate.social.world import FIRST_POST_ID, FIRST_USER_ID, World, born_by
from jobs.warehouse import rows as rows_of

START = date(2025, 12, 1)
DAYS = 90
USERS = 6_000
PARTS = (0, 6, 12, 18)
HOUR_US = 3_600_000_000


@cache
def world() -> World:
    return plan(7, USERS, START, DAYS + 1)


@cache
def history() -> pd.DataFrame:
    """Return all events of the world's first DAYS days, as they happened."""
    first = world().start
    days = [feed.play(world(), day).events for day in range(first, first + DAYS)]
    return pd.DataFrame(concatenate(days))


@cache
def views() -> pd.DataFrame:
    found = history()[history()["action"] == VIEW]
    return found.assign(day=found["at"] // DAY_US, hour=found["at"] // HOUR_US % 24)


@cache
def source_rows() -> pd.DataFrame:
    """Return the rows of feed_data of three weeks, in codes, with their day of arrival."""
    first = world().start
    found = [
        rows.feed_rows(world(), day, feed.play(world(), day).events)
        for day in range(first, first + 21)
    ]
    return pd.DataFrame(concatenate(found))


def lists_of(planned: World, day: date, kind: str, k: int = 100) -> pd.DataFrame:
    """Return the best or random lists of all users for all parts of a day."""
    number = planned.start + (day - day_date(planned.start)).days
    users = FIRST_USER_ID + np.arange(born_by(planned, number - 1))
    posts = truth.available(planned, day)
    rng = np.random.default_rng(1)
    frames = []
    for part in PARTS:
        if kind == "best":
            ids, _ = truth.best(planned, day, users, k, posts, part + 3)
        else:
            ids = np.stack([rng.permutation(posts)[:k] for _ in users])
        frames.append(pd.DataFrame({"user_id": users, "day_part": part, "post_ids": list(ids)}))
    return pd.concat(frames)


def played_with(planned: World, number: int, kind: str) -> feed.Day:
    found = lists.lists(planned, lists_of(planned, day_date(number), kind))
    return feed.play(planned, number, found, lists.no_bits(planned))


def viewed(day: feed.Day) -> pd.DataFrame:
    events = pd.DataFrame(day.events)
    found = events[events["action"] == VIEW]
    return found.assign(
        user_id=FIRST_USER_ID + found["user"], post_id=FIRST_POST_ID + found["post"]
    )


# ---- what the demo is told to look like


def test_users_and_posts_grow_to_what_was_asked_for():
    assert born_by(world(), world().start + DAYS - 1) == USERS
    assert np.sum(world().published < (world().start + DAYS) * DAY_US) == posts_for(USERS) == 1_200
    assert posts_for(163_205) == 7_023
    assert np.mean(world().published < world().start * DAY_US) == pytest.approx(1 / 3, abs=0.01)
    fresh = world().published[world().published >= world().start * DAY_US] // DAY_US
    assert np.bincount(fresh - world().start).min() > 0


def test_users_view_about_five_posts_a_day_and_like_about_eleven_percent():
    days = np.minimum(DAYS, world().start + DAYS - world().birth).clip(0).sum()

    assert len(views()) / days == pytest.approx(4.7, abs=0.4)
    assert 0.09 < views()["target"].mean() < 0.13
    counts = history()["action"].value_counts()
    assert counts[LIKE] == views()["target"].sum()
    for action in (SHARE, COMMENT, HIDE):
        assert 0.001 < counts[action] / counts[VIEW] < 0.01


def test_activity_follows_a_power_law():
    rate = np.sort(world().rate)[::-1]
    # the chance of more than r falls as a power of r, up to the cap
    middle = rate[(rate < rate[0]) & (rate > 1.2 * rate[-1])]
    rank = np.searchsorted(-rate, -middle, side="right")
    slope = np.polyfit(np.log(middle), np.log(rank), 1)[0]
    a_day = views()[views()["day"] == world().start + 60].groupby("user").size()
    born = born_by(world(), world().start + 60)

    assert slope == pytest.approx(-1.25, abs=0.1)
    assert 0.3 < 1 - len(a_day) / born < 0.6  # many are not there on a day
    busiest = a_day.sort_values(ascending=False)
    assert busiest.iloc[: born // 100].sum() > 0.05 * a_day.sum()


def test_users_have_hours_of_their_own():
    hour = views().groupby("user")["hour"]
    angle = 2 * np.pi * views()["hour"] / 24
    towards = np.hypot(
        np.cos(angle).groupby(views()["user"]).mean(), np.sin(angle).groupby(views()["user"]).mean()
    )
    everybody = np.hypot(np.cos(angle).mean(), np.sin(angle).mean())

    assert towards[hour.size() > 200].median() > everybody + 0.15
    by_hour = views()["hour"].value_counts(normalize=True)
    assert by_hour.max() > 3 * by_hour.min()


def test_hour_and_weekday_matter_for_what_is_liked():
    local = views()["hour"].to_numpy() + 3
    evening = ((local >= 19) & (local < 24)) | (local >= 24)
    weekend = (views()["day"] + 3) % 7 >= 5
    topic = np.array(TOPICS)[world().topic[views()["post"]]]
    liked = views()["target"]

    def lift(of: str, when: np.ndarray) -> float:
        chosen = topic == of
        return float(liked[chosen & when].mean() / liked[chosen & ~when].mean())

    assert lift("movie", evening) > 1.15 * lift("politics", evening)
    assert lift("sport", weekend.to_numpy()) > 1.2 * lift("business", weekend.to_numpy())


def test_new_posts_are_liked_more():
    age = views()["at"] - world().published[views()["post"]]

    new = views()["target"][age < 2 * DAY_US].mean()
    old = views()["target"][age > 40 * DAY_US].mean()

    assert new > 1.3 * old


def test_taste_goes_with_demographics():
    planned = world()
    columns = pd.DataFrame(
        {
            "age": planned.age,
            "gender": planned.gender,
            "os": planned.os,
            "source": planned.source,
            "city": planned.city,
            "group": planned.exp_group,
        }
    )
    known = pd.get_dummies(columns, columns=["city", "group"]).to_numpy(dtype=float)
    tastes = np.hstack([planned.topic_taste, planned.taste])

    guess = cross_val_predict(Ridge(alpha=10), known, tastes, cv=3)

    explained = 1 - np.var(tastes - guess, axis=0) / np.var(tastes, axis=0)
    assert 0.1 < explained.mean() < 0.4
    assert explained.min() > 0.02


# ---- texts


def test_texts_are_russian_and_english_of_all_lengths_and_some_are_empty():
    found = [text_of(world(), post, 0) for post in range(len(world().published))]
    lengths = np.array([len(one.split()) for one in found])
    russian = np.array([any("а" <= letter <= "я" for letter in one) for one in found])  # noqa: RUF001

    assert russian[lengths > 0].mean() == pytest.approx(0.6, abs=0.05)
    assert 0 < np.mean(lengths == 0) < 0.02
    assert np.median(lengths) == pytest.approx(75, rel=0.15)
    assert np.percentile(lengths, 5) < 25
    assert lengths.max() > 500
    assert world().no_topic.mean() == pytest.approx(0.04, abs=0.02)
    assert world().picture.mean() == pytest.approx(0.45, abs=0.06)


def test_words_tell_taste_beyond_the_topic_but_not_to_plain_topics_of_tfidf():
    found = [text_of(world(), post, 0) for post in range(len(world().published))]
    factors = world().factors
    folds = KFold(5, shuffle=True, random_state=0)

    def explained(columns: object, alpha: float) -> float:
        guess = cross_val_predict(Ridge(alpha=alpha), columns, factors, cv=folds)
        return float(1 - ((factors - guess) ** 2).sum() / ((factors - factors.mean(0)) ** 2).sum())

    letters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True, max_features=30_000
    ).fit_transform(found)
    reduced = TruncatedSVD(30, random_state=0).fit_transform(
        TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(found)
    )
    topic = np.eye(len(TOPICS))[world().topic]

    # one who knows what to look for finds it, a compression of all words does not
    assert explained(letters, 0.3) > 0.35
    assert explained(reduced / reduced.std(axis=0), 30) < 0.15
    assert explained(topic, 1) < 0.02


# ---- one world, one history


def test_a_day_is_the_same_in_whatever_order_it_is_asked_for():
    first = world().start
    once = [feed.play(world(), first + day).events for day in (50, 3, 4)]

    again = [feed.play(world(), first + day).events for day in (4, 3, 50)][::-1]
    other = feed.play(plan(8, USERS, START, DAYS), first + 50).events

    for one, two in zip(once, again, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two))
    assert len(other["at"]) != len(once[0]["at"])


def test_a_longer_plan_begins_with_the_same_users_posts_and_days():
    short, long = plan(3, 1_000, START, 40), plan(3, 1_000, START, 200)

    for name in ("birth", "rate", "taste", "published", "factors", "removed"):
        values = getattr(short, name)
        assert (getattr(long, name)[: len(values)] == values).all(), name
    one, two = (
        rows.feed_rows(plan_, d, feed.play(plan_, d).events)
        for plan_ in (short, long)
        for d in [short.start + 30]
    )
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(two))


def test_a_day_outside_the_plan_is_refused():
    with pytest.raises(ValueError, match="plan it for more days"):
        feed.play(world(), world().end)
    with pytest.raises(ValueError, match="plan it for more days"):
        truth.available(world(), day_date(world().end + 1))
    with pytest.raises(ValueError, match="the world has 100000 to"):
        truth.expected_likes(world(), START, np.array([99_999]), np.array([[1]]), 12)


# ---- rows


def test_a_view_with_target_one_is_followed_by_its_like_within_minutes():
    events = history()
    likes = events[events["action"] == LIKE]
    liked = views()[views()["target"] == 1]

    both = liked.merge(likes, on=["user", "post"], suffixes=("", "_like"))
    both = both[(both["at_like"] - both["at"]).between(0, 300_000_000)]

    assert len(both) == len(liked) == len(likes)
    assert (events["target"][events["action"] != VIEW] == -1).all()


def test_defects_are_there_and_few():
    found = source_rows()
    columns = ["timestamp", "user_id", "post_id", "action", "target"]
    number = len(found)

    shares = {
        "unknown action": np.mean(found["action"] == UNKNOWN),
        "unknown post": np.mean(found["post_id"] >= rows.NO_SUCH_POST_ID),
        "no user": np.mean(found["user_id"] == NULL),
    }

    for name, share in shares.items():
        assert 0 < share < 0.001, name
    assert found.duplicated(columns).mean() == pytest.approx(rows.COPIES, rel=0.1)
    lag = found["arrival"] - found["timestamp"] // DAY_US
    assert set(lag) == {0, 1, 2, 3}
    assert np.mean(lag > 0) == pytest.approx(rows.LATE, rel=0.1)
    likes = found.loc[found["action"] == LIKE, ["user_id", "post_id", "timestamp"]]
    pairs = found[found["action"] == VIEW].merge(
        likes.drop_duplicates(), "left", ["user_id", "post_id"], suffixes=("", "_like")
    )
    follows = (pairs["timestamp_like"] - pairs["timestamp"]).between(0, 300_000_000)
    liked = follows.groupby([pairs["user_id"], pairs["post_id"], pairs["timestamp"]]).any()
    says = pairs.groupby(["user_id", "post_id", "timestamp"])["target"].max() == 1
    assert np.mean(liked != says) == pytest.approx(rows.WRONG_TARGET, rel=0.5)
    assert number > 500_000


def test_users_age_and_move_and_posts_are_edited_and_removed():
    first, last = world().start, world().start + DAYS - 1
    everyone = np.arange(born_by(world(), first))

    older = age_on(world(), everyone, last) - age_on(world(), everyone, first)
    moved = sum(len(moves(world(), day)[0]) for day in range(first, last))

    assert set(older) == {0, 1}
    assert older.mean() == pytest.approx(DAYS / 365, rel=0.15)
    assert 0.03 < moved / USERS < 0.12
    edited = np.flatnonzero(world().edited)
    assert 0.02 < len(edited) / len(world().published) < 0.08
    before, after = (
        text_of(world(), int(edited[0]), int(world().edited[edited[0]]) - back) for back in (1, 0)
    )
    assert after.startswith(before)
    assert after != before
    assert 0 < np.mean(world().removed < last) < 0.03
    late = views()["at"] // DAY_US >= world().removed[views()["post"]]
    assert not late.any()
    assert (views()["at"] >= world().published[views()["post"]]).all()


# ---- the truth


def test_the_truth_is_calibrated():
    some = views()[views()["day"] >= world().start + 80]
    parts = []
    for day, of in some.groupby("day"):
        ids = FIRST_POST_ID + of["post"].to_numpy()[:, None]
        users = FIRST_USER_ID + of["user"].to_numpy()
        hours = of["hour"].to_numpy()
        expected = truth.expected_likes(world(), day_date(int(day)), users, ids, hours)
        parts.append(pd.DataFrame({"chance": expected[:, 0], "liked": of["target"].to_numpy()}))
    found = pd.concat(parts)

    # in all, and within each tenth of the chances
    for _, of in found.groupby(pd.qcut(found["chance"], 10)):
        error = np.sqrt((of["chance"] * (1 - of["chance"])).sum())
        assert abs(of["liked"].sum() - of["chance"].sum()) < 4 * error


def test_the_truth_of_all_pairs_is_that_of_each():
    day = START + timedelta(days=70)
    users = FIRST_USER_ID + np.arange(40)
    posts = FIRST_POST_ID + np.arange(len(world().published))
    hours = np.arange(40) % 24

    every = truth.chances(world(), day, users, posts, hours)

    listed = np.tile(posts, (40, 1))
    assert np.allclose(every, truth.expected_likes(world(), day, users, listed, hours), atol=1e-6)
    number = world().start + 70
    gone = (world().removed <= number) | (world().published >= (number + 1) * DAY_US)
    assert (every[:, gone] == 0).all()
    there = truth.available(world(), day) - FIRST_POST_ID
    assert (every[:, there] > 0).all()


def test_the_best_list_is_the_best_and_leaves_out_what_it_must():
    day = START + timedelta(days=70)
    users = FIRST_USER_ID + np.arange(200)
    posts = truth.available(world(), day)

    ids, likes = truth.best(world(), day, users, 5, posts, 17)
    without = np.zeros((200, len(posts)), dtype=bool)
    without[np.arange(200), np.searchsorted(posts, ids[:, 0])] = True
    second, _ = truth.best(world(), day, users, 5, posts, 17, without)
    few, nothing = truth.best(
        world(), day, users[:1], 3, posts[:4], 17, np.array([[True, True, True, False]])
    )

    every = truth.chances(world(), day, users, posts, 17)
    assert np.allclose(likes, -np.sort(-every, axis=1)[:, :5])
    assert np.allclose(likes, truth.expected_likes(world(), day, users, ids, 17), atol=1e-6)
    assert (second[:, :4] == ids[:, 1:]).all()
    assert truth.achieved(world(), day, users, ids, 17) == pytest.approx(1)
    assert few.tolist() == [[posts[3], -1, -1]]
    assert nothing[0, 1:].tolist() == [0, 0]
    assert truth.expected_likes(world(), day, users[:1], few, 17)[0, 1:].tolist() == [0, 0]


def test_taste_leaves_room_above_popularity_and_topics_take_a_part_of_it():
    found = []
    for back in (2, 9, 16):
        number = world().start + DAYS - back
        day = day_date(number)
        posts = truth.available(world(), day)
        users = np.random.default_rng(back).choice(born_by(world(), number - 1), 400, False)
        likes = history().query("action == @LIKE and at < @number * @DAY_US")
        recent = likes[likes["at"] >= (number - 7) * DAY_US]
        count = np.bincount(recent["post"], minlength=len(world().published))[posts - FIRST_POST_ID]
        every = truth.chances(world(), day, FIRST_USER_ID + users, posts, 17)
        at = number * DAY_US + 17 * HOUR_US
        topic = world().topic[posts - FIRST_POST_ID]
        by_topic = appeal(world(), posts - FIRST_POST_ID, at)
        by_topic = by_topic + pictured(world(), posts - FIRST_POST_ID)
        by_topic = by_topic + TOPIC_WEIGHT * world().topic_taste[users][:, topic]

        def earns(score: np.ndarray, chances: np.ndarray = every) -> float:
            top = np.argsort(-np.broadcast_to(score, chances.shape), axis=1)[:, :5]
            return float(np.take_along_axis(chances, top, axis=1).mean())

        found.append([every.mean(), earns(count), earns(by_topic), earns(every)])

    random, popular, topics, oracle = np.mean(found, axis=0)
    assert 0.075 < random < 0.11
    assert 0.17 < popular < 0.26
    assert 0.35 < oracle < 0.48
    assert 0.3 < (topics - popular) / (oracle - popular) < 0.65


# ---- our lists


def test_better_lists_are_viewed_and_liked_more_and_a_fifth_of_views_is_elsewhere():
    number = world().start + DAYS

    best, random = (played_with(world(), number, kind) for kind in ("best", "random"))
    none = feed.play(world(), number)

    rate = {name: viewed(day)["target"].mean() for name, day in (("best", best), ("none", none))}
    assert rate["best"] > 2 * rate["none"]
    assert viewed(random)["target"].mean() < rate["none"]
    assert len(viewed(best)) == pytest.approx(len(viewed(none)), rel=0.1)
    served = best.impressions.explode("post_ids")[["user_id", "post_ids"]].astype(int)
    pairs = pd.MultiIndex.from_frame(served)
    assert pairs.is_unique  # nothing is served twice on a day
    inside = pd.MultiIndex.from_frame(viewed(best)[["user_id", "post_id"]]).isin(pairs)
    assert inside.mean() == pytest.approx(1 - feed.FROM_BASE, abs=0.03)
    # the same lists, whatever is asked around them, bring the same day
    pd.testing.assert_frame_equal(
        pd.DataFrame(played_with(world(), number, "best").events), pd.DataFrame(best.events)
    )


def test_lower_positions_are_viewed_less():
    number = world().start + DAYS
    day = played_with(world(), number, "random")

    served = day.impressions.explode(["post_ids", "positions"])
    pairs = pd.MultiIndex.from_frame(viewed(day)[["user_id", "post_id"]])
    seen = pd.MultiIndex.from_frame(served[["user_id", "post_ids"]].astype(int)).isin(pairs)
    by_position = pd.Series(seen).groupby(served["positions"].to_numpy()).mean()

    assert by_position.index.tolist() == [1, 2, 3, 4, 5]
    assert np.allclose(by_position, lists.VIEWED, atol=0.03)


def test_a_session_takes_the_next_unseen_posts_of_its_part():
    small = plan(5, 400, START, 40)
    number = small.start + 39
    posts = truth.available(small, day_date(number))
    users = FIRST_USER_ID + np.arange(born_by(small, number - 1))
    served = pd.DataFrame(
        [(user, part, np.roll(posts, -part)[:30]) for user in users for part in (6, 12)],
        columns=["user_id", "day_part", "post_ids"],
    )
    before = lists.no_bits(small)
    lists.add_views(before, small, users, np.full(len(users), posts[6]))

    found = feed.play(small, number, lists.lists(small, served), before).impressions

    assert set(found["day_part"]) == {6, 12}
    assert (found["served_at"].dt.hour >= 6).all()
    first = found.groupby("user_id").head(1)
    early = first[(first["day_part"] == 6) & (first["post_ids"].map(len) == 5)]
    assert early["post_ids"].map(list).map(tuple).unique().tolist() == [tuple(posts[7:12])]
    again = found[found["user_id"].duplicated()]
    assert len(again) > 50
    listed = {part: np.roll(posts, -part)[:30].tolist() for part in (6, 12)}
    for _, requests in found.groupby("user_id"):
        gone = {posts[6]}
        for request in requests.itertuples():
            free = [post for post in listed[request.day_part] if post not in gone]
            assert request.post_ids.tolist() == free[: len(request.post_ids)]
            gone |= set(request.post_ids)


def test_who_has_no_list_or_has_seen_all_of_it_is_left_to_the_base_policy():
    small = plan(5, 400, START, 40)
    number = small.start + 39
    users = FIRST_USER_ID + np.arange(born_by(small, number - 1))
    seen = lists.no_bits(small)
    posts = np.array([3, 4])
    for post in posts:
        lists.add_views(seen, small, users[:200], np.full(200, post))
    served = pd.DataFrame({"user_id": users[:300], "day_part": 0, "post_ids": [posts] * 300})

    day = feed.play(small, number, lists.lists(small, served), seen)

    usual = feed.play(small, number)
    assert (day.impressions["user_id"] >= users[200]).all()
    assert (day.impressions["user_id"] < users[300]).all()
    for low, high in ((0, 200), (300, len(users))):
        views_of = [viewed(one)["user"].between(low, high - 1).sum() for one in (day, usual)]
        assert views_of[0] == pytest.approx(views_of[1], rel=0.1)


@pytest.mark.parametrize(
    ("parts", "posts", "message"),
    [
        ([0, 24], [1, 2], "expected 0 to 23"),
        ([6, 6], [1, 2], "two lists for one day_part"),
        ([0, 6], [1, 1], "names a post twice"),
    ],
)
def test_lists_that_make_no_sense_are_refused(parts, posts, message):
    served = pd.DataFrame({"user_id": [100_000] * 2, "day_part": parts, "post_ids": [posts] * 2})

    with pytest.raises(ValueError, match=message):
        lists.lists(world(), served)


# ---- in the database


@pytest.fixture
def feed_database(app: Engine, as_role: Callable[[str], Engine]) -> Engine:
    """Return the product's database, empty, as its owner."""
    owner = as_role("simulator")
    forget(owner)
    return owner


def forget(engine: Engine) -> None:
    with engine.begin() as connection:
        assert str(connection.engine.url.database).endswith("_test")
        connection.execute(text("drop schema if exists simulation cascade"))
        for table in job.TABLES:
            connection.execute(text(f"drop table if exists {table}"))


def content(engine: Engine) -> dict[str, tuple[int, int]]:
    """Return each table's count and a checksum that does not know the rows' order."""
    found = {}
    with engine.connect() as connection:
        for table in (*job.TABLES, "simulation.social_pending"):
            row = rows_of(
                connection,
                f"select count(*) as n, sum(hashtextextended(t::text, 0)) as h from {table} t",
            )[0]
            found[table] = (row["n"], row["h"])
    return found


SMALL = {"users": 800, "start": date(2026, 1, 1), "seed": 11}


def test_a_range_equals_its_days_played_one_by_one(feed_database):
    end = date(2026, 1, 30)
    job.simulate(feed_database, end=end, **SMALL)
    whole = content(feed_database)
    forget(feed_database)

    job.simulate(feed_database, end=date(2026, 1, 10), **SMALL)
    for after in range(20):
        written, impressions = job.play_day(
            feed_database, date(2026, 1, 10) + timedelta(days=after)
        )
        assert written > 0
        assert impressions.empty

    assert content(feed_database) == whole


def test_asking_for_a_day_twice_writes_it_once(feed_database):
    end = date(2026, 1, 10)
    job.simulate(feed_database, end=end, **SMALL)
    job.play_day(feed_database, end)
    before = content(feed_database)

    assert job.play_day(feed_database, end)[0] == 0
    assert job.play_day(feed_database, date(2026, 1, 2))[1].empty
    assert job.simulate(feed_database, end=end, **SMALL) == 0

    assert content(feed_database) == before


def test_a_load_that_was_interrupted_goes_on_where_it_stopped(feed_database):
    end = date(2026, 1, 20)
    job.simulate(feed_database, end=end, **SMALL)
    whole = content(feed_database)
    forget(feed_database)

    def interrupt(day: date, written: int) -> None:
        if day == date(2026, 1, 7):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.simulate(feed_database, end=end, report=interrupt, **SMALL)
    part = content(feed_database)
    job.simulate(feed_database, end=end, **SMALL)

    assert part != whole
    assert content(feed_database) == whole
    with feed_database.connect() as connection:
        statement = "select 1 from pg_indexes where indexname = 'feed_data_timestamp'"
        assert rows_of(connection, statement)


def test_the_source_shows_the_owners_names_and_present_state(feed_database):
    end = date(2026, 2, 10)
    written = job.simulate(feed_database, end=end, **SMALL)
    planned = job.world(feed_database, end)
    last = planned.end - 1

    with feed_database.connect() as connection:
        tables = {
            table: pd.DataFrame(rows_of(connection, f"select * from {table}"))
            for table in job.TABLES
        }
    users, posts = (tables[name].set_index("id").sort_index() for name in job.TABLES[:2])
    events = tables["feed_data"]

    assert list(users) == ["age", "city", "country", "exp_group", "gender", "os", "source"]
    place = users.index.to_numpy() - FIRST_USER_ID
    assert len(users) == len(planned.birth)
    assert (users["age"] == age_on(planned, place, last)).all()
    assert list(posts) == ["text", "topic"]
    there = np.flatnonzero(planned.removed > last)
    assert posts.index.tolist() == (FIRST_POST_ID + there).tolist()
    assert posts["text"].tolist() == [text_of(planned, int(post), last) for post in there]
    assert posts["topic"].isna().sum() == planned.no_topic[there].sum() > 0
    assert set(tables["post_image"]["post_id"]) == {
        FIRST_POST_ID + post for post in there if planned.picture[post]
    }
    uris = tables["post_image"].set_index("post_id")["uri"]
    assert all(uri == images.uri(planned, post - FIRST_POST_ID) for post, uri in uris.items())
    own = tables["feed_exclusion"]
    assert own["post_id"].is_unique
    assert set(own["post_id"]) <= set(posts.index)
    assert 0.2 < len(own) / len(posts) < 0.4
    author, post = own["user_id"] - FIRST_USER_ID, own["post_id"] - FIRST_POST_ID
    appeared = np.maximum(planned.published[post] // DAY_US, planned.start)
    assert (planned.birth[author] <= appeared).all()
    assert list(events) == ["timestamp", "user_id", "post_id", "action", "target"]
    assert len(events) == written
    assert set(events["action"]) == set(feed.ACTIONS)
    assert events["target"].isna().eq(events["action"] != "view").all()
    assert events["timestamp"].max() < pd.Timestamp(end)
    assert events["timestamp"].min() < pd.Timestamp("2026-01-01 02:00")


def test_every_picture_is_drawn_before_its_row_is_there(feed_database, tmp_path, monkeypatch):
    end, put = date(2026, 1, 6), images._put

    def killed(path: Path, content: bytes) -> None:
        if len(list(tmp_path.rglob("*.*"))) > 20:
            raise KeyboardInterrupt
        put(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(images, "_put", killed)
        with pytest.raises(KeyboardInterrupt):
            job.simulate(feed_database, end=end, pictures=tmp_path, **SMALL)
    with feed_database.connect() as connection:
        assert not rows_of(connection, "select 1 from post_image")

    job.simulate(feed_database, end=end, pictures=tmp_path, **SMALL)
    for _ in range(2):
        job.play_day(feed_database, end, pictures=tmp_path)

    with feed_database.connect() as connection:
        uris = [row["uri"] for row in rows_of(connection, "select uri from post_image")]
    assert len(uris) > 50
    assert all((tmp_path / uri).is_file() for uri in uris)
    planned = job.world(feed_database, end + timedelta(days=1))
    posts = np.flatnonzero(planned.picture).tolist()
    assert images.write(planned, posts, tmp_path) == 0


def test_without_a_folder_no_picture_is_drawn(feed_database, monkeypatch):
    monkeypatch.setattr(images, "write", None)

    job.simulate(feed_database, end=date(2026, 1, 3), **SMALL)
    job.play_day(feed_database, date(2026, 1, 3))

    with feed_database.connect() as connection:
        assert rows_of(connection, "select uri from post_image")


def test_served_lists_are_viewed_and_what_was_viewed_before_is_not_served(feed_database):
    end = date(2026, 2, 10)
    job.simulate(feed_database, end=end, **SMALL)
    planned = job.world(feed_database, end + timedelta(days=1))
    with feed_database.connect() as connection:
        statement = "select distinct user_id, post_id from feed_data where action = 'view'"
        before = pd.DataFrame(rows_of(connection, statement)).dropna().astype(int)

    ours = lists_of(planned, end, "best")
    written, impressions = job.play_day(feed_database, end, ours)
    once_more = job.play_day(feed_database, end, ours)

    assert written > 0
    assert once_more[0] == 0
    pd.testing.assert_frame_equal(once_more[1], impressions)
    assert len(impressions) > 100
    served = impressions.explode("post_ids")[["user_id", "post_ids"]].astype(int)
    assert not pd.MultiIndex.from_frame(served).isin(pd.MultiIndex.from_frame(before)).any()
    assert impressions["served_at"].between(pd.Timestamp(end), pd.Timestamp("2026-02-11")).all()
    with feed_database.connect() as connection:
        statement = (
            "select sum(target)::float / count(*) as rate from feed_data "
            "where action = 'view' and timestamp >= :since and timestamp < :until"
        )
        rates = [
            rows_of(connection, statement, since=day, until=day + timedelta(days=1))[0]["rate"]
            for day in (end - timedelta(days=7), end)
        ]
    assert rates[1] > 1.5 * rates[0]


def test_days_are_played_without_a_gap(feed_database):
    job.simulate(feed_database, end=date(2026, 1, 3), **SMALL)

    with pytest.raises(ValueError, match="simulate up to 2026-01-05 first"):
        job.play_day(feed_database, date(2026, 1, 5))


def test_another_feed_in_the_same_database_is_refused(feed_database):
    job.simulate(feed_database, end=date(2026, 1, 2), **SMALL)

    with pytest.raises(ValueError, match="holds seed 11, 800 users from 2026-01-01"):
        job.simulate(feed_database, end=date(2026, 1, 2), **{**SMALL, "seed": 12})


def test_rows_of_an_owner_are_not_mixed_with_simulated_ones(feed_database):
    job.create(feed_database)
    with feed_database.begin() as connection:
        connection.execute(text("insert into user_data (id) values (1)"))

    with pytest.raises(ValueError, match="user_data: holds rows that are not simulated"):
        job.simulate(feed_database, end=date(2026, 1, 2), **SMALL)


def test_a_day_can_not_be_played_before_there_is_a_feed(feed_database):
    job.create(feed_database)

    with pytest.raises(ValueError, match="call simulate first"):
        job.play_day(feed_database, date(2026, 1, 1))


def test_a_large_day_is_drawn_fast_and_in_bounded_memory():
    large = plan(7, 163_205, START, 40)
    found: Columns = {}

    begun = time.perf_counter()
    for day in (large.start + 30, large.start + 31):
        found = rows.feed_rows(large, day, feed.play(large, day).events)
    took = time.perf_counter() - begun

    assert 700_000 < len(found["arrival"]) < 1_000_000
    assert 2 * len(found["arrival"]) / took > 250_000  # 1.5 M/s on two idle cores
