"""Tables whose source holds only its present state: users, posts, pictures, kept by version.

A night compares the whole table, staged, with the versions that stand: it closes those that
changed or went, and adds the new ones. As of D holds the version with known_from <= D < known_to.
"""

from datetime import date
from typing import Any

from psycopg import sql

from jobs.extract import staging
from jobs.extract.staging import listed, run
from jobs.extract.tables import TABLES
from jobs.warehouse import Postgres

# Source rows, checksum, distinct rows, rows in quarantine.
Signature = tuple[int, int, int, int]


def is_past(warehouse: Postgres, table: str, as_of: date) -> bool:
    """Return whether ``as_of`` or a later day is loaded: its state can't be read any more."""
    found = warehouse.execute(
        "select exists(select from ops.load where table_name = %s and as_of >= %s"
        " and mode <> 'absent')",
        [table, as_of],
    ).fetchone()
    return bool(found and found[0])


def standing(warehouse: Postgres, table: str) -> int:
    """Return how many keys have a version that stands."""
    found = run(
        warehouse, "select count(*) from {} where known_to = 'infinity'", _raw(table)
    ).fetchone()
    return int(found[0]) if found else 0


def settle(
    warehouse: Postgres, table: str, name: str, as_of: date, columns: dict[str, str]
) -> Signature:
    """Bring quarantine up to date with what ``as_of`` refused; return what the source had.

    A row that is refused night after night stands there once.
    """
    refused = staging.relation("quarantine", table)
    same = sql.SQL("row({}) is not distinct from row({})").format(
        listed(columns, "old"), listed(columns, "new")
    )
    run(
        warehouse,
        """
        update {refused} as old set known_to = {as_of}
        where
            old.as_of < {as_of}
            and old.known_to = 'infinity'
            and not exists (select from {refused} as new where new.as_of = {as_of} and {same})
        """,
        refused=refused,
        same=same,
        as_of=sql.Literal(as_of),
    )
    run(
        warehouse,
        """
        delete from {refused} as new using {refused} as old
        where
            new.as_of = {as_of}
            and old.known_to = 'infinity'
            and (old.as_of < {as_of} or (old.as_of = {as_of} and old.ctid < new.ctid))
            and {same}
        """,
        refused=refused,
        same=same,
        as_of=sql.Literal(as_of),
    )
    found = run(
        warehouse,
        """
        select
            coalesce(sum(copies), 0),
            coalesce(sum(cast(hash_record_extended(row({names}), 0) as numeric) * copies), 0),
            count(*),
            count(*) filter (where refused)
        from (
            select {names}, copies, false as refused from {staged}
            union all
            select {names}, copies, true from {refused} where known_to = 'infinity'
        ) as had
        """,
        names=listed(columns),
        staged=staging.relation("staging", name),
        refused=refused,
    ).fetchone()
    return _signature(found)


def accept(
    warehouse: Postgres, table: str, name: str, as_of: date, columns: dict[str, str]
) -> tuple[int, int]:
    """Close the versions that changed or went, add the new ones; return how many of each.

    A key whose rows are all in quarantine keeps the version it has.

    Returns:
        Versions added and versions closed.
    """
    parts = {
        "raw": _raw(table),
        "staged": staging.relation("staging", name),
        "same": _same_key(table, "staged"),
        "as_of": sql.Literal(as_of),
    }
    closing = sql.SQL(
        """
        update {raw} as standing set known_to = {as_of}
        where
            standing.known_to = 'infinity'
            and not exists (
                select from {staged} as staged
                where
                    {same}
                    and row({staged_columns}) is not distinct from row({standing_columns})
            )
            and not exists (
                select from {refused} as refused
                where {same_refused} and refused.known_to = 'infinity'
            )
        """
    ).format(
        staged_columns=listed(columns, "staged"),
        standing_columns=listed(columns, "standing"),
        refused=staging.relation("quarantine", table),
        same_refused=_same_key(table, "refused"),
        **parts,
    )
    closed = warehouse.execute(closing).rowcount
    return _add(warehouse, columns, parts), closed


def begin(
    warehouse: Postgres, table: str, name: str, known_from: date, columns: dict[str, str]
) -> int:
    """Add staged keys that have no version at all, known from ``known_from``; return how many.

    For a load of history: the source has only its present state, which stands for the past.
    """
    return _add(
        warehouse,
        columns,
        {
            "raw": _raw(table),
            "staged": staging.relation("staging", name),
            "same": _same_key(table, "staged"),
            "as_of": sql.Literal(known_from),
        },
        ever=True,
    )


def reach_back(warehouse: Postgres, table: str, known_from: date) -> int:
    """Let what was known first be known from ``known_from`` on; return how many versions that is.

    For history loaded later than what follows it: nothing older is known than the first state.
    """
    return run(
        warehouse,
        """
        update {raw} set known_from = {known_from}
        where known_from = (select min(known_from) from {raw}) and known_from > {known_from}
        """,
        raw=_raw(table),
        known_from=sql.Literal(known_from),
    ).rowcount


def known_at(warehouse: Postgres, table: str, as_of: date, columns: dict[str, str]) -> Signature:
    """Return rows and checksum of the versions that hold as of ``as_of``."""
    found = run(
        warehouse,
        """
        select
            count(*),
            coalesce(sum(cast(hash_record_extended(row({names}), 0) as numeric)), 0),
            count(*),
            0
        from {raw} where known_from <= {as_of} and known_to > {as_of}
        """,
        names=listed(columns),
        raw=_raw(table),
        as_of=sql.Literal(as_of),
    ).fetchone()
    return _signature(found)


def _add(
    warehouse: Postgres,
    columns: dict[str, str],
    parts: dict[str, sql.Composable],
    *,
    ever: bool = False,
) -> int:
    """Insert the staged keys that no version stands for (with ``ever``: that never had one)."""
    adding = sql.SQL(
        """
        insert into {raw} ({names}, known_from)
        select {names}, {as_of} from {staged} as staged
        where not exists (
            select from {raw} as standing
            where {same} and ({ever} or standing.known_to = 'infinity')
        )
        """
    ).format(names=listed(columns), ever=sql.Literal(ever), **parts)
    return warehouse.execute(adding).rowcount


def _signature(found: tuple[Any, ...] | None) -> Signature:
    assert found is not None
    read, checksum, distinct, refused = map(int, found)
    return read, checksum, distinct, refused


def _same_key(table: str, other: str) -> sql.Composable:
    """Return the condition that a row of ``other`` is about what ``standing`` is about."""
    return sql.SQL(" and ").join(
        sql.SQL("{} = {}").format(sql.Identifier(other, key), sql.Identifier("standing", key))
        for key in TABLES[table].keys
    )


def _raw(table: str) -> sql.Composable:
    return staging.relation("raw", table)
