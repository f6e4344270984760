"""The README's first command on a small world: a real scheduler, real tasks, real tables."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from jobs.local import airflow_api, processes, state
from jobs.local.demo import LAST_NIGHT_ONLY, ORDER, today
from jobs.settings import ROOT

CLIENTS, USERS = 6_000, 400
PATIENCE_SECONDS = 2700
PORTS = ("POSTGRES", "AIRFLOW", "MLFLOW", "PAGES")
JOB, ENGAGEMENT, BEHAVIOR = "purchase_propensity", "client_engagement", "client_behavior"
FEED, POSTS = "feed_recommendation", "post_conversion"
DAY_PARTS = 4


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    ports = {f"NIGHTSHIFT_{name}_PORT": str(processes.free_port()) for name in PORTS}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    state = tmp_path_factory.mktemp("end-to-end") / "state"
    # The day may change while the test runs; what the demo calls today must not.
    return {**kept, **ports, "NIGHTSHIFT_STATE": str(state), "NIGHTSHIFT_TODAY": str(today())}


Local = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def local(environment) -> Local:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobs.local.cli", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )

    return call


@pytest.fixture(scope="module")
def demo(local: Local) -> Iterator[str]:
    """Run the demo and yield what it printed; nothing of it is left running afterwards."""
    try:
        done = local("demo", "--clients", str(CLIENTS), "--users", str(USERS))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        yield done.stdout
    finally:
        local("clean")


@pytest.fixture(scope="module")
def settings(environment, demo) -> dict[str, str]:
    lines = (Path(environment["NIGHTSHIFT_STATE"]) / "env").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line]
    return {name: value.strip("'") for name, _, value in pairs}


def ask(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def nights() -> list[date]:
    return [today() - timedelta(days=back) for back in (1, 0)]


def test_the_demo_publishes_its_nights_through_airflow(demo, settings):
    bi = settings["NIGHTSHIFT_BI_URL"]

    published = ask(
        bi,
        "select as_of, count(*), min(probability), max(probability), count(distinct decile)"
        f" from bi.{JOB}_history group by as_of order by as_of",
    )

    assert [row[0] for row in published] == nights()[-1:]
    for _, clients, lowest, highest, deciles in published:
        assert clients > CLIENTS / 2
        assert 0 < lowest < highest < 1
        assert deciles == 10
    for words in ("Published tables", "Model quality", "rfm_logistic", "exact_duplicates"):
        assert words in demo


def test_the_night_names_clients_who_will_engage_and_keeps_what_was_tried(settings):
    bi = settings["NIGHTSHIFT_BI_URL"]

    published = ask(
        bi,
        "select as_of, count(*), sum(cast(engaged as integer)), count(best_hour)"
        f" from bi.{ENGAGEMENT}_history group by as_of order by as_of",
    )
    tried = ask(
        bi,
        "select count(distinct model), count(distinct handling), sum(cast(chosen as integer))"
        f" from bi.{ENGAGEMENT}_bench group by model_version",
    )

    assert [row[0] for row in published] == nights()[-1:]
    for _, clients, engaged, hours in published:
        assert clients > CLIENTS / 2
        assert 0 < engaged < clients / 5
        assert hours > engaged
    # Three models and the answer that is always no.
    assert tried == [(4, 7, 1)]


def test_the_night_says_where_clients_stand_and_how_they_move(settings, demo):
    bi = settings["NIGHTSHIFT_BI_URL"]

    published = ask(
        bi,
        "select as_of, count(*), count(distinct current_state), min(purchase_probability),"
        " max(purchase_probability), count(*) filter (where (churn_probability is null)"
        f" <> (risk_band = 'gone')) from bi.{BEHAVIOR}_history group by as_of order by as_of",
    )
    moves = ask(
        bi,
        "select segment, from_state, sum(probability), sum(transitions) > 0"
        " from bi.behavior_transition group by 1, 2",
    )
    serves = ask(
        bi, f"select task, count(*) from bi.{BEHAVIOR}_candidates where share = 1 group by 1"
    )

    assert [row[0] for row in published] == nights()[-1:]
    for _, clients, states, lowest, highest, contradictions in published:
        assert clients > CLIENTS / 4
        assert states > 5
        assert 0 < lowest < highest < 1
        assert contradictions == 0
    assert {row[0] for row in moves} == {"all", "buyers", "others"}
    assert [row for row in moves if abs(row[2] - 1) > 1e-6 and row[3]] == []
    assert sorted(serves) == [("churn", 1), ("next", 1), ("purchase", 1)]
    assert "markov_personal" in demo


def test_the_night_says_what_becomes_of_a_view_of_each_post(settings, demo):
    bi, warehouse = settings["NIGHTSHIFT_BI_URL"], settings["AIRFLOW_CONN_WAREHOUSE"]

    published = ask(
        bi,
        "select as_of, count(*), count(distinct post_id), count(distinct action),"
        " count(*) filter (where not predicted_rate between predicted_low and predicted_high)"
        f" from bi.{POSTS}_history group by as_of",
    )
    tried = ask(
        bi,
        "select action, count(*) filter (where serves), count(picture_gain)"
        f" from bi.{POSTS}_experiments group by action order by action",
    )
    embedded, pictures, refused = ask(
        warehouse,
        "select (select count(*) from feature.post_image_embedding),"
        " (select count(*) from raw.post_image where known_to = 'infinity'),"
        " (select count(*) from quarantine.post_picture)",
    )[0]

    assert [row[0] for row in published] == nights()[-1:]
    for _, rows, posts, actions, outside in published:
        assert rows == posts * actions
        assert actions == 4
        assert outside == 0
    # Three models on words, three on vectors, each with pictures.
    assert tried == [(action, 1, 6) for action in ("comment", "hide", "like", "share")]
    assert embedded >= pictures > 20
    assert refused == 0
    assert ask(bi, "select count(*) from bi.post_value") == [(published[0][2],)]
    assert "gain_from_pictures" in demo


def test_reasons_sum_to_the_log_odds_in_the_view_that_people_read(settings):
    broken = ask(
        settings["NIGHTSHIFT_BI_URL"],
        "select client_id from (select client_id, probability, reason_rest + (select"
        " sum((reason ->> 'contribution')::float) from jsonb_array_elements(reasons) as reason)"
        f" as log_odds from bi.{JOB}) as summed"
        " where abs(log_odds - ln(probability / (1 - probability))) > .001",
    )

    assert broken == []


def test_the_model_beats_the_base_rate_on_rows_it_was_not_fitted_on(settings):
    quality = dict(
        ask(
            settings["NIGHTSHIFT_BI_URL"],
            "select name, value from bi.model_quality where stage = 'gate'"
            f" and job = '{JOB}' and metric = 'pr_auc' and as_of = '{nights()[-1]}'",
        )
    )

    assert set(quality) == {"model", "base_rate", "recency", "rfm_logistic", "bg_nbd"}
    assert quality["model"] > 1.5 * quality["base_rate"]


def test_lineage_leads_from_a_row_to_the_runs_that_made_it(settings):
    found = ask(
        settings["AIRFLOW_CONN_WAREHOUSE"],
        "select count(*) from ops.publication join ops.model_version using (model_version)"
        " where publication.airflow_run_id is not null and publication.mlflow_run_id is not null"
        " and model_version.train_to <= model_version.gate_cutoff"
        " and publication.rows > 0 and length(publication.checksum) > 20",
    )

    # Three jobs of the shop, one of them with two tables, and the posts' rates.
    assert found == [(5,)]


def test_the_nights_found_late_rows_and_set_offenders_aside(settings):
    late, refused = ask(
        settings["AIRFLOW_CONN_WAREHOUSE"],
        "select sum(rows_loaded) filter (where mode = 'late'), sum(quarantined) from ops.load",
    )[0]

    assert late > 0
    assert refused > 0


def test_every_night_publishes_a_list_for_every_user_and_part_of_the_day(settings):
    found = ask(
        settings["AIRFLOW_CONN_WAREHOUSE"],
        "select as_of, count(*), count(distinct day_part), count(distinct arm),"
        " min(cardinality(post_ids)),"
        " (select count(distinct user_id) from raw.user_data"
        " where known_from <= list.as_of and known_to > list.as_of)"
        " from result.feed_recommendation as list group by as_of order by as_of",
    )

    assert [row[0] for row in found] == nights()
    for _, lists, parts, arms, shortest, users in found:
        assert users > USERS / 2
        assert lists == users * DAY_PARTS
        assert (parts, arms) == (DAY_PARTS, 2)
        assert shortest > 0


def test_users_saw_the_lists_published_for_the_day_and_liked_posts_of_them(settings):
    url = settings["AIRFLOW_CONN_WAREHOUSE"]
    arms = ask(
        url,
        "select as_of, array_agg(distinct arm order by arm),"
        " bool_and(cast(served_at at time zone 'UTC' as date) = as_of)"
        " from experiment.impression group by as_of order by as_of",
    )
    strange = ask(
        url,
        "select request_id from experiment.impression as shown"
        " left join result.feed_recommendation as list using (as_of, user_id, day_part)"
        " where list.post_ids is null or not shown.post_ids <@ list.post_ids"
        " or not shown.sources <@ list.sources or shown.arm <> list.arm"
        " or not list.model_version = shown.model_version",
    )
    liked = ask(
        url,
        "select count(*) from experiment.impression as shown"
        " join raw.feed_data as event using (user_id)"
        " where event.action = 'like' and event.post_id = any(shown.post_ids)"
        " and event.timestamp > shown.served_at",
    )[0][0]

    # Today's lists are published, and nobody has reacted to them yet.
    assert arms == [(night, ["control", "test"], True) for night in nights()[:-1]]
    assert strange == []
    assert liked > 0


def test_the_readout_has_counted_the_days_on_which_users_saw_lists(settings, demo):
    found = ask(
        settings["NIGHTSHIFT_BI_URL"],
        "select as_of, metric, first_day, last_day, users > 0 and users_compared > 0,"
        " users_in_both, sample_ratio_alarm from bi.experiment_result order by metric",
    )

    days = (nights()[1], nights()[0], nights()[0])
    assert [(row[0], row[2], row[3]) for row in found] == [days] * 3
    assert [row[1] for row in found] == ["hitrate_5", "like_rate", "user_like_share"]
    assert {row[4:] for row in found} == {(True, 0, False)}
    for words in ("ndcg_10", "popular_30d", "(control)", "(test)", "(unknown user)"):
        assert words in demo


def test_no_night_began_before_its_turn_or_called_anybody(environment, settings):
    airflow = airflow_of(environment)

    for dag in ORDER:
        runs = airflow_api.call(airflow, "GET", f"/api/v2/dags/{dag}/dagRuns")["dag_runs"]
        begun = sorted((run["logical_date"][:10], run["start_date"], run["state"]) for run in runs)
        planned = nights()[-1:] if dag in LAST_NIGHT_ONLY else nights()
        assert [run[0] for run in begun] == [str(night) for night in planned]
        assert [run[1] for run in begun] == sorted(run[1] for run in begun)
        assert {run[2] for run in begun} == {"success"}
    assert ask(settings["AIRFLOW_CONN_WAREHOUSE"], "select * from ops.incident") == []


def test_a_backfill_run_twice_gives_the_same_checksums(local, environment, settings):
    jobs = (BEHAVIOR, ENGAGEMENT, FEED, POSTS, JOB)
    first, last = nights()[0] - timedelta(days=2), nights()[0] - timedelta(days=1)
    days = [first + timedelta(days=n) for n in range(2)]
    airflow = airflow_of(environment)
    named = ", ".join(f"'result.{job}'" for job in jobs)
    checksums = (
        "select table_name, as_of, model_version, checksum from ops.publication"
        f" where as_of between '{first}' and '{last}'"
        f" and table_name in ({named})"
        " order by table_name, as_of"
    )
    promotions = "select count(*) from ops.promotion where decision = 'promote'"
    promoted = ask(settings["AIRFLOW_CONN_WAREHOUSE"], f"{promotions} and job = '{JOB}'")

    seen = []
    for _ in range(2):
        for job in jobs:
            made = local(
                "airflow", "backfill", "create", "--dag-id", job, "--from-date", str(first),
                "--to-date", str(last), "--reprocess-behavior", "completed",
                # A day's gate compares with what the day before made live.
                "--max-active-runs", "1",
            )  # fmt: skip
            assert made.returncode == 0, made.stderr[-2000:]
        for job in jobs:
            wait_for_backfill(airflow, job)
        seen.append(ask(settings["AIRFLOW_CONN_WAREHOUSE"], checksums))

    assert [row[:2] for row in seen[0]] == [(f"result.{job}", day) for job in jobs for day in days]
    assert seen[1] == seen[0]
    after = ask(settings["AIRFLOW_CONN_WAREHOUSE"], f"{promotions} and job = '{JOB}'")
    assert after == promoted


def airflow_of(environment: dict[str, str]) -> airflow_api.Airflow:
    password = state.secret(Path(environment["NIGHTSHIFT_STATE"]), "airflow_admin")
    url = f"http://127.0.0.1:{environment['NIGHTSHIFT_AIRFLOW_PORT']}"
    return airflow_api.Airflow(url, "admin", password)


def wait_for_backfill(airflow: airflow_api.Airflow, job: str) -> None:
    """Return when every backfill of the DAG is over, all its runs successes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = airflow_api.call(airflow, "GET", f"/api/v2/backfills?dag_id={job}")["backfills"]
        if found and all(backfill["completed_at"] for backfill in found):
            runs = airflow_api.call(airflow, "GET", f"/api/v2/dags/{job}/dagRuns?limit=100")
            assert {run["state"] for run in runs["dag_runs"]} == {"success"}
            return
        time.sleep(2)
    raise AssertionError(f"the backfill of {job} did not end")


def test_a_second_demo_only_looks(local, settings, demo):
    there = "select (select count(*) from experiment.impression), (select count(*) from ops.load)"
    before = ask(settings["AIRFLOW_CONN_WAREHOUSE"], there)
    begun = time.monotonic()

    again = local("demo")

    assert again.returncode == 0, again.stderr[-2000:]
    assert "Published tables" in again.stdout
    assert time.monotonic() - begun < 240
    assert ask(settings["AIRFLOW_CONN_WAREHOUSE"], there) == before


def test_down_leaves_nothing_running(local, environment, demo):
    down = local("down")

    assert down.returncode == 0
    for name in PORTS:
        assert processes.port_free(int(environment[f"NIGHTSHIFT_{name}_PORT"])), name
