"""A failure becomes an incident that says what still serves and what to type, and is told."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import airflow_home
import pytest
from sqlalchemy.exc import OperationalError

from jobs import incidents
from jobs.incidents import Failure
from jobs.warehouse import engine, rows
from plugins import alerts

AS_OF = date(2026, 3, 2)
RUN = "scheduled__2026-03-02T00:00:00+00:00"
LOG = "http://127.0.0.1:8080/dags/purchase_propensity/runs/r/tasks/train?try_number=3"
SECRET = "s3cret-Passw0rd"


def failure(**changes) -> Failure:
    """Return a failed training, with ``changes``."""
    said = {
        "dag_id": "purchase_propensity",
        "task_id": "train",
        "as_of": AS_OF,
        "error": "ValueError: bought has a single value",
        "makes": ["result.purchase_propensity"],
        "airflow_run_id": RUN,
        "log_url": LOG,
    }
    return Failure(**said | changes)


def stored(warehouse) -> list[dict]:
    """Return every incident, oldest first."""
    with warehouse.connect() as connection:
        return rows(connection, "select * from ops.incident order by incident_id")


@pytest.fixture
def published(given):
    """Publish 2026-03-01, of which 2,500 rows came first and 10,000 in the end."""
    for count, checksum in ((2500, "a"), (10000, "b")):
        given(
            "ops.publication",
            table_name="result.purchase_propensity",
            as_of=date(2026, 3, 1),
            model_version="purchase_propensity-7",
            rows=count,
            checksum=checksum,
            replaced=checksum == "b",
        )


@pytest.fixture
def loaded(given):
    """Return a function that records a table's event day as loaded on time, or on ``as_of``."""

    def load(table: str, event_day: date, as_of: date, mode: str = "nightly") -> None:
        given(
            "ops.load",
            table_name=table,
            event_day=event_day,
            as_of=as_of,
            mode=mode,
            rows_read=9,
            rows_loaded=8,
            duplicates=1,
            quarantined=0,
            checksum=5,
        )

    return load


# --- what an incident says ---------------------------------------------------------------------


def test_a_failed_model_names_the_day_that_still_serves(warehouse, published):
    incident = incidents.open_incident(warehouse, failure())

    assert incident.still_serves == (
        "result.purchase_propensity serves 2026-03-01 (10,000 rows, purchase_propensity-7)"
    )
    assert (
        incident.depends == "readers of bi.purchase_propensity see no 2026-03-02 until it is mended"
    )
    assert stored(warehouse)[0]["still_serves"] == incident.still_serves


def test_a_failed_rerun_of_a_published_day_says_that_the_day_is_out(warehouse, published):
    incident = incidents.open_incident(warehouse, failure(as_of=date(2026, 3, 1)))

    assert incident.still_serves.endswith("; this day itself is published")
    assert incident.depends == (
        "readers of bi.purchase_propensity go on seeing 2026-03-01 as it was published before"
    )


def test_before_the_first_publication_readers_see_nothing(warehouse):
    incident = incidents.open_incident(warehouse, failure())

    assert incident.still_serves == (
        "result.purchase_propensity was never published: its readers see no rows"
    )


def test_a_failed_extraction_names_the_jobs_that_wait(warehouse, published, loaded):
    loaded("apparel_messages", date(2026, 2, 28), date(2026, 3, 1))
    shop = failure(
        dag_id="extract_shop",
        task_id="apparel_messages.copy",
        makes=["raw.apparel_messages", "raw.client_event"],
    )

    incident = incidents.open_incident(warehouse, shop)

    served = incident.still_serves.splitlines()
    assert served[:2] == [
        "raw.apparel_messages is complete up to 2026-02-28",
        "raw.client_event has no day yet",
    ]
    assert {
        "result.client_engagement was never published: its readers see no rows",
        "result.purchase_propensity serves 2026-03-01 (10,000 rows, purchase_propensity-7)",
    } <= set(served[2:])
    made = "select job from ops.result_table where inputs && :made order by job"
    with warehouse.connect() as reading:
        waiting = sorted({row["job"] for row in rows(reading, made, made=["apparel_messages"])})
    assert len(served[2:]) >= len(waiting) > 1
    assert incident.depends.splitlines() == [f"{job} of 2026-03-02 waits for it" for job in waiting]
    assert incident.rerun_command.splitlines() == [
        "airflow tasks clear extract_shop --only-failed "
        "--start-date 2026-03-02 --end-date 2026-03-02 --yes",
        "python -m jobs extract --as-of 2026-03-02 --table apparel_messages --table client_event",
    ]


def test_a_task_that_publishes_nothing_harms_no_reader(warehouse):
    incident = incidents.open_incident(warehouse, failure(task_id="mature", makes=[]))

    assert incident.still_serves.startswith("every published table")
    assert incident.depends == "nothing that is published"
    assert "python -m jobs" not in incident.rerun_command


def test_a_run_without_a_day_is_told_how_to_get_one(warehouse):
    incident = incidents.open_incident(warehouse, failure(as_of=None))

    assert incident.depends == (
        "readers of bi.purchase_propensity see no new day until it is mended"
    )
    assert incident.rerun_command == (
        "airflow dags trigger purchase_propensity --logical-date YYYY-MM-DD"
    )
    assert stored(warehouse)[0]["as_of"] is None


def test_a_rerun_by_hand_asks_for_what_the_run_asked_for(warehouse):
    conf = {"model_version": "purchase_propensity-7", "shards": 4, "retrain": False}

    assert incidents.rerun_command(failure(conf=conf)).splitlines()[1] == (
        "python -m jobs run purchase_propensity --as-of 2026-03-02"
        " --model-version purchase_propensity-7 --shards 4"
    )


def test_a_rollback_that_failed_is_not_replaced_by_an_ordinary_run():
    conf = {"decision": "rollback", "reason": "scores jumped"}

    assert "python -m jobs" not in incidents.rerun_command(failure(conf=conf))


def test_parameters_that_were_refused_are_not_asked_for_again(warehouse):
    refused = failure(error="UnknownVersion: no version x", conf={"model_version": "x"})

    assert incidents.rerun_command(refused) == (
        "airflow backfill create --dag-id purchase_propensity --from-date 2026-03-02"
        " --to-date 2026-03-02 --reprocess-behavior failed --dag-run-conf '{}'"
    )


def test_the_commands_printed_are_commands_that_exist(warehouse):
    from typer.testing import CliRunner

    from jobs.__main__ import app

    model = incidents.rerun_command(failure()).splitlines()[1].split()
    shop = failure(makes=["raw.apparel_messages"])
    extract = incidents.rerun_command(shop).splitlines()[1].split()

    for command in (model, extract):
        shown = CliRunner().invoke(app, [command[3], "--help"])
        assert command[:3] == ["python", "-m", "jobs"]
        assert shown.exit_code == 0
        assert all(word in shown.output for word in command if word.startswith("--"))


def test_a_task_that_waited_in_vain_says_which_day_is_missing(warehouse, loaded):
    loaded("apparel_messages", date(2026, 3, 1), AS_OF)
    loaded("apparel_purchases", date(2026, 2, 27), date(2026, 2, 28))
    needs = ["raw.apparel_messages", "raw.apparel_purchases"]

    incident = incidents.open_incident(warehouse, failure(error="Timeout: 6 h", needs=needs))

    assert incident.error.splitlines() == [
        "Timeout: 6 h",
        "raw.apparel_purchases 2026-03-01: not loaded for as_of 2026-03-02 "
        "(newest day: 2026-02-27); run its extraction for 2026-03-02",
    ]


def test_a_day_first_seen_by_a_later_night_is_missing_for_its_own(warehouse, loaded):
    loaded("apparel_messages", date(2026, 3, 1), date(2026, 3, 3), "late")

    with warehouse.connect() as connection:
        missing = incidents.missing_days(connection, AS_OF, ["apparel_messages"])
        later = incidents.missing_days(connection, date(2026, 3, 3), ["apparel_messages"])

    assert [line.partition(":")[0] for line in missing] == ["raw.apparel_messages 2026-03-01"]
    assert [line.partition(":")[0] for line in later] == ["raw.apparel_messages 2026-03-02"]


def test_nobody_waits_for_a_table_that_the_owner_does_not_have(warehouse, given):
    given("ops.absent_table", table_name="apparel_messages", reason="no mailings")

    with warehouse.connect() as connection:
        assert incidents.missing_days(connection, AS_OF, ["apparel_messages"]) == []


# --- its life ----------------------------------------------------------------------------------


def test_failing_again_keeps_one_open_incident_with_the_newest_error(warehouse):
    incidents.open_incident(warehouse, failure(error="first"))
    incidents.open_incident(warehouse, failure(error="second"))
    incidents.open_incident(warehouse, failure(task_id="score[3]", error="another task"))

    assert [(row["task_id"], row["error"]) for row in stored(warehouse)] == [
        ("train", "second"),
        ("score[3]", "another task"),
    ]


def test_success_closes_the_incident_of_that_task_and_day_alone(warehouse):
    incidents.open_incident(warehouse, failure())
    incidents.open_incident(warehouse, failure(as_of=date(2026, 3, 3)))
    incidents.open_incident(warehouse, failure(task_id="score[1]"))

    assert incidents.resolve(warehouse, "purchase_propensity", AS_OF, "train") == 1
    assert incidents.resolve(warehouse, "purchase_propensity", AS_OF, "train") == 0

    assert [bool(row["resolved_at"]) for row in stored(warehouse)] == [True, False, False]


def test_a_run_that_succeeded_closes_all_of_its_day(warehouse):
    incidents.open_incident(warehouse, failure())
    incidents.open_incident(warehouse, failure(task_id="score[7]"))
    incidents.open_incident(warehouse, failure(as_of=None))

    assert incidents.resolve(warehouse, "purchase_propensity", AS_OF) == 2
    assert incidents.resolve(warehouse, "purchase_propensity", None) == 1


def test_a_closed_incident_stays_and_the_next_failure_opens_another(warehouse):
    incidents.open_incident(warehouse, failure())
    incidents.resolve(warehouse, "purchase_propensity", AS_OF)

    incidents.open_incident(warehouse, failure())

    assert [bool(row["resolved_at"]) for row in stored(warehouse)] == [True, False]


# --- no secrets --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        f"could not connect to postgresql://nightshift:{SECRET}@db:5432/warehouse",
        f"connection to host=db user=nightshift password={SECRET} failed",
        f"password='{SECRET}' dbname=warehouse",
        f"token: {SECRET}",
        f"the variable holds {SECRET} in plain words",
    ],
)
def test_no_secret_reaches_an_incident(warehouse, monkeypatch, words):
    monkeypatch.setenv("AIRFLOW_CONN_SOMEWHERE", f"postgresql://nightshift:{SECRET}@db/warehouse")

    incident = incidents.open_incident(warehouse, failure(error=words))

    assert SECRET not in json.dumps(stored(warehouse), default=str)
    assert SECRET not in incidents.message(incident)
    assert incidents.HIDDEN in incident.error


def test_a_secret_that_an_address_writes_quoted_is_hidden_both_ways(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SOMEWHERE", "postgresql://me:p%40ss%2Fword%21@db/warehouse")

    assert incidents.without_secrets("p@ss/word! and p%40ss%2Fword%21") == "*** and ***"


def test_a_long_error_is_cut(warehouse):
    incident = incidents.open_incident(warehouse, failure(error="line\n" * 500 + "x" * 9000))

    assert len(incident.error.splitlines()) == incidents.ERROR_LINES
    assert len(incidents.first_lines("y" * 9000)) < incidents.ERROR_CHARACTERS + 10


# --- telling on-call ---------------------------------------------------------------------------


class Task:
    """A task as callbacks see it: an id, assets and what comes after it."""

    def __init__(self, task_id, outlets=(), inlets=(), later=()):
        self.task_id, self.outlets, self.inlets, self.later = task_id, outlets, inlets, later

    def get_flat_relatives(self, upstream):
        """Return what comes after."""
        return set() if upstream else set(self.later)


@pytest.fixture
def context(warehouse, monkeypatch):
    """Return what Airflow hands to a callback; its connection is the test warehouse."""
    from airflow.sdk import Asset

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.connection_uri(warehouse.url))
    for name in ("NIGHTSHIFT_WEBHOOK_URL", "NIGHTSHIFT_NOTIFIER"):
        monkeypatch.delenv(name, raising=False)
    publish = Task("publish", outlets=[Asset(name="result.purchase_propensity")])
    train = Task("train", inlets=[Asset(name="raw.apparel_messages")], later=[publish])
    score = Task("score", later=[publish])
    tasks = {task.task_id: task for task in (train, score, publish)}
    dag = SimpleNamespace(
        dag_id="purchase_propensity",
        doc_md="Scores.\n\n**If it fails:** wait,\nthen clear it.\n\nMore.",
        task_dict=tasks,
        get_task=tasks.__getitem__,
    )
    instance = SimpleNamespace(
        task=train, task_id="train", map_index=-1, run_id=RUN, log_url=LOG, states={}
    )
    instance.get_task_states = lambda dag_id, run_ids: {RUN: instance.states}
    run = SimpleNamespace(logical_date=datetime(2026, 3, 2, tzinfo=UTC), run_id=RUN, conf=None)
    error = ValueError("bought has a single value")
    return {"dag": dag, "ti": instance, "dag_run": run, "run_id": RUN, "exception": error}


@pytest.fixture
def webhook(monkeypatch) -> Iterator[SimpleNamespace]:
    """Yield a real HTTP server that takes POSTs: ``taken``, and the ``status`` it answers."""
    seen = SimpleNamespace(taken=[], status=200)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(seen.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args):
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        seen.url = f"http://127.0.0.1:{server.server_port}/hooks/{SECRET}"
        yield seen
        server.shutdown()
        thread.join()


def test_a_failed_task_is_stored_and_logged(warehouse, context, caplog):
    alerts.alert(context)

    (row,) = stored(warehouse)
    assert row["error"].startswith("ValueError: bought has a single value\nraw.apparel_messages")
    assert (row["as_of"], row["airflow_run_id"], row["log_url"]) == (AS_OF, RUN, LOG)
    assert "If it fails: wait, then clear it." in caplog.text
    assert "airflow tasks clear purchase_propensity --only-failed" in caplog.text


def test_the_webhook_gets_the_whole_incident(warehouse, context, webhook, monkeypatch):
    monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_URL", webhook.url)

    alerts.alert(context)

    ((path, kind, body),) = webhook.taken
    assert (path, kind) == (f"/hooks/{SECRET}", "application/json")
    assert body["text"].startswith("purchase_propensity.train failed for 2026-03-02")
    assert body["rerun_command"] == stored(warehouse)[0]["rerun_command"]
    assert body["advice"] == "If it fails: wait, then clear it."


@pytest.mark.parametrize("trouble", ["refuses", "is not there", "is no address"])
def test_a_webhook_that_fails_hides_no_incident(
    warehouse, context, webhook, monkeypatch, caplog, trouble
):
    webhook.status = 500
    urls = {"refuses": webhook.url, "is not there": f"http://127.0.0.1:1/{SECRET}"}
    monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_URL", urls.get(trouble, f"not-an-address/{SECRET}"))

    alerts.alert(context)

    assert len(stored(warehouse)) == 1
    assert "did not take the incident" in caplog.text
    assert SECRET not in caplog.text


def test_a_webhook_that_never_answers_is_given_up(warehouse, context, monkeypatch, caplog):
    import socket

    monkeypatch.setattr(alerts, "WEBHOOK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_URL", f"http://127.0.0.1:{port}/")
        alerts.alert(context)

    assert len(stored(warehouse)) == 1
    assert "TimeoutError" in caplog.text


def test_on_call_is_told_when_the_warehouse_is_down(context, webhook, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"postgresql://me:{SECRET}@127.0.0.1:1/warehouse")
    monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_URL", webhook.url)

    alerts.alert(context)

    ((_, _, body),) = webhook.taken
    assert body["still_serves"].startswith("unknown: the warehouse says")
    assert "This incident is not stored: " in body["advice"]
    assert "bought has a single value" in body["error"]
    assert SECRET not in json.dumps(body)


def test_an_incident_is_stored_even_when_nothing_can_be_said_of_what_serves(
    warehouse, context, as_role
):
    with as_role("migrator").begin() as connection:
        connection.exec_driver_sql("revoke select on ops.result_table from nightshift")
    try:
        alerts.alert(context)
    finally:
        with as_role("migrator").begin() as connection:
            connection.exec_driver_sql("grant select on ops.result_table to nightshift")

    (row,) = stored(warehouse)
    assert row["error"] == "ValueError: bought has a single value"
    assert row["still_serves"].startswith("unknown: the warehouse says: permission denied")


def test_another_notifier_can_be_plugged_in(warehouse, context, monkeypatch):
    told = []
    monkeypatch.setattr(incidents, "told", lambda one, advice: told.append(one), raising=False)
    monkeypatch.setenv("NIGHTSHIFT_NOTIFIER", "jobs.incidents.told")

    alerts.alert(context)

    assert [one.task_id for one in told] == ["train"]


def test_success_closes_what_failure_opened(warehouse, context):
    alerts.alert(context)

    alerts.mended(context)

    assert stored(warehouse)[0]["resolved_at"] is not None


def test_a_shard_that_succeeds_leaves_its_neighbours_incident_open(warehouse, context):
    instance = context["ti"]
    instance.task_id = "score"
    for index in (0, 1):
        instance.map_index = index
        alerts.alert(context)

    alerts.mended(context)

    assert [(row["task_id"], bool(row["resolved_at"])) for row in stored(warehouse)] == [
        ("score[0]", False),
        ("score[1]", True),
    ]


def test_a_killed_task_opens_an_incident_when_its_run_fails(warehouse, context):
    context.pop("exception")
    context["ti"].states = {"train": "failed", "score_1": "failed", "publish": "upstream_failed"}

    alerts.run_failed(context)

    found = {row["task_id"]: row for row in stored(warehouse)}
    assert set(found) == {"train", "score[1]"}
    assert found["train"]["log_url"] == LOG
    assert found["score[1]"]["log_url"].endswith("/runs/r/tasks/score/mapped/1")
    assert found["score[1]"]["error"] == alerts.DIED


def test_a_task_that_spoke_for_itself_is_not_told_twice(warehouse, context, caplog):
    alerts.alert(context)
    context["ti"].states = {"train": "failed"}
    caplog.clear()

    alerts.run_failed(context)

    assert stored(warehouse)[0]["error"].startswith("ValueError: bought")
    assert "failed for" not in caplog.text


def test_a_task_that_dies_in_its_rerun_is_told_again(warehouse, context, caplog):
    alerts.alert(context)
    context["ti"].log_url = LOG.replace("try_number=3", "try_number=6")
    context["ti"].states = {"train": "failed"}
    caplog.clear()

    alerts.run_failed(context)

    (row,) = stored(warehouse)
    assert row["log_url"].endswith("try_number=6")
    assert "failed for 2026-03-02" in caplog.text


def test_a_run_that_succeeded_closes_the_incidents_of_shards_it_no_longer_has(warehouse, context):
    incidents.open_incident(warehouse, failure(task_id="score[7]"))

    alerts.run_succeeded(context)

    assert stored(warehouse)[0]["resolved_at"] is not None


def test_a_broken_warehouse_is_not_taken_for_success(context, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgresql://me:x@127.0.0.1:1/warehouse")

    with pytest.raises(OperationalError):
        alerts.mended(context)


def test_only_the_paragraph_that_helps_is_told():
    assert alerts.if_it_fails("A.\n\n**If it fails:** do\nthis.\n\nB.") == "If it fails: do this."
    assert alerts.if_it_fails("nothing said") == ""


def test_analysts_see_open_incidents_in_bi_status(warehouse, as_role):
    incidents.open_incident(warehouse, failure())

    with as_role("bi_reader").connect() as connection:
        found = rows(connection, "select job, open_incidents from bi.status")
    told = {row["job"]: row["open_incidents"] for row in found}
    assert told.pop("purchase_propensity") == 1
    assert set(told.values()) <= {0}


def test_an_engine_of_the_test_warehouse_is_what_the_connection_gives(context, warehouse):
    assert alerts.connected("warehouse").url.database == warehouse.url.database
    assert engine("postgres://a:b@c/d").url.drivername == "postgresql+psycopg"
