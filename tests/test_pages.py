"""The validation pages: they say what the records say, escaped, whole, and without the network."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from jobs import pages
from jobs.extract.profile import profile

DAY = date(2026, 2, 28)
LINES = "apparel_purchases"
EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "link", "path", "polyline", "circle"}


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
        self.words = ""
        self.cells: list[str] = []
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
            assert name != "src"
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
