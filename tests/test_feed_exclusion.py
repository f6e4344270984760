"""What users must not be shown, copied by version; an owner may not have the table at all."""

from datetime import date

import pytest
from sqlalchemy import Engine, text

from jobs.checks import CheckFailed
from jobs.extract import job
from jobs.extract.source import SourceChanged
from jobs.extract.tables import FEW_ROWS, SOCIAL
from jobs.forget import forget
from jobs.incidents import missing_days
from jobs.load import job as loading

TABLE = ("feed_exclusion",)
PAIRS = "create table feed_exclusion (user_id bigint, post_id bigint)"


def as_of(day: int) -> date:
    return date(2026, 3, day)


@pytest.fixture
def owner(app, as_role) -> Engine:
    return as_role("simulator")


def change(owner: Engine, *statements: str) -> None:
    with owner.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def ask(handle: Engine, statement: str, **values: object) -> list[tuple]:
    with handle.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def known_on(warehouse: Engine, day: date) -> list[tuple]:
    return ask(
        warehouse,
        "select user_id, post_id from raw.feed_exclusion"
        " where known_from <= :day and known_to > :day order by 1, 2",
        day=day,
    )


def loads(warehouse: Engine) -> list[tuple]:
    return ask(
        warehouse,
        "select cast(event_day as text), mode, rows_read, rows_loaded, closed, quarantined"
        " from ops.load where table_name = 'feed_exclusion' order by load_id",
    )


def waited_for(warehouse: Engine, day: date) -> bool:
    with warehouse.connect() as connection:
        return bool(missing_days(connection, day, TABLE))


def test_pairs_are_kept_as_they_were_on_each_day(app, warehouse, owner):
    change(owner, PAIRS, "insert into feed_exclusion values (1, 10), (1, 11), (2, 10), (2, 10)")
    job.extract(app, warehouse, as_of(2), TABLE)
    change(
        owner,
        "delete from feed_exclusion where user_id = 1 and post_id = 10",
        "insert into feed_exclusion values (1, 12), (3, 10), (null, 10), (3, null)",
    )

    job.extract(app, warehouse, as_of(3), TABLE)
    job.extract(app, warehouse, as_of(3), TABLE)

    assert known_on(warehouse, as_of(1)) == []
    assert known_on(warehouse, as_of(2)) == [(1, 10), (1, 11), (2, 10)]
    assert known_on(warehouse, as_of(3)) == [(1, 11), (1, 12), (2, 10), (3, 10)]
    assert ask(warehouse, "select count(*) from raw.feed_exclusion") == [(5,)]
    assert ask(
        warehouse, "select user_id, post_id, reasons from quarantine.feed_exclusion order by 1"
    ) == [(3, None, ["no post"]), (None, 10, ["no user"])]
    assert loads(warehouse) == [
        ("2026-03-01", "nightly", 4, 3, 0, 0),
        ("2026-03-02", "nightly", 7, 2, 1, 2),
    ]


def test_a_source_without_the_table_goes_on_and_nothing_waits_for_it(app, warehouse, given):
    given("user_data", id=1, age=30)
    given("post_text_df", id=1, text="text", topic="tech")
    given("post_image", post_id=1, uri="a.png")
    given("feed_data", timestamp="2026-03-01 10:00", user_id=1, post_id=1, action="view", target=0)

    job.extract(app, warehouse, as_of(2), SOCIAL)
    job.extract(app, warehouse, as_of(2), SOCIAL)
    job.load_range(app, warehouse, date(2026, 2, 26), date(2026, 2, 28), TABLE)

    days = ("2026-03-01", "2026-02-26", "2026-02-27", "2026-02-28")
    assert loads(warehouse) == [(day, "absent", 0, 0, 0, 0) for day in days]
    assert ask(warehouse, "select count(*) from ops.absent_table") == [(0,)]
    assert not waited_for(warehouse, as_of(2))


def test_only_a_table_that_was_there_is_waited_for(app, warehouse, owner):
    assert not waited_for(warehouse, as_of(2))  # a warehouse from before the table was known
    change(owner, PAIRS, "insert into feed_exclusion values (1, 10)")
    job.extract(app, warehouse, as_of(2), TABLE)

    assert not waited_for(warehouse, as_of(2))
    assert not waited_for(warehouse, as_of(1))
    assert waited_for(warehouse, as_of(3))


def test_the_table_may_appear_and_be_empty_and_its_rows_may_go(app, warehouse, owner):
    job.extract(app, warehouse, as_of(2), TABLE)
    change(owner, PAIRS)
    job.extract(app, warehouse, as_of(3), TABLE)
    change(owner, "insert into feed_exclusion values (1, 10), (2, 10)")
    job.extract(app, warehouse, as_of(4), TABLE)
    change(owner, "delete from feed_exclusion")
    job.extract(app, warehouse, as_of(5), TABLE)

    assert [len(known_on(warehouse, as_of(day))) for day in (2, 3, 4, 5)] == [0, 0, 2, 0]
    assert [row[1] for row in loads(warehouse)] == ["absent", "nightly", "nightly", "nightly"]


def test_a_table_that_goes_away_or_loses_half_of_many_rows_stops_its_day(app, warehouse, owner):
    many = 2 * FEW_ROWS
    rows = f"insert into feed_exclusion select n, 1 from generate_series(1, {many}) as n"
    change(owner, PAIRS, rows)
    job.extract(app, warehouse, as_of(2), TABLE)

    change(owner, f"delete from feed_exclusion where user_id > {many // 2 - 1}")
    with pytest.raises(CheckFailed, match=r"table_row_count_to_be_between \(min_value 20\)"):
        job.extract(app, warehouse, as_of(3), TABLE)
    change(owner, "drop table feed_exclusion")
    with pytest.raises(SourceChanged, match="no such table any more, and 40 of its rows stand"):
        job.extract(app, warehouse, as_of(3), TABLE)

    assert len(known_on(warehouse, as_of(3))) == many
    change_warehouse = "insert into ops.absent_table values ('feed_exclusion', 'given up')"
    change(warehouse, change_warehouse)
    job.extract(app, warehouse, as_of(3), TABLE)
    assert loads(warehouse)[-1][:2] == ("2026-03-02", "absent")


def test_history_lets_the_present_stand_for_the_past(app, warehouse, owner):
    change(owner, PAIRS, "insert into feed_exclusion values (1, 10)")

    job.load_range(app, warehouse, date(2026, 2, 1), date(2026, 2, 3), TABLE)

    assert known_on(warehouse, date(2026, 2, 2)) == [(1, 10)]
    assert known_on(warehouse, date(2026, 2, 1)) == []


def test_a_forgotten_users_pairs_go_and_stay_away(app, warehouse, owner):
    change(owner, PAIRS, "insert into feed_exclusion values (1, 10), (2, 10), (null, 11)")
    job.extract(app, warehouse, as_of(2), TABLE)

    deleted = forget(warehouse, "user", 1)
    change(owner, "insert into feed_exclusion values (1, 12), (2, 12)")
    job.extract(app, warehouse, as_of(3), TABLE)

    assert deleted["raw.feed_exclusion"] == 1
    assert known_on(warehouse, as_of(3)) == [(2, 10), (2, 12)]
    assert known_on(warehouse, as_of(2)) == [(2, 10)]


def test_a_file_of_exclusions_is_loaded(app, warehouse, as_role, tmp_path):
    (tmp_path / "user-data.csv").write_text("id,age\n7,30\n")
    (tmp_path / "post-text-df.csv").write_text("id,text,topic\n1,a,tech\n2,b,tech\n")
    (tmp_path / "feed-data.csv").write_text(
        "timestamp,user_id,post_id,action,target\n2026-01-01 10:00:00,7,1,view,0\n"
    )
    (tmp_path / "feed-exclusion.csv").write_text("post_id,user_id\n2,7\n")

    loading.load(as_role("simulator"), app, warehouse, tmp_path)

    assert known_on(warehouse, date(2026, 1, 2)) == [(7, 2)]
