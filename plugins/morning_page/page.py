"""The night as HTML: everything escaped, nothing loaded from elsewhere."""

import os
import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from plugins.morning_page.night import Night, Row

# Metrics in the order in which they are read, with their names; True where less is better.
METRICS = {
    "roc_auc": ("ROC AUC", False),
    "pr_auc": ("PR AUC", False),
    "brier": ("Brier", True),
    "ece": ("Calibration error", True),
    "lift": ("Top-decile lift", False),
    "condensed_ndcg@10": ("NDCG@10 of viewed posts (decides)", False),
    "ndcg@10": ("NDCG@10 of likes", False),
    "hitrate@5": ("Hit rate@5", False),
    "coverage@10": ("Coverage@10", False),
    "next_log_loss": ("Log-loss of the next state (decides)", True),
    "purchase_log_loss": ("Log-loss of a purchase", True),
    "churn_log_loss": ("Log-loss of leaving", True),
    "view_log_loss": ("Log-loss of a view (decides)", True),
    "like_log_loss": ("Log-loss of likes", True),
    "share_log_loss": ("Log-loss of shares", True),
    "comment_log_loss": ("Log-loss of comments", True),
    "hide_log_loss": ("Log-loss of hides", True),
}


def render(night: Night, nonce: str, base: str = "") -> str:
    """Return the page.

    Args:
        night: what to show.
        nonce: lets the page's own style and script run, and no other.
        base: path under which Airflow is served.
    """
    template = environment().get_template("page.html")
    return template.render(
        night=night,
        nonce=nonce,
        base=base,
        verdict=verdict(night),
        quality=quality_tables(night.quality),
        published={row["job"]: row for row in night.tables},
        stale_newest={(row["table_name"], row["newest"]) for row in night.stale},
        pages_url=pages_url(),
        mlflow_url=mlflow_url(),
        shell=shell(),
    )


def environment() -> Environment:
    """Return the template environment: escapes by itself, and fails on a name it lacks."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"clock": clock, "took": took, "count": count, "path": path, "ago": ago}
    return made


def verdict(night: Night) -> tuple[str, str]:
    """Return the page's first sentence and its colour: bad, warn or good."""
    bad = []
    if night.warehouse_error:
        bad.append("the warehouse can't be asked")
    if night.import_errors:
        files = plural(len(night.import_errors), "DAG file fails", "DAG files fail")
        bad.append(f"{files} to parse")
    if night.incidents:
        bad.append(plural(len(night.incidents), "open incident", "open incidents"))
    told = {row["dag_id"] for row in night.incidents}
    if failed := [job["dag_id"] for job in night.jobs if job["state"] == "failed"]:
        untold = sorted(set(failed) - told)
        bad += [f"{dag_id} failed" for dag_id in untold]
    if bad:
        return ", ".join(bad), "bad"
    warn = [f"{row['table_name']} is behind its inputs" for row in night.tables if row["is_behind"]]
    warn += [
        f"{row['table_name']} has {plural(len(row['days']), 'day', 'days')} to score again"
        for row in night.stale
        if row["days"]
    ]
    warn += [f"{row['dag_id']}: {row['message']}" for row in night.warnings]
    if at_work := [job["dag_id"] for job in night.jobs if job["state"] in ("running", "queued")]:
        warn.append(f"at work: {', '.join(at_work)}")
    if warn:
        return "; ".join(warn), "warn"
    return "All is well", "good"


def quality_tables(measured: list[Row]) -> dict[str, Row]:
    """Return per job the metrics shown, and one line per model or baseline, the live one first.

    A line has name, is_live and cells: value, low, high, is_best, in the order of ``metrics``.
    """
    tables = {}
    for job in sorted({row["job"] for row in measured}):
        mine = [row for row in measured if row["job"] == job]
        known = {(row["name"], row["metric"]): row for row in mine}
        metrics = [metric for metric in METRICS if any(row["metric"] == metric for row in mine)]
        best = {}
        for metric in metrics:
            values = [r["value"] for r in mine if r["metric"] == metric and r["value"] is not None]
            pick = min if METRICS[metric][1] else max
            best[metric] = pick(values, default=None)
        names = {row["name"]: row["is_live"] for row in mine}
        lines = []
        for name in sorted(names, key=lambda one: (not names[one], one)):
            cells = [
                {**cell, "is_best": cell["value"] is not None and cell["value"] == best[metric]}
                if (cell := known.get((name, metric)))
                else None
                for metric in metrics
            ]
            lines.append({"name": name, "is_live": names[name], "cells": cells})
        tables[job] = {
            "metrics": [METRICS[metric][0] for metric in metrics],
            "lines": lines,
            "rows": max(row["rows"] for row in mine),
            "as_of": max(row["as_of"] for row in mine),
        }
    return tables


def pages_url() -> str:
    """Return where the validation pages are served; empty where nowhere."""
    if url := os.environ.get("NIGHTSHIFT_PAGES_URL"):
        return url
    port = os.environ.get("NIGHTSHIFT_PAGES_PORT")
    return f"http://127.0.0.1:{port}/" if port else ""


def mlflow_url() -> str:
    """Return where people reach MLflow; empty where it has no address."""
    url = os.environ.get("NIGHTSHIFT_MLFLOW_URL") or os.environ.get("MLFLOW_TRACKING_URI", "")
    return url if url.startswith(("http://", "https://")) else ""


def shell() -> str:
    """Return what makes a shell ready for the commands on the page; empty inside a container."""
    from jobs.settings import ROOT, env_file

    if not env_file().exists():
        return ""
    return f"cd {ROOT}; set -a; . {env_file()}; set +a; PATH={sys.prefix}/bin:$PATH"


def plural(number: int, one: str, many: str) -> str:
    """Return the number with its noun."""
    return f"{number} {one if number == 1 else many}"


def clock(when: datetime | None) -> str:
    """Return a moment as UTC clock time with its day."""
    return f"{when:%Y-%m-%d %H:%M}" if when else "–"  # noqa: RUF001


def took(seconds: timedelta | None) -> str:
    """Return a duration as people say it."""
    if seconds is None:
        return ""
    whole = int(seconds.total_seconds())
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    return f"{minutes} min {left} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def ago(when: datetime, now: datetime) -> str:
    """Return how long ago ``when`` was."""
    return f"{took(now - when)} ago"


def count(number: Any) -> str:
    """Return a number with thin groups, so that a million is seen as one."""
    return "–" if number is None else f"{int(number):,}"  # noqa: RUF001


def path(part: str | date) -> str:
    """Return one part of an address, quoted."""
    return quote(str(part), safe="")
