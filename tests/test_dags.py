"""Each DAG run by Airflow itself, with its job's functions replaced by ones that take notes."""

import importlib
import inspect
import sys
from datetime import UTC, date, datetime, timedelta
from types import ModuleType, SimpleNamespace

import airflow_home
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import ParamValidationError

from jobs import champion
from jobs.checks import CheckFailed
from jobs.warehouse import airflow_run_id, rows
from plugins import run

AS_OF = date(2026, 3, 2)
CLIENT_JOBS = ("purchase_propensity", "client_engagement")
TABLES = ("apparel_messages", "apparel_purchases", "client_event")


@pytest.fixture
def bag() -> DagBag:
    """Return the DAGs, parsed for each test anew: a test run leaves its parameters in its DAG."""
    airflow_home.make_database()
    return DagBag(dag_folder=airflow_home.DAGS)


@pytest.fixture(autouse=True)
def connections(warehouse, app, monkeypatch):
    """Let Airflow's connections lead to the test databases, and waiting cost nothing."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.connection_uri(warehouse.url))
    monkeypatch.setenv("AIRFLOW_CONN_APP", airflow_home.connection_uri(app.url))
    monkeypatch.delenv("NIGHTSHIFT_WEBHOOK_URL", raising=False)


@pytest.fixture
def day_loaded(given):
    """Record the day before AS_OF of every table as loaded."""
    for table in TABLES:
        given(
            "ops.load",
            table_name=table,
            event_day=date(2026, 3, 1),
            as_of=AS_OF,
            mode="nightly",
            rows_read=1,
            rows_loaded=1,
            duplicates=0,
            quarantined=0,
            checksum=1,
        )


@pytest.fixture
def notes() -> list[tuple]:
    return []


@pytest.fixture
def model(monkeypatch, notes) -> ModuleType:
    """Put a note-taking job in the place of the jobs that give each client a chance."""
    job = ModuleType("job")

    def train(engine, as_of, retrain, model_version):
        notes.append(("train", as_of, retrain, model_version, bool(airflow_run_id())))
        return model_version or "fresh"

    def score(engine, as_of, version, shard, shards):
        notes.append(("score", as_of, version, shard, shards))
        return 10

    def publish(engine, as_of, version, shards):
        notes.append(("publish", as_of, version, shards))
        return 20

    def mature(engine, as_of):
        notes.append(("mature", as_of))
        return 0

    def again(engine, as_of, retrain=False, model_version=None, shards=1):
        notes.append(("run", as_of, model_version))

    for name, function in {
        "train": train,
        "score": score,
        "publish": publish,
        "mature": mature,
        "run": again,
    }.items():
        setattr(job, name, function)
    for name in CLIENT_JOBS:
        monkeypatch.setitem(sys.modules, f"jobs.{name}.job", job)
    return job


@pytest.fixture
def extraction(monkeypatch, notes) -> SimpleNamespace:
    """Replace the steps of the extraction by ones that take notes; ``fail`` names one to fail."""
    from jobs import pages
    from jobs.extract import job

    trouble = SimpleNamespace(fail=None)

    def step(name):
        def taken(*values):
            table, as_of = values[-2:]
            notes.append((name, table, as_of))
            if trouble.fail == (name, table):
                raise CheckFailed(f"raw.{table} {as_of}: 3 rows break a rule; keys 1, 2, 3")
            return {"rows": 1}

        return taken

    for name in ("copy_table", "check_table", "accept_table"):
        monkeypatch.setattr(job, name, step(name.removesuffix("_table")))
    monkeypatch.setattr(pages, "build", lambda warehouse, folder: notes.append(("pages",)))
    return trouble


def run_dag(
    bag: DagBag, dag_id: str, conf: dict | None = None, retries: int = 0
) -> SimpleNamespace:
    """Run a DAG for AS_OF and return its state and the states of its tasks."""
    dag = bag.dags[dag_id]
    for task in dag.tasks:
        task.retries = retries
    done = dag.test(logical_date=datetime.combine(AS_OF, datetime.min.time(), UTC), run_conf=conf)
    states = {
        f"{one.task_id}[{one.map_index}]" if one.map_index >= 0 else one.task_id: one.state
        for one in done.get_task_instances()
    }
    return SimpleNamespace(state=done.state, tasks=states)


def promoted(given, *versions: str) -> None:
    """Make versions live one after the other, a day each, the last on AS_OF - 1."""
    for number, version in enumerate(versions):
        day = AS_OF - timedelta(days=len(versions) - number)
        given(
            "ops.model_version",
            model_version=version,
            job="purchase_propensity",
            as_of=day,
            kind="model",
            name="catboost",
        )
        given(
            "ops.promotion",
            job="purchase_propensity",
            effective_as_of=day,
            actor="test",
            decision="promote",
            reason="given",
            to_version=version,
        )


def published(given, day: date, version: str) -> None:
    given(
        "ops.publication",
        table_name="result.purchase_propensity",
        as_of=day,
        model_version=version,
        rows=5,
        checksum=str(day),
        replaced=False,
    )


@pytest.fixture
def alias(monkeypatch) -> list[str]:
    """Record the jobs whose MLflow alias was moved, in the place of an MLflow server."""
    moved = []
    monkeypatch.setattr(champion, "sync_alias", lambda engine, job: moved.append(job))
    return moved


# --- jobs that give each client a chance --------------------------------------------------------


@pytest.mark.parametrize("dag_id", CLIENT_JOBS)
def test_an_ordinary_night_trains_scores_publishes_and_looks_back(
    bag, model, notes, day_loaded, dag_id
):
    done = run_dag(bag, dag_id)

    assert notes == [
        ("train", AS_OF, False, None, True),
        ("score", AS_OF, "fresh", 0, 1),
        ("publish", AS_OF, "fresh", 1),
        ("mature", AS_OF),
    ]
    assert done.state == "success"
    assert done.tasks["rescore"] == "skipped"
    assert done.tasks["pages"] == "success"


def test_shards_score_apart_and_are_published_as_one_day(bag, model, notes, day_loaded):
    run_dag(bag, "purchase_propensity", {"shards": 3})

    scored = sorted(note for note in notes if note[0] == "score")
    assert scored == [("score", AS_OF, "fresh", shard, 3) for shard in range(3)]
    assert [note for note in notes if note[0] == "publish"] == [("publish", AS_OF, "fresh", 3)]


def test_retrain_and_model_version_reach_the_training(bag, model, notes, day_loaded, given):
    promoted(given, "old-7")

    run_dag(bag, "purchase_propensity", {"retrain": True, "model_version": "old-7"})

    assert notes[0] == ("train", AS_OF, True, "old-7", True)
    assert ("publish", AS_OF, "old-7", 1) in notes


def test_a_version_that_is_not_there_is_refused_before_anything_is_done(
    bag, model, notes, day_loaded, warehouse
):
    done = run_dag(bag, "purchase_propensity", {"model_version": "nonesuch"})

    assert done.tasks["decide"] == "failed"
    assert notes == []
    with warehouse.connect() as connection:
        (incident,) = rows(connection, "select task_id, rerun_command from ops.incident")
    assert incident["task_id"] == "decide"
    assert incident["rerun_command"].endswith("--dag-run-conf '{}'")


def test_a_rollback_serves_the_version_before_and_rescores_the_days_concerned(
    bag, model, notes, day_loaded, given, alias
):
    promoted(given, "v1", "v2")
    published(given, date(2026, 3, 3), "v2")

    done = run_dag(bag, "purchase_propensity", {"decision": "rollback", "reason": "v2 drifts"})

    assert done.state == "success"
    assert ("train", AS_OF, False, "v1", True) in notes
    assert ("publish", AS_OF, "v1", 1) in notes
    assert notes[-1] == ("run", date(2026, 3, 3), "v1")
    assert alias == ["purchase_propensity"]


def test_a_retried_rollback_goes_back_once(
    bag, model, day_loaded, given, alias, warehouse, monkeypatch
):
    promoted(given, "v1", "v2", "v3")
    asked = {"decision": "rollback", "reason": "v3 drifts"}
    run_dag(bag, "purchase_propensity", asked)

    with warehouse.connect() as connection:
        (last,) = rows(
            connection,
            "select actor, to_version from ops.promotion order by promotion_id desc limit 1",
        )
    person, _, run_id = last["actor"].partition(" by ")
    same_run = SimpleNamespace(
        run_id=run_id,
        triggering_user_name=person,
        logical_date=datetime(2026, 3, 2, tzinfo=UTC),
    )
    context = {"dag_run": same_run, "params": asked | {"model_version": None}}
    decide = bag.dags["purchase_propensity"].get_task("decide").python_callable
    monkeypatch.setitem(decide.__globals__, "get_current_context", lambda: context)
    again = decide("purchase_propensity")

    assert (last["to_version"], again) == ("v2", "v2")
    with warehouse.connect() as connection:
        made = rows(connection, "select 1 from ops.promotion where decision = 'rollback'")
    assert len(made) == 1


@pytest.mark.parametrize("lacking", [{"reason": "x"}, {"model_version": "v1"}])
def test_a_promotion_needs_a_version_and_a_reason(
    bag, model, notes, day_loaded, given, alias, lacking
):
    promoted(given, "v1")

    done = run_dag(bag, "purchase_propensity", {"decision": "promote"} | lacking)

    assert done.tasks["decide"] == "failed"
    assert notes == []


def test_a_promotion_makes_the_version_live_and_serves_it(
    bag, model, notes, day_loaded, given, alias, warehouse
):
    promoted(given, "v1", "v2")
    asked = {"decision": "promote", "model_version": "v1", "reason": "asked for"}

    done = run_dag(bag, "purchase_propensity", asked)

    with warehouse.connect() as connection:
        live = champion.live_version(connection, "purchase_propensity", AS_OF)
    assert done.state == "success"
    assert live == "v1"
    assert ("publish", AS_OF, "v1", 1) in notes


@pytest.mark.parametrize(
    "wrong",
    [
        {"shards": 0},
        {"shards": 65},
        {"shards": "two"},
        {"retrain": "yes"},
        {"model_version": ""},
        {"model_version": 7},
        {"decision": "delete"},
        {"reason": None},
    ],
)
def test_parameters_out_of_range_are_refused_before_anything_runs(bag, wrong):
    params = bag.dags["purchase_propensity"].params

    with pytest.raises(ParamValidationError):
        params.update(wrong)


def test_a_failed_training_publishes_nothing_and_opens_an_incident(
    bag, model, notes, day_loaded, warehouse, given
):
    published(given, date(2026, 3, 1), "v1")

    def train(*values):
        raise RuntimeError("MLflow does not answer")

    model.train = train

    done = run_dag(bag, "purchase_propensity")

    with warehouse.connect() as connection:
        (row,) = rows(connection, "select * from ops.incident")
    assert (done.state, done.tasks["publish"]) == ("failed", "upstream_failed")
    assert notes == []
    assert (row["dag_id"], row["task_id"], row["as_of"]) == ("purchase_propensity", "train", AS_OF)
    assert row["error"] == "RuntimeError: MLflow does not answer"
    assert row["still_serves"].startswith("result.purchase_propensity serves 2026-03-01")


def test_the_rerun_that_succeeds_closes_the_incident(bag, model, day_loaded, warehouse):
    train, model.train = model.train, None
    run_dag(bag, "purchase_propensity")
    model.train = train

    run_dag(bag, "purchase_propensity")

    with warehouse.connect() as connection:
        (row,) = rows(connection, "select task_id, resolved_at from ops.incident")
    assert row["task_id"] == "train"
    assert row["resolved_at"] is not None


def test_the_sensor_waits_until_every_table_has_its_day(bag, given, monkeypatch):
    look = bag.dags["purchase_propensity"].get_task("day_loaded").python_callable
    monkeypatch.setitem(look.__globals__, "as_of", lambda: AS_OF)
    load = {"event_day": date(2026, 3, 1), "as_of": AS_OF, "mode": "range", "rows_read": 1}
    load |= {"rows_loaded": 1, "duplicates": 0, "quarantined": 0, "checksum": 1}

    seen = [look()]
    for table in ("apparel_messages", "apparel_purchases"):
        given("ops.load", table_name=table, **load)
        seen.append(look())

    assert seen == [False, False, True]


# --- extract_shop ------------------------------------------------------------------------------


def test_each_table_is_copied_checked_and_accepted_then_the_pages_are_built(bag, extraction, notes):
    done = run_dag(bag, "extract_shop")

    assert done.state == "success"
    for table in TABLES:
        steps = [note[0] for note in notes if note[1:] == (table, AS_OF)]
        assert steps == ["copy", "check", "accept"]
    accepted = [note[1] for note in notes if note[0] == "accept"]
    assert accepted.index("apparel_messages") < accepted.index("apparel_purchases")
    assert notes[-1] == ("pages",)


def test_a_refused_day_stops_alone_is_shown_and_fails_the_run(bag, extraction, notes, warehouse):
    extraction.fail = ("check", "client_event")

    done = run_dag(bag, "extract_shop", retries=2)

    with warehouse.connect() as connection:
        (row,) = rows(connection, "select * from ops.incident")
    assert done.state == "failed"
    assert ("accept", "apparel_purchases", AS_OF) in notes
    assert ("accept", "client_event", AS_OF) not in notes
    assert notes.count(("check", "client_event", AS_OF)) == 1, "wrong rows don't mend themselves"
    assert notes[-1] == ("pages",)
    assert row["task_id"] == "client_event.check"
    assert "keys 1, 2, 3" in row["error"]
    assert row["rerun_command"].endswith("--table client_event")


# --- extract_social ----------------------------------------------------------------------------


def test_users_and_posts_are_accepted_before_events_are_checked(bag, extraction, notes):
    from jobs.extract.tables import SOCIAL

    done = run_dag(bag, "extract_social")

    assert done.state == "success"
    for table in SOCIAL:
        assert [note[0] for note in notes if note[1:] == (table, AS_OF)] == [
            "copy", "check", "accept",
        ]  # fmt: skip
    for table in ("user_data", "post_text_df"):
        accepted = notes.index(("accept", table, AS_OF))
        assert accepted < notes.index(("check", "feed_data", AS_OF))
    assert notes[-1] == ("pages",)


def test_events_stop_where_users_are_refused_and_the_command_brings_both(
    bag, extraction, notes, warehouse
):
    extraction.fail = ("check", "user_data")

    done = run_dag(bag, "extract_social")

    with warehouse.connect() as connection:
        (row,) = rows(connection, "select * from ops.incident")
    assert done.state == "failed"
    assert ("check", "feed_data", AS_OF) not in notes
    assert ("accept", "post_image", AS_OF) in notes
    assert row["task_id"] == "user_data.check"
    # The command takes them in the order that they need.
    assert row["rerun_command"].endswith("--table feed_data --table user_data")


# --- retention ---------------------------------------------------------------------------------


def test_retention_counts_back_from_its_own_day_and_takes_its_setting(bag, monkeypatch, notes):
    from jobs import retention

    def retain(engine, as_of, raw_days):
        notes.append((as_of, raw_days))
        return {"raw.client_event": "dropped, 1 days"}

    monkeypatch.setattr(retention, "retain", retain)
    monkeypatch.setenv("NIGHTSHIFT_RAW_DAYS", "400")

    done = run_dag(bag, "retention")

    assert done.tasks == {"retain": "success"}
    assert notes == [(AS_OF, 400)]


def test_the_steps_replaced_here_take_what_the_dags_give_them():
    from jobs import pages, retention
    from jobs.extract import job as extract

    engine = object()
    for function, values in (
        (extract.copy_table, (engine, engine, "client_event", AS_OF)),
        (extract.check_table, (engine, "client_event", AS_OF)),
        (extract.accept_table, (engine, "client_event", AS_OF)),
        (pages.build, (engine, airflow_home.HOME)),
        (retention.retain, (engine, AS_OF, 400)),
    ):
        inspect.signature(function).bind(*values)
    for name in CLIENT_JOBS:
        job = importlib.import_module(f"jobs.{name}.job")
        inspect.signature(job.train).bind(engine, AS_OF, False, None)
        inspect.signature(job.score).bind(engine, AS_OF, "v1", 0, 1)
        inspect.signature(job.publish).bind(engine, AS_OF, "v1", 1)
        inspect.signature(job.mature).bind(engine, AS_OF)
        inspect.signature(job.run).bind(engine, AS_OF, model_version="v1")


# --- what all share ----------------------------------------------------------------------------


def test_a_run_without_a_day_is_refused_by_name(monkeypatch):
    bare = SimpleNamespace(logical_date=None, run_id="manual__1", dag_id="extract_shop")
    monkeypatch.setattr(run, "get_current_context", lambda: {"dag_run": bare})

    with pytest.raises(run.NoDay, match=r"manual__1 .* --logical-date"):
        run.as_of()


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (CheckFailed("wrong rows"), "fail"),
        (run.NoDay("no day"), "fail"),
        (ConnectionError("busy"), "default"),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(error, action):
    assert run.WakeAtOnce().evaluate(error, 1, 2).action.value == action
