"""The demo's feed: users of the simulated product see the lists that were published, and react."""

import json
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from jobs.local.progress import Report
from jobs.local.up import Platform
from jobs.local.world import World, note_playing, playing
from jobs.warehouse import engine, execute, read_sql, rows, sql_file

if TYPE_CHECKING:  # a second, which `make down` need not wait for
    import pandas as pd

TABLE = "result.feed_recommendation"
EXPERIMENT = "feed"
LINES = 2_000
# Request ids are derived from this, user and moment: written twice, an impression is one row.
REQUESTS = uuid.UUID("6a1b4c1e-58c3-4d55-9d6c-0f1f6e0a7c11")


def play(platform: Platform, world: World, end: date, report: Report) -> None:
    """Bring the simulated feed to the morning of ``end``.

    On days for which lists are published by then, users see those, and what they saw is logged as
    the service would; on other days they see the product's own order. Days that are there already
    stay as they are. A call goes on where one that was killed stopped.
    """
    from jobs.simulate.social import job

    app = engine(platform.settings["NIGHTSHIFT_SIMULATOR_URL"])
    warehouse = engine(platform.settings["AIRFLOW_CONN_WAREHOUSE"])
    start = world.feed_start
    job.simulate(app, users=world.users, start=start, end=start)
    if interrupted := playing(platform.server.state):
        play_served(platform, interrupted)
    published = published_days(warehouse)
    day = next_day(app)
    while day < end:
        if day in published:
            report(f"{day}, users see our lists")
            play_served(platform, day)
        else:
            until = min([later for later in published if day < later < end], default=end)
            job.simulate(
                app,
                users=world.users,
                start=start,
                end=until,
                report=lambda day, written: report(
                    f"{(day - start).days + 1}/{(end - start).days} days, {written:,} rows"
                ),
                pictures=pictures_folder(platform),
            )
        day = next_day(app)


def play_served(platform: Platform, day: date) -> None:
    """Play one day on which users see the lists published for it, and log what they saw."""
    from jobs.simulate.social import job

    # Noted first: a kill between the day and its log is made good by the next call.
    note_playing(platform.server.state, day)
    warehouse = engine(platform.settings["AIRFLOW_CONN_WAREHOUSE"])
    served = read_sql(warehouse, "demo/served_lists.sql", as_of=day)
    columns = ["user_id", "day_part", "post_ids"]
    _, impressions = job.play_day(
        engine(platform.settings["NIGHTSHIFT_SIMULATOR_URL"]),
        day,
        served[columns],
        pictures_folder(platform),
    )
    lines = list(log_lines(day, served, impressions))
    with engine(platform.settings["NIGHTSHIFT_FEED_API_URL"]).begin() as connection:
        for at in range(0, len(lines), LINES):
            execute(connection, "feed_api/log.sql", lines=json.dumps(lines[at : at + LINES]))
    note_playing(platform.server.state, None)


def pictures_folder(platform: Platform) -> Path:
    """Return the folder below which the simulated feed draws its pictures."""
    return Path(platform.settings["NIGHTSHIFT_IMAGE_ROOTS"].split(":")[0])


def log_lines(
    day: date, served: "pd.DataFrame", impressions: "pd.DataFrame"
) -> Iterator[dict[str, object]]:
    """Yield the impressions of a day as the service's journal has them.

    Args:
        day: as_of of the lists.
        served: the lists: user_id, day_part, arm, model_version, post_ids and sources.
        impressions: what was seen of them, as jobs.simulate.social.job.play_day returns it.
    """
    named = served.rename(columns={"post_ids": "listed"})
    shown = impressions.merge(named, on=["user_id", "day_part"], validate="many_to_one")
    for row in shown.to_dict("records"):
        source_of = dict(zip(row["listed"].tolist(), row["sources"].tolist(), strict=True))
        posts = row["post_ids"].tolist()
        served_at = f"{row['served_at'].isoformat()}+00:00"
        yield {
            "request_id": str(uuid.uuid5(REQUESTS, f"{row['user_id']} {served_at}")),
            "served_at": served_at,
            "user_id": row["user_id"],
            "experiment": EXPERIMENT,
            "arm": row["arm"],
            "as_of": str(day),
            "day_part": row["day_part"],
            "model_version": row["model_version"],
            "list": "user",
            "post_ids": posts,
            "positions": row["positions"].tolist(),
            "sources": [source_of[post] for post in posts],
        }


def published_days(warehouse: Engine) -> list[date]:
    """Return the days for which lists are published."""
    with warehouse.connect() as connection:
        found = rows(connection, sql_file("demo/published_days.sql"), table_name=TABLE)
    return [row["as_of"] for row in found]


def next_day(app: Engine) -> date:
    """Return the first day that the simulated feed has not seen yet."""
    with app.connect() as connection:
        day: date = rows(connection, sql_file("demo/feed_next_day.sql"))[0]["day"]
    return day
