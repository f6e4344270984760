"""The demo: a product's history loaded as a range, its last nights run by a real Airflow."""

import os
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from jobs import settings
from jobs.client_scores import tuning
from jobs.extract import job
from jobs.local import airflow_api, feed, up
from jobs.local.airflow_api import Airflow
from jobs.local.beside import beside
from jobs.local.progress import Report, clock, step
from jobs.local.state import LocalError
from jobs.local.up import Platform
from jobs.local.world import World, remembered
from jobs.warehouse import engine, sql_file

# The second night shows what the first can't: a champion to beat, users who saw our lists.
NIGHTS = 2
# Nobody in the simulation reacts to a client's score or a post's rate: one night shows it all.
LAST_NIGHT_ONLY = {
    "extract_shop",
    "purchase_propensity",
    "client_engagement",
    "client_behavior",
    "post_conversion",
    "retention",
}
# DAG -> those of its night, and of the night before, that are to be done first. Every DAG waits for
# its rows by itself; but users react to the lists of the night before, so the feed's days happen
# one by one. The shop's night, which nobody waits for, runs beside the feed's: one of its models
# trains beside the feed's first night, the other in the slot that this leaves.
ORDER: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "extract_social": ((), ("extract_social", "feed_recommendation")),
    "feed_recommendation": (("extract_social",), ()),
    "experiment_readout": (("extract_social",), ()),
    "extract_shop": ((), ()),
    "purchase_propensity": (("extract_shop",), ("feed_recommendation",)),
    "client_engagement": (("extract_shop",), ("extract_social",)),
    "client_behavior": (("extract_shop",), ("feed_recommendation",)),
    "post_conversion": (("extract_social",), ()),
    "retention": (("extract_shop",), ()),
}
# A first night tunes every model, which later ones do once a week: enough to see it done.
TUNING_TRIALS = 3
RUN_SECONDS = 3600
# A look at a run's tasks takes the api-server some .03 s, which the runs themselves need.
POLL_SECONDS = 2
ONE_DAY = timedelta(days=1)
# Title, its file under sql/demo.
SUMMARY = {
    "Published tables": "published_tables.sql",
    "Model quality": "model_quality.sql",
    "What comes next, who buys, who leaves: log-loss on the same later events": (
        "behavior_candidates.sql"
    ),
    "What becomes of a view of a post: the best candidates on the same later posts": (
        "post_experiments.sql"
    ),
    "Validation results": "validation_results.sql",
    "Loaded and quarantined rows": "loaded_and_quarantined_rows.sql",
    "Lists of the feed (condensed_ndcg_10 decides), 95 % intervals": "feed_comparison.sql",
    "The feed's experiment so far (* decides), on what users were shown": "feed_experiment.sql",
}


def today() -> date:
    """Return the newest as_of there can be, the UTC day that has begun; NIGHTSHIFT_TODAY fixes it.

    The one place where the demo reads the clock: an unpaused DAG gets today's run from Airflow,
    so the demo's last night is that one.
    """
    if fixed := settings.setting("NIGHTSHIFT_TODAY", ""):
        return date.fromisoformat(fixed)
    return datetime.now(UTC).date()


def demo(folder: Path, last: date, clients: int | None = None, users: int | None = None) -> None:
    """Bring the platform up, run the last nights up to as_of ``last``, print what came of it.

    Every step leaves alone what is there already, so a call goes on where an interrupted one
    stopped, and a second call only looks.

    Args:
        folder: the state folder, locked by the caller.
        last: as_of of the last night.
        clients: size of the simulated shop; default the simulation's own.
        users: size of the simulated feed; default the simulation's own.

    Raises:
        LocalError: if a step can't be done; it names what to look at.
    """
    begun = time.monotonic()
    os.environ.setdefault(tuning.BUDGET, str(TUNING_TRIALS))
    platform = up.prepare_databases(folder)
    world = remembered(folder, last, clients, users)
    nights = [last - night * ONE_DAY for night in reversed(range(NIGHTS))]
    feed_end, shop_end = nights[0] - ONE_DAY, last - ONE_DAY
    # The history is copied before the last days happen, so that the nights find late and
    # corrected rows, as nights do. Airflow comes up meanwhile.
    with beside(partial(make_feed, platform, world, feed_end)) as finish_feed:
        with step("starting Airflow, MLflow and the pages") as report:
            launched = up.launch_services(platform, report)
        with step("simulating the shop's database") as report:
            simulate_shop(platform, world, shop_end, report)
        with step("loading the shop's history") as report:
            load_history(platform, world, job.SHOP, shop_end, report)
        with step("the feed's database and history, made meanwhile") as report:
            finish_feed(report)
    with step("simulating the shop's last day") as report:
        simulate_shop(platform, world, last, report)
    with step("Airflow, MLflow and the pages") as report:
        airflow = up.await_services(platform, launched, report)
    with step(f"the nights {nights[0]} to {last} in Airflow") as report:
        run_nights(platform, airflow, world, nights, report)
    print(f"\n{summary(platform)}\n\n{up.where_to_look(platform)}")
    print(f"\ndone in{clock(time.monotonic() - begun)}")


def simulate_shop(platform: Platform, world: World, last: date, report: Report) -> None:
    """Bring the simulated shop to the morning of ``last``."""
    from jobs.simulate import job as shop

    shop.simulate(
        engine(platform.settings["NIGHTSHIFT_SIMULATOR_URL"]),
        clients=world.clients,
        start=world.start,
        end=last,
        report=lambda day, rows: report(
            f"{(day - world.start).days + 1}/{(last - world.start).days} days, {rows:,} rows"
        ),
    )


def make_feed(platform: Platform, world: World, end: date, report: Report) -> None:
    """Bring the simulated feed to the morning of ``end``, and load all days before."""
    feed.play(platform, world, end, report)
    load_history(platform, world, job.SOCIAL, end, report)


def load_history(
    platform: Platform, world: World, tables: tuple[str, ...], end: date, report: Report
) -> None:
    """Load all days before ``end``, those that no night of the demo extracts, as one range."""
    from jobs.simulate import job as shop
    from jobs.simulate.social import job as social

    # A small simulated product has days without a purchase.
    small = world.clients < shop.CLIENTS or world.users < social.USERS
    job.load_range(
        engine(platform.settings["AIRFLOW_CONN_APP"]),
        engine(platform.settings["AIRFLOW_CONN_WAREHOUSE"]),
        world.start if tables == job.SHOP else world.feed_start,
        end - ONE_DAY,
        tables,
        allow_empty=small,
        report=report,
    )


def run_nights(
    platform: Platform, airflow: Airflow, world: World, nights: list[date], report: Report
) -> None:
    """Let the scheduler run the DAGs for these nights, and return when all succeeded.

    Before each night of the feed its day is played: users see what the night before published.

    Raises:
        LocalError: with the end of the failed task's log, if a run fails.
    """
    report("waiting for the DAGs to load")
    airflow_api.wait_for_dags(airflow, list(ORDER))
    for dag in ORDER:
        airflow_api.hold_run(airflow, dag, nights[-1], "waits for its turn in `make demo`")
        airflow_api.unpause(airflow, dag)
    planned = [
        (dag, night)
        for night in nights
        for dag in ORDER
        if night == nights[-1] or dag not in LAST_NIGHT_ONLY
    ]
    runs: dict[tuple[str, date], str] = {}
    done: set[tuple[str, date]] = set()
    deadline = time.monotonic() + RUN_SECONDS
    told: set[tuple[str, str, int]] = set()
    while True:
        for dag, night in planned:
            if (dag, night) in runs or not done.issuperset(needed(dag, night, nights)):
                continue
            if dag == "extract_social":
                feed.play(platform, world, night, report)
            runs[dag, night] = airflow_api.ensure_run(airflow, dag, night)
        working = []
        for (dag, night), run_id in runs.items():
            if (dag, night) in done:
                continue
            state = airflow_api.run_state(airflow, dag, run_id)
            if state == "success":
                done.add((dag, night))
            if state not in ("running", "failed"):
                continue
            for task in airflow_api.tasks(airflow, dag, run_id):
                if task["state"] == "running":
                    working.append(f"{dag}.{task['task_id']} {night:%d %b}")
                tell_failure(airflow, task, told)
            if state == "failed":
                raise LocalError(failure(airflow, dag, run_id))
        if len(done) == len(planned):
            report(f"{len(planned)} runs")
            return
        if time.monotonic() > deadline:
            raise LocalError(
                f"{len(done)} of {len(planned)} runs done after {RUN_SECONDS // 60} minutes; "
                f"see {airflow.url}, then call `make demo` again"
            )
        report(f"{len(done)}/{len(planned)} runs done; {', '.join(working) or 'scheduling'}")
        time.sleep(POLL_SECONDS)


def needed(dag: str, night: date, nights: list[date]) -> list[tuple[str, date]]:
    """Return the runs to be done before this one starts."""
    same, before = ORDER[dag]
    found = [(first, night) for first in same]
    if night > nights[0]:
        found += [(first, night - ONE_DAY) for first in before]
    return found


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
    """Return what came of the nights: tables, quality, validation, quarantine, loads, lists."""
    warehouse = engine(platform.settings["AIRFLOW_CONN_WAREHOUSE"])
    with warehouse.connect() as connection:
        parts = [f"{title}\n{table(connection, file)}" for title, file in SUMMARY.items()]
        newest = feed.published_days(warehouse)[-1]
        people = connection.execute(text(sql_file("demo/feed_users.sql")), {"as_of": newest})
        for who, user_id in people.all():
            shown = table(connection, "feed_list.sql", user_id=user_id)
            parts.append(f"What the feed shows user {user_id} now ({who})\n{shown}")
    return "\n\n".join(parts)


def table(connection: Connection, file: str, **values: object) -> str:
    """Return the rows of a file under sql/demo in aligned columns."""
    found = connection.execute(text(sql_file(f"demo/{file}")), values)
    lines = [tuple("" if v is None else str(v) for v in row) for row in found]
    if not lines:
        return "nothing"
    head = tuple(found.keys())
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    shown = [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *lines]
    ]
    return "\n".join(shown)
