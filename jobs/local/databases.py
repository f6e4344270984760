"""The platform's databases and roles on one server: made once, marked as ours, never taken over."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from jobs.local.state import LocalError, secret, secret_file, write_private

MARK = "nightshift"
OLDEST_SERVER = 150000
ROLES = {
    "app_reader": "reads the product's database",
    "simulator": "demo only: writes the product's database",
    "migrator": "owns the warehouse's schema",
    "nightshift": "the jobs",
    "bi_reader": "people and BI tools: reads schema bi of the warehouse",
    "feed_api": "the feed service",
    "airflow": "Airflow's own records",
    "mlflow": "MLflow's own records",
}
OWNERS = {"app": "simulator", "warehouse": "migrator", "airflow": "airflow", "mlflow": "mlflow"}
GUESTS = {"app": ("app_reader",), "warehouse": ("nightshift", "bi_reader", "feed_api")}
# People's queries may be long, but not without end, and must leave connections to the jobs. These
# are defaults of the role's sessions; what it may read and write at all is a matter of grants.
READER = "bi_reader"
READER_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "15min",
    "idle_in_transaction_session_timeout": "15min",
}
READER_CONNECTIONS = 60
# Two set-ups of one server at once (a demo and a test run) would both create the same role.
LOCK = "select pg_advisory_lock(hashtextextended('nightshift databases', 0))"


@dataclass(frozen=True)
class Server:
    """One Postgres server and where its roles' passwords are kept."""

    admin_url: str
    state: Path

    def url(self, role: str, database: str) -> str:
        """Return the URL under which ``role`` reaches ``database``."""
        parts = urlsplit(self.admin_url)
        host = parts.netloc.rpartition("@")[2]
        password = quote(secret(self.state, f"role_{role}"), safe="")
        # The administrator's options (sslmode ...) hold for everybody.
        return urlunsplit(
            ("postgresql", f"{role}:{password}@{host}", f"/{database}", parts.query, "")
        )


def create(server: Server, names: Mapping[str, str] | None = None) -> list[str]:
    """Make the roles and databases that are missing, and set the rights of all.

    Args:
        server: the server; its administrator needs CREATEDB and CREATEROLE, no more.
        names: kind ("app", "warehouse", "airflow", "mlflow") -> database; default all four under
            their own names. Tests pass {"app": "app_test", "warehouse": "warehouse_test"}.

    Returns:
        The roles that existed and got a new password, since this state folder had none for them.

    Raises:
        LocalError: if the server is out of reach or too old, if the administrator lacks a right,
            or if a role or database of that name is not ours.
    """
    names = names or {kind: kind for kind in OWNERS}
    with administrator(server) as admin:
        admin.execute(LOCK)
        try:
            changed = [
                role for role, purpose in ROLES.items() if create_role(admin, server, role, purpose)
            ]
            limit_reader(admin)
            # The staging schema is made by migrator and owned by nightshift.
            let_act_as(admin, sql.Identifier("migrator"), "nightshift")
            for kind, name in names.items():
                create_database(admin, name, OWNERS[kind])
        except psycopg.errors.InsufficientPrivilege as error:
            raise LocalError(
                f"the administrator at {address(server.admin_url)} lacks a right, as happens when "
                f"another administrator made our roles: {str(error).strip()}; use that one's "
                f"DATABASE_URL, or a superuser's"
            ) from error
    for kind, name in names.items():
        set_rights(server, kind, name)
        if kind == "warehouse":
            deny_large_objects(server, name)
    return changed


def drop(server: Server, names: Mapping[str, str]) -> None:
    """Drop databases of ours, sessions and all; what does not exist is fine."""
    with administrator(server) as admin:
        admin.execute(LOCK)
        for kind, name in names.items():
            if database_is_ours(admin, name, OWNERS[kind]):
                statement = sql.SQL("drop database {} with (force)")
                admin.execute(statement.format(sql.Identifier(name)))


def administrator(server: Server) -> psycopg.Connection[tuple[object, ...]]:
    """Return a connection as the administrator, checked for what we need of it.

    Raises:
        LocalError: see ``create``.
    """
    place = address(server.admin_url)
    try:
        admin = psycopg.connect(server.admin_url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise LocalError(f"can't reach Postgres at {place}: {str(error).strip()}") from error
    if admin.info.server_version < OLDEST_SERVER:
        raise LocalError(
            f"Postgres at {place} is version {admin.info.server_version // 10000}; "
            f"{OLDEST_SERVER // 10000} or newer is needed"
        )
    row = admin.execute(
        "select rolsuper or (rolcreaterole and rolcreatedb) from pg_roles "
        "where rolname = current_user"
    ).fetchone()
    if row is None or not row[0]:
        raise LocalError(
            f"role {admin.info.user} at {place} lacks CREATEDB or CREATEROLE: "
            f"alter role {admin.info.user} createdb createrole"
        )
    return admin


def address(url: str) -> str:
    """Return host, port and user of ``url``, without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432} (user {parts.username})"


def create_role(
    admin: psycopg.Connection[tuple[object, ...]], server: Server, role: str, purpose: str
) -> bool:
    """Make one login role, marked at once; return whether one of ours got a new password."""
    row = admin.execute(
        "select coalesce(shobj_description(oid, 'pg_authid'), '') from pg_roles where rolname = %s",
        (role,),
    ).fetchone()
    name = sql.Identifier(role)
    if row is None:
        password = sql.Literal(secret(server.state, f"role_{role}"))
        with admin.transaction():
            admin.execute(sql.SQL("create role {} login password {}").format(name, password))
            comment = sql.Literal(f"{MARK}: {purpose}")
            admin.execute(sql.SQL("comment on role {} is {}").format(name, comment))
        return False
    if not str(row[0]).startswith(MARK):
        raise LocalError(
            f"role {role} at {address(server.admin_url)} exists and is not ours (its comment does "
            f"not say {MARK}): rename it, use another server, or, if it may be used, say so with: "
            f"comment on role {role} is '{MARK}'"
        )
    if logs_in(server, role):
        return False
    password = sql.Literal(secret(server.state, f"role_{role}"))
    admin.execute(sql.SQL("alter role {} login password {}").format(name, password))
    return True


def limit_reader(admin: psycopg.Connection[tuple[object, ...]]) -> None:
    """Give the role of people and BI tools its limits; safe to repeat."""
    role = sql.Identifier(READER)
    limit = sql.Literal(READER_CONNECTIONS)
    admin.execute(sql.SQL("alter role {} connection limit {}").format(role, limit))
    for setting, value in READER_SETTINGS.items():
        statement = sql.SQL("alter role {} set {} to {}")
        admin.execute(statement.format(role, sql.Identifier(setting), sql.Literal(value)))


def logs_in(server: Server, role: str) -> bool:
    """Return whether the password in our state folder is still the role's."""
    if not secret_file(server.state, f"role_{role}").exists():
        return False
    # Any database will do: "no right to connect" comes after the password.
    database = urlsplit(server.admin_url).path.lstrip("/") or "postgres"
    try:
        psycopg.connect(server.url(role, database), connect_timeout=10).close()
    except psycopg.OperationalError as error:
        return "password authentication failed" not in str(error)
    return True


def let_act_as(
    admin: psycopg.Connection[tuple[object, ...]], member: sql.Composable, role: str
) -> None:
    """Make ``member`` a member of ``role`` unless it is one already, or a superuser."""
    who = member.as_string(admin).strip('"')
    row = admin.execute(
        "select r.rolsuper or pg_has_role(r.oid, %s, 'usage') from pg_roles r "
        "where r.rolname = case when %s = 'current_user' then current_user else %s end",
        (role, who, who),
    ).fetchone()
    if row is None or not row[0]:
        admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), member))


def database_is_ours(admin: psycopg.Connection[tuple[object, ...]], name: str, owner: str) -> bool:
    """Return True for a database of ours, False if there is none of that name.

    A kill between "create database", which can't be in a transaction, and its comment leaves one
    without mark: it belongs to a role of ours, which is mark enough.

    Raises:
        LocalError: if it is somebody else's.
    """
    row = admin.execute(
        "select coalesce(shobj_description(d.oid, 'pg_database'), ''), "
        "       r.rolname, coalesce(shobj_description(r.oid, 'pg_authid'), '') "
        "from pg_database d join pg_roles r on r.oid = d.datdba where d.datname = %s",
        (name,),
    ).fetchone()
    if row is None:
        return False
    comment, has, has_comment = map(str, row)
    if comment.startswith(MARK) or (has == owner and has_comment.startswith(MARK)):
        return True
    raise LocalError(
        f"database {name} exists, belongs to {has} and is not ours (its comment does not say "
        f"{MARK}): rename it or use another server"
    )


def create_database(admin: psycopg.Connection[tuple[object, ...]], name: str, owner: str) -> None:
    """Make one database that sorts and compares text the same on every server, and mark it."""
    if database_is_ours(admin, name, owner):
        return
    # An administrator who is no superuser must be a member to give the role a database.
    let_act_as(admin, sql.SQL("current_user"), owner)
    locale = "locale 'C.UTF-8'"
    if admin.info.server_version >= 170000:
        locale = "locale 'C' locale_provider builtin builtin_locale 'C.UTF-8'"
    statement = "create database {} owner {} template template0 encoding 'UTF8' " + locale
    admin.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(owner)))
    comment = sql.SQL("comment on database {} is {}")
    admin.execute(comment.format(sql.Identifier(name), sql.Literal(MARK)))


def set_rights(server: Server, kind: str, name: str) -> None:
    """Set who may do what in one database, as its owner; safe to repeat."""
    owner = OWNERS[kind]
    database = sql.Identifier(name)
    with psycopg.connect(server.url(owner, name), connect_timeout=10) as connection:
        run = connection.execute
        run(sql.SQL("alter database {} set timezone to 'UTC'").format(database))
        run(sql.SQL("revoke all on database {} from public").format(database))
        run("revoke all on schema public from public")
        for guest in GUESTS.get(kind, ()):
            grant = "grant connect, temporary" if guest == "nightshift" else "grant connect"
            run(sql.SQL(grant + " on database {} to {}").format(database, sql.Identifier(guest)))
        if kind == "app":
            run("grant usage on schema public to app_reader")
            run("grant select on all tables in schema public to app_reader")
            run("alter default privileges in schema public grant select on tables to app_reader")


def deny_large_objects(server: Server, warehouse: str) -> None:
    """Take from everybody the right to store large objects, which Postgres gives to everybody.

    Who may only read could fill the disk by them. Only a superuser can take it.
    """
    with psycopg.connect(server.admin_url, dbname=warehouse, connect_timeout=10) as admin:
        row = admin.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
        if row and row[0]:
            admin.execute(
                "revoke execute on function lo_creat(integer), lo_create(oid), lo_put(oid, bigint,"
                " bytea), lo_from_bytea(oid, bytea), lowrite(integer, bytea) from public"
            )


def connections(server: Server, names: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings by which jobs and Airflow find the databases."""
    names = names or {kind: kind for kind in OWNERS}
    return {
        "AIRFLOW_CONN_APP": server.url("app_reader", names["app"]),
        "AIRFLOW_CONN_WAREHOUSE": server.url("nightshift", names["warehouse"]),
        "NIGHTSHIFT_BI_URL": server.url("bi_reader", names["warehouse"]),
        "NIGHTSHIFT_FEED_API_URL": server.url("feed_api", names["warehouse"]),
        "NIGHTSHIFT_MIGRATOR_URL": server.url("migrator", names["warehouse"]),
        "NIGHTSHIFT_SIMULATOR_URL": server.url("simulator", names["app"]),
    }


def write_env(state: Path, settings: Mapping[str, str]) -> None:
    """Write ``settings`` to the state folder's env file, which shells and jobs.settings read."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(settings.items())]
    head = "# Written by `make up`; `set -a; . this file` gives a shell the same settings.\n"
    write_private(state / "env", head + "".join(lines))
