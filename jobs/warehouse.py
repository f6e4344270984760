"""The way every module reaches Postgres: connect, read SQL files into frames, run them, lock."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import adbc_driver_manager
import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:  # seconds to import, which a sensor or an alert has no use for
    import pandas as pd
    import pyarrow as pa
    from adbc_driver_manager import dbapi

SQL = Path(__file__).parents[1] / "sql"

# psycopg's own connection, for COPY and for statements that name tables by identifiers.
Postgres = psycopg.Connection[tuple[Any, ...]]
# SQLAlchemy reads :names and knows how the driver writes them; it does not type this.
NAMED: Any = postgresql.psycopg.dialect
# In words: a file that may not grow and a connection that broke have no SQLSTATE of their own.
NO_ROOM = re.compile("No space left on device|File too large|Disk quota exceeded")
NO_CONNECTION = re.compile(
    "connection to server|closed the connection|terminating connection|connection is (closed|lost)"
)


class AlreadyRunning(RuntimeError):
    """Another run holds the lock of the same job and day."""


class WarehouseFull(RuntimeError):
    """The warehouse has no room left for what was being written."""


class WarehouseUnreachable(ConnectionError):
    """The warehouse does not answer, or stopped answering."""


def engine(url: str) -> Engine:
    """Return an engine for ``url``; any postgres scheme will do, the driver is psycopg 3."""
    parsed = make_url(re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url))
    return create_engine(parsed, poolclass=NullPool, connect_args={"connect_timeout": 10})


def adbc_uri(handle: Engine) -> str:
    """Return ``handle``'s address, password included, as libpq understands it."""
    return handle.url.set(drivername="postgresql").render_as_string(hide_password=False)


def adbc_connect(handle: Engine) -> "dbapi.Connection":
    """Open an ADBC connection, for rows by the million; close it, best by ``with``."""
    from adbc_driver_manager import dbapi

    database = _adbc_database(adbc_uri(handle))
    opened = adbc_driver_manager.AdbcConnection(database)
    try:
        # A connection closes its database with itself; this one is to be used again.
        return dbapi.Connection(cast(adbc_driver_manager.AdbcDatabase, _Kept()), opened)
    except Exception:
        opened.close()
        raise


@cache
def _adbc_database(uri: str) -> adbc_driver_manager.AdbcDatabase:
    """Return what the driver knows of a database: its types, read from the whole catalog.

    Reading it takes .6 s where a connection takes .01 (6,400 relations, most of them partitions),
    so a process does it once. It holds no connection, so a fork may use it too.
    """
    import adbc_driver_postgresql

    return adbc_driver_postgresql.connect(uri)


class _Kept:
    """A database that outlives its connections."""

    def close(self) -> None:
        """Leave it open."""


def sql_file(path: str) -> str:
    """Return the text of one file under sql/ (one statement)."""
    return (SQL / path).read_text()


def named(statement: str) -> str:
    """Return ``statement`` with psycopg's %(name)s in place of :name."""
    return str(text(statement).compile(dialect=NAMED()))


def filled(statement: str, values: dict[str, object]) -> str:
    """Return ``statement`` with its :names replaced by the values, quoted as literals.

    For ADBC, which streams a statement by COPY only if it has no parameters; of one with
    parameters it holds the whole result.

    Raises:
        ValueError: if the names in the statement are not those of ``values``.
    """
    names = set(text(statement)._bindparams)
    if names != set(values):
        raise ValueError(f"SQL needs {sorted(names)}, was given {sorted(values)}")
    literals = {name: sql.Literal(value).as_string() for name, value in values.items()}
    return named(statement) % literals


def driver(connection: Connection) -> Postgres:
    """Return psycopg's own connection, inside the same transaction."""
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)
    return found


def read_arrow(handle: Engine, path: str, **values: object) -> "pa.Table":
    """Run one file under sql/ with its parameters and return its rows as an Arrow table."""
    statement = filled(sql_file(path), values)
    with adbc_connect(handle) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetch_arrow_table()


def read_sql(handle: Engine, path: str, **values: object) -> "pd.DataFrame":
    """Run one file under sql/ with its parameters and return its rows (Arrow all the way)."""
    frame: pd.DataFrame = read_arrow(handle, path, **values).to_pandas()
    return frame


def read_blocks(
    handle: Engine, path: str, block_rows: int, **values: object
) -> "Iterator[pd.DataFrame]":
    """Run one file under sql/ and yield its rows in frames of at most ``block_rows`` rows.

    The rows are streamed, so memory holds one block however many there are.
    """
    import pyarrow as pa

    statement = filled(sql_file(path), values)
    with adbc_connect(handle) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        waiting: list[pa.RecordBatch] = []
        for batch in cursor.fetch_record_batch():
            while batch.num_rows:
                room = block_rows - sum(part.num_rows for part in waiting)
                waiting.append(batch.slice(0, room))
                batch = batch.slice(room)
                if len(waiting[-1]) == room:
                    yield pa.Table.from_batches(waiting).to_pandas()
                    waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting).to_pandas()


def read_batches(handle: Engine, path: str, **values: object) -> "Iterator[pa.RecordBatch]":
    """Run one file under sql/ and yield its rows in Arrow batches as they arrive.

    The rows are streamed, so memory holds a batch or two however many there are.
    """
    statement = filled(sql_file(path), values)
    with adbc_connect(handle) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        yield from cursor.fetch_record_batch()


def execute(connection: Connection, path: str, **values: object) -> int:
    """Run one file under sql/ in the caller's transaction and return the rows it touched.

    Raises:
        ValueError: if the names in the file are not those of ``values``.
    """
    clause = text(sql_file(path))
    if set(clause._bindparams) != set(values):
        raise ValueError(f"{path} needs {sorted(clause._bindparams)}, was given {sorted(values)}")
    return connection.execute(clause, values).rowcount


def execute_rows(
    connection: Connection, path: str, table: "pd.DataFrame", **values: object
) -> None:
    """Run one file under sql/ for each row of ``table``, whose columns are parameters too.

    NaN is null.
    """
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        execute(connection, path, **values, **{str(name): value for name, value in row.items()})


def rows(connection: Connection, statement: str, **values: object) -> list[dict[str, Any]]:
    """Return the rows of a small query as dictionaries."""
    return [dict(row) for row in connection.execute(text(statement), values).mappings()]


@contextmanager
def only_run(handle: Engine, job: str, as_of: date) -> Iterator[None]:
    """Hold the advisory lock of (job, as_of) while the block runs.

    Raises:
        AlreadyRunning: if another process holds it.
        WarehouseFull, WarehouseUnreachable: if the block failed for that reason.
    """
    keys = {"job": job, "day": as_of.toordinal()}
    with (
        named_failures(handle, f"{job} {as_of}"),
        handle.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        taken = connection.execute(
            text("select pg_try_advisory_lock(hashtext(:job), :day)"), keys
        ).scalar_one()
        if not taken:
            raise AlreadyRunning(
                f"{job} {as_of}: another run of the same day is at work; "
                "wait for it to end, or stop it, then rerun"
            )
        try:
            yield
        finally:
            # Closing gives it back as well, but only once the server has noticed.
            with suppress(SQLAlchemyError):
                connection.execute(text("select pg_advisory_unlock(hashtext(:job), :day)"), keys)


@contextmanager
def named_failures(handle: Engine, work: str) -> Iterator[None]:
    """Call a full disk and a lost connection by name, whichever driver met them.

    Args:
        handle: the warehouse.
        work: what the block does, for the message.

    Raises:
        WarehouseFull, WarehouseUnreachable: naming the work, what Postgres said and what to do.
    """
    where = f"{handle.url.host}:{handle.url.port}/{handle.url.database}"
    try:
        yield
    except (psycopg.Error, DBAPIError, adbc_driver_manager.Error) as error:
        said = first_line(error)
        if NO_ROOM.search(said):
            raise WarehouseFull(
                f"{work}: the warehouse at {where} has no room left ({said}); what was being "
                "written was undone, what was there before stays. Free space, then rerun"
            ) from error
        if NO_CONNECTION.search(said):
            raise WarehouseUnreachable(
                f"{work}: the warehouse at {where} does not answer ({said}); no half-written "
                "day is left. Check AIRFLOW_CONN_WAREHOUSE and that the server is up, then rerun"
            ) from error
        raise


def first_line(error: Exception) -> str:
    """Return the first line of what Postgres said, without SQLAlchemy's or ADBC's words."""
    said = (str(getattr(error, "orig", error)).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"^.*\[libpq\] (.*ERROR: +)?", "", said)


def airflow_run_id() -> str | None:
    """Return the Airflow run this process works for, or None when run by hand."""
    return os.environ.get("AIRFLOW_CTX_DAG_RUN_ID")
