"""The validation pages: what was loaded, checked and profiled, as static files for a browser.

Each file stands alone (no script, nothing fetched), says only what the warehouse says, and comes
out the same bytes from the same records.
"""

import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from html import escape
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from jobs.warehouse import rows, sql_file

DAYS = 30
LOADS = 60
# Great Expectations' own pages, where they were built.
DATA_DOCS = ("gx/index.html", "gx/uncommitted/data_docs/local_site/index.html")
Row = dict[str, Any]
# State of a day -> what the badge says, worst first.
STATES = {
    "failed": "failed",
    "missing": "not loaded",
    "warned": "warnings",
    "unchecked": "unchecked",
    "passed": "passed",
    "absent": "absent",
}
NONE = "–"  # noqa: RUF001


class Html(str):
    """Markup, safe as it stands; any other text is escaped on its way into a page."""


def build(warehouse: Engine, out: Path) -> Path:
    """Write the index and one page per checked table under ``out``; return the index.

    A file is replaced whole, so a reader never sees half a page.
    """
    (out / "tables").mkdir(parents=True, exist_ok=True)
    with warehouse.connect().execution_options(isolation_level="REPEATABLE READ") as snapshot:
        days = _read(snapshot, "days", days=DAYS)
        tables = sorted({day["table_name"] for day in days}, key=lambda name: _order(days, name))
        for table in tables:
            page = _table_page(
                table,
                [day for day in days if day["table_name"] == table],
                _read(snapshot, "validations", table_name=table, days=DAYS),
                _read(snapshot, "profile", table_name=table, days=DAYS),
                _read(snapshot, "loads", table_name=table, loads=LOADS),
            )
            _write(out / _file(table), page)
    docs = next((name for name in DATA_DOCS if (out / name).exists()), None)
    return _write(out / "index.html", _index_page(tables, days, docs))


def _read(connection: Connection, name: str, **values: object) -> list[Row]:
    return rows(connection, sql_file(f"pages/{name}.sql"), **values)


def _order(days: list[Row], table: str) -> tuple[bool, str]:
    """Loaded tables come before datasets, each by name."""
    first = next(day for day in days if day["table_name"] == table)
    return not first["is_loaded_table"], table


def _file(table: str) -> str:
    """Return a table's page, relative to the index, whatever its name holds."""
    return f"tables/{re.sub(r'[^A-Za-z0-9_.-]', '_', table)}.html"


def _write(path: Path, page: Html) -> Path:
    """Put ``page`` at ``path`` in one step and return the path."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False) as file:
        file.write(page)
    # Temporary files are closed to other users; pages are served, perhaps by another one.
    os.chmod(file.name, 0o644)
    return Path(file.name).replace(path)


# What a day's state is --------------------------------------------------------------------------


def _state(day: Row, first_day: date | None) -> str | None:
    """Return the day's state, a key of STATES, or None where nothing was due.

    ``first_day`` is the first day the table has in view: nothing was due before it.
    """
    if day["failures"]:
        return "failed"
    if day["mode"] == "absent":
        return "absent"
    if day["is_loaded_table"] and day["mode"] is None:
        return "missing" if first_day and day["day"] > first_day else None
    if day["warnings"]:
        return "warned"
    if day["checks"]:
        return "passed"
    return "unchecked" if day["mode"] else None


def _states(days: list[Row]) -> dict[date, str | None]:
    """Return the state of each day of one table."""
    first_day = min((day["day"] for day in days if day["mode"] or day["checks"]), default=None)
    return {day["day"]: _state(day, first_day) for day in days}


# Pages ------------------------------------------------------------------------------------------


def _index_page(tables: list[str], days: list[Row], docs: str | None) -> Html:
    by_table = {name: [day for day in days if day["table_name"] == name] for name in tables}
    states = {name: _states(by_table[name]) for name in tables}
    if not days:
        return _page("Data checks", "", [_tag("p", "Nothing has been loaded or checked yet.")])
    newest = days[0]["day"]
    told = [
        _tag("h1", "Data checks"),
        _tag("p", "Newest day ", _tag("b", newest), _as_of(newest), class_="sub"),
        _verdict({name: states[name][newest] for name in tables}),
        _tag(
            "div", *(_card(name, by_table[name], states[name]) for name in tables), class_="cards"
        ),
        _tag("h2", f"The last {DAYS} days"),
        _tag(
            "p",
            "Rows that stand in the warehouse, with exact duplicates dropped (dup), rows set "
            "aside (quar) and rows that came or changed later (late).",
            class_="sub",
        ),
        _matrix(tables, by_table, states),
    ]
    if docs:
        link = _tag("a", "Great Expectations’ own Data Docs", href=docs)  # noqa: RUF001
        told.append(_tag("p", "The same checks in ", link, ".", class_="sub"))
    return _page("Data checks", "", told)


def _verdict(newest: dict[str, str | None]) -> Html:
    """Return what the newest day of all tables says, the worst first."""
    said = []
    for state, words in (
        ("failed", "failed a critical check; nothing of that day was loaded"),
        ("missing", "not loaded yet"),
        ("warned", "loaded, with rows that broke a check set aside"),
        ("unchecked", "loaded without a check"),
    ):
        names = [name for name, found in newest.items() if found == state]
        if names:
            links = [_link(name) for name in names]
            listed = [part for link in links for part in (", ", link)][1:]
            said.append(_tag("p", _badge(state), " ", *listed, f": {words}."))
    passed = sum(state == "passed" for state in newest.values())
    if passed:
        everything = "All" if passed == len(newest) else "The other" if said else "Of those due,"
        said.append(_tag("p", _badge("passed"), f" {everything} {passed} passed every check."))
    return _tag("div", *said, class_="verdict")


def _card(table: str, days: list[Row], states: dict[date, str | None]) -> Html:
    newest = days[0]
    title = _tag("h3", _tag("span", table, class_="name"), _badge(states[newest["day"]]))
    return _tag("a", title, *_facts(days), href=_file(table), class_="card")


def _facts(days: list[Row]) -> list[Html]:
    """Return a few lines on the newest loaded day of one table, or on its newest checks."""
    newest = days[0]
    loaded = [day for day in days if day["rows"] is not None]
    if not loaded:
        return [_tag("p", f"{newest['checks'] or 'no'} checks, no loads", class_="sub")]
    last, *earlier = loaded
    change = last["rows"] / earlier[0]["rows"] - 1 if earlier and earlier[0]["rows"] else None
    told = [
        _tag("p", _tag("b", _whole(last["rows"])), " rows ", _change(change), class_="big"),
        _spark([day["rows"] for day in reversed(days)], "rows a day", 240, 36),
    ]
    counts = f"{_whole(last['duplicates'])} duplicates, {_whole(last['quarantined'])} quarantined"
    told.append(_tag("p", counts, class_="sub"))
    if last is not newest:
        told.append(_tag("p", f"This is {last['day']}, the newest loaded day.", class_="sub"))
    return told


def _matrix(
    tables: list[str], by_table: dict[str, list[Row]], states: dict[str, dict[date, str | None]]
) -> Html:
    """Return the table of days by tables, newest day first."""
    head = _tag("tr", _tag("th", "day"), *(_tag("th", _link(name)) for name in tables))
    lines = []
    for number, day in enumerate(row["day"] for row in by_table[tables[0]]):
        cells = [_cell(by_table[name][number], states[name][day]) for name in tables]
        label = _tag("th", day, _tag("small", f"{day:%a}"))
        lines.append(_tag("tr", label, *cells))
    return _scroll(_tag("table", _tag("thead", head), _tag("tbody", *lines), class_="matrix"))


def _cell(day: Row, state: str | None) -> Html:
    if state is None:
        return _tag("td", NONE, class_="none")
    told = [_badge(state)]
    if day["rows"] is not None and day["mode"] != "absent":
        told.append(_tag("b", _whole(day["rows"])))
        small = [("dup", day["duplicates"]), ("quar", day["quarantined"]), ("late", day["late"])]
        told.append(_tag("small", " · ".join(f"{what} {_whole(n)}" for what, n in small if n)))
    if day["failures"] or day["warnings"]:
        broken = day["failures"] + day["warnings"]
        told.append(_tag("small", f"{broken} of {day['checks']} checks did not hold"))
    return _tag("td", *told)


def _table_page(
    table: str, days: list[Row], outcomes: list[Row], columns: list[Row], loads: list[Row]
) -> Html:
    states = _states(days)
    newest = next((day for day in days if states[day["day"]]), days[0])
    told: list[object] = [
        _tag("p", _tag("a", "← All tables", href="../index.html"), class_="sub"),
        _tag("h1", table, " ", _badge(states[newest["day"]])),
        _tag("p", "Newest day ", _tag("b", newest["day"]), _as_of(newest["day"]), class_="sub"),
        _strip(days, states),
        _tag("div", *_facts(days), class_="card head"),
    ]
    if outcomes:
        as_of = outcomes[0]["as_of"]
        last = [outcome for outcome in outcomes if outcome["as_of"] == as_of]
        held = sum(outcome["success"] for outcome in last)
        told += [
            _tag("h2", "Checks of the newest run"),
            _tag(
                "p",
                f"As of {as_of}: {held} of {len(last)} held. A critical one stops the day; a "
                "warning sets its rows aside in quarantine.",
                class_="sub",
            ),
            _outcomes(last),
        ]
        earlier = [row for row in outcomes if row["as_of"] < as_of and not row["success"]]
        if earlier:
            told += [_tag("h2", "What did not hold before"), _outcomes(earlier, dated=True)]
    if columns:
        told += [
            _tag("h2", "Columns"),
            _tag(
                "p",
                f"Profile of {max(row['event_day'] for row in columns)}, with the change from "
                "the day before. The line is the mean of a number, else the count of distinct "
                f"values, over the last {DAYS} days.",
                class_="sub",
            ),
            _profile(columns),
        ]
    if loads:
        told += [_tag("h2", f"Loads, newest first (at most {LOADS})"), _loads(loads)]
    return _page(table, "../", told)


def _strip(days: list[Row], states: dict[date, str | None]) -> Html:
    """Return one small bar per day, oldest first, with its rows in the tooltip."""
    bars = []
    for day in reversed(days):
        state = states[day["day"]]
        said = f"{day['day']}: {STATES[state] if state else 'nothing due'}"
        if day["rows"] is not None:
            said += f", {_whole(day['rows'])} rows"
        bars.append(_tag("i", class_=state or "none", title=said))
    ends = _tag("p", _tag("span", days[-1]["day"]), _tag("span", days[0]["day"]), class_="ends")
    strip = _tag("div", *bars, class_="strip", role="img", **{"aria-label": "state of each day"})
    return _tag("div", strip, ends, class_="days")


def _outcomes(outcomes: list[Row], *, dated: bool = False) -> Html:
    names = ["as of"] if dated else []
    names += [
        "result",
        "expectation",
        "column",
        "severity",
        "rows against",
        "observed",
        "for example",
    ]
    lines = []
    for row in outcomes:
        state = "passed" if row["success"] else "warned"
        if not row["success"] and row["severity"] == "critical":
            state = "failed"
        broken: object = NONE
        if row["unexpected"] is not None:
            broken = _whole(row["unexpected"])
            if row["unexpected"] and row["rows"]:
                broken += f" of {_whole(row['rows'])} ({row['unexpected'] / row['rows']:.2%})"
        cells = [_tag("td", row["as_of"], class_="n")] if dated else []
        cells += [
            _tag("td", _badge(state, "held" if row["success"] else "broken")),
            _tag("td", str(row["expectation"]).replace("_", " "), class_="say"),
            _tag("td", _tag("code", row["column_name"]) if row["column_name"] else NONE),
            _tag("td", row["severity"]),
            _tag("td", broken, class_="r"),
            _tag("td", NONE if row["observed"] is None else row["observed"], class_="say"),
            _tag("td", _sample(row["sample"]), class_="say"),
        ]
        lines.append(_tag("tr", *cells))
    return _grid(names, lines, right=("rows against",))


def _sample(sample: object) -> Html:
    """Return up to three keys of rows that broke a check."""
    if not isinstance(sample, list) or not sample:
        return Html(NONE)
    shown = (
        ", ".join(f"{name} {value}" for name, value in key.items())
        if isinstance(key, dict)
        else key
        if isinstance(key, str)
        else json.dumps(key, default=str)
        for key in sample
    )
    return _tag("span", *(_tag("code", key) for key in shown), class_="keys")


def _profile(found: list[Row]) -> Html:
    names = ["column", f"{DAYS} days", "nulls", "distinct", "mean", "spread", "most frequent"]
    newest_day = max(row["event_day"] for row in found)
    lines = []
    for column, group in groupby(found, key=itemgetter("column_name")):
        days = list(group)
        last = days[-1]
        number = last["mean"] is not None
        line = [day["mean"] if number else day["distinct_values"] for day in days]
        nulls = last["nulls"] / last["rows"] if last["rows"] else 0.0
        label = [_tag("code", column)]
        if last["comment"]:
            label.append(_tag("small", last["comment"]))
        if last["event_day"] != newest_day:
            label.append(_tag("small", f"last seen {last['event_day']}"))
        lines.append(
            _tag(
                "tr",
                _tag("td", *label, class_="col"),
                _tag("td", _spark(line, "mean" if number else "distinct values")),
                _tag("td", f"{nulls:.1%}", _points(last["null_share_change"]), class_="r"),
                _tag("td", _whole(last["distinct_values"]), class_="r"),
                _tag("td", _number(last["mean"]), _change(last["mean_change"]), class_="r"),
                _tag("td", *_spread(last)),
                _tag("td", _frequent(last["top_values"], last["rows"]), class_="say"),
            )
        )
    return _grid(names, lines, right=("nulls", "distinct", "mean"))


def _spread(column: Row) -> list[Html]:
    """Return a column's least and greatest value; for numbers a box of the quantiles between."""
    least, most = column["minimum"], column["maximum"]
    if least is None:
        return [Html(NONE)]
    if not column["quantiles"]:
        return [_tag("div", _tag("code", _short(value))) for value in dict.fromkeys((least, most))]
    low, high, (p5, p25, p50, p75, p95) = float(least), float(most), column["quantiles"]
    ends = _tag("p", _tag("span", _number(low)), _tag("span", _number(high)), class_="ends")
    said = ", ".join(
        f"{name}\u00a0%\u00a0{_number(value)}"
        for name, value in zip((5, 25, 50, 75, 95), column["quantiles"], strict=True)
    )
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return [ends]

    def place(value: float) -> str:
        return f"{2 + 196 * (value - low) / (high - low):.1f}"

    drawn = (
        f'<path d="M2 8H198" class="thin"/><path d="M{place(p5)} 8H{place(p95)}"/>'
        f'<path d="M{place(p25)} 8H{place(p75)}" class="box"/>'
        f'<path d="M{place(p50)} 2V14" class="median"/>'
    )
    box = _tag(
        "svg", _tag("title", said), Html(drawn),
        class_="spread", viewBox="0 0 200 16", width=200, height=16, role="img",
    )  # fmt: skip
    return [box, ends, _tag("small", said)]


def _frequent(top: Iterable[Row] | None, of: int) -> Html:
    """Return the most frequent values, each with its share of the rows."""
    shown = [
        _tag("span", _tag("code", _short(each["value"])), f" {each['count'] / of:.1%}")
        for each in top or ()
    ]
    return _tag("span", *shown, class_="keys") if shown else Html("none repeats")


def _loads(loads: list[Row]) -> Html:
    names = ["event day", "as of", "mode", "read", "loaded", "duplicates", "quarantined", "closed"]
    names += ["checksum", "Airflow run", "committed (UTC)"]
    right = ("read", "loaded", "duplicates", "quarantined", "closed")
    counts = ("rows_read", "rows_loaded", "duplicates", "quarantined", "closed")
    lines = [
        _tag(
            "tr",
            _tag("td", row["event_day"], class_="n"),
            _tag("td", row["as_of"], class_="n"),
            _tag("td", row["mode"]),
            *(_tag("td", _whole(row[name]), class_="r") for name in counts),
            _tag("td", _tag("code", row["checksum"]), class_="n"),
            _tag("td", row["airflow_run_id"] or "by hand", class_="n"),
            _tag("td", _time(row["loaded_at"]), class_="n"),
        )
        for row in loads
    ]
    return _grid(names, lines, right=right)


# Pieces -----------------------------------------------------------------------------------------


def _page(title: str, up: str, body: Sequence[object]) -> Html:
    home = _tag("a", "Nightshift", href=f"{up}index.html")
    main = _tag("main", _tag("header", home, _tag("span", "data checks")), *body)
    return Html(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"{_tag('title', f'{title} · Nightshift')}<style>{STYLE}</style></head>"
        f"<body>{main}</body></html>\n"
    )


def _tag(name: str, *children: object, **attributes: object) -> Html:
    """Return an element; children and attributes that are no Html are escaped."""
    said = "".join(
        f' {key.rstrip("_")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    inside = "".join(child if isinstance(child, Html) else escape(str(child)) for child in children)
    return Html(f"<{name}{said}>{inside}</{name}>")


def _grid(names: list[str], lines: list[Html], right: tuple[str, ...]) -> Html:
    head = (_tag("th", name, **({"class_": "r"} if name in right else {})) for name in names)
    return _scroll(_tag("table", _tag("thead", _tag("tr", *head)), _tag("tbody", *lines)))


def _scroll(table: Html) -> Html:
    return _tag("div", table, class_="scroll")


def _badge(state: str | None, words: str | None = None) -> Html:
    if state is None:
        return _tag("span", "nothing due", class_="badge none")
    return _tag("span", words or STATES[state], class_=f"badge {state}")


def _link(table: str) -> Html:
    return _tag("a", table, href=_file(table))


def _as_of(day: date) -> Html:
    return _tag("span", f" (as of {date.fromordinal(day.toordinal() + 1)})")


def _spark(values: Sequence[Any], what: str, width: int = 110, height: int = 26) -> Html:
    """Return a line through ``values``, oldest first, broken where one is None; last one dotted."""
    known = [float(v) for v in values if v is not None and math.isfinite(v)]
    if not known:
        return Html(NONE)
    low, high = min(known), max(known)
    step = (width - 8) / max(1, len(values) - 1)

    def point(place: int, value: Any) -> str:
        share = (float(value) - low) / (high - low) if high > low else 0.5
        return f"{4 + place * step:.1f},{height - 4 - share * (height - 8):.1f}"

    runs: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None or not math.isfinite(value):
            runs.append([])
        else:
            runs[-1].append(point(place, value))
    lines = [Html(f'<polyline points="{" ".join(run)}"/>') for run in runs if run]
    x, y = next(run for run in reversed(runs) if run)[-1].split(",")
    said = _tag("title", f"{what}: {_number(low)} to {_number(high)}, last {_number(known[-1])}")
    dot = Html(f'<circle cx="{x}" cy="{y}" r="2.4"/>')
    return _tag(
        "svg", said, *lines, dot,
        class_="spark", viewBox=f"0 0 {width} {height}", width=width, height=height, role="img",
    )  # fmt: skip


def _whole(count: Any) -> str:
    return NONE if count is None else f"{int(count):,}"


def _number(value: Any) -> str:
    """Return a figure with as many digits as help."""
    if value is None:
        return NONE
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if value.is_integer():
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def _change(share: float | None) -> Html:
    if share is None or not math.isfinite(share):
        return Html("")
    return _tag("small", f"{share:+.1%}".replace("-", "−"), class_="change")  # noqa: RUF001


def _points(share: float | None) -> Html:
    """Return a change of a share, in percentage points, unless it shows as nothing."""
    if share is None or abs(share) < 0.0005:
        return Html("")
    said = f"{share * 100:+.1f} pt".replace("-", "−")  # noqa: RUF001
    return _tag("small", said, class_="change")


def _short(value: str | None) -> str:
    if value is None:
        return NONE
    return value if len(value) <= 28 else value[:27] + "…"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


STYLE = """
:root{--bg:#f6f7f9;--card:#fff;--line:#e2e5ea;--ink:#1c2128;--dim:#616a76;--link:#1f5fbf;
--pass:#17703f;--passb:#dff3e6;--warn:#875800;--warnb:#fdf0cf;--fail:#b3261e;--failb:#fde3e1;
--noneb:#eceef1}
@media(prefers-color-scheme:dark){:root{--bg:#0f1216;--card:#171b21;--line:#2a3038;--ink:#e4e8ee;
--dim:#949eab;--link:#7db0ff;--pass:#6fd49a;--passb:#12321f;--warn:#f0c264;--warnb:#3a2d0c;
--fail:#ff9a92;--failb:#451a17;--noneb:#232830}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1240px;margin:0 auto;padding:0 24px 64px}
header{display:flex;gap:10px;align-items:baseline;padding:16px 0;margin-bottom:20px;
border-bottom:1px solid var(--line);color:var(--dim)}
header a{font-weight:650;color:var(--ink)}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;font-weight:650}
h1 .badge{font-size:13px;vertical-align:5px;margin-left:6px}
h2{font-size:18px;margin:36px 0 6px;font-weight:650}
p{margin:0}.sub{color:var(--dim);font-size:14px;margin-bottom:10px}.sub b{color:var(--ink)}
.verdict{padding:10px 16px;border:1px solid var(--line);border-radius:10px;
background:var(--card);margin:14px 0 18px}.verdict p{padding:2px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:14px}
.card{display:block;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:10px;padding:14px 16px}
.card:hover{text-decoration:none;border-color:var(--link)}
.card h3{display:flex;justify-content:space-between;gap:8px;margin:0 0 8px;font-size:15px;
font-weight:600}.name{overflow-wrap:anywhere}
.card .sub{margin:6px 0 0}.big b{font-size:22px;font-weight:650}
.badge{display:inline-block;padding:0 8px;border-radius:99px;font-size:12.5px;font-weight:600;
line-height:20px;white-space:nowrap;color:var(--dim);background:var(--noneb);height:20px}
.badge.passed{color:var(--pass);background:var(--passb)}
.badge.warned,.badge.missing,.badge.unchecked{color:var(--warn);background:var(--warnb)}
.badge.failed{color:var(--fail);background:var(--failb)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:7px 12px;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;font-weight:600;color:var(--dim);font-size:12.5px;white-space:nowrap}
tbody th{font-weight:500;white-space:nowrap}
.matrix td .badge{margin-right:8px}.matrix small{display:block}tbody th small{margin-left:6px}
.matrix tbody th small{display:inline}
small{color:var(--dim);font-size:12.5px}
.r,th.r{text-align:right}.r,.n{white-space:nowrap}.r small{display:block}
.none{color:var(--dim)}.say{min-width:120px;overflow-wrap:anywhere}
.col{min-width:150px}.col small{display:block;line-height:1.35}
code{font:12.5px/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.keys{display:flex;flex-direction:column;gap:1px}.keys code{overflow-wrap:anywhere}
.spark{display:block;overflow:visible}
.spark polyline{fill:none;stroke:var(--link);stroke-width:1.5;stroke-linejoin:round;
stroke-linecap:round}.spark circle{fill:var(--link)}
.days{max-width:760px;margin:16px 0 14px}.strip{display:flex;gap:3px}
.strip i{flex:1;height:26px;border-radius:4px;background:var(--noneb)}
.ends{display:flex;justify-content:space-between;color:var(--dim);font-size:12.5px}
.head{display:inline-block;min-width:270px}.head:hover{border-color:var(--line)!important}
.spread{display:block;overflow:visible}.spread path{stroke:var(--link);fill:none;stroke-width:2}
.spread .thin{stroke:var(--line)}.spread .box{stroke-width:8;opacity:.55}
td .ends{max-width:200px}td>small{line-height:1.35}
.strip i.passed{background:var(--pass)}.strip i.failed{background:var(--fail)}
.strip i.warned,.strip i.missing,.strip i.unchecked{background:var(--warn)}
@media(max-width:600px){main{padding:0 14px 40px}}
"""
