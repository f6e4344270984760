"""What the pages are made of: escaped markup, tables, badges, lines and figures in words."""

import math
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

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
Row = dict[str, Any]


class Html(str):
    """Markup, safe as it stands; any other text is escaped on its way into a page."""


def write(path: Path, page: Html) -> Path:
    """Put ``page`` at ``path`` in one step and return the path."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False) as file:
        file.write(page)
    # Temporary files are closed to other users; pages are served, perhaps by another one.
    os.chmod(file.name, 0o644)
    return Path(file.name).replace(path)


def file_name(name: str) -> str:
    """Return ``name`` as part of a path, whatever it holds."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def page(
    title: str, up: str, body: Sequence[object], part: str = "data checks", style: str = ""
) -> Html:
    """Return a whole page.

    Args:
        title: what the browser calls it.
        up: way from the page's folder to the index's, "" or "../".
        body: what it says.
        part: which part of the pages it belongs to.
        style: rules beside STYLE.
    """
    home = tag("a", "Nightshift", href=f"{up}index.html")
    main = tag("main", tag("header", home, tag("span", part)), *body)
    return Html(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"{tag('title', f'{title} · Nightshift')}<style>{STYLE}{style}</style></head>"
        f"<body>{main}</body></html>\n"
    )


def tag(name: str, *children: object, **attributes: object) -> Html:
    """Return an element; children and attributes that are no Html are escaped."""
    inside = "".join(child if isinstance(child, Html) else escape(str(child)) for child in children)
    return Html(f"<{name}{_said(attributes)}>{inside}</{name}>")


def image(source: str, words: str) -> Html:
    """Return a picture that is fetched when it comes into view; ``words`` stand in for it."""
    return Html(f"<img{_said({'src': source, 'alt': words, 'loading': 'lazy'})}>")


def _said(attributes: Mapping[str, object]) -> str:
    return "".join(
        f' {key.rstrip("_")}="{escape(str(value))}"' for key, value in attributes.items()
    )


def grid(names: list[str], lines: list[Html], right: tuple[str, ...]) -> Html:
    """Return a table of ``lines`` under ``names``, of which those in ``right`` are figures."""
    head = (tag("th", name, **({"class_": "r"} if name in right else {})) for name in names)
    return scroll(tag("table", tag("thead", tag("tr", *head)), tag("tbody", *lines)))


def scroll(table: Html) -> Html:
    """Return ``table`` in a frame of its own width, as wide as the page at most."""
    return tag("div", table, class_="scroll")


def badge(state: str | None, words: str | None = None) -> Html:
    """Return a coloured mark: a key of STATES, or grey for None, in words of its own if given."""
    if state is None:
        return tag("span", words or "nothing due", class_="badge none")
    return tag("span", words or STATES[state], class_=f"badge {state}")


def spark(values: Sequence[Any], what: str, width: int = 110, height: int = 26) -> Html:
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
    said = tag("title", f"{what}: {number(low)} to {number(high)}, last {number(known[-1])}")
    dot = Html(f'<circle cx="{x}" cy="{y}" r="2.4"/>')
    return tag(
        "svg", said, *lines, dot,
        class_="spark", viewBox=f"0 0 {width} {height}", width=width, height=height, role="img",
    )  # fmt: skip


def whole(count: Any) -> str:
    """Return a count, its thousands parted."""
    return NONE if count is None else f"{int(count):,}"


def number(value: Any) -> str:
    """Return a figure with as many digits as help."""
    if value is None:
        return NONE
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if value.is_integer():
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def change(share: float | None) -> Html:
    """Return a relative change in per cent, unless there is nothing to compare with."""
    if share is None or not math.isfinite(share):
        return Html("")
    return tag("small", f"{share:+.1%}".replace("-", "−"), class_="change")  # noqa: RUF001


def points(share: float | None) -> Html:
    """Return a change of a share, in percentage points, unless it shows as nothing."""
    if share is None or abs(share) < 0.0005:
        return Html("")
    said = f"{share * 100:+.1f} pt".replace("-", "−")  # noqa: RUF001
    return tag("small", said, class_="change")


def short(value: str | None) -> str:
    """Return at most 28 characters of a value."""
    if value is None:
        return NONE
    return value if len(value) <= 28 else value[:27] + "…"


def time(moment: datetime) -> str:
    """Return a moment to the second."""
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
