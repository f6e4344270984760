"""The job end to end on a real Postgres and a real MLflow store: nights, reruns, backfills."""

import json
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, text

from jobs.calibration import NothingToLearnFrom
from jobs.client_engagement import bench, candidates, features, job, training
from jobs.client_scores import night
from jobs.client_scores.client_job import ClientJob
from jobs.client_scores.threshold import Threshold
from jobs.warehouse import execute, read_sql, rows, sql_file

NIGHT = date(2026, 3, 1)
DAY = timedelta(days=1)
FIRST_DAY = NIGHT - 190 * DAY
LAST_DAY = NIGHT + 20 * DAY
CLIENTS = 1_500
VERSION = "client_engagement-2026-03-01-1"

# Clients in ten kinds by how they answer: two of ten click on a good part of their messages, the
# others hardly ever. What happens on which day is settled by a hash, so the same shop arises
# everywhere.
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
            1 + (client % 4 + greatest(way - 2, 0)) % 5
        ] as channel,
        opened < (array[60, 60, 60, 60, 120, 120, 200, 200, 350, 700])[1 + client % 10] as opens,
        clicked < (array[1, 1, 1, 1, 2, 3, 4, 8, 60, 330])[1 + client % 10] as clicks
    from drawn
    where sent < (array[60, 110, 180])[1 + client / 10 % 3] and client % 40 > 0
)

insert into feature.message_day (client_id, event_day, channel, known_from, sends, opens, clicks,
    purchases, closes, unsubscribes, complaints, hard_bounces, soft_bounces, answer_hours)
select client, day, channel, day + 1, 1 + cast(sent % 9 = 0 as integer), cast(opens as integer),
    cast(clicks as integer), 0, cast(opened > 900 as integer), cast(opened = 999 as integer), 0, 0,
    cast(clicked > 990 as integer),
    case when opens then array[(8 + client % 5 + hour) % 24] else '{}' end
    || case when clicks then array[(9 + client % 5 + hour) % 24] else '{}' end
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
    or client % 40 = 0 and day = cast(:first as date)
"""
SCORES = "select client_id, probability, reason_rest from result.client_engagement order by 1"


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """Return MLflow's database before anything is logged: making one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def remembered(tmp_path_factory) -> dict[str, object]:
    """Return where `published` keeps its models and notes what it published."""
    return {"folder": tmp_path_factory.mktemp("published"), "publication": None}


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch, empty_store):
    """Two candidates, tuned with one trial on two cutoffs, and a store of each test's own.

    The aim promises no precision: with so few positives, chance decides whether one is kept.
    """
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    keep_models_in(tmp_path, monkeypatch)
    monkeypatch.setenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", "value 10 1")
    monkeypatch.setattr(bench, "MODELS", ("logistic",))
    monkeypatch.setattr(bench, "HANDLINGS", ("none", "class_weights"))
    monkeypatch.setattr(bench, "RESAMPLES", 50)
    monkeypatch.setattr(training, "MODELS", ("logistic",))
    cutoffs = replace(job.DECLARED.cutoffs, fitting=2, level=2)
    declared = replace(job.DECLARED, trials=1, cutoffs=cutoffs)
    for name in ("run", "train", "score", "publish", "mature", "visualize"):
        monkeypatch.setattr(job, name, partial(getattr(night, name), declared))


def keep_models_in(folder, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(folder / "state"))


@pytest.fixture
def plain(monkeypatch) -> None:
    """No pictures, which take longer than the training."""

    def none(self, out, *_) -> list:
        out.mkdir(parents=True, exist_ok=True)
        return []

    monkeypatch.setattr(ClientJob, "draw", none)


@pytest.fixture
def shop(warehouse, remembered) -> Engine:
    """Half a year of messages and purchases by 1,500 clients; one of 40 was never messaged."""
    remembered["publication"] = None
    with warehouse.begin() as connection:
        window = {"clients": CLIENTS, "first": FIRST_DAY, "last": LAST_DAY}
        connection.execute(text(MESSAGES), window)
        connection.execute(text(PURCHASES), window)
        lives(connection)
    return warehouse


@pytest.fixture
def published(request, as_role, remembered, monkeypatch) -> Engine:
    """Return the warehouse after a night; tests that only read share it."""
    shared = as_role("nightshift")
    if remembered["publication"] is None or publication(shared) != remembered["publication"]:
        request.getfixturevalue("shop")
        shutil.copy(request.getfixturevalue("empty_store"), remembered["folder"] / "mlflow.db")
        keep_models_in(remembered["folder"], monkeypatch)
        job.run(shared, NIGHT)
        remembered["publication"] = publication(shared)
    keep_models_in(remembered["folder"], monkeypatch)
    return shared


def publication(engine: Engine) -> list[tuple]:
    return read(
        engine,
        "select publication_id, published_at, checksum, model_version from ops.publication"
        " where table_name = 'result.client_engagement' order by 1",
    )


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


def dataset(engine: Engine, as_of=NIGHT, known_by=LAST_DAY, engaged_by=("click",)) -> pd.DataFrame:
    return read_sql(
        engine,
        "client_engagement/dataset.sql",
        as_of=as_of,
        known_by=known_by,
        horizon_days=14,
        engaged_by=list(engaged_by),
        shard=0,
        shards=1,
    ).set_index("client_id")


# A night ------------------------------------------------------------------------------------------


def test_a_night_publishes_every_client_with_the_lineage_of_the_version(published, as_role):
    analyst = as_role("bi_reader")

    assert read(analyst, "select count(*), count(distinct decile) from bi.client_engagement") == [
        (CLIENTS, 10)
    ]
    assert read(published, "select decision, to_version from ops.promotion") == [
        ("promote", VERSION)
    ]
    kept = read(
        published,
        "select train_from, train_to, gate_cutoff from ops.model_version where kind = 'model'",
    )
    assert kept == [(NIGHT - 42 * DAY, NIGHT - 14 * DAY, NIGHT - 14 * DAY)]
    lineage = read(analyst, "select distinct as_of, model_version from bi.client_engagement")
    assert lineage == [(NIGHT, VERSION)]


def test_the_gates_rows_show_precision_and_recall_beside_those_of_the_baselines(published, as_role):
    found = read(
        as_role("bi_reader"), "select name, metric, value from bi.model_quality where stage='gate'"
    )

    value = {(name, metric): number for name, metric, number in found}
    assert {name for name, _ in value} == {"model", "base_rate", "recency", "activity"}
    assert value["model", "pr_auc"] > 2 * value["base_rate", "pr_auc"]
    assert value["model", "precision"] > 0.1
    assert value["model", "recall"] > 0.3
    assert value["base_rate", "recall"] == 0
    assert ("base_rate", "precision") not in value


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        (
            "client_engagement",
            "as_of client_id probability engaged decile best_channel best_channel_answers"
            " best_hour best_hour_answers reasons reason_rest model_version",
        ),
        (
            "client_engagement_history",
            "as_of client_id probability engaged decile best_channel best_channel_answers"
            " best_hour best_hour_answers reasons reason_rest model_version",
        ),
        (
            "client_engagement_deciles",
            "as_of decile clients predicted predicted_rate observed observed_rate lift"
            " cumulative_gain model_version",
        ),
        ("client_engagement_vif", "model_version as_of feature vif dropped"),
        (
            "client_engagement_threshold",
            "model_version as_of model aim threshold budget precision precision_low precision_high"
            " recall recall_low recall_high",
        ),
    ],
)
def test_analysts_read_each_view_by_its_columns(published, as_role, view, columns):
    with as_role("bi_reader").connect() as connection:
        found = connection.execute(text(f"select * from bi.{view}"))

    assert list(found.keys()) == columns.split()
    assert found.rowcount >= 1


def test_the_bench_tells_each_candidate_beside_always_no(published, as_role):
    found = rows_of(
        as_role("bi_reader"),
        "select * from bi.client_engagement_bench order by model, handling, vectors",
    ).set_index(["model", "handling", "vectors"])

    assert list(found.index) == [
        ("always_no", "none", False),
        ("logistic", "class_weights", True),
        ("logistic", "none", False),
        ("logistic", "none", True),
    ]
    assert found["chosen"].sum() == 1
    no, measured = found.iloc[0], found.iloc[1:]
    assert no["accuracy"] == no["accuracy_of_no"]
    assert no["recall"] == 0
    for figure in ("roc_auc", "pr_auc", "brier", "brier_raw", "ece", "precision", "recall", "f1"):
        inside = measured[figure].between(measured[f"{figure}_low"], measured[f"{figure}_high"])
        assert inside.all() or figure == "ece", figure
    assert (measured["accuracy_of_no"] == 1 - measured["positives"] / measured["rows"]).all()
    assert (found["fit_rows"] == found["fit_rows"].iloc[0]).all()
    # Weights of classes spoil the model's own chances; the map repairs them.
    weighted = found.loc[("logistic", "class_weights", True)]
    assert weighted["ece_raw"] > 0.1
    assert weighted["ece"] < 0.05


def test_what_collinearity_dropped_is_no_feature_of_the_version(published, as_role):
    found = rows_of(as_role("bi_reader"), "select * from bi.client_engagement_vif")

    gone = found[found["dropped"].notna()].sort_values("dropped")
    assert gone["dropped"].tolist() == list(range(1, len(gone) + 1))
    assert found.loc[found["dropped"].isna(), "vif"].max() <= 10
    assert {"complaints_180d", "hard_bounces_180d"} <= set(gone.loc[gone["vif"].isna(), "feature"])
    given = read(
        as_role("bi_reader"),
        "select distinct reason ->> 'feature' from bi.client_engagement,"
        " jsonb_array_elements(reasons) as reason",
    )
    assert not set(gone["feature"]) & {feature for (feature,) in given}


def test_a_client_is_engaged_whose_probability_reaches_the_versions_threshold(published, as_role):
    analyst = as_role("bi_reader")
    aim, threshold = read(
        analyst,
        "select aim, threshold from bi.client_engagement_threshold where model_version = :version",
        version=VERSION,
    )[0]
    scored = rows_of(analyst, "select probability, engaged from bi.client_engagement")

    assert (scored["engaged"] == (scored["probability"] >= threshold)).all()
    assert 0 < scored["engaged"].sum() < CLIENTS / 2
    # A right one is worth ten times what naming costs: so from a chance of a tenth or so on.
    assert aim == "value 10 1"
    assert threshold == pytest.approx(0.1, abs=0.05)


def test_deciles_hold_the_clients_from_the_highest_chances_down(published, as_role):
    analyst = as_role("bi_reader")
    scored = rows_of(analyst, "select decile, probability from bi.client_engagement")
    table = rows_of(analyst, "select * from bi.client_engagement_deciles order by decile")

    each = scored.groupby("decile")["probability"]
    assert table["clients"].tolist() == [CLIENTS // 10] * 10
    assert np.allclose(table["predicted"], each.sum())
    assert (each.min().to_numpy()[:-1] >= each.max().to_numpy()[1:]).all()
    assert table["observed"].isna().all()


def test_reasons_and_rest_sum_to_the_published_log_odds(published, as_role):
    frame = rows_of(
        as_role("bi_reader"),
        "select probability, reason_rest, (select sum((r ->> 'contribution')::float)"
        " from jsonb_array_elements(reasons) as r) as top, jsonb_array_length(reasons) as given"
        " from bi.client_engagement",
    ).astype(float)

    summed = frame["reason_rest"] + frame["top"]
    assert np.allclose(summed, np.log(frame["probability"] / (1 - frame["probability"])), atol=1e-3)
    assert (frame["given"] == 5).all()


def test_best_channel_and_hour_are_those_of_a_plain_count(published, as_role):
    known = rows_of(
        published,
        "select client_id, channel, sends, opens + clicks as answers, answer_hours"
        " from feature.message_day where event_day >= :first and event_day < :night",
        first=NIGHT - 180 * DAY,
        night=NIGHT,
    )
    sends, answers = Counter(), Counter()
    by_channel, by_hour = defaultdict(Counter), defaultdict(Counter)
    for row in known.itertuples():
        sends[row.channel] += row.sends
        answers[row.channel] += row.answers
        by_channel[row.client_id][row.channel, "sends"] += row.sends
        by_channel[row.client_id][row.channel, "answers"] += row.answers
        by_hour[row.client_id].update(row.answer_hours)
    expected = {}
    for client in range(1, CLIENTS + 1):
        own = by_channel[client]
        # As if ten more messages had been sent to the client, answered as usual.
        rates = {
            way: (own[way, "answers"] + 10 * answers[way] / sends[way]) / (own[way, "sends"] + 10)
            for way in sends
            if own[way, "answers"]
        }
        way = max(sorted(rates), key=rates.get, default=None)
        hours = by_hour[client]
        hour = max(sorted(hours), key=hours.get, default=None)
        expected[client] = (way, own[way, "answers"], hour, hours[hour] if hours else 0)

    found = read(
        as_role("bi_reader"),
        "select client_id, best_channel, best_channel_answers, best_hour, best_hour_answers"
        " from bi.client_engagement",
    )

    assert {client: tuple(best) for client, *best in found} == expected
    assert {way for way, *_ in expected.values()} == {*sends, None}
    assert len({hour for _, _, hour, _ in expected.values()}) > 10


def test_pictures_are_redrawn_without_training(published, tmp_path):
    versions = read(published, "select count(*) from ops.model_version")

    drawn = job.visualize(published, NIGHT, tmp_path / "out")

    names = {path.name for path in drawn}
    own = {"threshold.png", "confusion.png", "scatter.png", "vif.png", "bench.png"}
    assert own | {"roc.png", "calibration.png"} <= names
    assert all(path.stat().st_size > 5_000 for path in drawn)
    assert read(published, "select count(*) from ops.model_version") == versions


def rows_of(engine: Engine, statement: str, **values: object) -> pd.DataFrame:
    with engine.connect() as connection:
        found = connection.execute(text(statement), values)
        return pd.DataFrame(found.fetchall(), columns=list(found.keys()))


# Nights again -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain")
def test_a_rerun_and_shards_publish_the_very_same_rows(shop):
    job.run(shop, NIGHT)
    first = read(shop, "select checksum, model_version from ops.publication")

    job.run(shop, NIGHT)
    again = read(shop, "select checksum, model_version from ops.publication")
    job.run(shop, NIGHT, shards=3)

    assert again == first
    assert read(shop, "select checksum, model_version from ops.publication") == first
    assert len(read(shop, SCORES)) == CLIENTS
    assert read(shop, "select count(*) from ops.model_version where kind = 'model'") == [(1,)]


def learned(engine: Engine, number: int) -> list[tuple]:
    """Return what a night's training found: figures, thresholds, parameters."""
    return read(
        engine,
        "select name, kind, metrics, params, rows from ops.model_version"
        " where model_version like :version order by name",
        version=f"client_engagement-{NIGHT}-{number}%",
    )


@pytest.mark.usefixtures("plain")
def test_what_happens_from_midnight_on_changes_no_score_and_no_training(shop):
    job.run(shop, NIGHT)
    before = read(shop, SCORES)
    with shop.begin() as connection:
        for table in ("message_day", "purchase_day"):
            statement = f"delete from feature.{table} where event_day >= :night"
            connection.execute(text(statement), {"night": NIGHT})
        other = MESSAGES.replace("clicked < ", "clicked >= ").replace("[60, 110", "[999, 999")
        connection.execute(text(other), {"clients": CLIENTS, "first": NIGHT, "last": NIGHT})
        lives(connection)

    job.run(shop, NIGHT, retrain=True)

    assert read(shop, SCORES) == before
    assert learned(shop, 2) == learned(shop, 1)


@pytest.mark.usefixtures("plain")
def test_a_late_row_changes_no_score_and_no_training_of_the_past(shop):
    job.run(shop, NIGHT)
    before = read(shop, SCORES)
    late = {"day": NIGHT - 5 * DAY, "known": NIGHT + DAY}
    with shop.begin() as connection:
        connection.execute(
            text("update feature.message_day set known_to = :known where event_day = :day"), late
        )
        connection.execute(
            text(
                "insert into feature.message_day select client_id, :day, 'email', :known,"
                " 'infinity', 1, 1, 1, 0, 0, 0, 0, 0, 0, '{3,3}'"
                " from generate_series(1, 300) as client_id"
            ),
            late,
        )
        lives(connection)

    job.run(shop, NIGHT, retrain=True)

    assert read(shop, SCORES) == before
    assert learned(shop, 2) == learned(shop, 1)
    assert dataset(shop, NIGHT + DAY).loc[:300, "clicks_7d"].min() >= 1


@pytest.mark.usefixtures("plain")
def test_a_backfill_never_promotes_and_is_served_by_its_own_day(shop):
    job.run(shop, NIGHT)

    job.run(shop, NIGHT - 3 * DAY)

    assert read(shop, "select decision, effective_as_of from ops.promotion order by 1") == [
        ("promote", NIGHT),
        ("refuse", NIGHT - 3 * DAY),
    ]
    assert read(shop, "select distinct model_version from ops.publication order by 1") == [
        ("client_engagement-2026-02-26-1",),
        (VERSION,),
    ]
    assert read(shop, "select distinct as_of from bi.client_engagement") == [(NIGHT,)]


@pytest.mark.usefixtures("plain")
def test_a_later_night_sets_the_champions_answers_beside_the_challengers(shop, as_role):
    job.run(shop, NIGHT)
    later = NIGHT + 7 * DAY

    job.run(shop, later)

    challenger = f"client_engagement-{later}-1"
    decision, figures = read(
        shop, "select decision, figures from ops.promotion where effective_as_of = :day", day=later
    )[0]
    assert decision in ("keep", "promote")
    assert (figures["champion"], figures["challenger"]) == (VERSION, challenger)
    assert set(figures["answers"]) == {
        *(VERSION, challenger),
        *(f"{challenger}-{name}" for name in ("base_rate", "recency", "activity")),
    }
    value = {
        (name, metric): number
        for name, metric, number in read(
            as_role("bi_reader"),
            "select name, metric, value from bi.model_quality where as_of = :day",
            day=later,
        )
    }
    for metric in ("precision", "recall"):
        assert value["champion", metric] == pytest.approx(figures["answers"][VERSION][metric])
        assert value["model", metric] == pytest.approx(figures["answers"][challenger][metric])
        assert value["champion", metric] > 0.1


def test_without_history_the_error_says_what_to_load(warehouse):
    with pytest.raises(ValueError, match="no labelled client at cutoff 2026-02-15"):
        job.run(warehouse, NIGHT)


@pytest.mark.usefixtures("plain")
def test_a_shop_in_which_nobody_clicks_has_nothing_to_learn_from(shop):
    with shop.begin() as connection:
        connection.execute(text("update feature.message_day set clicks = 0"))

    with pytest.raises(ValueError, match=r"target has a single value in the 1500 rows of the gate"):
        job.run(shop, NIGHT)

    assert publication(shop) == []


@pytest.mark.usefixtures("plain")
def test_a_fortnight_in_which_nobody_clicked_cannot_be_tested_on_and_says_so(shop):
    with shop.begin() as connection:
        connection.execute(
            text("update feature.message_day set clicks = 0 where event_day >= :day"),
            {"day": NIGHT - 14 * DAY},
        )

    with pytest.raises(NothingToLearnFrom, match="single value"):
        job.run(shop, NIGHT)

    assert publication(shop) == []


@pytest.mark.usefixtures("plain")
def test_every_model_with_every_handling_takes_part(shop, as_role, monkeypatch):
    monkeypatch.setattr(bench, "MODELS", candidates.MODELS)
    monkeypatch.setattr(bench, "HANDLINGS", candidates.HANDLINGS)
    monkeypatch.setattr(bench, "FIT_ROWS", 1_000)
    monkeypatch.setattr(training, "MODELS", candidates.MODELS)
    monkeypatch.setitem(candidates.PARAMS, "catboost.iterations", 20)
    monkeypatch.setitem(candidates.PARAMS, "forest.trees", 10)

    job.run(shop, NIGHT)

    found = rows_of(
        as_role("bi_reader"),
        "select model, handling, vectors, chosen, fit_rows, roc_auc"
        " from bi.client_engagement_bench where model <> 'always_no'",
    )
    each = {(model, how, True) for model in candidates.MODELS for how in candidates.HANDLINGS}
    without = {(model, "none", False) for model in candidates.MODELS}
    keys = found[["model", "handling", "vectors"]].itertuples(index=False, name=None)
    assert set(keys) == each | without
    assert found["chosen"].sum() == 1
    assert (found["fit_rows"] == 1_000).all()
    assert found["roc_auc"].min() > 0.6
    best = found[found["chosen"]].iloc[0]
    assert read(shop, "select name from ops.model_version where kind = 'model'") == [
        (f"{best['model']}, {best['handling']}",)
    ]


# The aim ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain")
def test_a_budget_names_exactly_so_many_clients_those_with_the_highest_chances(
    shop, as_role, monkeypatch
):
    monkeypatch.setenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", "clients 50")

    job.run(shop, NIGHT)

    scored = rows_of(
        as_role("bi_reader"),
        "select engaged from bi.client_engagement order by probability desc, client_id",
    )
    assert scored["engaged"].sum() == 50
    assert scored["engaged"].head(50).all()
    assert read(
        as_role("bi_reader"),
        "select aim, budget from bi.client_engagement_threshold where model_version = :version",
        version=VERSION,
    ) == [("clients 50", 50)]


@pytest.mark.usefixtures("plain")
def test_the_precision_at_the_gate_lies_within_the_interval_of_the_promised_one(
    shop, as_role, monkeypatch
):
    monkeypatch.setenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", "precision 0.2")

    job.train(shop, NIGHT)

    analyst = as_role("bi_reader")
    promised, low, high = read(
        analyst,
        "select precision, precision_low, precision_high from bi.client_engagement_threshold"
        " where model_version = :version",
        version=VERSION,
    )[0]
    seen = read(
        analyst,
        "select value from bi.model_quality where name = 'model' and metric = 'precision'",
    )[0][0]
    assert promised >= 0.2
    assert low < seen < high


@pytest.mark.usefixtures("plain")
def test_an_aim_out_of_reach_is_refused_and_the_base_rate_stands_in(shop, as_role, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", "precision 0.999")

    job.run(shop, NIGHT)

    decision, version, reason, figures = read(
        shop, "select decision, to_version, reason, figures from ops.promotion"
    )[0]
    assert (decision, version) == ("promote", f"{VERSION}-base_rate")
    assert "says yes to 0 rows and finds no positive" in reason
    assert figures["gain_over_floor"]["low"] > 0
    scored = rows_of(
        as_role("bi_reader"), "select engaged, probability, reason_rest from bi.client_engagement"
    ).astype(float)
    assert len(scored) == CLIENTS
    assert scored["engaged"].sum() == 0
    assert scored["probability"].nunique() == 1
    assert np.allclose(
        scored["reason_rest"], np.log(scored["probability"] / (1 - scored["probability"]))
    )


@pytest.mark.parametrize(
    ("aim", "promised"), [("precision 0.3", 0.25), ("clients 50", None), ("value 10 1", None)]
)
def test_only_an_aim_of_precision_promises_one(monkeypatch, aim, promised):
    monkeypatch.setenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", aim)
    threshold = Threshold(aim, 0.1, None, 0.3, 0.25, 0.35, 0.5, 0.4, 0.6, 0.37)

    assert job.least_precision(SimpleNamespace(threshold=threshold)) == promised
    assert str(job.aim()) == aim


def test_without_a_setting_one_in_five_is_promised(monkeypatch):
    monkeypatch.delenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM")

    assert str(job.aim()) == "precision 0.2"


@pytest.mark.usefixtures("plain")
def test_a_night_with_a_bad_aim_says_what_it_found(shop, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM", "precision 20")

    with pytest.raises(ValueError, match="NIGHTSHIFT_CLIENT_ENGAGEMENT_AIM is 'precision 20'"):
        job.run(shop, NIGHT)


# What became of it --------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain")
def test_precision_and_recall_are_written_back_when_fourteen_days_are_over(shop, as_role):
    job.run(shop, NIGHT)
    immature = job.mature(shop, NIGHT + 13 * DAY)

    matured = job.mature(shop, NIGHT + 14 * DAY)

    assert (immature, matured) == (0, 1)
    analyst = as_role("bi_reader")
    clicked = {
        client
        for (client,) in read(
            shop,
            "select client_id from feature.message_day where clicks > 0"
            " and event_day between :night and cast(:night as date) + 13",
            night=NIGHT,
        )
    }
    named = {
        client
        for (client,) in read(analyst, "select client_id from bi.client_engagement where engaged")
    }
    value = dict(
        read(analyst, "select metric, value from bi.model_quality where stage = 'matured'")
    )
    assert value["precision"] == pytest.approx(len(named & clicked) / len(named))
    assert value["recall"] == pytest.approx(len(named & clicked) / len(clicked))
    assert value["observed_rate"] == pytest.approx(len(clicked) / CLIENTS)
    assert read(
        analyst, "select sum(observed), max(cumulative_gain) from bi.client_engagement_deciles"
    ) == [(len(clicked), 1.0)]
    assert job.mature(shop, NIGHT + 15 * DAY) == 0

    # A day that is published anew has its deciles' outcome taken back, and is given it again.
    with shop.begin() as connection:
        connection.execute(text("update result.score_deciles set observed = null"))
    assert job.mature(shop, NIGHT + 15 * DAY) == 1
    assert read(analyst, "select sum(observed) from bi.client_engagement_deciles") == [
        (len(clicked),)
    ]


@pytest.mark.usefixtures("plain")
def test_a_training_whose_tables_cannot_be_written_leaves_no_version(shop, monkeypatch):
    def dies(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job.tables, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        job.train(shop, NIGHT)
    assert read(shop, "select model_version from ops.model_version") == []
    assert read(shop, "select model_version from ops.evaluation") == []
    monkeypatch.undo()


# The dataset --------------------------------------------------------------------------------------


@pytest.mark.parametrize("engaged_by", [("click",), ("open",), ("open", "click")])
def test_the_target_is_that_of_a_plain_count_of_what_engages(shop, engaged_by):
    counted = rows_of(
        shop,
        "select client_id, sum(opens) as open, sum(clicks) as click from feature.message_day"
        " where event_day between :night and cast(:night as date) + 13 group by 1",
        night=NIGHT,
    ).set_index("client_id")
    engaged = counted.index[(counted[list(engaged_by)] > 0).any(axis=1)]

    target = dataset(shop, engaged_by=engaged_by)["target"]

    assert set(target.index[target == 1]) == set(engaged)
    assert len(target) == CLIENTS


def test_every_number_is_that_of_a_plain_count(shop):
    others = ("purchases", "closes", "unsubscribes", "complaints", "hard_bounces", "soft_bounces")
    with shop.begin() as connection:
        some = ", ".join(f"{name} = (client_id + {n}) % 4" for n, name in enumerate(others))
        connection.execute(text(f"update feature.message_day set {some}"))
    counts = ", ".join(("sends", "opens", "clicks", *others))
    known, bought = (
        rows_of(
            shop,
            f"select client_id, cast(:night as date) - event_day as age, {columns}"
            f" from feature.{table} where event_day < :night",
            night=NIGHT,
        )
        for table, columns in (
            ("message_day", f"channel, {counts}"),
            ("purchase_day", "lines, quantity, spent, price_sum, max_price"),
        )
    )
    clients = pd.RangeIndex(1, CLIENTS + 1, name="client_id")

    def total(rows: pd.DataFrame, column: str) -> pd.Series:
        return rows.groupby("client_id")[column].sum().reindex(clients, fill_value=0)

    expected = {}
    for done in ("sends", "opens", "clicks"):
        for days in (7, 30, 90):
            expected[f"{done}_{days}d"] = total(known[known["age"] <= days], done)
        for way in ("email", "mobile_push", "web_push", "sms"):
            lately = known[(known["age"] <= 90) & (known["channel"] == way)]
            expected[f"{done}_{way}_90d"] = total(lately, done)
    for done in others:
        name = {"purchases": "message_purchases"}.get(done, done)
        expected[f"{name}_180d"] = total(known[known["age"] <= 180], done)
    for done in ("opens", "clicks"):
        expected[f"total_{done}"] = total(known, done)
    for done in ("send", "open", "click", "unsubscribe"):
        expected[f"days_since_{done}"] = (
            known[known[f"{done}s"] > 0].groupby("client_id")["age"].min().reindex(clients)
        )
    by_client = bought.groupby("client_id")
    expected |= {
        "days_since_last_purchase": by_client["age"].min().reindex(clients),
        "purchase_days": total(bought.assign(one=1), "one"),
        "purchase_days_90d": total(bought[bought["age"] <= 90].assign(one=1), "one"),
        "total_quantity": total(bought, "quantity"),
        "total_spent": total(bought, "spent"),
        "avg_price": by_client["price_sum"].sum() / by_client["lines"].sum(),
        "max_price": by_client["max_price"].max(),
        "seen_days": pd.concat([known, bought]).groupby("client_id")["age"].max(),
    }

    found = dataset(shop)

    counted = pd.DataFrame(expected).astype(float).reindex(clients)
    own = set(features.MEASURES)
    assert set(counted.columns) == set(features.EVERYTHING.numbers) - own
    pd.testing.assert_frame_equal(found[list(counted)], counted, check_names=False)
    assert (counted.max() > 0).all()


@pytest.fixture
def messaged(given):
    """Return a function that gives a client one sent message on a day, and a life before it."""

    def insert(client_id: int, day: date, seen: date = NIGHT - 400 * DAY, **columns) -> None:
        counts = ("opens", "clicks", "purchases", "closes", "unsubscribes", "complaints")
        row = {
            "client_id": client_id,
            "event_day": day,
            "channel": "email",
            "known_from": day + DAY,
            **dict.fromkeys((*counts, "hard_bounces", "soft_bounces"), 0),
            "sends": 1,
            "answer_hours": [],
        }
        given("feature.message_day", **(row | columns))

    return insert


@pytest.fixture
def seen(given):
    """Return a function that makes clients known long before the night, who bought nothing."""

    def insert(*clients: int) -> None:
        counts = ("purchase_days", "lines", "quantity", "spent", "price_sum", "gap_days")
        for client in clients:
            day = NIGHT - 400 * DAY
            given(
                "feature.client_life",
                client_id=client,
                valid_from=day + DAY,
                first_seen_day=day,
                first_message_day=day,
                **dict.fromkeys((*counts, "gap_days_squared", "max_gap"), 0),
            )

    return insert


def test_has_interaction_looks_only_before_midnight_and_the_target_only_after(
    warehouse, seen, messaged
):
    seen(1, 2, 3, 4, 5, 6)
    messaged(1, NIGHT, clicks=1)
    messaged(2, NIGHT - DAY, clicks=1)
    messaged(3, NIGHT - 365 * DAY, opens=1)
    messaged(4, NIGHT - 366 * DAY, opens=1, clicks=1)
    messaged(4, NIGHT + 13 * DAY, clicks=1)
    messaged(5, NIGHT - DAY)
    messaged(5, NIGHT + 14 * DAY, clicks=1)
    messaged(6, NIGHT + 5 * DAY, opens=1)

    found = dataset(warehouse)

    assert found["has_interaction"].tolist() == [0, 1, 1, 0, 0, 0]
    assert found["target"].tolist() == [1, 0, 0, 1, 0, 0]


def test_a_label_is_unknown_while_its_window_is_open_and_late_clicks_are_not_known_before(
    warehouse, seen, messaged
):
    seen(1, 2)
    messaged(1, NIGHT + 2 * DAY, clicks=1)
    messaged(2, NIGHT + 2 * DAY, clicks=1, known_from=NIGHT + 20 * DAY)

    open_window = dataset(warehouse, known_by=NIGHT + 13 * DAY)["target"]
    closed = dataset(warehouse, known_by=NIGHT + 14 * DAY)["target"]
    later = dataset(warehouse, known_by=NIGHT + 20 * DAY)["target"]

    assert open_window.isna().all()
    assert closed.tolist() == [1, 0]
    assert later.tolist() == [1, 1]


def test_the_last_and_the_usual_event_and_channel_are_those_of_the_messages(
    warehouse, seen, messaged
):
    seen(1, 2, 3)
    messaged(1, NIGHT - 9 * DAY, opens=3, channel="sms", sends=3)
    messaged(1, NIGHT - 2 * DAY, clicks=1, opens=1, channel="web_push")
    messaged(1, NIGHT, opens=9, channel="email", sends=9)
    messaged(2, NIGHT - DAY)

    found = dataset(warehouse)

    told = found[["last_event", "usual_event", "last_channel", "usual_channel"]]
    assert told.loc[1].tolist() == ["click", "open", "web_push", "sms"]
    assert told.loc[2].dropna().to_dict() == {"last_channel": "email", "usual_channel": "email"}
    assert told.loc[3].isna().all()
    assert list(found.loc[1, "touches"]) == [
        *("send sms", "open sms", "send web_push", "open web_push", "click web_push"),
    ]


def test_rates_and_trends_are_of_the_windows_and_missing_without_messages(
    warehouse, seen, messaged
):
    seen(1, 2)
    messaged(1, NIGHT - 10 * DAY, sends=4, opens=2, clicks=1)
    messaged(1, NIGHT - 60 * DAY, sends=4)
    messaged(1, NIGHT - 91 * DAY, sends=92, opens=90)

    found = dataset(warehouse)

    rates = ["open_rate_90d", "click_rate_90d", "click_to_open_90d"]
    trends = ["open_rate_trend", "click_rate_trend"]
    assert found.loc[1, rates].tolist() == [2 / 8, 1 / 8, 1 / 2]
    assert found.loc[1, trends].tolist() == [2 / 4 - 2 / 8, 1 / 4 - 1 / 8]
    assert found.loc[2, [*rates, *trends]].isna().all()
    assert found.loc[1, ["sends_7d", "sends_30d", "sends_90d"]].tolist() == [0, 4, 8]
    assert found.loc[1, ["total_opens", "total_clicks"]].tolist() == [92, 1]


# What is published with a score -------------------------------------------------------------------


@pytest.fixture
def staged(warehouse, given):
    """Return a function that publishes by hand: chances and a version's params in, rows out."""

    def select(chances: dict[int, float], **params: object) -> pd.DataFrame:
        given(
            "ops.model_version",
            model_version="by hand",
            job="client_engagement",
            as_of=NIGHT,
            kind="model",
            name="by hand",
            params=json.dumps(params),
        )
        with warehouse.begin() as connection:
            connection.execute(
                text(f"create temporary table staged ({job.DECLARED.shape}) on commit drop")
            )
            for client, chance in chances.items():
                connection.execute(
                    text("insert into staged values (:client, :chance, '{}', '{}', '{}', 0)"),
                    {"client": client, "chance": chance},
                )
            statement = sql_file("client_engagement/publish.sql")
            found = rows(connection, statement, as_of=NIGHT, model_version="by hand")
        return pd.DataFrame(found).set_index("client_id").sort_index()

    return select


def test_of_equal_chances_a_budget_names_the_first_clients(staged):
    found = staged({4: 0.5, 1: 0.3, 3: 0.3, 2: 0.3, 5: 0.1}, threshold=0.9, budget=3)

    assert found.index[found["engaged"]].tolist() == [1, 2, 4]


def test_without_a_budget_all_at_or_above_the_threshold_are_named(staged):
    found = staged({1: 0.25, 2: 0.125, 3: 0.5, 4: 0.2499}, threshold=0.25, budget=None)

    assert found.index[found["engaged"]].tolist() == [1, 3]


def test_one_lucky_answer_does_not_make_a_channel_the_best(staged, messaged):
    # Of 100 other messages by each way 10 were answered: ten such are weighed in with client 1's.
    for way in ("email", "sms"):
        messaged(9, NIGHT - DAY, channel=way, sends=100, opens=10)
    messaged(1, NIGHT - 2 * DAY, channel="email", sends=20, opens=10, answer_hours=[9] * 10)
    messaged(1, NIGHT - 3 * DAY, channel="sms", sends=1, opens=1, answer_hours=[7])

    found = staged({1: 0.5, 9: 0.5, 5: 0.5}, threshold=0.9)

    best = ["best_channel", "best_channel_answers", "best_hour", "best_hour_answers"]
    assert found.loc[1, best].tolist() == ["email", 10, 9, 10]
    assert found.loc[5, best].fillna("none").tolist() == ["none", 0, "none", 0]


def test_best_channel_and_hour_see_180_days_up_to_midnight_as_known_then(staged, messaged):
    messaged(1, NIGHT - 180 * DAY, channel="sms", opens=1, answer_hours=[7])
    messaged(1, NIGHT - 181 * DAY, channel="email", opens=1, clicks=1, answer_hours=[8, 8])
    messaged(1, NIGHT, channel="email", opens=1, clicks=1, answer_hours=[8, 8])
    late = {"known_from": NIGHT + DAY, "answer_hours": [8, 8]}
    messaged(1, NIGHT - 9 * DAY, channel="email", opens=1, clicks=1, **late)

    found = staged({1: 0.5}, threshold=0.9)

    best = ["best_channel", "best_channel_answers", "best_hour", "best_hour_answers"]
    assert found.loc[1, best].tolist() == ["sms", 1, 7, 1]


def test_an_old_message_by_a_way_no_longer_used_is_not_the_best_channel(staged, messaged):
    messaged(1, NIGHT - 2 * DAY, channel="email", sends=10, opens=10)
    messaged(1, NIGHT - 3 * DAY, channel="sms", sends=0, opens=1)

    found = staged({1: 0.5}, threshold=0.9)

    assert found.loc[1, ["best_channel", "best_channel_answers"]].tolist() == ["email", 10]
