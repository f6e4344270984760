"""The feed's extraction: users and posts as they were, events by day, the past as it was known."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from jobs import pages
from jobs.checks import CheckFailed
from jobs.extract import job
from jobs.extract.job import ReferenceNotLoaded
from jobs.extract.source import EmptyDay, SourceChanged
from jobs.extract.tables import SOCIAL
from jobs.forget import forget
from jobs.retention import retain
from jobs.simulate.social.job import simulate
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
def people(owner):
    """Return a function that fills the source with users, posts and a view of each user a day."""

    def fill(users=3, posts=3, days=("2026-03-01",)):
        change(
            owner,
            f"insert into user_data (id, age) select n, 30 from generate_series(1, {users}) as n",
            f"insert into post_text_df select n, 'text', 'tech' from generate_series(1, {posts})"
            " as n",
            *(
                f"insert into feed_data select '{day} 10:00', n, 1, 'view', 0"
                f" from generate_series(1, {users}) as n"
                for day in days
            ),
        )

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


def test_equal_rows_are_counted_once_and_contradicting_ones_step_aside(app, warehouse, owner, user):
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


RAW_FEED = """
select user_id, post_id, event_day, action, "timestamp" as at, known_from, known_to
from raw.feed_data where event_day < :day and known_from <= :day and known_to > :day
"""
# What each aggregate says as of a day, and what a count of raw says that it should.
RECOUNTS = {
    "user_topic_day": (
        "select user_id, event_day, topic, views, likes, shares, comments, hides from {t}",
        # The topic is the post's when this version of the user's day was written.
        "select feed.user_id, feed.event_day, coalesce(nullif(posts.topic, ''), 'unknown'),"
        " {counts} from feed join versions using (user_id, event_day)"
        " left join raw.post_text_df as posts on posts.post_id = feed.post_id"
        " and posts.known_from <= versions.known_at and posts.known_to > versions.known_at"
        " group by 1, 2, 3",
    ),
    "post_day": (
        "select post_id, event_day, views, likes, shares, comments, hides, viewers,"
        " first_view_at from {t}",
        "select post_id, event_day, {counts}, count(distinct user_id) filter (where"
        " action = 'view'), min(at) filter (where action = 'view') from feed group by 1, 2",
    ),
    "user_hour_day": (
        "select user_id, event_day, hour, views, likes from {t}",
        "select user_id, event_day, extract(hour from at)::smallint,"
        " count(*) filter (where action = 'view'), count(*) filter (where action = 'like')"
        " from feed where action in ('view', 'like') group by 1, 2, 3",
    ),
    "user_post_day": (
        "select user_id, event_day, post_ids, hours, actions from {t}",
        "select user_id, event_day, array_agg(post_id order by first, post_id),"
        " array_agg(hour order by first, post_id), array_agg(bits order by first, post_id)"
        " from (select user_id, event_day, post_id, min(at) as first,"
        " extract(hour from min(at))::smallint as hour,"
        " (count(distinct action) filter (where action = 'view')"
        " + 2 * count(distinct action) filter (where action = 'like')"
        " + 4 * count(distinct action) filter (where action = 'share')"
        " + 8 * count(distinct action) filter (where action = 'comment')"
        " + 16 * count(distinct action) filter (where action = 'hide'))::smallint as bits"
        " from feed group by 1, 2, 3) as posts group by 1, 2",
    ),
    "post_life": (
        "select post_id, published_at, viewed from {t}",
        "select post_id, coalesce(min(at) filter (where action = 'view'), first),"
        " min(at) filter (where action = 'view') is not null from (select post_id,"
        " min(known_from)::timestamp at time zone 'UTC' as first from raw.post_text_df"
        " where known_from <= :day group by 1) as posts left join feed using (post_id)"
        " group by post_id, first",
    ),
}
COUNTS = ", ".join(
    f"count(*) filter (where action = '{action}')"
    for action in ("view", "like", "share", "comment", "hide")
)


def told(warehouse: Engine, name: str, day: date) -> list[tuple]:
    """Return what the aggregate says as of ``day``."""
    dated = "" if name == "post_life" else "event_day < :day and"
    view = f"(select * from feature.{name} where {dated} known_from <= :day and known_to > :day)"
    return sorted(ask(warehouse, RECOUNTS[name][0].format(t=f"{view} as t"), day=day), key=str)


def recounted(warehouse: Engine, name: str, day: date) -> list[tuple]:
    """Return what the aggregate should say as of ``day``, from raw alone."""
    statement = (
        f"with feed as ({RAW_FEED}), versions as (select user_id, event_day, max(greatest("
        "case when known_from <= :day then known_from end,"
        " case when known_to <= :day then known_to end)) as known_at"
        " from raw.feed_data where event_day < :day group by 1, 2) "
        + RECOUNTS[name][1].format(counts=COUNTS)
    )
    return sorted(ask(warehouse, statement, day=day), key=str)


def live(owner: Engine, generator: np.random.Generator, day: int) -> None:
    """Let a day of the feed happen, with late rows, corrections, withdrawals and new topics."""
    actions = ["view"] * 6 + ["like", "share", "comment", "hide"]
    rows = []
    for _ in range(14):
        back = int(generator.integers(0, 4)) if day > 4 and generator.random() < 0.3 else 0
        action = str(generator.choice(actions))
        rows.append(
            {
                "at": datetime(2026, 3, day - back, int(generator.integers(24)), tzinfo=UTC)
                + timedelta(seconds=int(generator.integers(3600))),
                "user": int(generator.integers(1, 6)),
                "post": int(generator.integers(1, min(3 + day, 14))),
                "action": action,
                "target": 0 if action == "view" else None,
            }
        )
    with owner.begin() as connection:
        for post in range(1, min(3 + day, 14)):
            connection.execute(
                text(
                    "insert into post_text_df select :id, 'text', :topic where not exists"
                    " (select from post_text_df where id = :id)"
                ),
                {"id": post, "topic": [None, "tech", "sport"][post % 3]},
            )
        connection.execute(
            text(
                "insert into feed_data values (cast(:at as timestamptz) at time zone 'UTC',"
                " :user, :post, :action, :target)"
            ),
            rows,
        )
        # The night of the day before has it already: a correction, and the very first views gone.
        earlier = f"timestamp >= '2026-03-{max(day - 3, 1):02}' and timestamp < '2026-03-{day:02}'"
        for statement in (
            f"update feed_data set post_id = 1 + post_id % 3 where {earlier} and ctid in"
            f" (select ctid from feed_data where {earlier} order by md5(ctid::text) limit 1)",
            f"delete from feed_data where {earlier} and ctid in (select ctid from feed_data"
            f" where {earlier} and action = 'view' order by timestamp limit 1)",
            f"update post_text_df set topic = 'topic {day}' where id = 1 + {day} % 4",
        ):
            if day > 2:
                connection.execute(text(statement))


def test_every_aggregate_equals_a_recount_from_raw_for_every_day_and_knowledge(
    app, warehouse, owner, user
):
    """Late, corrected and withdrawn rows at random; nothing known later changes an earlier day."""
    generator = np.random.default_rng(5)
    tables = SOCIAL[:2] + FEED
    for key in range(1, 6):
        user(key)
    seen: dict[tuple[str, int], list[tuple]] = {}
    for day in range(1, 12):
        live(owner, generator, day)
        if day == 4:
            job.load_range(app, warehouse, as_of(1), as_of(4), tables)
        elif day > 4:
            job.extract(app, warehouse, as_of(day + 1), tables)
        for name in RECOUNTS if day >= 4 else ():
            for known in range(2, day + 2):
                found = told(warehouse, name, as_of(known))
                assert found == seen.setdefault((name, known), found), (name, known, day)

    standing = ask(warehouse, "select count(*) from raw.feed_data where known_to < 'infinity'")
    assert standing[0][0] > 5
    for name in RECOUNTS:
        for day in range(2, 13):
            found = told(warehouse, name, as_of(day))
            assert found, (name, day)
            assert found == recounted(warehouse, name, as_of(day)), (name, day)


def test_history_as_a_range_in_chunks_equals_night_after_night(
    app, warehouse, owner, people, event, empty_warehouse, monkeypatch
):
    generator = np.random.default_rng(3)
    days = [f"2026-03-{day:02}" for day in range(1, 7)]
    people(users=5, posts=6, days=days)
    for day in days:
        for _ in range(8):
            key, post_id = int(generator.integers(1, 6)), int(generator.integers(1, 7))
            at = f"{day} {generator.integers(24):02}:{generator.integers(60):02}:11"
            event(key, post_id, at, str(generator.choice(["view", "like", "hide"])))
    everything = [f"select t::text from feature.{name} as t order by 1" for name in RECOUNTS]
    everything += [
        "select t::text from (select user_id, age, known_from, known_to from raw.user_data) as t",
        "select table_name, event_day, as_of, rows_read, rows_loaded, duplicates, quarantined,"
        " checksum from ops.load order by table_name, event_day",
    ]
    tables = SOCIAL[:2] + FEED
    for day in range(2, 8):
        job.extract(app, warehouse, as_of(day), tables)
    nightly = [ask(warehouse, each) for each in everything]
    empty_warehouse()
    monkeypatch.setattr(job, "CHUNK_ROWS", 30)
    chunks = []

    job.load_range(app, warehouse, as_of(1), as_of(6), tables, report=chunks.append)

    assert [ask(warehouse, each) for each in everything] == nightly
    assert all(len(found) > 4 for found in nightly)
    assert [line for line in chunks if "feed" in line] == [
        f"feed_data {days[n]} to {days[n + 1]}" for n in (0, 2, 4)
    ]


def test_rows_of_unknown_users_and_posts_and_other_nonsense_step_aside(
    app, warehouse, people, event
):
    people(users=900)
    wrong = {
        "unknown user": {"user_id": 10**6},
        "unknown post": {"post_id": 10**6},
        "no user": {"user_id": None},
        "no post": {"post_id": None},
        "no time": {"at": None},
        "time ahead of the clock": {"at": "2199-01-01"},
        "view without target 0 or 1": {"target": None},
        "target on another action": {"action": "like", "target": 0},
    }
    for columns in wrong.values():
        event(**columns)
    event(action="teleport", at="2026-03-01 11:00")

    counts = job.extract(app, warehouse, NIGHT, SOCIAL[:2] + FEED)["feed_data"]

    assert (counts["loaded"], counts["quarantined"]) == (900, 9)
    assert sorted(
        reason for (reasons,) in ask(warehouse, "select reasons from quarantine.feed_data")
        for reason in reasons
    ) == sorted([*wrong, "unknown action"])  # fmt: skip
    assert ask(
        warehouse,
        "select expectation, unexpected from ops.validation where not success"
        " and severity = 'warning' and expectation like 'unknown%' order by 1",
    ) == [("unknown action", 1), ("unknown post", 1), ("unknown user", 1)]


def test_a_target_that_is_no_0_or_1_is_recognised_in_numbers_of_any_size(
    app, warehouse, people, event
):
    people(users=200)
    event(1, 2, target=10**9)
    event(1, 3, target=-1)

    job.extract(app, warehouse, NIGHT, SOCIAL[:2] + FEED)

    assert ask(warehouse, "select post_id, reasons from quarantine.feed_data order by 1") == [
        (2, ["view without target 0 or 1"]),
        (3, ["view without target 0 or 1"]),
    ]


def test_ids_that_are_unknown_en_masse_stop_the_day(app, warehouse, people, event):
    people(users=50)
    for key in range(1000, 1020):
        event(key, 1)

    with pytest.raises(
        CheckFailed, match=r"20 of 70 rows break a rule .*20 with unknown user \(users 1000, 1001"
    ):
        job.extract(app, warehouse, NIGHT, SOCIAL[:2] + FEED)

    assert ask(warehouse, "select * from raw.feed_data") == []


def test_history_goes_on_without_the_posts_that_the_source_forgot(app, warehouse, people, event):
    people(users=50)
    for key in range(20):
        event(1 + key, 900)

    job.load_range(app, warehouse, as_of(1), as_of(1), SOCIAL[:2] + FEED)

    assert ask(warehouse, "select count(*) from raw.feed_data") == [(50,)]
    assert ask(warehouse, "select distinct reasons from quarantine.feed_data") == [
        (["unknown post"],)
    ]


def test_the_simulated_feed_is_taken_as_it_comes(app, warehouse, owner):
    change(owner, *(f"drop table if exists {table}" for table in SOCIAL))
    start, users = date(2026, 2, 1), 300
    simulate(owner, users=users, start=start, end=date(2026, 2, 12))
    job.load_range(app, warehouse, start, date(2026, 2, 10), SOCIAL)
    for day in (12, 13):
        simulate(owner, users=users, start=start, end=date(2026, 2, day))
        job.extract(app, warehouse, date(2026, 2, day), SOCIAL)

    for name in RECOUNTS:
        day = date(2026, 2, 13)
        assert told(warehouse, name, day) == recounted(warehouse, name, day), name
    assert ask(
        warehouse,
        "select count(*) from ops.validation where not success and suite like '%target'",
    ) == [(0,)]


def test_a_user_who_left_that_day_and_one_who_came_are_known_and_one_long_gone_is_not(
    app, warehouse, owner, people, user, event
):
    people(users=200, days=("2026-03-01", "2026-03-03"))
    tables = SOCIAL[:2] + FEED
    job.extract(app, warehouse, as_of(2), tables)
    change(owner, "delete from user_data where id = 1")
    user(999)
    event(1, 1, "2026-03-02 01:00")
    event(999, 1, "2026-03-02 23:00")
    job.extract(app, warehouse, as_of(3), tables)
    event(1, 2, "2026-03-02 02:00")

    counts = job.extract(app, warehouse, as_of(4), tables)["feed_data"]

    assert ask(
        warehouse, "select user_id, post_id, reasons from quarantine.feed_data order by 1"
    ) == [(1, 1, ["unknown user"])]
    # Late rows of a day on which the user was there are taken.
    assert counts["late"] == 1
    assert ask(
        warehouse,
        "select user_id, post_id, known_from from raw.feed_data where event_day = '2026-03-02'"
        " order by 1, 2",
    ) == [(1, 1, as_of(3)), (1, 2, as_of(4)), (999, 1, as_of(3))]


def test_events_wait_for_the_users_and_posts_of_their_day(app, warehouse, people):
    people()
    job.extract(app, warehouse, NIGHT, USERS)

    with pytest.raises(
        ReferenceNotLoaded, match=r"feed_data as of 2026-03-02: post_text_df .* --table post_text_"
    ):
        job.extract(app, warehouse, NIGHT, FEED)

    job.extract(app, warehouse, NIGHT, POSTS + FEED)
    assert len(loads(warehouse, "feed_data")) == 1


def test_an_owner_without_posts_table_or_rare_actions_gets_everything_else(
    app, warehouse, people, event
):
    people()
    event(1, 1, "2026-03-01 10:00:03", "like")
    with warehouse.begin() as connection:
        for table in ("post_text_df", "post_image"):
            connection.execute(
                text("insert into ops.absent_table values (:table, 'none here')"), {"table": table}
            )

    job.extract(app, warehouse, NIGHT, SOCIAL)

    assert ask(
        warehouse,
        "select expectation from ops.validation where not success and severity = 'info' order by 1",
    ) == [(f"action {action} is absent",) for action in ("comment", "hide", "share")]
    assert ask(warehouse, "select topic, sum(views) from feature.user_topic_day group by 1") == [
        ("unknown", 3)
    ]
    assert ask(warehouse, "select views, likes, shares, comments, hides from bi.feed_day") == [
        (3, 1, None, None, None)
    ]
    assert ask(warehouse, "select post_id, viewed from feature.post_life") == [(1, True)]


def test_targets_that_disagree_with_the_like_that_follows_are_counted_and_let_through(
    app, warehouse, people, event
):
    people(users=100)
    event(1, 2, "2026-03-01 12:00:00", target=0)
    event(1, 2, "2026-03-01 12:00:02", target=1)
    event(1, 2, "2026-03-01 12:00:05", "like")
    for key in (1, 2, 3):
        event(key, 3, "2026-03-01 12:10", target=1)

    job.extract(app, warehouse, NIGHT, SOCIAL[:2] + FEED)

    found = dict(
        (words, (severity, success, unexpected))
        for words, severity, success, unexpected in ask(
            warehouse,
            "select expectation, severity, success, unexpected from ops.validation"
            " where suite = 'raw.feed_data target'",
        )
    )
    # Of two views before a like the last one is liked; three likes never came.
    assert found == {
        "a view with target 1 is followed by the user's like": ("warning", False, 3),
        "a view with target 0 is not followed by the user's like": ("warning", True, 0),
    }
    assert loads(warehouse, "feed_data")[0][2:4] == (106, 106)
    assert ask(warehouse, "select tablename from pg_tables where schemaname = 'staging'") == []


def test_a_forgotten_user_is_gone_and_stays_away(app, warehouse, people, event):
    people(users=3, days=("2026-03-01", "2026-03-02"))
    tables = SOCIAL[:2] + FEED
    job.extract(app, warehouse, as_of(2), tables)

    deleted = forget(warehouse, "user", 1)
    event(1, 2, "2026-03-01 17:00")
    job.extract(app, warehouse, as_of(3), tables)

    assert {"raw.user_data", "raw.feed_data", "feature.user_post_day"} <= set(deleted)
    for schema, table in ask(
        warehouse,
        "select table_schema, table_name from information_schema.columns"
        " where column_name = 'user_id' and table_schema in ('raw', 'feature', 'quarantine')",
    ):
        assert ask(warehouse, f"select 1 from {schema}.{table} where user_id = 1") == [], table
    assert [key for key, _ in users_on(warehouse, as_of(3))] == [2, 3]


def test_a_full_day_after_a_short_history_is_planned_as_such(app, warehouse, owner, people, event):
    people(days=("2026-02-28",))
    tables = SOCIAL[:2] + FEED
    job.load_range(app, warehouse, date(2026, 2, 28), date(2026, 2, 28), tables)
    change(
        owner,
        "insert into user_data (id, age) select n, 20 from generate_series(10, 3000) as n",
        "insert into post_text_df select n, 'text', 'tech' from generate_series(10, 500) as n",
        "insert into feed_data select timestamp '2026-03-01' + n * interval '1 second',"
        " 10 + n % 2990, 10 + n % 490, 'view', 0 from generate_series(1, 60000) as n",
    )
    # Planned by the history's three rows, the day would take the square of its rows.
    impatient = engine(f"{adbc_uri(warehouse)}?options=-c%20statement_timeout%3D20s")

    counts = job.extract(app, impatient, as_of(2), tables)["feed_data"]
    change(owner, "update feed_data set post_id = 11 where user_id % 2 = 0")
    event(1, 1, "2026-03-02 10:00")
    later = job.extract(app, impatient, as_of(3), tables)["feed_data"]

    assert counts["loaded"] == 60_000
    assert later["closed"] == later["late"] > 29_000
    for name in ("post_day", "post_life"):
        assert told(warehouse, name, as_of(3)) == recounted(warehouse, name, as_of(3)), name


def test_the_pages_show_every_table_and_call_an_absent_action_no_failure(
    app, warehouse, people, tmp_path
):
    people()
    with warehouse.begin() as connection:
        connection.execute(text("insert into ops.absent_table values ('post_image', 'none')"))
    job.extract(app, warehouse, as_of(2), SOCIAL)
    # A night that is done late: users are what they were said to be.
    job.extract(app, warehouse, as_of(2), SOCIAL)

    index = pages.build(warehouse, tmp_path).read_text()

    for table in SOCIAL:
        assert table in index
    told = (tmp_path / "tables" / "feed_data.html").read_text()
    assert "action share is absent" in told
    assert "a view with target 1 is followed by" in told
    states = ask(
        warehouse,
        "select count(*) from ops.validation where not success and severity <> 'info'",
    )
    assert states == [(0,)]
    assert "that broke a check set aside" not in index


def test_raw_days_are_dropped_and_versions_stay(app, warehouse, people, event):
    days = [f"2026-03-{day:02}" for day in range(1, 10)]
    people(days=days)
    job.load_range(app, warehouse, as_of(1), as_of(9), SOCIAL[:2] + FEED)
    before = [told(warehouse, name, as_of(10)) for name in RECOUNTS]

    retain(warehouse, as_of(10), 5)

    assert ask(warehouse, "select min(event_day) from raw.feed_data") == [(as_of(5),)]
    assert len(users_on(warehouse, as_of(2))) == 3
    assert [told(warehouse, name, as_of(10)) for name in RECOUNTS] == before
    event(1, 2, "2026-03-08 12:00")
    event(1, 1, "2026-03-10 12:00")
    counts = job.extract(app, warehouse, as_of(11), SOCIAL[:2] + FEED)
    assert counts["feed_data"]["late"] == 1


def test_late_rows_are_looked_for_in_their_own_days_alone(app, warehouse, people, event):
    days = [f"2026-03-{day:02}" for day in range(1, 9)]
    people(days=days)
    tables = SOCIAL[:2] + FEED
    job.load_range(app, warehouse, as_of(1), as_of(8), tables)
    event(1, 2, "2026-03-07 12:00")
    event(1, 1, "2026-03-09 12:00")
    impatient = engine(f"{adbc_uri(warehouse)}?options=-c%20lock_timeout%3D5s")

    with warehouse.begin() as elsewhere:
        elsewhere.execute(text("lock table only raw.feed_data_20260302 in access exclusive mode"))
        counts = job.extract(app, impatient, as_of(10), tables)["feed_data"]

    assert (counts["loaded"], counts["late"]) == (2, 1)


@pytest.mark.parametrize("table", ["user_data", "feed_data"])
def test_what_is_staged_is_planned_by_what_it_holds(app, warehouse, people, table):
    people(users=50)
    job.extract(app, warehouse, NIGHT, SOCIAL[:2] if table in FEED else ())

    job.copy_table(app, warehouse, table, NIGHT)

    assert ask(
        warehouse,
        "select reltuples from pg_class where relname = :name",
        name=f"{table}_20260302_new",
    ) == [(50,)]


def test_analysts_read_the_feed_by_topic_and_by_hour(app, warehouse, as_role, people, post, event):
    people(users=3)
    post(4, topic="")
    event(1, 1, "2026-03-01 10:00:05", "like")
    event(2, 4, "2026-03-01 23:59:59", "share")
    event(3, 4, "2026-03-01 10:59")
    tables = SOCIAL[:2] + FEED
    job.extract(app, warehouse, as_of(2), tables)
    event(2, 2, "2026-03-01 11:00")
    event(1, 1, "2026-03-02 00:00")
    job.extract(app, warehouse, as_of(3), tables)
    analyst = as_role("bi_reader")
    day, next_day = as_of(1), as_of(2)

    topics = ask(analyst, "select * from bi.feed_topic_day order by event_day, topic")
    hours = ask(analyst, "select * from bi.feed_hour_day order by event_day, hour")

    # Comments and hides are no actions of this source at all.
    assert topics == [
        (day, "tech", 3, 4, 1, 0, None, None, 0.25),
        (day, "unknown", 2, 1, 0, 1, None, None, 0.0),
        (next_day, "tech", 1, 1, 0, 0, None, None, 0.0),
    ]
    assert hours == [(day, 10, 3, 4, 1, 0.25), (day, 11, 1, 1, 0, 0.0), (next_day, 0, 1, 1, 0, 0.0)]
    with pytest.raises(ProgrammingError, match="permission denied"):
        ask(analyst, "select * from feature.user_topic_day")
