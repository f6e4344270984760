"""The profile of each column and day: right, repeatable, and in one pass over many days."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from jobs.extract.profile import profile
from jobs.warehouse import rows

AS_OF = date(2026, 3, 2)
DAY = date(2026, 3, 1)
LINES = "apparel_purchases"


def profiled(connection: Connection, column: str, day: date = DAY) -> dict[str, object]:
    (found,) = rows(
        connection,
        "select * from ops.profile where column_name = :column and event_day = :day",
        column=column,
        day=day,
    )
    return found


@pytest.fixture
def bought(given: Callable[..., None]) -> Callable[..., None]:
    """Return a function that adds a line to raw.apparel_purchases."""

    def add(**columns: object) -> None:
        line = {"client_id": 1, "copies": 1, "event_day": DAY, "known_from": AS_OF}
        given(f"raw.{LINES}", **(line | columns))

    return add


def test_a_number_is_counted_averaged_and_spread(warehouse: Engine, bought):
    for quantity in (1, 2, 2, 4, None):
        bought(quantity=quantity)

    with warehouse.begin() as connection:
        written = profile(connection, f"raw.{LINES}", LINES, AS_OF)
        found = profiled(connection, "quantity")

    assert written == 6
    assert (found["rows"], found["nulls"], found["distinct_values"]) == (5, 1, 3)
    assert (found["minimum"], found["maximum"], found["mean"]) == ("1", "4", 2.25)
    assert found["quantiles"] == [1, 1, 2, 2, 4]
    assert found["top_values"] == [{"value": "2", "count": 2}]
    assert found["as_of"] == AS_OF


def test_a_text_is_counted_and_its_frequent_values_come_in_a_fixed_order(warehouse, bought):
    for value in ["[b]"] * 2 + ["[a]"] * 2 + ["[c]"] * 3 + [None]:
        bought(category_ids=value)

    with warehouse.begin() as connection:
        profile(connection, f"raw.{LINES}", LINES, AS_OF)
        found = profiled(connection, "category_ids")

    assert (found["rows"], found["nulls"], found["distinct_values"]) == (8, 1, 3)
    assert (found["minimum"], found["maximum"], found["mean"]) == ("[a]", "[c]", None)
    assert [top["value"] for top in found["top_values"]] == ["[c]", "[a]", "[b]"]
    assert found["quantiles"] is None


def test_a_column_of_nulls_has_no_figures(warehouse, bought):
    bought(price=None)

    with warehouse.begin() as connection:
        profile(connection, f"raw.{LINES}", LINES, AS_OF)
        found = profiled(connection, "price")

    assert (found["rows"], found["nulls"], found["distinct_values"]) == (1, 1, 0)
    assert found["mean"] is found["minimum"] is found["quantiles"] is None
    assert found["top_values"] == []


def test_closed_rows_and_our_own_columns_are_left_out(warehouse, bought):
    bought(quantity=1)
    bought(quantity=9, known_to=AS_OF)

    with warehouse.begin() as connection:
        profile(connection, f"raw.{LINES}", LINES, AS_OF)
        found = profiled(connection, "quantity")
        columns = {row["column_name"] for row in rows(connection, "select * from ops.profile")}

    assert (found["rows"], found["maximum"]) == (1, "1")
    expected = {"client_id", "quantity", "price", "category_ids", "date", "message_id"}
    assert columns == expected


def test_many_days_take_one_statement_a_column_and_a_rerun_changes_nothing(warehouse, bought):
    for back in range(40):
        bought(event_day=DAY - timedelta(days=back), quantity=back + 1, price=back / 8)

    with warehouse.begin() as connection:
        first = profile(connection, f"raw.{LINES}", LINES, AS_OF)
        before = rows(connection, "select * from ops.profile order by 1, 2, 3")
        second = profile(connection, f"raw.{LINES}", LINES, AS_OF)
        after = rows(connection, "select * from ops.profile order by 1, 2, 3")

    assert first == second == 40 * 6
    assert before == after


def test_a_later_profile_replaces_the_day_and_tells_the_change(warehouse, bought):
    for day, price in ((DAY - timedelta(days=1), 10), (DAY, 15)):
        bought(event_day=day, price=price)
    with warehouse.begin() as connection:
        profile(connection, f"raw.{LINES}", LINES, AS_OF)
    bought(price=25)

    with warehouse.begin() as connection:
        profile(connection, f"raw.{LINES}_20260301", LINES, AS_OF + timedelta(days=1))
        change = rows(
            connection,
            "select * from bi.data_profile where column_name = 'price' and event_day = :day",
            day=DAY,
        )

    assert [(row["rows"], row["mean"], row["rows_change"]) for row in change] == [(2, 20, 1)]
    assert change[0]["mean_change"] == 1


def test_names_that_need_quotes_and_types_without_an_order(as_role, warehouse: Engine):
    with as_role("migrator").begin() as connection:
        connection.execute(text('create table raw."Odd table" ("the flag" boolean, "1" json)'))
        connection.execute(text('alter table raw."Odd table" owner to nightshift'))
    try:
        with warehouse.begin() as connection:
            connection.execute(
                text(
                    'create table staging."odd; name" as select x as "the flag",'
                    " cast('{\"a\": 1}' as json) as \"1\", date '2026-03-01' as event_day,"
                    " 1 as copies, date 'infinity' as known_to from unnest(array[true, null]) as x"
                )
            )
            written = profile(connection, "staging.odd; name", "Odd table", AS_OF)
            flag, mapping = profiled(connection, "the flag"), profiled(connection, "1")
    finally:
        with warehouse.begin() as connection:
            connection.execute(text('drop table raw."Odd table"'))

    assert written == 2
    assert (flag["rows"], flag["nulls"], flag["minimum"]) == (2, 1, "true")
    assert mapping["top_values"] == [{"value": '{"a": 1}', "count": 2}]


def test_a_table_that_raw_lacks_is_an_error_by_name(warehouse: Engine):
    with warehouse.begin() as connection, pytest.raises(LookupError, match=r"raw\.nonsense"):
        profile(connection, "staging.nonsense", "nonsense", AS_OF)
