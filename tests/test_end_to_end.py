"""The README's first command on a small shop: a real scheduler, real tasks, real tables."""

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
from jobs.local.demo import today
from jobs.settings import ROOT

CLIENTS = 6_000
PATIENCE_SECONDS = 900
PORTS = ("POSTGRES", "AIRFLOW", "MLFLOW", "PAGES")
JOB = "purchase_propensity"


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
        done = local("demo", "--clients", str(CLIENTS))
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
    return [today() - timedelta(days=back) for back in (2, 1, 0)]


def test_the_demo_publishes_its_nights_through_airflow(demo, settings):
    bi = settings["NIGHTSHIFT_BI_URL"]

    published = ask(
        bi,
        "select as_of, count(*), min(probability), max(probability), count(distinct decile)"
        f" from bi.{JOB}_history group by as_of order by as_of",
    )

    assert [row[0] for row in published] == nights()
    for _, clients, lowest, highest, deciles in published:
        assert clients > CLIENTS / 2
        assert 0 < lowest < highest < 1
        assert deciles == 10
    for words in ("Published tables", "Model quality", "rfm_logistic", "exact_duplicates"):
        assert words in demo


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
            f" and metric = 'pr_auc' and as_of = '{nights()[0]}'",
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

    assert found == [(3,)]


def test_the_nights_found_late_rows_and_set_offenders_aside(settings):
    late, refused = ask(
        settings["AIRFLOW_CONN_WAREHOUSE"],
        "select sum(rows_loaded) filter (where mode = 'late'), sum(quarantined) from ops.load",
    )[0]

    assert late > 0
    assert refused > 0


def test_a_backfill_run_twice_gives_the_same_checksums(local, environment, settings):
    first, last = nights()[0] - timedelta(days=2), nights()[0] - timedelta(days=1)
    password = state.secret(Path(environment["NIGHTSHIFT_STATE"]), "airflow_admin")
    url = f"http://127.0.0.1:{environment['NIGHTSHIFT_AIRFLOW_PORT']}"
    airflow = airflow_api.Airflow(url, "admin", password)
    checksums = (
        "select as_of, model_version, checksum from ops.publication"
        f" where as_of between '{first}' and '{last}' order by publication_id"
    )
    promotions = f"select count(*) from ops.promotion where decision = 'promote' and job = '{JOB}'"
    promoted = ask(settings["AIRFLOW_CONN_WAREHOUSE"], promotions)

    seen = []
    for _ in range(2):
        made = local(
            "airflow", "backfill", "create", "--dag-id", JOB, "--from-date", str(first),
            "--to-date", str(last), "--reprocess-behavior", "completed",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr[-2000:]
        wait_for_backfill(airflow)
        seen.append(ask(settings["AIRFLOW_CONN_WAREHOUSE"], checksums))

    assert [row[0] for row in seen[0]] == [first, last]
    assert seen[1] == seen[0]
    assert ask(settings["AIRFLOW_CONN_WAREHOUSE"], promotions) == promoted


def wait_for_backfill(airflow: airflow_api.Airflow) -> None:
    """Return when every backfill is over, all runs of the DAG successes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = airflow_api.call(airflow, "GET", f"/api/v2/backfills?dag_id={JOB}")["backfills"]
        if found and all(backfill["completed_at"] for backfill in found):
            runs = airflow_api.call(airflow, "GET", f"/api/v2/dags/{JOB}/dagRuns?limit=100")
            assert {run["state"] for run in runs["dag_runs"]} == {"success"}
            return
        time.sleep(2)
    raise AssertionError("the backfill did not end")


def test_a_second_demo_only_looks(local, demo):
    begun = time.monotonic()

    again = local("demo")

    assert again.returncode == 0, again.stderr[-2000:]
    assert "Published tables" in again.stdout
    assert time.monotonic() - begun < 240


def test_down_leaves_nothing_running(local, environment, demo):
    down = local("down")

    assert down.returncode == 0
    for name in PORTS:
        assert processes.port_free(int(environment[f"NIGHTSHIFT_{name}_PORT"])), name
