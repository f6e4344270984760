"""The morning page: behind Airflow's login, true to the night, readable in a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import airflow_home
import pytest
from fastapi.testclient import TestClient

from jobs import evaluation, incidents, ranking
from jobs.client_behavior import job as client_behavior
from jobs.client_behavior.labels import HEADS
from jobs.feed_recommendation.evaluating import PRIMARY
from jobs.local import processes
from jobs.post_conversion import job as post_conversion
from jobs.post_conversion.rows import ACTIONS
from jobs.warehouse import rows

PAGE = "/nightshift/morning"
BROWSER = Path(__file__).parent / "browser"
AS_OF = date(2026, 3, 2)
SECRET = "s3cret-Passw0rd"


@pytest.fixture(scope="module")
def site() -> Iterator[TestClient]:
    """Yield a client of Airflow's api-server, plugins included, that nobody has logged in."""
    airflow_home.make_database()
    from airflow.api_fastapi.app import create_app

    with TestClient(create_app(apps="core")) as client:
        yield client


@pytest.fixture
def connection(warehouse, monkeypatch):
    """Let Airflow's connection lead to the test warehouse."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_home.connection_uri(warehouse.url))


@pytest.fixture
def session():
    """Yield a session of Airflow's own database, whose runs and errors are gone afterwards."""
    from airflow.models import DagRun
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    airflow_home.make_database()
    with create_session() as open_session:
        open_session.execute(delete(DagRun))
    with create_session() as open_session:
        yield open_session
        open_session.rollback()
        open_session.execute(delete(ParseImportError))
        open_session.execute(delete(DagRun))


def token(site: TestClient, user: str = "admin") -> dict[str, str]:
    """Return the header of a user who logged in."""
    login = {"username": user, "password": airflow_home.PASSWORD}
    answer = site.post("/auth/token", json=login)
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def shown(site: TestClient) -> str:
    """Return the page's text, tags removed and white space collapsed."""
    answer = site.get(PAGE, headers=token(site))
    assert answer.status_code == 200
    body = re.sub(r"(?s)<(style|script).*?</\1>", "", answer.text)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def publish(
    given,
    day: date,
    table: str = "result.purchase_propensity",
    count: int = 10000,
    version: str = "pp-7",
) -> None:
    given(
        "ops.publication",
        table_name=table,
        as_of=day,
        model_version=version,
        rows=count,
        checksum=str(day),
        replaced=False,
        published_at=datetime(2026, 3, 2, 1, 30, tzinfo=UTC),
        read_at=datetime(2026, 3, 2, 1, 30, tzinfo=UTC),
    )


def load(given, table: str, event_day: date, **changes) -> None:
    said = {"as_of": event_day + timedelta(days=1), "mode": "nightly", "rows_read": 812345}
    said |= {"rows_loaded": 560111, "duplicates": 250000, "quarantined": 2234, "checksum": 1}
    said |= {"loaded_at": datetime(2026, 3, 2, 0, 45, tzinfo=UTC)}
    given("ops.load", table_name=table, event_day=event_day, **(said | changes))


def failure(**changes) -> incidents.Failure:
    said = {
        "dag_id": "purchase_propensity",
        "task_id": "train",
        "as_of": AS_OF,
        "error": "ValueError: <script>alert('x')</script> & co",
        "makes": ["result.purchase_propensity"],
        "airflow_run_id": "scheduled__1",
        "log_url": "http://127.0.0.1:8080/dags/purchase_propensity/runs/1/tasks/train",
    }
    return incidents.Failure(**said | changes)


# --- who may see it ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PAGE, "/nightshift/docs", "/nightshift/openapi.json"])
def test_a_stranger_sees_nothing(site, path):
    site.cookies.clear()

    answer = site.get(path)

    assert answer.status_code in (401, 404)
    assert "Morning" not in answer.text


def test_the_page_itself_asks_a_stranger_to_log_in(site):
    assert site.get(PAGE).status_code == 401


def test_a_forged_token_is_refused(site):
    answer = site.get(PAGE, headers={"Authorization": "Bearer e30.e30.forged"})

    assert answer.status_code == 403


@pytest.mark.parametrize("user", ["admin", "reader"])
def test_whoever_may_read_dags_sees_the_page(site, connection, user):
    answer = site.get(PAGE, headers=token(site, user))

    assert answer.status_code == 200
    assert "Morning page" in answer.text


def test_the_login_cookie_of_the_browser_will_do(site, connection):
    value = token(site)["Authorization"].removeprefix("Bearer ")

    answer = site.get(PAGE, cookies={"_token": value})

    assert answer.status_code == 200
    site.cookies.clear()


def test_airflow_lists_the_page_in_its_menu(site):
    answer = site.get("/api/v2/plugins", headers=token(site)).json()

    views = [view for plugin in answer["plugins"] for view in plugin["external_views"]]
    assert [view["href"] for view in views if view["name"] == "Morning"] == [PAGE]


def test_the_page_loads_nothing_from_elsewhere(site, connection):
    answer = site.get(PAGE, headers=token(site))

    policy = answer.headers["Content-Security-Policy"]
    nonce = re.search(r"script-src 'nonce-(.+?)'", policy)[1]
    assert policy.startswith("default-src 'none'")
    assert answer.headers["Cache-Control"] == "no-store"
    assert len(re.findall(r"<(?:script|style)", answer.text)) == answer.text.count(
        f'nonce="{nonce}"'
    )
    assert not re.findall(r"<(?:img|link|iframe)|@import|url\(", answer.text)


# --- what it says ------------------------------------------------------------------------------


def test_a_good_night_says_so(site, connection, warehouse, session, given):
    for table in ("apparel_messages", "apparel_purchases"):
        load(given, table, date(2026, 3, 1))
    made = "select table_name from ops.result_table where inputs && :loaded"
    shop = ["apparel_messages", "apparel_purchases"]
    with warehouse.connect() as reading:
        results = rows(reading, made, loaded=shop)
    for result in results:
        publish(given, AS_OF, result["table_name"])

    text = shown(site)

    assert "All is well" in text
    assert "bi.purchase_propensity 2026-03-02 10,000 pp-7 2026-03-02 01:30" in text
    assert "raw.apparel_messages 2026-03-01 812,345 560,111 250,000 2,234 0 held" in text


def test_an_open_incident_is_told_with_its_commands(site, connection, warehouse, session, given):
    publish(given, date(2026, 3, 1))
    incidents.open_incident(warehouse, failure())

    text = shown(site)

    assert "1 open incident" in text
    assert "result.purchase_propensity serves 2026-03-01 (10,000 rows, pp-7)" in text
    assert "airflow tasks clear purchase_propensity --only-failed" in text
    assert "python -m jobs run purchase_propensity --as-of 2026-03-02" in text


def test_a_closed_incident_is_gone(site, connection, warehouse, session):
    incidents.open_incident(warehouse, failure())
    incidents.resolve(warehouse, "purchase_propensity", AS_OF)

    assert "open incident" not in shown(site)


def test_what_an_error_says_is_text_and_never_markup(site, connection, warehouse, session):
    incidents.open_incident(warehouse, failure())

    page = site.get(PAGE, headers=token(site)).text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; co" in page


def test_the_live_model_stands_beside_its_baselines(site, connection, session, given):
    publish(given, AS_OF)
    given(
        "ops.model_version",
        model_version="pp-7",
        job="purchase_propensity",
        as_of=AS_OF,
        kind="model",
        name="catboost",
    )
    for name, area, brier in (("catboost", 0.8312, 0.0171), ("base_rate", 0.5, 0.0189)):
        for metric, value in (("brier", brier), ("roc_auc", area)):
            given(
                "ops.evaluation",
                job="purchase_propensity",
                as_of=AS_OF,
                model_version="pp-7" if name == "catboost" else f"pp-7-{name}",
                name=name,
                stage="gate",
                metric=metric,
                value=value,
                low=value - 0.01,
                high=value + 0.01,
                rows=9876,
            )

    text = shown(site)

    assert "beside its baselines, on 9,876 rows" in text
    assert "catboost serves 0.8312 0.821 to 0.841 0.0171" in text
    assert "base_rate 0.5000 0.490 to 0.510 0.0189" in text


def test_the_newest_gate_is_shown_with_the_champion_that_went_on_serving(
    site, connection, session, given
):
    publish(given, AS_OF)
    measured = {"as_of": AS_OF, "stage": "gate", "rows": 10, "low": None, "high": None}
    for as_of, name, version, area in (
        (date(2026, 3, 1), "model", "pp-7", 0.81),
        (date(2026, 3, 1), "retired", "pp-7-retired", 0.71),
        (AS_OF, "model", "pp-8", 0.82),
        (AS_OF, "champion", "pp-7", 0.83),
    ):
        given(
            "ops.evaluation",
            **{**measured, "as_of": as_of},
            job="purchase_propensity",
            name=name,
            model_version=version,
            metric="roc_auc",
            value=area,
        )

    text = shown(site)

    assert "(gate of 2026-03-02)" in text
    assert "champion serves 0.8300" in text
    assert "model 0.8200" in text
    assert "0.8100" not in text
    assert "retired" not in text


def test_both_arms_of_the_feed_have_their_figures(site, connection, session, given):
    publish(given, AS_OF, "result.feed_recommendation", version="c-1, t-1")
    for arm, version in (("control", "c-1"), ("test", "t-1")):
        for metric, value in (("condensed_ndcg@10", 0.62), ("hitrate@5", 0.41)):
            given(
                "ops.evaluation",
                job=f"feed_recommendation.{arm}",
                as_of=AS_OF,
                model_version=version,
                name=arm,
                stage="gate",
                metric=metric,
                value=value,
                rows=900,
            )

    text = shown(site)

    assert "control serves 0.6200" in text
    assert "test serves 0.6200" in text
    assert "NDCG@10 of viewed posts (decides) Hit rate@5" in text


def test_every_metric_that_is_measured_has_its_column():
    from plugins.morning_page.page import METRICS

    shown = {name: not less for name, (_, less) in METRICS.items()}
    assert evaluation.HIGHER_IS_BETTER.items() <= shown.items()
    losses = {
        client_behavior.GATE.metric, post_conversion.GATE.metric,
        *(f"{name}_log_loss" for name in (*HEADS, *ACTIONS)),
    }  # fmt: skip
    assert losses <= set(shown)
    assert not any(shown[name] for name in losses)
    assert set(shown) - set(evaluation.HIGHER_IS_BETTER) - losses <= {
        PRIMARY, *ranking.METRICS, *ranking.CATALOG_METRICS
    }  # fmt: skip


def test_days_that_another_run_would_change_are_named(site, connection, session, given):
    publish(given, AS_OF)
    publish(given, date(2026, 2, 20))
    after = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
    load(given, "apparel_purchases", date(2026, 2, 26), as_of=AS_OF, mode="late", loaded_at=after)

    text = shown(site)

    assert "result.purchase_propensity has 1 day to score again" in text
    assert "To score again 2026-03-02. Rows that count" in text
    assert re.search(r"bi.purchase_propensity 2026-03-02 .{,60} stale", text)
    assert "--from-date 2026-03-02 --to-date 2026-03-02 --max-active-runs 1" in text
    assert "Nothing to do" not in text


def test_days_that_no_run_can_change_are_counted_without_alarm(site, connection, session, given):
    publish(given, AS_OF)
    load(given, "apparel_purchases", date(2026, 2, 26), as_of=date(2026, 3, 3), mode="late")

    text = shown(site)

    assert "Published days without rows that became known only later: 1. They stay" in text
    assert re.search(r"bi.purchase_propensity 2026-03-02 .{,60} stale", text)
    assert "to score again" not in text.lower()


def test_a_table_that_is_behind_its_inputs_is_seen(site, connection, session, given):
    publish(given, date(2026, 3, 1))
    for table in ("apparel_messages", "apparel_purchases"):
        load(given, table, date(2026, 3, 1))

    assert "result.purchase_propensity is behind its inputs" in shown(site)


def test_a_dag_file_that_fails_to_parse_is_on_the_page(site, connection, session):
    from airflow.models.errors import ParseImportError

    stack = f"Traceback ...\nImportError: no <b>dagg</b> at postgresql://me:{SECRET}@db/x"
    session.add(
        ParseImportError(
            filename="broken.py",
            bundle_name="dags-folder",
            stacktrace=stack,
            timestamp=datetime(2026, 3, 2, tzinfo=UTC),
        )
    )
    session.commit()

    text = shown(site)

    assert "1 DAG file fails to parse" in text
    assert "broken.py Error ImportError: no &lt;b&gt;dagg&lt;/b&gt;" in text
    assert SECRET not in text


@pytest.fixture
def night(session):
    """Return a function that gives a DAG a run of AS_OF in some state, with one task."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    sync_bag_to_db(DagBag(dag_folder=airflow_home.DAGS), "dags-folder", None, session=session)
    session.commit()

    def make(dag_id: str, state: str, task_id: str, task_state: str) -> None:
        from airflow.models import DagRun
        from airflow.models.dag_version import DagVersion
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.models.taskinstance import TaskInstance

        dag = SerializedDagModel.get_dag(dag_id, session=session)
        run = DagRun(
            dag_id=dag_id,
            run_id=f"scheduled__{AS_OF}T00:00:00+00:00",
            run_type="scheduled",
            logical_date=datetime(2026, 3, 2, tzinfo=UTC),
            run_after=datetime(2026, 3, 2, tzinfo=UTC),
            start_date=datetime(2026, 3, 2, 0, 0, 1, tzinfo=UTC),
            state=state,
        )
        session.add(run)
        session.flush()
        version = DagVersion.get_latest_version(dag_id, session=session)
        task = TaskInstance(
            dag.get_task(task_id), run_id=run.run_id, state=task_state, dag_version_id=version.id
        )
        session.add(task)
        session.commit()

    return make


def test_tonights_jobs_say_how_far_they_are(site, connection, given, night):
    night("purchase_propensity", "running", "day_loaded", "up_for_reschedule")
    night("extract_shop", "failed", "client_event.check", "failed")
    publish(given, date(2026, 3, 1))

    text = shown(site)

    assert "extract_shop failed" in text
    assert "failed in client_event.check" in text
    assert "running waits in day_loaded" in text
    assert "2026-03-01 serves" in text


def test_a_warehouse_that_is_down_is_told_and_hides_nothing_else(site, night, monkeypatch):
    url = f"postgresql://nightshift:{SECRET}@127.0.0.1:1/warehouse"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", url)
    night("purchase_propensity", "failed", "train", "failed")

    text = shown(site)

    assert "the warehouse can&#39;t be asked, purchase_propensity failed" in text
    assert "failed in train" in text
    assert SECRET not in text


def test_an_airflow_without_the_connection_is_told(site, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE", raising=False)

    text = shown(site)

    assert "warehouse" in text
    assert "isn&#39;t defined" in text


def test_a_warehouse_without_tables_is_told(site, as_role, monkeypatch):
    url = airflow_home.connection_uri(as_role("app_reader").url)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", url)

    assert "the warehouse can&#39;t be asked" in shown(site)


def test_the_page_asks_the_warehouse_little_however_long_the_history(
    warehouse, connection, session, as_role
):
    from plugins.morning_page.night import Night, ask_warehouse

    with as_role("migrator").begin() as opened:
        opened.exec_driver_sql(
            "insert into ops.publication"
            " (table_name, as_of, model_version, rows, checksum, replaced)"
            " select 'result.purchase_propensity', date '2024-01-01' + n, 'v', 1, 'x', false"
            " from generate_series(0, 729) as n"
        )
        opened.exec_driver_sql(
            "insert into ops.load (table_name, event_day, as_of, mode, rows_read, rows_loaded,"
            " duplicates, quarantined, checksum) select name, date '2023-12-31' + n,"
            " date '2024-01-01' + n, 'range', 1, 1, 0, 0, 1 from generate_series(0, 729) as n,"
            " unnest(array['apparel_messages', 'apparel_purchases', 'client_event']) as name"
        )
        for table in ("publication", "load"):
            opened.exec_driver_sql(f"analyze ops.{table}")

    night = Night(datetime.now(UTC))
    begun = time.monotonic()
    ask_warehouse(night)
    took = time.monotonic() - begun

    newest = {row["table_name"]: row["newest_as_of"] for row in night.tables}
    assert newest["result.purchase_propensity"] == date(2025, 12, 30)
    assert took < 2, f"{took:.1f} s for two years of nights"
    with warehouse.connect() as opened:
        assert rows(opened, "select count(*) as loads from ops.load") == [{"loads": 2190}]


# --- in a real browser -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> str:
    """Return Chromium's path; skips where the browser or its driver is not installed."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not found:
        pytest.skip("needs Chromium: apt-get install chromium")
    if not shutil.which("node"):
        pytest.skip("needs Node: apt-get install nodejs npm")
    if not (BROWSER / "node_modules" / "playwright-core").is_dir():
        pytest.skip("needs playwright-core: npm install --prefix tests/browser")
    return found


def test_the_page_is_seen_inside_airflow(
    chromium, warehouse, connection, night, given, tmp_path, monkeypatch
):
    night("purchase_propensity", "failed", "train", "failed")
    publish(given, date(2026, 3, 1))
    incidents.open_incident(warehouse, failure())
    port = processes.free_port()
    command = [sys.executable, "-m", "airflow", "api-server"]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "PYTHONPATH": str(airflow_home.ROOT), "AIRFLOW__API__WORKERS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/api/v2/monitor/health", server)
        folder = os.environ.get("NIGHTSHIFT_SCREENSHOTS", str(tmp_path))
        seen = subprocess.run(
            ["node", "morning_page.mjs", f"http://127.0.0.1:{port}", folder, "Open incidents"],
            cwd=BROWSER,
            env={**os.environ, "PASSWORD": airflow_home.PASSWORD, "CHROMIUM": chromium},
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        processes.signal_group(server.pid, 15)
        server.wait(30)

    assert seen.returncode == 0, seen.stderr
    told = json.loads(seen.stdout.splitlines()[-1])
    assert "1 open incident" in told["text"]
    assert "python -m jobs run purchase_propensity --as-of 2026-03-02" in told["text"]
    assert (told["theme"], told["dark"]) == ("light", "dark")
    assert told["landed"].startswith("/dags/"), "a link must lead Airflow itself, not its frame"
    assert told["refused"] == []


def wait_for(url: str, server: subprocess.Popen) -> None:
    """Return when ``url`` answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert server.poll() is None, "the api-server ended; see server.log"
        try:
            with opener.open(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(f"{url} does not answer")
