"""Erase one person everywhere the platform keeps them, and keep them out from then on."""

import hashlib

import psycopg
from psycopg import sql
from sqlalchemy import Engine, text

from jobs.warehouse import driver, rows

# Schemas whose tables hold rows about people; any table there with the person's key is searched.
SCHEMAS = ("raw", "quarantine", "feature", "result", "experiment", "staging")


def forget(warehouse: Engine, person: str, key: int) -> dict[str, int]:
    """Delete every row about one person, in one transaction, and remember only a hash of the key.

    Extraction leaves the person's rows out from then on, whatever the source still has. Samples
    and extremes that checks and profiles kept of them are cleared as well.

    Args:
        warehouse: the warehouse.
        person: 'client' or 'user'.
        key: the person's id.

    Returns:
        Deleted rows by table, tables without any left out.
    """
    column = f"{person}_id"
    deleted = {}
    with warehouse.begin() as connection:
        tables = rows(
            connection,
            "select nspname, relname from pg_attribute"
            " join pg_class on attrelid = pg_class.oid"
            " join pg_namespace on relnamespace = pg_namespace.oid"
            " where attname = :column and nspname = any(:schemas) and relkind in ('r', 'p')"
            " and not relispartition order by nspname, relname",
            column=column,
            schemas=list(SCHEMAS),
        )
        postgres = driver(connection)
        for table in tables:
            statement = sql.SQL("delete from {} where {} = %s").format(
                sql.Identifier(table["nspname"], table["relname"]), sql.Identifier(column)
            )
            try:
                with connection.begin_nested():
                    found = postgres.execute(statement, [key])
            except psycopg.errors.UndefinedTable:  # a staging table whose run ended meanwhile
                continue
            if found.rowcount:
                deleted[f"{table['nspname']}.{table['relname']}"] = found.rowcount
        connection.execute(
            text(
                "update ops.profile set minimum = null, maximum = null, top_values = null"
                " where column_name = :column and (minimum = :key or maximum = :key"
                " or cast(top_values as text) ~ ('\\m' || :key || '\\M'))"
            ),
            {"column": column, "key": str(key)},
        )
        connection.execute(
            text(
                "update ops.validation set sample = null"
                " where cast(sample as text) ~ ('\\m' || :key || '\\M')"
            ),
            {"key": str(key)},
        )
        connection.execute(
            text(
                "insert into ops.forgotten (person, key_sha256) values (:person, :hash)"
                " on conflict do nothing"
            ),
            {"person": person, "hash": hashlib.sha256(str(key).encode()).hexdigest()},
        )
    return deleted
