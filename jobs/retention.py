"""Retention: old days of the results become months; raw and vectors go once their time is over.

A month is copied first, and that commits; its days are changed for it in a second transaction. A
reader whose snapshot is older than the copy finds no row in it, however late it asks, so the
second transaction waits until the last such snapshot is gone. It has the table to itself while it
changes the partitions: whoever has planned a query holds a lock on the table, so nobody stands
between a plan with the days and a snapshot without them. From before the copy until the end the
days are locked against writers; when one comes, retention gives way and tries another night.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, text

from jobs.extract.job import ONE_DAY, RECHECK_DAYS
from jobs.publish import partitions
from jobs.warehouse import driver, execute, only_run, rows, sql_file

log = logging.getLogger(__name__)

DAILY_DAYS = timedelta(days=90)
# Nights that something may be put off before it becomes an incident.
PATIENCE_DAYS = 7
# Table of vectors -> SQL that deletes those that nobody reads.
EMBEDDINGS = {
    "feature.post_embedding": "delete_embeddings",
    "feature.post_image_embedding": "delete_image_embeddings",
}
# The night of D loads D-1 and compares RECHECK_DAYS before it with the source.
LEAST_RAW_DAYS = 1 + RECHECK_DAYS
# sql/feature/purchase_day.sql looks for the message of a purchase so many days back, so messages
# are kept that much longer, and at least until the purchases that may be tied to them are loaded.
TIE_DAYS = 30
TIED_TO = {"apparel_messages": "apparel_purchases"}
SNAPSHOT_SECONDS = 300.0
# New readers queue behind whoever waits for the table alone: this is the longest that they do.
LOCK_TIMEOUT = "100ms"
LOCK_ATTEMPTS = 60
PAUSE_SECONDS = 1.0


class PutOff(RuntimeError):
    """Readers or writers came first; nothing was changed, and another night will do."""


class PutOffTooLong(RuntimeError):
    """What has been due for more than PATIENCE_DAYS was put off once more."""


class RawStillNeeded(ValueError):
    """The setting would drop raw that the extraction reads again."""


@dataclass(frozen=True)
class Month:
    """A month of a result table that is to become one partition.

    Attributes:
        table: result table, without its schema.
        first_day: first of the month.
        days: its daily partitions, in order.
    """

    table: str
    first_day: date
    days: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the monthly partition."""
        return f"{self.table}_{self.first_day:%Y%m}"

    @property
    def end_day(self) -> date:
        """Return the first day after the month."""
        return next_month(self.first_day)


def retain(warehouse: Engine, as_of: date, raw_days: int | None) -> dict[str, str]:
    """Merge the months whose days are all older than 90 days; drop raw older than ``raw_days``.

    Vectors of texts and pictures go 90 days after a version that reads them was trained, unless one
    is live.

    Args:
        warehouse: the warehouse.
        as_of: day to count back from.
        raw_days: days of raw to keep; None keeps everything.

    Returns:
        What became of each month and each raw table that was due, in words (in the log, too).
        What was put off is as it was, and is due again the next night.

    Raises:
        RawStillNeeded: if ``raw_days`` is too few.
        AlreadyRunning: if another process merges the same month.
        PutOffTooLong: after all else is done, if a month or raw was put off that has been due for
            more than PATIENCE_DAYS.
    """
    if raw_days is not None and raw_days < LEAST_RAW_DAYS:
        raise RawStillNeeded(
            f"NIGHTSHIFT_RAW_DAYS is {raw_days}; expected {LEAST_RAW_DAYS} or more, since each "
            f"night compares as many days with the source. Unset it to keep everything"
        )
    done: dict[str, str] = {}
    overdue: list[str] = []
    for month in due_months(warehouse, as_of):
        what = f"result.{month.table} {month.first_day:%Y-%m}"
        try:
            done[what] = f"merged, {len(month.days)} days, {merge(warehouse, month)} rows"
        except PutOff as reason:
            done[what] = f"put off: {reason}"
            due = month.end_day + DAILY_DAYS
            if as_of > due + PATIENCE_DAYS * ONE_DAY:
                overdue.append(f"{what}, due since {due} ({reason})")
    if raw_days is not None:
        for table, days in due_raw(warehouse, as_of, raw_days).items():
            try:
                drop_raw(warehouse, table, days)
                done[f"raw.{table}"] = f"dropped, {len(days)} days"
            except PutOff as reason:
                done[f"raw.{table}"] = f"put off: {reason}"
                if len(days) > PATIENCE_DAYS:  # a day becomes due a night
                    overdue.append(f"raw.{table}, {len(days)} days from {days[0]} on ({reason})")
    for table, dropped in drop_embeddings(warehouse, as_of).items():
        done[table] = f"dropped, {dropped} vectors of old encoders"
    for what, became in done.items():
        log.info("%s: %s", what, became)
    if overdue:
        raise PutOffTooLong(
            f"retention as of {as_of}: put off for more than {PATIENCE_DAYS} nights: "
            f"{'; '.join(overdue)}. Nothing is lost; end the oldest transaction of "
            "pg_stat_activity (docs/on-call.md says how to find it), then rerun"
        )
    return done


def due_months(warehouse: Engine, as_of: date) -> list[Month]:
    """Return the months with daily partitions whose last day is older than 90 days, oldest first.

    Days of it that were never published are no obstacle; they are published into the month later.
    """
    months: dict[tuple[date, str], list[str]] = {}
    with warehouse.connect() as connection:
        for table in _partitioned(connection, "result"):
            for found in partitions(connection, f"result.{table}"):
                first_day = found["first_day"].replace(day=1)
                daily = found["end_day"] - found["first_day"] == ONE_DAY
                if daily and next_month(first_day) <= as_of - DAILY_DAYS:
                    months.setdefault((first_day, table), []).append(found["name"])
    return [Month(table, first, tuple(days)) for (first, table), days in sorted(months.items())]


def merge(warehouse: Engine, month: Month) -> int:
    """Put one monthly partition in the place of a month's days; return its rows.

    Raises:
        PutOff: if readers or writers left no room; everything is as it was then.
        AlreadyRunning: if another process merges the same month.
    """
    copy = f"{month.name}_month"
    with only_run(warehouse, f"retain result.{month.table}", month.first_day):
        try:
            with warehouse.begin() as guard:
                _lock(guard, "result", month.days, "share")
                count, committed = _copy(warehouse, guard, month, copy)
                _outlive_older_snapshots(warehouse, guard, month, committed)
                _take(guard, "result", month.table, month.days)
                _swap(guard, month, copy)
        finally:
            with warehouse.begin() as connection:
                driver(connection).execute(
                    sql.SQL("drop table if exists {}").format(sql.Identifier("staging", copy))
                )
    return count


def due_raw(warehouse: Engine, as_of: date, raw_days: int) -> dict[str, list[str]]:
    """Return the partitions of each table under raw that are older than ``raw_days``.

    Days are counted back from ``as_of``, or from the newest day of the table that is loaded least
    far: what the extraction has still to catch up with needs the days before it.
    """
    due: dict[str, list[str]] = {}
    with warehouse.connect() as connection:
        tables = _partitioned(connection, "raw")
        found = rows(connection, sql_file("retention/loaded_days.sql"), tables=tables)
        loaded = {row["table_name"]: set(row["days"]) for row in found}
        today = min([as_of, *(max(days) + ONE_DAY for days in loaded.values())])
        for table in tables:
            kept = raw_days + (TIE_DAYS if table in TIED_TO else 0)
            for partition in partitions(connection, f"raw.{table}"):
                old = partition["end_day"] <= today - kept * ONE_DAY
                if old and not _awaited(table, partition["first_day"], loaded):
                    due.setdefault(table, []).append(partition["name"])
    return due


def drop_raw(warehouse: Engine, table: str, days: Sequence[str]) -> None:
    """Drop partitions of one table under raw, all of them or none.

    Raises:
        PutOff: if the table was in use all the time.
    """
    with warehouse.begin() as connection:
        _take(connection, "raw", table, [])
        _drop(connection, "raw", days)


def drop_embeddings(warehouse: Engine, as_of: date) -> dict[str, int]:
    """Delete the vectors of encoders that only versions of over 90 days before ``as_of`` read.

    Those of live versions stay. Others are made again if their version comes back. Returns how
    many went, by table; none where none did.
    """
    first_day = as_of - DAILY_DAYS
    with warehouse.begin() as connection:
        dropped = {
            table: execute(connection, f"retention/{file}.sql", first_day=first_day)
            for table, file in EMBEDDINGS.items()
        }
    return {table: count for table, count in dropped.items() if count}


def next_month(day: date) -> date:
    """Return the first day of the month after that of ``day``."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _copy(warehouse: Engine, guard: Connection, month: Month, copy: str) -> tuple[int, str]:
    """Copy the month's days into one table; return its rows and the transaction that did it."""
    target = sql.Identifier("staging", copy)
    with warehouse.begin() as connection:
        ours = driver(connection)
        ours.execute(sql.SQL("drop table if exists {}").format(target))
        # The check spares ATTACH a scan, while it has the table to itself.
        ours.execute(
            sql.SQL(
                "create table {} (like {} including constraints including indexes,"
                " check (as_of >= {} and as_of < {}))"
            ).format(
                target,
                sql.Identifier("result", month.table),
                sql.Literal(month.first_day),
                sql.Literal(month.end_day),
            )
        )
        count = 0
        for day in month.days:
            _give_way(guard, month.days)
            count += ours.execute(
                sql.SQL("insert into {} select * from {}").format(
                    target, sql.Identifier("result", day)
                )
            ).rowcount
        ours.execute(sql.SQL("analyze {}").format(target))
        (found,) = rows(connection, "select cast(cast(pg_current_xact_id() as xid) as text) as id")
    return count, found["id"]


def _outlive_older_snapshots(
    warehouse: Engine, guard: Connection, month: Month, committed: str
) -> None:
    """Wait until no transaction is left that may not see what ``committed`` wrote.

    Raises:
        PutOff: if one is left after SNAPSHOT_SECONDS, or a writer waits for us.
    """
    statement = text(sql_file("retention/older_snapshots.sql"))
    deadline = time.monotonic() + SNAPSHOT_SECONDS
    # In one transaction Postgres would go on showing the sessions as they were.
    with warehouse.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        values = {"committed": committed}
        older = set(connection.execute(statement, values).scalars())
        while older:
            _give_way(guard, month.days)
            if time.monotonic() > deadline:
                raise PutOff(
                    f"{len(older)} transactions that began before the copy were still open after "
                    f"{SNAPSHOT_SECONDS:.0f} s"
                )
            time.sleep(0.05)
            older.intersection_update(connection.execute(statement, values).scalars())


def _swap(guard: Connection, month: Month, copy: str) -> None:
    """Change the month's daily partitions for the copy; the caller has the table to itself."""
    found = tuple(
        partition["name"]
        for partition in partitions(guard, f"result.{month.table}")
        if month.first_day <= partition["first_day"] < month.end_day
    )
    if found != month.days:
        raise PutOff("days of the month were published for the first time meanwhile")
    _drop(guard, "result", month.days)
    ours = driver(guard)
    ours.execute(
        sql.SQL("alter table {} rename to {}").format(
            sql.Identifier("staging", copy), sql.Identifier(month.name)
        )
    )
    ours.execute(
        sql.SQL("alter table {} set schema result").format(sql.Identifier("staging", month.name))
    )
    ours.execute(
        sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
            sql.Identifier("result", month.table),
            sql.Identifier("result", month.name),
            sql.Literal(month.first_day),
            sql.Literal(month.end_day),
        )
    )


def _take(connection: Connection, schema: str, table: str, guarded: Sequence[str]) -> None:
    """Lock a table against everybody, in short tries, so that readers wait for none of them long.

    Raises:
        PutOff: if it was in use at every try, or a writer waits for the ``guarded`` days.
    """
    for _ in range(LOCK_ATTEMPTS - 1):
        _give_way(connection, guarded)
        try:
            return _lock(connection, schema, [table], "access exclusive")
        except PutOff:
            time.sleep(PAUSE_SECONDS)
    return _lock(connection, schema, [table], "access exclusive")


def _lock(connection: Connection, schema: str, tables: Sequence[str], mode: str) -> None:
    """Lock tables until the transaction ends; a try that fails leaves no lock.

    Raises:
        PutOff: if somebody holds one of them.
    """
    names = sql.SQL(", ").join(
        sql.SQL("only {}").format(sql.Identifier(schema, table)) for table in tables
    )
    try:
        with connection.begin_nested():
            ours = driver(connection)
            ours.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
            ours.execute(sql.SQL("lock table {} in {} mode").format(names, sql.SQL(mode)))
    except psycopg.errors.LockNotAvailable:
        held = tables[0] if len(tables) == 1 else f"{tables[0]} to {tables[-1]}"
        raise PutOff(f"{schema}.{held} was in use") from None


def _give_way(guard: Connection, days: Sequence[str]) -> None:
    """Return if nobody waits to write into ``days``, which we keep locked.

    Raises:
        PutOff: if somebody does: publishing and forgetting go first.
    """
    tables = [f"result.{day}" for day in days]
    (found,) = rows(guard, sql_file("retention/writers_waiting.sql"), tables=tables)
    if found["waiting"]:
        raise PutOff("a day of the month was about to be written")


def _drop(connection: Connection, schema: str, tables: Sequence[str]) -> None:
    names = sql.SQL(", ").join(sql.Identifier(schema, table) for table in tables)
    driver(connection).execute(sql.SQL("drop table {}").format(names))


def _awaited(table: str, day: date, loaded: dict[str, set[date]]) -> bool:
    """Return whether days of another table that look ``day`` up are still to be loaded."""
    if table not in TIED_TO:
        return False
    lookers = loaded.get(TIED_TO[table], set())
    return any(day + later * ONE_DAY not in lookers for later in range(TIE_DAYS + 1))


def _partitioned(connection: Connection, schema: str) -> list[str]:
    statement = sql_file("retention/partitioned_tables.sql")
    return [row["name"] for row in rows(connection, statement, schema_name=schema)]
