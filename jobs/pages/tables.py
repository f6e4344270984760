"""The pages of checks: the index of all tables, and a page for each."""

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from sqlalchemy import Connection, Engine

from jobs.pages.html import (
    NONE,
    STATES,
    Html,
    Row,
    badge,
    change,
    file_name,
    grid,
    number,
    page,
    points,
    scroll,
    short,
    spark,
    tag,
    time,
    whole,
    write,
)
from jobs.warehouse import rows, sql_file

DAYS = 30
LOADS = 60


def build(warehouse: Engine, out: Path) -> list[Row]:
    """Write a page per checked table under ``out``; return the days of all, for the index."""
    (out / "tables").mkdir(parents=True, exist_ok=True)
    with warehouse.connect().execution_options(isolation_level="REPEATABLE READ") as snapshot:
        days = _read(snapshot, "days", days=DAYS)
        for table in _names(days):
            told = _table_page(
                table,
                [day for day in days if day["table_name"] == table],
                _read(snapshot, "validations", table_name=table, days=DAYS),
                _read(snapshot, "profile", table_name=table, days=DAYS),
                _read(snapshot, "loads", table_name=table, loads=LOADS),
            )
            write(out / _file(table), told)
    return days


def _read(connection: Connection, name: str, **values: object) -> list[Row]:
    return rows(connection, sql_file(f"pages/{name}.sql"), **values)


def _names(days: list[Row]) -> list[str]:
    """Return the tables: loaded ones come before datasets, each by name."""
    loaded = {day["table_name"]: day["is_loaded_table"] for day in days}
    return sorted(loaded, key=lambda table: (not loaded[table], table))


def _file(table: str) -> str:
    """Return a table's page, relative to the index."""
    return f"tables/{file_name(table)}.html"


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


def index_page(days: list[Row], docs: str | None, models: Sequence[Html]) -> Html:
    """Return the index: the newest day, ``models`` (what the index says of them), all days.

    Args:
        days: what `build` returned.
        docs: Great Expectations' own pages, relative to the index, or None.
        models: parts that follow the newest day.
    """
    tables = _names(days)
    by_table = {name: [day for day in days if day["table_name"] == name] for name in tables}
    states = {name: _states(by_table[name]) for name in tables}
    if not days:
        return page(
            "Data checks", "", [tag("p", "Nothing has been loaded or checked yet."), *models]
        )
    newest = days[0]["day"]
    told = [
        tag("h1", "Data checks"),
        tag("p", "Newest day ", tag("b", newest), _as_of(newest), class_="sub"),
        _verdict({name: states[name][newest] for name in tables}),
        tag("div", *(_card(name, by_table[name], states[name]) for name in tables), class_="cards"),
        *models,
        tag("h2", f"The last {DAYS} days"),
        tag(
            "p",
            "Rows that stand in the warehouse, with exact duplicates dropped (dup), rows set "
            "aside (quar) and rows that came or changed later (late).",
            class_="sub",
        ),
        _matrix(tables, by_table, states),
    ]
    if docs:
        link = tag("a", "Great Expectations’ own Data Docs", href=docs)  # noqa: RUF001
        told.append(tag("p", "The same checks in ", link, ".", class_="sub"))
    return page("Data checks", "", told)


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
            said.append(tag("p", badge(state), " ", *listed, f": {words}."))
    passed = sum(state == "passed" for state in newest.values())
    if passed:
        everything = "All" if passed == len(newest) else "The other" if said else "Of those due,"
        said.append(tag("p", badge("passed"), f" {everything} {passed} passed every check."))
    return tag("div", *said, class_="verdict")


def _card(table: str, days: list[Row], states: dict[date, str | None]) -> Html:
    newest = days[0]
    title = tag("h3", tag("span", table, class_="name"), badge(states[newest["day"]]))
    return tag("a", title, *_facts(days), href=_file(table), class_="card")


def _facts(days: list[Row]) -> list[Html]:
    """Return a few lines on the newest loaded day of one table, or on its newest checks."""
    newest = days[0]
    loaded = [day for day in days if day["rows"] is not None]
    if not loaded:
        return [tag("p", f"{newest['checks'] or 'no'} checks, no loads", class_="sub")]
    last, *earlier = loaded
    growth = last["rows"] / earlier[0]["rows"] - 1 if earlier and earlier[0]["rows"] else None
    told = [
        tag("p", tag("b", whole(last["rows"])), " rows ", change(growth), class_="big"),
        spark([day["rows"] for day in reversed(days)], "rows a day", 240, 36),
    ]
    counts = f"{whole(last['duplicates'])} duplicates, {whole(last['quarantined'])} quarantined"
    told.append(tag("p", counts, class_="sub"))
    if last is not newest:
        told.append(tag("p", f"This is {last['day']}, the newest loaded day.", class_="sub"))
    return told


def _matrix(
    tables: list[str], by_table: dict[str, list[Row]], states: dict[str, dict[date, str | None]]
) -> Html:
    """Return the table of days by tables, newest day first."""
    head = tag("tr", tag("th", "day"), *(tag("th", _link(name)) for name in tables))
    lines = []
    for place, day in enumerate(row["day"] for row in by_table[tables[0]]):
        cells = [_cell(by_table[name][place], states[name][day]) for name in tables]
        label = tag("th", day, tag("small", f"{day:%a}"))
        lines.append(tag("tr", label, *cells))
    return scroll(tag("table", tag("thead", head), tag("tbody", *lines), class_="matrix"))


def _cell(day: Row, state: str | None) -> Html:
    if state is None:
        return tag("td", NONE, class_="none")
    told = [badge(state)]
    if day["rows"] is not None and day["mode"] != "absent":
        told.append(tag("b", whole(day["rows"])))
        small = [("dup", day["duplicates"]), ("quar", day["quarantined"]), ("late", day["late"])]
        told.append(tag("small", " · ".join(f"{what} {whole(n)}" for what, n in small if n)))
    if day["failures"] or day["warnings"]:
        broken = day["failures"] + day["warnings"]
        told.append(tag("small", f"{broken} of {day['checks']} checks did not hold"))
    return tag("td", *told)


def _table_page(
    table: str, days: list[Row], outcomes: list[Row], columns: list[Row], loads: list[Row]
) -> Html:
    states = _states(days)
    newest = next((day for day in days if states[day["day"]]), days[0])
    told: list[object] = [
        tag("p", tag("a", "← All tables", href="../index.html"), class_="sub"),
        tag("h1", table, " ", badge(states[newest["day"]])),
        tag("p", "Newest day ", tag("b", newest["day"]), _as_of(newest["day"]), class_="sub"),
        _strip(days, states),
        tag("div", *_facts(days), class_="card head"),
    ]
    if outcomes:
        as_of = outcomes[0]["as_of"]
        last = [outcome for outcome in outcomes if outcome["as_of"] == as_of]
        held = sum(outcome["success"] for outcome in last)
        told += [
            tag("h2", "Checks of the newest run"),
            tag(
                "p",
                f"As of {as_of}: {held} of {len(last)} held. A critical one stops the day; a "
                "warning sets its rows aside in quarantine.",
                class_="sub",
            ),
            _outcomes(last),
        ]
        earlier = [row for row in outcomes if row["as_of"] < as_of and not row["success"]]
        if earlier:
            told += [tag("h2", "What did not hold before"), _outcomes(earlier, dated=True)]
    if columns:
        told += [
            tag("h2", "Columns"),
            tag(
                "p",
                f"Profile of {max(row['event_day'] for row in columns)}, with the change from "
                "the day before. The line is the mean of a number, else the count of distinct "
                f"values, over the last {DAYS} days.",
                class_="sub",
            ),
            _profile(columns),
        ]
    if loads:
        told += [tag("h2", f"Loads, newest first (at most {LOADS})"), _loads(loads)]
    return page(table, "../", told)


def _strip(days: list[Row], states: dict[date, str | None]) -> Html:
    """Return one small bar per day, oldest first, with its rows in the tooltip."""
    bars = []
    for day in reversed(days):
        state = states[day["day"]]
        said = f"{day['day']}: {STATES[state] if state else 'nothing due'}"
        if day["rows"] is not None:
            said += f", {whole(day['rows'])} rows"
        bars.append(tag("i", class_=state or "none", title=said))
    ends = tag("p", tag("span", days[-1]["day"]), tag("span", days[0]["day"]), class_="ends")
    strip = tag("div", *bars, class_="strip", role="img", **{"aria-label": "state of each day"})
    return tag("div", strip, ends, class_="days")


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
            broken = whole(row["unexpected"])
            if row["unexpected"] and row["rows"]:
                broken += f" of {whole(row['rows'])} ({row['unexpected'] / row['rows']:.2%})"
        cells = [tag("td", row["as_of"], class_="n")] if dated else []
        cells += [
            tag("td", badge(state, "held" if row["success"] else "broken")),
            tag("td", str(row["expectation"]).replace("_", " "), class_="say"),
            tag("td", tag("code", row["column_name"]) if row["column_name"] else NONE),
            tag("td", row["severity"]),
            tag("td", broken, class_="r"),
            tag("td", NONE if row["observed"] is None else row["observed"], class_="say"),
            tag("td", _sample(row["sample"]), class_="say"),
        ]
        lines.append(tag("tr", *cells))
    return grid(names, lines, right=("rows against",))


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
    return tag("span", *(tag("code", key) for key in shown), class_="keys")


def _profile(found: list[Row]) -> Html:
    names = ["column", f"{DAYS} days", "nulls", "distinct", "mean", "spread", "most frequent"]
    newest_day = max(row["event_day"] for row in found)
    lines = []
    for column, group in groupby(found, key=itemgetter("column_name")):
        days = list(group)
        last = days[-1]
        is_number = last["mean"] is not None
        line = [day["mean"] if is_number else day["distinct_values"] for day in days]
        nulls = last["nulls"] / last["rows"] if last["rows"] else 0.0
        label = [tag("code", column)]
        if last["comment"]:
            label.append(tag("small", last["comment"]))
        if last["event_day"] != newest_day:
            label.append(tag("small", f"last seen {last['event_day']}"))
        lines.append(
            tag(
                "tr",
                tag("td", *label, class_="col"),
                tag("td", spark(line, "mean" if is_number else "distinct values")),
                tag("td", f"{nulls:.1%}", points(last["null_share_change"]), class_="r"),
                tag("td", whole(last["distinct_values"]), class_="r"),
                tag("td", number(last["mean"]), change(last["mean_change"]), class_="r"),
                tag("td", *_spread(last)),
                tag("td", _frequent(last["top_values"], last["rows"]), class_="say"),
            )
        )
    return grid(names, lines, right=("nulls", "distinct", "mean"))


def _spread(column: Row) -> list[Html]:
    """Return a column's least and greatest value; for numbers a box of the quantiles between."""
    least, most = column["minimum"], column["maximum"]
    if least is None:
        return [Html(NONE)]
    if not column["quantiles"]:
        return [tag("div", tag("code", short(value))) for value in dict.fromkeys((least, most))]
    low, high, (p5, p25, p50, p75, p95) = float(least), float(most), column["quantiles"]
    ends = tag("p", tag("span", number(low)), tag("span", number(high)), class_="ends")
    said = ", ".join(
        f"{name}\u00a0%\u00a0{number(value)}"
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
    box = tag(
        "svg", tag("title", said), Html(drawn),
        class_="spread", viewBox="0 0 200 16", width=200, height=16, role="img",
    )  # fmt: skip
    return [box, ends, tag("small", said)]


def _frequent(top: Iterable[Row] | None, of: int) -> Html:
    """Return the most frequent values, each with its share of the rows."""
    shown = [
        tag("span", tag("code", short(each["value"])), f" {each['count'] / of:.1%}")
        for each in top or ()
    ]
    return tag("span", *shown, class_="keys") if shown else Html("none repeats")


def _loads(loads: list[Row]) -> Html:
    names = ["event day", "as of", "mode", "read", "loaded", "duplicates", "quarantined", "closed"]
    names += ["checksum", "Airflow run", "committed (UTC)"]
    right = ("read", "loaded", "duplicates", "quarantined", "closed")
    counts = ("rows_read", "rows_loaded", "duplicates", "quarantined", "closed")
    lines = [
        tag(
            "tr",
            tag("td", row["event_day"], class_="n"),
            tag("td", row["as_of"], class_="n"),
            tag("td", row["mode"]),
            *(tag("td", whole(row[name]), class_="r") for name in counts),
            tag("td", tag("code", row["checksum"]), class_="n"),
            tag("td", row["airflow_run_id"] or "by hand", class_="n"),
            tag("td", time(row["loaded_at"]), class_="n"),
        )
        for row in loads
    ]
    return grid(names, lines, right=right)


def _link(table: str) -> Html:
    return tag("a", table, href=_file(table))


def _as_of(day: date) -> Html:
    return tag("span", f" (as of {date.fromordinal(day.toordinal() + 1)})")
