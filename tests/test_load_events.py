"""Event logs in the two common forms, through `make load` and the whole job."""

from datetime import UTC, date, datetime, timedelta

import behavior_worlds
import numpy as np
import pytest
from sqlalchemy import Engine, text

from jobs import evaluation
from jobs.client_behavior import job, pictures, training
from jobs.client_behavior.sequences import DAY_US
from jobs.load import events
from jobs.load.blocks import NotLoadable
from jobs.load.job import load

FIRST = datetime(2025, 8, 1, tzinfo=UTC)


def read(engine: Engine, statement: str) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def rows(folder) -> list[str]:
    ((columns, blocks),) = events.tables(folder).values()
    assert columns == events.COLUMNS
    return b"".join(blocks).decode().splitlines()


def test_a_log_without_a_header_is_known_by_its_fields(tmp_path):
    (tmp_path / "UserBehavior.csv").write_text(
        "1,2268318,2520377,pv,1511544070\n1,9,8,buy,1511561733\n7,9,8,fav,1511561734\n"
        "7,9,8,cart,1511561735\n7,9,8,stare,1511561736\n"
    )

    assert rows(tmp_path) == [
        '1,"2017-11-24 17:21:10","view",2268318',
        '1,"2017-11-24 22:15:33","purchase",9',
        '7,"2017-11-24 22:15:34","favorite",9',
        '7,"2017-11-24 22:15:35","cart",9',
        '7,"2017-11-24 22:15:36","stare",9',
    ]


def test_logs_with_a_header_are_known_by_its_names_and_are_one(tmp_path):
    head = "event_time,event_type,product_id,category_code,price,user_id,user_session\n"
    (tmp_path / "2019-Oct.csv").write_text(
        head + "2019-10-01 00:00:00 UTC,view,44600062,,35.79,541312140,72d7\n"
    )
    (tmp_path / "2019-Nov.csv").write_text(
        head + "2019-11-01 00:00:00 UTC,remove_from_cart,3900821,x.y,33.20,554748717,9333\n"
    )

    assert rows(tmp_path) == [
        '554748717,"2019-11-01 00:00:00.000000","remove_from_cart",3900821',
        '541312140,"2019-10-01 00:00:00.000000","view",44600062',
    ]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("1,2,3,pv,1511544070\n1,2,3,pv\n", "Row #2.*Expected 5 columns, got 4"),
        ("1,2,3,pv,1511544070\none,2,3,pv,1511544070\n", "Row #2.*int64.*'one'"),
        ("event_time,event_type,product_id,user_id\nx,view,1,2\nx,view,shoe,2\n", "'shoe'"),
        ("1,2,3,pv,1511544070\n1,2,3,pv,1511544070000\n", "unix time 1511544070000 is no second"),
        ("1,2,3,pv,1511544070\n1,2,3,pv,-5\n", "unix time -5 is no second from 1970"),
        ("event_time,event_type,product_id,user_id\n1 25:61:00 UTC,view,1,2\n", "25:61:00Z"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, written, complaint):
    (tmp_path / "log.csv").write_text(written)

    with pytest.raises(NotLoadable, match=f"(?s)log.csv.*{complaint}.*nothing was loaded"):
        rows(tmp_path)


@pytest.mark.parametrize(
    "written",
    [
        "1,2,3,pv,1511544070\n",
        "event_time,event_type,product_id,user_id\n2017-11-24 17:21:10 UTC,view,2,1\n",
        "event_time,event_type,product_id,user_id\n2017-11-24T20:21:10+03:00,view,2,1\n",
        "event_time,event_type,product_id,user_id\n2017-11-25 02:21:10,view,2,1\n",
    ],
)
def test_a_moment_stays_that_moment_whatever_zone_the_shop_is_in(
    tmp_path, warehouse, app, as_role, monkeypatch, written
):
    monkeypatch.setenv("SOURCE_TZ", "Asia/Tokyo")
    (tmp_path / "log.csv").write_text(written)

    load(as_role("simulator"), app, warehouse, tmp_path)

    told = read(warehouse, "select event_time, event_day from raw.client_event")
    assert told == [(datetime(2017, 11, 24, 17, 21, 10, tzinfo=UTC), date(2017, 11, 24))]


@pytest.mark.parametrize("written", ["a,b\n1,2\n", "1,2,3,4,5\n", "x,2,3,pv,1511544070\n"])
def test_other_files_are_no_event_logs(tmp_path, written):
    (tmp_path / "other.csv").write_text(written)

    assert events.tables(tmp_path) == {}


def test_a_log_runs_through_the_whole_job(tmp_path, warehouse, app, as_role, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(training, "EPOCHS", 1)
    monkeypatch.setattr(training, "EVENTS", 3_000)
    monkeypatch.setattr(evaluation, "RESAMPLES", 100)
    monkeypatch.setattr(pictures, "draw", lambda folder, *_: folder.mkdir(parents=True))
    folder = tmp_path / "log"
    folder.mkdir()
    drawn = behavior_worlds.draw(7, clients=500, events=50, order=2, effects=0.2)
    first = np.random.default_rng(3).random(500) * 200 * DAY_US
    at = drawn.at - drawn.at[drawn.starts[:-1]][drawn.client()] + first[drawn.client()].astype(int)
    kinds = {"view": "view", "cart": "cart", "purchase": "purchase", "click": "remove_from_cart"}
    lines = [
        f"{FIRST + timedelta(microseconds=int(moment)):%Y-%m-%d %H:%M:%S} UTC,"
        f"{kinds[drawn.states[code]]},7,x,9.5,{client},s"
        for client, code, moment in zip(drawn.clients[drawn.client()], drawn.state, at, strict=True)
        if drawn.states[code] in kinds and moment < 200 * DAY_US
    ]
    head = "event_time,event_type,product_id,category_code,price,user_id,user_session"
    strange = "2025-08-05 10:00:00 UTC,stare,7,x,9.5,11,s"
    (folder / "2025.csv").write_text("\n".join([head, *lines, strange]) + "\n")

    first_day, last_day = load(as_role("simulator"), app, warehouse, folder)
    night = last_day + timedelta(days=1)
    count = job.run(warehouse, night)

    assert (first_day, night) == (date(2025, 8, 1), date(2026, 2, 17))
    assert read(warehouse, "select event_type, reasons from quarantine.client_event") == [
        ("stare", ["unknown event type"])
    ]
    states = read(warehouse, "select distinct current_state from bi.client_behavior order by 1")
    assert {"purchase", "remove", "view", "churn"} <= {state for (state,) in states}
    assert read(warehouse, "select count(*) from bi.client_behavior") == [(count,)]
    assert count > 300
    won = read(
        warehouse,
        "select log_loss < (select log_loss from bi.client_behavior_candidates"
        " where task = 'next' and candidate = 'markov_0')"
        " from bi.client_behavior_candidates where task = 'next' and share > 0",
    )
    assert won
    assert all(better for (better,) in won)
