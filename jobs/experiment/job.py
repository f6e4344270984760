"""The readout of a night: count what users did with what they were shown, compare, publish."""

import logging
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
from sqlalchemy import Connection, Engine, text

from jobs.checks import validate
from jobs.experiment import impressions, readout
from jobs.publish import NothingToPublish, partitions, publish, stage
from jobs.warehouse import execute, named_failures, only_run, read_sql, rows, sql_file

log = logging.getLogger(__name__)

JOB = "experiment_readout"
DAILY, RESULT = "result.experiment_daily", "result.experiment_result"
# The method's version, which every row carries; another method is another version.
VERSION = "experiment_readout-1"
ONE_DAY = timedelta(days=1)
# The product's clock and the feed's differ: an event may stand so long before the answer.
SKEW = "5 minutes"
# Snapshots of the users' sums that are kept; a rerun further back sums all days anew.
KEEP_DAYS = 8
TYPES = {
    "users": "bigint", "users_compared": "bigint", "impressions": "bigint", "views": "bigint",
    "likes": "bigint", "users_in_both": "bigint", "event_day": "date", "first_day": "date",
    "last_day": "date", "experiment": "text", "arm": "text", "metric": "text",
    "compared_with": "text", "verdict": "text", "is_primary": "boolean",
    "sample_ratio_alarm": "boolean",
}  # fmt: skip
ARROW = {
    "bigint": pa.int64(),
    "date": pa.date32(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "double precision": pa.float64(),
}


def read_out(engine: Engine, as_of: date) -> int:
    """Count the day before ``as_of``, compare the arms, publish both tables; return the rows.

    Days before that were never counted (a night that failed, a history) are counted first. While
    no experiment ever showed anything there is nothing to read, and 0 comes back.

    Raises:
        NothingToPublish: if a running experiment that showed something before showed nothing on
            the day.
        CheckFailed: if the rows break an expectation; the days published before stay.
        AlreadyRunning: if another process reads out the same day.
    """
    with only_run(engine, JOB, as_of), named_failures(engine, f"{JOB} {as_of}"):
        with engine.begin() as connection:
            for day in _days_to_count(connection, as_of):
                _count(connection, day)
        sums = read_sql(engine, "experiment/sums.sql", as_of=as_of)
        if sums.empty:
            return _nothing(engine, as_of)
        count = _publish(engine, as_of, DAILY, _rows_of_the_day(sums, as_of))
        return count + _publish(engine, as_of, RESULT, _comparison(sums, as_of))


def make_days(engine: Engine, as_of: date, keep_days: int | None) -> int:
    """Make the coming days' partitions of the impression log, drop those whose time is over.

    Returns:
        Partitions made.
    """
    impressions.drop_days(engine, as_of, keep_days)
    return impressions.make_days(engine, as_of)


def _days_to_count(connection: Connection, as_of: date) -> list[date]:
    """Return the runs to count, in order; ``as_of`` is always among them."""
    days = [
        one["first_day"]
        for one in partitions(connection, "experiment.impression")
        if one["first_day"]
    ]
    first_day = min([as_of - ONE_DAY, *days])
    statement = sql_file("experiment/days_to_count.sql")
    found = rows(connection, statement, as_of=as_of, first_day=first_day)
    return [one["as_of"] for one in found]


def _count(connection: Connection, as_of: date) -> None:
    """Write what each user did on the day before ``as_of``, and the sums up to then."""
    # The day's rows were never analysed: where the planner takes them for few, it would loop.
    connection.execute(text("set local enable_nestloop = off"))
    checksum = sql_file("experiment/user_day_checksum.sql")
    before = rows(connection, checksum, as_of=as_of)
    execute(connection, "experiment/user_day_clear.sql", as_of=as_of)
    execute(connection, "experiment/user_day.sql", as_of=as_of, skew=SKEW)
    execute(
        connection,
        "experiment/user_total_clear.sql",
        as_of=as_of,
        keep_days=KEEP_DAYS,
        changed=before != rows(connection, checksum, as_of=as_of),
    )
    execute(connection, "experiment/user_total.sql", as_of=as_of)


def _rows_of_the_day(sums: pd.DataFrame, as_of: date) -> pd.DataFrame:
    return readout.daily(sums[sums["span"] == "day"], as_of - ONE_DAY)


def _comparison(sums: pd.DataFrame, as_of: date) -> pd.DataFrame:
    total = sums[sums["span"] == "total"]
    total = total.assign(first_day=[day - ONE_DAY for day in total["first_as_of"]])
    return readout.result(total, as_of - ONE_DAY)


def _publish(engine: Engine, as_of: date, table: str, frame: pd.DataFrame) -> int:
    """Stage, check and publish one table's day; return its rows."""
    from jobs.experiment import expectations

    types = {name: TYPES.get(name, "double precision") for name in frame.columns}
    fields = [(name, ARROW[kind]) for name, kind in types.items()]
    shape = ", ".join(f"{name} {kind}" for name, kind in types.items())
    staged = pa.Table.from_pandas(frame, pa.schema(fields), preserve_index=False)
    name = stage(engine, table, as_of, "rows", shape, [staged])
    key: tuple[str, ...] = ("experiment", "arm")
    suite, select = expectations.DAILY, "publish_daily"
    if table == RESULT:
        key, suite, select = (*key, "metric"), expectations.RESULT, "publish_result"
    validate(engine, "staging", name, suite, table, as_of, key)
    return publish(engine, table, as_of, [name], f"experiment/{select}.sql", VERSION).rows


def _nothing(engine: Engine, as_of: date) -> int:
    with engine.connect() as connection:
        before = rows(connection, sql_file("experiment/counted_before.sql"), as_of=as_of)
    if before:
        said = ", ".join(f"{one['experiment']} until {one['last_as_of']}" for one in before)
        raise NothingToPublish(
            f"{DAILY} {as_of}: no impression on {as_of - ONE_DAY}, though there were before "
            f"({said}); does the feed still serve, and does its log reach experiment.impression?"
        )
    log.info("%s %s: no experiment has shown anything yet", JOB, as_of)
    return 0
