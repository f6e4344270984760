"""The feed's job on a real Postgres and a real MLflow store: nights, reruns, odd users, posts."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, text

from jobs import champion
from jobs.feed_recommendation import (
    arms,
    evaluating,
    features,
    job,
    kept,
    lists,
    model,
    periods,
    serving,
    training,
    two_tower,
)
from jobs.feed_recommendation.history import number
from jobs.publish import StagedRowsLost
from jobs.settings import BadSetting

NIGHT = date(2026, 3, 1)
FIRST_DAY = NIGHT - timedelta(days=25)
USERS, POSTS = 240, 90
PARTS = 4

# Three topics; a user likes posts of one of them, and the words say which. Who views what on which
# day is settled by a hash, so the same feed arises everywhere.
PEOPLE = """
insert into raw.user_data (user_id, age, city, country, exp_group, gender, os, source, known_from)
select n, 15 + n % 50, 'city ' || n % 5, 'Russia', n % 4, n % 2, 'Android', 'ads', :first
from generate_series(1, :users) as n
"""
TEXTS = """
insert into raw.post_text_df (post_id, text, topic, known_from)
select
    n,
    (array['football goal match score', 'новый фильм актёр сцена', 'recipe soup dinner onion'])
        [1 + n % 3] || ' word' || n % 11 || ' noise' || n % 7,
    (array['sport', 'movie', 'food'])[1 + n % 3],
    :first
from generate_series(1, :posts) as n
"""
# A third of the posts appears later, four a day.
LIVES = """
insert into feature.post_life (post_id, published_at, viewed, known_from)
select
    post_id,
    day + interval '1 hour',
    true,
    day + 1
from (
    select
        post_id,
        cast(:first as date) - 1 + cast(greatest(0, (post_id - 60) / 2) as integer) as day
    from raw.post_text_df
) as days
"""
VIEWS = """
create temporary table seen on commit drop as
select
    user_id,
    post_id,
    day,
    cast(8 + (user_id + post_id) % 14 as smallint) as hour,
    cast(
        1 + case
            when abs(hashint8(user_id * 7919 + post_id * 31)) % 100
                < case when user_id % 3 = post_id % 3 then 70 else 5 end
            then 2 else 0
        end as smallint
    ) as action
from generate_series(1, :users) as user_id
cross join generate_series(1, :posts) as post_id
cross join lateral (
    select cast(day as date) as day
    from generate_series(cast(:first as date), cast(:last as date), interval '1 day') as day
) as days
where
    abs(hashint8(user_id * 1000003 + post_id * 1009 + (day - date '2000-01-01'))) % 1000 < 20
    and exists (
        select from feature.post_life
        where post_life.post_id = cast(post_id as bigint) and published_at < day
    )
"""
BY_USER = """
insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours, actions)
select user_id, day, day + 1, array_agg(post_id order by hour, post_id),
    array_agg(hour order by hour, post_id), array_agg(action order by hour, post_id)
from seen group by user_id, day
"""
BY_POST = """
insert into feature.post_day (post_id, event_day, known_from, views, likes, shares, comments, hides,
    viewers)
select post_id, day, day + 1, count(*), count(*) filter (where action = 3), 0, 0, 0, count(*)
from seen group by post_id, day
"""


@pytest.fixture(autouse=True)
def _mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    # Enough for so few users.
    monkeypatch.setitem(training.PARAMS, "iterations", 40)
    monkeypatch.setattr(two_tower, "EPOCHS", 2)


@pytest.fixture
def feed(warehouse) -> Engine:
    """Nearly four weeks of a small feed, with a few days after the night."""
    with warehouse.begin() as connection:
        known = {"first": FIRST_DAY, "users": USERS, "posts": POSTS}
        for statement in (PEOPLE, TEXTS, LIVES):
            run(connection, statement, **known)
        run(connection, VIEWS, **known, last=NIGHT + timedelta(days=2))
        for statement in (BY_USER, BY_POST, "analyze"):
            run(connection, statement)
    return warehouse


def run(connection: Connection, statement: str, **values: object) -> None:
    asked = {name: value for name, value in values.items() if f":{name}" in statement}
    connection.execute(text(statement), asked)


def read(engine: Engine, statement: str, **values: object) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def change(engine: Engine, *statements: str, **values: object) -> None:
    with engine.begin() as connection:
        for statement in statements:
            run(connection, statement, **values)


def published(engine: Engine, as_of: date = NIGHT) -> pd.DataFrame:
    return pd.DataFrame(
        read(
            engine,
            "select user_id, day_part, arm, model_version, post_ids, scores, sources"
            " from result.feed_recommendation where as_of = :day order by user_id, day_part",
            day=as_of,
        ),
        columns=["user_id", "day_part", "arm", "version", "post_ids", "scores", "sources"],
    )


def checksum(engine: Engine, as_of: date = NIGHT) -> str:
    return read(
        engine,
        "select checksum from ops.publication where as_of = :day order by publication_id desc"
        " limit 1",
        day=as_of,
    )[0][0]


def test_a_night_gives_every_user_a_list_for_every_part_by_the_model_of_the_users_arm(
    feed, as_role
):
    rows = job.run(feed, NIGHT)

    found = published(feed)
    assert rows == len(found) == USERS * PARTS
    assert sorted(found["day_part"].unique()) == [0, 6, 12, 18]
    assert set(found["arm"]) == {"control", "test"}
    assert found.groupby("user_id")["arm"].nunique().max() == 1
    for arm, version in set(zip(found["arm"], found["version"], strict=True)):
        assert version.startswith(f"feed_recommendation.{arm}-{NIGHT}-1")
    assert found["post_ids"].map(len).max() <= lists.DEPTH
    assert all(len(set(each)) == len(each) for each in found["post_ids"])
    analyst = as_role("bi_reader")
    unnested = read(
        analyst,
        "select count(*), min(rank), count(topic), count(reason_code) from bi.feed_recommendation",
    )[0]
    assert unnested[0] == found["post_ids"].map(len).sum()
    assert unnested[1:] == (1, unnested[0], unnested[0])


def test_lists_leave_out_what_was_viewed_and_posts_that_are_gone(feed):
    change(feed, "update raw.post_text_df set known_to = :day where post_id = 5", day=NIGHT)

    job.run(feed, NIGHT)

    seen = read(
        feed,
        "select user_id, post_id from feature.user_post_day cross join unnest(post_ids) as post_id"
        " where event_day < :day",
        day=NIGHT,
    )
    listed = published(feed).explode("post_ids")
    pairs = set(zip(listed["user_id"], listed["post_ids"], strict=True))
    assert not pairs & set(seen)
    assert 5 not in set(listed["post_ids"])


def test_what_is_excluded_for_a_user_is_in_no_list_of_the_user(feed):
    change(
        feed,
        # known on the night: all posts of a topic for one user, one post for everybody else
        "insert into raw.feed_exclusion (user_id, post_id, known_from)"
        " select 1, post_id, :day - 9 from raw.post_text_df where topic = 'movie'",
        "insert into raw.feed_exclusion (user_id, post_id, known_from)"
        " select user_id, 1 + user_id % 90, :day from raw.user_data where user_id > 1",
        # no longer, not yet, and of nobody
        "insert into raw.feed_exclusion (user_id, post_id, known_from, known_to)"
        " select 2, post_id, :day - 9, :day from raw.post_text_df where post_id <> 3",
        "insert into raw.feed_exclusion (user_id, post_id, known_from)"
        " select 3, post_id, :day + 1 from raw.post_text_df where post_id <> 4",
        "insert into raw.feed_exclusion (user_id, post_id, known_from) values (9999, 1, :day)",
        day=NIGHT,
    )

    job.run(feed, NIGHT, shards=2)

    excluded = read(
        feed,
        "select user_id, post_id from raw.feed_exclusion"
        " where known_from <= :day and known_to > :day",
        day=NIGHT,
    )
    found = published(feed)
    listed = found.explode("post_ids").dropna(subset="post_ids")
    assert not set(zip(listed["user_id"], listed["post_ids"], strict=True)) & set(excluded)
    length = found.set_index("user_id")["post_ids"].map(len)
    assert 0 < length[1].min() < POSTS * 2 / 3
    assert length[[2, 3]].min() > POSTS / 3


def test_exclusions_move_nothing_but_what_is_shown(feed):
    """No figure of a user or post, and no encoder, takes notice of what is excluded."""
    plain = arms.read_days(feed, NIGHT)[-1]
    change(
        feed,
        "insert into raw.feed_exclusion (user_id, post_id, known_from)"
        " select user_id, 90 - user_id % 90, :day - 30 from raw.user_data",
        day=NIGHT,
    )

    day = arms.read_days(feed, NIGHT)[-1]

    assert len(day.history.post) == len(plain.history.post) + USERS
    first, other = day.history.before(day.cutoff), plain.history.before(day.cutoff)
    assert (np.diff(first.starts) == np.diff(other.starts) + 1).all()
    assert (first.post[first.starts[:-1]] == day.history.posts.searchsorted(
        90 - day.users["user_id"] % 90
    )).all()  # fmt: skip
    for name, value in vars(plain.context).items():
        np.testing.assert_equal(vars(day.context)[name], value)
    learned = features.encode_categories(day.users, first)
    assert learned == features.encode_categories(plain.users, other)
    profiles = features.profile(day.users, first, day.context, learned)
    expected = features.profile(plain.users, other, plain.context, learned)
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(getattr(profiles, name), value)
    for liked in (True, False):
        np.testing.assert_array_equal(
            two_tower.recent(first, liked), two_tower.recent(other, liked)
        )


def test_feed_at_leaves_out_what_is_excluded_by_the_moment(feed):
    change(
        feed,
        "insert into raw.feed_exclusion (user_id, post_id, known_from)"
        " select 1, post_id, :day + 1 from raw.post_text_df where topic = 'movie'",
        day=NIGHT,
    )
    job.run(feed, NIGHT)

    def shown(user: int, day: date) -> set[str]:
        asked = "select topic from result.feed_at(:user, cast(:day as date) + time '12:00', 60)"
        return {row[0] for row in read(feed, asked, user=user, day=day)}

    assert "movie" in shown(1, NIGHT)
    assert shown(1, NIGHT + timedelta(days=1)) == {"sport", "food"}
    assert "movie" in shown(2, NIGHT + timedelta(days=1))


def test_the_models_learn_taste_and_stand_beside_every_source(feed):
    job.run(feed, NIGHT)

    found = published(feed)
    first = found["post_ids"].map(lambda posts: np.array(posts[: lists.TOPIC_MOST]) % 3)
    own = np.concatenate(
        [part == user % 3 for part, user in zip(first, found["user_id"], strict=True)]
    )
    for arm in training.ARMS:
        assert own[np.repeat(found["arm"] == arm, lists.TOPIC_MOST)].mean() > 0.5
    quality = read(
        feed,
        "select job, array_agg(distinct name), array_agg(distinct metric) from ops.evaluation"
        " where stage = 'gate' group by job order by job",
    )
    assert [row[0] for row in quality] == [f"{job.JOB}.control", f"{job.JOB}.test"]
    wanted = {"hitrate@5", "ndcg@10", "map@10", "recall@10", "coverage@10", "novelty@10"}
    wanted.add("condensed_ndcg@10")
    for name, names, metrics in quality:
        assert set(names) == {name.partition(".")[2], *model.ORDERS}
        assert {*wanted, "last_like_ndcg@10"} <= set(metrics)


def test_rows_at_and_after_midnight_and_late_ones_change_no_list(feed):
    job.run(feed, NIGHT)
    first = content(feed)

    change(
        feed,
        # at midnight and later
        "update feature.user_post_day set actions = array_fill(cast(3 as smallint),"
        " array[cardinality(actions)]) where event_day >= :day",
        "update feature.post_day set likes = likes + 1000 where event_day >= :day",
        # known later: the day before, as it was corrected the day after
        "insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours,"
        " actions) select user_id, :day - 3, :day + 1, '{1, 2, 3}', '{1, 1, 1}', '{3, 3, 3}'"
        " from raw.user_data",
        # users and posts as they became on the day after
        "update raw.user_data set known_to = :day + 1",
        "insert into raw.user_data (user_id, age, city, country, exp_group, gender, os, source,"
        " known_from) select user_id, 99, 'Mars', country, exp_group, gender, os, source, :day + 1"
        " from raw.user_data",
        "update raw.post_text_df set known_to = :day + 1 where post_id < 10",
        "insert into raw.post_text_df (post_id, text, topic, known_from)"
        " select post_id, 'others', 'other', :day + 1 from raw.post_text_df where post_id < 10",
        day=NIGHT,
    )
    job.run(feed, NIGHT, retrain=True)

    trained = read(feed, "select count(*) from ops.model_version where name = 'catboost'")
    assert trained == [(4,)]
    assert content(feed) == first


def content(engine: Engine) -> str:
    return read(
        engine,
        "select md5(string_agg(concat(user_id, day_part, arm, post_ids, scores, sources), ';'"
        " order by user_id, day_part)) from result.feed_recommendation",
    )[0][0]


def test_a_rerun_writes_nothing(feed):
    job.run(feed, NIGHT)
    first = read(feed, "select publication_id, checksum from ops.publication")

    job.run(feed, NIGHT, shards=3)

    assert read(feed, "select publication_id, checksum from ops.publication") == first


def test_the_gates_rival_is_the_best_source_by_the_likes_and_its_test_is_what_was_viewed(feed):
    job.run(feed, NIGHT)

    for arm in training.ARMS:
        best, figures = read(
            feed,
            "select (select model_version from ops.evaluation where job = :job and stage = 'gate'"
            " and metric = 'ndcg@10' and name <> :arm order by value desc, model_version limit 1),"
            " figures from ops.promotion where job = :job",
            job=f"{job.JOB}.{arm}",
            arm=arm,
        )[0]
        assert figures["metric"] == "condensed_ndcg@10"
        values = figures["values"]
        gain = values[figures["challenger"]] - values[best]
        assert figures["gain_over_floor"]["value"] == pytest.approx(gain)
        # of all sources only the rival has this very gain
        assert [each for each, value in values.items() if value == values[best]] == [best]


def test_past_days_are_published_alike_twice_and_promote_nothing(feed):
    job.run(feed, NIGHT)
    past = [NIGHT - timedelta(days=back) for back in (2, 1)]

    for day in past:
        job.run(feed, day)
    first = [checksum(feed, day) for day in past]
    for day in past:
        job.run(feed, day)

    assert [checksum(feed, day) for day in past] == first
    decisions = read(
        feed, "select distinct decision from ops.promotion where effective_as_of < :day", day=NIGHT
    )
    assert decisions == [("refuse",)]


def test_the_next_night_says_what_the_lists_of_the_day_were_worth(feed):
    job.run(feed, NIGHT)

    job.run(feed, NIGHT + timedelta(days=1))

    matured = read(
        feed,
        "select name, count(*), min(rows) from ops.evaluation where stage = 'matured'"
        " and as_of = :day group by name order by name",
        day=NIGHT,
    )
    assert [row[0] for row in matured] == ["control", "test"]
    assert all(row[1] >= 4 and row[2] > 10 for row in matured)


def test_catboosts_own_file_gives_the_same_chances(feed):
    from catboost import CatBoostClassifier

    job.run(feed, NIGHT)

    day = arms.read_days(feed, NIGHT)[-1]
    for arm in training.ARMS:
        folder = champion.load_model(feed, f"feed_recommendation.{arm}-{NIGHT}-1")
        fitted = model.load(folder)
        plain = CatBoostClassifier()
        plain.load_model(str(folder / "ranker.cbm"))
        vectors = fitted.encoder.embed(day.texts)
        asked = 0
        for block, table in model.prepare(fitted, day.context, vectors, day.users, day.history):
            hours = np.arange(block.start, block.stop) % 24
            found = model.chances(fitted, day.context, table, hours)
            there = table.found.post >= 0
            row, column = np.nonzero(there)
            rows = features.rows(
                table.profiles,
                day.context,
                table.posts,
                table.pairs,
                table.found.post,
                row,
                column,
                hours[row],
            )
            assert (found[there] == plain.predict_proba(rows.T)[:, 1].astype("f4")).all()
            asked += len(row)
        assert asked > USERS * 20


def test_an_arm_is_rolled_back_alone(feed):
    job.run(feed, NIGHT)
    first = set(published(feed).query("arm == 'test'")["version"])
    job.run(feed, NIGHT, retrain=True)
    second = f"feed_recommendation.test-{NIGHT}-2"
    beside = read(
        feed,
        "select distinct model_version from bi.model_quality where stage = 'gate'"
        " and job = 'feed_recommendation.test' and name = 'champion'"
        " and metric = 'condensed_ndcg@10' and value > 0",
    )
    assert {version for (version,) in beside} == first
    champion.promote(feed, "feed_recommendation.test", second, NIGHT, "ann", "try it")

    change_made = champion.rollback(feed, "feed_recommendation.test", NIGHT, "ann", "worse")
    job.run(feed, NIGHT, model_version=change_made.to_version)

    assert (
        set(published(feed).query("arm == 'test'")["version"]) == first == {change_made.to_version}
    )
    listed = champion.versions(feed, "feed_recommendation")
    assert listed[listed["is_live"]]["model_version"].is_unique
    assert listed["is_live"].sum() == 2


def test_users_who_are_new_or_saw_everything_or_one_post_have_a_defined_list(feed):
    change(
        feed,
        "insert into raw.user_data (user_id, age, known_from)"
        " select n, nullif(n, 901) - 872, :day from generate_series(901, 903) as n",
        "insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours,"
        " actions) select 902, :day - 1, :day, array_agg(post_id), array_agg(cast(9 as smallint)),"
        " array_agg(cast(1 as smallint)) from raw.post_text_df",
        "insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours,"
        " actions) values (903, :day - 1, :day, '{7}', '{9}', '{1}')",
        day=NIGHT,
    )

    job.run(feed, NIGHT)

    found = published(feed).drop_duplicates("user_id").set_index("user_id")["post_ids"]
    assert len(found[901]) >= POSTS - 10  # nobody knows 901: all there is, best first
    assert found[902] == []  # 902 saw everything: nothing comes back
    assert 7 not in found[903]
    assert len(found[903]) >= POSTS - 10


def test_posts_that_are_new_or_empty_or_huge_or_in_another_language_are_listed(feed):
    odd = {201: "", 202: "слово " * 20_000, 203: "日本語のテキスト", 204: "🙂🙂", 205: None}
    for post, words in odd.items():
        change(
            feed,
            "insert into raw.post_text_df (post_id, text, topic, known_from)"
            " values (:post, :words, null, :day)",
            "insert into feature.post_life (post_id, published_at, viewed, known_from)"
            " values (:post, :day, false, :day)",
            post=post,
            words=words,
            day=NIGHT - timedelta(days=1),
        )

    job.run(feed, NIGHT)

    listed = set(published(feed)["post_ids"].explode())
    assert set(odd) <= listed


def test_fresh_posts_have_their_share_and_topics_are_spread(feed):
    job.run(feed, NIGHT)
    version = f"feed_recommendation.test-{NIGHT}-1"
    champion.promote(feed, "feed_recommendation.test", version, NIGHT, "ann", "its lists")
    job.run(feed, NIGHT, model_version=version)

    fresh = {
        row[0]
        for row in read(
            feed,
            "select post_id from feature.post_life where published_at >= :day - interval '3 days'"
            " and published_at < :day",
            day=NIGHT,
        )
    }
    topic = dict(read(feed, "select post_id, topic from raw.post_text_df"))
    models = published(feed)
    models = models[models["version"] == version]
    assert len(models)
    for posts in models["post_ids"]:
        for start in range(0, len(posts) - lists.TOPIC_WINDOW):
            window = [topic[post] for post in posts[start : start + lists.TOPIC_WINDOW]]
            left = {topic[post] for post in posts[start + lists.TOPIC_WINDOW :]}
            if len(left) == 3:  # another topic was left to choose
                assert max(map(window.count, window)) <= lists.TOPIC_MOST
        head = posts[: lists.FRESH_EVERY]
        if len(head) == lists.FRESH_EVERY and fresh & set(posts):
            assert fresh & set(head)


def test_a_source_in_place_of_the_ranker_keeps_its_own_order(feed):
    job.run(feed, NIGHT)
    version = f"feed_recommendation.test-{NIGHT}-1-popular_7d"

    champion.promote(feed, "feed_recommendation.test", version, NIGHT, "ann", "for a day")
    job.run(feed, NIGHT, model_version=version)

    likes = dict(
        read(
            feed,
            "select post_id, sum(likes) from feature.post_day where event_day >= :day - 7"
            " and event_day < :day and known_from <= :day group by post_id",
            day=NIGHT,
        )
    )
    found = published(feed)
    tests = found[found["version"] == version]
    assert len(tests)
    for posts in tests["post_ids"]:
        top = [float(likes.get(post, 0)) for post in posts[:20]]
        assert top == sorted(top, reverse=True)


def test_the_split_is_frozen_for_the_day(feed, as_role):
    job.run(feed, NIGHT)
    first = published(feed)
    with as_role("migrator").begin() as connection:
        connection.execute(
            text("update experiment.experiment set salt = 'other' where name = 'feed'")
        )
    try:
        job.run(feed, NIGHT)
        job.run(feed, NIGHT + timedelta(days=1))
    finally:
        with as_role("migrator").begin() as connection:
            connection.execute(
                text("update experiment.experiment set salt = 'feed-1' where name = 'feed'")
            )

    assert published(feed)["arm"].tolist() == first["arm"].tolist()
    assert published(feed, NIGHT + timedelta(days=1))["arm"].tolist() != first["arm"].tolist()


def test_day_parts_are_a_setting(feed, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_DAY_PARTS", "2")
    job.run(feed, NIGHT)
    assert sorted(published(feed)["day_part"].unique()) == [0, 12]

    monkeypatch.setenv("NIGHTSHIFT_DAY_PARTS", "25")
    with pytest.raises(BadSetting, match="from 1 to 24"):
        serving.day_parts()


def test_without_history_the_night_says_what_is_missing(warehouse):
    with pytest.raises(training.NothingToLearnFrom, match="user_data has no row"):
        job.run(warehouse, NIGHT)


def test_label_days_lie_before_the_gates_day(feed):
    assert periods.length(feed, NIGHT) == 1

    *days, gate_day = periods.cutoffs(date(2026, 3, 2), 1)

    assert days == [date(2026, 2, 26), date(2026, 2, 27), date(2026, 2, 28)]
    assert gate_day == date(2026, 3, 1)


def test_a_day_without_likes_or_users_stops_no_night(feed):
    change(
        feed,
        "update feature.user_post_day set actions = array_fill(cast(1 as smallint),"
        " array[cardinality(actions)]) where event_day = :day - 1",
        "delete from feature.user_post_day where event_day = :day - 3",
        day=NIGHT,
    )

    assert periods.length(feed, NIGHT) == 2
    assert job.run(feed, NIGHT) == USERS * PARTS

    asked = read(feed, "select min(rows) from ops.evaluation where metric = 'ndcg@10'")
    assert asked[0][0] >= arms.LEAST_USERS


def test_a_question_to_nobody_has_no_figures(feed):
    day = arms.read_days(feed, NIGHT)[-1]
    nobody = evaluating.next_day(day.of(np.zeros(0, np.int64)), number(NIGHT))
    empty = np.zeros((0, 10), np.int32)
    answer = evaluating.Answer(empty, empty)

    assert evaluating.summary(nobody, {"model": answer}).empty
    assert evaluating.figures(nobody, answer)[evaluating.PRIMARY].tolist() == []


def test_what_was_viewed_is_put_in_order_whole_and_changes_no_list(feed):
    version = job.train(feed, NIGHT)["control"]
    day = arms.read_days(feed, NIGHT)[-1]
    question = evaluating.next_day(day, number(NIGHT))
    fitted = kept.load(feed, version)
    vectors = fitted.encoder.embed(day.texts)

    asked = evaluating.ask(question, fitted, vectors, ["popular_7d", "random"])
    alone = evaluating.ask(
        replace(question, viewed=None), fitted, vectors, ["popular_7d", "random"]
    )

    posts = len(day.context.post_ids)
    viewed = [set() for _ in question.hours]
    for user, post in zip(*question.viewed, strict=True):
        if post < posts:
            viewed[user].add(int(post))
    assert {*zip(question.user, question.post, strict=True)} <= {
        *zip(*question.viewed, strict=True)
    }
    for order, answer in asked.items():
        assert answer.top.tolist() == alone[order].top.tolist()
        assert alone[order].viewed is None
        rows = [[post for post in row if post >= 0] for row in answer.viewed.tolist()]
        assert all(len(set(row)) == len(row) for row in rows)
        assert [len(row) for row in rows] == [min(10, len(found)) for found in viewed]
        assert all(set(row) <= found for row, found in zip(rows, viewed, strict=True))
    assert asked["popular_7d"].viewed.tolist() != asked["random"].viewed.tolist()


def test_no_question_shows_its_answer(feed):
    ground = arms.read_days(feed, NIGHT)

    question = evaluating.next_day(ground[-1], number(NIGHT))

    day = question.day
    before = day.history.before(day.cutoff)
    seen = set(zip(before.user.tolist(), before.post.tolist(), strict=True))
    place = {post: at for at, post in enumerate(day.history.posts.tolist())}
    asked = {
        (user, place[day.context.post_ids[post]])
        for user, post in zip(question.user.tolist(), question.post.tolist(), strict=True)
        if post < len(day.context.post_ids)
    }
    assert asked
    assert not asked & seen
    last = evaluating.last_like(ground[-1], arms.held_out(ground[-1].users))
    kept = set(zip(last.day.history.user.tolist(), last.day.history.post.tolist(), strict=True))
    asked = {
        (user, place[last.day.context.post_ids[post]])
        for user, post in zip(last.user.tolist(), last.post.tolist(), strict=True)
        if post < len(last.day.context.post_ids)
    }
    assert asked
    assert not {(user, post) for user, post in asked if (user, post) in kept}


def test_score_and_publish_can_always_be_tried_again(feed):
    job.run(feed, NIGHT)
    first = published(feed)
    [(made_by,)] = read(
        feed, "select model_version from ops.publication where as_of = :day", day=NIGHT
    )
    versions = dict(zip(training.ARMS, made_by.split(", "), strict=True))

    # The day is out: what scoring shares and the staged lists are gone.
    assert serving.publish(feed, NIGHT, versions, 1) == USERS * PARTS
    serving.score(feed, NIGHT, versions, 0, 1)
    with feed.begin() as connection:
        # What recovery does to a table that is not in the write-ahead log.
        connection.execute(text(f"truncate staging.{serving.prepared(NIGHT)}"))
    assert serving.publish(feed, NIGHT, versions, 1) == USERS * PARTS

    pd.testing.assert_frame_equal(published(feed), first)
    with pytest.raises(StagedRowsLost, match="Score the day first"):
        serving.publish(feed, NIGHT + timedelta(days=1), versions, 1)


def test_a_day_is_dated_by_the_first_row_that_it_read(feed):
    """What is loaded while the day is scored makes it stale, though scoring began before."""
    versions = job.train(feed, NIGHT)
    [(prepared_at,)] = read(feed, "select clock_timestamp()")
    serving.score(feed, NIGHT, versions, 0, 1)
    serving.publish(feed, NIGHT, versions, 1)

    [(read_at,)] = read(feed, "select read_at from ops.publication where as_of = :day", day=NIGHT)
    assert read_at < prepared_at
