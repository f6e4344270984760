"""The product database: open it, compare its columns with ours, stream a day out of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from tempfile import TemporaryFile

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.abc import Buffer
from sqlalchemy import Engine

from jobs import settings
from jobs.extract import staging
from jobs.warehouse import Postgres, first_line, named, sql_file

BLOCK_ROWS = 1000
FILTER_ROWS = 5000
# A filter of 2 ** 27 bits: of ten million rows, one in thirty is taken for a repeated one.
FILTER_BYTES = 2**24
# A binary COPY begins with a header and ends with a row of -1 fields.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
END_BYTES = len(END)
# Columns of raw that we add; all others must come from the source.
OURS = ("copies", "event_day", "known_from", "known_to")
# Source types that fit each of our types without losing anything; any other is a retyped column.
FITS = {
    "bigint": {"int2", "int4", "int8"},
    "integer": {"int2", "int4"},
    "smallint": {"int2"},
    "numeric": {"int2", "int4", "int8", "float4", "float8", "numeric"},
    "text": {"text", "varchar", "bpchar"},
    "date": {"date"},
    "timestamp with time zone": {"timestamp", "timestamptz"},
}


class SourceUnreachable(ConnectionError):
    """The product database does not answer."""


class SourceChanged(ValueError):
    """A source table no longer has the columns or types we copy."""


class DayNotOver(ValueError):
    """The day to copy has not ended yet: rows would go on coming."""


class EmptyDay(ValueError):
    """The source has no row for a day that should have some."""


@contextmanager
def open_source(source: Engine) -> Iterator[Postgres]:
    """Yield a read-only connection with one snapshot, reading bare times in SOURCE_TZ.

    Raises:
        SourceUnreachable: if it does not answer, or stops answering while it is read; naming
            host, port and database, never the password.
    """
    where = f"{source.url.host}:{source.url.port}/{source.url.database}"
    mend = "check AIRFLOW_CONN_APP and that the server is up, then rerun"
    try:
        connection = psycopg.connect(
            source.url.set(drivername="postgresql").render_as_string(hide_password=False),
            connect_timeout=10,
            autocommit=False,
        )
    except psycopg.OperationalError as error:
        raise SourceUnreachable(
            f"app: the product database at {where} does not answer ({first_line(error)}); {mend}"
        ) from None
    with connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute(
            sql.SQL("set timezone to {}").format(sql.Literal(settings.source_tz().key))
        )
        try:
            yield connection
        except psycopg.OperationalError as error:
            if not connection.broken:  # it was the warehouse
                raise
            raise SourceUnreachable(
                f"app: the product database at {where} went away while it was read "
                f"({first_line(error)}); nothing was loaded; {mend}"
            ) from error


def raw_columns(warehouse: Postgres, table: str) -> dict[str, str]:
    """Return our columns of raw.``table`` that the source must deliver, with their types."""
    found = warehouse.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        [f"raw.{table}"],
    )
    return {name: kind for name, kind in found if name not in OURS}


def check_columns(source: Postgres, table: str, day: date, columns: dict[str, str]) -> None:
    """Compare what the extract delivers with ``columns`` before any row is read.

    Raises:
        SourceChanged: naming each missing or retyped column, with what was expected.
    """
    extract = named(sql_file(f"extract/{table}.sql"))
    mend = f"agree with the owner, or map it in sql/extract/{table}.sql, then rerun"
    try:
        described = source.execute(
            sql.SQL("select * from ({}) as extracted limit 0").format(sql.SQL(extract)),
            {"first_day": day, "last_day": day},
        ).description
    except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable) as error:
        raise SourceChanged(f"{table} {day}: {first_line(error)}; {mend}") from None
    except psycopg.errors.UndefinedFunction as error:
        raise SourceChanged(
            f"{table} {day}: a column changed its type ({first_line(error)}); {mend}"
        ) from None
    found = {column.name: column.type_display.split("(")[0] for column in described or []}
    problems = [
        f"{name} is missing" if name not in found else f"{name} is {found[name]}, expected {kind}"
        for name, kind in columns.items()
        if found.get(name) not in FITS[kind]
    ]
    if problems:
        raise SourceChanged(f"{table} {day}: source column {'; '.join(problems)}; {mend}")


def offers(source: Postgres, table: str, day: date) -> bool:
    """Return whether the source has the table at all."""
    extract = named(sql_file(f"extract/{table}.sql"))
    try:
        with source.transaction():  # a savepoint: the error must not end the snapshot
            source.execute(
                sql.SQL("select from ({}) as extracted limit 0").format(sql.SQL(extract)),
                {"first_day": day, "last_day": day},
            )
    except psycopg.errors.UndefinedTable:
        return False
    return True


def check_over(source: Postgres, table: str, last_day: date) -> None:
    """Return if ``last_day`` (UTC) has ended by the source's own clock.

    Raises:
        DayNotOver: naming the day and what the clock says.
    """
    found = source.execute(
        "select (%(day)s + 1)::timestamp > now() at time zone 'UTC',"
        " to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI')",
        {"day": last_day},
    ).fetchone()
    assert found is not None
    if found[0]:
        raise DayNotOver(
            f"{table} {last_day}: the day has not ended, it is {found[1]} UTC by the product "
            f"database's clock; extract it from {last_day + timedelta(days=1)} 00:00 UTC on"
        )


def copy_days(
    source: Postgres,
    warehouse: Postgres,
    table: str,
    name: str,
    first_day: date,
    last_day: date,
    columns: dict[str, str],
) -> int:
    """Stream the days' rows by binary COPY into the staging table and return how many there were.

    Nothing is held but the rows on their way, so memory does not grow with them. The source makes
    each row's hash; those that may have passed before go to staging's ``<name>_repeated``, for
    ``staging.drop_duplicates``. The table must have been made in the warehouse's present
    transaction.
    """
    target = staging.relation("staging", name)
    names = sql.SQL(", ").join(map(sql.Identifier, [*columns, "event_day", "row_hash"]))
    casts = sql.SQL(", ").join(
        sql.SQL("cast({0} as {1}) as {0}").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in columns.items()
    )
    extract = named(sql_file(f"extract/{table}.sql"))
    query = sql.SQL(
        "copy (select {0}, event_day, hash_record_extended(row({0}), 0) from"
        " (select {1}, event_day from ({2}) as extracted) as fitting) to stdout (format binary)"
    )
    repeated = staging.add_hashes(warehouse, name)
    # Frozen, the rows need no second write when they are first read.
    load = sql.SQL("copy {} ({}) from stdin (format binary, freeze)").format(target, names)
    # A closed cursor forgets how many rows it copied.
    with TemporaryFile() as spool, warehouse.cursor() as writer:
        with (
            source.cursor() as reader,
            reader.copy(
                query.format(
                    sql.SQL(", ").join(map(sql.Identifier, columns)), casts, sql.SQL(extract)
                ),
                {"first_day": first_day, "last_day": last_day},
            ) as rows,
            writer.copy(load) as into,
        ):
            spool.write(HEADER)
            passed = np.zeros(FILTER_BYTES, np.uint8)
            passing: list[bytes] = []
            sizes: list[int] = []
            for block in _blocks(rows, source.pgconn):
                passing.append(b"".join(block))
                into.write(passing[-1])
                sizes += map(len, block)
                # Most blocks are small: looking at each would cost more than its rows.
                if len(sizes) >= FILTER_ROWS:
                    spool.write(_repeated(passing, sizes, passed))
                    passing.clear()
                    sizes.clear()
            spool.write(_repeated(passing, sizes, passed))
            spool.write(END)
        copied = writer.rowcount
        spool.seek(0)
        remember = sql.SQL("copy {} (row_hash) from stdin (format binary)").format(repeated)
        with writer.copy(remember) as into:
            while piece := spool.read(FILTER_BYTES):
                into.write(piece)
    return copied


def _blocks(rows: psycopg.Copy, connection: psycopg.pq.abc.PGconn) -> Iterator[list[Buffer]]:
    """Yield the header, and then as many rows of a binary COPY at a time as have arrived.

    ``for row in rows`` is psycopg's way; its wait for every single row took more time than
    either server did. Here it waits for the first, and libpq gives the others.
    """
    # Rows are not kept: each is an object of libpq's, and thousands of them slow everything.
    message = bytes(rows.read())
    yield [message[: len(HEADER)]]  # what follows comes in the same message
    first: Buffer = message[len(HEADER) :]
    while first:
        block, size = [first], len(first)
        while size != END_BYTES and len(block) < BLOCK_ROWS:
            size, row = connection.get_copy_data(1)
            if size == 0:  # no whole row has arrived
                break
            if size < 0:
                raise _failure(connection)
            block.append(row)
        yield block
        first = rows.read()


def _repeated(blocks: list[bytes], sizes: list[int], passed: NDArray[np.uint8]) -> bytes:
    """Return the hashes, as rows of a binary COPY, that may have passed before; add all to them.

    ``sizes`` are the bytes of each row in ``blocks``. ``passed`` holds a bit for each value of 27
    bits of the hashes so far: a row that was there before is always found, and few others are. A
    row ends with its hash: its length, 8 bytes.
    """
    lengths = np.array(sizes, np.int64)
    ends = lengths.cumsum()[(lengths != len(HEADER)) & (lengths != END_BYTES)]
    octets = np.frombuffer(b"".join(blocks), np.uint8)
    if np.any(octets[ends - 9] != 8):
        raise ValueError("app: a row of the binary COPY does not end with its hash")
    hashes = octets[ends[:, None] + np.arange(-8, 0)].view(">u8").ravel()
    slots = hashes >> np.uint64(64 - 27)
    places, bits = slots >> np.uint64(3), np.left_shift(1, slots & np.uint64(7)).astype(np.uint8)
    again = np.ones(len(slots), np.bool_)
    again[np.unique(slots, return_index=True)[1]] = False  # among these rows
    again |= passed[places] & bits != 0  # among those before
    np.bitwise_or.at(passed, places, bits)
    found = np.empty(again.sum(), [("fields", ">i2"), ("size", ">i4"), ("row_hash", ">u8")])
    found["fields"], found["size"], found["row_hash"] = 1, 8, hashes[again]
    return found.tobytes()


def _failure(connection: psycopg.pq.abc.PGconn) -> psycopg.Error:
    """Return the error that ended a COPY before its last row; read all the server says of it."""
    results = list(iter(connection.get_result, None))
    return psycopg.errors.error_from_result(results[0])


def count_rows(source: Postgres, table: str, day: date) -> int:
    """Return how many rows the source has for a day."""
    extract = named(sql_file(f"extract/{table}.sql"))
    found = source.execute(
        sql.SQL("select count(*) from ({}) as extracted").format(sql.SQL(extract)),
        {"first_day": day, "last_day": day},
    ).fetchone()
    return int(found[0]) if found else 0


def signatures(
    source: Postgres, table: str, first_day: date, last_day: date, columns: dict[str, str]
) -> dict[date, tuple[int, int]]:
    """Return each day's row count and content checksum as the source has them now."""
    casts = sql.SQL(", ").join(
        sql.SQL("cast({} as {})").format(sql.Identifier(name), sql.SQL(kind))
        for name, kind in columns.items()
    )
    extract = named(sql_file(f"extract/{table}.sql"))
    query = sql.SQL(
        "select event_day, count(*), sum(hash_record_extended(row({}), 0))"
        " from ({}) as extracted where event_day between %(first_day)s and %(last_day)s"
        " group by event_day"
    ).format(casts, sql.SQL(extract))
    found = source.execute(query, {"first_day": first_day, "last_day": last_day})
    return {day: (count, int(checksum)) for day, count, checksum in found}
