"""What each column of a day looks like: counts, spread, frequent values, kept in ops.profile."""

from datetime import date
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from jobs.warehouse import execute, rows

# Ours, not the owner's: they say nothing about the data.
OURS = ("copies", "event_day", "known_from", "known_to")
# Postgres's categories of types: a number; and those with an order of their own (number, time,
# text). All else (boolean, json, arrays) is profiled as text.
NUMBER = "N"
ORDERED = ("N", "D", "S")


def profile(connection: Connection, relation: str, table: str, as_of: date) -> int:
    """Profile every column of every event day in ``relation``; replace what ops.profile says.

    One pass a column, over however many days there are. Rows that were closed (``known_to``)
    don't count: the profile describes what stands.

    Args:
        connection: in the caller's transaction.
        relation: ``schema.name`` of a staging table, of a partition of raw, or of raw itself.
        table: table under raw whose columns it has.
        as_of: the extraction that profiles.

    Returns:
        Rows written: days times columns.

    Raises:
        LookupError: if raw has no such table.
    """
    columns = _columns(connection, table)
    if not columns:
        raise LookupError(
            f"raw.{table}: no such table, so {relation} can't be profiled as of {as_of}; "
            "is there a migration that makes it?"
        )
    written = 0
    for column, category in columns.items():
        _count(connection, relation, column, category)
        path = "extract/profile_number.sql" if category == NUMBER else "extract/profile_value.sql"
        written += execute(connection, path, table_name=table, column_name=column, as_of=as_of)
    return written


def _columns(connection: Connection, table: str) -> dict[str, str]:
    """Return the columns of raw.``table``, in order, with Postgres's category of their type."""
    found = rows(
        connection,
        "select attname as name, typcategory as category from pg_attribute"
        " join pg_type on pg_type.oid = atttypid join pg_class on pg_class.oid = attrelid"
        " where relnamespace = cast('raw' as regnamespace) and relname = :table"
        " and attnum > 0 and not attisdropped order by attnum",
        table=table,
    )
    return {row["name"]: row["category"] for row in found if row["name"] not in OURS}


def _count(connection: Connection, relation: str, column: str, category: str) -> None:
    """Make pg_temp.profiled (event_day, value, copies): how often a column has each value.

    By a statement of its own, since Postgres counts in parallel for a new table only.
    """
    schema, _, name = relation.partition(".")
    value: sql.Composable = sql.Identifier(column)
    if category not in ORDERED:
        value = sql.SQL("cast({} as text)").format(value)
    _driver(connection).execute(
        sql.SQL(
            "drop table if exists pg_temp.profiled;"
            " create temporary table profiled on commit drop as"
            " select event_day, {} as value, cast(count(*) as integer) as copies from {}"
            " where event_day is not null and known_to = 'infinity' group by 1, 2"
        ).format(value, sql.Identifier(schema, name))
    )


def _driver(connection: Connection) -> psycopg.Connection[tuple[Any, ...]]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
