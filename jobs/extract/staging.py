"""Rows on their way from the source into raw: stage, drop duplicates, attach or append.

Table names are identifiers, which no parameter can carry: they are composed and quoted here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from jobs.extract.tables import PEOPLE
from jobs.warehouse import Postgres


def relation(schema: str, name: str) -> sql.Composable:
    """Return the quoted name of ``schema``.``name``."""
    return sql.Identifier(schema, name)


def name_of(table: str, as_of: date, part: str) -> str:
    """Return the staging name of one extraction: ``part`` is new, seen or late."""
    return f"{table}_{as_of:%Y%m%d}_{part}"


def create(
    warehouse: Postgres, table: str, name: str, known_from: date | None = None
) -> sql.Composable:
    """Make an empty staging table shaped as raw.``table``, without its constraints.

    Its rows will say known from ``known_from``; with None, ``append`` dates them on time.
    """
    staged = relation("staging", name)
    run(warehouse, "drop table if exists {}", staged)
    run(
        warehouse,
        "create table {} as select * from {} with no data",
        staged,
        relation("raw", table),
    )
    # A table that is kept by version lacks these two.
    run(
        warehouse,
        "alter table {} add column if not exists copies integer,"
        " add column if not exists event_day date",
        staged,
    )
    run(
        warehouse,
        "alter table {} alter copies set default 1, alter known_to set default 'infinity',"
        " alter known_from set default {}",
        staged,
        sql.Literal(known_from),
    )
    return staged


def exists(warehouse: Postgres, name: str) -> bool:
    """Return whether staging has a table of that name."""
    found = warehouse.execute("select to_regclass(%s) is not null", [f"staging.{name}"]).fetchone()
    return bool(found and found[0])


def has_day(warehouse: Postgres, table: str, day: date) -> bool:
    """Return whether raw.``table`` has a partition for ``day``."""
    name = f"raw.{table}_{day:%Y%m%d}"
    found = warehouse.execute("select to_regclass(%s) is not null", [name]).fetchone()
    return bool(found and found[0])


def drop(warehouse: Postgres, *names: str) -> None:
    """Drop staging tables, those that are there."""
    for name in names:
        run(warehouse, "drop table if exists {}", relation("staging", name))


def add_hashes(warehouse: Postgres, name: str) -> sql.Composable:
    """Give a staging table a column for its rows' hashes; return the table for repeated ones."""
    repeated = relation("staging", f"{name}_repeated")
    run(
        warehouse,
        "alter table {} add column if not exists row_hash bigint",
        relation("staging", name),
    )
    run(warehouse, "create unlogged table if not exists {} (row_hash bigint)", repeated)
    return repeated


def drop_duplicates(warehouse: Postgres, name: str, columns: dict[str, str]) -> int:
    """Keep one of each set of equal rows, with ``copies`` telling how many there were.

    The few rows whose hashes ``copy_days`` may have seen before are the candidates; equality of
    whole rows decides. Returns the rows dropped; the hashes go as well. The table is analyzed: as
    a partition of raw it keeps its statistics.
    """
    staged = relation("staging", name)
    # Tables of their own, because Postgres reads neither a CTE nor a temporary table in parallel.
    repeated = relation("staging", f"{name}_repeated")
    places = relation("staging", f"{name}_places")
    run(warehouse, "analyze {}", repeated)
    # The planner expects half of all rows to be candidates, too many to bring from its workers.
    run(warehouse, "set local parallel_tuple_cost = 0")
    run(
        warehouse,
        """
        create unlogged table {} as
        select place
        from (
            select ctid as place, count(*) over (partition by row_hash) as sharers
            from {} where row_hash in (select row_hash from {})
        ) as candidates
        where sharers > 1
        """,
        places,
        staged,
        repeated,
    )
    run(warehouse, "set local parallel_tuple_cost to default")
    run(warehouse, "analyze {}", places)
    # To go to each place is twice as fast as to read everything once more.
    run(warehouse, "set local enable_hashjoin = off")
    run(warehouse, "set local enable_mergejoin = off")
    found = run(
        warehouse,
        """
        with gone as (
            delete from {staged} where ctid in (select place from {places}) returning *
        ),
        kept as (
            insert into {staged} ({names}, event_day, copies)
            select {names}, event_day, count(*) from gone group by {names}, event_day
            returning 1
        )
        select (select count(*) from gone) - (select count(*) from kept)
        """,
        staged=staged,
        places=places,
        names=listed(columns),
    ).fetchone()
    run(warehouse, "set local enable_hashjoin to default")
    run(warehouse, "set local enable_mergejoin to default")
    drop(warehouse, f"{name}_repeated", f"{name}_places")
    run(warehouse, "alter table {} drop column row_hash", staged)
    # Autovacuum comes at any moment, or never. A check planned between its vacuum and its analyze
    # compared each of 163,205 users with all others: 16 minutes, until it was stopped.
    run(warehouse, "analyze {}", staged)
    return int(found[0]) if found else 0


def drop_refused_before(
    warehouse: Postgres, staged: sql.Composable, table: str, columns: dict[str, str]
) -> int:
    """Leave out rows without a usable day that quarantine holds already: they come every night.

    Returns how many those were.
    """
    return run(
        warehouse,
        """
        delete from {staged} as staged using {quarantine} as refused
        where
            (staged.event_day is null or staged.event_day > current_date)
            and hash_record_extended(row({staged_columns}), 0)
            = hash_record_extended(row({refused_columns}), 0)
            and row({staged_columns}) is not distinct from row({refused_columns})
        """,
        staged=staged,
        quarantine=relation("quarantine", table),
        staged_columns=listed(columns, "staged"),
        refused_columns=listed(columns, "refused"),
    ).rowcount


def drop_forgotten(warehouse: Postgres, staged: sql.Composable, columns: dict[str, str]) -> int:
    """Leave out the rows of people erased on request (python -m jobs forget); return how many."""
    return sum(
        run(
            warehouse,
            "delete from {staged} where exists (select from ops.forgotten where person = {person})"
            " and encode(sha256(convert_to({column}::text, 'UTF8')), 'hex')"
            " in (select key_sha256 from ops.forgotten where person = {person})",
            staged=staged,
            person=sql.Literal(person),
            column=sql.Identifier(column),
        ).rowcount
        for column, person in PEOPLE.items()
        if column in columns
    )


def add_follows(warehouse: Postgres, name: str) -> str:
    """Make a table of a staging table's views and whether the user's next event is a like.

    Its columns liked_if_1 and liked_if_0 are 1 or 0 for views with that target, null for others.
    Of several views before a like, the last is the one that it follows.

    Returns:
        The table's name, under staging.
    """
    follows = f"{name}_follows"
    drop(warehouse, follows)
    run(
        warehouse,
        """
        create unlogged table {follows} as
        select
            user_id,
            post_id,
            "timestamp",
            case when target = 1 then liked end as liked_if_1,
            case when target = 0 then liked end as liked_if_0
        from (
            select
                user_id,
                post_id,
                "timestamp",
                action,
                target,
                cast(
                    coalesce(
                        lead(action) over next = 'like'
                        and lead("timestamp") over next < "timestamp" + interval '1 day',
                        false
                    ) as integer
                ) as liked
            from {staged}
            where action in ('view', 'like')
            window next as (
                partition by user_id, post_id
                order by "timestamp", action = 'like'
            )
        ) as viewed
        where action = 'view' and target in (0, 1)
        """,
        follows=relation("staging", follows),
        staged=relation("staging", name),
    )
    return follows


def keep_added(
    warehouse: Postgres,
    seen: sql.Composable,
    late: sql.Composable,
    table: str,
    days: list[date],
    columns: dict[str, str],
) -> int:
    """Fill ``late`` with the rows of ``seen``, which are of ``days``, that do not stand already.

    A row stands in raw or in quarantine. Returns how many do not.
    """
    names = listed(columns)
    with _hash_joins(warehouse):
        added = run(
            warehouse,
            """
            insert into {late} ({names}, event_day, copies)
            select {qualified}, seen.event_day, seen.copies
            from {seen} as seen
            where not exists (
                select from {raw} as standing
                where
                    standing.event_day = seen.event_day
                    and standing.event_day = any(%(days)s)
                    and standing.known_to = 'infinity'
                    and hash_record_extended(row({standing_columns}), 0)
                    = hash_record_extended(row({qualified}), 0)
                    and row({standing_columns}) is not distinct from row({qualified})
            )
            and not exists (
                select from {quarantine} as standing
                where
                    standing.event_day = seen.event_day
                    and standing.event_day = any(%(days)s)
                    and standing.known_to = 'infinity'
                    and hash_record_extended(row({standing_columns}), 0)
                    = hash_record_extended(row({qualified}), 0)
                    and row({standing_columns}) is not distinct from row({qualified})
            )
            """,
            params={"days": days},
            late=late,
            names=names,
            qualified=listed(columns, "seen"),
            seen=seen,
            raw=relation("raw", table),
            quarantine=relation("quarantine", table),
            standing_columns=listed(columns, "standing"),
        ).rowcount
    run(warehouse, "analyze {}", late)
    return added


def close_gone(
    warehouse: Postgres,
    seen: sql.Composable,
    table: str,
    days: list[date],
    known_to: date,
    columns: dict[str, str],
) -> dict[date, int]:
    """Close the standing rows of ``days`` that ``seen`` no longer has; return raw's, by day.

    Rows that the source now holds a different number of times only get their ``copies`` mended.
    """
    closed: dict[date, int] = {}
    with _hash_joins(warehouse):
        for schema in ("quarantine", "raw"):
            # One join of all rows; the few that differ are then gone to, each at its place.
            found = run(
                warehouse,
                """
                with other as materialized (
                    select standing.tableoid as part, standing.ctid as place, seen.copies
                    from {standing} as standing
                    left join {seen} as seen
                        on
                            seen.event_day = standing.event_day
                            and hash_record_extended(row({seen_columns}), 0)
                            = hash_record_extended(row({standing_columns}), 0)
                            and row({seen_columns}) is not distinct from row({standing_columns})
                    where
                        standing.event_day = any(%(days)s)
                        and standing.known_to = 'infinity'
                        and standing.copies is distinct from seen.copies
                ),
                changed as (
                    update {standing} as standing
                    set
                        copies = coalesce(other.copies, standing.copies),
                        known_to = case
                            when other.copies is null then %(known_to)s else standing.known_to
                        end
                    from other
                    where
                        standing.event_day = any(%(days)s)
                        and standing.tableoid = other.part
                        and standing.ctid = other.place
                    returning standing.event_day, other.copies is null as is_gone
                )
                select event_day, count(*) from changed where is_gone group by event_day
                """,
                params={"days": days, "known_to": known_to},
                seen=seen,
                standing=relation(schema, table),
                seen_columns=listed(columns, "seen"),
                standing_columns=listed(columns, "standing"),
            )
            closed = {row[0]: row[1] for row in found}
    return closed


@contextmanager
def _hash_joins(warehouse: Postgres) -> Iterator[None]:
    """Let the block's joins of whole days go by hash.

    Of the rows' hashes the planner knows no statistics and would rather sort both sides, which
    took three times as long.
    """
    run(warehouse, "set local enable_mergejoin = off")
    yield
    run(warehouse, "set local enable_mergejoin to default")


def attach_day(warehouse: Postgres, table: str, staged_name: str, day: date) -> None:
    """Turn a staging table whose rows are all of ``day`` into that day's partition of raw."""
    partition = f"{table}_{day:%Y%m%d}"
    required = warehouse.execute(
        "select attname from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and attnotnull and not attisdropped",
        [f"raw.{table}"],
    )
    run(
        warehouse,
        "alter table {} {}",
        relation("staging", staged_name),
        sql.SQL(", ").join(
            sql.SQL("alter {} set not null").format(sql.Identifier(name)) for (name,) in required
        ),
    )
    run(
        warehouse,
        "alter table {} rename to {}",
        relation("staging", staged_name),
        sql.Identifier(partition),
    )
    run(warehouse, "alter table {} set schema raw", relation("staging", partition))
    run(
        warehouse,
        "alter table {} attach partition {} for values from ({}) to ({})",
        relation("raw", table),
        relation("raw", partition),
        sql.Literal(day),
        sql.Literal(day + timedelta(days=1)),
    )


def create_partitions(warehouse: Postgres, table: str, days: list[date]) -> None:
    """Make empty partitions of raw for ``days``; those that are there stay."""
    for day in days:
        run(
            warehouse,
            "create table if not exists {} partition of {} for values from ({}) to ({})",
            relation("raw", f"{table}_{day:%Y%m%d}"),
            relation("raw", table),
            sql.Literal(day),
            sql.Literal(day + timedelta(days=1)),
        )


def analyze_days(warehouse: Postgres, table: str, days: list[date], *, whole: bool = False) -> None:
    """Tell the planner of rows just written to ``days`` of raw, which autovacuum sees too late.

    With ``whole`` also of raw's days taken together.
    """
    if whole and warehouse.info.server_version < 180_000:
        # There it can only be done with every single day that raw has.
        run(warehouse, "analyze {}", relation("raw", table))
        return
    for day in days:
        run(warehouse, "analyze {}", relation("raw", f"{table}_{day:%Y%m%d}"))
    if whole:
        run(warehouse, "analyze only {}", relation("raw", table))


def append(warehouse: Postgres, table: str, staged: sql.Composable, columns: dict[str, str]) -> int:
    """Add staged rows to raw, each to its day's partition; return their count."""
    return run(
        warehouse,
        "insert into {raw} ({names}, copies, event_day, known_from)"
        " select {names}, copies, event_day, coalesce(known_from, event_day + 1) from {staged}",
        raw=relation("raw", table),
        staged=staged,
        names=listed(columns),
    ).rowcount


def signature(
    warehouse: Postgres, table: str, first_day: date, last_day: date, columns: dict[str, str]
) -> dict[date, tuple[int, int, int, int]]:
    """Return, by day: source rows, checksum, distinct rows and rows in quarantine.

    Made from what raw and quarantine hold as standing: together they are all the source had.
    """
    found = run(
        warehouse,
        """
        select
            event_day,
            sum(copies),
            -- Numeric arithmetic only where it is needed: most rows are there once.
            sum(hash) + coalesce(
                sum(cast(hash as numeric) * (copies - 1)) filter (where copies <> 1), 0
            ),
            count(*),
            count(*) filter (where refused)
        from (
            select
                hash_record_extended(row({names}), 0) as hash,
                event_day,
                copies,
                false as refused
            from {raw} where known_to = 'infinity' and event_day between {first} and {last}
            union all
            select hash_record_extended(row({names}), 0), event_day, copies, true
            from {quarantine} where known_to = 'infinity' and event_day between {first} and {last}
        ) as standing
        group by event_day
        """,
        names=listed(columns),
        raw=relation("raw", table),
        quarantine=relation("quarantine", table),
        first=sql.Literal(first_day),
        last=sql.Literal(last_day),
    )
    return {row[0]: (int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in found}


def listed(columns: dict[str, str], qualifier: str | None = None) -> sql.Composable:
    """Return the columns' quoted names with commas between, each after ``qualifier``."""
    parts = [sql.Identifier(*filter(None, (qualifier, name))) for name in columns]
    return sql.SQL(", ").join(parts)


def run(
    warehouse: Postgres,
    statement: LiteralString,
    *args: sql.Composable,
    params: dict[str, object] | None = None,
    **named: sql.Composable,
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Execute a statement whose {} are composed of ``args`` and ``named``."""
    return warehouse.execute(sql.SQL(statement).format(*args, **named), params)


def keep_days(warehouse: Postgres, staged: sql.Composable, days: list[date]) -> None:
    """Leave only the rows of ``days``."""
    run(
        warehouse,
        "delete from {} where event_day is null or event_day <> all(%(days)s)",
        staged,
        params={"days": days},
    )


def has_rows(warehouse: Postgres, staged: sql.Composable, day: date) -> bool:
    """Return whether the staging table holds a row of ``day``."""
    found = run(
        warehouse,
        "select exists(select from {} where event_day = %(day)s)",
        staged,
        params={"day": day},
    ).fetchone()
    return bool(found and found[0])


def count_by_day(warehouse: Postgres, staged: sql.Composable) -> dict[date, int]:
    """Return the rows of each event day; rows without a day that Python knows are not counted."""
    found = run(
        warehouse,
        "select event_day, count(*) from {}"
        " where event_day between '0001-01-01' and '9999-12-31' group by event_day",
        staged,
    )
    return {row[0]: row[1] for row in found}
