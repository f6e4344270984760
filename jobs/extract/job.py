"""Extract one day, or a range of history: copy, check, accept; compare the last days again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta

import psycopg
from sqlalchemy import Connection, Engine, text

from jobs.extract import staging, versions
from jobs.extract.profile import profile
from jobs.extract.source import (
    EmptyDay,
    SourceChanged,
    check_columns,
    check_over,
    copy_days,
    count_rows,
    offers,
    open_source,
    raw_columns,
    signatures,
)
from jobs.extract.tables import SHOP as SHOP
from jobs.extract.tables import SOCIAL as SOCIAL
from jobs.extract.tables import TABLES, may_be_empty
from jobs.warehouse import Postgres, airflow_run_id, driver, execute, named_failures, only_run

# Each night compares this many earlier days with the source once more: late and corrected rows.
RECHECK_DAYS = 3
ONE_DAY = timedelta(days=1)

# Rows of history that are staged, checked and added up at once: what bounds disk and time.
CHUNK_ROWS = 5_000_000
Counts = dict[str, int]


class NothingLoaded(LookupError):
    """No day of the table was ever loaded."""


class ReferenceNotLoaded(LookupError):
    """A table that these rows refer to is not loaded as far, so they can't be checked."""


class RawDropped(LookupError):
    """Raw of a day is gone (jobs/retention.py), so it can't be compared with the source."""


def extract(
    source: Engine, warehouse: Engine, as_of: date, tables: Sequence[str] = SHOP
) -> dict[str, Counts]:
    """Load the day before ``as_of`` and what changed in the days before it; return row counts.

    Raises:
        SourceUnreachable, SourceChanged, DayNotOver, EmptyDay, CheckFailed, AlreadyRunning:
            nothing of that table's day is loaded then, and a rerun starts it anew.
    """
    counts = {}
    for table in tables:
        copied = copy_table(source, warehouse, table, as_of)
        refused = check_table(warehouse, table, as_of)
        counts[table] = {**copied, **refused, **accept_table(warehouse, table, as_of)}
    return counts


def copy_table(source: Engine, warehouse: Engine, table: str, as_of: date) -> Counts:
    """Stage the day before ``as_of``, and the recent days that differ from the source.

    Returns:
        copied: rows staged as the new day's; duplicates: exact ones dropped; late: rows of
        earlier days that raw lacks; changed_days: earlier days that differ.

    Raises:
        SourceUnreachable: if the product database does not answer.
        DayNotOver: if the day has not ended by its clock.
        SourceChanged: if a column is missing or has another type; nothing was read.
        EmptyDay: if the source has no row of the day.
    """
    day = as_of - ONE_DAY
    counts = {"copied": 0, "duplicates": 0, "late": 0, "changed_days": 0}
    with _at_work(warehouse, table, as_of), warehouse.begin() as connection:
        ours = driver(connection)
        staging.drop(ours, *_staged_names(table, as_of))
        if _absent(ours, table):
            return counts
        columns = raw_columns(ours, table)
        known = {}
        if TABLES[table].snapshot:
            is_loaded = versions.is_past(ours, table, as_of)
        else:
            known = _newest_signatures(ours, table, day - RECHECK_DAYS * ONE_DAY, day)
            is_loaded = day in known
        with open_source(source) as theirs:
            check_over(theirs, table, day)
            if _lacks(theirs, ours, table, day):
                if not _is_loaded(ours, table, day):
                    _record_absent(connection, table, [day])
                return counts
            check_columns(theirs, table, day, columns)
            if not is_loaded:
                name = staging.name_of(table, as_of, "new")
                staged = staging.create(ours, table, name, known_from=as_of)
                counts["copied"] = copy_days(theirs, ours, table, name, day, day, columns)
                counts["copied"] -= staging.drop_forgotten(ours, staged, columns)
                counts["duplicates"] = staging.drop_duplicates(ours, name, columns)
                counts["copied"] -= counts["duplicates"]
                counts["copied"] -= staging.drop_refused_before(ours, staged, table, columns)
                if not staging.has_rows(ours, staged, day) and not _may_be_empty(ours, table):
                    raise EmptyDay(_empty(table, [day]))
            changed = _changed_days(theirs, table, columns, known)
            if changed:
                known_at = max(as_of, _newest_as_of(ours, table))
                counts["late"] = _stage_changes(
                    theirs, ours, table, as_of, known_at, changed, columns
                )
                counts["changed_days"] = len(changed)
    return counts


def check_table(warehouse: Engine, table: str, as_of: date) -> Counts:
    """Check what ``copy_table`` staged; return the rows moved to quarantine.

    Raises:
        CheckFailed: naming table, day, expectation, count and keys; raw stays as it was.
    """
    with _postgres(warehouse) as ours:
        parts = {
            part: name
            for part in ("new", "late")
            if staging.exists(ours, name := staging.name_of(table, as_of, part))
            and not _is_empty(ours, table, name)
        }
    return {
        "quarantined": sum(
            _check(warehouse, table, as_of, name, as_of - ONE_DAY, as_of - ONE_DAY, part == "late")
            for part, name in parts.items()
        )
    }


def accept_table(warehouse: Engine, table: str, as_of: date) -> Counts:
    """Move what was staged and checked into raw, add it up in feature, and record the load.

    All of it is one transaction: a day is loaded entirely or not at all. A rerun of a day that
    is loaded, with a source that did not change, does nothing.

    Returns:
        loaded: rows added to raw; closed: rows the source took back.
    """
    day = as_of - ONE_DAY
    loaded = closed = 0
    with _at_work(warehouse, table, as_of), warehouse.begin() as connection:
        ours = driver(connection)
        columns = raw_columns(ours, table)
        if _absent(ours, table):
            if not _is_loaded(ours, table, day):
                _record_absent(connection, table, [day])
            return {"loaded": 0, "closed": 0}
        new, seen, late = _staged_names(table, as_of)
        if TABLES[table].snapshot:
            return _accept_snapshot(connection, table, new, as_of, columns)
        if staging.exists(ours, new):
            loaded = staging.count_by_day(ours, staging.relation("staging", new))[day]
            staging.attach_day(ours, table, new, day)
            _add_up(connection, table, day, day, None)
            _update_lives(connection, table, as_of)
            profile(connection, f"raw.{table}_{day:%Y%m%d}", table, as_of)
            found = staging.signature(ours, table, day, day, columns)
            _record(connection, table, [day], "nightly", as_of, found, {day: loaded})
        if staging.exists(ours, seen):
            known_at = max(as_of, _newest_as_of(ours, table))
            added, gone = _accept_changes(
                connection, table, (seen, late), known_at, "late", columns
            )
            loaded, closed = loaded + added, closed + gone
    return {"loaded": loaded, "closed": closed}


def load_range(
    source: Engine,
    warehouse: Engine,
    first_day: date,
    last_day: date,
    tables: Sequence[str] = SHOP,
    *,
    allow_empty: bool = False,
    chunk_days: int = 366,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Counts]:
    """Load the history of event days first_day to last_day, both included, by the nightly SQL.

    Every row is known from the day after its event, as if it had been extracted on time. Days
    that are loaded already are left as they are, so an interrupted load goes on where it was.
    A table kept by version has only its present state: it is known from the first day's end.

    Raises:
        DayNotOver: if last_day has not ended.
        EmptyDay: naming the days without a row, unless ``allow_empty``.
    """
    totals = {}
    with open_source(source) as theirs:
        check_over(theirs, ", ".join(tables), last_day)
    for table in tables:
        totals[table] = {"loaded": 0, "quarantined": 0, "duplicates": 0}
        missing = _missing_runs(warehouse, table, first_day, last_day, chunk_days)
        if missing:
            ends = missing[0][0], missing[-1][1]
            longest = _chunk_days(source, warehouse, table, *ends, chunk_days)
            missing = _missing_runs(warehouse, table, first_day, last_day, longest)
        for first, last in missing:
            report(f"{table} {first} to {last}")
            load_run = _load_versions if TABLES[table].snapshot else _load_run
            counts = load_run(source, warehouse, table, first, last, allow_empty)
            totals[table] = {name: totals[table][name] + counts[name] for name in counts}
    return totals


def reload(
    source: Engine,
    warehouse: Engine,
    first_day: date,
    last_day: date,
    tables: Sequence[str] = SHOP,
) -> dict[str, Counts]:
    """Compare loaded days of any age with the source, append late rows, close what is gone.

    The differences are known from the newest loaded as_of on: published days keep what they
    saw, and bi.status flags them stale.
    """
    totals = {}
    for table in tables:
        totals[table] = {"loaded": 0, "closed": 0, "quarantined": 0, "changed_days": 0}
        with _postgres(warehouse) as ours:
            known_at = _newest_as_of(ours, table)
            columns = raw_columns(ours, table)
            known = _newest_signatures(ours, table, first_day, last_day)
            # Of what is kept by version the source has no past state to compare.
            if not known or _absent(ours, table) or TABLES[table].snapshot:
                continue
        with _at_work(warehouse, table, known_at):
            with open_source(source) as theirs, _postgres(warehouse) as ours:
                check_columns(theirs, table, first_day, columns)
                changed = _changed_days(theirs, table, columns, known)
                if not changed:
                    continue
                _stage_changes(theirs, ours, table, known_at, known_at, changed, columns)
            _, seen, late = _staged_names(table, known_at)
            refused = _check(warehouse, table, known_at, late, first_day, last_day, late=True)
            with warehouse.begin() as connection:
                added, gone = _accept_changes(
                    connection, table, (seen, late), known_at, "reload", columns
                )
        totals[table] = {
            "loaded": added,
            "closed": gone,
            "quarantined": refused,
            "changed_days": len(changed),
        }
    return totals


def _load_run(
    source: Engine, warehouse: Engine, table: str, first: date, last: date, allow_empty: bool
) -> Counts:
    """Load one run of days that are all missing."""
    as_of = last + ONE_DAY
    name = staging.name_of(table, as_of, "range")
    days = [first + n * ONE_DAY for n in range((last - first).days + 1)]
    with warehouse.begin() as connection:
        if _absent(driver(connection), table):
            _record_absent(connection, table, days)
            return {"loaded": 0, "quarantined": 0, "duplicates": 0}
    with _at_work(warehouse, table, as_of):
        with open_source(source) as theirs, _postgres(warehouse) as ours:
            columns = raw_columns(ours, table)
            check_columns(theirs, table, first, columns)
            staged = staging.create(ours, table, name)
            copy_days(theirs, ours, table, name, first, last, columns)
            staging.drop_forgotten(ours, staged, columns)
            duplicates = staging.drop_duplicates(ours, name, columns)
            staging.drop_refused_before(ours, staged, table, columns)
            empty = sorted(set(days) - set(staging.count_by_day(ours, staged)))
            if empty and not allow_empty:
                raise EmptyDay(_empty(table, empty))
        # An allowed empty range has nothing to check.
        refused = 0
        if len(empty) < len(days):
            refused = _check(warehouse, table, as_of, name, first, last, history=True)
        with warehouse.begin() as connection:
            ours = driver(connection)
            staging.create_partitions(ours, table, days)
            by_day = staging.count_by_day(ours, staged)
            loaded = staging.append(ours, table, staged, columns)
            staging.analyze_days(ours, table, days, whole=True)
            _add_up(connection, table, first, last, None)
            if _update_lives(connection, table, first + ONE_DAY):
                connection.execute(text("analyze feature.client_life"))
            profile(connection, f"staging.{name}", table, as_of)
            found = staging.signature(ours, table, first, last, columns)
            _record(connection, table, days, "range", None, found, by_day)
            staging.drop(ours, name)
    return {"loaded": loaded, "quarantined": refused, "duplicates": duplicates}


def _stage_changes(
    theirs: Postgres,
    ours: Postgres,
    table: str,
    as_of: date,
    known_at: date,
    changed: list[date],
    columns: dict[str, str],
) -> int:
    """Stage the changed days as the source has them, and apart from that what raw lacks."""
    if gone := [day for day in changed if not staging.has_day(ours, table, day)]:
        raise RawDropped(
            f"raw.{table} {gone[0]}{f' and {len(gone) - 1} more days' if gone[1:] else ''}: the "
            "source has other rows than were loaded, and raw of that day is gone "
            "(NIGHTSHIFT_RAW_DAYS), so they can't be told apart; ask for later days. What was "
            "built on it stays as it is"
        )
    _, seen_name, late_name = _staged_names(table, as_of)
    seen = staging.create(ours, table, seen_name, known_from=known_at)
    for day in changed:
        copy_days(theirs, ours, table, seen_name, day, day, columns)
    staging.keep_days(ours, seen, changed)
    staging.drop_forgotten(ours, seen, columns)
    staging.drop_duplicates(ours, seen_name, columns)
    late = staging.create(ours, table, late_name, known_from=known_at)
    return staging.keep_added(ours, seen, late, table, changed, columns)


def _accept_changes(
    connection: Connection,
    table: str,
    names: tuple[str, str],
    known_at: date,
    mode: str,
    columns: dict[str, str],
) -> tuple[int, int]:
    """Append what is late, close what is gone; return how many rows each were."""
    ours = driver(connection)
    seen, late = (staging.relation("staging", name) for name in names)
    days = sorted(staging.count_by_day(ours, seen))
    closed = staging.close_gone(ours, seen, table, days, known_at, columns)
    added = staging.count_by_day(ours, late)
    staging.append(ours, table, late, columns)
    # Rows known from another day than all before them are planned as one, and joined by loops.
    staging.analyze_days(ours, table, days)
    _add_up(connection, table, days[0], days[-1], known_at)
    _update_lives(connection, table, known_at)
    for day in days:
        profile(connection, f"raw.{table}_{day:%Y%m%d}", table, known_at)
    found = staging.signature(ours, table, days[0], days[-1], columns)
    _record(connection, table, days, mode, known_at, found, added, closed)
    staging.drop(ours, *names)
    return sum(added.values()), sum(closed.values())


def _check(
    warehouse: Engine,
    table: str,
    as_of: date,
    name: str,
    first_day: date,
    last_day: date,
    late: bool = False,
    history: bool = False,
) -> int:
    """Run the suite and set offenders aside; return how many rows those were.

    Late rows are a handful, so what the suite says of a whole day is not asked of them.
    """
    from jobs.checks import quarantine, validate
    from jobs.extract.expectations import (
        HALF,
        MAX_REFUSED_ROWS,
        MAX_REFUSED_SHARE,
        Load,
        day_suite,
        follow_suite,
        reference_rules,
        row_rules,
    )

    about = TABLES[table]
    with named_failures(warehouse, f"check {table} {as_of}"):
        with _postgres(warehouse) as ours:
            columns = list(raw_columns(ours, table))
            load = Load(
                table,
                first_day,
                last_day,
                late,
                _references(ours, table, as_of, late),
                versions.standing(ours, table) if about.snapshot else 0,
            )
        if not late:
            suite = day_suite(load, columns)
            validate(warehouse, "staging", name, suite, table, as_of, about.sample)
        if not late and table == "feed_data":
            with _postgres(warehouse) as ours:
                follows = staging.add_follows(ours, name)
            validate(warehouse, "staging", follows, follow_suite(), table, as_of, about.sample[:3])
            with _postgres(warehouse) as ours:
                staging.drop(ours, follows)
        rules = row_rules(load)
        share = 1.0 if late else MAX_REFUSED_SHARE
        refused = 0
        if history and (unknown := reference_rules(load)):
            # Posts and users that went during the history can't be known: the source forgot them.
            refused = quarantine(
                warehouse, name, table, as_of, unknown, columns, HALF, MAX_REFUSED_ROWS, about.key
            )
            rules = {rule: each for rule, each in rules.items() if rule not in unknown}
        return refused + quarantine(
            warehouse, name, table, as_of, rules, columns, share, MAX_REFUSED_ROWS, about.key
        )


def _references(ours: Postgres, table: str, as_of: date, late: bool) -> dict[str, str]:
    """Return the tables that the rows refer to, by column, less those the owner lacks.

    Raises:
        ReferenceNotLoaded: if one is not loaded for ``as_of``.
    """
    found = {
        column: other
        for column, other in TABLES[table].refers_to.items()
        if not _absent(ours, other)
    }
    for other in found.values():
        if not late and not versions.is_past(ours, other, as_of):
            raise ReferenceNotLoaded(
                f"{table} as of {as_of}: {other} is not loaded for that day, so nobody can tell "
                f"which of its ids are known; first python -m jobs extract --as-of {as_of} "
                f"--table {other} (of history: the same --from and --to)"
            )
    return found


def _add_up(
    connection: Connection,
    table: str,
    first_day: date,
    last_day: date,
    known_at: date | None,
) -> None:
    """Bring the daily aggregates of ``table`` up to date with raw."""
    days = {"first_day": first_day, "last_day": last_day, "known_at": known_at}
    for name in TABLES[table].counts:
        # A night adds up twice in one transaction: its day, then the late rows of others.
        connection.execute(text(f"drop table if exists pg_temp.{name}"))
        execute(connection, f"feature/{name}.sql", **days)
        # Without statistics the planner takes the rows for a handful, and joins them by loops.
        connection.execute(text(f"analyze pg_temp.{name}"))
    for name in TABLES[table].features:
        # Of all tables the steps are added up by one file.
        source = {"source": table} if name == "step_day" else {}
        execute(connection, f"feature/{name}.sql", **days, **source)
        if known_at is None:
            # For the late rows that come next: autovacuum sees what was just written too late.
            connection.execute(text(f"analyze feature.{name}"))


def _accept_snapshot(
    connection: Connection, table: str, name: str, as_of: date, columns: dict[str, str]
) -> Counts:
    """Write the versions that a staged table changes; without one, record the day as past.

    An older day after a newer one changes nothing, and is recorded for whoever waits for it.
    """
    ours, day = driver(connection), as_of - ONE_DAY
    if staging.exists(ours, name):
        signature = versions.settle(ours, table, name, as_of, columns)
        loaded, closed = versions.accept(ours, table, name, as_of, columns)
        _add_up_versions(connection, table)
        profile(connection, f"staging.{name}", table, as_of)
        staging.drop(ours, name)
    elif _is_loaded(ours, table, day):
        return {"loaded": 0, "closed": 0}
    else:
        loaded = closed = 0
        signature = versions.known_at(ours, table, as_of, columns)
    found = {day: signature}
    _record(connection, table, [day], "nightly", as_of, found, {day: loaded}, {day: closed})
    return {"loaded": loaded, "closed": closed}


def _load_versions(
    source: Engine, warehouse: Engine, table: str, first: date, last: date, allow_empty: bool
) -> Counts:
    """Let the present state of a table that is kept by version stand for days that are missing."""
    as_of = last + ONE_DAY
    name = staging.name_of(table, as_of, "range")
    days = [first + n * ONE_DAY for n in range((last - first).days + 1)]
    counts = {"loaded": 0, "quarantined": 0, "duplicates": 0}
    with _at_work(warehouse, table, as_of):
        with _postgres(warehouse) as ours:
            columns = raw_columns(ours, table)
            is_absent, is_past = _absent(ours, table), versions.is_past(ours, table, as_of)
            if not (is_absent or is_past):
                with open_source(source) as theirs:
                    is_absent = _lacks(theirs, ours, table, last)
        if is_absent:
            with warehouse.begin() as connection:
                _record_absent(connection, table, days)
            return counts
        if not is_past:
            with open_source(source) as theirs, _postgres(warehouse) as ours:
                check_columns(theirs, table, first, columns)
                staged = staging.create(ours, table, name, known_from=first + ONE_DAY)
                copy_days(theirs, ours, table, name, first, last, columns)
                staging.drop_forgotten(ours, staged, columns)
                counts["duplicates"] = staging.drop_duplicates(ours, name, columns)
                is_empty = not staging.has_rows(ours, staged, last)
                if is_empty and not (allow_empty or _may_be_empty(ours, table)):
                    raise EmptyDay(_empty(table, [last]))
            if not is_empty:
                counts["quarantined"] = _check(warehouse, table, as_of, name, first, last)
        with warehouse.begin() as connection:
            ours = driver(connection)
            # Days after these may be loaded already: what they knew first is all that is known.
            versions.reach_back(ours, table, first + ONE_DAY)
            if is_past:
                signature = versions.known_at(ours, table, first + ONE_DAY, columns)
            else:
                signature = versions.settle(ours, table, name, as_of, columns)
                counts["loaded"] = versions.begin(ours, table, name, first + ONE_DAY, columns)
                profile(connection, f"staging.{name}", table, as_of)
                staging.drop(ours, name)
            connection.execute(text(f"analyze raw.{table}"))
            _add_up_versions(connection, table)
            found = dict.fromkeys(days, signature)
            _record(connection, table, days, "range", None, found, {first: counts["loaded"]})
    return counts


def _add_up_versions(connection: Connection, table: str) -> None:
    """Let new posts begin their lives."""
    if table == "post_text_df":
        execute(connection, "feature/post_life_extracted.sql")


def _changed_days(
    theirs: Postgres, table: str, columns: dict[str, str], known: dict[date, tuple[int, int]]
) -> list[date]:
    """Return the loaded days whose row count or checksum is another in the source now.

    Raises:
        EmptyDay: if the source lost all rows of such a day: that is no correction.
    """
    if not known:
        return []
    now = signatures(theirs, table, min(known), max(known), columns)
    lost = sorted(day for day, (count, _) in known.items() if count and day not in now)
    if lost:
        raise EmptyDay(_empty(table, lost))
    return sorted(day for day in known if day in now and now[day] != known[day])


def _newest_signatures(
    ours: Postgres, table: str, first_day: date, last_day: date
) -> dict[date, tuple[int, int]]:
    """Return row count and checksum of each loaded day, as last recorded in ops.load."""
    found = ours.execute(
        "select distinct on (event_day) event_day, rows_read, checksum from ops.load"
        " where table_name = %s and event_day between %s and %s and mode <> 'absent'"
        " order by event_day, load_id desc",
        [table, first_day, last_day],
    )
    return {day: (count, int(checksum)) for day, count, checksum in found}


def _newest_as_of(ours: Postgres, table: str) -> date:
    """Return the day after the newest loaded event day: what the platform knows by now."""
    found = ours.execute(
        "select max(event_day) + 1 from ops.load where table_name = %s", [table]
    ).fetchone()
    newest: date | None = found[0] if found else None
    if newest is None:
        raise NothingLoaded(
            f"{table}: no day is loaded yet; first python -m jobs extract "
            f"--from YYYY-MM-DD --to YYYY-MM-DD --table {table}"
        )
    return newest


def _chunk_days(
    source: Engine, warehouse: Engine, table: str, first_day: date, last_day: date, at_most: int
) -> int:
    """Return how many days of history are about CHUNK_ROWS, judged by the first and the last."""
    with _postgres(warehouse) as ours:
        columns = raw_columns(ours, table)
        if TABLES[table].snapshot or _absent(ours, table):
            return at_most
    with open_source(source) as theirs:
        check_columns(theirs, table, first_day, columns)
        most = max(count_rows(theirs, table, day) for day in {first_day, last_day})
    return max(1, min(at_most, CHUNK_ROWS // max(most, 1)))


def _missing_runs(
    warehouse: Engine, table: str, first_day: date, last_day: date, chunk_days: int
) -> list[tuple[date, date]]:
    """Return the runs of successive days that are not loaded, none longer than chunk_days."""
    with _postgres(warehouse) as ours:
        found = ours.execute(
            "select distinct event_day from ops.load"
            " where table_name = %s and event_day between %s and %s",
            [table, first_day, last_day],
        )
        loaded = {day for (day,) in found}
    runs: list[tuple[date, date]] = []
    for offset in range((last_day - first_day).days + 1):
        day = first_day + offset * ONE_DAY
        if day in loaded:
            continue
        grows = runs and runs[-1][1] == day - ONE_DAY and (day - runs[-1][0]).days < chunk_days
        if grows:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def _record(
    connection: Connection,
    table: str,
    days: list[date],
    mode: str,
    as_of: date | None,
    found: dict[date, tuple[int, int, int, int]],
    loaded: dict[date, int],
    closed: dict[date, int] | None = None,
) -> None:
    """Write one ops.load row a day; as_of None means on time, the day after each event day.

    Args:
        connection: in the transaction that loads them.
        table: under raw.
        days: event days.
        mode: as ops.load says it.
        as_of: from when the rows are known.
        found: source rows, checksum, distinct rows and rows in quarantine, by day.
        loaded: rows added, by day.
        closed: rows taken back, by day.
    """
    none = (0, 0, 0, 0)
    connection.execute(
        text(
            "insert into ops.load (table_name, event_day, as_of, mode, rows_read, rows_loaded,"
            " duplicates, quarantined, closed, checksum, airflow_run_id) values (:table_name,"
            " :event_day, :as_of, :mode, :rows_read, :rows_loaded, :duplicates, :quarantined,"
            " :closed, :checksum, :airflow_run_id)"
        ),
        [
            {
                "table_name": table,
                "event_day": day,
                "as_of": as_of or day + ONE_DAY,
                "mode": mode,
                "rows_read": read,
                "rows_loaded": loaded.get(day, 0),
                "duplicates": read - distinct,
                "quarantined": refused,
                "closed": (closed or {}).get(day, 0),
                "checksum": checksum,
                "airflow_run_id": airflow_run_id(),
            }
            for day in days
            for read, checksum, distinct, refused in [found.get(day, none)]
        ],
    )


def _record_absent(connection: Connection, table: str, days: list[date]) -> None:
    """Record days of a table that the owner does not have, so that nothing waits for them."""
    connection.execute(
        text(
            "insert into ops.load (table_name, event_day, as_of, mode, rows_read, rows_loaded,"
            " duplicates, quarantined, checksum, airflow_run_id)"
            " values (:table, :day, :as_of, 'absent', 0, 0, 0, 0, 0, :run)"
        ),
        [
            {"table": table, "day": day, "as_of": day + ONE_DAY, "run": airflow_run_id()}
            for day in days
        ],
    )


def _absent(ours: Postgres, table: str) -> bool:
    """Return whether the owner was declared not to have this table."""
    found = ours.execute("select from ops.absent_table where table_name = %s", [table])
    return found.fetchone() is not None


def _lacks(theirs: Postgres, ours: Postgres, table: str, day: date) -> bool:
    """Return whether the source lacks an optional table, which it never had as far as we know.

    Raises:
        SourceChanged: if it had it.
    """
    if not TABLES[table].optional or offers(theirs, table, day):
        return False
    if standing := versions.standing(ours, table):
        raise SourceChanged(
            f"{table} {day}: the source has no such table any more, and {standing} of its rows "
            f"stand; agree with the owner, or map it in sql/extract/{table}.sql, then rerun. If it "
            f"is gone for good: python -m jobs absent {table} --reason ..."
        )
    return True


def _may_be_empty(ours: Postgres, table: str) -> bool:
    return may_be_empty(table, versions.standing(ours, table) if TABLES[table].optional else 0)


def _is_empty(ours: Postgres, table: str, name: str) -> bool:
    """Return whether there is nothing to check: an optional table may have no rows."""
    staged = staging.relation("staging", name)
    return TABLES[table].optional and not staging.count_by_day(ours, staged)


def _is_loaded(ours: Postgres, table: str, day: date) -> bool:
    """Return whether the day has a record, be it of a table that is absent."""
    found = ours.execute(
        "select from ops.load where table_name = %s and event_day = %s limit 1", [table, day]
    )
    return found.fetchone() is not None


def _update_lives(connection: Connection, table: str, known_from: date) -> bool:
    """Write the lives that changed from ``known_from`` on; one table's load at a time.

    Returns:
        Whether the table has to do with lives.
    """
    if not TABLES[table].lives:
        return False
    connection.execute(text("select pg_advisory_xact_lock(hashtext('feature.client_life'))"))
    connection.execute(
        text(
            "create temporary table if not exists life_change (client_id bigint, as_of date)"
            " on commit drop"
        )
    )
    connection.execute(text("truncate life_change"))
    execute(connection, "feature/client_life_change.sql", known_from=known_from)
    # Without statistics the planner expects a handful of changes and loops over millions.
    connection.execute(text("analyze life_change"))
    for step in ("clear", "close", "insert"):
        execute(connection, f"feature/client_life_{step}.sql", known_from=known_from)
    return True


def _staged_names(table: str, as_of: date) -> tuple[str, str, str]:
    """Return the staging names of a new day, of changed days as seen, and of their late rows."""
    new, seen, late = (staging.name_of(table, as_of, part) for part in ("new", "seen", "late"))
    return new, seen, late


def _empty(table: str, days: list[date]) -> str:
    if TABLES[table].snapshot:
        return (
            f"{table} {days[-1]}: the source has no rows; expected at least one. Is the export "
            f"late? python -m jobs extract --as-of {days[-1] + ONE_DAY} --table {table} loads the "
            "night when it is there"
        )
    shown = ", ".join(map(str, days[:5])) + (f" and {len(days) - 5} more" if days[5:] else "")
    return (
        f"{table} {shown}: the source has no rows; expected at least one a day. Is the export "
        "late? If the day was truly empty: python -m jobs extract "
        f"--from {days[0]} --to {days[-1]} --table {table} --allow-empty"
    )


@contextmanager
def _at_work(warehouse: Engine, table: str, as_of: date) -> Iterator[None]:
    """Hold the lock of the table's day, and name table and day on any error."""
    try:
        with only_run(warehouse, f"extract {table}", as_of):
            yield
    except psycopg.Error as error:
        error.add_note(f"{table} as of {as_of}: nothing was loaded; the transaction was undone")
        raise


@contextmanager
def _postgres(warehouse: Engine) -> Iterator[Postgres]:
    """Yield psycopg's own connection in a transaction that commits at the end."""
    with warehouse.begin() as connection:
        yield driver(connection)
