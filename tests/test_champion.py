"""Model life: the gate's rules, the rows that say what is live, MLflow, matured labels."""

import json
import threading
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from jobs import champion, evaluation
from jobs.champion import Gate, Version
from jobs.warehouse import execute, rows

AS_OF = date(2026, 3, 1)
WEEK = timedelta(days=7)
GATE = Gate(
    job="toy",
    metric="roc_auc",
    horizon_days=90,
    margin=0.02,
    max_age_days=28,
    cadence_days=7,
    calibration_bound=0.05,
    unit="client_id",
)
BASELINES = {"base": "base_rate", "recency": "recency"}


def gate_rows(clients=2000, seed=3, **strength):
    """Return gate rows: label with 20 % positives and, per version, calibrated scores.

    ``strength`` 0 knows nothing (the base rate), larger values know more of the label's cause.
    """
    rng = np.random.default_rng(seed)
    causes = rng.standard_normal((clients, 4))
    chance = 1 / (1 + np.exp(2.2 - causes.sum(axis=1)))
    frame = pd.DataFrame({"client_id": np.arange(clients)})
    frame["label"] = (rng.random(clients) < chance).astype(int)
    for version, known in strength.items():
        if known == 0:
            frame[version] = frame["label"].mean()
            continue
        signal = causes[:, :known].sum(axis=1)
        tenths = pd.qcut(signal, 50, labels=False)
        frame[version] = (
            frame.groupby(tenths)["label"].transform("mean").clip(0.01, 0.99) + 1e-6 * signal
        )
    return frame


def judged(scores, gate=GATE, **arguments):
    return champion.judge(gate, scores, challenger="new", baselines=BASELINES, **arguments)


# The gate's rule -------------------------------------------------------------------------------


def test_a_surely_better_challenger_wins():
    verdict = judged(gate_rows(base=0, recency=1, old=1, new=4), champion="old")

    assert verdict.winner == "new"
    assert verdict.figures["gain"]["low"] > 0
    assert set(verdict.figures["values"]) == {"base", "recency", "old", "new"}


def test_a_challenger_that_is_only_as_good_waits_for_the_champion_to_age():
    scores = gate_rows(base=0, recency=1, old=3).assign(new=lambda frame: frame["old"])

    at_limit = judged(scores, champion="old", champion_age_days=28)
    over_limit = judged(scores, champion="old", champion_age_days=29)

    assert (at_limit.winner, over_limit.winner) == ("old", "new")
    assert "29 days old" in over_limit.reason


def test_an_old_champion_stays_where_the_challenger_may_be_worse_by_the_margin():
    verdict = judged(
        gate_rows(base=0, recency=1, old=4, new=1), champion="old", champion_age_days=400
    )

    assert verdict.winner == "old"
    assert verdict.figures["gain"]["low"] < -GATE.margin
    assert "may be worse" in verdict.reason


def test_a_better_challenger_with_wrong_probabilities_is_kept_out():
    scores = gate_rows(base=0, recency=1, old=1, new=4)
    scores["new"] = (scores["new"] * 0.5).clip(upper=1)

    verdict = judged(scores, champion="old")

    assert verdict.figures["gain"]["low"] > 0
    assert verdict.winner == "old"
    assert "calibration error" in verdict.reason


def test_true_probabilities_of_few_clients_are_not_refused_for_what_chance_shows():
    random = np.random.default_rng(5)
    chance = random.beta(1, 4, 1500)
    scores = pd.DataFrame({"client_id": np.arange(1500), "base": 0.2, "recency": 0.2})
    scores = scores.assign(new=chance, label=(random.random(1500) < chance).astype(int))

    verdict = judged(scores, gate=replace(GATE, calibration_bound=0.02))

    assert verdict.figures["calibration_errors"]["new"] > verdict.figures["calibration_bound"]
    assert verdict.winner == "new"


def test_where_positives_are_rare_the_calibration_bound_is_half_their_rate():
    busy = np.arange(5000) < 500
    scores = pd.DataFrame({"client_id": np.arange(5000), "base": 0.02, "recency": 0.02})
    scores["label"] = np.where(busy, np.arange(5000) < 80, np.arange(5000) < 520).astype(int)
    fair = scores.groupby(busy)["label"].transform("mean")

    doubled = judged(scores.assign(new=fair * 2))
    honest = judged(scores.assign(new=fair))

    assert doubled.figures["calibration_errors"]["new"] == pytest.approx(0.02)
    assert doubled.figures["calibration_bound"] == pytest.approx(0.01)
    assert (doubled.winner, honest.winner) == ("base", "new")


def test_without_a_champion_the_challenger_must_beat_the_base_rate():
    good = judged(gate_rows(base=0, recency=1, new=2))
    noise = gate_rows(base=0, recency=1).assign(
        new=lambda frame: frame["base"] + np.random.default_rng(1).normal(0, 1e-3, len(frame))
    )
    bad = judged(noise)

    assert good.winner == "new"
    assert bad.winner == "recency"
    assert bad.reason.startswith("no champion; roc_auc")


def test_the_best_baseline_within_the_calibration_bound_stands_in():
    scores = gate_rows(base=0, recency=4)
    scores["recency"] = scores["recency"] * 0.3
    scores["new"] = scores["recency"]

    verdict = judged(scores)

    assert verdict.winner == "base"
    assert verdict.figures["values"]["recency"] > verdict.figures["values"]["base"]


def test_the_base_rate_serves_where_champion_and_challenger_are_both_worse():
    scores = gate_rows(base=0, recency=1, old=4, new=2)
    scores["old"], scores["new"] = 1 - scores["old"], 1 - scores["new"]

    verdict = judged(scores, champion="old", gate=without_calibration())

    assert verdict.figures["gain"]["low"] > 0
    assert verdict.winner == "base"
    assert "over base_rate is not above zero" in verdict.reason
    assert "the champion is worse than base_rate" in verdict.reason


def test_a_champion_that_may_be_as_good_as_the_base_rate_stays():
    scores = gate_rows(base=0, recency=1, old=0, new=2)
    scores["new"] = 1 - scores["new"]

    assert judged(scores, champion="old", gate=without_calibration()).winner == "old"


@pytest.mark.parametrize(("champion_version", "winner"), [("old", "old"), (None, "base")])
def test_rows_with_a_single_label_decide_nothing(champion_version, winner):
    scores = gate_rows(base=0, recency=1, old=1, new=4).assign(label=0)

    verdict = judged(scores, champion=champion_version)

    assert verdict.winner == winner
    assert "all 2000 rows have label 0" in verdict.reason


def test_figures_per_row_are_compared_by_their_mean_and_losses_downwards():
    rng = np.random.default_rng(2)
    users = pd.DataFrame({"user_id": np.arange(500), "base": rng.normal(1, 0.1, 500)})
    users = users.assign(old=users["base"] - 0.1, new=users["base"] - 0.2)
    loss = Gate("toy", "log_loss", 1, 0.01, 28, 1, None, "user_id", per_row=True)
    down = Gate(**{**vars(loss), "higher_is_better": False})

    chosen = [
        champion.judge(gate, users, "new", {"base": "base_rate"}, "old").winner
        for gate in (loss, down)
    ]

    # Of gains the base has most, and both others fall to it; of losses the new one has least.
    assert chosen == ["base", "new"]


def test_of_lists_the_rival_that_the_job_named_stands_in():
    users = pd.DataFrame({"user_id": np.arange(400)})
    users = users.assign(base=0.2, flashy=0.3, new=0.1)
    gate = Gate("toy", "ndcg@10", 1, 0.01, 28, 1, None, "user_id", per_row=True)

    verdict = champion.judge(gate, users, "new", {"base": "base_rate", "flashy": "fresh"})

    assert verdict.winner == "base"
    assert "base stands in" in verdict.reason


@pytest.mark.parametrize("users", [0, 1, 19])
def test_too_few_users_decide_nothing(users):
    few = pd.DataFrame({"user_id": np.arange(users), "base": 0.0, "old": 0.1, "new": 0.9})
    gate = Gate("toy", "ndcg@10", 1, 0.01, 28, 1, None, "user_id", per_row=True, least_units=20)

    champions = [
        champion.judge(gate, few, "new", {"base": "base_rate"}, old) for old in ("old", None)
    ]

    assert [verdict.winner for verdict in champions] == ["old", "base"]
    assert f"{users} user_ids of at least 20: no test is possible" in champions[0].reason


def test_rows_of_one_client_are_resampled_together():
    alone = gate_rows(clients=300, base=0, recency=1, old=2, new=3)
    tenfold = pd.concat([alone] * 10, ignore_index=True)

    apart = judged(tenfold.assign(client_id=np.arange(len(tenfold))), champion="old")
    together = judged(tenfold, champion="old")

    width = [v.figures["gain"]["high"] - v.figures["gain"]["low"] for v in (apart, together)]
    assert width[1] == pytest.approx(width[0] * np.sqrt(10), rel=0.25)
    assert together.figures["units"] == 300


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns="old"), r"the gate's rows lack \['old'\]"),
        (lambda frame: frame.iloc[:0], "0 rows for the gate"),
        (lambda frame: frame.assign(new=np.nan), "2000 of 2000 gate rows have no new"),
        (lambda frame: frame.assign(label=2), "label must be 0 or 1"),
    ],
)
def test_rows_that_cannot_carry_a_decision_are_named(spoil, message):
    with pytest.raises(ValueError, match=message):
        judged(spoil(gate_rows(base=0, recency=1, old=1, new=2)), champion="old")


def test_the_quality_of_model_and_baselines_is_measured_with_intervals(warehouse, job):
    scores = gate_rows(base=0, new=3)
    users = scores.rename(columns={"client_id": "user_id"})
    loss = Gate("toy", "log_loss", 1, 0.01, 28, 1, None, "user_id", per_row=True)

    measured = champion.measure(GATE, scores, {"new": "model", "base": "base_rate"})
    per_row = champion.measure(loss, users, {"new": "model"})

    by_name = measured.set_index(["name", "metric"])
    assert set(measured["metric"]) == set(evaluation.METRICS)
    assert by_name.loc[("base_rate", "roc_auc"), ["value", "low", "high"]].tolist() == [0.5] * 3
    best = by_name.loc[("model", "roc_auc")]
    assert 0.5 < best["low"] < best["value"] < best["high"] < 1
    assert best["rows"] == 2000
    assert per_row["value"].tolist() == pytest.approx([users["new"].mean()])
    with warehouse.begin() as connection:
        for _ in range(2):
            champion.record_evaluation(connection, job, AS_OF, "gate", measured)
        kept = rows(connection, "select * from ops.evaluation where job = :job", job=job)
    assert len(kept) == len(measured) == 2 * len(evaluation.METRICS)


def test_the_base_rate_must_be_among_the_baselines():
    with pytest.raises(ValueError, match="no baseline base_rate among"):
        champion.judge(GATE, gate_rows(new=1), "new", {"recency": "recency"})


def without_calibration():
    return Gate(**{**vars(GATE), "calibration_bound": None})


# Decisions -------------------------------------------------------------------------------------


@pytest.fixture
def job(warehouse, as_role):
    """A job of this test's own, with a result table; MLflow's store is the whole session's."""
    name = f"toy_{uuid4().hex[:8]}"
    with as_role("migrator").begin() as connection:
        connection.execute(
            text("insert into ops.result_table values (:table, :job, '{}', 90)"),
            {"table": f"result.{name}", "job": name},
        )
    yield name
    with as_role("migrator").begin() as connection:
        for table in ("publication", "result_table"):
            connection.execute(
                text(f"delete from ops.{table} where table_name = :table"),
                {"table": f"result.{name}"},
            )


def gate_of(job, **changes):
    return Gate(**{**vars(GATE), "job": job, **changes})


def train(warehouse, job, as_of, number=1):
    """Register a version and its base rate, without files; return both names."""
    model = f"{job}-{as_of}-{number}"
    with warehouse.begin() as connection:
        for name, kind in ((model, "model"), (f"{model}-base_rate", "baseline")):
            nothing = dict.fromkeys(
                ["mlflow_run_id", "model_uri", "artifact_sha256", "airflow_run_id"]
            ) | dict.fromkeys(["train_from", "train_to", "gate_cutoff"])
            execute(
                connection,
                "champion/insert_version.sql",
                model_version=name,
                job=job,
                as_of=as_of,
                kind=kind,
                name="catboost" if kind == "model" else "base_rate",
                rows="{}",
                params="{}",
                metrics="{}",
                **nothing,
            )
    return model, f"{model}-base_rate"


def publish(warehouse, job, day, version):
    with warehouse.begin() as connection:
        connection.execute(
            text(
                "insert into ops.publication"
                " (table_name, as_of, model_version, rows, checksum, replaced)"
                " values (:table, :day, :version, 1, 'x', false)"
            ),
            {"table": f"result.{job}", "day": day, "version": version},
        )


def scored(new, base, old=None, better=True):
    """Return gate rows on which ``new`` is surely better than ``old``, or as good."""
    frame = gate_rows(clients=600, base=0, weak=1, strong=4)
    columns = {new: frame["strong"], base: frame["base"]}
    if old:
        columns[old] = frame["weak"] if better else frame["strong"]
    return pd.concat([frame[["client_id", "label"]], pd.DataFrame(columns)], axis=1)


def night(warehouse, job, as_of, number=1, old=None, better=True, **arguments):
    """Train for a day and go to the gate."""
    new, base = train(warehouse, job, as_of, number)
    scores = scored(new, base, old, better)
    return champion.decide(warehouse, gate_of(job), as_of, scores, new, "test", **arguments)


def live(warehouse, job, as_of):
    with warehouse.connect() as connection:
        return champion.live_version(connection, job, as_of)


def history(warehouse, job):
    with warehouse.connect() as connection:
        return rows(
            connection,
            "select decision, effective_as_of, from_version, to_version from ops.promotion"
            " where job = :job order by promotion_id",
            job=job,
        )


def moved(warehouse, job, *days):
    """Promote a better version on each day; return their names."""
    names = []
    for day in days:
        names.append(night(warehouse, job, day, old=names[-1] if names else None).version)
    return names


def test_the_first_model_that_beats_the_base_rate_goes_live_with_its_figures(warehouse, job):
    decision = night(warehouse, job, AS_OF)

    assert decision.decision == "promote"
    assert live(warehouse, job, AS_OF) == decision.version == f"{job}-2026-03-01-1"
    assert live(warehouse, job, AS_OF - timedelta(days=1)) is None
    with warehouse.connect() as connection:
        [kept] = rows(connection, "select * from ops.promotion where job = :job", job=job)
    assert kept["figures"] == json.loads(json.dumps(decision.figures))
    assert (kept["actor"], kept["from_version"]) == ("test", None)


def test_the_best_baseline_is_published_under_its_own_version(warehouse, job):
    new, base = train(warehouse, job, AS_OF)
    scores = scored(new, base).assign(**{new: 0.5})

    decision = champion.decide(warehouse, gate_of(job), AS_OF, scores, new, "test")

    assert decision.version == base
    assert live(warehouse, job, AS_OF) == base


def test_a_rerun_of_the_day_takes_no_new_decision(warehouse, job):
    first = night(warehouse, job, AS_OF)
    scores = scored(first.version, f"{first.version}-base_rate")

    again = champion.decide(warehouse, gate_of(job), AS_OF, scores, first.version, "rerun")

    assert again == first
    assert len(history(warehouse, job)) == 1


def test_decisions_come_at_the_cadence_only(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)

    early = night(warehouse, job, AS_OF + timedelta(days=6), old=first)
    due = night(warehouse, job, AS_OF + WEEK, old=first)

    assert (early.decision, early.version) == ("wait", first)
    assert early.reason == "next decision on 2026-03-08"
    assert due.decision == "promote"
    assert live(warehouse, job, AS_OF + timedelta(days=6)) == first
    assert live(warehouse, job, AS_OF + WEEK) == due.version


def test_to_promote_what_is_live_is_a_decision_that_holds_for_a_cadence(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)
    publish(warehouse, job, AS_OF + timedelta(days=5), first)

    champion.promote(warehouse, job, first, AS_OF + timedelta(days=6), "ann", "hold it")
    night_after = night(warehouse, job, AS_OF + WEEK, old=first)

    assert (night_after.decision, night_after.version) == ("wait", first)
    assert [row["from_version"] for row in history(warehouse, job)] == [None, first]


def test_a_champion_that_is_not_beaten_is_kept_until_it_is_too_old(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)

    kept = night(warehouse, job, AS_OF + 4 * WEEK, old=first, better=False)
    replaced = night(warehouse, job, AS_OF + 5 * WEEK, old=first, better=False)

    assert (kept.decision, kept.version) == ("keep", first)
    assert replaced.decision == "promote"
    assert "35 days old" in replaced.reason


def test_the_gate_asks_for_the_live_version_by_name(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)

    with pytest.raises(ValueError, match=f"lack \\['{first}'\\]"):
        night(warehouse, job, AS_OF + WEEK)


def test_a_backfill_never_promotes_and_is_served_by_what_was_live(warehouse, job):
    first, second = moved(warehouse, job, AS_OF, AS_OF + WEEK)

    between = night(warehouse, job, AS_OF + timedelta(days=2), old=first)

    assert (between.decision, between.version) == ("refuse", first)
    assert live(warehouse, job, AS_OF + timedelta(days=2)) == first
    assert live(warehouse, job, AS_OF + WEEK) == second


def test_a_day_older_than_the_newest_published_one_is_a_backfill(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)
    publish(warehouse, job, AS_OF + 2 * WEEK, first)

    past = night(warehouse, job, AS_OF + WEEK, old=first)
    tonight = night(warehouse, job, AS_OF + 2 * WEEK, old=first)

    assert (past.decision, tonight.decision) == ("refuse", "promote")
    assert live(warehouse, job, AS_OF + WEEK) == first


def test_a_day_before_the_first_decision_is_served_by_its_own_version_only(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)
    before = AS_OF - timedelta(days=3)

    decision = night(warehouse, job, before)
    again = champion.decide(
        warehouse,
        gate_of(job),
        before,
        scored(decision.version, f"{decision.version}-base_rate"),
        decision.version,
        "rerun",
    )

    assert (decision.decision, decision.version) == ("refuse", f"{job}-{before}-1")
    assert again == decision
    assert live(warehouse, job, before) is None
    assert live(warehouse, job, AS_OF) == first


def test_a_version_retrained_for_an_old_day_serves_that_day_only(warehouse, job):
    first, second = moved(warehouse, job, AS_OF, AS_OF + WEEK)
    day = AS_OF + timedelta(days=2)

    decision = night(warehouse, job, day, number=2, retrained=True)

    assert (decision.decision, decision.version) == ("refuse", f"{job}-{day}-2")
    assert live(warehouse, job, day) == first
    assert live(warehouse, job, AS_OF + WEEK) == second


def test_two_decisions_at_once_are_taken_one_after_the_other(warehouse, job):
    challengers = [train(warehouse, job, AS_OF, number) for number in (1, 2, 3, 4)]
    found = []

    def decide(new, base):
        found.append(
            champion.decide(warehouse, gate_of(job), AS_OF, scored(new, base), new, "test")
        )

    threads = [threading.Thread(target=decide, args=pair) for pair in challengers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(one.decision for one in found) == ["promote", "wait", "wait", "wait"]
    assert len({one.version for one in found}) == 1
    assert len(history(warehouse, job)) == 1


@pytest.mark.parametrize(
    "change", ["update ops.promotion set reason = 'x'", "delete from ops.promotion"]
)
def test_decisions_can_be_added_but_not_changed(warehouse, job, change):
    moved(warehouse, job, AS_OF)

    with warehouse.connect() as connection:
        connection.execute(text("set role nightshift"))
        with pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text(f"{change} where job = :job"), {"job": job})


# By hand ---------------------------------------------------------------------------------------


def test_rollback_goes_back_one_version_and_names_the_days_to_score_again(warehouse, job):
    first, second = moved(warehouse, job, AS_OF, AS_OF + WEEK)
    for days, version in ((6, first), (7, second), (8, second)):
        publish(warehouse, job, AS_OF + timedelta(days=days), version)

    change = champion.rollback(warehouse, job, AS_OF + WEEK, "ann", "scores too high")

    assert (change.from_version, change.to_version) == (second, first)
    assert change.affected_days == [AS_OF + timedelta(days=7), AS_OF + timedelta(days=8)]
    assert live(warehouse, job, AS_OF + timedelta(days=8)) == first


def test_rollback_twice_goes_back_two_versions_and_then_says_so(warehouse, job):
    first, _second, third = moved(warehouse, job, AS_OF, AS_OF + WEEK, AS_OF + 2 * WEEK)
    today = AS_OF + 2 * WEEK

    champion.rollback(warehouse, job, today, "ann", "bad")
    champion.rollback(warehouse, job, today, "ann", "bad too")

    assert live(warehouse, job, today) == first
    with pytest.raises(LookupError, match=f"{first} is the only version"):
        champion.rollback(warehouse, job, today, "ann", "all bad")
    champion.promote(warehouse, job, third, today, "ann", "was the data")
    assert live(warehouse, job, today) == third


def test_rollback_from_an_earlier_day_overrules_the_decisions_after_it(warehouse, job):
    first, second, third = moved(warehouse, job, AS_OF, AS_OF + WEEK, AS_OF + 2 * WEEK)

    champion.rollback(warehouse, job, AS_OF + WEEK + timedelta(days=1), "ann", "bad")

    days = [AS_OF + timedelta(days=day) for day in (0, 7, 8, 14, 20)]
    assert [live(warehouse, job, day) for day in days] == [first, second, second, second, second]
    champion.rollback(warehouse, job, AS_OF + WEEK, "ann", "that one as well")
    assert {live(warehouse, job, day) for day in days} == {first}
    assert third not in {row["to_version"] for row in history(warehouse, job)[3:]}


def test_a_champion_kept_since_does_not_undo_a_rollback_from_an_earlier_day(warehouse, job):
    first, second = moved(warehouse, job, AS_OF, AS_OF + WEEK)
    kept = night(warehouse, job, AS_OF + 2 * WEEK, old=second, better=False)

    champion.rollback(warehouse, job, AS_OF + WEEK, "ann", "bad")

    assert kept.decision == "keep"
    assert live(warehouse, job, AS_OF + 3 * WEEK) == first


def test_a_rerun_after_a_rollback_serves_the_version_rolled_back_to(warehouse, job):
    first, second = moved(warehouse, job, AS_OF, AS_OF + WEEK)
    champion.rollback(warehouse, job, AS_OF + WEEK, "ann", "bad")

    again = champion.decide(
        warehouse,
        gate_of(job),
        AS_OF + WEEK,
        scored(second, f"{second}-base_rate", first),
        second,
        "rerun",
    )

    assert again.version == first
    next_night = night(warehouse, job, AS_OF + WEEK + timedelta(days=1), old=first)
    assert (next_night.decision, next_night.version) == ("wait", first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actor": " "}, "needs an actor and a reason"),
        ({"reason": ""}, "needs an actor and a reason"),
        ({"effective_as_of": AS_OF - timedelta(days=1)}, "knows what happened after 2026-02-28"),
        ({"effective_as_of": date(2062, 3, 1)}, "beyond the day after the newest one seen"),
    ],
)
def test_a_promotion_by_hand_that_makes_no_sense_is_refused(warehouse, job, changes, message):
    [first] = moved(warehouse, job, AS_OF)
    sensible = {"effective_as_of": AS_OF, "actor": "ann", "reason": "because"}

    with pytest.raises(ValueError, match=message):
        champion.promote(warehouse, job, first, **{**sensible, **changes})
    assert len(history(warehouse, job)) == 1


def test_a_version_that_is_unknown_or_another_jobs_is_refused(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)

    with pytest.raises(LookupError, match="has no nonsense"):
        champion.promote(warehouse, job, "nonsense", AS_OF, "ann", "because")
    with pytest.raises(ValueError, match=f"is a version of {job}, not of other"):
        champion.promote(warehouse, "other", first, AS_OF, "ann", "because")


def test_versions_lists_what_each_one_served(warehouse, job):
    first, second = moved(warehouse, job, AS_OF, AS_OF + WEEK)
    for days, version in ((0, first), (1, first), (7, first), (7, second)):
        publish(warehouse, job, AS_OF + timedelta(days=days), version)

    listed = champion.versions(warehouse, job).set_index("model_version")

    assert listed.index[0] == second
    assert listed.loc[[first, second], "served_days"].tolist() == [2, 1]
    assert listed.loc[first, "live_since"] == AS_OF
    assert listed.index[listed["is_live"]].tolist() == [second]


# MLflow ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory):
    """The address of a fresh MLflow store, and the state folder beside it."""
    state = tmp_path_factory.mktemp("state")
    return f"sqlite:///{state}/mlflow.db", state


@pytest.fixture
def mlflow(mlflow_store, monkeypatch):
    uri, state = mlflow_store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(state))
    return MlflowClient(tracking_uri=uri)


METRICS = pd.DataFrame(
    [("model", "roc_auc", 0.8, 0.78, 0.82), ("recency", "roc_auc", 0.7, None, None)],
    columns=["name", "metric", "value", "low", "high"],
)


def trained(warehouse, job, folder: Path, as_of=AS_OF):
    """Train, log and register a model of one file with its base rate; return version and run."""
    with warehouse.connect() as connection:
        name = champion.next_version(connection, job, as_of)
    for part in ("model", "base_rate", "pictures"):
        (folder / part / "deep").mkdir(parents=True, exist_ok=True)
        (folder / part / "deep" / "file.txt").write_text(f"{part} of {name}")
    base = champion.baseline_version(name, "base_rate")
    with champion.training_run(name, job, as_of) as run_id:
        champion.log(run_id, {"depth": 6, "rows": 100}, METRICS, folder / "pictures")
        versions = {
            folder / "model": Version(
                name, job, as_of, "model", "catboost", train_to=as_of, rows={"fit": 100}
            ),
            folder / "base_rate": Version(base, job, as_of, "baseline", "base_rate"),
        }
        champion.register(warehouse, run_id, versions)
    return name, run_id


def test_a_training_is_a_finished_run_with_all_that_made_it(
    warehouse, job, mlflow, tmp_path, monkeypatch
):
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__1")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow")
    name, run_id = trained(warehouse, job, tmp_path)

    run = mlflow.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"depth": "6", "rows": "100"}
    assert run.data.metrics == {
        "roc_auc": 0.8,
        "roc_auc.low": 0.78,
        "roc_auc.high": 0.82,
        "recency.roc_auc": 0.7,
    }
    assert run.data.tags["airflow_run_id"] == "scheduled__1"
    assert f"(http://airflow/dags/{job}/runs/scheduled__1)" in run.data.tags["mlflow.note.content"]
    assert len(run.data.tags["requirements_sha256"]) == 64
    kept = {entry.path for entry in mlflow.list_artifacts(run_id)}
    assert kept == {"model", "baselines", "pictures", "environment"}
    with warehouse.connect() as connection:
        row = champion.described(connection, name)
    assert (row["mlflow_run_id"], row["rows"], row["train_to"]) == (run_id, {"fit": 100}, AS_OF)
    number = row["model_uri"].rpartition("/")[2]
    assert mlflow.get_model_version(job, number).tags["model_version"] == name


def test_a_training_that_breaks_is_a_failed_run_and_no_version(warehouse, job, mlflow):
    with (
        pytest.raises(ZeroDivisionError),
        champion.training_run(f"{job}-2026-03-01-1", job, AS_OF) as run_id,
    ):
        raise ZeroDivisionError

    assert mlflow.get_run(run_id).info.status == "FAILED"
    with warehouse.connect() as connection:
        assert champion.trained_version(connection, job, AS_OF) is None


def test_a_rerun_finds_the_days_version_and_a_retraining_gets_the_next_number(
    warehouse, job, mlflow, tmp_path
):
    first, _ = trained(warehouse, job, tmp_path)
    with warehouse.connect() as connection:
        found = champion.trained_version(connection, job, AS_OF)
    second, _ = trained(warehouse, job, tmp_path)

    assert found == first == f"{job}-2026-03-01-1"
    assert second == f"{job}-2026-03-01-2"
    with warehouse.connect() as connection:
        assert champion.trained_version(connection, job, AS_OF) == second
        assert champion.trained_version(connection, job, AS_OF + WEEK) is None


def test_a_name_that_is_taken_is_not_registered_again(warehouse, job, mlflow, tmp_path):
    name, run_id = trained(warehouse, job, tmp_path)

    with pytest.raises(RuntimeError, match=f"{name} is registered already"):
        champion.register(
            warehouse, run_id, {tmp_path / "model": Version(name, job, AS_OF, "model", "catboost")}
        )


def test_a_model_without_files_is_not_registered(warehouse, job, mlflow, tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(ValueError, match="no model files"):
        champion.register(
            warehouse, "run", {tmp_path / "empty": Version("v", job, AS_OF, "model", "catboost")}
        )


def test_what_is_loaded_is_what_was_tested(warehouse, job, mlflow, tmp_path):
    name, _ = trained(warehouse, job, tmp_path)
    base = champion.baseline_version(name, "base_rate")

    model = champion.load_model(warehouse, name, tmp_path / "cache")
    baseline = champion.load_model(warehouse, base, tmp_path / "cache")

    assert (model / "deep" / "file.txt").read_text() == f"model of {name}"
    assert (baseline / "deep" / "file.txt").read_text() == f"base_rate of {name}"


def test_a_cached_model_needs_no_mlflow_and_a_damaged_copy_is_fetched_again(
    warehouse, job, mlflow, tmp_path, monkeypatch
):
    name, _ = trained(warehouse, job, tmp_path)
    folder = champion.load_model(warehouse, name, tmp_path / "cache")

    with monkeypatch.context() as offline:
        offline.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert champion.load_model(warehouse, name, tmp_path / "cache") == folder
    (folder / "deep" / "file.txt").write_text("damaged")
    champion.load_model(warehouse, name, tmp_path / "cache")

    assert (folder / "deep" / "file.txt").read_text() == f"model of {name}"


def test_files_changed_in_mlflow_are_refused(warehouse, job, mlflow, tmp_path):
    name, run_id = trained(warehouse, job, tmp_path)
    (tmp_path / "model" / "deep" / "file.txt").write_text("another model")
    mlflow.log_artifacts(run_id, str(tmp_path / "model"), "model")

    with pytest.raises(champion.ArtifactChanged, match=f"{name}: .* do not serve it"):
        champion.load_model(warehouse, name, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_alias_follows_the_live_row_and_is_put_back(warehouse, job, mlflow, tmp_path):
    first, _ = trained(warehouse, job, tmp_path)
    second, _ = trained(warehouse, job, tmp_path, AS_OF + WEEK)

    def aliased():
        return mlflow.get_model_version_by_alias(job, "live").tags["model_version"]

    assert champion.sync_alias(warehouse, job) is None
    champion.promote(warehouse, job, first, AS_OF, "ann", "first")
    champion.sync_alias(warehouse, job)
    assert aliased() == first
    champion.promote(warehouse, job, second, AS_OF + WEEK, "ann", "second")
    champion.sync_alias(warehouse, job)
    assert aliased() == second
    champion.rollback(warehouse, job, AS_OF + WEEK, "ann", "bad")
    assert champion.sync_alias(warehouse, job) == first
    assert aliased() == first
    mlflow.set_registered_model_alias(job, "live", "1" if second == first else "3")
    champion.sync_alias(warehouse, job)
    assert aliased() == first


def test_an_alias_without_a_live_version_is_removed(warehouse, job, mlflow, tmp_path):
    trained(warehouse, job, tmp_path)
    mlflow.set_registered_model_alias(job, "live", "1")

    champion.sync_alias(warehouse, job)

    assert mlflow.get_registered_model(job).aliases == {}


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "postgresql://mlflow:secret@127.0.0.1:9/mlflow"]
)
def test_mlflow_being_down_is_said_at_once_and_without_the_password(job, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    with (
        pytest.raises(champion.MlflowUnreachable, match=r"127\.0\.0\.1:9") as caught,
        champion.training_run(f"{job}-2026-03-01-1", job, AS_OF),
    ):
        pass
    assert "secret" not in str(caught.value)
    assert "make up" in str(caught.value)


# What happened since ---------------------------------------------------------------------------


def test_published_days_are_compared_once_their_labels_are_complete(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)
    publish(warehouse, job, AS_OF, first)
    publish(warehouse, job, AS_OF + timedelta(days=1), first)

    def labelled(day):
        return pd.DataFrame({"label": [0, 1], "score": [0.2, 0.6]})

    def compare(as_of):
        return champion.mature(warehouse, job, f"result.{job}", as_of, 90, labelled)

    assert compare(AS_OF + timedelta(days=89)) == []
    assert compare(AS_OF + timedelta(days=90)) == [AS_OF]
    assert compare(AS_OF + timedelta(days=91)) == [AS_OF + timedelta(days=1)]
    assert compare(AS_OF + timedelta(days=91)) == []
    with warehouse.connect() as connection:
        kept = rows(
            connection,
            "select metric, value, rows from ops.evaluation"
            " where job = :job and as_of = :day and stage = 'matured' order by metric",
            job=job,
            day=AS_OF,
        )
    values = {row["metric"]: row["value"] for row in kept}
    assert set(values) == {"observed_rate", "predicted_rate", *evaluation.METRICS}
    assert values["predicted_rate"] == pytest.approx(0.4)
    assert values["observed_rate"] == 0.5
    assert values["brier"] == pytest.approx(0.1)
    assert {row["rows"] for row in kept} == {2}


def test_a_day_scored_again_by_another_version_is_compared_again(warehouse, job):
    first, second = moved(warehouse, job, AS_OF, AS_OF + WEEK)
    rowset = pd.DataFrame({"label": [0, 1], "score": [0.2, 0.6]})

    found = []
    for version in (first, second):
        publish(warehouse, job, AS_OF, version)
        found.append(
            champion.mature(
                warehouse,
                job,
                f"result.{job}",
                AS_OF + 20 * WEEK,
                90,
                lambda day: rowset,
            )
        )

    assert found == [[AS_OF], [AS_OF]]


def test_a_published_day_without_rows_to_compare_is_named(warehouse, job):
    [first] = moved(warehouse, job, AS_OF)
    publish(warehouse, job, AS_OF, first)

    with pytest.raises(ValueError, match=f"result.{job} 2026-03-01: 0 rows to compare"):
        champion.mature(
            warehouse,
            job,
            f"result.{job}",
            AS_OF + 20 * WEEK,
            90,
            lambda day: pd.DataFrame({"label": [], "score": []}),
        )


def test_tuned_values_are_the_newest_not_later_than_the_run(warehouse, job):
    with warehouse.begin() as connection:
        champion.record_tuning(connection, job, AS_OF, {"depth": 4}, 20, 0.8)
        champion.record_tuning(connection, job, AS_OF + WEEK, {"depth": 6}, 20, 0.8)
        champion.record_tuning(connection, job, AS_OF, {"depth": 9}, 20, 0.8)

        assert champion.tuned(connection, job, AS_OF - WEEK) is None
        assert champion.tuned(connection, job, AS_OF + timedelta(days=6)) == (AS_OF, {"depth": 4})
        assert champion.tuned(connection, job, AS_OF + WEEK) == (AS_OF + WEEK, {"depth": 6})
