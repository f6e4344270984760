"""The house rules that every DAG obeys; each message says the fix."""

import json
import runpy
import subprocess
import sys
from datetime import timedelta

import airflow_home
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

DAGS = airflow_home.DAGS
LINES = 60
# What a parse may not import; the DAG processor parses every file again and again.
HEAVY = {"pandas", "numpy", "pyarrow", "mlflow", "catboost", "great_expectations", "tensorflow"}
HEAVY |= {"sklearn", "adbc_driver_postgresql", "jobs"}
PARSE_CPU_SECONDS = 2.0
PARSE = """
import json, sys, time, airflow.sdk
before, begun = set(sys.modules), time.process_time()
for path in sys.argv[1:]:
    exec(compile(open(path).read(), path, "exec"), {"__name__": "parsed", "__doc__": None})
took = time.process_time() - begun
print(json.dumps({"took": took, "modules": sorted(set(sys.modules) - before)}))
"""


@pytest.fixture(scope="module")
def bag() -> DagBag:
    """Return every DAG of the repository, parsed."""
    airflow_home.make_database()
    return DagBag(dag_folder=DAGS)


@pytest.fixture(scope="module")
def dags(bag: DagBag) -> list[DAG]:
    return list(bag.dags.values())


def test_every_dag_file_parses_into_the_dag_it_is_named_for(bag):
    files = {path.stem for path in DAGS.glob("*.py")}

    assert bag.import_errors == {}
    assert files, f"no DAG under {DAGS}"
    assert set(bag.dag_ids) == files


def test_every_dag_says_what_it_is_and_what_a_failure_means(dags):
    for dag in dags:
        assert dag.doc_md, f"{dag.dag_id}: put the docstring first in the file, doc_md=__doc__"
        assert "**If it fails:**" in dag.doc_md, f"{dag.dag_id}: docs need '**If it fails:** ...'"
        impact = [tag for tag in dag.tags if tag.startswith("impact:")]
        assert len(impact) == 1, f"{dag.dag_id}: one impact:* tag, found {impact}"


def test_every_dag_is_short():
    for path in DAGS.glob("*.py"):
        lines = len(path.read_text().splitlines())
        assert lines < LINES, f"{path.name}: {lines} lines; DAGs say when, jobs say what happens"


def test_every_dag_runs_daily_at_midnight_utc_one_day_at_a_time(dags):
    for dag in dags:
        timetable = dag.timetable
        assert type(timetable).__name__ == "CronTriggerTimetable", f"{dag.dag_id}: use run.DAILY"
        assert (timetable.expression, str(timetable.timezone)) == ("0 0 * * *", "UTC")
        assert dag.max_active_runs == 1, f"{dag.dag_id}: two days at once would race"
        assert not dag.catchup, f"{dag.dag_id}: history is loaded as a range, not by catching up"


def test_every_task_retries_ends_and_alerts(dags):
    for dag in dags:
        for task in dag.tasks:
            name = f"{dag.dag_id}.{task.task_id}"
            assert task.retries, f"{name}: no retries; pass **run.DAILY"
            assert task.retry_exponential_backoff > 1, f"{name}: retries without backoff"
            assert task.max_retry_delay <= timedelta(hours=1), f"{name}: waits too long"
            assert task.retry_policy, f"{name}: retries what cannot mend itself"
            assert task.execution_timeout, f"{name}: may hang for ever"
            assert task.execution_timeout <= timedelta(hours=4), f"{name}: longer than a night"
            assert task.on_failure_callback, f"{name}: fails in silence"
            assert task.on_success_callback, f"{name}: leaves its incident open"
            assert task.owner == "ml-platform", f"{name}: nobody's task"
        assert dag.has_on_failure_callback, f"{dag.dag_id}: a killed task would fail in silence"
        assert dag.has_on_success_callback, f"{dag.dag_id}: leaves incidents open"


def test_waiting_tasks_free_their_slot_and_end(dags):
    sensors = [(dag, task) for dag in dags for task in dag.tasks if hasattr(task, "poke_interval")]

    assert sensors
    for dag, sensor in sensors:
        name = f"{dag.dag_id}.{sensor.task_id}"
        assert sensor.mode == "reschedule", f"{name}: a waiting task would hold a slot"
        assert sensor.poke_interval >= 180, f"{name}: a busy scheduler would call it killed"
        assert sensor.timeout <= 12 * 3600, f"{name}: on-call would hear of it too late"
        assert sensor.inlets, f"{name}: its incident could not say which day is missing"


def test_tasks_that_fill_a_machine_share_a_pool(dags):
    heavy = {"train", "score", "rescore"}

    for dag in dags:
        for task in dag.tasks:
            wanted = "heavy" if task.task_id in heavy else "default_pool"
            assert task.pool == wanted, f"{dag.dag_id}.{task.task_id}: pool {wanted}; see run.HEAVY"


def test_every_model_dag_waits_for_its_day_and_names_what_it_publishes(dags):
    models = [dag for dag in dags if "model" in dag.tags]

    assert models
    for dag in models:
        assert "day_loaded" in dag.task_dict, f"{dag.dag_id}: waits for no data"
        outlets = {one.name for task in dag.tasks for one in task.outlets}
        assert f"result.{dag.dag_id}" in outlets, f"{dag.dag_id}: outlets for the asset graph"
        wanted = {"retrain", "model_version", "shards", "decision", "reason"}
        assert wanted <= set(dag.params), f"{dag.dag_id}: params=run.PARAMS"


def test_every_dag_survives_serialization(dags):
    for dag in dags:
        json.dumps(DagSerialization.to_dict(dag))


def test_parsing_is_cheap_and_imports_no_job():
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *map(str, DAGS.glob("*.py"))],
        cwd=airflow_home.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    parsed = json.loads(done.stdout.splitlines()[-1])

    imported = {name.partition(".")[0] for name in parsed["modules"]}
    assert not imported & HEAVY, "import jobs inside tasks only"
    assert parsed["took"] < PARSE_CPU_SECONDS


def test_errors_named_as_hopeless_exist():
    from jobs import champion
    from jobs.checks import CheckFailed
    from jobs.extract.job import RawDropped
    from jobs.extract.source import SourceChanged
    from jobs.retention import RawStillNeeded
    from jobs.settings import BadSetting
    from plugins import run

    errors = (CheckFailed, SourceChanged, run.NoDay, RawDropped, RawStillNeeded, BadSetting)
    by_hand = (
        champion.UnknownVersion,
        champion.VersionNotAllowed,
        champion.DecisionNotAllowed,
        champion.NothingToRollBackTo,
    )

    assert {one.__name__ for one in (*errors, *by_hand)} == run.HOPELESS


def test_extract_shop_takes_every_table_of_the_shop_in_the_order_they_need(bag):
    from jobs.extract.job import SHOP

    dag = bag.dags["extract_shop"]
    groups = [task.task_id.partition(".")[0] for task in dag.tasks if "." in task.task_id]
    first = f"{SHOP[0]}.accept"

    assert set(groups) == set(SHOP)
    assert first == "apparel_messages.accept"
    assert "apparel_purchases.accept" in dag.get_task(first).downstream_task_ids


def test_extract_social_takes_every_table_of_the_feed_and_checks_events_last(bag):
    from jobs.extract.job import SOCIAL

    dag = bag.dags["extract_social"]
    groups = [task.task_id.partition(".")[0] for task in dag.tasks if "." in task.task_id]

    assert set(groups) == set(SOCIAL)
    for table in ("user_data", "post_text_df"):
        assert "feed_data.check" in dag.get_task(f"{table}.accept").downstream_task_ids


def test_dags_readme_says_what_the_dags_say():
    generated = runpy.run_path(str(airflow_home.ROOT / ".ci" / "dag_list.py"))["readme"]()

    readme = (DAGS / "README.md").read_text()
    assert readme == generated, "run python .ci/dag_list.py"
