"""Real Postgres for every test: a server of its own, or DATABASE_URL's."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from jobs import migrate
from jobs.local import databases, postgres, processes, state
from jobs.local.databases import Server
from jobs.settings import state_dir
from jobs.warehouse import engine

# Where `make up` keeps its platform: known before tests are sent elsewhere.
STATE = state_dir()
NAMES = {"app": "app_test", "warehouse": "warehouse_test"}
FOLDERS = "nightshift-test-"
SCHEMAS = ("raw", "quarantine", "feature", "result", "experiment", "ops", "bi", "staging", "optuna")
# The owner's tables as the platform meets them (their names, their types).
SOURCE = """
create table if not exists apparel_purchases (
    client_id bigint, quantity integer, price double precision, category_ids text, date date,
    message_id text
);
create table if not exists apparel_messages (
    bulk_campaign_id bigint, client_id bigint, message_id text, event text, channel text,
    date date, created_at timestamp without time zone
);
create table if not exists client_event (
    client_id bigint, event_time timestamp without time zone, event_type text, product_id bigint
);
create table if not exists user_data (
    id bigint, age integer, city text, country text, exp_group integer, gender integer, os text,
    source text
);
create table if not exists post_text_df (id bigint, text text, topic text);
create table if not exists post_image (post_id bigint, uri text);
create table if not exists feed_data (
    timestamp timestamp without time zone, user_id bigint, post_id bigint, action text,
    target integer
);
"""
RELATIONS = """
select format('%I.%I', nspname, relname) as name, relkind::text as kind
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = any(:schemas) and relkind in ('r', 'p', 'v', 'm')
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest, so that others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_end_to_end.py")


@pytest.fixture(autouse=True)
def no_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read no setting of a platform that `make demo` left beside the tests."""
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "no-platform"))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Yield a server with this session's own databases, dropped at its end.

    Without DATABASE_URL it is a throwaway Postgres in a temporary folder, so several sessions
    can run at once. What a killed session left behind is cleared here.
    """
    if url := os.environ.get("DATABASE_URL"):
        # Roles are the server's, not the session's: keep the passwords that `make up` knows.
        with state.locked(Path(f"{STATE}-test"), "make test"):
            yield from serve(Server(url, state.prepare(STATE)))
        return
    clear_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=FOLDERS)).resolve()
    with state.locked(folder, "make test"):
        try:
            admin_url = postgres.start(folder, processes.free_port(), throwaway=True)
            yield from serve(Server(admin_url, folder))
        finally:
            postgres.stop(folder)
    state.remove(folder)


def serve(server: Server) -> Iterator[Server]:
    """Yield the server with fresh, migrated test databases."""
    databases.drop(server, NAMES)
    databases.create(server, NAMES)
    migrate.upgrade(server.url("migrator", NAMES["warehouse"]))
    yield server
    databases.drop(server, NAMES)


def clear_leftovers() -> None:
    """Stop and delete the servers of test sessions that were killed."""
    for folder in Path(tempfile.gettempdir()).resolve().glob(f"{FOLDERS}*"):
        if (folder / "lock").exists() and os.access(folder, os.W_OK):
            with contextlib.suppress(state.LocalError), state.locked(folder, "clear leftovers"):
                postgres.stop(folder)
                state.remove(folder)


@pytest.fixture(scope="session")
def as_role(server: Server) -> Callable[[str], Engine]:
    """Return a function: role -> engine on the test database where that role works."""
    in_app = {"app_reader", "simulator"}

    def role_engine(role: str) -> Engine:
        name = NAMES["app" if role in in_app else "warehouse"]
        assert name.endswith("_test"), f"tests never touch {name}: only databases named *_test"
        return engine(server.url(role, name))

    return role_engine


@pytest.fixture(scope="session")
def pristine(as_role: Callable[[str], Engine]) -> dict[str, bool]:
    """Return the relations of the freshly migrated warehouse -> whether to empty them."""
    with as_role("migrator").connect() as connection:
        found = relations(connection)
        tables = [name for name, kind in found.items() if kind in "rp"]
        # What the migrations wrote is part of the schema.
        seeded = set(not_empty(connection, tables))
    return {name: kind in "rp" and name not in seeded for name, kind in found.items()}


@pytest.fixture
def empty_warehouse(
    as_role: Callable[[str], Engine], pristine: dict[str, bool]
) -> Callable[[], None]:
    """Return a function that empties the warehouse.

    Emptying the few tables that a test filled takes milliseconds; a copy of a template
    database took a second.
    """

    def empty() -> None:
        with as_role("migrator").begin() as connection:
            refuse_real(connection)
            found = relations(connection)
            for name, kind in found.items():
                if name not in pristine:
                    what = {"v": "view", "m": "materialized view"}.get(kind, "table")
                    connection.execute(text(f"drop {what} if exists {name} cascade"))
            if full := not_empty(connection, [n for n in found if pristine.get(n)]):
                connection.execute(text(f"truncate {', '.join(full)} restart identity cascade"))

    return empty


@pytest.fixture
def warehouse(as_role: Callable[[str], Engine], empty_warehouse: Callable[[], None]) -> Engine:
    """Return the warehouse as the jobs see it (role nightshift), empty."""
    empty_warehouse()
    return as_role("nightshift")


@pytest.fixture
def app(as_role: Callable[[str], Engine]) -> Engine:
    """Return the product's database as the platform sees it (read only), its tables empty.

    To change it, use ``given`` or ``as_role("simulator")``.
    """
    with as_role("simulator").begin() as connection:
        refuse_real(connection)
        for name in relations(connection, ["public"]):
            connection.execute(text(f"drop table if exists {name} cascade"))
        connection.execute(text("drop schema if exists simulation cascade"))
        for statement in filter(str.strip, SOURCE.split(";")):
            connection.execute(text(statement))
    return as_role("app_reader")


@pytest.fixture
def given(request: pytest.FixtureRequest, as_role: Callable[[str], Engine]) -> Callable[..., None]:
    """Return a function that inserts one row: ``given("raw.apparel_purchases", client_id=1, ...)``.

    A name with a schema is a table of the warehouse, whose day gets its partition if it has
    none; a name without one is a table of the product's database.
    """

    def insert(table: str, **columns: object) -> None:
        schema = table.rpartition(".")[0]
        request.getfixturevalue("warehouse" if schema else "app")
        names = ", ".join(columns)
        values = ", ".join(f":{name}" for name in columns)
        statement = text(f"insert into {table} ({names}) values ({values})")
        with as_role("migrator" if schema else "simulator").begin() as connection:
            refuse_real(connection)
            try:
                with connection.begin_nested():
                    connection.execute(statement, columns)
            except DBAPIError as error:
                if "no partition of relation" not in str(error):
                    raise
                make_partition(connection, table, columns)
                connection.execute(statement, columns)

    return insert


def make_partition(connection: Connection, table: str, columns: dict[str, object]) -> None:
    """Make the partition of the day that the row's first day column names."""
    key = text(
        "select attname, relowner::regrole::text from pg_partitioned_table "
        "join pg_class on pg_class.oid = partrelid "
        "join pg_attribute on attrelid = partrelid and attnum = partattrs[0] "
        "where partrelid = cast(:table as regclass)"
    )
    column, owner = connection.execute(key, {"table": table}).one()
    day = f"cast('{columns[column]}' as date)"
    name = f"{table}_{str(columns[column]).replace('-', '')}"
    connection.execute(text(f"set local role {owner}"))
    bounds = connection.execute(text(f"select {day}, {day} + 1")).one()
    connection.execute(
        text(
            f"create table {name} partition of {table} "
            f"for values from ('{bounds[0]}') to ('{bounds[1]}')"
        )
    )
    connection.execute(text("reset role"))


def relations(connection: Connection, schemas: list[str] | None = None) -> dict[str, str]:
    """Return the tables and views of these schemas -> their kind."""
    found = connection.execute(text(RELATIONS), {"schemas": schemas or list(SCHEMAS)})
    return {name: kind for name, kind in found}


def not_empty(connection: Connection, tables: list[str]) -> list[str]:
    """Return the tables that hold a row."""
    if not tables:
        return []
    asked = (f"select '{name}' where exists (select from {name})" for name in tables)
    return list(connection.execute(text(" union all ".join(asked))).scalars())


def refuse_real(connection: Connection) -> None:
    """Return if this is a test database; a session left open elsewhere fails, not hangs.

    Raises:
        RuntimeError: if it is not.
    """
    name = connection.execute(text("select current_database()")).scalar_one()
    if not name.endswith("_test"):
        raise RuntimeError(f"tests never touch {name}: only databases named *_test")
    connection.execute(text("set local lock_timeout = '10s'"))


def admin(server: Server, statement: str, *names: str) -> None:
    """Run one statement as the server's administrator; {} stand for quoted names."""
    with databases.administrator(server) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
