"""The job end to end on a real Postgres and a real MLflow store: nights, reruns, backfills."""

from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from jobs import champion
from jobs.client_scores import night
from jobs.purchase_propensity import job
from jobs.warehouse import execute

NIGHT = date(2026, 3, 1)
FIRST_DAY = date(2025, 3, 1)
CLIENTS = 1_500

# Clients in five kinds, from one purchase in three years to one in three weeks; which days is
# settled by a hash, so the same shop arises everywhere.
PURCHASES = """
insert into feature.purchase_day (client_id, event_day, known_from, lines, quantity, spent,
    price_sum, min_price, max_price, categories, tied_lines, tied_channels, tied_campaigns)
select client, day, day + 1, 1, 1, price, price, price, price, array[cast(client % 7 as text)],
    0, '{}', '{}'
from generate_series(1, :clients) as client
cross join lateral (
    select cast(day as date) as day, 5 + client % 40 as price
    from generate_series(cast(:first as date), cast(:last as date), interval '1 day') as day
) as days
where abs(hashint8(client * 100000 + (day - date '2000-01-01'))) % 10000
    < (array[9, 18, 40, 120, 500])[1 + client % 5]
"""
MESSAGES = """
insert into feature.message_day (client_id, event_day, channel, known_from, sends, opens, clicks,
    purchases, closes, unsubscribes, complaints, hard_bounces, soft_bounces)
select client, cast(:first as date), 'email', cast(:first as date) + 1, 1, 0, 0, 0, 0, 0, 0, 0, 0
from generate_series(1, :clients) as client
"""


@pytest.fixture(autouse=True)
def _mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    quick = replace(job.DECLARED, trials=1)
    for name in ("run", "train", "score", "publish", "mature", "visualize"):
        monkeypatch.setattr(job, name, partial(getattr(night, name), quick))


@pytest.fixture
def shop(warehouse) -> Engine:
    """A year of purchases by 1,500 clients, all of whom were messaged on the first day."""
    with warehouse.begin() as connection:
        window = {"clients": CLIENTS, "first": FIRST_DAY}
        connection.execute(text(PURCHASES), {**window, "last": NIGHT + timedelta(days=100)})
        connection.execute(text(MESSAGES), window)
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


def test_a_night_trains_gates_and_publishes_with_lineage(shop, as_role):
    rows = job.run(shop, NIGHT)

    analyst = as_role("bi_reader")
    assert rows == CLIENTS
    assert read(analyst, "select count(*), count(distinct decile) from bi.purchase_propensity") == [
        (CLIENTS, 10)
    ]
    assert read(shop, "select decision, to_version from ops.promotion") == [
        ("promote", "purchase_propensity-2026-03-01-1")
    ]
    quality = pd.DataFrame(
        read(analyst, "select name, value from bi.model_quality where metric = 'roc_auc'"),
        columns=["name", "value"],
    ).set_index("name")["value"]
    assert quality["model"] > quality["base_rate"] + 0.1
    assert set(quality.index) == {"model", "base_rate", "recency", "rfm_logistic", "bg_nbd"}
    kept = read(
        shop,
        "select train_from, train_to, gate_cutoff from ops.model_version where kind = 'model'",
    )[0]
    assert kept[0] < kept[1] <= kept[2] == NIGHT - timedelta(days=90)


def test_reasons_and_rest_sum_to_the_published_log_odds(shop, as_role):
    job.run(shop, NIGHT)

    frame = pd.DataFrame(
        read(
            as_role("bi_reader"),
            "select probability, reason_rest, (select sum((r ->> 'contribution')::float)"
            " from jsonb_array_elements(reasons) as r) from bi.purchase_propensity",
        ),
        columns=["probability", "rest", "top"],
    ).astype(float)

    summed = frame["rest"] + frame["top"]
    assert np.allclose(summed, np.log(frame["probability"] / (1 - frame["probability"])), atol=1e-3)


def test_a_rerun_writes_nothing_and_a_retrained_day_has_a_new_version(shop):
    job.run(shop, NIGHT)
    first = read(shop, "select checksum, model_version from ops.publication")

    job.run(shop, NIGHT)
    again = read(shop, "select checksum, model_version from ops.publication")
    job.run(shop, NIGHT, retrain=True)

    assert again == first
    assert read(shop, "select count(*) from ops.model_version where kind = 'model'") == [(2,)]
    scores = "select probability from result.purchase_propensity order by client_id"
    assert len(read(shop, scores)) == CLIENTS


def test_shards_change_nothing_but_the_work(shop):
    job.run(shop, NIGHT)
    whole = read(shop, "select checksum from ops.publication")

    job.run(shop, NIGHT, shards=3)

    assert read(shop, "select checksum from ops.publication") == whole


def test_what_happens_from_midnight_on_changes_no_score(shop):
    job.run(shop, NIGHT)
    scores = "select client_id, probability, reason_rest from result.purchase_propensity order by 1"
    before = read(shop, scores)
    with shop.begin() as connection:
        connection.execute(
            text("delete from feature.purchase_day where event_day >= :night"), {"night": NIGHT}
        )
        connection.execute(
            text(PURCHASES.replace("* 100000", "* 77777").replace("[9, 18, 40", "[900, 800, 700")),
            {"clients": CLIENTS, "first": NIGHT, "last": NIGHT},
        )
        lives(connection)

    job.run(shop, NIGHT, retrain=True)

    assert read(shop, scores) == before


def test_a_late_row_changes_no_score_of_the_past(shop):
    job.run(shop, NIGHT)
    scores = "select client_id, probability, reason_rest from result.purchase_propensity order by 1"
    before = read(shop, scores)
    with shop.begin() as connection:
        connection.execute(
            text(
                "insert into feature.purchase_day select client_id, :day, :known, 'infinity', 9, 9,"
                " 999, 999, 1, 999, '{}', 0, '{}', '{}' from generate_series(1, 300) as client_id"
            ),
            {"day": NIGHT - timedelta(days=5), "known": NIGHT + timedelta(days=1)},
        )
        lives(connection)

    job.run(shop, NIGHT, retrain=True)

    assert read(shop, scores) == before


def test_a_backfill_never_promotes_and_is_served_by_its_own_day(shop):
    job.run(shop, NIGHT)

    job.run(shop, NIGHT - timedelta(days=3))

    assert read(shop, "select decision, effective_as_of from ops.promotion order by 1") == [
        ("promote", NIGHT),
        ("refuse", NIGHT - timedelta(days=3)),
    ]
    assert read(shop, "select distinct model_version from ops.publication order by 1") == [
        ("purchase_propensity-2026-02-26-1",),
        ("purchase_propensity-2026-03-01-1",),
    ]


def test_a_version_from_the_future_is_refused(shop):
    job.run(shop, NIGHT)

    with pytest.raises(ValueError, match="knows what happened after 2026-02-20"):
        job.run(shop, date(2026, 2, 20), model_version="purchase_propensity-2026-03-01-1")


def test_a_rollback_rescores_the_day_it_concerns(shop):
    job.run(shop, NIGHT)
    later = NIGHT + timedelta(days=8)
    job.run(shop, later)
    version = "purchase_propensity-2026-03-09-1"
    compared = read(
        shop,
        "select name, model_version, count(*) > 4 from bi.model_quality"
        " where as_of = :later and name in ('model', 'champion') group by 1, 2 order by 1",
        later=later,
    )
    assert compared == [
        ("champion", "purchase_propensity-2026-03-01-1", True),
        ("model", version, True),
    ]
    champion.promote(shop, job.JOB, version, later, "test", "for the rollback")
    job.run(shop, later, model_version=version)

    change = champion.rollback(shop, job.JOB, later, "test", "scores jumped")
    for day in change.affected_days:
        job.run(shop, day, model_version=change.to_version)

    assert change.to_version == "purchase_propensity-2026-03-01-1"
    assert change.affected_days == [later]
    assert read(shop, "select distinct model_version from bi.purchase_propensity") == [
        ("purchase_propensity-2026-03-01-1",)
    ]


def test_observed_buyers_are_written_back_when_ninety_days_are_over(shop):
    job.run(shop, NIGHT)
    immature = job.mature(shop, NIGHT + timedelta(days=89))

    matured = job.mature(shop, NIGHT + timedelta(days=90))

    assert (immature, matured) == (0, 1)
    found = read(
        shop,
        "select sum(observed), sum(clients), bool_and(observed_rate >= 0), max(cumulative_gain)"
        " from bi.purchase_propensity_deciles",
    )[0]
    buyers = read(
        shop,
        "select count(distinct client_id) from feature.purchase_day"
        " where event_day >= :night and event_day < cast(:night as date) + 90",
        night=NIGHT,
    )[0][0]
    assert found == (buyers, CLIENTS, True, 1.0)
    assert read(shop, "select count(*) from bi.model_quality where stage = 'matured'")[0][0] >= 5


def test_the_owners_labels_go_before_computed_ones(shop):
    cutoff = NIGHT - timedelta(days=90)
    with shop.begin() as connection:
        connection.execute(
            text(
                "insert into raw.apparel_target_binary select :day, client, client % 2"
                " from generate_series(1, :clients) as client"
            ),
            {"day": cutoff, "clients": CLIENTS},
        )

    labelled = job.DECLARED.dataset(shop, cutoff, NIGHT).set_index("client_id")["bought"]

    assert (labelled == labelled.index % 2).all()
    assert len(labelled) == CLIENTS


def test_pictures_are_redrawn_without_training(shop, tmp_path):
    job.run(shop, NIGHT)
    versions = read(shop, "select count(*) from ops.model_version")

    drawn = job.visualize(shop, NIGHT, tmp_path / "out")

    names = {path.name for path in drawn}
    assert {"roc.png", "calibration.png", "gain.png", "shap_summary.png"} <= names
    assert all(path.stat().st_size > 5_000 for path in drawn)
    assert read(shop, "select count(*) from ops.model_version") == versions
    with pytest.raises(LookupError, match="no version was live"):
        job.visualize(shop, NIGHT - timedelta(days=40), tmp_path / "out")


def test_without_history_the_error_says_what_to_load(warehouse):
    with pytest.raises(ValueError, match="no labelled client at cutoff 2025-12-01"):
        job.run(warehouse, NIGHT)


def test_mlflow_down_leaves_everything_as_it_was(shop, monkeypatch):
    job.run(shop, NIGHT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")

    with pytest.raises(champion.MlflowUnreachable, match="start it"):
        job.run(shop, NIGHT + timedelta(days=1))

    assert read(shop, "select max(as_of) from bi.purchase_propensity") == [(NIGHT,)]
