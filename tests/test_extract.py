"""Extraction: a day comes over whole, checked, and the past stays as it was known."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import numpy as np
import psycopg
import pytest
from sqlalchemy import Engine, text

from jobs.checks import CheckFailed
from jobs.extract import job
from jobs.extract.source import DayNotOver, EmptyDay, SourceChanged, SourceUnreachable
from jobs.forget import forget
from jobs.warehouse import AlreadyRunning, adbc_uri, engine, only_run, rows

NIGHT = date(2026, 3, 2)
PURCHASES = ("apparel_purchases",)
MESSAGES = ("apparel_messages",)


@pytest.fixture
def bought(given):
    def insert(client=1, day="2026-03-01", **columns):
        row = {"quantity": 1, "price": 10, "category_ids": "['4']", "message_id": None}
        given("apparel_purchases", client_id=client, date=day, **{**row, **columns})

    return insert


@pytest.fixture
def messaged(given):
    def insert(client=1, at="2026-03-01 12:00", **columns):
        row = {"bulk_campaign_id": 7, "message_id": "m1", "event": "send", "channel": "email"}
        given(
            "apparel_messages",
            **{"client_id": client, "created_at": at, "date": at and at[:10], **row, **columns},
        )

    return insert


@pytest.fixture
def owner(as_role) -> Engine:
    return as_role("simulator")


def ask(handle: Engine, statement: str, **values: object) -> list[tuple]:
    with handle.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def change(owner: Engine, statement: str) -> None:
    with owner.begin() as connection:
        connection.execute(text(statement))


def known(warehouse: Engine, as_of: str) -> list[tuple]:
    """Return client and spend by day as a run of ``as_of`` sees them."""
    return ask(
        warehouse,
        "select client_id, cast(event_day as text), cast(spent as integer)"
        " from feature.purchase_day where event_day < :as_of and known_from <= :as_of"
        " and known_to > :as_of order by 1, 2",
        as_of=date.fromisoformat(as_of),
    )


def test_a_night_copies_its_day_and_drops_exact_duplicates(app, warehouse, bought):
    bought(client=1, price=10)
    bought(client=1, price=10)
    bought(client=2, price=7, quantity=3)
    bought(client=3, day="2026-03-02")

    counts = job.extract(app, warehouse, NIGHT, PURCHASES)["apparel_purchases"]

    assert counts["copied"] == counts["loaded"] == 2
    assert counts["duplicates"] == 1
    assert ask(warehouse, "select client_id, copies from raw.apparel_purchases order by 1") == [
        (1, 2),
        (2, 1),
    ]
    assert ask(
        warehouse, "select mode, rows_read, rows_loaded, duplicates, quarantined from ops.load"
    ) == [("nightly", 3, 2, 1, 0)]
    assert known(warehouse, "2026-03-02") == [(1, "2026-03-01", 10), (2, "2026-03-01", 21)]


def test_a_second_run_of_the_same_night_changes_nothing(app, warehouse, bought):
    bought()
    job.extract(app, warehouse, NIGHT, PURCHASES)

    counts = job.extract(app, warehouse, NIGHT, PURCHASES)["apparel_purchases"]

    assert counts["loaded"] == counts["copied"] == counts["late"] == 0
    assert ask(warehouse, "select count(*) from ops.load") == [(1,)]
    assert ask(warehouse, "select count(*) from feature.client_life") == [(1,)]


def test_a_late_row_is_added_without_rewriting_the_past(app, warehouse, bought):
    bought(client=1)
    job.extract(app, warehouse, NIGHT, PURCHASES)
    bought(client=1, price=5)
    bought(client=9, day="2026-03-02")

    counts = job.extract(app, warehouse, date(2026, 3, 3), PURCHASES)["apparel_purchases"]

    assert counts["late"] == 1
    assert known(warehouse, "2026-03-02") == [(1, "2026-03-01", 10)]
    assert known(warehouse, "2026-03-03") == [(1, "2026-03-01", 15), (9, "2026-03-02", 10)]


def test_a_corrected_row_is_closed_and_its_successor_appended(app, warehouse, bought, owner):
    bought(client=1, price=10)
    bought(client=2)
    job.extract(app, warehouse, NIGHT, PURCHASES)
    change(owner, "update apparel_purchases set price = 3 where client_id = 1")
    bought(client=2, day="2026-03-02")

    counts = job.extract(app, warehouse, date(2026, 3, 3), PURCHASES)["apparel_purchases"]

    assert counts["closed"] == 1
    assert known(warehouse, "2026-03-02")[0] == (1, "2026-03-01", 10)
    assert known(warehouse, "2026-03-03")[0] == (1, "2026-03-01", 3)


def test_a_row_taken_back_leaves_the_later_view_only(app, warehouse, bought, owner):
    bought(client=1)
    bought(client=2)
    job.extract(app, warehouse, NIGHT, PURCHASES)
    change(owner, "delete from apparel_purchases where client_id = 1")
    bought(client=2, day="2026-03-02")

    job.extract(app, warehouse, date(2026, 3, 3), PURCHASES)

    assert [client for client, *_ in known(warehouse, "2026-03-02")] == [1, 2]
    assert [client for client, *_ in known(warehouse, "2026-03-03")] == [2, 2]
    lives = "select client_id from feature.client_life where valid_from <= :d and valid_to > :d"
    assert ask(warehouse, lives + " order by 1", d=NIGHT) == [(1,), (2,)]
    assert ask(warehouse, lives, d=date(2026, 3, 3)) == [(2,)]


def test_a_rerun_of_an_old_night_dates_late_rows_by_what_is_loaded(app, warehouse, bought):
    for day in range(1, 8):
        bought(client=1, day=f"2026-03-{day:02}")
        job.extract(app, warehouse, date(2026, 3, day + 1), PURCHASES)
    bought(client=5, day="2026-03-01")

    job.extract(app, warehouse, NIGHT, PURCHASES)

    assert 5 not in [client for client, *_ in known(warehouse, "2026-03-07")]
    assert 5 in [client for client, *_ in known(warehouse, "2026-03-08")]


def test_reload_finds_old_differences_and_status_calls_the_result_stale(
    app, warehouse, bought, given
):
    for day in range(1, 8):
        bought(client=1, day=f"2026-03-{day:02}")
        job.extract(app, warehouse, date(2026, 3, day + 1), PURCHASES)
    given(
        "ops.publication", table_name="result.purchase_propensity", as_of=date(2026, 3, 3),
        model_version="v", rows=1, checksum="x", replaced=False,
    )  # fmt: skip
    bought(client=5, day="2026-03-01")

    nightly = job.extract(app, warehouse, date(2026, 3, 8), PURCHASES)["apparel_purchases"]
    asked = job.reload(app, warehouse, date(2026, 3, 1), date(2026, 3, 7), PURCHASES)

    assert nightly["late"] == 0
    assert asked["apparel_purchases"]["loaded"] == 1
    status = (
        "select stale_days, days_to_rescore, is_stale from bi.status"
        " where job = 'purchase_propensity'"
    )
    assert ask(warehouse, status) == [(1, 0, True)]


def test_a_day_loaded_after_the_scores_asks_for_another_run_of_them(app, warehouse, bought, given):
    bought(day="2026-03-01")
    bought(day="2026-03-02")
    job.extract(app, warehouse, date(2026, 3, 3), PURCHASES)
    given(
        "ops.publication", table_name="result.purchase_propensity", as_of=date(2026, 3, 3),
        model_version="v", rows=1, checksum="x", replaced=False,
    )  # fmt: skip
    stale = "select as_of, changed_rows, to_rescore from bi.stale_days"
    assert ask(warehouse, stale) == []

    job.extract(app, warehouse, date(2026, 3, 2), PURCHASES)

    assert ask(warehouse, stale) == [(date(2026, 3, 3), 1, True)]


def test_history_as_a_range_equals_night_after_night(app, warehouse, bought, messaged):
    generator = np.random.default_rng(3)
    for day in range(1, 8):
        for client in generator.integers(1, 6, 4):
            bought(client=int(client), day=f"2026-03-{day:02}", price=int(client))
            messaged(client=int(client) + 2, at=f"2026-03-{day:02} 10:00")
    tables = (*MESSAGES, *PURCHASES)
    everything = [
        "select * from feature.purchase_day order by 1, 2",
        "select * from feature.message_day order by 1, 2",
        "select client_id, valid_from::text, valid_to::text, first_seen_day, purchase_days,"
        " gap_days, gap_days_squared, max_gap, spent from feature.client_life order by 1, 2",
    ]
    everything = [
        each.replace("select *", "select t::text")
        .replace(" order", " as t order")
        .replace("order by 1, 2", "order by 1")
        if "select *" in each
        else each
        for each in everything
    ]
    for day in range(1, 8):
        job.extract(app, warehouse, date(2026, 3, day + 1), tables)
    nightly = [ask(warehouse, each) for each in everything]
    with warehouse.begin() as connection:
        for table in ("feature.purchase_day", "feature.message_day", "feature.client_life"):
            connection.execute(text(f"truncate {table}"))
        for table in tables:
            for day in range(1, 8):
                connection.execute(text(f"drop table raw.{table}_202603{day:02}"))
    clear_loads(warehouse)

    job.load_range(app, warehouse, date(2026, 3, 1), date(2026, 3, 7), tables, chunk_days=3)

    assert [ask(warehouse, each) for each in everything] == nightly
    assert all(len(found) > 5 for found in nightly)


def clear_loads(warehouse: Engine) -> None:
    """Empty the append-only load log, which nightshift itself may not."""
    owner = engine(warehouse.url.render_as_string(hide_password=False))
    assert owner.url.database.endswith("_test")
    CLEAR_LOADS[0]()


CLEAR_LOADS: list[Callable[[], None]] = []


@pytest.fixture(autouse=True)
def _clearing(as_role):
    def clear() -> None:
        with as_role("migrator").begin() as connection:
            connection.execute(text("truncate ops.load"))

    CLEAR_LOADS[:] = [clear]


def test_a_day_of_many_rows_after_a_short_history_is_planned_as_such(app, warehouse, bought, owner):
    bought(day="2026-02-28")
    job.load_range(app, warehouse, date(2026, 2, 28), date(2026, 2, 28), PURCHASES)
    change(
        owner,
        "insert into apparel_purchases select n % 90, 1, n, '[''4'', ''28'']', '2026-03-01', null"
        " from generate_series(1, 40000) as n",
    )
    # Planned by the history's one row, the day took the square of its rows.
    impatient = engine(f"{adbc_uri(warehouse)}?options=-c%20statement_timeout%3D20s")

    counts = job.extract(app, impatient, NIGHT, PURCHASES)["apparel_purchases"]

    assert counts["loaded"] == 40_000


def test_copies_are_found_wherever_they_stand_and_only_they(app, warehouse, owner):
    change(
        owner,
        "insert into apparel_purchases select n, 1, 10, '[''4'']', '2026-03-01', null"
        " from generate_series(1, 30000) as n order by n % 7",
    )
    # One stands beside its copy, the others blocks away; equal in all but one column is no copy.
    change(
        owner,
        "insert into apparel_purchases select * from apparel_purchases where client_id"
        " in (7, 14000, 30000) or client_id % 100 = 1",
    )
    change(
        owner, "insert into apparel_purchases select * from apparel_purchases where client_id = 7"
    )
    change(
        owner,
        "insert into apparel_purchases select client_id, 2, price, category_ids, date, message_id"
        " from apparel_purchases where client_id < 100",
    )

    counts = job.extract(app, warehouse, NIGHT, PURCHASES)["apparel_purchases"]

    found = "select client_id, quantity, copies from raw.apparel_purchases where copies > 1"
    there = (
        "select client_id, quantity, count(*) from apparel_purchases group by 1, 2"
        " having count(*) > 1"
    )
    assert counts["loaded"] == 30_000 + 99
    assert sorted(ask(warehouse, found)) == sorted(ask(owner, there))


def test_an_interrupted_range_goes_on_with_the_days_that_are_missing(app, warehouse, bought):
    for day in range(1, 6):
        bought(day=f"2026-03-{day:02}")
    job.load_range(app, warehouse, date(2026, 3, 2), date(2026, 3, 3), PURCHASES)

    counts = job.load_range(app, warehouse, date(2026, 3, 1), date(2026, 3, 5), PURCHASES)

    assert counts["apparel_purchases"]["loaded"] == 3
    assert ask(warehouse, "select count(*), count(distinct event_day) from ops.load") == [(5, 5)]
    assert ask(
        warehouse,
        "select purchase_days from feature.client_life where valid_to = 'infinity'",
    ) == [(5,)]


def test_lives_equal_a_count_from_raw_for_every_day_and_knowledge(app, warehouse, bought, owner):
    """Late, corrected and withdrawn rows at random; each as_of must see what a recount sees."""
    generator = np.random.default_rng(11)
    for day in range(1, 13):
        for client in generator.integers(1, 5, 3):
            late = int(generator.integers(0, 3))
            when = date(2026, 3, day) - timedelta(days=late if day > 3 else 0)
            bought(client=int(client), day=str(when), price=int(generator.integers(1, 50)))
        if day > 4:
            change(
                owner,
                "update apparel_purchases set price = price + 1 where ctid = (select ctid from"
                f" apparel_purchases where date = '2026-03-{day - 2:02}' order by price limit 1)",
            )
        if day in (7, 10):
            change(
                owner,
                "delete from apparel_purchases where ctid = (select ctid from apparel_purchases"
                f" where date = '2026-03-{day - 1:02}' order by price desc limit 1)",
            )
        bought(client=99, day=f"2026-03-{day:02}")
        job.extract(app, warehouse, date(2026, 3, day + 1), PURCHASES)

    for day in range(2, 14):
        recount = ask(
            warehouse,
            "select client_id, count(distinct event_day), sum(quantity * price), min(event_day),"
            " max(event_day) from raw.apparel_purchases where event_day < :d and known_from <= :d"
            " and known_to > :d group by client_id order by 1",
            d=date(2026, 3, day),
        )
        lives = ask(
            warehouse,
            "select client_id, purchase_days, spent, first_purchase_day, last_purchase_day"
            " from feature.client_life where valid_from <= :d and valid_to > :d"
            " and purchase_days > 0 order by 1",
            d=date(2026, 3, day),
        )
        assert lives == recount, day


def test_midnight_belongs_to_the_day_it_begins(app, warehouse, messaged):
    messaged(client=1, at="2026-03-01 23:59:59.999")
    messaged(client=2, at="2026-03-02 00:00:00")
    messaged(client=3, at="2026-03-01 00:00:00")

    job.extract(app, warehouse, NIGHT, MESSAGES)

    assert ask(warehouse, "select client_id from raw.apparel_messages order by 1") == [(1,), (3,)]


def test_bare_times_are_read_in_the_source_time_zone(app, warehouse, messaged, monkeypatch):
    monkeypatch.setenv("SOURCE_TZ", "Europe/Moscow")
    messaged(client=1, at="2026-03-02 02:59:59")
    messaged(client=2, at="2026-03-02 03:00:00")
    messaged(client=3, at="2026-03-01 02:59:59")

    job.extract(app, warehouse, NIGHT, MESSAGES)

    assert ask(warehouse, "select client_id, created_at::text from raw.apparel_messages") == [
        (1, "2026-03-01 23:59:59+00")
    ]


def test_date_decides_where_a_message_has_no_time(app, warehouse, messaged):
    messaged(client=1, at=None, date="2026-03-01")
    messaged(client=2, at="2026-02-01 10:00", date="2026-03-01")

    job.extract(app, warehouse, NIGHT, MESSAGES)

    assert ask(warehouse, "select client_id from raw.apparel_messages") == [(1,)]


def test_a_purchase_is_tied_to_the_recent_message_with_its_id(app, warehouse, bought, messaged):
    messaged(at="2025-02-01 10:00", event="click", channel="sms")
    messaged(at="2026-03-01 10:00", event="click", channel="email")
    bought(message_id="m1")
    bought(message_id="unheard of", price=3)
    job.load_range(app, warehouse, date(2025, 2, 1), date(2025, 2, 1), MESSAGES)

    job.extract(app, warehouse, NIGHT, (*MESSAGES, *PURCHASES))

    assert ask(
        warehouse, "select tied_lines, tied_channels, tied_campaigns from feature.purchase_day"
    ) == [(2, ["email", "unknown"], [7])]


@pytest.mark.parametrize(
    ("written", "read"),
    [("['4', '28']", ["28", "4"]), ("[]", []), ("[None]", []), (None, []), ("[4, 4]", ["4", "4"])],
)
def test_categories_are_read_from_the_owners_list(app, warehouse, bought, written, read):
    bought(category_ids=written)
    for other in range(2, 110):
        bought(client=other)

    job.extract(app, warehouse, NIGHT, PURCHASES)

    assert ask(warehouse, "select categories from feature.purchase_day where client_id = 1") == [
        (read,)
    ]


def test_a_missing_column_stops_the_day_before_any_row(app, warehouse, bought, owner):
    bought()
    change(owner, "alter table apparel_purchases drop column price")

    with pytest.raises(
        SourceChanged, match=r"apparel_purchases 2026-03-01: .*price.*does not exist"
    ):
        job.extract(app, warehouse, NIGHT, PURCHASES)

    assert ask(warehouse, "select count(*) from raw.apparel_purchases") == [(0,)]


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("apparel_purchases", "price", "text"),
        ("apparel_purchases", "quantity", "text"),
        ("apparel_purchases", "date", "timestamp"),
        ("apparel_messages", "created_at", "text"),
    ],
)
def test_a_retyped_column_stops_the_day_before_any_row(
    app, warehouse, bought, messaged, owner, table, column, kind
):
    bought()
    messaged()
    change(owner, f"alter table {table} alter {column} type {kind} using {column}::{kind}")

    with pytest.raises(SourceChanged, match=rf"{table} 2026-03-01: .*(type|{column}).*rerun"):
        job.extract(app, warehouse, NIGHT, (table,))

    assert ask(warehouse, f"select count(*) from raw.{table}") == [(0,)]


def test_an_empty_day_is_a_failure_that_says_what_to_type(app, warehouse, bought):
    bought(day="2026-02-27")

    with pytest.raises(EmptyDay, match="apparel_purchases 2026-03-01: the source has no rows"):
        job.extract(app, warehouse, NIGHT, PURCHASES)

    job.load_range(app, warehouse, date(2026, 3, 1), date(2026, 3, 1), PURCHASES, allow_empty=True)
    assert ask(warehouse, "select rows_read from ops.load") == [(0,)]


def test_a_missing_day_in_a_range_is_named(app, warehouse, bought):
    bought(day="2026-03-01")
    bought(day="2026-03-03")

    with pytest.raises(EmptyDay, match="apparel_purchases 2026-03-02"):
        job.load_range(app, warehouse, date(2026, 3, 1), date(2026, 3, 3), PURCHASES)

    assert ask(warehouse, "select count(*) from ops.load") == [(0,)]


def test_a_day_that_has_not_ended_is_left_alone(app, warehouse, bought):
    today = datetime.now(UTC).date()
    bought(day=str(today))
    message = f"apparel_purchases {today}: the day has not ended, it is {today} "

    with pytest.raises(DayNotOver, match=message):
        job.extract(app, warehouse, today + timedelta(days=1), PURCHASES)
    with pytest.raises(DayNotOver, match=message):
        job.load_range(app, warehouse, today, today, PURCHASES)

    assert ask(warehouse, "select count(*) from raw.apparel_purchases") == [(0,)]


def test_an_unreachable_source_is_named_without_its_password(warehouse):
    source = engine("postgresql://app_reader:secret@127.0.0.1:1/app")

    with pytest.raises(SourceUnreachable, match=r"127\.0\.0\.1:1/app") as raised:
        job.extract(source, warehouse, NIGHT, PURCHASES)

    assert "secret" not in str(raised.value)


def test_an_error_of_the_source_in_the_midst_of_a_day_is_raised_and_leaves_no_half_day(
    app, warehouse, owner
):
    change(owner, "alter table apparel_messages rename to sent")
    change(
        owner,
        "create view apparel_messages as select n as bulk_campaign_id, n as client_id,"
        " cast(1 / (4000 - n) as text) as message_id, 'send' as event, 'email' as channel,"
        " date '2026-03-01' as date, timestamp '2026-03-01 12:00' as created_at"
        " from generate_series(bigint '1', 5000) as n",
    )
    change(owner, "grant select on apparel_messages to app_reader")

    try:
        with pytest.raises(psycopg.errors.DivisionByZero):
            job.extract(app, warehouse, NIGHT, MESSAGES)
    finally:
        change(owner, "drop view apparel_messages")

    assert ask(warehouse, "select * from ops.load") == []
    assert ask(warehouse, "select to_regclass('staging.apparel_messages_20260302_new')") == [
        (None,)
    ]


def test_single_bad_purchases_step_aside_with_their_reasons(app, warehouse, bought):
    for client in range(1, 500):
        bought(client=client)
    bought(client=None)
    bought(client=600, price=-1)
    bought(client=601, price=float("nan"))
    bought(client=602, quantity=0)
    bought(client=603, day=None)
    bought(client=604, day="2199-01-01")

    with pytest.raises(CheckFailed, match=r"6 of 505 rows break a rule \(1\.2%, at most 1%"):
        job.extract(app, warehouse, NIGHT, PURCHASES)
    for client in range(700, 900):
        bought(client=client)
    counts = job.extract(app, warehouse, NIGHT, PURCHASES)["apparel_purchases"]

    assert counts["quarantined"] == 6
    assert counts["loaded"] == 699
    assert ask(
        warehouse, "select client_id, reasons from quarantine.apparel_purchases order by 1"
    ) == [
        (600, ["negative price"]),
        (601, ["price not a number"]),
        (602, ["quantity below one"]),
        (603, ["no time"]),
        (604, ["time ahead of the clock"]),
        (None, ["no client"]),
    ]


def test_rows_without_a_day_are_quarantined_once(app, warehouse, bought):
    for day in (1, 2):
        for client in range(1, 150):
            bought(client=client, day=f"2026-03-{day:02}")
    bought(client=603, day=None)

    job.extract(app, warehouse, NIGHT, PURCHASES)
    job.extract(app, warehouse, date(2026, 3, 3), PURCHASES)

    assert ask(warehouse, "select count(*) from quarantine.apparel_purchases") == [(1,)]


@pytest.mark.parametrize("never", ["infinity", "20000-01-01"])
def test_a_day_beyond_the_calendar_steps_aside_every_night(app, warehouse, bought, never):
    for client in range(1, 150):
        bought(client=client)
    bought(client=150, day="2026-03-02")
    bought(client=200, day=never)

    job.extract(app, warehouse, NIGHT, PURCHASES)
    job.extract(app, warehouse, date(2026, 3, 3), PURCHASES)

    assert ask(warehouse, "select count(*) from raw.apparel_purchases") == [(150,)]
    assert ask(warehouse, "select client_id, reasons from quarantine.apparel_purchases") == [
        (200, ["time ahead of the clock"])
    ]


def test_an_unknown_event_steps_aside(app, warehouse, messaged):
    for client in range(1, 150):
        messaged(client=client)
    messaged(client=200, event="teleport")

    job.extract(app, warehouse, NIGHT, MESSAGES)

    assert ask(warehouse, "select client_id, reasons from quarantine.apparel_messages") == [
        (200, ["unknown event"])
    ]


def test_a_critical_failure_names_table_day_expectation_count_and_keys(app, warehouse, messaged):
    for client in range(1, 50):
        messaged(client=client, channel="pigeon")

    with pytest.raises(CheckFailed) as raised:
        job.extract(app, warehouse, NIGHT, MESSAGES)

    message = str(raised.value)
    assert "apparel_messages as of 2026-03-02" in message
    assert "channel" in message
    assert "49 of 49 rows" in message
    assert message.count(", message_id m1, event send, channel pigeon)") == 3
    assert ask(warehouse, "select count(*) from raw.apparel_messages") == [(0,)]
    assert ask(warehouse, "select count(*) from ops.validation where not success") > [(0,)]


def test_a_day_of_copies_is_a_broken_export(app, warehouse, bought):
    for _ in range(30):
        bought()

    with pytest.raises(CheckFailed, match="copies"):
        job.extract(app, warehouse, NIGHT, PURCHASES)


def test_two_runs_of_the_same_day_cannot_race(app, warehouse, bought):
    bought()

    with (
        only_run(warehouse, "extract apparel_purchases", NIGHT),
        pytest.raises(AlreadyRunning, match="extract apparel_purchases 2026-03-02"),
    ):
        job.extract(app, warehouse, NIGHT, PURCHASES)


def test_a_day_whose_copy_was_killed_starts_anew(app, warehouse, bought):
    bought()
    job.copy_table(app, warehouse, "apparel_purchases", NIGHT)
    bought(client=2)

    job.extract(app, warehouse, NIGHT, PURCHASES)

    assert ask(warehouse, "select count(*) from raw.apparel_purchases") == [(2,)]
    assert ask(warehouse, "select count(*) from pg_tables where schemaname = 'staging'") == [(0,)]


def test_a_source_that_lost_a_loaded_day_is_no_correction(app, warehouse, bought, owner):
    bought()
    job.extract(app, warehouse, NIGHT, PURCHASES)
    change(owner, "delete from apparel_purchases")
    bought(day="2026-03-02")

    with pytest.raises(EmptyDay, match="2026-03-01"):
        job.extract(app, warehouse, date(2026, 3, 3), PURCHASES)

    assert known(warehouse, "2026-03-03") == [(1, "2026-03-01", 10)]


def test_a_table_declared_absent_is_recorded_not_awaited(app, warehouse):
    with warehouse.begin() as connection:
        connection.execute(
            text("insert into ops.absent_table values ('client_event', 'none here')")
        )

    job.extract(app, warehouse, NIGHT, ("client_event",))
    job.extract(app, warehouse, NIGHT, ("client_event",))  # a rerun finds it recorded

    assert ask(warehouse, "select event_day, mode from ops.load") == [(date(2026, 3, 1), "absent")]


def test_a_forgotten_client_is_gone_and_stays_away(app, warehouse, bought, messaged):
    for client in (1, 2):
        bought(client=client)
        messaged(client=client)
    tables = (*MESSAGES, *PURCHASES)
    job.extract(app, warehouse, NIGHT, tables)

    deleted = forget(warehouse, "client", 1)
    bought(client=1, day="2026-03-02")
    bought(client=2, day="2026-03-02")
    messaged(client=2, at="2026-03-02 10:00")
    job.extract(app, warehouse, date(2026, 3, 3), tables)

    assert deleted["raw.apparel_purchases"] == 1
    assert deleted["feature.client_life"] == 1
    with warehouse.connect() as connection:
        tables = rows(
            connection,
            "select attrelid::regclass::text as name from pg_attribute join pg_class"
            " on pg_class.oid = attrelid where attname = 'client_id' and relkind in ('r', 'p')"
            " and relnamespace::regnamespace::text in ('raw', 'feature', 'quarantine', 'result')",
        )
        assert len(tables) > 8
        for table in tables:
            found = rows(connection, f"select 1 from {table['name']} where client_id = 1")
            assert found == [], table["name"]
