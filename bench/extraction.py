"""Extraction of a day against a bare COPY-to-COPY of the same rows in the same run.

There are two floors: psycopg's documented loop, which writes every row as it comes, and the same
loop with its writes in blocks of a thousand rows.
"""

from datetime import date, timedelta
from itertools import islice

import psycopg
from sqlalchemy import text

from bench.ground import Ground, pairs, seconds
from jobs.extract import job
from jobs.simulate.job import create
from jobs.warehouse import driver

ROWS = 1_000_000
DAY = date(2026, 3, 1)
COLUMNS = "bulk_campaign_id, client_id, message_id, event, channel, date, created_at"
TABLE = "apparel_messages"


def measure(databases: Ground) -> str:
    """Return rows/s of copying (columns checked, duplicates dropped), checking and accepting."""
    create(databases.owner)
    with databases.owner.begin() as connection:
        connection.execute(
            text(
                "insert into apparel_messages select i % 5000, (i * bigint '7919') % 400000,"
                " md5(i::text),"
                " (array['send', 'send', 'send', 'open', 'click'])[1 + i % 5],"
                " (array['email', 'mobile_push', 'web_push', 'sms'])[1 + i % 4], :day,"
                " cast(:day as timestamp) + i * interval '1 day' / :rows"
                " from generate_series(0, :rows - 1) as i"
            ),
            {"day": DAY, "rows": ROWS},
        )
        # One in fifty is there twice, as exports have it.
        connection.execute(
            text(
                "insert into apparel_messages select * from apparel_messages where client_id < :n"
            ),
            {"n": 8000},
        )
    with databases.owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze apparel_messages"))
    as_of = DAY + timedelta(days=1)

    def ours() -> None:
        job.copy_table(databases.source, databases.warehouse, TABLE, as_of)

    _, batched, batched_ratio = pairs(ours, lambda: bare(databases, block_rows=1000))
    own, floor, ratio = pairs(ours, lambda: bare(databases), runs=5)
    rows = ROWS * 1.02
    checked = seconds(lambda: job.check_table(databases.warehouse, TABLE, as_of))
    accepted = seconds(lambda: job.accept_table(databases.warehouse, TABLE, as_of))
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


def bare(databases: Ground, block_rows: int = 1) -> None:
    """Stream the same rows into a plain table with nothing done to them."""
    with (
        databases.source.connect() as theirs,
        databases.warehouse.begin() as connection,
    ):
        reader: psycopg.Connection[tuple[object, ...]] = driver(theirs)
        ours = driver(connection)
        ours.execute("drop table if exists staging.bare")
        ours.execute(f"create table staging.bare as select {COLUMNS} from raw.{TABLE} limit 0")
        ours.commit()
        with (
            reader.cursor() as source,
            ours.cursor() as target,
            source.copy(
                f"copy (select {COLUMNS.replace('created_at', 'created_at::timestamptz')}"
                f" from {TABLE} where created_at >= '{DAY}'"
                f" and created_at < '{DAY + timedelta(days=1)}') to stdout (format binary)"
            ) as rows,
            target.copy(f"copy staging.bare ({COLUMNS}) from stdin (format binary)") as into,
        ):
            if block_rows == 1:
                for block in rows:
                    into.write(block)
            else:
                arriving = iter(rows)
                while joined := b"".join(islice(arriving, block_rows)):
                    into.write(joined)
