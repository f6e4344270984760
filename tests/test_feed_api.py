"""The feed at any moment, in SQL and as a service: which posts, and that no impression is lost."""

import uuid
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from jobs.experiment import split

DAY = date(2026, 3, 2)
PARTS = (0, 6, 12, 18)
POSTS = range(100, 200)


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
def publish(given, warehouse):
    """Return a function that publishes a day: lists of users, the popular posts of segments."""

    def lists(day: date, users: list[int], **popular: list[int]) -> None:
        split.frozen(warehouse, "feed", day)
        for user in users:
            for part in PARTS:
                posts = posts_of(user, part, day)
                given(
                    "result.feed_recommendation",
                    as_of=day,
                    user_id=user,
                    day_part=part,
                    arm=split.arm("feed-1", ("control", "test"), (0.5, 0.5), [user])[0],
                    model_version=f"model-{day}",
                    post_ids=posts,
                    scores=[1 - place / 100 for place in range(100)],
                    sources=[1 + place % 8 for place in range(100)],
                )
        for segment, posts in popular.items():
            for part in PARTS:
                given(
                    "result.feed_popular",
                    as_of=day,
                    segment="" if segment == "everyone" else segment.replace("_", " "),
                    day_part=part,
                    model_version="popular_7d",
                    post_ids=posts,
                    scores=[1.0] * len(posts),
                    sources=[4] * len(posts),
                )
        given(
            "ops.publication",
            table_name="result.feed_recommendation",
            as_of=day,
            model_version=f"model-{day}",
            rows=len(users) * len(PARTS) or 1,
            checksum=str(day),
            replaced=False,
        )

    return lists


@pytest.fixture
def feed(warehouse, post, publish) -> Engine:
    """The lists of two users on two days, and what is popular; return the service's engine."""
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "insert into raw.post_text_df (post_id, text, topic, known_from)"
                " select id, 'text ' || id, 'topic ' || id % 3, '2026-01-01'"
                " from generate_series(100, 199) as id"
            )
        )
    popular = {"1 25_34": [150, 151, 152, 153, 154, 155], "everyone": [*range(160, 170)]}
    popular = {"1_25-34": popular["1 25_34"], "everyone": popular["everyone"]}
    publish(DAY - timedelta(days=1), [1, 2], **popular)
    publish(DAY, [1, 2], **popular)
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
