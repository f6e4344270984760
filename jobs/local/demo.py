"""The demo: a shop's history loaded as a range, its last nights run by a real Airflow."""

import json
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from jobs import settings
from jobs.local import airflow_api, up
from jobs.local.airflow_api import Airflow
from jobs.local.progress import Report, clock, step
from jobs.local.state import LocalError, write_private
from jobs.local.up import Platform
from jobs.warehouse import engine, sql_file

NIGHTS = 3
DAGS = ("extract_shop", "purchase_propensity", "retention")
RUN_SECONDS = 3600
ONE_DAY = timedelta(days=1)
# Each a file under sql/demo.
SUMMARY = ("published tables", "model quality", "validation results", "loaded and quarantined rows")


def today() -> date:
    """Return the newest as_of there can be, the UTC day that has begun; NIGHTSHIFT_TODAY fixes it.

    The one place where the demo reads the clock: an unpaused DAG gets today's run from Airflow,
    so the demo's last night is that one.
    """
    if fixed := settings.setting("NIGHTSHIFT_TODAY", ""):
        return date.fromisoformat(fixed)
    return datetime.now(UTC).date()


def demo(folder: Path, last: date, clients: int | None = None) -> None:
    """Bring the platform up, run the last nights up to as_of ``last``, print what came of it.

    Every step leaves alone what is there already, so a call goes on where an interrupted one
    stopped, and a second call only looks.

    Args:
        folder: the state folder, locked by the caller.
        last: as_of of the last night.
        clients: size of the simulated shop; default the simulation's own.

    Raises:
        LocalError: if a step can't be done; it names what to look at.
    """
    begun = time.monotonic()
    platform = up.prepare_databases(folder)
    world = remembered_world(folder, last, clients)
    nights = [last - night * ONE_DAY for night in reversed(range(NIGHTS))]
    # The history is copied before the last days happen, so that the nights find late and
    # corrected rows, as nights do.
    with step("simulating the shop's database") as report:
        simulate_app(platform, world, nights[0] - ONE_DAY, report)
    with step("loading its history") as report:
        load_history(platform, world, nights[0], report)
    with step("simulating the last days") as report:
        simulate_app(platform, world, last, report)
    with step("Airflow, MLflow and the pages") as report:
        airflow = up.start_services(platform, report)
    with step(f"the nights {nights[0]} to {last} in Airflow") as report:
        run_nights(airflow, nights, report)
    print(f"\n{summary(platform)}\n\n{up.where_to_look(platform)}")
    print(f"\ndone in{clock(time.monotonic() - begun)}")


def remembered_world(folder: Path, last: date, clients: int | None) -> dict[str, Any]:
    """Return the simulated world's size and first day: those of the first demo in this folder.

    Raises:
        LocalError: if another size is asked for than the one that is there.
    """
    from jobs.simulate import job

    file = folder / "demo.json"
    if file.exists():
        world: dict[str, Any] = json.loads(file.read_text())
        if clients not in (None, world["clients"]):
            raise LocalError(
                f"the demo in {folder} has {world['clients']} clients, not {clients}: "
                f"`make clean` starts anew"
            )
        return world
    start = last - timedelta(days=job.HISTORY_DAYS)
    world = {"clients": clients or job.CLIENTS, "start": str(start)}
    write_private(file, json.dumps(world))
    return world


def simulate_app(platform: Platform, world: dict[str, Any], last: date, report: Report) -> None:
    """Bring the simulated shop to the morning of ``last``."""
    from jobs.simulate import job

    start = date.fromisoformat(world["start"])
    job.simulate(
        engine(platform.settings["NIGHTSHIFT_SIMULATOR_URL"]),
        clients=world["clients"],
        start=start,
        end=last,
        report=lambda day, rows: report(
            f"{(day - start).days + 1}/{(last - start).days} days, {rows:,} rows"
        ),
    )


def load_history(
    platform: Platform, world: dict[str, Any], first_night: date, report: Report
) -> None:
    """Load all days before those that the demo's nights extract, as one range."""
    from jobs.extract import job
    from jobs.simulate import job as job_simulate

    job.load_range(
        engine(platform.settings["AIRFLOW_CONN_APP"]),
        engine(platform.settings["AIRFLOW_CONN_WAREHOUSE"]),
        date.fromisoformat(world["start"]),
        first_night - 2 * ONE_DAY,
        # A small simulated shop has days without a purchase.
        allow_empty=world["clients"] < job_simulate.CLIENTS,
        report=report,
    )


def run_nights(airflow: Airflow, nights: list[date], report: Report) -> None:
    """Let the scheduler run every DAG for these nights, and return when all succeeded.

    Raises:
        LocalError: with the end of the failed task's log, if a run fails.
    """
    report("waiting for the DAGs to load")
    airflow_api.wait_for_dags(airflow, list(DAGS))
    runs = [
        (dag, airflow_api.ensure_run(airflow, dag, night, {})) for night in nights for dag in DAGS
    ]
    for dag in DAGS:
        airflow_api.unpause(airflow, dag)
    deadline = time.monotonic() + RUN_SECONDS
    told: set[tuple[str, str, int]] = set()
    while True:
        states = {run: airflow_api.run_state(airflow, *run) for run in runs}
        count = Counter(states.values())
        working = []
        for run, state in states.items():
            if state not in ("running", "failed"):
                continue
            for task in airflow_api.tasks(airflow, *run):
                if task["state"] == "running":
                    working.append(f"{task['task_id']} {str(task['logical_date'])[:10]}")
                tell_failure(airflow, task, told)
        if count["failed"]:
            (dag, run_id) = next(run for run, state in states.items() if state == "failed")
            raise LocalError(failure(airflow, dag, run_id))
        if count["success"] == len(runs):
            report(f"{len(runs)} runs")
            return
        if time.monotonic() > deadline:
            raise LocalError(
                f"{dict(count)} after {RUN_SECONDS // 60} minutes; see {airflow.url}, "
                f"then call `make demo` again"
            )
        report(f"{count['success']}/{len(runs)} runs done; {', '.join(working) or 'scheduling'}")
        time.sleep(1)


def tell_failure(airflow: Airflow, task: dict[str, Any], told: set[tuple[str, str, int]]) -> None:
    """Print the log's end of a task that failed and will be tried again, once for each try."""
    key = (task["dag_run_id"], f"{task['task_id']}[{task['map_index']}]", task["try_number"])
    if task["state"] == "up_for_retry" and key not in told:
        told.add(key)
        print(
            f"\n{task['dag_id']}.{task['task_id']} {str(task['logical_date'])[:10]} failed and "
            f"will be tried again:\n{airflow_api.log_tail(airflow, task)}"
        )


def failure(airflow: Airflow, dag: str, run_id: str) -> str:
    """Return what to say of a failed run: its failed task and the end of that one's log."""
    for task in airflow_api.tasks(airflow, dag, run_id):
        if task["state"] == "failed":
            return (
                f"{dag}.{task['task_id']} {str(task['logical_date'])[:10]} failed; "
                f"its log ends with:\n{airflow_api.log_tail(airflow, task)}\n"
                f"look at {airflow.url}/dags/{dag}, then call `make demo` again"
            )
    return f"{dag} {run_id} failed without a failed task; see {airflow.url}/dags/{dag}"


def summary(platform: Platform) -> str:
    """Return what came of the nights: tables, quality, validation, quarantine, loads."""
    parts = []
    with engine(platform.settings["AIRFLOW_CONN_WAREHOUSE"]).connect() as connection:
        for title in SUMMARY:
            found = connection.execute(text(sql_file(f"demo/{title.replace(' ', '_')}.sql")))
            lines = [tuple("" if v is None else str(v) for v in row) for row in found]
            shown = table(list(found.keys()), lines) if lines else "nothing"
            parts.append(f"{title.capitalize()}\n{shown}")
    return "\n\n".join(parts)


def table(head: list[str], lines: list[tuple[str, ...]]) -> str:
    """Return rows as text in aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    shown = [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in [tuple(head), *lines]
    ]
    return "\n".join(shown)
