"""The platform on one machine: what survives a kill, what is refused, what is said."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from conftest import NAMES, admin
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from jobs import settings
from jobs.local import (
    databases,
    demo,
    feed,
    postgres,
    processes,
    progress,
    services,
    state,
    up,
    world,
)
from jobs.local.databases import Server
from jobs.local.state import LocalError
from jobs.local.up import Platform
from jobs.simulate.social.world import FIRST_POST_ID
from jobs.warehouse import rows

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def folder(tmp_path_factory):
    made = Path(state.prepare(tmp_path_factory.mktemp("state")))
    yield made
    processes.stop(made, processes.names(made), patience_seconds=2)
    postgres.stop(made)
    state.remove(made)


# Postgres --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    # Under a folder closed to others, as root's home is: pytest's own is 0700.
    made = Path(state.prepare(tmp_path_factory.mktemp("postgres")))
    port = processes.free_port()
    postgres.start(made, port)
    yield made, port
    postgres.stop(made)
    state.remove(made)


def test_a_killed_postgres_comes_back_with_every_acknowledged_row(own_server):
    made, port = own_server
    url = postgres.start(made, port)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table if not exists kept (n integer)")
        connection.execute("insert into kept values (1)")
    os.kill(postgres.postmaster(postgres.home_of(made)), signal.SIGKILL)

    url = postgres.start(made, port)

    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1,)


def test_a_dead_servers_recycled_process_id_is_neither_trusted_nor_killed(own_server):
    made, port = own_server
    home = postgres.home_of(made)
    postgres.start(made, port)
    os.kill(postgres.postmaster(home), signal.SIGKILL)
    with subprocess.Popen(SLEEP) as somebody:
        pid_file = home / "data" / "postmaster.pid"
        rest = pid_file.read_text().splitlines()[1:]
        pid_file.write_text("\n".join([str(somebody.pid), *rest]) + "\n")

        assert postgres.postmaster(home) is None
        postgres.stop(made)
        postgres.start(made, port)

        assert somebody.poll() is None
        somebody.kill()


def test_another_port_moves_the_server(own_server):
    made, port = own_server
    postgres.start(made, port)

    moved = postgres.start(made, processes.free_port())

    assert postgres.serves(postgres.home_of(made), moved)
    assert processes.port_free(port)


def test_postgres_listens_on_loopback_and_wants_a_password(own_server):
    made, port = own_server
    url = postgres.start(made, port)

    with psycopg.connect(url) as connection:
        told = {
            name: connection.execute(f"show {name}").fetchone()[0]
            for name in (
                "listen_addresses",
                "unix_socket_directories",
                "max_locks_per_transaction",
                "timezone",
                "wal_level",
            )
        }
    assert told == {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_locks_per_transaction": "1024",
        "timezone": "UTC",
        "wal_level": "minimal",
    }
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{port}/postgres")


def test_a_busy_port_names_its_holder_and_the_setting(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(LocalError) as error:
            postgres.start(folder, port)

    assert f"port {port} (Postgres)" in str(error.value)
    assert "NIGHTSHIFT_POSTGRES_PORT" in str(error.value)
    if processes.PROC.is_dir():
        assert f"process {os.getpid()}" in str(error.value)


def test_an_interrupted_initdb_is_begun_anew(folder):
    half = postgres.home_of(folder) / "data.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")

    postgres.start(folder, processes.free_port())

    assert postgres.stop(folder)
    assert not half.exists()


# Databases and roles ---------------------------------------------------------------------------


def test_making_databases_twice_changes_nothing(server):
    assert databases.create(server, NAMES) == []


def test_who_only_reads_can_store_nothing(server):
    with psycopg.connect(server.url("bi_reader", NAMES["warehouse"])) as reader:
        reader.execute("set transaction read write")
        for statement in ("select lo_create(0)", "select lo_from_bytea(0, 'x')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(statement)
        with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
            reader.execute("create temporary table mine (n integer)")


def test_a_database_that_is_not_ours_is_refused(server):
    admin(server, "create database {}", "stranger_test")
    try:
        with pytest.raises(LocalError, match=r"database stranger_test exists.*not ours"):
            databases.create(server, {"app": "stranger_test"})
        with pytest.raises(LocalError, match="not ours"):
            databases.drop(server, {"app": "stranger_test"})
    finally:
        admin(server, "drop database {}", "stranger_test")


def test_a_role_that_is_not_ours_is_refused(server):
    admin(server, "create role {}", "stranger_test")
    try:
        with (
            databases.administrator(server) as connection,
            pytest.raises(LocalError, match=r"role stranger_test .* is not ours"),
        ):
            databases.create_role(connection, server, "stranger_test", "nothing")
    finally:
        admin(server, "drop role {}", "stranger_test")


def test_a_kill_between_create_database_and_its_mark_is_recovered(server):
    admin(server, "comment on database {} is null", NAMES["app"])

    databases.create(server, NAMES)

    with databases.administrator(server) as connection:
        assert databases.database_is_ours(connection, NAMES["app"], "simulator")


def test_an_administrator_without_the_rights_is_told_which(server, tmp_path):
    admin(server, "create role {} login password 'weak'", "weak_test")
    try:
        url = server.url("weak_test", "postgres").replace(
            state.secret(server.state, "role_weak_test"), "weak"
        )
        with pytest.raises(LocalError, match=r"weak_test .* lacks CREATEDB or CREATEROLE"):
            databases.create(Server(url, tmp_path))
    finally:
        state.secret_file(server.state, "role_weak_test").unlink(missing_ok=True)
        admin(server, "drop role {}", "weak_test")


def test_a_server_out_of_reach_is_named_without_its_password(tmp_path):
    nobody = f"postgresql://boss:secret@127.0.0.1:{processes.free_port()}/postgres"

    with pytest.raises(LocalError, match=r"can't reach Postgres at 127.0.0.1.*boss") as error:
        databases.create(Server(nobody, tmp_path))

    assert "secret" not in str(error.value)


def test_the_platform_only_reads_the_products_database(app, given, as_role):
    given("apparel_purchases", client_id=1, quantity=2, price=3.5, date="2026-02-28")
    with as_role("simulator").begin() as connection:
        connection.execute(text("create table added_later as select 1 as n"))

    with app.connect() as connection:
        bought = connection.execute(text("select quantity from apparel_purchases")).scalar_one()
        assert bought == 2
        assert connection.execute(text("select n from added_later")).scalar_one() == 1
    for statement in ("delete from apparel_purchases", "create table mine (n integer)"):
        with app.connect() as connection, pytest.raises(ProgrammingError, match="permission"):
            connection.execute(text(statement))


def test_bi_reader_reads_bi_and_nothing_else(warehouse, as_role):
    with as_role("bi_reader").connect() as connection:
        connection.execute(text("select * from bi.status"))
    for statement in (
        "select * from raw.apparel_purchases",
        "select * from ops.load",
        "create table bi.mine (n integer)",
        "create table public.mine (n integer)",
        "create temporary table mine (n integer)",
    ):
        with as_role("bi_reader").connect() as connection, pytest.raises(ProgrammingError):
            connection.execute(text(f"set transaction read write; {statement}"))


def test_a_role_cannot_enter_the_other_database(server):
    for role, database in (("bi_reader", NAMES["app"]), ("app_reader", NAMES["warehouse"])):
        with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
            psycopg.connect(server.url(role, database))


def test_the_administrators_options_hold_for_every_role(tmp_path):
    server = Server("postgresql://boss:s%40t@db.example:6543/postgres?sslmode=require", tmp_path)

    url = server.url("bi_reader", "warehouse")

    assert url.startswith("postgresql://bi_reader:")
    assert url.endswith("@db.example:6543/warehouse?sslmode=require")


# Fixtures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_begins_with_an_empty_warehouse(warehouse, given, turn):
    with warehouse.connect() as connection:
        count = text("select count(*) from raw.client_event")
        assert connection.execute(count).scalar_one() == 0
    event = {"client_id": 1, "event_time": "2026-02-28 10:00", "event_type": "view"}
    given("raw.client_event", **event, copies=1, event_day="2026-02-28", known_from="2026-03-01")
    with warehouse.connect() as connection:
        assert connection.execute(count).scalar_one() == 1


# Processes -------------------------------------------------------------------------------------


def test_a_service_is_found_again_and_stopped_with_its_whole_group(folder):
    child = f"import subprocess; subprocess.run({SLEEP!r})"
    pid = processes.start(folder, "toy", [sys.executable, "-c", child], os.environ)
    members = wait_for(lambda: group(pid), 2)

    assert processes.running(folder, "toy") == pid
    assert processes.stop(folder, ["toy"]) == ["toy"]

    assert not any(map(processes.alive, members))
    assert processes.running(folder, "toy") is None


def test_a_group_whose_leader_was_killed_is_still_stopped(folder):
    child = f"import subprocess; subprocess.run({SLEEP!r})"
    pid = processes.start(folder, "toy", [sys.executable, "-c", child], os.environ)
    (left,) = wait_for(lambda: group(pid), 2) - {pid}
    os.kill(pid, signal.SIGKILL)

    assert processes.stop(folder, ["toy"]) == ["toy"]

    assert not processes.alive(left)


def test_a_recycled_process_id_is_never_killed(folder):
    with subprocess.Popen(SLEEP, start_new_session=True) as somebody:
        begun = {"pid": somebody.pid, "started": "long ago", "identity": ""}
        state.write_private(processes.pid_file(folder, "toy"), json.dumps(begun))

        assert processes.stop(folder, ["toy"]) == []

        assert somebody.poll() is None
        somebody.kill()


def test_a_service_that_must_run_for_ever_is_started_again(folder):
    once = [sys.executable, "-c", "print('here', flush=True)"]
    processes.start(folder, "toy", once, os.environ, forever=True)

    log = processes.log_file(folder, "toy")
    wait_for(lambda: log.read_text().split().count("here"), 2)

    assert "ended with status 0; starting again" in log.read_text()
    assert processes.restarts(folder, "toy") >= 1


def test_a_starter_killed_before_it_wrote_the_pid_file_leaves_nothing(folder):
    script = (
        "import os, signal\n"
        "from jobs.local import processes\n"
        "processes.write_private = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"processes.start(processes.Path({str(folder)!r}), 'toy', {SLEEP!r}, os.environ)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=settings.ROOT)

    deadline = time.monotonic() + 5
    while leftovers(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leftovers(folder) == []


def test_what_left_its_group_is_swept(folder):
    flee = f"import subprocess; subprocess.Popen({SLEEP!r}, start_new_session=True).wait()"
    processes.start(folder, "toy", [sys.executable, "-c", flee], os.environ)
    wait_for(lambda: leftovers(folder), 2)

    processes.stop(folder, ["toy"])
    processes.sweep(folder)

    assert leftovers(folder) == []


def test_the_state_folder_is_for_one_command_at_a_time(folder):
    hold = (
        "import time\nfrom pathlib import Path\nfrom jobs.local import state\n"
        f"with state.locked(Path({str(folder)!r}), 'make demo'):\n"
        "    print('held', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, cwd=settings.ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"

        with (
            pytest.raises(LocalError, match=rf"`make demo` \(process {other.pid}\) is at work"),
            state.locked(folder, "make up"),
        ):
            pass

        # The kernel drops a killed command's lock.
        other.kill()
    with state.locked(folder, "make up"):
        pass


# Settings, secrets, progress -------------------------------------------------------------------


def test_the_environment_comes_before_the_env_file(folder, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(folder))
    monkeypatch.delenv("AIRFLOW_CONN_APP", raising=False)
    with pytest.raises(LookupError, match=r"AIRFLOW_CONN_APP.*make up"):
        settings.app_url()

    databases.write_env(folder, {"AIRFLOW_CONN_APP": "postgresql://a:it's $HOME@b/c"})
    assert settings.app_url() == "postgresql://a:it's $HOME@b/c"
    sourced = ["sh", "-c", f'. {folder}/env; printf %s "$AIRFLOW_CONN_APP"']
    assert subprocess.check_output(sourced, text=True) == settings.app_url()

    monkeypatch.setenv("AIRFLOW_CONN_APP", "postgresql://other")
    assert settings.app_url() == "postgresql://other"


def test_secrets_are_made_once_and_closed_to_others(folder):
    first = state.secret(folder, "toy")

    assert state.secret(folder, "toy") == first
    assert (folder / "secrets" / "toy").stat().st_mode & 0o077 == 0
    assert (folder / "secrets").stat().st_mode & 0o077 == 0


def test_airflow_and_mlflow_are_kept_on_loopback(folder):
    server = Server("postgresql://postgres:x@127.0.0.1:1/postgres", folder)

    listed = {s.name: s for s in services.services(server, services.platform_settings(server))}

    assert listed["api-server"].environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    for name in ("mlflow", "pages"):
        assert "127.0.0.1" in listed[name].command
    for name in ("scheduler", "triggerer"):
        assert "--skip-serve-logs" in listed[name].command
    # Passwords stay out of the process list.
    secrets = [path.read_text() for path in (folder / "secrets").iterdir()]
    words = {word for service in listed.values() for word in service.command}
    assert not any(secret in word for secret in secrets for word in words)


def test_progress_off_a_terminal_is_plain_lines(capsys):
    def work():
        with progress.step("history") as report:
            report("1/3 days")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work()

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("history ...")
    assert lines[-1].endswith("history: 1/3 days  (failed)")


# The demo ----------------------------------------------------------------------------------------

FEED_START, PLAYED = date(2026, 1, 1), date(2026, 1, 5)
SMALL = world.World(clients=1, start=FEED_START, users=60, feed_start=FEED_START)


@pytest.fixture
def feed_platform(server, folder, app, warehouse, as_role, given):
    """A feed simulated up to a day, for which a list of ten posts is published for everybody."""
    roles = {
        "NIGHTSHIFT_SIMULATOR_URL": "simulator",
        "AIRFLOW_CONN_WAREHOUSE": "nightshift",
        "NIGHTSHIFT_FEED_API_URL": "feed_api",
    }
    urls = {
        name: as_role(role).url.render_as_string(hide_password=False)
        for name, role in roles.items()
    }
    urls["NIGHTSHIFT_IMAGE_ROOTS"] = str(folder / "pictures")
    platform = Platform(Server(server.admin_url, folder), urls)
    feed.play(platform, SMALL, PLAYED, progress.quiet)
    with as_role("simulator").connect() as connection:
        posts = [row["id"] for row in rows(connection, "select id from post_text_df order by id")]
        users = [row["id"] for row in rows(connection, "select id from user_data order by id")]
    for user in users:
        for part in (0, 12):
            given(
                "result.feed_recommendation", as_of=PLAYED, user_id=user, day_part=part,
                arm="test", model_version="toy-1", post_ids=posts[:10], scores=[0.5] * 10,
                sources=[1, 2] * 5,
            )  # fmt: skip
    given(
        "ops.publication", table_name=feed.TABLE, as_of=PLAYED, model_version="toy-1",
        rows=len(users) * 2, checksum="x", replaced=False,
    )  # fmt: skip
    return platform


def seen(as_role):
    """Return what was logged, and the rows of the source's feed."""
    with as_role("nightshift").connect() as connection:
        logged = rows(connection, "select * from experiment.impression order by request_id")
    with as_role("simulator").connect() as connection:
        happened = rows(connection, "select count(*) as n, max(timestamp) as at from feed_data")
    return logged, happened


def test_users_see_the_lists_published_for_their_day_and_what_they_saw_is_logged(
    feed_platform, as_role
):
    feed.play(feed_platform, SMALL, PLAYED + timedelta(days=1), progress.quiet)

    logged, happened = seen(as_role)
    assert logged
    assert happened[0]["at"].date() >= PLAYED
    for row in logged:
        assert row["served_at"].date() == row["as_of"] == PLAYED
        assert row["day_part"] == (12 if row["served_at"].hour >= 12 else 0)
        assert (row["experiment"], row["arm"], row["list"]) == ("feed", "test", "user")
        assert row["model_version"] == "toy-1"
        assert row["positions"] == list(range(1, len(row["post_ids"]) + 1))
        # The sources are those that the list names for these posts.
        assert row["sources"] == [1 + (post - FIRST_POST_ID) % 2 for post in row["post_ids"]]


def test_pictures_of_the_feed_are_where_jobs_are_told_to_look(
    feed_platform, folder, as_role, monkeypatch, tmp_path
):
    server = feed_platform.server
    told = services.platform_settings(server)["NIGHTSHIFT_IMAGE_ROOTS"]
    assert told == feed_platform.settings["NIGHTSHIFT_IMAGE_ROOTS"] == str(folder / "pictures")
    monkeypatch.setenv("NIGHTSHIFT_IMAGE_ROOTS", f"/photos:{folder}/pictures")
    told = services.platform_settings(server)["NIGHTSHIFT_IMAGE_ROOTS"]
    assert told == f"{folder}/pictures:/photos"
    # A call without it does not go on with what an env file, perhaps of a moved folder, names.
    monkeypatch.delenv("NIGHTSHIFT_IMAGE_ROOTS")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path))
    (tmp_path / "env").write_text("NIGHTSHIFT_IMAGE_ROOTS=/moved/pictures\n")
    told = services.platform_settings(server)["NIGHTSHIFT_IMAGE_ROOTS"]
    assert told == str(folder / "pictures")

    feed.play(feed_platform, SMALL, PLAYED + timedelta(days=1), progress.quiet)

    with as_role("simulator").connect() as connection:
        found = rows(connection, "select uri from post_image")
    assert found
    assert all((folder / "pictures" / row["uri"]).is_file() for row in found)


def test_a_day_killed_before_its_impressions_were_logged_is_made_good(
    feed_platform, as_role, monkeypatch
):
    def killed(*_arguments, **_values):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(feed, "execute", killed)
        with pytest.raises(KeyboardInterrupt):
            feed.play(feed_platform, SMALL, PLAYED + timedelta(days=1), progress.quiet)
    assert world.playing(feed_platform.server.state) == PLAYED
    assert seen(as_role)[0] == []

    for _ in range(2):
        feed.play(feed_platform, SMALL, PLAYED + timedelta(days=1), progress.quiet)
        found = seen(as_role)
        assert found[0]
        assert world.playing(feed_platform.server.state) is None

    # A day that was played is not played again, whatever is logged of it.
    feed.play_served(feed_platform, PLAYED)
    assert seen(as_role) == found


def test_lists_published_after_their_day_was_played_were_seen_by_nobody(
    feed_platform, as_role, given
):
    given(
        "ops.publication", table_name=feed.TABLE, as_of=PLAYED - timedelta(days=1),
        model_version="toy-1", rows=1, checksum="x", replaced=False,
    )  # fmt: skip

    feed.play(feed_platform, SMALL, PLAYED + timedelta(days=1), progress.quiet)

    assert {row["as_of"] for row in seen(as_role)[0]} == {PLAYED}


def test_a_night_of_the_feed_waits_for_the_one_before(folder):
    nights = [PLAYED, PLAYED + timedelta(days=1)]

    assert demo.needed("extract_social", nights[0], nights) == []
    assert demo.needed("extract_social", nights[1], nights) == [
        ("extract_social", nights[0]),
        ("feed_recommendation", nights[0]),
    ]
    assert demo.needed("feed_recommendation", nights[1], nights) == [("extract_social", nights[1])]


def test_the_demos_size_is_remembered_and_another_one_refused(folder):
    made = world.remembered(folder, PLAYED, clients=50, users=60)

    assert world.remembered(folder, PLAYED + timedelta(days=3), None, None) == made
    with pytest.raises(LocalError, match="60 users, not 70"):
        world.remembered(folder, PLAYED, None, 70)


def group(pid):
    return {p for p, fields in processes.processes() if fields[2] == str(pid) and fields[0] != "Z"}


def leftovers(folder):
    return [
        pid
        for pid, fields in processes.processes()
        if fields[0] != "Z" and processes.marked(pid, folder)
    ]


def wait_for(seen, count):
    """Return what ``seen`` returns once it is, or holds, ``count``."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = seen()
        if (found if isinstance(found, int) else len(found)) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited 20 s for {count}, have {seen()}")


@pytest.mark.parametrize(
    ("gigabytes", "cores", "slots"), [(4, 8, 1), (24, 2, 2), (24, 16, 3), (64, 4, 4)]
)
def test_trainings_run_side_by_side_as_memory_and_cores_allow(monkeypatch, gigabytes, cores, slots):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gigabytes * 2**30 // 4096}
    monkeypatch.delenv("NIGHTSHIFT_HEAVY_SLOTS", raising=False)
    monkeypatch.setattr(os, "sysconf", pages.get)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    assert up.heavy_slots() == slots


def test_the_number_of_trainings_at_once_can_be_set(monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_HEAVY_SLOTS", "5")

    assert up.heavy_slots() == 5


@pytest.mark.parametrize("written", ["0", "two", "-1", "1.5"])
def test_a_bad_number_of_trainings_is_told(monkeypatch, written):
    monkeypatch.setenv("NIGHTSHIFT_HEAVY_SLOTS", written)

    with pytest.raises(settings.BadSetting, match=f"NIGHTSHIFT_HEAVY_SLOTS is '{written}'"):
        up.heavy_slots()
