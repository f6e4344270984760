"""The feed at any moment, in SQL and as a service: which posts, and that no impression is lost."""

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import airflow_home
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from jobs.experiment import split
from jobs.local import processes
from plugins.feed_api import feed as feed_module
from plugins.feed_api import service as service_module
from plugins.feed_api.journal import REFUSED, Journal

DAY = date(2026, 3, 2)
PARTS = (0, 6, 12, 18)
POSTS = range(100, 200)
# Users who have a list; one of some segment, and the posts that are popular there.
USERS = [1, 2, *range(50, 58)]
POPULAR = {"1 25-34": [*range(150, 156)], "": [*range(160, 170)]}


def at(hour: float = 0, day: date = DAY) -> datetime:
    """Return an hour of a day, in UTC."""
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=hour)


def posts_of(user: int, part: int, day: date = DAY) -> list[int]:
    """Return the list of a user: all posts, begun at a place of their own."""
    begin = (user * 7 + part * 3 + day.toordinal()) % len(POSTS)
    return [*POSTS[begin:], *POSTS[:begin]]


@pytest.fixture
def post(given):
    """Return a function that makes a version of a post."""

    def make(post_id: int, known_from: date = date(2026, 1, 1), known_to: object = "infinity"):
        given(
            "raw.post_text_df",
            post_id=post_id,
            text=f"text {post_id} of {known_from}",
            topic="sport",
            known_from=known_from,
            known_to=known_to,
        )

    return make


@pytest.fixture
def publish(warehouse) -> Callable[[date], None]:
    """Return a function that publishes a day: lists of USERS, and what is popular."""

    def lists(day: date) -> None:
        split.frozen(warehouse, "feed", day)
        arms = split.arm("feed-1", ("control", "test"), (0.5, 0.5), USERS)
        rows = [
            {"day": day, "user": user, "part": part, "arm": arm, "posts": posts_of(user, part, day)}
            for user, arm in zip(USERS, arms, strict=True)
            for part in PARTS
        ]
        segments = [
            {"day": day, "segment": segment, "part": part, "posts": posts}
            for segment, posts in POPULAR.items()
            for part in PARTS
        ]
        with warehouse.begin() as connection:
            run = connection.execute
            run(
                text(
                    f"create table result.feed_recommendation_{day:%Y%m%d} partition of"
                    f" result.feed_recommendation for values from ('{day}') to"
                    f" ('{day + timedelta(days=1)}')"
                )
            )
            run(
                text(
                    "insert into result.feed_recommendation select :day, :user, :part, :arm,"
                    " 'model-' || :day, :posts, array(select 1 - place / 100.0 from"
                    " generate_series(0, 99) as place), array(select 1 + place % 8 from"
                    " generate_series(0, 99) as place)"
                ),
                rows,
            )
            run(
                text(
                    "insert into result.feed_popular select :day, :segment, :part, 'popular_7d',"
                    " :posts, array_fill(1, array[cardinality(cast(:posts as bigint[]))]),"
                    " array_fill(4, array[cardinality(cast(:posts as bigint[]))])"
                ),
                segments,
            )
            run(
                text(
                    "insert into ops.publication (table_name, as_of, model_version, rows,"
                    " checksum, replaced) values ('result.feed_recommendation', :day,"
                    " 'model-' || :day, :rows, :day, false)"
                ),
                {"day": day, "rows": len(rows)},
            )

    return lists


@pytest.fixture
def feed(warehouse, publish) -> Engine:
    """Publish two days, and make the posts."""
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "insert into raw.post_text_df (post_id, text, topic, known_from)"
                " select id, 'text ' || id, 'topic ' || id % 3, '2026-01-01'"
                " from generate_series(100, 199) as id"
            )
        )
    publish(DAY - timedelta(days=1))
    publish(DAY)
    return warehouse


def shown(given, user: int, posts: list[int], hour: float) -> None:
    given(
        "experiment.impression",
        request_id=uuid.uuid4(),
        served_at=at(hour),
        user_id=user,
        experiment="feed",
        arm="control",
        as_of=DAY,
        day_part=0,
        model_version="m",
        list="user",
        post_ids=posts,
        positions=list(range(1, len(posts) + 1)),
        sources=[1] * len(posts),
    )


def call(engine: Engine, user: int, moment: datetime, *more: object) -> list[dict]:
    names = [":user", ":moment", *(f":more{number}" for number in range(len(more)))]
    values = {f"more{number}": value for number, value in enumerate(more)}
    with engine.connect() as connection:
        found = connection.execute(
            text(f"select * from result.feed_at({', '.join(names)})"),
            {"user": user, "moment": moment, **values},
        )
        return [dict(row) for row in found.mappings()]


def ids(found: list[dict]) -> list[int]:
    return [row["post_id"] for row in found]


# --- feed_at -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hour", "part"), [(0, 0), (5.99, 0), (6, 6), (12, 12), (17.9999, 12), (18, 18), (23.9999, 18)]
)
def test_each_moment_has_the_list_of_its_part_of_the_day(feed, hour, part):
    found = call(feed, 1, at(hour))

    assert ids(found) == posts_of(1, part)[:5]
    assert {row["day_part"] for row in found} == {part}


def test_a_row_says_all_there_is_to_know(feed):
    row = call(feed, 1, at(12), 1)[0]

    first = posts_of(1, 12)[0]
    assert row == {
        "position": 1,
        "post_id": first,
        "text": f"text {first}",
        "topic": f"topic {first % 3}",
        "score": 1.0,
        "source": 1,
        "reason_code": "liked_by_similar_users",
        "list": "user",
        "as_of": DAY,
        "day_part": 12,
        "experiment": "feed",
        "arm": split.arm("feed-1", ("control", "test"), (0.5, 0.5), [1])[0],
        "model_version": f"model-{DAY}",
    }


def test_positions_run_from_one_to_the_limit(feed):
    assert [row["position"] for row in call(feed, 1, at(12), 100)] == list(range(1, 101))


@pytest.mark.parametrize("limit", [0, -1, 101, None])
def test_a_limit_out_of_range_is_an_error(feed, limit):
    with pytest.raises(DBAPIError, match="limit must be 1 to 100"):
        call(feed, 1, at(12), limit)


def test_a_user_or_a_moment_that_is_missing_is_an_error(feed):
    for user, moment in [(None, at(1)), (1, None), (1, "infinity")]:
        with pytest.raises(DBAPIError, match="must be given"):
            call(feed, user, moment)


def test_a_moment_of_the_past_gets_the_day_that_was_published_for_it(feed):
    before = DAY - timedelta(days=1)

    assert ids(call(feed, 1, at(12, before))) == posts_of(1, 12, before)[:5]
    assert call(feed, 1, at(12, before - timedelta(days=1))) == []


def test_after_a_failed_night_the_newest_published_day_serves(feed):
    found = call(feed, 1, at(12, DAY + timedelta(days=3)))

    assert ids(found) == posts_of(1, 12)[:5]
    assert {row["as_of"] for row in found} == {DAY}


def test_a_day_that_is_not_published_is_not_served(feed, given):
    tomorrow = DAY + timedelta(days=1)
    given(
        "result.feed_recommendation",
        as_of=tomorrow, user_id=1, day_part=0, arm="test", model_version="half-done",
        post_ids=[100], scores=[1.0], sources=[1],
    )  # fmt: skip

    assert {row["as_of"] for row in call(feed, 1, at(12, tomorrow))} == {DAY}


def test_nothing_published_is_no_row(warehouse):
    assert call(warehouse, 1, at(12)) == []


def test_what_was_served_since_midnight_of_the_day_is_taken_out(feed, given):
    posts = posts_of(1, 12)
    shown(given, 1, [posts[0], posts[2]], hour=0)
    shown(given, 1, [posts[1]], hour=-0.01)
    shown(given, 2, [posts[3]], hour=1)
    shown(given, 1, [posts[4]], hour=12.01)

    found = ids(call(feed, 1, at(12)))

    assert found == [posts[1], *posts[3:7]], "of yesterday, of others and of later: still there"


def test_a_second_call_at_the_same_moment_goes_on_down_the_list(feed, given):
    posts = posts_of(1, 12)
    shown(given, 1, posts[:5], hour=12)

    assert ids(call(feed, 1, at(12))) == posts[5:10]


def test_excluded_posts_are_taken_out(feed):
    posts = posts_of(1, 12)

    assert ids(call(feed, 1, at(12), 3, [posts[0], posts[2], 7])) == [posts[1], *posts[3:5]]
    assert ids(call(feed, 1, at(12), 3, None)) == posts[:3]


def test_a_removed_post_is_taken_out_from_the_day_the_removal_was_known(feed):
    first, second = posts_of(1, 12)[:2]
    with feed.begin() as connection:
        for gone, known_to in [(first, DAY), (second, DAY + timedelta(days=1))]:
            connection.execute(
                text("update raw.post_text_df set known_to = :known where post_id = :gone"),
                {"known": known_to, "gone": gone},
            )

    assert ids(call(feed, 1, at(12))) == posts_of(1, 12)[1:6]
    assert ids(call(feed, 1, at(12, DAY + timedelta(days=1)))) == posts_of(1, 12)[2:7]
    yesterday = DAY - timedelta(days=1)
    assert ids(call(feed, 1, at(12, yesterday), 100)) == posts_of(1, 12, yesterday)


def test_the_text_is_that_of_the_day(feed, post):
    first = posts_of(1, 12)[0]
    with feed.begin() as connection:
        connection.execute(
            text("update raw.post_text_df set known_to = :day where post_id = :id"),
            {"day": DAY, "id": first},
        )
    post(first, known_from=DAY)

    assert call(feed, 1, at(12))[0]["text"] == f"text {first} of {DAY}"


def user(given, user_id: int, age: int | None = 30, gender: int | None = 1, **columns) -> None:
    given(
        "raw.user_data",
        user_id=user_id, age=age, gender=gender, **{"known_from": date(2026, 1, 1), **columns},
    )  # fmt: skip


def test_a_user_without_a_list_gets_the_segments_popular_posts(feed, given):
    user(given, 9)

    found = call(feed, 9, at(12))

    assert ids(found) == [150, 151, 152, 153, 154]
    said = {(row["list"], row["model_version"], row["arm"], row["reason_code"]) for row in found}
    arm = split.arm("feed-1", ("control", "test"), (0.5, 0.5), [9])[0]
    assert said == {("segment", "popular_7d", arm, "popular_now")}


def test_a_user_nobody_knows_gets_everyones_popular_posts(feed, given):
    user(given, 10, age=70)
    user(given, 11, known_from=DAY + timedelta(days=1))
    user(given, 12, known_to=DAY)

    for stranger in (10, 11, 12, 13, -5, 2**63 - 1):
        found = call(feed, stranger, at(12))
        assert ids(found) == [160, 161, 162, 163, 164]
        assert {row["list"] for row in found} == {"everyone"}


def test_who_has_seen_a_whole_list_gets_the_next_one_and_in_the_end_nothing(feed, given):
    user(given, 1)
    shown(given, 1, [p for p in POSTS if p not in (100, 152, 165)], hour=1)
    assert sorted(ids(call(feed, 1, at(12), 5))) == [100, 152, 165]

    seen = [100, 152, 165]
    assert call(feed, 1, at(12), 5, seen) == []

    with feed.begin() as connection:
        connection.execute(
            text("update result.feed_popular set post_ids[1] = 300 where segment = ''")
        )
    found = call(feed, 1, at(12), 5, seen)
    assert ids(found) == [300]
    assert (found[0]["list"], found[0]["text"]) == ("everyone", None)


def test_the_day_and_arm_are_known_even_where_nothing_is_left(feed, warehouse):
    asked = text("select * from result.feed_arm(1, :at)")
    with warehouse.connect() as connection:
        found = list(connection.execute(asked, {"at": at(12)}))
        before = list(connection.execute(asked, {"at": at(12, date(2026, 1, 1))}))

    arm = split.arm("feed-1", ("control", "test"), (0.5, 0.5), [1])[0]
    assert found == [(DAY, "feed", arm)]
    assert before == []


def test_the_service_may_call_feed_at_and_read_nothing(feed, as_role):
    service = as_role("feed_api")

    assert ids(call(service, 1, at(12))) == posts_of(1, 12)[:5]
    with service.connect() as connection:
        readable = list(
            connection.execute(
                text(
                    "select oid::regclass::text from pg_class"
                    " where relkind in ('r', 'p', 'v', 'm', 'S')"
                    " and relnamespace::regnamespace::text !~ '^pg_|^information_schema'"
                    " and (has_schema_privilege(relnamespace, 'usage')) and"
                    " (has_any_column_privilege(oid, 'select, update, references')"
                    " or has_table_privilege(oid, 'delete, truncate, trigger'))"
                )
            ).scalars()
        )
        writable = list(
            connection.execute(
                text(
                    "select oid::regclass::text from pg_class where relkind in ('r', 'p')"
                    " and relnamespace::regnamespace::text !~ '^pg_|^information_schema'"
                    " and has_any_column_privilege(oid, 'insert')"
                )
            ).scalars()
        )
        callable_ = list(
            connection.execute(
                text(
                    "select oid::regproc::text from pg_proc"
                    " where pronamespace::regnamespace::text !~ '^pg_|^information_schema'"
                    " and has_schema_privilege(pronamespace, 'usage')"
                    " and has_function_privilege(oid, 'execute') order by 1"
                )
            ).scalars()
        )
        creates = list(
            connection.execute(
                text(
                    "select nspname from pg_namespace where has_schema_privilege(oid, 'create')"
                    " union all select 'database' where"
                    " has_database_privilege(current_database(), 'create, temporary')"
                )
            ).scalars()
        )
    assert readable == []
    assert writable == ["experiment.impression"]
    assert callable_ == ["result.feed_arm", "result.feed_at", "result.feed_segment"]
    assert creates == []


def test_a_callers_search_path_leads_nowhere(feed, as_role):
    with feed.begin() as connection:
        connection.execute(text("create temporary table publication (as_of date)"))
        connection.execute(text("set search_path = pg_temp, raw"))
        found = connection.execute(
            text("select post_id from result.feed_at(1, :at)"), {"at": at(1)}
        )

        assert list(found.scalars()) == posts_of(1, 0)[:5]
        settings = connection.execute(
            text("select prosecdef, proconfig from pg_proc where proname = 'feed_at'")
        ).one()
    assert settings == (True, ["search_path=pg_catalog, pg_temp"])


def test_only_the_days_own_partitions_are_looked_at(feed, as_role):
    """The day stands as a literal: a partition of another day is not even locked."""
    with as_role("migrator").begin() as connection:
        connection.execute(
            text("select experiment.make_impression_days('2026-01-01', :day)"), {"day": DAY}
        )
        connection.execute(text("select * from result.feed_at(1, :at)"), {"at": at(1)})
        locked = set(
            connection.execute(
                text(
                    "select relation::regclass::text from pg_locks where pid = pg_backend_pid()"
                    " and mode = 'AccessShareLock' and relation::regclass::text ~ '_2026'"
                )
            ).scalars()
        )
    tables = {name for name in locked if "idx" not in name and "key" not in name}
    assert "result.feed_recommendation_20260302" in tables
    assert "result.feed_recommendation_20260301" not in tables


# --- the service -------------------------------------------------------------------------------

TOKEN = "a token of the tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ADDRESS = "/post/recommendations/"


@pytest.fixture
def settings(as_role, tmp_path, monkeypatch) -> dict[str, str]:
    """Set what the service reads in the environment, and return it."""
    url = as_role("feed_api").url.set(drivername="postgresql")
    made = {
        service_module.TOKEN: TOKEN,
        service_module.URL: url.render_as_string(hide_password=False),
        service_module.JOURNAL: str(tmp_path / "journal"),
    }
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def client(feed, settings) -> Iterator[TestClient]:
    """Yield a client of the service, token in hand."""
    with TestClient(service_module.create_app(), headers=BEARER) as made:
        yield made


def moment(hour: float = 12, day: date = DAY) -> str:
    return at(hour, day).isoformat()


def ask(client: TestClient, user: int = 1, hour: float = 12, **more: object) -> dict:
    answer = client.get(ADDRESS, params={"id": user, "time": moment(hour), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def logged(engine: Engine) -> list[dict]:
    """Return the impressions in the order in which they were served."""
    with engine.connect() as connection:
        found = connection.execute(
            text("select * from experiment.impression order by served_at, request_id")
        )
        return [dict(row) for row in found.mappings()]


def wait_until(true, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def stored(client: TestClient) -> bool:
    return client.get("/health").json()["waiting_bytes"] == 0


def test_an_answer_has_the_form_that_callers_were_promised(client):
    answer = ask(client, limit=2)

    arm = split.arm("feed-1", ("control", "test"), (0.5, 0.5), [1])[0]
    promised = {name: answer[name] for name in ("exp_group", "model_version", "recommendations")}
    assert promised == {
        "exp_group": arm,
        "model_version": f"model-{DAY}",
        "recommendations": [
            {"id": post, "text": f"text {post}", "topic": f"topic {post % 3}"}
            for post in posts_of(1, 12)[:2]
        ],
    }
    assert (answer["list"], answer["as_of"]) == ("user", str(DAY))


def test_five_posts_are_the_default_and_now_is_the_moment(client):
    answer = client.get(ADDRESS, params={"id": 1})

    assert answer.status_code == 200
    assert len(answer.json()["recommendations"]) == 5


def test_a_time_without_zone_is_utc(client):
    for written, part in [
        ("2026-03-02T11:59:59", 6),
        ("2026-03-02T12:00:00", 12),
        ("2026-03-02T14:30:00+03:00", 6),
        ("2026-03-02T12:00:00Z", 12),
        ("2026-03-02", 0),
    ]:
        answer = client.get(ADDRESS, params={"id": 1, "time": written, "preview": True})
        first = answer.json()["recommendations"][0]["id"]
        assert first == posts_of(1, part)[0], written


def test_every_answer_is_logged_as_it_was_given(client, feed):
    answer = ask(client, limit=3)
    wait_until(lambda: stored(client))

    (row,) = logged(feed)
    posts = posts_of(1, 12)[:3]
    assert row == {
        "request_id": uuid.UUID(answer["request_id"]),
        "served_at": at(12),
        "user_id": 1,
        "experiment": "feed",
        "arm": answer["exp_group"],
        "as_of": DAY,
        "day_part": 12,
        "model_version": f"model-{DAY}",
        "list": "user",
        "post_ids": posts,
        "positions": [1, 2, 3],
        "sources": [1, 2, 3],
        "propensities": None,
    }


def test_the_next_answer_goes_on_where_the_last_one_ended_stored_or_not(client):
    first = [post["id"] for post in ask(client)["recommendations"]]
    at_once = [post["id"] for post in ask(client)["recommendations"]]
    wait_until(lambda: stored(client))
    later = [post["id"] for post in ask(client)["recommendations"]]

    assert [*first, *at_once, *later] == posts_of(1, 12)[:15]


def test_a_preview_is_not_logged(client, feed):
    assert ask(client, preview=True) == ask(client, preview=True)

    wait_until(lambda: stored(client))
    assert logged(feed) == []


def test_a_user_nobody_knows_gets_what_is_popular(client):
    answer = ask(client, user=4711)

    assert (answer["list"], answer["model_version"]) == ("everyone", "popular_7d")
    assert [post["id"] for post in answer["recommendations"]] == [160, 161, 162, 163, 164]


def test_who_has_seen_everything_gets_an_empty_list_with_arm_and_day(client, given):
    shown(given, 4711, list(POSTS), hour=1)

    answer = ask(client, user=4711)

    assert answer["recommendations"] == []
    assert answer["exp_group"] in ("control", "test")
    assert (answer["as_of"], answer["list"], answer["request_id"]) == (str(DAY), None, None)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({}, "id"),
        ({"id": "x"}, "id"),
        ({"id": "1.5"}, "id"),
        ({"id": 2**63}, "id"),
        ({"id": 1, "time": "yesterday"}, "time"),
        ({"id": 1, "time": "2026-02-30T00:00:00"}, "time"),
        ({"id": 1, "time": "2026-03-02T25:00:00"}, "time"),
        ({"id": 1, "time": "0001-01-01T00:00:00+14:00"}, "time"),
        ({"id": 1, "time": "9999-12-31T23:59:59-14:00"}, "time"),
        ({"id": 1, "time": "1970-01-01"}, "time"),
        ({"id": 1, "limit": 0}, "limit"),
        ({"id": 1, "limit": 101}, "limit"),
        ({"id": 1, "limit": "many"}, "limit"),
    ],
)
def test_what_makes_no_sense_is_422_and_says_where(client, asked, where):
    answer = client.get(ADDRESS, params=asked)

    assert answer.status_code == 422
    (said,) = answer.json()["detail"]
    assert said["loc"] == ["query", where]
    assert said["msg"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN]
)
def test_nothing_is_served_without_the_token(client, header):
    headers = {} if header is None else {"Authorization": header}
    client.headers.pop("Authorization")

    answer = client.get(ADDRESS, params={"id": 1}, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "recommendations" not in answer.text


@pytest.mark.parametrize("token", [None, "", "short"])
def test_the_service_does_not_start_without_a_token(settings, monkeypatch, token):
    if token is None:
        monkeypatch.delenv(service_module.TOKEN)
    else:
        monkeypatch.setenv(service_module.TOKEN, token)

    with (
        pytest.raises(service_module.NoToken, match="NIGHTSHIFT_FEED_TOKEN"),
        TestClient(service_module.create_app()),
    ):
        pass


def test_no_published_day_is_503_and_says_so(warehouse, settings):
    with TestClient(service_module.create_app(), headers=BEARER) as client:
        answer = client.get(ADDRESS, params={"id": 1, "time": moment()})

        assert answer.status_code == 503
        assert "no list is published for 2026-03-02" in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) > 0
        assert client.get("/health").json()["as_of"] is None


def test_a_database_that_is_down_is_503_and_says_so(settings, monkeypatch):
    monkeypatch.setenv(service_module.URL, f"postgresql://x:y@127.0.0.1:{processes.free_port()}/z")

    with TestClient(service_module.create_app(), headers=BEARER) as client:
        for address in (f"{ADDRESS}?id=1", "/health"):
            answer = client.get(address)
            assert answer.status_code == 503
            assert answer.json() == {"detail": "the warehouse does not answer"}
            assert int(answer.headers["Retry-After"]) > 0


def test_connections_that_were_cut_are_made_anew(client, server):
    ask(client)
    from jobs.local import databases

    with databases.administrator(server) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'feed_api'"
        )

    assert len(ask(client)["recommendations"]) == 5


def test_the_documentation_names_every_parameter_and_status(client):
    described = client.get("/openapi.json").json()

    operation = described["paths"][ADDRESS]["get"]
    assert {one["name"] for one in operation["parameters"]} == {"id", "time", "limit", "preview"}
    assert {"200", "401", "422", "503"} <= set(operation["responses"])
    fields = described["components"]["schemas"]["Recommendations"]["properties"]
    assert {"exp_group", "model_version", "recommendations"} <= set(fields)


# --- impressions survive -------------------------------------------------------------------------


def line(user: int = 1, **columns: object) -> bytes:
    made = {
        "request_id": str(uuid.uuid4()), "served_at": moment(), "user_id": user,
        "experiment": "feed", "arm": "test", "as_of": str(DAY), "day_part": 12,
        "model_version": "m", "list": "user", "post_ids": [1], "positions": [1], "sources": [1],
        **columns,
    }  # fmt: skip
    return json.dumps(made).encode()


def test_what_a_dead_process_left_is_stored_once(feed, settings, tmp_path):
    left = Journal(tmp_path / "journal")
    again = line(5)
    for each in (line(1), again, again, line(2)):
        left.append(each)
    left.close()

    with TestClient(service_module.create_app(), headers=BEARER) as client:
        assert stored(client)

    assert sorted(row["user_id"] for row in logged(feed)) == [1, 2, 5]
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_line_cut_short_and_one_that_makes_no_sense_stop_nothing(feed, settings, tmp_path):
    left = Journal(tmp_path / "journal")
    for each in (line(1), line(2, list="nonsense"), b"{not json", line(3, user_id="x"), line(4)):
        left.append(each)
    os.write(left.current.handle, line(5)[:40])
    left.close()

    with TestClient(service_module.create_app(), headers=BEARER) as client:
        assert stored(client)

    assert sorted(row["user_id"] for row in logged(feed)) == [1, 4]
    assert len((tmp_path / "journal" / REFUSED).read_bytes().splitlines()) == 3


def test_nobody_takes_over_what_a_living_process_writes(tmp_path):
    living, other = Journal(tmp_path), Journal(tmp_path)
    living.append(b"1")
    living.seal()
    living.append(b"2")

    assert other.take_over() == 0
    living.close()
    assert other.take_over() == 2
    assert sorted(itertools.chain(*(segment.read() for segment in other.sealed))) == [b"1", b"2"]


def test_a_full_journal_takes_no_more_and_stays_whole(tmp_path):
    journal = Journal(tmp_path, most_bytes=10)
    journal.append(b"1234")

    with pytest.raises(OSError, match="wait already"):
        journal.append(b"123456")

    assert journal.current.read() == [b"1234"]


class NoRoom(Journal):
    """A journal on a disk that is full."""

    def append(self, line: bytes):  # noqa: D102
        raise OSError(28, "No space left on device")


def test_on_a_full_disk_impressions_go_to_postgres_before_the_answer(feed, settings, monkeypatch):
    monkeypatch.setattr(service_module, "Journal", NoRoom)

    with TestClient(service_module.create_app(), headers=BEARER) as client:
        answers = [ask(client)["request_id"] for _ in range(3)]
        assert sorted(str(row["request_id"]) for row in logged(feed)) == sorted(answers)


def test_without_disk_and_postgres_memory_holds_a_bounded_number(
    feed, settings, monkeypatch, as_role
):
    monkeypatch.setattr(service_module, "Journal", NoRoom)
    monkeypatch.setattr(feed_module, "MOST_LINES", 2)
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.1)
    owner = as_role("migrator")
    with owner.begin() as connection:
        connection.execute(text("revoke insert on experiment.impression from feed_api"))

    try:
        with TestClient(service_module.create_app(), headers=BEARER) as client:
            answers = [ask(client)["request_id"] for _ in range(2)]
            refused = client.get(ADDRESS, params={"id": 1, "time": moment()})
            assert refused.status_code == 503
            assert "neither on disk nor in the warehouse" in refused.json()["detail"]
            with owner.begin() as connection:
                connection.execute(text("grant insert on experiment.impression to feed_api"))
            wait_until(lambda: stored(client))
    finally:
        with owner.begin() as connection:
            connection.execute(text("grant insert on experiment.impression to feed_api"))

    rows = logged(feed)
    assert sorted(str(row["request_id"]) for row in rows) == sorted(answers)
    assert sorted(itertools.chain(*(row["post_ids"] for row in rows))) == sorted(
        posts_of(1, 12)[:10]
    ), "what was held in memory was left out of the next answer"


def test_while_postgres_takes_no_impression_they_wait_on_disk(feed, settings, as_role, monkeypatch):
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.1)
    owner = as_role("migrator")
    with TestClient(service_module.create_app(), headers=BEARER) as client:
        with owner.begin() as connection:
            connection.execute(text("lock table experiment.impression in access exclusive mode"))
            connection.execute(text("revoke insert on experiment.impression from feed_api"))
        try:
            answers = [ask(client) for _ in range(4)]
            time.sleep(0.6)
            assert not stored(client)
        finally:
            with owner.begin() as connection:
                connection.execute(text("grant insert on experiment.impression to feed_api"))
        wait_until(lambda: stored(client))

    shown_posts = [post["id"] for answer in answers for post in answer["recommendations"]]
    assert shown_posts == posts_of(1, 12)[:20]
    assert len(logged(feed)) == 4


@contextmanager
def uvicorn(port: int, *options: str) -> Iterator[subprocess.Popen]:
    """Run the service as its own process, ready to answer."""
    command = ["plugins.feed_api.service:app", "--host", "127.0.0.1", "--port", str(port)]
    running = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *command, "--no-access-log", *options],
        cwd=airflow_home.ROOT,
        start_new_session=True,
    )
    try:
        wait_until(lambda: healthy(port), 30)
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGTERM)
            running.wait(20)


def healthy(port: int) -> bool:
    try:
        return fetch(port, "/health")[0] == 200
    except OSError:
        return False


def fetch(port: int, address: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", address, headers=BEARER)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def callers(port: int, users: list[int], answers: list[dict], stop: threading.Event) -> list:
    """Start one caller a user, who asks again and again and notes what arrived."""

    def calls(user: int) -> None:
        address = f"{ADDRESS}?id={user}&limit=1&time=2026-03-02T12:00:00"
        while not stop.is_set():
            try:
                status, answer = fetch(port, address)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.01)  # the service is down; what did not arrive is not noted
                continue
            if status == 200 and answer["request_id"]:
                answers.append({"user": user, **answer})

    started = [threading.Thread(target=calls, args=(user,)) for user in users]
    for each in started:
        each.start()
    return started


def test_kill_9_under_load_loses_and_doubles_no_impression(feed, settings, tmp_path):
    port, answers, stop = processes.free_port(), [], threading.Event()
    calling = callers(port, USERS[2:], answers, stop)
    try:
        for _ in range(3):
            with uvicorn(port) as running:
                enough = len(answers) + 100
                wait_until(lambda enough=enough: len(answers) > enough, 30)
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
        left = list((tmp_path / "journal").glob("*.jsonl"))
    finally:
        stop.set()
        for each in calling:
            each.join()

    with uvicorn(port):
        wait_until(lambda: fetch(port, "/health")[1]["waiting_bytes"] == 0)
    rows = logged(feed)

    assert left, "the kills left nothing to recover: the test proves nothing"
    known = {str(row["request_id"]): row for row in rows}
    assert len(known) == len(rows)
    for answer in answers:
        posts = [post["id"] for post in answer["recommendations"]]
        assert known[answer["request_id"]]["post_ids"] == posts, "an answer that is not logged"
    shown_to = [(row["user_id"], post) for row in rows for post in row["post_ids"]]
    assert len(set(shown_to)) == len(shown_to), "a post was served twice"
    assert list((tmp_path / "journal").iterdir()) == []


def test_two_workers_keep_journals_of_their_own(feed, settings):
    port, answers, stop = processes.free_port(), [], threading.Event()
    with uvicorn(port, "--workers", "2"):
        calling = callers(port, [50, 51, 52, 53], answers, stop)
        wait_until(lambda: len(answers) > 20, 30)
        stop.set()
        for each in calling:
            each.join()

    assert {answer["request_id"] for answer in answers} <= {
        str(row["request_id"]) for row in logged(feed)
    }


# --- inside Airflow -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> Iterator[TestClient]:
    """Yield a client of Airflow's api-server, plugins included, that nobody has logged in."""
    airflow_home.make_database()
    from airflow.api_fastapi.app import create_app

    with TestClient(create_app(apps="core")) as made:
        yield made


def test_inside_airflow_it_stands_behind_the_login(site, feed, settings):
    address = f"/feed{ADDRESS}"
    for path in (address, "/feed/health", "/feed/openapi.json", "/feed/docs"):
        assert site.get(path, params={"id": 1}).status_code in (401, 404)

    login = {"username": "admin", "password": airflow_home.PASSWORD}
    token = site.post("/auth/token", json=login).json()["access_token"]
    answer = site.get(
        address,
        params={"id": 1, "time": moment()},
        headers={"Authorization": f"Bearer {token}"},
    )

    assert answer.status_code == 200, answer.text
    assert [one["id"] for one in answer.json()["recommendations"]] == posts_of(1, 12)[:5]
    wait_until(lambda: len(logged(feed)) == 1)
