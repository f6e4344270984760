"""The validation pages: they say what the records say, escaped, whole, and without the network."""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, text

from jobs import champion, pages
from jobs.champion import Version
from jobs.extract.profile import profile
from jobs.pages import models

AS_OF = date(2026, 3, 1)
DAY = date(2026, 2, 28)
JOB = "purchase_propensity"
LINES = "apparel_purchases"
EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "link", "path", "polyline", "circle", "img"}
DOWN = "http://127.0.0.1:9"


@pytest.fixture
def loaded(warehouse: Engine) -> Callable[..., None]:
    """Return a function that records one load."""

    def record(table: str = LINES, day: date = DAY, **columns: object) -> None:
        load = {"table_name": table, "event_day": day, "as_of": day + timedelta(days=1)}
        load |= {"mode": "nightly", "rows_read": 110, "rows_loaded": 98, "duplicates": 10}
        add(warehouse, "ops.load", load | {"quarantined": 2, "checksum": 7} | columns)

    return record


@pytest.fixture
def checked(warehouse: Engine) -> Callable[..., None]:
    """Return a function that records one outcome of a check."""

    def record(table: str = LINES, day: date = DAY, **columns: object) -> None:
        outcome = {"table_name": table, "as_of": day + timedelta(days=1), "suite": f"raw.{table}"}
        outcome |= {"expectation": "negative price", "severity": "warning", "success": True}
        add(warehouse, "ops.validation", outcome | columns)

    return record


def add(warehouse: Engine, table: str, row: dict[str, object]) -> None:
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    with warehouse.begin() as connection:
        connection.execute(text(f"insert into {table} ({names}) values ({values})"), row)


class Page(HTMLParser):
    """Collects what a page says and fetches, and fails on tags that do not match."""

    def __init__(self, path: Path):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.words = ""
        self.cells: list[str] = []
        self.path = path
        self.feed(path.read_text())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        """Note the tag, and refuse what could run or fetch."""
        assert tag != "script"
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        for name, value in attributes:
            assert not name.startswith("on")
            if name == "src":
                assert tag == "img"
                assert self.path.parent.name == "models"
                assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+\.png", value)
                self.pictures.append(value)
            if name == "href":
                self.links.append(value)

    def handle_startendtag(self, tag, attributes):
        """Allow only tags that have no end."""
        assert tag in VOID

    def handle_endtag(self, tag):
        """Close the innermost tag."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Keep the words, and those of the cell they stand in."""
        if "style" not in self.open:
            self.words += data
            if {"td", "th"} & set(self.open):
                self.cells[-1] += data


def test_the_index_tells_rows_duplicates_and_quarantine_newest_day_first(
    warehouse, tmp_path, loaded, checked
):
    loaded(day=DAY - timedelta(days=1))
    loaded()
    checked()

    index = Page(pages.build(warehouse, tmp_path))

    days = [cell[:10] for cell in index.cells if re.match(r"\d{4}-", cell)]
    assert days == sorted(days, reverse=True)
    assert days[0] == "2026-02-28"
    assert len(days) == pages.DAYS
    assert "passed98dup 10 · quar 2" in index.cells
    assert "unchecked98dup 10 · quar 2" in index.cells
    assert "All 1 passed every check." in index.words


def test_a_critical_failure_comes_first_with_its_sample_and_no_rows(
    warehouse, tmp_path, loaded, checked
):
    loaded(day=DAY - timedelta(days=1))
    checked(expectation="no client")
    sample = json.dumps([{"client_id": 7, "date": None}])
    checked(
        expectation="median of price", severity="critical", success=False, column_name="price",
        rows=110, unexpected=11, observed="-3", sample=sample,
    )  # fmt: skip

    index = Page(pages.build(warehouse, tmp_path))
    table = Page(tmp_path / "tables" / f"{LINES}.html")

    assert f"failed {LINES}: failed a critical check" in index.words
    assert "failed1 of 2 checks did not hold" in index.cells
    broken = table.cells.index("broken")
    expected = ["broken", "median of price", "price", "critical", "11 of 110 (10.00%)", "-3"]
    assert table.cells[broken : broken + 6] == expected
    assert table.cells[broken + 6] == "date None, client_id 7"
    assert table.cells[broken + 7] == "held"


def test_a_repeated_run_counts_by_its_last_outcome(warehouse, tmp_path, loaded, checked):
    checked(success=False, severity="critical")
    checked(severity="critical")
    loaded()

    index = Page(pages.build(warehouse, tmp_path))

    assert "passed98dup 10 · quar 2" in index.cells


def test_history_is_covered_by_the_check_of_its_range(warehouse, tmp_path, loaded, checked):
    for back in range(3):
        loaded(day=DAY - timedelta(days=back), mode="range")
    checked(success=False)

    index = Page(pages.build(warehouse, tmp_path))

    assert sum(cell.startswith("warnings98") for cell in index.cells) == 3


def test_a_day_that_only_one_table_has_is_missing_in_the_other(
    warehouse, tmp_path, loaded, checked
):
    loaded(day=DAY - timedelta(days=1))
    loaded("client_event", day=DAY - timedelta(days=1))
    loaded("client_event")

    index = Page(pages.build(warehouse, tmp_path))

    assert f"not loaded {LINES}: not loaded yet." in index.words


def test_late_rows_and_absent_tables_are_told(warehouse, tmp_path, loaded, checked):
    loaded()
    loaded(mode="late", as_of=DAY + timedelta(days=3), rows_loaded=4, closed=1, rows_read=114)
    loaded("client_event", mode="absent", rows_read=0, rows_loaded=0, duplicates=0, quarantined=0)

    index = Page(pages.build(warehouse, tmp_path))

    assert "unchecked102dup 10 · quar 2 · late 5" in index.cells
    assert "absent" in index.cells


def test_columns_show_their_profile_and_its_change(warehouse, tmp_path, loaded, given):
    loaded()
    for day, price in ((DAY - timedelta(days=1), 10), (DAY, 15), (DAY, 25)):
        given(
            f"raw.{LINES}", client_id=1, price=price, category_ids="[x]", copies=1,
            event_day=day, known_from=DAY,
        )  # fmt: skip
    with warehouse.begin() as connection:
        profile(connection, f"raw.{LINES}", LINES, DAY)

    pages.build(warehouse, tmp_path)
    table = Page(tmp_path / "tables" / f"{LINES}.html")

    price = table.cells.index("pricePrice of one piece")
    assert "mean: 10 to 20, last 20" in table.cells[price + 1]
    assert table.cells[price + 2 : price + 5] == ["0.0%", "2", "20+100.0%"]
    assert "5\u00a0%\u00a015" in table.cells[price + 5]
    assert table.cells[price + 6] == "none repeats"
    categories = table.cells.index("category_idsThe owner's list of category ids, written as text")
    assert table.cells[categories + 6] == "[x] 100.0%"


def test_whatever_the_data_says_is_escaped(warehouse, tmp_path, loaded, checked):
    loaded(EVIL, airflow_run_id=EVIL)
    sample = json.dumps([EVIL, {EVIL: EVIL}, [EVIL]])
    checked(
        EVIL, expectation=EVIL, column_name=EVIL, observed=EVIL, sample=sample, success=False,
        severity="critical",
    )  # fmt: skip
    add(
        warehouse,
        "ops.profile",
        {
            "table_name": EVIL, "event_day": DAY, "column_name": EVIL, "as_of": DAY, "rows": 2,
            "nulls": 0, "distinct_values": 1, "minimum": EVIL, "maximum": EVIL,
            "top_values": json.dumps([{"value": EVIL, "count": 2}]),
        },
    )  # fmt: skip

    index = pages.build(warehouse, tmp_path)
    (table,) = (tmp_path / "tables").iterdir()

    for path in (index, table):
        assert EVIL in Page(path).words
        assert "<script" not in path.read_text()
    assert (tmp_path / Page(index).links[2]).resolve() == table.resolve()


def test_nothing_is_fetched_and_every_link_leads_somewhere(warehouse, tmp_path, loaded, checked):
    loaded()
    (tmp_path / "gx").mkdir()
    (tmp_path / "gx" / "index.html").write_text("docs")

    index = pages.build(warehouse, tmp_path)

    assert "gx/index.html" in Page(index).links
    for path in (index, tmp_path / "tables" / f"{LINES}.html"):
        assert "url(" not in path.read_text()
        assert "@import" not in path.read_text()
        for link in Page(path).links:
            assert link == "data:," or (path.parent / link).exists(), link


def test_the_same_records_give_the_same_bytes_and_leave_no_other_file(
    warehouse, tmp_path, loaded, checked
):
    loaded()
    checked()

    first = pages.build(warehouse, tmp_path).read_bytes()
    second = pages.build(warehouse, tmp_path).read_bytes()

    assert first == second
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"index.html", f"tables/{LINES}.html"}


def test_an_empty_platform_has_a_page_too(warehouse, tmp_path):
    index = Page(pages.build(warehouse, tmp_path / "deep" / "pages"))

    assert "Nothing has been loaded or checked yet." in index.words


def test_a_figure_that_is_no_number_does_not_break_the_page(warehouse, tmp_path, loaded):
    loaded()
    column = {"table_name": LINES, "column_name": "price", "as_of": DAY, "rows": 2, "nulls": 0}
    column |= {"distinct_values": 2, "minimum": "1", "maximum": "NaN"}
    nan = float("nan")
    for day in (DAY - timedelta(days=1), DAY):
        figures = {"event_day": day, "mean": nan, "quantiles": [1.0, 1.0, 1.0, nan, nan]}
        add(warehouse, "ops.profile", column | figures)

    pages.build(warehouse, tmp_path)

    assert "nan" in Page(tmp_path / "tables" / f"{LINES}.html").words


# Models -----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return MLflow's database before anything is logged: making one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def artifacts(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a store of this test's own; return the folder where it keeps a run's files."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("NIGHTSHIFT_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "mlflow" / "artifacts"


@pytest.fixture
def trained(warehouse: Engine, artifacts: Path, tmp_path: Path) -> Callable[..., str]:
    """Return a function that trains a version and a baseline, with pictures of these names."""

    def train(*names: str, job: str = JOB, as_of: date = AS_OF) -> str:
        with warehouse.connect() as connection:
            version = champion.next_version(connection, job, as_of)
        drawn, files, base = (tmp_path / version / part for part in ("drawn", "model", "base"))
        for folder in (drawn, files, base):
            folder.mkdir(parents=True)
            (folder / "model.txt").write_text(version)
        for name in names:
            (drawn / name).write_text(f"{name} of {version}")
        nothing = pd.DataFrame(columns=["name", "metric", "value", "low", "high"])
        with champion.training_run(version, job, as_of) as run_id:
            champion.log(run_id, {}, nothing, drawn if names else None)
            beside = champion.baseline_version(version, "base_rate")
            versions = {files: Version(version, job, as_of, "model", "catboost")}
            versions |= {base: Version(beside, job, as_of, "baseline", "base_rate")}
            champion.register(warehouse, run_id, versions)
        return version

    return train


@pytest.fixture
def failing_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Put a server in MLflow's place that says it is well and fails; yield what it was asked."""
    asked: list[str] = []

    class Failing(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/health":
                asked.append(self.path)
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, *said):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_model_has_a_page_with_the_pictures_of_its_newest_version(warehouse, tmp_path, trained):
    newest = trained("roc.png", "shap_summary.png", as_of=AS_OF + timedelta(days=1))
    trained("past.png")
    (tmp_path / "out" / "models").mkdir(parents=True)
    (tmp_path / "out" / "tables").mkdir()

    umask = os.umask(0o077)
    try:
        index = Page(pages.build(warehouse, tmp_path / "out"))
    finally:
        os.umask(umask)
    page = Page(tmp_path / "out" / "models" / f"{JOB}.html")

    assert page.pictures == [f"{newest}/roc.png", f"{newest}/shap_summary.png"]
    assert f"Newest version {newest}, trained for 2026-03-02." in page.words
    assert "shap summary" in page.words
    assert 'alt="shap summary" loading="lazy"' in page.path.read_text()
    for picture in page.pictures:
        file = page.path.parent / picture
        assert file.read_text() == f"{file.name} of {newest}"
        assert file.stat().st_mode & 0o777 == 0o644
        assert file.parent.stat().st_mode & 0o777 == 0o755
    assert f"models/{JOB}.html" in index.links
    assert f"{newest}trained for 2026-03-02" in index.words


def test_each_model_of_a_job_with_two_has_its_page(warehouse, tmp_path, trained):
    jobs = ("feed_recommendation.control", "feed_recommendation.test")
    versions = [trained("viewed.png", job=job) for job in jobs]

    index = Page(pages.build(warehouse, tmp_path / "out"))

    assert [link for link in index.links if "models" in link] == [f"models/{j}.html" for j in jobs]
    for job, version in zip(jobs, versions, strict=True):
        page = Page(tmp_path / "out" / "models" / f"{job}.html")
        assert page.pictures == [f"{version}/viewed.png"]


def test_the_page_says_whether_the_newest_version_is_live(warehouse, tmp_path, trained):
    def told():
        pages.build(warehouse, tmp_path / "out")
        return Page(tmp_path / "out" / "models" / f"{JOB}.html").words

    first = trained("roc.png")
    assert "not live" in told()
    assert "No version is live yet." in told()
    champion.promote(warehouse, JOB, first, AS_OF, "ann", "first")
    assert "It is live." in told()
    assert "not live" not in told()
    trained("roc.png", as_of=AS_OF + timedelta(days=1))
    assert f"{first} is live." in told()
    assert "not live" in told()


def test_pictures_are_fetched_once_and_come_out_the_same(
    warehouse, tmp_path, trained, artifacts, monkeypatch
):
    version = trained("roc.png")
    pages.build(warehouse, tmp_path / "out")
    page = tmp_path / "out" / "models" / f"{JOB}.html"
    first = page.read_bytes()
    shutil.rmtree(artifacts)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DOWN)

    pages.build(warehouse, tmp_path / "out")

    assert page.read_bytes() == first
    assert (page.parent / version / "roc.png").read_text() == f"roc.png of {version}"


def test_a_newer_version_takes_the_place_of_the_older(warehouse, tmp_path, trained):
    trained("roc.png", "gain.png")
    pages.build(warehouse, tmp_path / "out")
    # What a build that was killed left behind.
    (tmp_path / "out" / "models" / ".fetching-x" / "pictures").mkdir(parents=True)
    second = trained("roc.png")

    pages.build(warehouse, tmp_path / "out")

    assert second == f"{JOB}-{AS_OF}-2"
    assert files_under(tmp_path / "out" / "models") == {f"{JOB}.html", f"{second}/roc.png"}
    assert not (tmp_path / "out" / "models" / ".fetching-x").exists()


@pytest.mark.parametrize("uri", [DOWN, ""])
def test_without_mlflow_the_build_succeeds_says_so_and_the_next_one_mends_it(
    warehouse, tmp_path, trained, monkeypatch, caplog, uri
):
    version = trained("roc.png")
    page = tmp_path / "out" / "models" / f"{JOB}.html"

    with monkeypatch.context() as offline:
        offline.setenv("MLFLOW_TRACKING_URI", uri)
        index = Page(pages.build(warehouse, tmp_path / "out"))

    assert Page(page).pictures == []
    assert models.NOT_FETCHED in Page(page).words
    assert f"models/{JOB}.html" in index.links
    assert f"{version}: no pictures on its page: " in caplog.text
    assert "MLFLOW_TRACKING_URI" in caplog.text
    pages.build(warehouse, tmp_path / "out")
    assert Page(page).pictures == [f"{version}/roc.png"]


def test_an_mlflow_that_fails_is_asked_once_and_not_for_minutes(
    warehouse, tmp_path, trained, failing_mlflow, monkeypatch
):
    with monkeypatch.context() as well:
        well.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
        trained("roc.png")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)

    pages.build(warehouse, tmp_path / "out")

    assert len(failing_mlflow) == 1
    assert models.NOT_FETCHED in Page(tmp_path / "out" / "models" / f"{JOB}.html").words
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_slow_mlflow_is_left_to_the_next_build(warehouse, tmp_path, trained, monkeypatch):
    trained("roc.png")
    monkeypatch.setattr(models, "FETCHING_SECONDS", 0)

    pages.build(warehouse, tmp_path / "out")

    assert models.NOT_FETCHED in Page(tmp_path / "out" / "models" / f"{JOB}.html").words


def test_a_version_without_pictures_says_so(warehouse, tmp_path, trained, caplog):
    trained()

    pages.build(warehouse, tmp_path / "out")

    assert models.NONE_KEPT in Page(tmp_path / "out" / "models" / f"{JOB}.html").words
    assert "has no pictures" in caplog.text


def test_half_of_the_pictures_is_none(warehouse, tmp_path, trained, artifacts):
    trained("gain.png", "roc.png")
    (lost,) = artifacts.rglob("roc.png")
    lost.unlink()
    lost.symlink_to("nowhere")

    pages.build(warehouse, tmp_path / "out")

    assert files_under(tmp_path / "out" / "models") == {f"{JOB}.html"}
    assert models.NOT_FETCHED in Page(tmp_path / "out" / "models" / f"{JOB}.html").words


def test_two_builds_at_once_fetch_once(warehouse, tmp_path, trained, monkeypatch):
    version = trained("roc.png")
    fetched, real = [], champion.pictures

    def fetch(run_id, folder):
        fetched.append(run_id)
        return real(run_id, folder)

    monkeypatch.setattr(champion, "pictures", fetch)

    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda _: pages.build(warehouse, tmp_path / "out"), range(2)))

    assert len(fetched) == 1
    assert Page(tmp_path / "out" / "models" / f"{JOB}.html").pictures == [f"{version}/roc.png"]


def test_names_of_pictures_and_models_can_do_no_harm(
    warehouse, as_role, tmp_path, trained, artifacts
):
    trained("roc.png", "a b.png", "<b onload=x>.png", "q?x.png", "notes.txt", job="toy")
    (drawn,) = artifacts.rglob("pictures")
    (drawn / "folder.png").mkdir()
    rename = text("update ops.model_version set job = :evil, model_version = :evil")
    with as_role("migrator").begin() as connection:
        connection.execute(text("delete from ops.model_version where kind = 'baseline'"))
        connection.execute(rename, {"evil": EVIL})

    index = Page(pages.build(warehouse, tmp_path / "out"))
    (path,) = (tmp_path / "out" / "models").glob("*.html")
    page = Page(path)

    assert EVIL in page.words
    assert EVIL in index.words
    for written in (path, index.path):
        assert "<script" not in written.read_text()
    assert [Path(picture).name for picture in page.pictures] == ["roc.png"]
    assert all((path.parent / picture).is_file() for picture in page.pictures)
    assert (tmp_path / "out" / index.links[-1]).resolve() == path.resolve()
    assert len(files_under(path.parent)) == 2


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
def test_a_browser_shows_the_index_without_an_error(warehouse, tmp_path, loaded, checked):
    loaded()
    checked()
    index = pages.build(warehouse, tmp_path / "pages")

    shown = subprocess.run(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'browser'}",
            "--dump-dom", index.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert "All 1 passed every check." in shown.stdout
    assert "CONSOLE" not in shown.stderr
