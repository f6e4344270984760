"""The simulated product database: create it, load its history, play one day more.

History ends before ``end``, as an ``as_of`` does: ``simulate(..., end=D)`` writes what the source
has on the morning of D, and ``play_day(engine, D)`` what reaches it on D. However the days are
split between the two, the source holds the same rows.
"""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
from sqlalchemy import Connection, Engine, text

from jobs.binary_copy import Field, encode
from jobs.simulate.clients import World, plan
from jobs.simulate.clock import Columns, day_date, day_number
from jobs.simulate.codes import NULL
from jobs.simulate.rows import TABLES
from jobs.simulate.shop import Window, arrivals, windows
from jobs.warehouse import execute, rows

# the demo's shop
CLIENTS = 20_000
HISTORY_DAYS = 540
SEED = 7

WINDOW_ROWS = 500_000  # about what is in memory, and in one transaction, at once
ROWS_PER_CLIENT_DAY = 0.1
INDEXES = {
    "apparel_purchases_date": "apparel_purchases (date)",
    "apparel_messages_date": "apparel_messages (date)",
    "apparel_messages_created_at": "apparel_messages (created_at)",
    "client_event_event_time": "client_event (event_time)",
}
# worth dropping for a first load; corrections need the one of purchases
LARGE = [name for name in INDEXES if not name.startswith("apparel_purchases")]
KINDS = {
    **dict.fromkeys(("client_id", "bulk_campaign_id", "product_id"), "bigint"),
    **{"quantity": "integer", "price": "double", "date": "date", "message_id": "hex"},
    **{"created_at": "timestamp", "event_time": "timestamp"},
}


def create(engine: Engine) -> None:
    """Make the source tables, their indexes and the simulation's records where they are absent."""
    with engine.begin() as connection:
        for table in TABLES:
            execute(connection, f"simulate/{table}.sql")
        connection.execute(text("create schema if not exists simulation"))
        for table in ("world", "played"):
            execute(connection, f"simulate/{table}.sql")
        _index(connection)


def simulate(
    engine: Engine,
    clients: int = CLIENTS,
    start: date = date(2026, 3, 1) - timedelta(days=HISTORY_DAYS),
    end: date = date(2026, 3, 1),
    seed: int = SEED,
    report: Callable[[date, int], None] = lambda day, written: None,
) -> int:
    """Write all that reaches the source on the days [start, end); return the rows written.

    Days already there are left alone, so a call goes on where an earlier one, finished or killed,
    stopped: a later ``end`` continues the history.

    Args:
        engine: database ``app``, as its owner.
        clients: see ``clients.plan``.
        start: the first day of the simulated world.
        end: the day after the last one written.
        seed: see ``clients.plan``.
        report: called with the last day in the database and the rows written so far.

    Raises:
        ValueError: if the database holds another world, or rows that are not simulated.
    """
    create(engine)
    _settle(engine, clients, start, seed)
    first = _next_day(engine)
    if first >= end:
        return 0
    world = plan(seed, clients, start, (end - start).days)
    step = int(np.clip(WINDOW_ROWS / (clients * ROWS_PER_CLIENT_DAY), 1, 30))
    # rebuilding the large indexes costs less than a load past them, if the load is the larger part
    if end - first > first - start:
        with engine.begin() as connection:
            for name in LARGE:
                connection.execute(text(f"drop index if exists {name}"))
    written = 0
    for window in windows(world, day_number(first), day_number(end), step):
        with engine.begin() as connection:
            written += _write(connection, world, window)
        report(day_date(window.end - 1), written)
    with engine.begin() as connection:
        _index(connection)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in TABLES:
            connection.execute(text(f"analyze {table}"))
    return written


def play_day(engine: Engine, day: date) -> int:
    """Write what reaches the source on one day; return the rows added, 0 if they are there.

    The day's own rows, late ones of days before, and corrections as updates.

    Raises:
        ValueError: if the days before are not there.
    """
    seed, clients, start = _known_world(engine)
    following = _next_day(engine)
    if day < following:
        return 0
    if day > following:
        raise ValueError(
            f"simulation.played: {day} can't be played before {following}; "
            f"simulate up to {day} first"
        )
    world = plan(seed, clients, start, (day - start).days + 1)
    with engine.begin() as connection:
        return _write(connection, world, arrivals(world, day))


def world(engine: Engine, end: date) -> World:
    """Return the world of which the database holds a part, planned up to (without) ``end``."""
    seed, clients, start = _known_world(engine)
    return plan(seed, clients, start, (end - start).days)


def _known_world(engine: Engine) -> tuple[int, int, date]:
    """Return seed, clients and first day of the world in the database."""
    with engine.connect() as connection:
        found = rows(connection, "select seed, clients, start_day from simulation.world")
    if not found:
        raise ValueError("simulation.world: no world in this database; call simulate first")
    return found[0]["seed"], found[0]["clients"], found[0]["start_day"]


def _settle(engine: Engine, clients: int, start: date, seed: int) -> None:
    """Record which world this database holds, or make sure that it is this one."""
    with engine.begin() as connection:
        if not rows(connection, "select 1 from simulation.world"):
            for table in TABLES:
                if rows(connection, f"select 1 from {table} limit 1"):
                    raise ValueError(
                        f"{table}: holds rows that are not simulated; "
                        "simulate into an empty database"
                    )
        connection.execute(
            text(
                "insert into simulation.world (seed, clients, start_day) "
                "values (:seed, :clients, :start) on conflict do nothing"
            ),
            {"seed": seed, "clients": clients, "start": start},
        )
    found = _known_world(engine)
    if found != (seed, clients, start):
        raise ValueError(
            f"simulation.world: the database holds seed {found[0]}, {found[1]} clients from "
            f"{found[2]}, asked for seed {seed}, {clients} clients from {start}; "
            "ask for the same world or use an empty database"
        )


def _next_day(engine: Engine) -> date:
    """Return the first day that the source has not seen yet."""
    statement = (
        "select coalesce(max(played.day) + 1, min(world.start_day)) as day "
        "from simulation.world left join simulation.played on true"
    )
    with engine.connect() as connection:
        day: date = rows(connection, statement)[0]["day"]
    return day


def _write(connection: Connection, world: World, window: Window) -> int:
    """Write a window's rows and corrections and record its days; return the rows added."""
    # one writer at a time; the other one then finds its day taken
    connection.execute(text("select 1 from simulation.world for update"))
    first, end = day_date(window.first), day_date(window.end)
    if rows(connection, "select 1 from simulation.played where day >= :day", day=first):
        raise ValueError(f"simulation.played: another process wrote {first}; call again")
    written = 0
    for table, columns in window.rows.items():
        _copy(connection, world, table, columns)
        written += len(columns["arrival"])
    correct = window.corrections
    if len(correct["arrival"]):
        execute(
            connection,
            "simulate/correct_purchases.sql",
            clients=correct["client_id"].tolist(),
            days=[day_date(day) for day in correct["date"]],
            prices=correct["price"].tolist(),
            quantities=correct["quantity"].tolist(),
            new_prices=correct["new_price"].tolist(),
            new_quantities=correct["new_quantity"].tolist(),
        )
    connection.execute(
        text(
            "insert into simulation.played (day) "
            "select generate_series(cast(:first as date), cast(:last as date), '1 day')"
        ),
        {"first": first, "last": end - timedelta(days=1)},
    )
    return written


def _copy(connection: Connection, world: World, table: str, columns: Columns) -> None:
    """Append rows to one source table by binary COPY, in the connection's transaction."""
    fields = []
    for name, texts in TABLES[table].items():
        values = columns[name]
        if name == "category_ids":
            texts = world.catalog.category_texts
        kind = "text" if texts else KINDS[name]
        missing = {"bigint": NULL, "timestamp": NULL, "hex": 0}.get(kind)
        fields.append(Field(kind, values, None if missing is None else values == missing, texts))
    driver = connection.connection.driver_connection
    assert driver is not None
    names = ", ".join(TABLES[table])
    with (
        driver.cursor() as cursor,
        cursor.copy(f"copy {table} ({names}) from stdin (format binary)") as copy,
    ):
        for piece in encode(fields):
            copy.write(piece)


def _index(connection: Connection) -> None:
    """Make the indexes that are absent."""
    for name, columns in INDEXES.items():
        connection.execute(text(f"create index if not exists {name} on {columns}"))
