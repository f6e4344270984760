"""The job end to end on a real Postgres and a real MLflow store: nights, reruns, backfills."""

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from jobs.client_engagement import bench, job, training
from jobs.client_scores import night
from jobs.warehouse import execute

NIGHT = date(2026, 3, 1)
FIRST_DAY = NIGHT - timedelta(days=165)
LAST_DAY = NIGHT + timedelta(days=20)
CLIENTS = 1_800

# Clients in ten kinds by how they answer: one in ten clicks on a third of its messages, the others
# hardly ever. What happens on which day is settled by a hash, so the same shop arises everywhere.
MESSAGES = """
with drawn as (
    select
        client,
        day,
        abs(hashint8(client * 1000000 + (day - date '2000-01-01') * 10 + 1)) % 1000 as sent,
        abs(hashint8(client * 1000000 + (day - date '2000-01-01') * 10 + 2)) % 5 as way,
        abs(hashint8(client * 1000000 + (day - date '2000-01-01') * 10 + 3)) % 1000 as opened,
        abs(hashint8(client * 1000000 + (day - date '2000-01-01') * 10 + 4)) % 1000 as clicked,
        abs(hashint8(client * 1000000 + (day - date '2000-01-01') * 10 + 5)) % 7 as hour
    from generate_series(1, :clients) as client
    cross join lateral (
        select cast(day as date) as day
        from generate_series(cast(:first as date), cast(:last as date), interval '1 day') as day
    ) as days
),

answered as (
    select
        *,
        (array['email', 'mobile_push', 'web_push', 'sms', 'email'])[
            1 + (client % 4 + case when way < 3 then 0 else way - 2 end) % 5
        ] as channel,
        opened < (array[60, 60, 60, 60, 120, 120, 200, 200, 350, 700])[1 + client % 10] as opens,
        opened < 700 and clicked < (array[1, 1, 1, 1, 2, 3, 4, 8, 25, 330])[1 + client % 10]
            as clicks
    from drawn
    where sent < (array[60, 110, 180])[1 + client / 10 % 3] and client % 40 > 0
)

insert into feature.message_day (client_id, event_day, channel, known_from, sends, opens, clicks,
    purchases, closes, unsubscribes, complaints, hard_bounces, soft_bounces, answer_hours)
select client, day, channel, day + 1, 1 + cast(sent % 9 = 0 as integer),
    cast(opens or clicks as integer), cast(clicks as integer), 0, cast(opened > 900 as integer),
    cast(opened = 999 as integer), 0, 0, cast(clicked > 990 as integer),
    case when clicks then array[(8 + client % 5 + hour) % 24, (9 + client % 5 + hour) % 24]
        when opens then array[(8 + client % 5 + hour) % 24] else '{}' end
from answered
"""
PURCHASES = """
insert into feature.purchase_day (client_id, event_day, known_from, lines, quantity, spent,
    price_sum, min_price, max_price, categories, tied_lines, tied_channels, tied_campaigns)
select client, day, day + 1, 1, 1 + client % 3, price * (1 + client % 3), price, price, price,
    array[cast(client % 7 as text)], 0, '{}', '{}'
from generate_series(1, :clients) as client
cross join lateral (
    select cast(day as date) as day, 5 + client % 40 as price
    from generate_series(cast(:first as date), cast(:last as date), interval '1 day') as day
) as days
where abs(hashint8(client * 100000 + (day - date '2000-01-01'))) % 10000
    < case when client % 40 = 0 then 300 else 20 * (client % 4) end
"""


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    """Two candidates, tuned with one trial, and a store of models of each test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", raising=False)
    monkeypatch.setattr(bench, "MODELS", ("logistic",))
    monkeypatch.setattr(bench, "HANDLINGS", ("none", "class_weights"))
    monkeypatch.setattr(bench, "RESAMPLES", 50)
    monkeypatch.setattr(training, "MODELS", ("logistic",))
    quick = replace(job.DECLARED, trials=1)
    for name in ("run", "train", "score", "publish", "mature", "visualize"):
        monkeypatch.setattr(job, name, partial(getattr(night, name), quick))


@pytest.fixture
def shop(warehouse) -> Engine:
    with warehouse.begin() as connection:
        window = {"clients": CLIENTS, "first": FIRST_DAY, "last": LAST_DAY}
        connection.execute(text(MESSAGES), window)
        connection.execute(text(PURCHASES), window)
        lives(connection)
    return warehouse


def lives(connection) -> None:
    connection.execute(text("create temporary table life_change (client_id bigint, as_of date)"))
    connection.execute(text("truncate feature.client_life"))
    execute(connection, "feature/client_life_change.sql", known_from=FIRST_DAY)
    connection.execute(text("analyze"))
    execute(connection, "feature/client_life_insert.sql", known_from=FIRST_DAY)
    connection.execute(text("drop table life_change"))


def read(engine: Engine, statement: str, **values: object) -> list[tuple]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def test_x(shop, as_role):
    import time
    t=time.time()
    rows = job.run(shop, NIGHT)
    print("night", time.time()-t)
    analyst = as_role("bi_reader")
    print(rows)
    print(read(shop, "select decision, reason, to_version from ops.promotion"))
    print(pd.DataFrame(read(analyst, "select name, metric, value, low, high from bi.model_quality")).to_string())
    print(read(analyst, "select avg(probability), count(*) filter (where engaged), count(best_channel), count(best_hour) from bi.client_engagement"))
    print(pd.DataFrame(read(analyst, "select * from bi.client_engagement_vif order by dropped")).to_string())
    print(read(analyst, "select * from bi.client_engagement_threshold"))
    d = job.DECLARED.dataset(shop, NIGHT - timedelta(days=14), NIGHT)
    print(len(d), d.target.mean(), d.isna().mean().to_string())
    assert 0
