"""Lists with a flaw are refused by name before anybody reads them."""

import gc
import time
from datetime import date

import great_expectations as gx
import numpy as np
import pytest
from great_expectations import expectations as gxe
from sqlalchemy import text

from jobs.binary_copy import Field
from jobs.checks import CheckFailed, validate
from jobs.feed_recommendation import expectations
from jobs.feed_recommendation.serving import SHAPE, TABLE
from jobs.publish import stage_fields

DAY = date(2026, 3, 1)
USERS = np.array([100, 200, 300, 301])  # what is in a list is asked of those that end with 00
ARMS = ("control", "test", "none", "other")


def staged(warehouse, **changed) -> str:
    columns = {
        "users": USERS,
        "parts": np.zeros(4),
        "arms": np.zeros(4, int),
        "posts": np.tile([7, 8, 9], (4, 1)),
        "scores": np.full((4, 3), 0.5),
    } | changed
    sizes = np.full(4, 3)
    fields = [
        Field("bigint", columns["users"], null=columns["users"] < 0),
        Field("smallint", columns["parts"]),
        Field("text", columns["arms"], texts=ARMS),
        Field("text", np.zeros(4, int), texts=("v1",)),
        Field("bigint[]", columns["posts"], sizes=sizes),
        Field("real[]", columns["scores"], sizes=sizes),
        Field("smallint[]", np.ones((4, 3)), sizes=sizes),
    ]
    return stage_fields(warehouse, TABLE, DAY, "0of1", SHAPE, [fields])


def checked(warehouse, name: str):
    suite = expectations.lists(("control", "test"), (0, 12))
    return validate(warehouse, "staging", name, suite, TABLE, DAY, ("user_id", "day_part"))


def test_sound_lists_pass(warehouse):
    assert all(outcome["success"] for outcome in checked(warehouse, staged(warehouse)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"users": np.array([100, 100, 300, 301])}, "one list for a user and part of the day"),
        ({"users": np.array([100, 200, 300, -1])}, "not_be_null"),
        ({"parts": np.array([0, 12, 6, 0])}, "day_part"),
        ({"arms": np.array([0, 1, 2, 3])}, "arm"),
        ({"posts": np.array([[7, 8, 9], [7, 8, 7], [7, 8, 9], [7, 8, 9]])}, "no post twice"),
        (
            {"scores": np.array([[0.5] * 3, [0.5] * 3, [0.5, np.nan, 0.5], [0.5] * 3])},
            "are numbers",
        ),
    ],
    ids=["two lists", "no user", "unknown part", "unknown arm", "post twice", "not a number"],
)
def test_a_flaw_is_named(warehouse, changed, said):
    with pytest.raises(CheckFailed, match=said) as raised:
        checked(warehouse, staged(warehouse, **changed))

    assert "result.feed_recommendation as of 2026-03-01" in str(raised.value)


def test_a_check_leaves_no_connection_open(warehouse, as_role):
    def connections() -> int:
        with as_role("migrator").connect() as connection:
            return connection.execute(
                text("select count(*) from pg_stat_activity where usename = 'nightshift'")
            ).scalar_one()

    name = staged(warehouse)
    gc.collect()
    gc.disable()
    try:
        checked(warehouse, name)
        # A server's process ends a moment after its client.
        end = time.monotonic() + 10
        while left := connections():
            assert time.monotonic() < end, f"{left} connections are open"
            time.sleep(0.02)
    finally:
        gc.enable()


def test_a_number_that_is_none_is_shown_in_the_sample(warehouse):
    with warehouse.begin() as connection:
        connection.execute(text("create table staging.odd (rate double precision)"))
        connection.execute(text("insert into staging.odd values ('NaN'), (0.5)"))
    suite = gx.ExpectationSuite(
        name="odd",
        expectations=[
            gxe.ExpectColumnValuesToBeBetween(
                column="rate", min_value=0, max_value=1, severity="critical"
            )
        ],
    )

    with pytest.raises(CheckFailed, match=r"rate .* failed for 1 of 2 rows"):
        validate(warehouse, "staging", "odd", suite, "odd", DAY, ("rate",))

    with warehouse.connect() as connection:
        sample = connection.execute(text("select sample from ops.validation")).scalar_one()
    assert sample == [{"rate": "nan"}]
