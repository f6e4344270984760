"""Publishing: a day appears whole or not at all, whoever reads and whatever is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import date, timedelta

import adbc_driver_manager
import numpy as np
import psycopg
import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from jobs.publish import (
    NothingToPublish,
    StagedRowsLost,
    already_published,
    publish,
    stage,
)
from jobs.settings import ROOT
from jobs.warehouse import AlreadyRunning, engine, only_run

DAY = date(2026, 3, 1)
TABLE = "result.purchase_propensity"
SELECT = "purchase_propensity/publish.sql"
SHAPE = (
    "client_id bigint, probability real, expected_spend_90d real, reason_features text[],"
    " reason_values real[], reason_contributions real[], reason_rest real"
)


def scores(clients: int, seed: int = 1) -> pa.Table:
    generator = np.random.default_rng(seed)
    numbers = generator.uniform(0.01, 0.9, clients).astype("float32")
    return pa.table(
        {
            "client_id": pa.array(np.arange(1, clients + 1)),
            "probability": pa.array(numbers),
            "expected_spend_90d": pa.array(numbers * 10),
            "reason_features": pa.array([["recency"]] * clients, pa.list_(pa.string())),
            "reason_values": pa.array([[1.0]] * clients, pa.list_(pa.float32())),
            "reason_contributions": pa.array([[0.5]] * clients, pa.list_(pa.float32())),
            "reason_rest": pa.array(numbers),
        }
    )


def put(warehouse: Engine, day: date = DAY, clients: int = 20, seed: int = 1, version: str = "v1"):
    staged = stage(warehouse, TABLE, day, "0of1", SHAPE, [scores(clients, seed)])
    return publish(warehouse, TABLE, day, [staged], SELECT, version)


def read(handle: Engine, statement: str, **values: object) -> list[tuple]:
    with handle.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def test_a_published_day_is_read_through_bi_alone(warehouse, as_role):
    put(warehouse, clients=20)

    analyst = as_role("bi_reader")

    assert read(analyst, "select count(*), count(distinct decile) from bi.purchase_propensity") == [
        (20, 10)
    ]
    assert read(
        analyst,
        "select reasons from bi.purchase_propensity where client_id = 1",
    ) == [([{"feature": "recency", "value": 1, "contribution": 0.5}],)]
    for forbidden in (
        "select 1 from raw.apparel_purchases",
        "select 1 from result.purchase_propensity",
        "select 1 from ops.publication",
        "delete from bi.purchase_propensity",
        "create table bi.mine (x int)",
        "create table public.mine (x int)",
    ):
        with pytest.raises(Exception, match="permission denied"):
            read(analyst, f"set transaction read write; {forbidden}")


def test_a_reader_has_limits(warehouse, as_role):
    analyst = as_role("bi_reader")

    with pytest.raises(Exception, match="read-only transaction"):
        read(analyst, "create table bi.mine (x int)")
    assert read(
        analyst,
        "select current_setting('statement_timeout'), rolconnlimit from pg_roles"
        " where rolname = current_user",
    ) == [("15min", 60)]


def test_deciles_break_ties_by_client(warehouse):
    tied = scores(20).set_column(1, "probability", pa.array(np.full(20, 0.5, dtype="float32")))
    staged = stage(warehouse, TABLE, DAY, "0of1", SHAPE, [tied])

    publish(warehouse, TABLE, DAY, [staged], SELECT, "v1")

    assert [
        decile
        for (decile,) in read(
            warehouse, "select decile from result.purchase_propensity order by client_id"
        )
    ] == [n // 2 + 1 for n in range(20)]


def test_shards_together_make_the_same_day_as_one(warehouse):
    whole = put(warehouse, clients=100)
    rows = scores(100)
    parts = [
        stage(warehouse, TABLE, DAY + timedelta(days=1), f"{n}of4", SHAPE, [rows.slice(n * 25, 25)])
        for n in range(4)
    ]
    publish(warehouse, TABLE, DAY + timedelta(days=1), parts, SELECT, "v1")

    same = (
        "select count(*) from result.purchase_propensity a join result.purchase_propensity b"
        " using (client_id, probability, decile, reason_rest) where a.as_of < b.as_of"
    )
    assert read(warehouse, same) == [(100,)]
    assert whole.rows == 100


def test_equal_rows_are_not_written_again(warehouse):
    first = put(warehouse)

    second = put(warehouse)

    assert first.written
    assert not second.written
    assert second.checksum == first.checksum
    assert read(
        warehouse, "select count(*), bool_and(read_at > published_at) from ops.publication"
    ) == [(1, True)]


def test_a_load_while_a_day_is_scored_asks_for_another_run_of_it(warehouse, given):
    staged = stage(warehouse, TABLE, DAY, "0of1", SHAPE, [scores(20)])
    for days, loaded in ((1, 2), (2, 3)):
        given(
            "ops.load", table_name="apparel_purchases", event_day=DAY - timedelta(days=days),
            as_of=DAY, mode="reload", rows_read=loaded, rows_loaded=loaded, duplicates=0,
            quarantined=0, checksum=1,
        )  # fmt: skip
    to_rescore = "select changed_rows, to_rescore from bi.stale_days"

    publish(warehouse, TABLE, DAY, [staged], SELECT, "v1")
    assert read(warehouse, to_rescore) == [(5, True)]

    assert not put(warehouse).written
    assert read(warehouse, to_rescore) == []


def test_any_change_of_a_row_changes_the_checksum(warehouse):
    assert put(warehouse, seed=1).checksum != put(warehouse, seed=2).checksum
    assert read(warehouse, "select replaced from ops.publication order by publication_id") == [
        (False,),
        (True,),
    ]


def test_an_empty_day_is_refused_and_the_old_one_stays(warehouse):
    put(warehouse)

    with pytest.raises(NothingToPublish, match=r"result.purchase_propensity 2026-03-01: 0 rows"):
        put(warehouse, clients=0)

    assert read(warehouse, "select count(*) from bi.purchase_propensity") == [(20,)]


def test_rows_that_another_version_staged_meanwhile_are_not_published(warehouse):
    put(warehouse, DAY)
    day = DAY + timedelta(days=1)
    part = stage(warehouse, TABLE, day, "0of1", SHAPE, [scores(20)], model_version="v2")

    with pytest.raises(StagedRowsLost, match=r"_0of1 was scored by v2 meanwhile, not by v1"):
        publish(warehouse, TABLE, day, [part], SELECT, "v1")

    assert publish(warehouse, TABLE, day, [part], SELECT, "v2").rows == 20


def test_a_staged_part_that_a_crash_emptied_is_never_published_as_a_smaller_day(warehouse):
    put(warehouse, DAY)
    day = DAY + timedelta(days=1)
    parts = [
        stage(warehouse, TABLE, day, f"{n}of2", SHAPE, [scores(20).slice(n * 10, 10)])
        for n in range(2)
    ]
    with warehouse.begin() as connection:
        # What recovery does to a table that is not in the write-ahead log.
        connection.execute(text(f"truncate staging.{parts[1]}"))

    with pytest.raises(StagedRowsLost, match=r"2026-03-02: .*_1of2 has 0 rows, 10 were staged"):
        publish(warehouse, TABLE, day, parts, SELECT, "v1")

    assert read(warehouse, "select as_of, count(*) from bi.purchase_propensity group by 1") == [
        (DAY, 20)
    ]


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_no_part_is_staged_if_a_block_can_not_be_written(warehouse, broken):
    blocks = [scores(20), scores(20), scores(20)]
    text_for_a_number = pa.array(["x"] * 20)
    blocks[broken] = blocks[broken].set_column(0, "client_id", text_for_a_number)

    with pytest.raises(adbc_driver_manager.Error):
        stage(warehouse, TABLE, DAY, "0of1", SHAPE, blocks)

    assert read(warehouse, "select to_regclass('staging.purchase_propensity_20260301_0of1')") == [
        (None,)
    ]


def test_a_publish_that_died_after_its_commit_is_done_when_tried_again(warehouse):
    put(warehouse, DAY)
    parts = ["purchase_propensity_20260301_0of1"]

    done = already_published(warehouse, TABLE, DAY, parts, "v1")

    assert done is not None
    assert (done.rows, done.written) == (20, False)
    stage(warehouse, TABLE, DAY, "1of2", SHAPE, [scores(20)])
    halves = [parts[0].replace("0of1", half) for half in ("0of2", "1of2")]
    with pytest.raises(StagedRowsLost, match=r"_0of2 is not there. Score the day first"):
        already_published(warehouse, TABLE, DAY, halves, "v1")
    with pytest.raises(StagedRowsLost, match=r"_0of1 is not there. Score the day first"):
        already_published(warehouse, TABLE, DAY, parts, "v2")
    with pytest.raises(StagedRowsLost, match="Score the day first"):
        already_published(warehouse, TABLE, DAY + timedelta(days=1), parts, "v1")
    stage(warehouse, TABLE, DAY, "0of1", SHAPE, [scores(20)])
    assert already_published(warehouse, TABLE, DAY, [parts[0]], "v1") is None


def test_nonsense_is_refused_by_the_table_itself(warehouse):
    bad = scores(3).set_column(1, "probability", pa.array(np.array([0.5, 1.5, 0.1], "float32")))
    staged = stage(warehouse, TABLE, DAY, "0of1", SHAPE, [bad])

    with pytest.raises(psycopg.errors.CheckViolation, match="probability"):
        publish(warehouse, TABLE, DAY, [staged], SELECT, "v1")

    assert read(warehouse, "select count(*) from result.purchase_propensity") == [(0,)]


def test_duplicate_keys_are_refused(warehouse):
    twice = pa.concat_tables([scores(3), scores(3)])
    staged = stage(warehouse, TABLE, DAY, "0of1", SHAPE, [twice])

    with pytest.raises(psycopg.errors.UniqueViolation):
        publish(warehouse, TABLE, DAY, [staged], SELECT, "v1")


def test_a_day_attached_but_not_announced_is_invisible_and_the_retry_replaces_it(
    warehouse, monkeypatch
):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("jobs.publish._wait_for_planners", die)
    with pytest.raises(KeyboardInterrupt):
        put(warehouse, clients=20)
    monkeypatch.undo()
    invisible = read(warehouse, "select count(*) from bi.purchase_propensity_history")

    put(warehouse, clients=30)

    assert invisible == [(0,)]
    assert read(warehouse, "select count(*) from bi.purchase_propensity") == [(30,)]


def test_two_publishers_of_one_day_cannot_race(warehouse):
    staged = stage(warehouse, TABLE, DAY, "0of1", SHAPE, [scores(5)])

    with (
        only_run(warehouse, f"publish {TABLE}", DAY),
        pytest.raises(AlreadyRunning, match=r"publish result\.purchase_propensity 2026-03-01"),
    ):
        publish(warehouse, TABLE, DAY, [staged], SELECT, "v1")


CLIENTS = 3_000


def watch(url: str, isolation: str, stop, found) -> None:
    """Read the newest day as fast as possible; put every impossible answer into ``found``."""
    reads = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.is_set():
            with connection.transaction():
                connection.execute(f"set transaction isolation level {isolation}")
                rows = connection.execute(
                    "select count(*), count(distinct client_id), count(distinct model_version),"
                    " min(as_of), max(as_of) from bi.purchase_propensity"
                ).fetchone()
            reads += 1
            if rows[:3] != (CLIENTS, CLIENTS, 1) or rows[3] != rows[4]:
                found.put(("wrong", isolation, str(rows)))
    found.put(("reads", isolation, reads))


def test_readers_never_see_a_partial_missing_or_doubled_day_while_publishers_are_killed(
    warehouse, as_role
):
    """Kill -9 at ten moments spread over a publish; readers at both isolation levels watch."""
    put(warehouse, DAY, CLIENTS, version="v0")
    reader = as_role("bi_reader").url.set(drivername="postgresql").render_as_string(False)
    context = multiprocessing.get_context("spawn")
    stop, found = context.Event(), context.Queue()
    readers = [
        context.Process(target=watch, args=(reader, isolation, stop, found))
        for isolation in ("read committed", "repeatable read")
    ]
    for process in readers:
        process.start()
    publisher = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
        from datetime import date
        from jobs.warehouse import engine
        import test_publish
        print("ready", flush=True)
        handle = engine(sys.stdin.readline().strip())
        for day, version in ((date(2026, 3, 1), sys.argv[1]), (date(2026, 3, int(sys.argv[2])),
                             sys.argv[1])):
            test_publish.put(handle, day, {CLIENTS}, int(sys.argv[2]), version)
        print("done", flush=True)
        """
    )
    url = warehouse.url.render_as_string(hide_password=False)
    generator = np.random.default_rng(5)
    killed = 0
    for attempt in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", publisher, f"v{attempt + 1}", str(attempt + 2)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "ready\n"
        process.stdin.write(url + "\n")
        process.stdin.flush()
        time.sleep(float(generator.uniform(0.05, 0.6)))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        if attempt % 3 == 2:  # some retries come at once, some never
            deadline = time.monotonic() + 10
            while True:
                try:
                    put(warehouse, DAY + timedelta(days=attempt), CLIENTS, version=f"w{attempt}")
                    break
                except AlreadyRunning:  # the killed session's lock goes when Postgres notices
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
    stop.set()
    answers = [found.get(timeout=60) for _ in readers]
    while not found.empty():
        answers.append(found.get())
    for process in readers:
        process.join(timeout=60)
    put(warehouse, DAY + timedelta(days=11), CLIENTS, version="last")

    assert killed >= 5
    assert [each for each in answers if each[0] == "wrong"] == []
    assert all(reads > 20 for kind, _, reads in answers if kind == "reads")
    assert read(warehouse, "select count(*), min(model_version) from bi.purchase_propensity") == [
        (CLIENTS, "last")
    ]
    assert (
        read(
            warehouse,
            "select as_of from bi.purchase_propensity_history group by as_of having count(*) <> :n",
            n=CLIENTS,
        )
        == []
    )


def test_a_long_reader_neither_blocks_publishing_nor_loses_its_day(warehouse, as_role):
    put(warehouse, DAY, version="v1")
    with as_role("bi_reader").connect() as connection:
        connection.execute(text("set transaction isolation level repeatable read"))
        counted = text("select count(*), min(model_version) from bi.purchase_propensity")
        before = connection.execute(counted).one()

        put(warehouse, DAY, clients=50, version="v2")
        put(warehouse, DAY + timedelta(days=1), clients=60, version="v2")

        assert connection.execute(counted).one() == before == (20, "v1")
    assert read(warehouse, "select count(*) from bi.purchase_propensity") == [(60,)]


def test_thirty_readers_over_730_published_days(warehouse, as_role):
    """Days are made by SQL here: what is tested is reading, and the locks that it takes."""
    with warehouse.begin() as connection:
        for n in range(730):
            day = DAY - timedelta(days=n)
            connection.execute(
                text(
                    f"create table result.purchase_propensity_{day:%Y%m%d} partition of {TABLE}"
                    f" for values from ('{day}') to ('{day + timedelta(days=1)}')"
                )
            )
        connection.execute(
            text(
                "insert into result.purchase_propensity select day, client, 0.5, 1, null, '{a}',"
                " '{1}', '{1}', 0, 'v' from generate_series(date '2026-03-01' - 729,"
                " date '2026-03-01', interval '1 day') as day, generate_series(1, 3) as client"
            )
        )
        connection.execute(
            text(
                "insert into ops.publication (table_name, as_of, model_version, rows, checksum,"
                " replaced) select 'result.purchase_propensity', day, 'v', 3, 'x', false from"
                " generate_series(date '2026-03-01' - 729, date '2026-03-01', interval '1 day')"
                " as day"
            )
        )
    url = as_role("bi_reader").url.set(drivername="postgresql").render_as_string(False)
    barrier, answers, errors = threading.Barrier(30), [], []

    def reader() -> None:
        try:
            with psycopg.connect(url) as connection:
                for _ in range(3):
                    barrier.wait(60)
                    newest = connection.execute(
                        "select count(*), max(as_of) from bi.purchase_propensity"
                    ).fetchone()
                    every = connection.execute(
                        "select count(distinct as_of) from bi.purchase_propensity_history"
                    ).fetchone()
                    answers.append((newest, every))
                    connection.execute("select 1")  # the transaction, and its locks, stay open
                    barrier.wait(60)
        except (psycopg.Error, threading.BrokenBarrierError) as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=reader) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    assert errors == []
    assert set(answers) == {((3, DAY), (730,))}
    assert len(answers) == 90


def test_the_lock_of_a_killed_process_goes_with_it(warehouse):
    url = warehouse.url.render_as_string(hide_password=False)
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from datetime import date\nfrom jobs.warehouse import engine, only_run\nimport time\n"
        "with only_run(engine(sys.stdin.readline().strip()), 'job', date(2026, 3, 1)):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.stdin.write(url + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "held\n"
    with pytest.raises(AlreadyRunning), only_run(engine(url), "job", DAY):
        pass

    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    deadline = time.monotonic() + 10
    while True:
        try:
            with only_run(engine(url), "job", DAY):
                return
        except AlreadyRunning:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_run_right_after_another_of_the_same_day_is_not_refused(warehouse):
    for _ in range(200):
        with only_run(warehouse, "job", DAY):
            pass
