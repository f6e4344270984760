"""Snapshots of what users saw long ago: with one, a night reads the same as without it."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from jobs.feed_recommendation import reading, seen
from jobs.feed_recommendation.context import WINDOW_DAYS
from jobs.feed_recommendation.history import History, number

NIGHT = date(2026, 3, 1)
USERS, POSTS, DAYS = 12, 40, 60
ONE_DAY = timedelta(days=1)


def write(engine, statement, rows):
    with engine.begin() as connection:
        connection.execute(text(statement), rows)


def views(engine, random, day, known_from, user_ids, close=False):
    """Write a version of some users' day; ``close`` what was known of it before."""
    for user_id in user_ids:
        posts = random.choice(np.arange(1, POSTS + 1), random.integers(1, 6), replace=False)
        if close:
            write(
                engine,
                "update feature.user_post_day set known_to = :known where user_id = :user"
                " and event_day = :day and known_to = 'infinity'",
                {"user": int(user_id), "day": day, "known": known_from},
            )
        write(
            engine,
            "insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours,"
            " actions) values (:user, :day, :known, :posts, :hours, :actions)",
            {
                "user": int(user_id),
                "day": day,
                "known": known_from,
                "posts": posts.tolist(),
                "hours": random.integers(0, 24, len(posts)).tolist(),
                "actions": random.choice([1, 3], len(posts)).tolist(),
            },
        )


def load(engine, day, as_of, mode="nightly"):
    write(
        engine,
        "insert into ops.load (table_name, event_day, as_of, mode, rows_read, rows_loaded,"
        " duplicates, quarantined, checksum) values ('feed_data', :day, :as_of, :mode, 1, 1, 0, 0,"
        " 0)",
        {"day": day, "as_of": as_of, "mode": mode},
    )


@pytest.fixture
def random():
    return np.random.default_rng(3)


@pytest.fixture
def days(warehouse, random):
    """Sixty days of views, a third of the users on each, some of them corrected the night after."""
    for back in range(DAYS, 0, -1):
        day = NIGHT - back * ONE_DAY
        active = random.choice(np.arange(1, USERS + 1), USERS // 3, replace=False)
        views(warehouse, random, day, day + ONE_DAY, active)
        load(warehouse, day, day + ONE_DAY)
        views(warehouse, random, day, day + 2 * ONE_DAY, active[:1], close=True)
        load(warehouse, day, day + 2 * ONE_DAY, "late")
    return warehouse


def history(engine, as_of, since) -> History:
    users = pd.DataFrame({"user_id": np.arange(1, USERS + 1)})
    found = reading.read_history(engine, as_of, users, np.arange(1, POSTS + 1), since=since)
    return found.before(as_of)


def same(one: History, other: History) -> bool:
    """Return whether both say the same but for the days and hours before the window."""
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("starts", "post", "action")
    )


def test_with_a_snapshot_a_night_reads_what_it_would_read_without(days):
    everything = history(days, NIGHT, seen.NONE)

    snapshot = seen.renew(days, NIGHT)

    assert snapshot.before_day == NIGHT - WINDOW_DAYS * ONE_DAY
    found = history(days, NIGHT, snapshot)
    assert len(found.post) > 300
    assert same(found, everything)
    recent = everything.day >= number(snapshot.before_day)
    assert recent.any()
    assert not recent.all()
    for name in ("day", "hour", "known_from", "known_to"):
        assert np.array_equal(getattr(found, name)[recent], getattr(everything, name)[recent])


def test_a_snapshot_is_renewed_from_the_one_before(days):
    first = seen.renew(days, NIGHT - 10 * ONE_DAY)
    assert seen.renew(days, NIGHT - 9 * ONE_DAY) == first  # young enough

    second = seen.renew(days, NIGHT)

    assert second.before_day == first.before_day + 10 * ONE_DAY
    assert same(history(days, NIGHT, second), history(days, NIGHT, seen.NONE))


def test_a_past_day_does_not_see_a_later_snapshot(days):
    seen.renew(days, NIGHT)

    past = NIGHT - 5 * ONE_DAY

    assert seen.newest(days, past) == seen.NONE
    assert same(history(days, past, seen.renew(days, past)), history(days, past, seen.NONE))


@pytest.mark.parametrize("mode", ["reload", "range"])
def test_a_load_of_days_it_holds_ends_a_snapshot(days, random, mode):
    seen.renew(days, NIGHT)
    # History that comes later is of days that were not there.
    day = NIGHT - (50 if mode == "reload" else DAYS + 1) * ONE_DAY
    known = NIGHT if mode == "reload" else day + ONE_DAY

    views(days, random, day, known, [1, 2, USERS], close=mode == "reload")
    load(days, day, known, mode)

    assert seen.newest(days, NIGHT) == seen.NONE
    assert same(history(days, NIGHT, seen.renew(days, NIGHT)), history(days, NIGHT, seen.NONE))


def test_a_load_of_later_days_leaves_it(days, random):
    snapshot = seen.renew(days, NIGHT)

    views(days, random, NIGHT - ONE_DAY, NIGHT + ONE_DAY, [1], close=True)
    load(days, NIGHT - ONE_DAY, NIGHT + ONE_DAY, "late")
    views(days, random, NIGHT - 50 * ONE_DAY, NIGHT + ONE_DAY, [2], close=True)
    load(days, NIGHT - 50 * ONE_DAY, NIGHT + ONE_DAY, "reload")

    assert seen.newest(days, NIGHT) == snapshot
    assert same(history(days, NIGHT, snapshot), history(days, NIGHT, seen.NONE))
    assert seen.newest(days, NIGHT + ONE_DAY) == seen.NONE


def test_only_the_last_snapshots_are_kept_and_one_that_went_is_missed(days):
    snapshots = [seen.renew(days, NIGHT - back * ONE_DAY) for back in (0, 1, 2, 3)]

    assert len({each.snapshot_id for each in snapshots}) == 4
    seen.require(days, snapshots[-1])
    with pytest.raises(seen.SnapshotGone, match="run the day's train step again"):
        seen.require(days, snapshots[0])


def test_without_history_before_the_window_there_is_nothing_to_keep(warehouse, random):
    views(warehouse, random, NIGHT - ONE_DAY, NIGHT, [1])

    snapshot = seen.renew(warehouse, NIGHT)

    assert same(history(warehouse, NIGHT, snapshot), history(warehouse, NIGHT, seen.NONE))
