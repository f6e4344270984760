"""The feed's extraction: users and posts as they were, events by day, the past as it was known."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, text

from jobs.checks import CheckFailed
from jobs.extract import job
from jobs.extract.job import ReferenceNotLoaded
from jobs.extract.source import EmptyDay, SourceChanged
from jobs.extract.tables import SOCIAL
from jobs.forget import forget
from jobs.warehouse import adbc_uri, engine

NIGHT = date(2026, 3, 2)
USERS, POSTS, FEED = ("user_data",), ("post_text_df",), ("feed_data",)
ONE_DAY = timedelta(days=1)


@pytest.fixture
def owner(app, as_role) -> Engine:
    return as_role("simulator")


@pytest.fixture
def user(given):
    def insert(key=1, **columns):
        row = {"age": 30, "city": "Perm", "country": "Russia", "exp_group": 3, "gender": 1}
        given("user_data", **{"id": key, **row, "os": "Android", "source": "ads", **columns})

    return insert


@pytest.fixture
def post(given):
    def insert(key=1, **columns):
        given("post_text_df", **{"id": key, "text": f"text {key}", "topic": "tech", **columns})

    return insert


@pytest.fixture
def event(given):
    def insert(user_id=1, post_id=1, at="2026-03-01 12:00", action="view", **columns):
        target = 0 if action == "view" else None
        row = {"timestamp": at, "user_id": user_id, "post_id": post_id, "action": action}
        given("feed_data", **{**row, "target": target, **columns})

    return insert


@pytest.fixture
def people(user, post, event):
    """Return a function that fills the source with users, posts and a day's views."""

    def fill(users=3, posts=3, days=("2026-03-01",)):
        for key in range(1, users + 1):
            user(key)
        for key in range(1, posts + 1):
            post(key)
        for day in days:
            for key in range(1, users + 1):
                event(key, 1, f"{day} 10:00")

    return fill


def ask(handle: Engine, statement: str, **values: object) -> list[tuple]:
    with handle.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def change(owner: Engine, *statements: str) -> None:
    with owner.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def as_of(day: int) -> date:
    return date(2026, 3, day)


def users_on(warehouse: Engine, day: date) -> list[tuple]:
    return ask(
        warehouse,
        "select user_id, age from raw.user_data where known_from <= :day and known_to > :day"
        " order by 1",
        day=day,
    )


def loads(warehouse: Engine, table: str) -> list[tuple]:
    return ask(
        warehouse,
        "select cast(event_day as text), mode, rows_read, rows_loaded, closed, duplicates,"
        " quarantined from ops.load where table_name = :table order by load_id",
        table=table,
    )


# Users, posts and pictures by version ----------------------------------------------------------


def test_users_are_kept_as_they_were_on_each_day(app, warehouse, owner, user):
    for key in (1, 2, 3):
        user(key)
    job.extract(app, warehouse, as_of(2), USERS)
    change(
        owner,
        "update user_data set age = 31 where id = 1",
        "delete from user_data where id = 2",
    )
    user(4, age=20)

    counts = job.extract(app, warehouse, as_of(3), USERS)["user_data"]

    assert (counts["loaded"], counts["closed"]) == (2, 2)
    assert users_on(warehouse, as_of(1)) == []
    assert users_on(warehouse, as_of(2)) == [(1, 30), (2, 30), (3, 30)]
    assert users_on(warehouse, as_of(3)) == [(1, 31), (3, 30), (4, 20)]
    assert loads(warehouse, "user_data") == [
        ("2026-03-01", "nightly", 3, 3, 0, 0, 0),
        ("2026-03-02", "nightly", 3, 2, 2, 0, 0),
    ]


def test_a_user_who_comes_back_has_a_gap(app, warehouse, owner, user):
    user(1)
    user(2)
    job.extract(app, warehouse, as_of(2), USERS)
    change(owner, "delete from user_data where id = 1")
    job.extract(app, warehouse, as_of(3), USERS)
    user(1, age=30)
    job.extract(app, warehouse, as_of(4), USERS)

    assert [len(users_on(warehouse, as_of(day))) for day in (2, 3, 4)] == [2, 1, 2]


def test_a_second_run_of_the_same_night_changes_no_version(app, warehouse, owner, user):
    user(1)
    job.extract(app, warehouse, as_of(2), USERS)
    change(owner, "update user_data set age = 99 where id = 1")

    counts = job.extract(app, warehouse, as_of(2), USERS)["user_data"]

    assert counts["loaded"] == counts["closed"] == counts["copied"] == 0
    assert users_on(warehouse, as_of(2)) == [(1, 30)]
    assert len(loads(warehouse, "user_data")) == 1


def test_an_older_night_after_a_newer_one_changes_nothing_and_is_recorded(
    app, warehouse, owner, user
):
    user(1)
    job.extract(app, warehouse, as_of(2), USERS)
    change(owner, "update user_data set age = 31 where id = 1")
    job.extract(app, warehouse, as_of(5), USERS)
    change(owner, "update user_data set age = 32 where id = 1")

    counts = job.extract(app, warehouse, as_of(4), USERS)["user_data"]

    assert counts["loaded"] == counts["closed"] == 0
    assert [users_on(warehouse, as_of(day)) for day in (2, 4, 5)] == [[(1, 30)]] * 2 + [[(1, 31)]]
    assert loads(warehouse, "user_data")[-1] == ("2026-03-03", "nightly", 1, 0, 0, 0, 0)
    job.extract(app, warehouse, as_of(4), USERS)
    assert len(loads(warehouse, "user_data")) == 3


def test_equal_checksums_mean_equal_tables(app, warehouse, owner, user):
    for key in (1, 2):
        user(key)
    for day in (2, 3):
        job.extract(app, warehouse, as_of(day), USERS)
    change(owner, "update user_data set city = 'Omsk' where id = 2")
    job.extract(app, warehouse, as_of(4), USERS)

    first, second, third = [
        row[0] for row in ask(warehouse, "select checksum from ops.load order by load_id")
    ]
    assert first == second != third


def test_an_empty_table_and_one_that_lost_half_its_rows_stop_the_day(app, warehouse, owner, user):
    for key in range(10):
        user(key)
    job.extract(app, warehouse, as_of(2), USERS)
    change(owner, "delete from user_data where id > 3")

    with pytest.raises(CheckFailed, match=r"user_data as of 2026-03-03.*row_count.*found 4"):
        job.extract(app, warehouse, as_of(3), USERS)
    change(owner, "delete from user_data")
    with pytest.raises(EmptyDay, match="user_data 2026-03-02: the source has no rows"):
        job.extract(app, warehouse, as_of(3), USERS)

    assert len(users_on(warehouse, as_of(3))) == 10


def test_equal_rows_are_counted_once_and_contradicting_ones_step_aside(
    app, warehouse, owner, user
):
    for key in range(1, 200):
        user(key)
    job.extract(app, warehouse, as_of(2), USERS)
    user(1)
    user(2, age=77)
    user(None)

    counts = job.extract(app, warehouse, as_of(3), USERS)["user_data"]
    job.extract(app, warehouse, as_of(4), USERS)

    assert counts["duplicates"] == 1
    assert counts["quarantined"] == 3
    assert (counts["loaded"], counts["closed"]) == (0, 0)
    # The user whose rows contradict each other stays as known; each row is set aside once.
    assert users_on(warehouse, as_of(4))[1] == (2, 30)
    assert ask(
        warehouse,
        "select user_id, age, reasons, as_of, cast(known_to as text) from quarantine.user_data"
        " order by 1, 2",
    ) == [
        (2, 30, ["contradicting rows"], as_of(3), "infinity"),
        (2, 77, ["contradicting rows"], as_of(3), "infinity"),
        (None, 30, ["no user"], as_of(3), "infinity"),
    ]
    assert loads(warehouse, "user_data")[1:] == [
        ("2026-03-02", "nightly", 202, 0, 0, 1, 3),
        ("2026-03-03", "nightly", 202, 0, 0, 1, 3),
    ]

    change(owner, "delete from user_data where age = 77 or id is null")
    job.extract(app, warehouse, as_of(5), USERS)

    assert ask(warehouse, "select distinct known_to from quarantine.user_data") == [(as_of(5),)]
    assert len(users_on(warehouse, as_of(5))) == 199


def test_history_takes_the_present_state_from_the_end_of_its_first_day(app, warehouse, owner, user):
    user(1)
    counts = job.load_range(app, warehouse, as_of(3), as_of(6), USERS)["user_data"]
    user(2)
    change(owner, "update user_data set age = 31 where id = 1")

    # Later history goes on, earlier history is reached by what was known first.
    job.load_range(app, warehouse, as_of(1), as_of(8), USERS)

    assert counts["loaded"] == 1
    assert users_on(warehouse, as_of(1)) == []
    assert users_on(warehouse, as_of(2)) == users_on(warehouse, as_of(7)) == [(1, 30)]
    assert users_on(warehouse, as_of(8)) == [(1, 30), (2, 30)]
    assert [day for day, *_ in loads(warehouse, "user_data")] == [
        f"2026-03-{day:02}" for day in (3, 4, 5, 6, 1, 2, 7, 8)
    ]


def test_a_missing_column_of_users_is_named(app, warehouse, owner, user):
    user(1)
    change(owner, "alter table user_data drop column city")

    with pytest.raises(SourceChanged, match=r"user_data 2026-03-01: .*city.*sql/extract/user_data"):
        job.extract(app, warehouse, NIGHT, USERS)


def test_texts_of_any_kind_come_over_whole(app, warehouse, post):
    texts = {1: "", 2: None, 3: "Привет, мир", 4: "слово " * 20_000, 5: 'quote " and, comma\n\\N'}
    for key, words in texts.items():
        post(key, text=words, topic=None if key == 2 else "tech")

    job.extract(app, warehouse, NIGHT, POSTS)

    assert dict(ask(warehouse, "select post_id, text from raw.post_text_df")) == texts
    assert ask(
        warehouse,
        "select expectation from ops.validation where not success and severity = 'warning'",
    ) == [("no topic",)]


def test_odd_ages_and_new_topics_are_warned_of_and_loaded(app, warehouse, user, post):
    user(1, age=400)
    user(2, age=None)
    post(1)
    job.extract(app, warehouse, as_of(2), (*USERS, *POSTS))
    post(2, topic="astrology")
    job.extract(app, warehouse, as_of(3), POSTS)

    assert len(users_on(warehouse, NIGHT)) == 2
    assert ask(
        warehouse,
        "select table_name, column_name, severity from ops.validation where not success",
    ) == [("user_data", "age", "warning"), ("post_text_df", None, "warning")]


# Events ----------------------------------------------------------------------------------------


def test_a_night_of_the_feed_is_copied_checked_and_added_up(app, warehouse, user, post, event):
    user(1)
    user(2)
    post(1, topic="tech")
    post(2, topic="sport")
    event(1, 1, "2026-03-01 09:00", target=1)
    event(1, 1, "2026-03-01 09:00:05", "like")
    event(1, 2, "2026-03-01 08:59:59")
    event(1, 2, "2026-03-01 08:59:59")
    event(2, 1, "2026-03-01 23:59:59.9")
    event(2, 1, "2026-03-02 00:00:00", "like")

    counts = job.extract(app, warehouse, NIGHT, SOCIAL[:2] + FEED)["feed_data"]

    assert (counts["loaded"], counts["duplicates"]) == (4, 1)
    assert ask(
        warehouse,
        "select user_id, topic, views, likes, shares, comments, hides, known_from"
        " from feature.user_topic_day order by 1, 2",
    ) == [
        (1, "sport", 1, 0, 0, 0, 0, NIGHT),
        (1, "tech", 1, 1, 0, 0, 0, NIGHT),
        (2, "tech", 1, 0, 0, 0, 0, NIGHT),
    ]
    assert ask(
        warehouse,
        "select post_id, views, likes, viewers, cast(first_view_at as text)"
        " from feature.post_day order by 1",
    ) == [
        (1, 2, 1, 2, "2026-03-01 09:00:00+00"),
        (2, 1, 0, 1, "2026-03-01 08:59:59+00"),
    ]
    assert ask(
        warehouse, "select user_id, hour, views, likes from feature.user_hour_day order by 1, 2"
    ) == [(1, 8, 1, 0), (1, 9, 1, 1), (2, 23, 1, 0)]
    assert ask(
        warehouse, "select user_id, post_ids, hours, actions from feature.user_post_day order by 1"
    ) == [(1, [2, 1], [8, 9], [1, 3]), (2, [1], [23], [1])]
    assert ask(
        warehouse,
        "select post_id, cast(published_at as text), viewed, known_from from feature.post_life"
        " order by 1",
    ) == [
        (1, "2026-03-01 09:00:00+00", True, NIGHT),
        (2, "2026-03-01 08:59:59+00", True, NIGHT),
    ]


def test_a_post_nobody_viewed_lives_from_its_extraction_until_it_is_viewed(
    app, warehouse, people, event
):
    people(posts=2, days=("2026-03-01", "2026-03-02"))
    event(1, 2, "2026-03-02 15:00")

    for day in (2, 3):
        job.extract(app, warehouse, as_of(day), SOCIAL[:2] + FEED)

    assert ask(
        warehouse,
        "select cast(published_at as text), viewed, known_from, cast(known_to as text)"
        " from feature.post_life where post_id = 2 order by known_from",
    ) == [
        ("2026-03-02 00:00:00+00", False, as_of(2), "2026-03-03"),
        ("2026-03-02 15:00:00+00", True, as_of(3), "infinity"),
    ]
