"""Bad input: each case by the command that on-call types, its message, and nothing lost by it."""

import contextlib
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine, text
from test_publish import SELECT, SHAPE, TABLE, put, scores
from typer.testing import CliRunner

from jobs import __main__ as command_line
from jobs import champion
from jobs.checks import CheckFailed
from jobs.client_scores import night
from jobs.local import postgres
from jobs.local.databases import Server
from jobs.publish import publish, stage
from jobs.purchase_propensity import job as purchase_propensity
from jobs.settings import ROOT
from jobs.warehouse import WarehouseFull, WarehouseUnreachable, adbc_uri, engine

DOCUMENTED = (ROOT / "docs" / "bad-input.md").read_text()
NIGHT = "extract --as-of 2026-03-02"
SHOP = "--table apparel_messages --table apparel_purchases --table client_event"
ROWS = 500
DAY = "date = '2026-03-01'"
# What people and models read, less the columns that tell one run from another.
KEPT = {
    "raw.apparel_purchases": "*",
    "raw.apparel_messages": "*",
    "raw.client_event": "*",
    "feature.purchase_day": "*",
    "feature.message_day": "*",
    "feature.step_day": "*",
    "feature.client_life": "*",
    "ops.profile": "*",
    "ops.load": "table_name, event_day, as_of, mode, rows_read, rows_loaded, duplicates,"
    " quarantined, closed, checksum",
}
FILL = """
insert into apparel_purchases
select n, 1, 10, '[''4'']', date '{day}', 'm' || n from generate_series(1, {rows}) as n;
insert into apparel_messages
select 7, n, 'm' || n, 'click', 'email', date '{day}', timestamp '{day} 10:00'
from generate_series(1, {rows}) as n;
insert into client_event
select n, timestamp '{day} 11:00', 'view', n from generate_series(1, {rows}) as n;
"""


@dataclass(frozen=True)
class Said:
    """How a command ended: its exit code and what it wrote on stderr."""

    code: int
    words: str


@pytest.fixture
def owner(app, as_role) -> Engine:
    """Return the product database as its owner, with the days of 28 February and 1 March."""
    heal(as_role("simulator"))
    return as_role("simulator")


@pytest.fixture
def jobs(app, warehouse, monkeypatch, caplog, capsys) -> Callable[[str], Said]:
    """Return a function that does what ``python -m jobs <words>`` does."""
    monkeypatch.setenv("AIRFLOW_CONN_APP", adbc_uri(app))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", adbc_uri(warehouse))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(words: str) -> Said:
        caplog.clear()
        ended = CliRunner().invoke(command_line.app, words.split())
        if ended.exc_info and not isinstance(ended.exception, SystemExit | None):
            sys.excepthook(*ended.exc_info)
        warnings = [each.getMessage() for each in caplog.records if each.name == "jobs.checks"]
        return Said(ended.exit_code, "\n".join([*warnings, capsys.readouterr().err.strip()]))

    return run


def change(handle: Engine, statements: str) -> None:
    with handle.begin() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(text(statement))


def heal(owner: Engine) -> None:
    """Make the owner's tables what they should have been."""
    change(
        owner,
        "drop table if exists apparel_purchases; drop table if exists apparel_messages;"
        "drop table if exists client_event;"
        "create table apparel_purchases (client_id bigint, quantity integer,"
        " price double precision, category_ids text, date date, message_id text);"
        "create table apparel_messages (bulk_campaign_id bigint, client_id bigint,"
        " message_id text, event text, channel text, date date, created_at timestamp);"
        "create table client_event (client_id bigint, event_time timestamp, event_type text,"
        " product_id bigint)",
    )
    for day in ("2026-02-28", "2026-03-01"):
        change(owner, FILL.format(day=day, rows=ROWS))


def ask(handle: Engine, statement: str) -> list[tuple]:
    with handle.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def kept(warehouse: Engine) -> dict[str, list[tuple]]:
    """Return every row that a night writes and others build on."""
    return {
        table: ask(
            warehouse,
            f"select kept::text from (select {columns} from {table}) as kept order by 1",
        )
        for table, columns in KEPT.items()
    }


def in_docs(words: str) -> bool:
    """Return whether docs/bad-input.md has this message; what differs by machine apart."""
    words = re.sub(r"127\.0\.0\.1(:|\", port )\d+", r"127.0.0.1\g<1>54329", words)
    words = words.replace("/app_test", "/app").replace("/warehouse_test", "/warehouse")
    words = re.sub(
        r'could not extend file "[^"]*"( with FileFallocate\(\))?: (File too large|No space.*?)\)',
        'could not extend file "...": No space left on device)',
        words,
    )
    words = re.sub(r"it is \d{4}-\d\d-\d\d \d\d:\d\d UTC", "it is 2026-03-01 18:30 UTC", words)
    assert words.strip() in DOCUMENTED, f"docs/bad-input.md lacks:\n{words}"
    return True


STOPS = {
    "column missing": (
        "alter table apparel_purchases drop column price",
        ["SourceChanged: apparel_purchases 2026-03-01", "price", "does not exist", "then rerun"],
    ),
    "column retyped": (
        "alter table apparel_purchases alter price type text",
        ["SourceChanged: apparel_purchases 2026-03-01", "price is text, expected numeric"],
    ),
    "unknown event in most rows": (
        f"update apparel_messages set event = 'teleport' where {DAY} and client_id <= 400",
        ["CheckFailed: apparel_messages as of 2026-03-02", "event", "400 of 500 rows", "teleport"],
    ),
    "no client in most rows": (
        f"update apparel_purchases set client_id = null where {DAY} and client_id <= 400",
        ["CheckFailed: apparel_purchases as of 2026-03-02", "400 of 500 rows", "date 2026-03-01"],
    ),
    "many negative prices": (
        f"update apparel_purchases set price = -1 where {DAY} and client_id <= 20",
        ["CheckFailed: apparel_purchases as of 2026-03-02", "20 of 500", "negative price", "1, 2"],
    ),
    "many null clients": (
        f"update apparel_purchases set client_id = null where {DAY} and client_id <= 20",
        ["CheckFailed: apparel_purchases as of 2026-03-02", "20 with no client"],
    ),
    "many future dates": (
        f"update apparel_purchases set date = '2199-01-01' where {DAY} and client_id <= 20",
        ["CheckFailed: apparel_purchases as of 2026-03-02", "20 with time ahead of the clock"],
    ),
    "day empty": (
        f"delete from apparel_purchases where {DAY}",
        ["EmptyDay: apparel_purchases 2026-03-01: the source has no rows", "--allow-empty"],
    ),
    "nothing but duplicates": (
        f"delete from apparel_purchases where {DAY} and client_id > 1;"
        f"insert into apparel_purchases select apparel_purchases.* from apparel_purchases,"
        f" generate_series(2, 500) where {DAY}",
        ["CheckFailed: apparel_purchases as of 2026-03-02", "copies", "found 500"],
    ),
}


@pytest.mark.parametrize("case", STOPS)
def test_a_day_that_is_wrong_stops_by_name_and_a_rerun_after_the_repair_loads_it(
    jobs, owner, warehouse, case
):
    spoil, words = STOPS[case]
    table = words[0].split()[1]
    assert jobs(f"extract --as-of 2026-03-01 --table {table}") == Said(0, "")
    before = kept(warehouse)
    change(owner, spoil)

    said = jobs(f"{NIGHT} --table {table}")

    assert said.code == 1
    assert all(each in said.words for each in words), said.words
    assert len(said.words.splitlines()) == 1
    assert in_docs(said.words)
    assert kept(warehouse) == before
    heal(owner)
    assert jobs(f"{NIGHT} --table {table}") == Said(0, "")
    assert ask(
        warehouse, f"select event_day::text, count(*) from raw.{table} group by 1 order by 1"
    )[1] == ("2026-03-01", ROWS)


ASIDE = {
    "unknown event": ("apparel_messages", "event = 'teleport'", "event = 'click'"),
    "negative price": ("apparel_purchases", "price = -1", "price = 10"),
    "no client": ("apparel_purchases", "client_id = null", "client_id = 1"),
    "time ahead of the clock": (
        "apparel_purchases", "date = '2199-01-01'", "date = '2026-03-01'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", ASIDE)
def test_a_single_wrong_row_steps_aside_and_comes_back_when_it_is_mended(
    jobs, owner, warehouse, reason
):
    table, spoil, mend = ASIDE[reason]
    assert jobs(f"extract --as-of 2026-03-01 --table {table}") == Said(0, "")
    change(owner, f"update {table} set {spoil} where {DAY} and client_id = 1")

    said = jobs(f"{NIGHT} --table {table}")

    assert said.code == 0
    assert f"1 of 500 rows set aside: 1 with {reason}" in said.words
    assert in_docs(said.words)
    counted = f"select event_day::text, count(*) from raw.{table} where known_to = 'infinity'"
    assert ask(warehouse, f"{counted} group by 1 order by 1") == [
        ("2026-02-28", ROWS),
        ("2026-03-01", ROWS - 1),
    ]
    assert ask(warehouse, f"select reasons from quarantine.{table}") == [([reason],)]

    change(owner, FILL.format(day="2026-03-02", rows=ROWS))
    wrong = spoil.replace("= null", "is null")
    change(owner, f"update {table} set {mend} where {wrong} and message_id = 'm1'")

    assert jobs(f"extract --as-of 2026-03-03 --table {table}") == Said(0, "")
    assert ask(warehouse, f"{counted} and event_day = '2026-03-01' group by 1") == [
        ("2026-03-01", ROWS)
    ]


FEED_FILL = f"""
insert into user_data (id, age) select n, 30 from generate_series(1, {ROWS}) as n;
insert into post_text_df select n, 'text', 'tech' from generate_series(1, 50) as n;
insert into feed_data select timestamp '2026-02-28 10:00', n, 1, 'view', 0
from generate_series(1, {ROWS}) as n;
insert into feed_data select timestamp '2026-03-01 10:00', n, 1 + n % 50, 'view', 0
from generate_series(1, {ROWS}) as n;
"""
FEED_TABLES = ("user_data", "post_text_df", "feed_data")
FEED = " ".join(f"--table {table}" for table in FEED_TABLES)
FEED_DAY = "timestamp >= '2026-03-01'"
FEED_STOPS = {
    "ids unknown en masse": (
        f"update feed_data set user_id = user_id + 9000 where {FEED_DAY} and user_id <= 20",
        "CheckFailed: feed_data as of 2026-03-02: 20 of 500 rows break a rule",
    ),
    "half of the users gone": (
        "delete from user_data where id > 200",
        "CheckFailed: user_data as of 2026-03-02: table_row_count_to_be_between",
    ),
    "no users at all": (
        "delete from user_data",
        "EmptyDay: user_data 2026-03-01: the source has no rows",
    ),
    "targets of another kind": (
        "alter table feed_data alter target type text",
        "SourceChanged: feed_data 2026-03-01: a column changed its type",
    ),
}
FEED_ASIDE = {
    "unknown post": ("feed_data", f"update feed_data set post_id = 77 where {FEED_DAY}"),
    "unknown action": (
        "feed_data",
        f"update feed_data set action = 'teleport', target = null where {FEED_DAY}",
    ),
    "contradicting rows": (
        "user_data", "insert into user_data (id, age) select id, 31 from user_data where true",
    ),
}  # fmt: skip


@pytest.fixture
def feed(app, as_role) -> Engine:
    """Return the product database as its owner, with two days of the feed."""
    change(as_role("simulator"), FEED_FILL)
    return as_role("simulator")


@pytest.mark.parametrize("case", FEED_STOPS)
def test_a_night_of_the_feed_that_is_wrong_stops_by_name(jobs, feed, warehouse, case):
    spoil, words = FEED_STOPS[case]
    assert jobs(f"extract --as-of 2026-03-01 {FEED}") == Said(0, "")
    before = ask(warehouse, "select count(*), max(event_day) from raw.feed_data")
    change(feed, spoil)

    said = jobs(f"{NIGHT} {FEED}")

    assert said.code == 1
    assert said.words.startswith(words), said.words
    assert in_docs(said.words)
    assert ask(warehouse, "select count(*), max(event_day) from raw.feed_data") == before
    assert ask(warehouse, "select count(*) from raw.user_data where known_to = 'infinity'") == [
        (ROWS,)
    ]
    change(
        feed,
        "drop table user_data; drop table post_text_df; drop table feed_data;"
        "create table user_data (id bigint, age integer, city text, country text,"
        " exp_group integer, gender integer, os text, source text);"
        "create table post_text_df (id bigint, text text, topic text);"
        "create table feed_data (timestamp timestamp, user_id bigint, post_id bigint,"
        f" action text, target integer); {FEED_FILL}",
    )
    assert jobs(f"{NIGHT} {FEED}") == Said(0, "")
    assert ask(warehouse, "select count(*) from raw.feed_data") == [(2 * ROWS,)]


@pytest.mark.parametrize("reason", FEED_ASIDE)
def test_a_single_wrong_row_of_the_feed_steps_aside(jobs, feed, warehouse, reason):
    table, spoil = FEED_ASIDE[reason]
    key = "id" if table == "user_data" else "user_id"
    assert jobs(f"extract --as-of 2026-03-01 {FEED}") == Said(0, "")
    change(feed, f"{spoil} and {key} = 1")

    said = jobs(f"{NIGHT} {FEED}")

    assert said.code == 0
    assert f"with {reason} (users 1" in said.words
    assert in_docs(said.words)
    assert ask(warehouse, f"select distinct reasons from quarantine.{table}") == [([reason],)]
    assert ask(warehouse, "select age from raw.user_data where user_id = 1") == [(30,)]


def test_events_without_their_days_users_are_refused(jobs, feed, warehouse):
    said = jobs(f"{NIGHT} --table feed_data")

    assert said.code == 1
    assert in_docs(said.words)
    assert jobs(f"{NIGHT} {FEED}") == Said(0, "")


def test_a_day_that_was_truly_empty_is_loaded_by_the_command_that_the_message_names(
    jobs, owner, warehouse
):
    change(owner, f"delete from apparel_purchases where {DAY}")
    said = jobs(f"{NIGHT} --table apparel_purchases")

    named = re.search(r"python -m jobs (extract .*--allow-empty)", said.words)
    assert named
    assert jobs(named[1]) == Said(0, "")

    assert ask(warehouse, "select event_day::text, rows_read from ops.load") == [("2026-03-01", 0)]


def test_a_day_missing_in_a_range_is_named_and_none_of_the_range_is_loaded(jobs, owner, warehouse):
    change(owner, FILL.format(day="2026-03-03", rows=ROWS))
    history = "extract --from 2026-02-28 --to 2026-03-03 --table apparel_purchases"

    said = jobs(history)

    assert said.code == 1
    assert "EmptyDay: apparel_purchases 2026-03-02" in said.words
    assert in_docs(said.words)
    assert all(found == [] for found in kept(warehouse).values())
    change(owner, FILL.format(day="2026-03-02", rows=ROWS))
    assert jobs(history) == Said(0, "")
    assert ask(warehouse, "select count(*) from raw.apparel_purchases") == [(4 * ROWS,)]


def test_a_day_that_has_not_ended_is_refused(jobs, owner, warehouse):
    said = jobs("extract --as-of 2999-03-02 --table apparel_purchases")

    assert said.code == 1
    assert in_docs(said.words.replace("2999", "2026"))
    assert all(found == [] for found in kept(warehouse).values())


def test_rows_that_share_a_key_are_all_kept_and_multiply_nothing(jobs, owner, warehouse):
    change(
        owner,
        "insert into apparel_messages select 8, client_id, message_id, event, 'sms', date,"
        f" created_at from apparel_messages where {DAY} and client_id = 1",
    )

    assert jobs(f"{NIGHT} {SHOP}") == Said(0, "")

    assert ask(
        warehouse,
        "select count(*) from raw.apparel_messages where client_id = 1 and message_id = 'm1'",
    ) == [(2,)]
    assert ask(
        warehouse, "select lines, spent, tied_campaigns from feature.purchase_day where client_id=1"
    ) == [(1, 10, [7])]


def test_every_row_twice_is_every_row_once(jobs, owner, warehouse, empty_warehouse):
    assert jobs(f"{NIGHT} {SHOP}") == Said(0, "")
    once = kept(warehouse)
    empty_warehouse()
    change(owner, "insert into apparel_purchases select * from apparel_purchases")

    assert jobs(f"{NIGHT} {SHOP}") == Said(0, "")

    assert kept(warehouse)["feature.purchase_day"] == once["feature.purchase_day"]
    assert ask(
        warehouse,
        "select rows_read, rows_loaded, duplicates from ops.load"
        " where table_name = 'apparel_purchases'",
    ) == [(2 * ROWS, ROWS, ROWS)]


def test_scores_with_a_duplicate_key_are_refused_and_yesterday_serves(warehouse):
    put(warehouse, date(2026, 3, 1))
    rows = scores(20)
    logit = [math.log(p / (1 - p)) - 0.5 for p in rows["probability"].to_pylist()]
    rows = rows.set_column(6, "reason_rest", pa.array(logit, pa.float32()))
    twice = pa.concat_tables([rows, rows.slice(0, 1)])
    stage(warehouse, TABLE, date(2026, 3, 2), "0of1", SHAPE, [twice])

    with pytest.raises(CheckFailed) as raised:
        purchase_propensity.publish(warehouse, date(2026, 3, 2), "v1", 1)

    assert "client_id" in str(raised.value)
    assert in_docs(f"CheckFailed: {raised.value}")
    assert ask(
        warehouse, "select as_of::text, count(*) from bi.purchase_propensity group by 1"
    ) == [("2026-03-01", 20)]


def test_a_source_that_is_down_is_named_without_its_password(jobs, owner, warehouse, monkeypatch):
    assert jobs(f"extract --as-of 2026-03-01 {SHOP}") == Said(0, "")
    before = kept(warehouse)
    up = os.environ["AIRFLOW_CONN_APP"]
    monkeypatch.setenv("AIRFLOW_CONN_APP", "postgresql://app_reader:secret@127.0.0.1:1/app")

    said = jobs(f"{NIGHT} {SHOP}")

    assert said.code == 1
    assert "SourceUnreachable: app: the product database at 127.0.0.1:1/app" in said.words
    assert "secret" not in said.words
    assert in_docs(said.words)
    assert kept(warehouse) == before
    monkeypatch.setenv("AIRFLOW_CONN_APP", up)
    assert jobs(f"{NIGHT} {SHOP}") == Said(0, "")


def test_a_source_that_goes_away_while_it_is_read_leaves_no_half_day(
    jobs, owner, warehouse, server
):
    night = f"{NIGHT} --table apparel_purchases"
    assert jobs("extract --as-of 2026-03-01 --table apparel_purchases") == Said(0, "")
    before = kept(warehouse)

    ended = held_up(owner, lambda: jobs(night), lambda: end_readers(server))

    assert ended.code == 1
    assert "SourceUnreachable" in ended.words
    assert "went away while it was read" in ended.words
    assert in_docs(ended.words)
    assert kept(warehouse) == before
    assert jobs(night) == Said(0, "")


def held_up(owner: Engine, work: Callable[[], Said], meanwhile: Callable[[], object]) -> Said:
    """Return how ``work`` ended, a read of purchases being held up while ``meanwhile`` is done."""
    ended: list[Said] = []
    thread = threading.Thread(target=lambda: ended.append(work()))
    with owner.connect() as holder:
        holder.execute(text("lock table apparel_purchases in access exclusive mode"))
        thread.start()
        deadline = time.monotonic() + 60
        waiting = text("select count(*) from pg_locks where not granted")
        while not holder.execute(waiting).scalar_one() and time.monotonic() < deadline:
            time.sleep(0.05)
        meanwhile()
    thread.join()
    return ended[0]


def end_readers(server: Server) -> None:
    with postgres.psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_reader'"
        )


def test_of_two_runs_of_the_same_day_one_loads_and_the_other_says_so(jobs, owner, warehouse):
    second: list[subprocess.CompletedProcess[str]] = []
    command = [sys.executable, "-m", "jobs", *NIGHT.split(), "--table", "apparel_purchases"]

    def meanwhile() -> None:
        second.append(subprocess.run(command, cwd=ROOT, capture_output=True, text=True))

    first = held_up(owner, lambda: jobs(f"{NIGHT} --table apparel_purchases"), meanwhile)

    assert second[0].returncode == 1
    assert second[0].stderr.startswith("AlreadyRunning: extract apparel_purchases 2026-03-02")
    assert in_docs(second[0].stderr)
    assert first == Said(0, "")
    assert ask(warehouse, "select count(*) from raw.apparel_purchases") == [(ROWS,)]
    assert ask(warehouse, "select count(*) from ops.load") == [(1,)]
    assert jobs(f"{NIGHT} --table apparel_purchases") == Said(0, "")


# A full disk ---------------------------------------------------------------------------------

FullDisk = Callable[[int], AbstractContextManager[None]]
MEGABYTE = 1 << 20
# Postgres's own log files of 16 MB are written under the limit too.
FILE_MEGABYTES = 17


@pytest.fixture(params=["limit", "tmpfs"] if os.geteuid() == 0 else ["limit"])
def full_disk(request, server, tmp_path_factory, as_role) -> Iterator[FullDisk]:
    """Yield a function: megabytes of room left -> a context in which the warehouse has no more.

    As root it is a small disk (tmpfs) with a tablespace for new tables, filled by a file; else,
    and where mounting is not allowed, no file of the server may grow beyond 17 MB.
    """
    if os.environ.get("DATABASE_URL"):
        pytest.skip("DATABASE_URL: not our server's disk to fill")
    if request.param == "tmpfs":
        folder = tmp_path_factory.mktemp("disk")
        mounted = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0711", "tmpfs", str(folder)]
        if subprocess.run(mounted, capture_output=True).returncode == 0:
            yield from small_disk(server, folder, as_role)
            return
    yield from small_files(server)


def small_files(server: Server) -> Iterator[FullDisk]:
    """Yield the function of ``full_disk`` that limits what the server may write to a file."""
    postmaster = postgres.postmaster(postgres.home_of(server.state))

    def limit(size: str) -> None:
        # As the server's own user: root in a container may not.
        subprocess.run(
            ["prlimit", "--pid", str(postmaster), f"--fsize={size}:"],
            check=True,
            **postgres.service_user(),
        )

    @contextlib.contextmanager
    def limited(room: int) -> Iterator[None]:
        limit(str(FILE_MEGABYTES * MEGABYTE))
        try:
            yield
        finally:
            limit("unlimited")

    yield limited


def small_disk(server: Server, folder: Path, as_role) -> Iterator[FullDisk]:
    """Yield the function of ``full_disk`` for the file system mounted on ``folder``."""
    for parent in folder.parents[:3]:
        parent.chmod(0o711)
    place = folder / "tablespace"
    place.mkdir(mode=0o700)
    postgres.own(place)
    warehouse = as_role("nightshift").url.database

    @contextlib.contextmanager
    def filled(room: int) -> Iterator[None]:
        filler = folder / "filler"
        free = os.statvfs(folder)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - room * MEGABYTE)
        try:
            yield
        finally:
            filler.unlink()

    with postgres.psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(f"create tablespace small location '{place}'")
        admin.execute("grant create on tablespace small to nightshift")
        admin.execute(f"alter database {warehouse} set default_tablespace = small")
        try:
            yield filled
        finally:
            admin.execute(f"alter database {warehouse} reset default_tablespace")
            empty_tablespace(as_role)
            admin.execute("drop tablespace small")
            subprocess.run(["umount", str(folder)], check=True)


def empty_tablespace(as_role) -> None:
    """Drop the tables that were made in the small tablespace."""
    found = ask(
        as_role("nightshift"),
        "select oid::regclass from pg_class where relkind = 'r' and reltablespace ="
        " (select oid from pg_tablespace where spcname = 'small')",
    )
    change(as_role("nightshift"), ";".join(f"drop table {name}" for (name,) in found))


@pytest.mark.parametrize(
    ("command", "room"),
    [
        # A night attaches what it staged; a range copies it once more, so it fails half way.
        ("extract --as-of 2026-03-02 --table apparel_purchases", 8),
        ("extract --from 2026-03-01 --to 2026-03-01 --table apparel_purchases", 40),
    ],
)
def test_a_full_warehouse_loses_nothing_and_a_rerun_equals_a_night_with_room(
    jobs, owner, warehouse, empty_warehouse, full_disk, command, room
):
    long_rows = (
        "insert into apparel_purchases select n, 1, 10, '[]', date '2026-03-01',"
        " repeat('x', 1000) || n from generate_series(1000, 26000) as n"
    )
    change(owner, long_rows)
    yesterday = "extract --as-of 2026-03-01 --table apparel_purchases"
    assert jobs(yesterday) == jobs(command) == Said(0, "")
    never_interrupted = kept(warehouse)
    empty_warehouse()
    assert jobs(yesterday) == Said(0, "")
    before = kept(warehouse)

    with full_disk(room):
        said = jobs(command)

    assert said.code == 1
    assert "WarehouseFull: extract apparel_purchases 2026-03-02" in said.words
    assert in_docs(said.words)
    assert kept(warehouse) == before
    assert jobs(command) == Said(0, "")
    assert kept(warehouse) == never_interrupted


def test_publishing_on_a_full_disk_leaves_yesterday_serving(warehouse, full_disk):
    yesterday, today = date(2026, 3, 1), date(2026, 3, 2)
    served = "select as_of::text, count(*), sum(probability)::real from bi.purchase_propensity"
    put(warehouse, yesterday)
    before = ask(warehouse, f"{served} group by 1")
    staged = stage(warehouse, TABLE, today, "0of1", SHAPE, [scores(150_000)])

    with full_disk(4), pytest.raises(WarehouseFull) as raised:
        publish(warehouse, TABLE, today, [staged], SELECT, "v1")

    assert in_docs(f"WarehouseFull: {raised.value}")
    assert ask(warehouse, f"{served} group by 1") == before
    assert ask(warehouse, "select count(*) from ops.publication") == [(1,)]
    interrupted = publish(warehouse, TABLE, today, [staged], SELECT, "v1")
    assert ask(warehouse, f"{served} group by 1")[0][:2] == ("2026-03-02", 150_000)
    staged = stage(warehouse, TABLE, today, "0of1", SHAPE, [scores(150_000)])
    assert publish(warehouse, TABLE, today, [staged], SELECT, "v1").checksum == interrupted.checksum


def test_scoring_without_room_or_without_a_warehouse_is_named(warehouse, full_disk, monkeypatch):
    monkeypatch.setattr(champion, "load_model", lambda *_: None)
    monkeypatch.setattr(champion, "calibration", lambda *_: None)
    monkeypatch.setattr(night, "read_blocks", lambda *_, **__: [scores(150_000)])
    job = replace(
        purchase_propensity.DECLARED, load=lambda _: None, explain=lambda _, block, __: block
    )
    day = date(2026, 3, 2)

    with full_disk(4), pytest.raises(WarehouseFull) as full:
        night.score(job, warehouse, day, "v1", 0, 1)
    gone = engine("postgresql://nightshift:secret@127.0.0.1:1/warehouse")
    with pytest.raises(WarehouseUnreachable, match="score purchase_propensity 2026-03-02"):
        night.score(job, gone, day, "v1", 0, 1)

    assert in_docs(f"WarehouseFull: {full.value}")
    assert ask(warehouse, "select to_regclass('staging.purchase_propensity_20260302_0of1')") == [
        (None,)
    ]
    assert night.score(job, warehouse, day, "v1", 0, 1) == 150_000


# The command line ----------------------------------------------------------------------------


def typed(words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    unreachable = "postgresql://nightshift:secret@127.0.0.1:1/warehouse"
    return subprocess.run(
        [sys.executable, "-m", "jobs", *words.split()],
        cwd=ROOT,
        env={**os.environ, "AIRFLOW_CONN_WAREHOUSE": unreachable, **environment},
        capture_output=True,
        text=True,
    )


def test_an_error_is_one_line_and_its_origin_is_shown_when_asked_for():
    plain = typed(NIGHT, AIRFLOW_CONN_APP="postgresql://a:b@127.0.0.1:1/app")
    debug = typed(f"--debug {NIGHT}", AIRFLOW_CONN_APP="postgresql://a:b@127.0.0.1:1/app")

    assert plain.returncode == debug.returncode == 1
    assert plain.stderr.startswith("WarehouseUnreachable: extract apparel_messages 2026-03-02")
    assert len(plain.stderr.splitlines()) == 1
    assert in_docs(plain.stderr)
    assert "Traceback" in debug.stderr
    assert "secret" not in plain.stderr + debug.stderr


PROMOTE = "promote purchase_propensity"
ROLLBACK = "rollback purchase_propensity --from 2026-03-02 --reason bad"
REFUSED = {
    f"{PROMOTE} nonsense --from 2026-03-02 --reason better": "UnknownVersion: ops.model_version",
    ROLLBACK: "NothingToRollBackTo: purchase_propensity: no version to roll back to",
    "run purchase_propensity --as-of 2026-03-02": "NotLoaded: purchase_propensity 2026-03-02: raw.",
    "readout --as-of 2026-03-02": "NotLoaded: experiment_readout 2026-03-02: raw.feed_data 2026-03",
    "visualize purchase_propensity --as-of 2026-03-02 --out drawn": "NoLiveVersion: purchase_prop",
}


@pytest.mark.parametrize("command", REFUSED)
def test_a_command_that_cannot_be_done_says_why_in_one_line(warehouse, tmp_path, command):
    command = command.replace("drawn", str(tmp_path / "drawn"))

    said = typed(command, AIRFLOW_CONN_WAREHOUSE=adbc_uri(warehouse))

    assert said.returncode == 1
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert said.stderr.startswith(REFUSED[command.replace(str(tmp_path / "drawn"), "drawn")])
    assert in_docs(said.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["feed_recommendation", "feed_recommendation.tset"])
def test_a_model_that_is_none_is_refused_with_the_names_of_those_there_are(warehouse, model):
    with warehouse.begin() as connection:
        for arm in ("control", "test"):
            connection.execute(
                text(
                    "insert into ops.model_version (model_version, job, as_of, kind, name)"
                    " values (:version, :job, '2026-03-02', 'model', 'catboost')"
                ),
                {"version": f"{arm}-1", "job": f"feed_recommendation.{arm}"},
            )

    said = typed(
        f"rollback {model} --from 2026-03-02 --reason bad",
        AIRFLOW_CONN_WAREHOUSE=adbc_uri(warehouse),
    )

    assert said.returncode == 2
    words = " ".join(re.sub(r"[^\w.,:-]", " ", said.stderr).split())
    assert f"no model {model} there are: " in words.replace(";", "")
    assert "feed_recommendation.control, feed_recommendation.test" in words


@pytest.mark.parametrize("line", [" 00002 19970112  1", " 00002 19970112  0  12.00"])
def test_a_broken_line_of_a_file_is_named_and_nothing_is_loaded(
    app, as_role, warehouse, tmp_path, line
):
    (tmp_path / "CDNOW_master.txt").write_text(f" 00001 19970101  2   23.54\n{line}\n")
    owner = as_role("simulator")

    said = typed(
        f"load {tmp_path}",
        NIGHTSHIFT_SIMULATOR_URL=adbc_uri(owner),
        AIRFLOW_CONN_APP=adbc_uri(app),
        AIRFLOW_CONN_WAREHOUSE=adbc_uri(warehouse),
    )

    assert said.returncode == 1
    assert len(said.stderr.splitlines()) == 1, said.stderr
    assert said.stderr.startswith(f"NotLoadable: {tmp_path}/CDNOW_master.txt line 2: ")
    assert in_docs(said.stderr.replace(str(tmp_path), "cdnow"))
    assert ask(owner, "select count(*) from apparel_purchases") == [(0,)]


def test_a_command_that_only_looks_says_that_postgres_is_down():
    looked = typed("status")

    assert looked.returncode == 1
    assert looked.stderr.startswith("Postgres: connection failed")
    assert len(looked.stderr.splitlines()) == 1


def test_wrong_usage_ends_with_2():
    assert typed("extract").returncode == 2
    assert typed("run no_such_job --as-of 2026-03-02").returncode == 2


def test_a_programming_error_keeps_its_traceback(capsys):
    for error in (KeyError("x"), ValueError("x"), AssertionError("x")):
        command_line.in_one_line(type(error), error, None)
        assert type(error).__name__ in capsys.readouterr().err
