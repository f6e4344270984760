"""A public set of ratings through the whole job: 943 users, 1,682 items, 100,000 ratings."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from jobs.feed_recommendation import arms, job, model, periods, training, two_tower
from jobs.load import job as loading
from jobs.load.ratings import FLAGS

USERS, ITEMS, RATINGS, DAYS = 943, 1_682, 100_000, 200
BEGAN = 874_724_710  # 20 September 1997, in the evening
PARTS = 4


@pytest.fixture(autouse=True)
def _mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    # Enough for so few users.
    monkeypatch.setitem(training.PARAMS, "iterations", 60)
    monkeypatch.setattr(two_tower, "EPOCHS", 2)


def write_ratings(folder: Path) -> None:
    """Write u.data, u.user and u.item as the well-known set has them.

    Users rate what they know in a sitting or two, so most have all their ratings on one day and a
    day sees a handful of users. Some items are rated by most, most by few; a user likes the items
    of three genres and rates more of them.
    """
    random = np.random.default_rng(7)
    item_genre = 1 + random.integers(0, len(FLAGS) - 1, ITEMS)
    second = 1 + random.integers(0, len(FLAGS) - 1, ITEMS)
    flags = np.zeros((ITEMS, len(FLAGS)), np.int64)
    flags[np.arange(ITEMS), item_genre] = flags[np.arange(ITEMS), second] = 1
    taste = random.random((USERS, len(FLAGS))).argsort(axis=1) < 3
    match = (taste @ flags.T) > 0

    each = random.pareto(1.3, USERS)
    counts = 20 + np.floor((RATINGS - 20 * USERS) * each / each.sum()).astype(int)
    counts = np.minimum(counts, 700)
    while short := RATINGS - counts.sum():
        chosen = random.choice(np.flatnonzero(counts < 700), abs(short))
        np.add.at(counts, chosen, np.sign(short))
    appeal = -1.1 * np.log(1 + random.permutation(ITEMS))
    drawn = appeal + 1.2 * match + random.gumbel(size=(USERS, ITEMS))
    ranked = np.argsort(-drawn, axis=1)
    user = np.repeat(np.arange(USERS), counts)
    item = np.concatenate([ranked[who, :count] for who, count in enumerate(counts)])
    stars = 2.6 + 1.6 * match[user, item] + random.normal(0, 0.9, RATINGS)
    stars = np.clip(np.round(stars), 1, 5).astype(int)

    first = random.integers(0, DAYS, USERS)
    first[:3] = [0, DAYS - 1, DAYS - 1]
    again = np.minimum(first + random.integers(1, 60, USERS), DAYS - 1)
    comes_back = random.random(USERS) < 0.4
    later = comes_back[user] & (random.random(RATINGS) < 0.5)
    day = np.where(later, again[user], first[user])
    at = BEGAN + 86_400 * day + random.integers(0, 10_000, RATINGS)

    table = np.column_stack([user + 1, item + 1, stars, at])[random.permutation(RATINGS)]
    lines = ("\t".join(map(str, row)) for row in table.tolist())
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    (folder / "u.user").write_text(
        "".join(
            f"{who + 1}|{age}|{'MF'[who % 2]}|student|00000\n"
            for who, age in enumerate(random.integers(7, 74, USERS))
        )
    )
    (folder / "u.item").write_text(
        "".join(
            f"{place + 1}|Film {place + 1} ({1930 + place % 68})|01-Jan-1995||http://x|"
            + "|".join(map(str, row))
            + "\n"
            for place, row in enumerate(flags.tolist())
        ),
        encoding="latin-1",
    )


def ask(engine: Engine, statement: str, **values: object) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def published(engine: Engine, as_of: date) -> pd.DataFrame:
    return pd.DataFrame(
        ask(
            engine,
            "select user_id, day_part, arm, post_ids, scores, sources"
            " from result.feed_recommendation where as_of = :day order by user_id, day_part",
            day=as_of,
        ),
        columns=["user_id", "day_part", "arm", "post_ids", "scores", "sources"],
    )


def test_a_public_set_of_ratings_runs_through_the_whole_job(app, as_role, warehouse, tmp_path):
    write_ratings(tmp_path)

    first, last = loading.load(as_role("simulator"), app, warehouse, tmp_path)

    begun = datetime.fromtimestamp(BEGAN, UTC).date()
    assert (first, (last - first).days) == (begun, DAYS - 1)
    assert ask(warehouse, "select count(*) from raw.feed_data where action = 'view'") == [
        (RATINGS,)
    ]
    after, night = last + timedelta(days=1), last
    seen = {
        as_of: set(
            ask(
                warehouse,
                "select user_id, post_id from feature.user_post_day"
                " cross join unnest(post_ids) as post_id where event_day < :day",
                day=as_of,
            )
        )
        for as_of in (after, night)
    }
    assert len(seen[after]) == RATINGS > len(seen[night])

    for as_of in (after, night):
        assert job.run(warehouse, as_of) == USERS * PARTS

        found = published(warehouse, as_of)
        assert set(found["arm"]) == {"control", "test"}
        assert found["post_ids"].map(len).min() > 10
        listed = found.explode("post_ids")
        assert not seen[as_of] & set(zip(listed["user_id"], listed["post_ids"], strict=True))
        for arm in training.ARMS:
            quality = ask(
                warehouse,
                "select name, metric, value, rows from ops.evaluation"
                " where stage = 'gate' and as_of = :day and job = :job",
                day=as_of,
                job=f"{job.JOB}.{arm}",
            )
            assert {name for name, *_ in quality} == {arm, *model.ORDERS}
            asked = {metric: rows for _, metric, _, rows in quality}
            assert asked["ndcg@10"] >= arms.LEAST_USERS
            value = {(name, metric): value for name, metric, value, _ in quality}
            assert value[arm, "ndcg@10"] > value["random", "ndcg@10"]

    # What happened on the day or later is read by no training; a rerun writes nothing.
    written = "select publication_id, as_of, checksum from ops.publication order by 1"
    before, ground = ask(warehouse, written), arms.read_days(warehouse, night)
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "update feature.user_post_day set actions = array_fill(cast(3 as smallint),"
                " array[cardinality(actions)]) where event_day >= :day"
            ),
            {"day": night},
        )
        connection.execute(
            text("update feature.post_day set likes = likes + 1000 where event_day >= :day"),
            {"day": night},
        )
    for day, again in zip(ground, arms.read_days(warehouse, night), strict=True):
        assert day.cutoff == again.cutoff
        for part in ("context", "history"):
            for name, value in vars(getattr(day, part)).items():
                np.testing.assert_equal(vars(getattr(again, part))[name], value)
    assert job.run(warehouse, night) == USERS * PARTS
    assert ask(warehouse, written) == before


def test_a_period_is_as_long_as_enough_users_need(warehouse):
    """One user likes something on each of 100 days; then 25 do on each of eight."""
    begun, as_of = date(2026, 1, 1), date(2026, 4, 11)
    insert = (
        "insert into feature.user_post_day (user_id, event_day, known_from, post_ids, hours,"
        " actions) select {who}, {day}, {day} + 1, '{{1, 2}}', '{{9, 9}}', '{{3, 1}}'"
        " from generate_series(1, {rows}) as n"
    )
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "insert into raw.user_data (user_id, known_from)"
                " select n, :day from generate_series(1, 100) as n"
            ),
            {"day": begun},
        )
        statement = insert.format(who="n", day="cast(:day as date) - 1 + n", rows=100)
        connection.execute(text(statement), {"day": begun})

    def length(day: date) -> int | None:
        return periods.length(warehouse, day)

    # There is room for 20 days, and half of the 20 users in them will do.
    assert length(as_of) == 10
    assert periods.cutoffs(as_of, 10) == [as_of - timedelta(days=back) for back in (40, 30, 20, 10)]
    # In 24 days the last period has 4 users, in 22 it has half of them.
    assert length(as_of + timedelta(days=20)) == 22
    assert length(as_of + timedelta(days=60)) is None
    assert length(begun) is None
    with warehouse.begin() as connection:
        for back in range(1, 9):
            statement = insert.format(who="100 + n", day="cast(:day as date)", rows=24)
            connection.execute(text(statement), {"day": as_of - timedelta(days=back)})
    assert length(as_of) == 2
    with warehouse.begin() as connection:
        for back in range(1, 5):
            statement = insert.format(who="200 + n", day="cast(:day as date)", rows=20)
            connection.execute(text(statement), {"day": as_of - timedelta(days=back)})
    assert length(as_of) == 1
