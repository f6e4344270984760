"""The simulated feed in the product database: create it, load its history, play one day more.

History ends before ``end``, as an ``as_of`` does: ``simulate(..., end=D)`` writes what the source
has on the morning of D, and ``play_day(engine, D)`` what reaches it on D. However the days are
split between the two, the source holds the same rows, as long as no lists are served.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, text

from jobs.binary_copy import Field, encode
from jobs.simulate.clock import DAY_US, Array, Columns, day_date, day_number, take
from jobs.simulate.codes import NULL
from jobs.simulate.social import images, texts
from jobs.simulate.social.feed import ACTIONS, Day, no_impressions, play
from jobs.simulate.social.lists import add_views, lists, no_bits
from jobs.simulate.social.plan import plan
from jobs.simulate.social.posts import authors
from jobs.simulate.social.rows import feed_rows
from jobs.simulate.social.users import age_on, birthdays, moves
from jobs.simulate.social.words import TOPICS
from jobs.simulate.social.world import (
    CITIES,
    CITY_COUNTRY,
    COUNTRIES,
    FIRST_POST_ID,
    FIRST_USER_ID,
    SOURCES,
    SYSTEMS,
    World,
    born_by,
)
from jobs.warehouse import driver, execute, read_blocks, rows

# the demo's feed
USERS = 4_000
HISTORY_DAYS = 90
SEED = 7

SEEN_ROWS = 500_000  # read at once
TABLES = ("user_data", "post_text_df", "post_image", "feed_data", "feed_exclusion")
RECORDS = ("social_world", "social_played", "social_pending")
INDEX = "create index if not exists feed_data_timestamp on feed_data (timestamp)"


def create(engine: Engine) -> None:
    """Make the source tables, their index and the simulation's records where they are absent."""
    with engine.begin() as connection:
        connection.execute(text("create schema if not exists simulation"))
        for table in (*TABLES, *RECORDS):
            execute(connection, f"simulate/{table}.sql")
        connection.execute(text(INDEX))


def simulate(
    engine: Engine,
    users: int = USERS,
    start: date = date(2026, 3, 1) - timedelta(days=HISTORY_DAYS),
    end: date = date(2026, 3, 1),
    seed: int = SEED,
    report: Callable[[date, int], None] = lambda day, written: None,
    pictures: Path | None = None,
) -> int:
    """Write all that reaches the source on the days [start, end); return the feed rows written.

    Days already there are left alone, so a call goes on where an earlier one, finished or killed,
    stopped: a later ``end`` continues the history.

    Args:
        engine: database ``app``, as its owner.
        users: see ``plan.plan``; the number of posts follows from it.
        start: the first day of the simulated feed.
        end: the day after the last one written.
        seed: see ``plan.plan``.
        report: called with each day written and the rows written so far.
        pictures: the folder below which the pictures of posts are drawn, where their uri says;
            None draws none.

    Raises:
        ValueError: if the database or ``pictures`` holds another feed, or the database rows that
            are not simulated.
    """
    create(engine)
    _settle(engine, users, start, seed)
    first = _next_day(engine)
    if first >= end:
        return 0
    planned = plan(seed, users, start, (end - start).days)
    # rebuilding the index costs less than a load past it, if the load is the larger part
    if end - first > first - start:
        with engine.begin() as connection:
            connection.execute(text("drop index if exists feed_data_timestamp"))
    written = 0
    days = range(day_number(first), day_number(end))
    # the next day is drawn while Postgres takes this one
    with ThreadPoolExecutor(max_workers=1) as drawer:
        ahead = drawer.submit(play, planned, days[0])
        for number in days:
            played = ahead.result()
            if number + 1 < days.stop:
                ahead = drawer.submit(play, planned, number + 1)
            with engine.begin() as connection:
                written += _write(connection, planned, number, played, pictures)
            report(day_date(number), written)
    with engine.begin() as connection:
        connection.execute(text(INDEX))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in TABLES:
            connection.execute(text(f"analyze {table}"))
    return written


def play_day(
    engine: Engine,
    day: date,
    served: pd.DataFrame | None = None,
    pictures: Path | None = None,
) -> tuple[int, pd.DataFrame]:
    """Write what reaches the source on one day; return the feed rows added and the impressions.

    The day's own rows, late ones of days before, new users and posts, and changes of old ones.
    A day that is there already is left alone: no rows, and the impressions of the lists given, so
    that a caller who was killed before noting them can ask again.

    Args:
        engine: database ``app``, as its owner.
        day: the day after the last one written.
        served: our lists of the day: user_id, day_part (first UTC hour of the part; it lasts to
            the next part of the frame) and post_ids, the best first. A user without a list for the
            hour sees the base policy.
        pictures: as in ``simulate``.

    Returns:
        rows added to feed_data; the requests answered from lists, one row each: served_at (UTC,
        without zone), user_id, day_part, post_ids and positions (arrays, from 1 in each request).

    Raises:
        ValueError: if the days before are not there, or a user has two lists for one part.
    """
    seed, users, start = _known_world(engine)
    following = _next_day(engine)
    if day > following:
        raise ValueError(
            f"simulation.social_played: {day} can't be played before {following}; "
            f"simulate up to {day} first"
        )
    if day < following and served is None:
        return 0, no_impressions()
    planned = plan(seed, users, start, (day - start).days + 1)
    number = day_number(day)
    found = None if served is None else lists(planned, served)
    seen = None if served is None else _seen(engine, planned, day)
    played = play(planned, number, found, seen)
    if day < following:
        return 0, played.impressions
    with engine.begin() as connection:
        return _write(connection, planned, number, played, pictures), played.impressions


def world(engine: Engine, end: date) -> World:
    """Return the feed's world of which the database holds a part, planned up to ``end``."""
    seed, users, start = _known_world(engine)
    return plan(seed, users, start, (end - start).days)


def _known_world(engine: Engine) -> tuple[int, int, date]:
    """Return seed, users and first day of the feed in the database."""
    with engine.connect() as connection:
        found = rows(connection, "select seed, users, start_day from simulation.social_world")
    if not found:
        raise ValueError("simulation.social_world: no feed in this database; call simulate first")
    return found[0]["seed"], found[0]["users"], found[0]["start_day"]


def _settle(engine: Engine, users: int, start: date, seed: int) -> None:
    """Record which feed this database holds, or make sure that it is this one."""
    with engine.begin() as connection:
        if not rows(connection, "select 1 from simulation.social_world"):
            for table in TABLES:
                if rows(connection, f"select 1 from {table} limit 1"):
                    raise ValueError(
                        f"{table}: holds rows that are not simulated; "
                        "simulate into an empty database"
                    )
        connection.execute(
            text(
                "insert into simulation.social_world (seed, users, start_day) "
                "values (:seed, :users, :start) on conflict do nothing"
            ),
            {"seed": seed, "users": users, "start": start},
        )
    found = _known_world(engine)
    if found != (seed, users, start):
        raise ValueError(
            f"simulation.social_world: the database holds seed {found[0]}, {found[1]} users from "
            f"{found[2]}, asked for seed {seed}, {users} users from {start}; "
            "ask for the same feed or use an empty database"
        )


def _next_day(engine: Engine) -> date:
    """Return the first day that the source has not seen yet."""
    statement = (
        "select coalesce(max(played.day) + 1, min(world.start_day)) as day "
        "from simulation.social_world as world left join simulation.social_played as played on true"
    )
    with engine.connect() as connection:
        day: date = rows(connection, statement)[0]["day"]
    return day


def _seen(engine: Engine, planned: World, day: date) -> Array:
    """Return which posts each user viewed before a day, as ``lists.no_bits`` does."""
    bits = no_bits(planned)
    for block in read_blocks(engine, "simulate/social_seen.sql", SEEN_ROWS, day=day):
        add_views(bits, planned, block["user_id"].to_numpy(), block["post_id"].to_numpy())
    return bits


def _write(
    connection: Connection, planned: World, number: int, played: Day, pictures: Path | None
) -> int:
    """Write one day and record it; return the rows added to feed_data."""
    # one writer at a time; the other one then finds its day taken
    connection.execute(text("select 1 from simulation.social_world for update"))
    day = day_date(number)
    if rows(connection, "select 1 from simulation.social_played where day >= :day", day=day):
        raise ValueError(f"simulation.social_played: another process wrote {day}; call again")
    _write_users(connection, planned, number)
    _write_posts(connection, planned, number, pictures)
    found = feed_rows(planned, number, played.events)
    now = take(found, found["arrival"] == number)
    _copy_feed(connection, "feed_data", now)
    _copy_feed(
        connection, "simulation.social_pending", take(found, found["arrival"] > number), True
    )
    late = execute(connection, "simulate/social_arrive.sql", day=day)
    connection.execute(
        text("insert into simulation.social_played (day) values (:day)"), {"day": day}
    )
    return len(now["arrival"]) + late


def _write_users(connection: Connection, planned: World, number: int) -> None:
    """Add the users registered on a day, and change those of before."""
    begin = born_by(planned, number - 1)
    who = np.arange(begin, born_by(planned, number))
    city = planned.city[who].astype(np.int64)
    values = zip(
        (FIRST_USER_ID + who).tolist(),
        age_on(planned, who, number).tolist(),
        (
            None if unknown else CITIES[place][0]
            for unknown, place in zip(planned.no_city[who], city, strict=True)
        ),
        (COUNTRIES[place] for place in CITY_COUNTRY[city]),
        planned.exp_group[who].tolist(),
        planned.gender[who].tolist(),
        (SYSTEMS[place] for place in planned.os[who]),
        (SOURCES[place] for place in planned.source[who]),
        strict=True,
    )
    columns = "id, age, city, country, exp_group, gender, os, source"
    _copy_rows(connection, f"user_data ({columns})", values)
    older = birthdays(planned, number)
    moved, where = moves(planned, number)
    execute(
        connection,
        "simulate/social_update_users.sql",
        users=(FIRST_USER_ID + np.concatenate([older, moved])).tolist(),
        ages=[*age_on(planned, older, number).tolist(), *([None] * len(moved))],
        cities=[*([None] * len(older)), *(CITIES[city][0] for city in where)],
    )


def _write_posts(
    connection: Connection, planned: World, number: int, pictures: Path | None
) -> None:
    """Add the posts published by the end of a day, change and remove those of before."""
    since = number * DAY_US if number > planned.start else 0
    begin, end = np.searchsorted(planned.published, [since, (number + 1) * DAY_US])
    new = range(int(begin), int(end))
    _copy_rows(
        connection,
        "post_text_df (id, text, topic)",
        (
            (
                FIRST_POST_ID + post,
                texts.text(planned, post, number),
                None if planned.no_topic[post] else TOPICS[planned.topic[post]],
            )
            for post in new
        ),
    )
    pictured = [post for post in new if planned.picture[post]]
    if pictures is not None:  # before their rows: a row that is there has its file
        images.write(planned, pictured, pictures)
    named = ((FIRST_POST_ID + post, images.uri(planned, post)) for post in pictured)
    _copy_rows(connection, "post_image (post_id, uri)", named)
    author = authors(planned, number, len(new))
    written = ((user, post) for user, post in zip(author, new, strict=True) if user >= 0)
    _copy_rows(
        connection,
        "feed_exclusion (user_id, post_id)",
        ((int(FIRST_USER_ID + user), FIRST_POST_ID + post) for user, post in written),
    )
    edited = np.flatnonzero(planned.edited == number)
    execute(
        connection,
        "simulate/social_update_posts.sql",
        posts=(FIRST_POST_ID + edited).tolist(),
        texts=[texts.text(planned, int(post), number) for post in edited],
    )
    removed = {"posts": (FIRST_POST_ID + np.flatnonzero(planned.removed == number)).tolist()}
    connection.execute(text("delete from post_text_df where id = any(:posts)"), removed)
    for table in ("post_image", "feed_exclusion"):
        connection.execute(text(f"delete from {table} where post_id = any(:posts)"), removed)


def _copy_rows(connection: Connection, target: str, values: Iterable[tuple[object, ...]]) -> None:
    """Append rows to one source table, in the connection's transaction."""
    with (
        driver(connection).cursor() as cursor,
        cursor.copy(f"copy {target} from stdin") as copy,
    ):
        for row in values:
            copy.write_row(row)


def _copy_feed(
    connection: Connection, table: str, found: Columns, with_arrival: bool = False
) -> None:
    """Append feed rows to a table by binary COPY, in the connection's transaction."""
    fields = {
        "timestamp": Field("timestamp", found["timestamp"]),
        "user_id": Field("bigint", found["user_id"], found["user_id"] == NULL),
        "post_id": Field("bigint", found["post_id"]),
        "action": Field("text", found["action"], None, ACTIONS),
        "target": Field("integer", found["target"], found["target"] < 0),
    }
    if with_arrival:
        fields["arrival"] = Field("date", found["arrival"])
    with (
        driver(connection).cursor() as cursor,
        cursor.copy(f"copy {table} ({', '.join(fields)}) from stdin (format binary)") as copy,
    ):
        for piece in encode(list(fields.values())):
            copy.write(piece)
