"""Steps of clients by day, from the shop's tables: in order, once, and as they were known."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from jobs.client_behavior import reading
from jobs.extract import job
from jobs.extract.tables import SHOP

DAY = date(2026, 3, 1)
NIGHT = date(2026, 3, 2)
NEXT = date(2026, 3, 3)
FIRST = DAY - timedelta(days=30)


@pytest.fixture
def happened(given):
    """Return functions that insert one row of each source table."""

    def event(client: int, step: str, at: str, product: int = 1) -> None:
        time = datetime.fromisoformat(at).replace(tzinfo=UTC)
        given(
            "client_event", client_id=client, event_time=time, event_type=step, product_id=product
        )

    def message(client: int, step: str, at: str, number: str = "m1") -> None:
        time = datetime.fromisoformat(at).replace(tzinfo=UTC)
        given(
            "apparel_messages", bulk_campaign_id=1, client_id=client, message_id=number, event=step,
            channel="email", date=time.date(), created_at=time,
        )  # fmt: skip

    def purchase(client: int, day: str) -> None:
        given(
            "apparel_purchases", client_id=client, quantity=1, price=10, category_ids="['4']",
            date=date.fromisoformat(day), message_id=None,
        )  # fmt: skip

    return {"event": event, "message": message, "purchase": purchase}


def told(warehouse: Engine, as_of: date, known_by: date | None = None) -> list[tuple]:
    """Return client, state and time as the job reads them."""
    found = reading.steps(warehouse, FIRST, as_of, known_by or as_of)
    who = found.clients[found.client()]
    return [
        (int(client), found.states[code], f"{datetime.fromtimestamp(at / 1e6, UTC):%d %H:%M}")
        for client, code, at in zip(who, found.state, found.at, strict=True)
    ]


def change(as_role, statement: str) -> None:
    with as_role("simulator").begin() as connection:
        connection.execute(text(statement))


def test_a_day_of_all_sources_is_read_in_order(app, warehouse, happened):
    happened["message"](1, "send", "2026-03-01 07:00")
    happened["message"](1, "open", "2026-03-01 08:00")
    happened["message"](1, "click", "2026-03-01 08:01")
    happened["event"](1, "cart", "2026-03-01 08:04")
    happened["event"](1, "view", "2026-03-01 08:02")
    happened["event"](1, "view", "2026-03-01 08:02", product=2)
    happened["purchase"](2, "2026-03-01")
    happened["purchase"](2, "2026-03-01")

    job.extract(app, warehouse, NIGHT, SHOP)

    assert told(warehouse, NIGHT) == [
        (1, "open", "01 08:00"),
        (1, "click", "01 08:01"),
        (1, "view", "01 08:02"),
        (1, "cart", "01 08:04"),
        (2, "purchase", "01 23:59"),
    ]


def test_where_events_tell_of_the_purchase_its_lines_add_nothing(app, warehouse, happened):
    happened["event"](1, "purchase", "2026-03-01 09:00")
    happened["event"](1, "purchase", "2026-03-01 09:00", product=2)
    happened["event"](2, "view", "2026-03-01 09:00")
    for client in (1, 1, 2):
        happened["purchase"](client, "2026-03-01")
    happened["message"](3, "send", "2026-03-01 07:00")

    job.extract(app, warehouse, NIGHT, SHOP)

    assert told(warehouse, NIGHT) == [
        (1, "purchase", "01 09:00"),
        (2, "view", "01 09:00"),
        (2, "purchase", "01 23:59"),
    ]


def test_a_late_event_changes_no_day_that_was(app, warehouse, happened, as_role):
    happened["event"](1, "view", "2026-03-01 09:00")
    happened["purchase"](9, "2026-03-01")
    happened["message"](9, "open", "2026-03-01 09:30")
    job.extract(app, warehouse, NIGHT, SHOP)
    before = told(warehouse, NIGHT)
    happened["event"](1, "cart", "2026-03-01 09:05")
    happened["event"](1, "view", "2026-03-02 00:00")
    happened["purchase"](9, "2026-03-02")
    happened["message"](9, "open", "2026-03-02 09:30")
    change(as_role, "delete from apparel_messages where event = 'open' and date = '2026-03-01'")
    happened["message"](8, "click", "2026-03-01 10:00")

    job.extract(app, warehouse, NEXT, SHOP)

    assert told(warehouse, NIGHT) == before
    assert (1, "cart", "01 09:05") in told(warehouse, NIGHT, known_by=NEXT)
    later = told(warehouse, NEXT)
    assert later == [
        (1, "view", "01 09:00"), (1, "cart", "01 09:05"), (1, "view", "02 00:00"),
        (8, "click", "01 10:00"), (9, "purchase", "01 23:59"),
        (9, "open", "02 09:30"), (9, "purchase", "02 23:59"),
    ]  # fmt: skip


def test_a_history_loaded_at_once_is_known_from_the_end_of_its_days(app, warehouse, happened):
    for day in (27, 28):
        happened["event"](1, "view", f"2026-02-{day} 09:00")
        happened["purchase"](1, f"2026-02-{day}")
        happened["message"](1, "open", f"2026-02-{day} 08:00")

    job.load_range(app, warehouse, date(2026, 2, 27), date(2026, 2, 28), SHOP)

    assert told(warehouse, date(2026, 2, 28)) == [
        (1, "open", "27 08:00"), (1, "view", "27 09:00"), (1, "purchase", "27 23:59"),
    ]  # fmt: skip
    assert len(told(warehouse, DAY)) == 6
    assert told(warehouse, DAY, known_by=date(2026, 2, 27)) == []
