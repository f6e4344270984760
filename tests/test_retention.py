"""Retention: months take the place of their days, and no reader notices."""

import contextlib
import json
import multiprocessing
import threading
import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pytest
from sqlalchemy import Engine, text
from test_publish import TABLE, put, read
from typer.testing import CliRunner

from jobs import publish, retention, settings
from jobs.__main__ import app
from jobs.extract import job
from jobs.forget import forget
from jobs.retention import PutOff, PutOffTooLong, RawStillNeeded, due_months, merge, retain
from jobs.warehouse import AlreadyRunning, engine, sql_file

AS_OF = date(2026, 6, 15)
DUE = date(2026, 5, 2)  # January's first night
JANUARY = [date(2026, 1, day) for day in range(1, 32)]
EVERY_DAY = (
    "select as_of, count(*), count(distinct client_id), min(model_version)"
    " from bi.purchase_propensity_history group by as_of order by as_of"
)
DAYS = "select client_id, event_day, known_from, lines from feature.purchase_day order by client_id"
CHECKSUMS = (
    "select as_of, sum(hash_record_extended(scored, 0)::numeric)"
    " from result.purchase_propensity as scored group by as_of order by as_of"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let retention give up soon: what it waits for here comes at once or never."""
    monkeypatch.setattr(retention, "SNAPSHOT_SECONDS", 0.3)
    monkeypatch.setattr(retention, "LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.05)


@pytest.fixture
def january(warehouse) -> Engine:
    """Return the warehouse with three days of January published, 5 rows each."""
    for day in (1, 15, 31):
        put(warehouse, date(2026, 1, day), clients=5)
    return warehouse


def days_of(handle: Engine) -> list[tuple[str, str, str]]:
    """Return name, first and end day of each partition of the scores."""
    with handle.connect() as connection:
        return [
            (one["name"].removeprefix("purchase_propensity_"), one["first_day"], one["end_day"])
            for one in publish.partitions(connection, TABLE)
        ]


MERGED = [("202601", date(2026, 1, 1), date(2026, 2, 1))]
LINE = "result.purchase_propensity 2026-01"


def test_a_month_whose_days_are_all_older_than_90_days_is_merged_and_no_other(warehouse):
    for day in (date(2025, 12, 31), date(2026, 1, 1), date(2026, 1, 31), date(2026, 2, 1)):
        put(warehouse, day, clients=5)
    before = read(warehouse, EVERY_DAY), read(warehouse, CHECKSUMS)

    early = retain(warehouse, date(2026, 5, 1), None)
    done = retain(warehouse, date(2026, 5, 2), None)

    assert list(early) == ["result.purchase_propensity 2025-12"]
    assert done == {LINE: "merged, 2 days, 10 rows"}
    assert days_of(warehouse) == [
        ("202512", date(2025, 12, 1), date(2026, 1, 1)),
        *MERGED,
        ("20260201", date(2026, 2, 1), date(2026, 2, 2)),
    ]
    assert (read(warehouse, EVERY_DAY), read(warehouse, CHECKSUMS)) == before
    assert retain(warehouse, date(2026, 5, 2), None) == {}


def test_a_month_keeps_key_checks_and_statistics_and_leaves_no_copy(january):
    retain(january, AS_OF, None)

    assert read(
        january,
        "select contype, count(*) from pg_constraint"
        " where conrelid = cast('result.purchase_propensity_202601' as regclass)"
        " and contype in ('p', 'c') group by contype order by contype",
    ) == [("c", 6), ("p", 1)]
    assert read(
        january,
        "select reltuples from pg_class where relname = 'purchase_propensity_202601'",
    ) == [(15,)]
    assert read(january, "select count(*) from pg_tables where schemaname = 'staging'") == [(0,)]


def test_a_day_in_a_month_is_published_again_as_any_other(january):
    retain(january, AS_OF, None)

    same = put(january, date(2026, 1, 15), clients=5)
    other = put(january, date(2026, 1, 15), clients=7, version="v2")

    assert (same.written, other.written) == (False, True)
    assert read(january, EVERY_DAY) == [
        (date(2026, 1, 1), 5, 5, "v1"),
        (date(2026, 1, 15), 7, 7, "v2"),
        (date(2026, 1, 31), 5, 5, "v1"),
    ]
    assert days_of(january) == MERGED


def test_a_day_never_published_is_published_into_its_month(january):
    retain(january, AS_OF, None)

    new = put(january, date(2026, 1, 2), clients=6)

    assert new.written
    assert read(january, EVERY_DAY)[1] == (date(2026, 1, 2), 6, 6, "v1")
    assert read(january, "select replaced from ops.publication") == [(False,)] * 4
    assert days_of(january) == MERGED


def test_days_published_late_are_merged_the_next_night(warehouse):
    put(warehouse, date(2024, 2, 29), clients=5)

    assert retain(warehouse, AS_OF, None) == {
        "result.purchase_propensity 2024-02": "merged, 1 days, 5 rows"
    }
    assert days_of(warehouse) == [("202402", date(2024, 2, 1), date(2024, 3, 1))]


def test_a_day_attached_but_not_announced_stays_invisible_and_can_be_published(
    january, monkeypatch
):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("jobs.publish._wait_for_planners", die)
    with pytest.raises(KeyboardInterrupt):
        put(january, date(2026, 1, 2), clients=6)
    monkeypatch.undo()

    retain(january, AS_OF, None)
    hidden = len(read(january, EVERY_DAY))
    put(january, date(2026, 1, 2), clients=7)

    assert hidden == 3
    assert read(january, EVERY_DAY)[1] == (date(2026, 1, 2), 7, 7, "v1")


def test_a_month_merged_between_attaching_a_day_and_announcing_it_holds_the_day(
    january, monkeypatch
):
    done = {}
    monkeypatch.setattr(
        "jobs.publish._wait_for_planners", lambda *_: done.update(retain(january, DUE, None))
    )

    put(january, date(2026, 1, 2), clients=6)

    assert done == {LINE: "merged, 4 days, 21 rows"}
    assert read(january, EVERY_DAY)[1] == (date(2026, 1, 2), 6, 6, "v1")


def test_a_day_attached_while_the_month_is_copied_puts_the_merge_off(january, monkeypatch):
    real = retention._outlive_older_snapshots

    def publish_first(*values):
        put(january, date(2026, 1, 2), clients=6)
        real(*values)

    monkeypatch.setattr(retention, "_outlive_older_snapshots", publish_first)

    assert retain(january, DUE, None)[LINE].startswith("put off: days of the month were publ")
    assert [name for name, *_ in days_of(january)] == [
        "20260101", "20260102", "20260115", "20260131",
    ]  # fmt: skip
    assert read(january, "select count(*) from pg_tables where schemaname = 'staging'") == [(0,)]
    assert len(read(january, EVERY_DAY)) == 4


def test_a_person_is_forgotten_in_months_too(january):
    retain(january, AS_OF, None)

    deleted = forget(january, "client", 3)

    assert deleted == {"result.purchase_propensity": 3}
    assert [row[1] for row in read(january, EVERY_DAY)] == [4, 4, 4]


def test_a_snapshot_older_than_the_copy_puts_the_merge_off_and_sees_every_day(january, as_role):
    before = read(january, EVERY_DAY)
    with as_role("bi_reader").connect() as connection:
        connection.execute(text("set transaction isolation level repeatable read"))
        connection.execute(text("select 1"))  # takes the snapshot, and no lock on any table

        put_off = retain(january, DUE, None)
        seen = [tuple(row) for row in connection.execute(text(EVERY_DAY))]
    done = retain(january, DUE, None)

    assert put_off[LINE].startswith("put off: 1 transactions that began before the copy")
    assert seen == before
    assert done == {LINE: "merged, 3 days, 15 rows"}


def test_a_snapshot_younger_than_the_copy_sees_every_day_before_and_after_the_change(
    january, as_role, monkeypatch
):
    before = read(january, EVERY_DAY)
    real = retention._outlive_older_snapshots
    with as_role("bi_reader").connect() as connection:

        def snapshot_first(*values):
            connection.execute(text("set transaction isolation level repeatable read"))
            connection.execute(text("select 1"))
            real(*values)

        monkeypatch.setattr(retention, "_outlive_older_snapshots", snapshot_first)
        done = retain(january, DUE, None)
        seen = [tuple(row) for row in connection.execute(text(EVERY_DAY))]

    assert done == {LINE: "merged, 3 days, 15 rows"}
    assert seen == before


def test_an_open_reader_of_the_table_puts_the_merge_off_unharmed(january, as_role):
    with as_role("bi_reader").connect() as connection:
        before = connection.execute(text(EVERY_DAY)).all()

        put_off = retain(january, DUE, None)

        assert connection.execute(text(EVERY_DAY)).all() == before
    assert put_off == {LINE: "put off: result.purchase_propensity was in use"}
    assert retain(january, DUE, None) == {LINE: "merged, 3 days, 15 rows"}


def test_a_month_put_off_for_more_than_a_week_fails_the_night(january, as_role):
    with as_role("bi_reader").connect() as connection:
        connection.execute(text(EVERY_DAY)).all()

        week = retain(january, DUE + timedelta(days=7), None)
        put(january, date(2025, 12, 31), clients=5)
        with pytest.raises(PutOffTooLong) as raised:
            retain(january, DUE + timedelta(days=8), None)

    assert week == {LINE: "put off: result.purchase_propensity was in use"}
    assert str(raised.value).startswith(
        "retention as of 2026-05-10: put off for more than 7 nights: result.purchase_propensity"
        " 2025-12, due since 2026-04-01 (result.purchase_propensity was in use);"
        f" {LINE}, due since 2026-05-02 (result.purchase_propensity was in use). Nothing is lost"
    )
    assert list(retain(january, DUE + timedelta(days=8), None).values()) == [
        "merged, 1 days, 5 rows",
        "merged, 3 days, 15 rows",
    ]


@pytest.mark.parametrize("write", ["publish", "forget"])
def test_a_writer_does_not_wait_for_a_merge_that_waits(january, as_role, monkeypatch, write):
    monkeypatch.setattr(retention, "SNAPSHOT_SECONDS", 30)
    done, errors = {}, []

    def run() -> None:
        try:
            done.update(retain(january, DUE, None))
        except Exception as error:
            errors.append(error)

    with as_role("bi_reader").connect() as connection:
        connection.execute(text("set transaction isolation level repeatable read"))
        connection.execute(text("select 1"))
        merging = threading.Thread(target=run)
        merging.start()
        copied = "select to_regclass('staging.purchase_propensity_202601_month') is not null"
        while read(january, copied) == [(False,)]:
            time.sleep(0.01)
        begun = time.monotonic()

        if write == "publish":
            put(january, date(2026, 1, 15), clients=7, version="v2")
        else:
            forget(january, "client", 3)

        took = time.monotonic() - begun
        merging.join(30)

    assert errors == []
    assert done == {LINE: "put off: a day of the month was about to be written"}
    assert took < 5
    assert read(january, "select count(*) from pg_tables where schemaname = 'staging'") == [(0,)]
    assert [row[1] for row in read(january, EVERY_DAY)] == (
        [5, 7, 5] if write == "publish" else [4, 4, 4]
    )


def test_the_command_says_what_became_of_each_month(january, monkeypatch):
    url = january.url.render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", url)
    monkeypatch.delenv("NIGHTSHIFT_RAW_DAYS", raising=False)

    said = [CliRunner().invoke(app, ["retain", "--as-of", str(AS_OF)]).output for _ in range(2)]

    assert said == [f"{LINE}: merged, 3 days, 15 rows\n", "nothing is due\n"]


def test_two_merges_of_one_month_cannot_race(january, monkeypatch):
    (month,) = due_months(january, DUE)
    raced = []

    def second(*_):
        with pytest.raises(AlreadyRunning, match=r"retain result\.purchase_propensity 2026-01-01"):
            merge(january, month)
        raced.append(True)
        raise PutOff("seen")

    monkeypatch.setattr(retention, "_outlive_older_snapshots", second)

    assert retain(january, DUE, None) == {LINE: "put off: seen"}
    assert raced == [True]


@pytest.fixture
def loaded(warehouse):
    """Return a function that loads days of a table under raw, one row each."""

    def load(table: str, first: date, last: date) -> None:
        with warehouse.begin() as connection:
            for offset in range((last - first).days + 1):
                day = first + timedelta(days=offset)
                connection.execute(
                    text(
                        f"create table raw.{table}_{day:%Y%m%d} partition of raw.{table}"
                        f" for values from ('{day}') to ('{day + timedelta(days=1)}')"
                    )
                )
            for statement in (
                f"insert into raw.{table} (client_id, copies, event_day, known_from)"
                " select 1, 1, day, day + 1 from days",
                "insert into ops.load (table_name, event_day, as_of, mode, rows_read, rows_loaded,"
                f" duplicates, quarantined, checksum) select '{table}', day, day + 1, 'nightly', 1,"
                " 1, 0, 0, 1 from days",
            ):
                connection.execute(
                    text(
                        "with days as (select cast(:first as date) + n as day"
                        f" from generate_series(0, :last - cast(:first as date)) as n) {statement}"
                    ),
                    {"first": first, "last": last},
                )

    return load


def raw_days_of(handle: Engine, table: str) -> list[date]:
    days = read(handle, f"select event_day from raw.{table} order by event_day")
    return [day for (day,) in days]


def test_raw_is_kept_unless_asked(warehouse, loaded):
    loaded("client_event", date(2024, 1, 1), date(2024, 1, 3))

    assert retain(warehouse, AS_OF, None) == {}
    assert len(raw_days_of(warehouse, "client_event")) == 3


def test_raw_older_than_its_setting_is_dropped_and_its_aggregates_stay(warehouse, loaded, given):
    loaded("apparel_purchases", date(2026, 6, 1), date(2026, 6, 14))
    given(
        "feature.step_day", client_id=1, event_day=date(2026, 6, 1), source="client_event",
        known_from=date(2026, 6, 2), steps=["view"], times=[datetime(2026, 6, 1, 9, tzinfo=UTC)],
    )  # fmt: skip

    done = retain(warehouse, AS_OF, 5)

    assert done == {"raw.apparel_purchases": "dropped, 9 days"}
    assert raw_days_of(warehouse, "apparel_purchases") == [
        date(2026, 6, day) for day in range(10, 15)
    ]
    assert read(warehouse, "select count(*) from feature.step_day") == [(1,)]
    assert read(warehouse, "select count(*) from ops.load") == [(14,)]


def test_raw_put_off_for_more_than_a_week_fails_the_night(warehouse, loaded, as_role):
    loaded("client_event", date(2026, 6, 1), date(2026, 6, 14))

    with warehouse.connect() as connection:
        connection.execute(text("select 1 from raw.client_event limit 1"))

        week = retain(warehouse, AS_OF, 7)
        with pytest.raises(
            PutOffTooLong, match=r"raw\.client_event, 8 days from client_event_20260"
        ):
            retain(warehouse, AS_OF, 6)

    assert week == {"raw.client_event": "put off: raw.client_event was in use"}
    assert retain(warehouse, AS_OF, 6) == {"raw.client_event": "dropped, 8 days"}


def test_messages_stay_as_long_as_purchases_look_them_up(warehouse, loaded):
    loaded("apparel_messages", date(2026, 4, 1), date(2026, 6, 14))
    loaded("apparel_purchases", date(2026, 4, 1), date(2026, 5, 5))
    loaded("apparel_purchases", date(2026, 5, 7), date(2026, 6, 14))

    done = retain(warehouse, AS_OF, 5)
    loaded("apparel_purchases", date(2026, 5, 6), date(2026, 5, 6))
    later = retain(warehouse, AS_OF, 5)

    # 5 + 30 days before 15 June is 11 May; what was bought on 6 May may be tied to the messages
    # of 6 April to 6 May.
    assert done["raw.apparel_messages"] == "dropped, 9 days"
    assert later["raw.apparel_messages"] == "dropped, 31 days"
    assert raw_days_of(warehouse, "apparel_messages")[0] == date(2026, 5, 11)


def test_raw_is_counted_from_the_newest_loaded_day_of_the_table_that_is_behind(warehouse, loaded):
    loaded("apparel_purchases", date(2026, 6, 1), date(2026, 6, 14))
    loaded("client_event", date(2026, 6, 1), date(2026, 6, 6))

    assert retain(warehouse, date(2036, 1, 1), 5) == {
        "raw.apparel_purchases": "dropped, 1 days",
        "raw.client_event": "dropped, 1 days",
    }


def test_a_setting_that_the_extraction_could_not_live_with_is_refused(warehouse, loaded):
    loaded("client_event", date(2024, 1, 1), date(2024, 1, 3))

    with pytest.raises(RawStillNeeded, match="NIGHTSHIFT_RAW_DAYS is 3; expected 4 or more"):
        retain(warehouse, AS_OF, 3)

    assert len(raw_days_of(warehouse, "client_event")) == 3


def test_the_tie_of_a_purchase_looks_no_further_back_than_messages_are_kept():
    statement = sql_file("feature/purchase_day.sql")

    assert f"between purchases.event_day - {retention.TIE_DAYS} and" in statement


def test_days_whose_raw_is_gone_are_reloaded_no_more_and_say_so(app, warehouse, given):
    row = {"quantity": 1, "price": 10, "category_ids": "[]", "message_id": None}
    for day in range(1, 11):
        given("apparel_purchases", client_id=day, date=date(2026, 3, day), **row)
    first, last = date(2026, 3, 1), date(2026, 3, 10)
    job.load_range(app, warehouse, first, last, ("apparel_purchases",))
    before = read(warehouse, DAYS)

    dropped = retain(warehouse, AS_OF, 5)
    same = job.reload(app, warehouse, first, last, ("apparel_purchases",))
    again = job.load_range(app, warehouse, first, last, ("apparel_purchases",))
    given("apparel_purchases", client_id=99, date=date(2026, 3, 2), **row)
    with pytest.raises(job.RawDropped, match=r"raw\.apparel_purchases 2026-03-02: the source has"):
        job.reload(app, warehouse, first, last, ("apparel_purchases",))

    assert dropped == {"raw.apparel_purchases": "dropped, 5 days"}
    assert same["apparel_purchases"]["changed_days"] == 0
    assert again["apparel_purchases"]["loaded"] == 0
    assert read(warehouse, DAYS) == before


def test_an_open_reader_of_raw_puts_dropping_off(warehouse, loaded):
    loaded("client_event", date(2026, 1, 1), date(2026, 1, 9))
    with warehouse.connect() as connection:
        connection.execute(text("select from raw.client_event"))

        done = retain(warehouse, AS_OF, 4)

    assert done == {"raw.client_event": "put off: raw.client_event was in use"}
    assert len(raw_days_of(warehouse, "client_event")) == 9


@pytest.mark.parametrize("raw_days", ["", "400"])
def test_the_setting_is_days_or_nothing(monkeypatch, raw_days):
    monkeypatch.setenv("NIGHTSHIFT_RAW_DAYS", raw_days)

    assert settings.raw_days() == (400 if raw_days else None)


def test_a_setting_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_RAW_DAYS", "a year")

    with pytest.raises(settings.BadSetting, match="NIGHTSHIFT_RAW_DAYS is 'a year'"):
        settings.raw_days()


CLIENTS = 150
KILLED_DAYS = [date(2025, month, day) for month in range(1, 11) for day in (1, 28)]


def watch(url: str, isolation: str, seed: int, stop, found) -> None:
    """Read every day again and again; put every impossible answer into ``found``.

    Between taking its snapshot and asking for the first time a transaction waits a little: the
    moment at which a change of partitions would show an older snapshot nothing.
    """
    generator = np.random.default_rng(seed)
    reads = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.is_set():
            with connection.transaction():
                connection.execute(f"set transaction isolation level {isolation}")
                connection.execute("select 1")
                time.sleep(float(generator.uniform(0, 0.1)))
                rows = connection.execute(
                    "select as_of, count(*), count(distinct client_id),"
                    " count(distinct model_version) from bi.purchase_propensity_history"
                    " group by as_of order by as_of"
                ).fetchall()
            reads += 1
            if rows != [(day, CLIENTS, CLIENTS, 1) for day in KILLED_DAYS]:
                found.put(("wrong", isolation, f"{len(rows)} days: {rows}"))
    found.put(("reads", isolation, reads))


def merge_all(url: str, ready) -> None:
    """Merge all that is due, until killed; the lock of one killed before may still be there."""
    retention.PAUSE_SECONDS = 0.02
    handle = engine(url)
    ready.set()
    with contextlib.suppress(AlreadyRunning):
        retain(handle, AS_OF, None)


def test_readers_never_see_a_partial_missing_or_doubled_day_while_merges_are_killed(
    warehouse, as_role
):
    """Kill -9 at random moments of the merging of ten months, days published in between."""
    for day in KILLED_DAYS:
        put(warehouse, day, CLIENTS, version="v0")
    before = read(warehouse, CHECKSUMS)
    reader = as_role("bi_reader").url.set(drivername="postgresql").render_as_string(False)
    # Forked from a process that has the imports, so that what is killed is at work, not importing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jobs.retention", "numpy", "pytest"])
    stop, found = context.Event(), context.Queue()
    readers = [
        context.Process(target=watch, args=(reader, isolation, seed, stop, found))
        for seed, isolation in enumerate(["read committed", "repeatable read", "repeatable read"])
    ]
    for process in readers:
        process.start()
    url = warehouse.url.render_as_string(hide_password=False)
    generator = np.random.default_rng(5)
    killed, published = 0, set()
    for attempt in range(25):
        if not due_months(warehouse, AS_OF):
            break
        ready = context.Event()
        process = context.Process(target=merge_all, args=(url, ready))
        process.start()
        assert ready.wait(60)
        time.sleep(float(generator.uniform(0.01, 0.25)))
        if attempt % 4 == 1:
            day = KILLED_DAYS[int(generator.integers(len(KILLED_DAYS)))]
            put(warehouse, day, CLIENTS, seed=attempt, version=f"v{attempt}")
            published.add(day)
        killed += process.is_alive()
        process.kill()
        process.join()
    deadline = time.monotonic() + 60
    while due_months(warehouse, AS_OF):
        assert time.monotonic() < deadline
        with contextlib.suppress(AlreadyRunning):
            retain(warehouse, AS_OF, None)
        time.sleep(0.05)
    stop.set()
    answers = [found.get(timeout=60) for _ in readers]
    while not found.empty():
        answers.append(found.get())
    for process in readers:
        process.join(timeout=60)

    assert [each for each in answers if each[0] == "wrong"] == []
    assert all(reads > 20 for kind, _, reads in answers if kind == "reads")
    assert killed >= 5
    assert [name for name, *_ in days_of(warehouse)] == [f"2025{n:02}" for n in range(1, 11)]
    after = read(warehouse, CHECKSUMS)
    assert [one for one in after if one[0] not in published] == [
        one for one in before if one[0] not in published
    ]
    assert read(warehouse, "select count(*) from pg_tables where schemaname = 'staging'") == [(0,)]


def test_vectors_of_old_encoders_go_but_for_those_that_serve(warehouse, given):
    job_name = "feed_recommendation.test"
    long_ago = AS_OF - timedelta(days=91)
    versions = {"old": long_ago, "live": long_ago, "beside": long_ago, "new": AS_OF}
    for version, trained in versions.items():
        given(
            "ops.model_version",
            model_version=version,
            job=f"{job_name}.{version}",
            as_of=trained,
            kind="model",
            name="catboost",
        )
        given(
            "feature.post_embedding",
            encoder_version=version,
            post_id=1,
            text_md5="",
            embedding=[1.0],
        )
    given(
        "ops.model_version",
        model_version="beside-popular_7d",
        job=f"{job_name}.beside",
        as_of=long_ago,
        kind="baseline",
        name="popular_7d",
    )
    for job_of, to in (("live", "old"), ("live", "live"), ("beside", "beside-popular_7d")):
        given(
            "ops.promotion",
            job=f"{job_name}.{job_of}",
            effective_as_of=long_ago,
            actor="ann",
            decision="promote",
            reason="test",
            to_version=to,
        )

    done = retain(warehouse, AS_OF, None)

    left = read(warehouse, "select encoder_version from feature.post_embedding order by 1")
    assert [row[0] for row in left] == ["beside", "live", "new"]
    assert done == {"feature.post_embedding": "dropped, 1 vectors of old encoders"}


def test_vectors_of_pictures_and_of_pretrained_encoders_go_with_who_reads_them(warehouse, given):
    long_ago = AS_OF - timedelta(days=91)
    read_by = {
        "live": (long_ago, {"picture_version": "net-live", "sentence_version": "sentence-live",
                            "text_version": "feed-read"}),
        "new": (AS_OF, {"picture_version": "net-new", "sentence_version": "sentence-new"}),
        "old": (long_ago, {"picture_version": "net-old", "sentence_version": "sentence-old",
                           "text_version": "feed-old"}),
    }  # fmt: skip
    for version, (trained, params) in read_by.items():
        given(
            "ops.model_version", model_version=version, job="post_conversion", as_of=trained,
            kind="model", name="ridge", params=json.dumps(params),
        )  # fmt: skip
    for feed in ("feed-read", "feed-old"):
        given(
            "ops.model_version", model_version=feed, job="feed_recommendation.test",
            as_of=long_ago, kind="model", name="catboost",
        )  # fmt: skip
    given(
        "ops.promotion", job="post_conversion", effective_as_of=long_ago, actor="ann",
        decision="promote", reason="test", to_version="live",
    )  # fmt: skip
    for encoder, known in {
        "net-live": long_ago, "net-new": long_ago, "net-old": long_ago,
        # A night that died before its version was registered: made lately, read by none yet.
        "net-tonight": AS_OF,
    }.items():  # fmt: skip
        given(
            "feature.post_image_embedding", encoder_version=encoder, post_id=1, uri="1.jpg",
            embedding=[1.0], known_from=long_ago, embedded_at=known,
        )  # fmt: skip
    texts = ("sentence-live", "sentence-new", "sentence-old", "feed-read", "feed-old")
    for encoder in texts:
        given(
            "feature.post_embedding", encoder_version=encoder, post_id=1, text_md5="",
            embedding=[1.0],
        )  # fmt: skip

    done = retain(warehouse, AS_OF, None)

    pictures, words = (
        {row[0] for row in read(warehouse, f"select encoder_version from feature.{table}")}
        for table in ("post_image_embedding", "post_embedding")
    )
    assert pictures == {"net-live", "net-new", "net-tonight"}
    assert words == {"sentence-live", "sentence-new", "feed-read"}
    assert done == {
        "feature.post_embedding": "dropped, 2 vectors of old encoders",
        "feature.post_image_embedding": "dropped, 1 vectors of old encoders",
    }
