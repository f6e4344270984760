"""The one way rows reach readers: stage, check, attach the day, then make it visible.

A day appears in two commits: its partition is attached first and its ops.publication row, which
every view asks for, follows. (In one commit a reader that planned before it and took its snapshot
after it would find the day announced and its partition missing.) A day whose partition is there
already, its own or that of its month (jobs/retention.py), is replaced inside it, rows and
publication row in one commit, since detaching would wait for every open reader and show older
snapshots nothing.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection, Engine, text

from jobs.binary_copy import Field, encode
from jobs.warehouse import (
    Postgres,
    adbc_connect,
    airflow_run_id,
    driver,
    execute,
    named,
    only_run,
    rows,
    sql_file,
)

Block = TypeVar("Block")


class NothingToPublish(ValueError):
    """A day without rows is a failure; the newest published day goes on serving."""


class StagedRowsLost(RuntimeError):
    """A staged part is not what was staged: staging tables do not outlive a crash of Postgres."""


@dataclass(frozen=True)
class Publication:
    """What became of a publish call: the day's rows and checksum, and whether it wrote them."""

    rows: int
    checksum: str
    written: bool


def stage(
    warehouse: Engine,
    table: str,
    as_of: date,
    part: str,
    shape: str,
    blocks: Iterable[pa.Table],
    *,
    model_version: str | None = None,
) -> str:
    """Put rows into a staging table of their own, replacing what an earlier try left there.

    The table is not in the write-ahead log, and a crash of Postgres empties it; its comment
    remembers how many rows it should have, and since when they were read.

    Args:
        warehouse: the warehouse.
        table: result table the rows are for, with its schema.
        as_of: day they are for.
        part: name of this part among those of the day, for example "0of4".
        shape: column definitions of the staging table, in SQL.
        blocks: the rows, names and types as in ``shape``; one is made while the one before is
            written, so two are held at a time.
        model_version: version that makes the rows, which alone may publish them; None if any may.

    Returns:
        The staging table's name.
    """
    name = f"{table.split('.')[1]}_{as_of:%Y%m%d}_{part}"
    with adbc_connect(warehouse) as connection, connection.cursor() as cursor:

        def write(block: pa.Table) -> int:
            cursor.adbc_ingest(name, block, mode="append", db_schema_name="staging")
            return len(block)

        def execute(statement: str) -> None:
            cursor.execute(statement)

        _stage(execute, cursor.fetchone, write, name, shape, blocks, model_version=model_version)
        connection.commit()
    return name


def stage_fields(
    warehouse: Engine,
    table: str,
    as_of: date,
    part: str,
    shape: str,
    blocks: Iterable[list[Field]],
    *,
    read_at: datetime | None = None,
) -> str:
    """Do what `stage` does with rows as fields in the order of ``shape``.

    Rows that hold long arrays are written three times as fast as by ADBC, which makes their
    elements one by one. ``read_at`` is when the inputs began to be read, if before this call.
    """
    name = f"{table.split('.')[1]}_{as_of:%Y%m%d}_{part}"
    copy_in = sql.SQL("copy {} from stdin (format binary)").format(sql.Identifier("staging", name))
    with warehouse.begin() as connection, driver(connection).cursor() as cursor:

        def write(block: list[Field]) -> int:
            with cursor.copy(copy_in) as copy:
                for piece in encode(block):
                    copy.write(piece)
            return len(block[0].values)

        def execute(statement: str) -> None:
            cursor.execute(sql.SQL(statement))

        _stage(execute, cursor.fetchone, write, name, shape, blocks, read_at)
    return name


def _stage(
    execute: Callable[[str], None],
    fetchone: Callable[[], Any],
    write: Callable[[Block], int],
    name: str,
    shape: str,
    blocks: Iterable[Block],
    read_at: datetime | None = None,
    model_version: str | None = None,
) -> None:
    """Make the table and fill it, in the transaction that ``execute`` and ``write`` share."""
    quoted = sql.Identifier("staging", name)
    execute(sql.SQL("drop table if exists {}").format(quoted).as_string())
    execute(sql.SQL("create unlogged table {} ({})").format(quoted, sql.SQL(shape)).as_string())
    count = 0
    with ThreadPoolExecutor(1) as beside:
        writing: Future[int] | None = None
        for block in blocks:
            if writing:
                count += writing.result()
            writing = beside.submit(write, block)
        if writing:
            count += writing.result()
    # This transaction began before the first block was made.
    execute("select cast(now() as text)")
    begun = read_at.isoformat() if read_at else fetchone()[0]
    remembered = {"rows": count, "read_at": begun, "model_version": model_version}
    comment = sql.Literal(json.dumps(remembered))
    execute(sql.SQL("comment on table {} is {}").format(quoted, comment).as_string())


def publish(
    warehouse: Engine,
    table: str,
    as_of: date,
    staged: Sequence[str],
    select: str,
    model_version: str,
    *,
    mlflow_run_id: str | None = None,
    alongside: Mapping[str, Mapping[str, object]] | None = None,
    **values: object,
) -> Publication:
    """Publish one day of a result table from its staged parts, all of it or nothing.

    Args:
        warehouse: the warehouse.
        table: result table, with its schema.
        as_of: day to publish; a day published already is replaced.
        staged: staging tables of the day's parts; dropped once the day is visible.
        select: file under sql/ that reads the relation ``staged`` (all parts) and delivers the
            table's columns by name.
        model_version: version that made the rows.
        mlflow_run_id: its MLflow run.
        alongside: files under sql/ with their parameters, run in the transaction that makes the
            day visible; the relation ``published`` is the day there.
        values: parameters of ``select`` beside as_of and model_version.

    Returns:
        Rows and checksum of the day; ``written`` is false where the very same rows were published
        before, which writes nothing.

    Raises:
        NothingToPublish: if there is no row; the day published before stays.
        StagedRowsLost: if a part lacks rows that were staged.
        AlreadyRunning: if another process publishes the same day.
    """
    name = table.split(".")[1]
    fresh, partition = f"{name}_{as_of:%Y%m%d}_day", f"{name}_{as_of:%Y%m%d}"
    with only_run(warehouse, f"publish {table}", as_of):
        with warehouse.begin() as connection:
            ours = driver(connection)
            read_at = _require_whole(ours, table, as_of, staged, model_version)
            count = _fill(ours, table, fresh, as_of, staged, select, model_version, values)
            if not count:
                raise NothingToPublish(
                    f"{table} {as_of}: 0 rows to publish; were its inputs extracted? "
                    "The newest published day goes on serving"
                )
            checksum = _checksum(ours, sql.Identifier("staging", fresh))
            published = _published(connection, table, as_of)
            if published == (checksum, model_version):
                _confirm(connection, table, as_of, read_at)
                _drop(ours, [fresh, *staged])
                return Publication(count, checksum, written=False)
            # Held until the commit, so that no month takes the day's place in between.
            ours.execute(
                sql.SQL("lock table only {} in share update exclusive mode").format(
                    sql.Identifier(*table.split("."))
                )
            )
            attached = _has_partition(connection, table, as_of)
            if not attached:
                _attach(ours, table, fresh, partition, as_of)
        if not attached:
            _wait_for_planners(warehouse, table)
        with warehouse.begin() as connection:
            ours = driver(connection)
            if attached:
                _replace(ours, table, fresh, as_of)
            connection.execute(
                text(
                    "insert into ops.publication (table_name, as_of, model_version, rows,"
                    " checksum, replaced, mlflow_run_id, airflow_run_id, read_at) values (:table,"
                    " :as_of, :version, :rows, :checksum, :replaced, :mlflow_run, :airflow_run,"
                    " :read_at)"
                ),
                {
                    "table": table,
                    "as_of": as_of,
                    "version": model_version,
                    "rows": count,
                    "checksum": checksum,
                    "replaced": published is not None,
                    "mlflow_run": mlflow_run_id,
                    "airflow_run": airflow_run_id(),
                    "read_at": read_at,
                },
            )
            if alongside:
                _name_published(ours, table, as_of)
            for path, parameters in (alongside or {}).items():
                execute(connection, path, **parameters)
            ours.execute("drop view if exists pg_temp.published")
            _drop(ours, [fresh, *staged])
    return Publication(count, checksum, written=True)


def already_published(
    warehouse: Engine, table: str, as_of: date, staged: Sequence[str], model_version: str
) -> Publication | None:
    """Return the day as it is published, if its staged parts are gone because it is; else None.

    A publish that died after its commit, before anybody noted its success, is done when it is
    tried again: the commit that announced the day dropped all parts.

    Args:
        warehouse: the warehouse.
        table: result table, with its schema.
        as_of: day to publish.
        staged: staging tables of the day's parts.
        model_version: version that made the rows.

    Raises:
        StagedRowsLost: if some parts are gone, or all and the day is not what that version made.
    """
    with warehouse.connect() as connection:
        gone = [
            part
            for part in staged
            if connection.execute(
                text("select to_regclass(:part)"), {"part": f"staging.{part}"}
            ).scalar()
            is None
        ]
        if not gone:
            return None
        newest = rows(
            connection,
            "select rows, checksum, model_version from ops.publication"
            " where table_name = :table and as_of = :as_of order by publication_id desc limit 1",
            table=table,
            as_of=as_of,
        )
    if len(gone) < len(staged) or not newest or newest[0]["model_version"] != model_version:
        raise StagedRowsLost(
            f"{table} {as_of}: staging.{gone[0]} is not there. Score the day first, then publish; "
            "the newest published day goes on serving"
        )
    return Publication(newest[0]["rows"], newest[0]["checksum"], written=False)


def partitions(connection: Connection, table: str) -> list[dict[str, Any]]:
    """Return name, first_day and end_day (not in it) of each partition of ``table``, in order."""
    return rows(connection, sql_file("publish/partitions.sql"), table_name=table)


def _require_whole(
    ours: Postgres, table: str, as_of: date, staged: Sequence[str], model_version: str
) -> datetime:
    """Return when the first of the parts began to be read, if all have the rows they should."""
    begun = []
    for part in staged:
        relation = sql.Identifier("staging", part)
        found = ours.execute(
            sql.SQL("select count(*), obj_description(%s::regclass, 'pg_class') from {}").format(
                relation
            ),
            [relation.as_string()],
        ).fetchone()
        assert found is not None
        remembered = json.loads(found[1])
        if found[0] != remembered["rows"]:
            raise StagedRowsLost(
                f"{table} {as_of}: staging.{part} has {found[0]} rows, {remembered['rows']} were "
                "staged: Postgres restarted after a crash, or a client was forgotten meanwhile. "
                "Score the day again, then publish; the newest published day goes on serving"
            )
        if remembered["model_version"] not in (None, model_version):
            raise StagedRowsLost(
                f"{table} {as_of}: staging.{part} was scored by {remembered['model_version']} "
                f"meanwhile, not by {model_version}: two runs of the day at once? Score the day "
                "again, then publish; the newest published day goes on serving"
            )
        begun.append(datetime.fromisoformat(remembered["read_at"]))
    return min(begun)


def _fill(
    ours: Postgres,
    table: str,
    fresh: str,
    as_of: date,
    staged: Sequence[str],
    select: str,
    model_version: str,
    values: Mapping[str, object],
) -> int:
    """Make the day's table with all that the parent asks of a partition; return its rows."""
    schema, name = table.split(".")
    _drop(ours, [fresh])
    target = sql.Identifier("staging", fresh)
    columns = ours.execute(
        "select attname, attndims from pg_attribute where attrelid = %s::regclass"
        " and attnum > 0 and not attisdropped order by attnum",
        [table],
    ).fetchall()
    names = sql.SQL(", ").join(sql.Identifier(column) for column, _ in columns)
    ours.execute(
        sql.SQL("create table {} (like {} including constraints, check (as_of = {}))").format(
            target, sql.Identifier(schema, name), sql.Literal(as_of)
        )
    )
    parts = sql.SQL(" union all ").join(
        sql.SQL("select * from {}").format(sql.Identifier("staging", part)) for part in staged
    )
    ours.execute(sql.SQL("create or replace temporary view staged as {}").format(parts))
    count = ours.execute(
        sql.SQL("insert into {} ({}) select {} from ({}) as made").format(
            target,
            names,
            names,
            sql.SQL(named(sql_file(select))),
        ),
        {"as_of": as_of, "model_version": model_version, **values},
    ).rowcount
    ours.execute("drop view pg_temp.staged")
    key = ours.execute(
        "select pg_get_constraintdef(oid) from pg_constraint"
        " where conrelid = %s::regclass and contype = 'p'",
        [table],
    ).fetchone()
    if key is None:
        raise LookupError(f"{table}: a result table needs a primary key; add it in its migration")
    ours.execute(sql.SQL("alter table {} add {}").format(target, sql.SQL(key[0])))
    # Arrays take ten times as long as all else, and no query is planned by what is in them.
    plain = sql.SQL(", ").join(
        sql.Identifier(name) for name, dimensions in columns if not dimensions
    )
    ours.execute(sql.SQL("analyze {} ({})").format(target, plain))
    return count


def _checksum(ours: Postgres, relation: sql.Composable) -> str:
    """Return a checksum of all rows and columns that their order does not change."""
    found = ours.execute(
        sql.SQL(
            "select lpad("
            "to_hex(mod(sum(hash) + 2::numeric ^ 96, 2::numeric ^ 62)::bigint), 16, '0')"
            " || lpad(to_hex(bit_xor(hash)), 16, '0')"
            " from (select hash_record_extended(day, 0) as hash from {} as day) as hashed"
        ).format(relation)
    ).fetchone()
    assert found is not None
    return str(found[0])


def _published(connection: Connection, table: str, as_of: date) -> tuple[str, str] | None:
    """Return checksum and version of the day as last published, or None."""
    found = rows(
        connection,
        "select checksum, model_version from ops.publication"
        " where table_name = :table and as_of = :as_of order by publication_id desc limit 1",
        table=table,
        as_of=as_of,
    )
    return (found[0]["checksum"], found[0]["model_version"]) if found else None


def _confirm(connection: Connection, table: str, as_of: date, read_at: datetime) -> None:
    """Note that a later run of a published day made the very same rows."""
    connection.execute(
        text(
            "update ops.publication set read_at = :read_at where publication_id ="
            " (select max(publication_id) from ops.publication"
            " where table_name = :table and as_of = :as_of)"
        ),
        {"table": table, "as_of": as_of, "read_at": read_at},
    )


def _attach(ours: Postgres, table: str, fresh: str, partition: str, as_of: date) -> None:
    schema, name = table.split(".")
    ours.execute(
        sql.SQL("alter table {} rename to {}").format(
            sql.Identifier("staging", fresh), sql.Identifier(partition)
        )
    )
    ours.execute(
        sql.SQL("alter table {} set schema {}").format(
            sql.Identifier("staging", partition), sql.Identifier(schema)
        )
    )
    ours.execute(
        sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
            sql.Identifier(schema, name),
            sql.Identifier(schema, partition),
            sql.Literal(as_of),
            sql.Literal(as_of + timedelta(days=1)),
        )
    )


def _wait_for_planners(warehouse: Engine, table: str) -> None:
    """Wait until no statement that was planned without the new partition can still start.

    Whoever has planned a query holds a lock on the table. Those that hold one now may not know
    the partition; once they are gone, or have had two seconds to take their snapshot, announcing
    the day shows nobody an empty one.
    """
    holders = text(
        "select virtualtransaction from pg_locks"
        " where relation = cast(:table as regclass) and granted and pid <> pg_backend_pid()"
    )
    with warehouse.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = set(connection.execute(holders, {"table": table}).scalars())
        for _ in range(200):
            if not before.intersection(connection.execute(holders, {"table": table}).scalars()):
                return
            time.sleep(0.01)


def _replace(ours: Postgres, table: str, fresh: str, as_of: date) -> None:
    """Put the fresh rows in the place of the day's old ones; readers see either, never both.

    The rows go through the table, which knows its partitions: a month may have taken the day's
    place since we looked.
    """
    target = sql.Identifier(*table.split("."))
    ours.execute(sql.SQL("delete from {} where as_of = {}").format(target, sql.Literal(as_of)))
    ours.execute(
        sql.SQL("insert into {} select * from {}").format(target, sql.Identifier("staging", fresh))
    )


def _name_published(ours: Postgres, table: str, as_of: date) -> None:
    """Let ``published`` be the day's rows in this transaction."""
    ours.execute(
        sql.SQL("create temporary view published as select * from {} where as_of = {}").format(
            sql.Identifier(*table.split(".")), sql.Literal(as_of)
        )
    )


def _has_partition(connection: Connection, table: str, as_of: date) -> bool:
    return any(
        partition["first_day"] <= as_of < partition["end_day"]
        for partition in partitions(connection, table)
    )


def _drop(ours: Postgres, names: Sequence[str]) -> None:
    for name in names:
        ours.execute(sql.SQL("drop table if exists {}").format(sql.Identifier("staging", name)))
