"""Extraction of a day against a bare COPY-to-COPY of the same rows in the same run.

There are two floors: psycopg's documented loop, which writes every row as it comes, and the same
loop with its writes in blocks of a thousand rows.
"""

import resource
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice

import psycopg
from sqlalchemy import text

from bench.ground import Ground, pairs, seconds
from jobs.extract import job
from jobs.simulate.job import create as create_shop
from jobs.simulate.social.job import create as create_feed
from jobs.warehouse import driver

DAY = date(2026, 3, 1)
AS_OF = DAY + timedelta(days=1)
USERS, POSTS = 163_205, 7_023
HISTORY_DAYS = 5


@dataclass(frozen=True)
class Source:
    """A source table to be measured.

    Attributes:
        table: its name.
        rows: rows of the day.
        columns: its columns, as ours are called.
        time: the column that dates a row.
        fill: SQL that writes the day; one in fifty is there twice, as exports have it.
        before: tables that have to be loaded first.
    """

    table: str
    rows: int
    columns: str
    time: str
    fill: tuple[str, ...]
    before: tuple[str, ...] = ()


MESSAGES = Source(
    "apparel_messages",
    1_020_000,
    "bulk_campaign_id, client_id, message_id, event, channel, date, created_at",
    "created_at",
    (
        "insert into apparel_messages select i % 5000, (i * bigint '7919') % 400000,"
        " md5(i::text),"
        " (array['send', 'send', 'send', 'open', 'click'])[1 + i % 5],"
        " (array['email', 'mobile_push', 'web_push', 'sms'])[1 + i % 4], :day,"
        " cast(:day as timestamp) + i * interval '1 day' / 1000000"
        " from generate_series(0, 999999) as i",
        "insert into apparel_messages select * from apparel_messages where client_id < 8000",
    ),
)
FEED = Source(
    "feed_data",
    850_000,
    '"timestamp", user_id, post_id, action, target',
    '"timestamp"',
    (
        f"insert into user_data select n, 14 + n % 60, 'city ' || n % 500, 'Russia', n % 5, n % 2,"
        f" 'iOS', 'ads' from generate_series(1, {USERS}) as n",
        f"insert into post_text_df select n, repeat(md5(n::text), 40), 'topic ' || n % 7"
        f" from generate_series(1, {POSTS}) as n",
        f"insert into post_image select n, 'file:///' || n || '.png'"
        f" from generate_series(1, {POSTS}) as n",
        # Few users and posts have most of the views; of nine views one is liked.
        "insert into feed_data with viewed as materialized ("
        f" select 1 + floor({USERS} * power(random(), 2.5))::bigint as user_id,"
        f" 1 + floor({POSTS} * power(random(), 1.8))::bigint as post_id,"
        " cast(:day as timestamp) + random() * interval '86390 seconds' as at,"
        " i % 9 = 0 as liked from generate_series(1, 750000) as i"
        ") select at, user_id, post_id, 'view', liked::integer from viewed"
        " union all select at + interval '3 seconds', user_id, post_id, 'like', null from viewed"
        " where liked",
        "insert into feed_data select * from feed_data"
        ' where "timestamp" >= cast(:day as timestamp)'
        " and \"timestamp\" < cast(:day as timestamp) + interval '1700 seconds'",
    ),
    ("user_data", "post_text_df", "post_image"),
)


def measure(databases: Ground, source: Source = MESSAGES) -> str:
    """Return rows/s of copying (columns checked, duplicates dropped), checking and accepting."""
    fill(databases, source, DAY)
    for table in source.before:
        job.extract(databases.source, databases.warehouse, AS_OF, [table])

    def ours() -> None:
        job.copy_table(databases.source, databases.warehouse, source.table, AS_OF)

    _, batched, batched_ratio = pairs(ours, lambda: bare(databases, source, block_rows=1000))
    own, floor, ratio = pairs(ours, lambda: bare(databases, source), runs=5)
    rows = source.rows
    checked = seconds(lambda: job.check_table(databases.warehouse, source.table, AS_OF))
    accepted = seconds(lambda: job.accept_table(databases.warehouse, source.table, AS_OF))
    return "\n".join(
        [
            f"bare COPY to COPY                  {rows / floor:>12,.0f} rows/s",
            f"the same, written in blocks        {rows / batched:>12,.0f} rows/s",
            f"ours, duplicates dropped           {rows / own:>12,.0f} rows/s",
            f"ratio to the bare one (goal .8)    {ratio:>12.2f}",
            f"ratio to the one in blocks         {batched_ratio:>12.2f}",
            f"then checked                       {rows / checked:>12,.0f} rows/s",
            f"then accepted (aggregates, lives, profile) {rows / accepted:>4,.0f} rows/s",
        ]
    )


def measure_feed(databases: Ground) -> str:
    """Return the same of a day of the feed, then of days of it as history, with its memory.

    ``bench.feed_history`` loads as many days as one likes, of the simulated feed.
    """
    day = measure(databases, FEED)
    first, last = DAY - timedelta(days=HISTORY_DAYS), DAY - timedelta(days=1)
    for n in range(HISTORY_DAYS):
        fill(databases, FEED, first + timedelta(days=n))
    taken = seconds(
        lambda: job.load_range(databases.source, databases.warehouse, first, last, job.SOCIAL)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join(
        [
            day,
            f"{HISTORY_DAYS} days as history                  {taken:>12.0f} s",
            f"the same                           {FEED.rows * HISTORY_DAYS / taken:>12,.0f} rows/s",
            f"90 days of it, extrapolated        {taken * 90 / HISTORY_DAYS / 60:>12.0f} min",
            f"peak memory of the process         {peak:>12.0f} MB",
        ]
    )


def fill(databases: Ground, source: Source, day: date) -> None:
    """Write the day's rows, and what they refer to, into the source."""
    create_shop(databases.owner)
    create_feed(databases.owner)
    with databases.owner.begin() as connection:
        for statement in source.fill:
            table = statement.split()[2]
            if (
                table in source.before
                and connection.execute(text(f"select exists(select from {table})")).scalar_one()
            ):
                continue
            connection.execute(text(statement), {"day": day} if ":day" in statement else {})
    with databases.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"vacuum analyze {source.table}"))


def bare(databases: Ground, source: Source, block_rows: int = 1) -> None:
    """Stream the same rows into a plain table with nothing done to them."""
    with (
        databases.source.connect() as theirs,
        databases.warehouse.begin() as connection,
    ):
        reader: psycopg.Connection[tuple[object, ...]] = driver(theirs)
        ours = driver(connection)
        ours.execute("drop table if exists staging.bare")
        ours.execute(
            f"create table staging.bare as select {source.columns} from raw.{source.table} limit 0"
        )
        ours.commit()
        typed = source.columns.replace(source.time, f"{source.time}::timestamptz")
        typed = typed.replace("target", "target::smallint")
        with (
            reader.cursor() as outgoing,
            ours.cursor() as target,
            outgoing.copy(
                f"copy (select {typed} from {source.table} where {source.time} >= '{DAY}'"
                f" and {source.time} < '{AS_OF}') to stdout (format binary)"
            ) as rows,
            target.copy(f"copy staging.bare ({source.columns}) from stdin (format binary)") as into,
        ):
            if block_rows == 1:
                for block in rows:
                    into.write(block)
            else:
                arriving = iter(rows)
                while joined := b"".join(islice(arriving, block_rows)):
                    into.write(joined)
