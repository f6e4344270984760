"""A night of the feed at full size, and in the same run the notebook way and ALS alone.

``python -m bench feed_night`` simulates 90 days of 163,205 users and 7,023 posts, loads the last
DAYS of them (20 million events) and the last one as a night does, trains, makes all lists and
publishes them. ``python -m bench.feed_night 90`` does it with all 76.9 million events.
"""

import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from bench.ground import Ground, ground, seconds
from jobs.extract import job as extraction
from jobs.simulate.social import job as simulation
from jobs.warehouse import driver, engine

AS_OF = date(2026, 4, 2)
USERS, DAYS = 163_205, 24
ONE_DAY = timedelta(days=1)
NOTEBOOK_USERS = 100
Figures = dict[str, float]


def measure(databases: Ground, days: int = DAYS) -> str:
    """Return time and peak memory of each step of a night, and of the two other ways."""
    found = fill(databases, days)
    with tempfile.TemporaryDirectory() as folder:
        for step in (fit, notebook, als_alone, lists):  # the last one clears what the others read
            found |= apart(databases.warehouse, Path(folder), step)
            print(json.dumps(found), file=sys.stderr, flush=True)
    made = found["scored"] + found["published"]
    return "\n".join(
        [
            f"{found['users']:,.0f} users, {found['posts']:,.0f} posts, "
            f"{found['events']:,.0f} events",
            line("history, as a range", found["history"], found["extract_peak"]),
            f"    {found['history_rows'] / found['history']:,.0f} rows/s",
            line(f"a day of {found['newest']:,.0f}", found["extracted"], found["extract_peak"]),
            line("fit, evaluate, gate, log both arms", found["fitted"], found["fit_peak"]),
            line("all lists (goal 120 s, 4096 MB)", made, found["lists_peak"]),
            f"    read, candidates, ranking, COPY {found['scored']:.1f} s",
            f"    check, publish                  {found['published']:.1f} s",
            f"    {found['lists'] / made:,.0f} lists/s",
            f"the notebook way                    {found['notebook'] * 1000:.1f} ms a user, "
            f"{found['notebook'] * found['users'] / 3600:.2f} h one part of the day",
            f"    against ours (goal 100)         "
            f"{found['notebook'] * found['users'] / (made / found['parts']):,.0f} times",
            line("ALS alone, fit", found["als_fit"], found["als_peak"]),
            line("ALS alone, 100 posts for each user", found["als_lists"], found["als_peak"]),
        ]
    )


def line(what: str, taken: float, peak_mb: float) -> str:
    """Return one line of the table."""
    return f"{what:36}{taken:>9.1f} s{peak_mb:>9,.0f} MB"


def fill(databases: Ground, days: int) -> Figures:
    """Simulate, load all days but the last as history and the last as a night does."""
    start = AS_OF - simulation.HISTORY_DAYS * ONE_DAY
    simulation.simulate(databases.owner, users=USERS, start=start, end=AS_OF)
    source, warehouse = databases.source, databases.warehouse
    first, last = AS_OF - days * ONE_DAY, AS_OF - ONE_DAY
    history = seconds(
        lambda: extraction.load_range(source, warehouse, first, last - ONE_DAY, extraction.SOCIAL)
    )
    extracted = seconds(lambda: extraction.extract(source, warehouse, AS_OF, extraction.SOCIAL))
    with databases.admin.connect() as connection:
        counted = driver(connection).execute(
            "select (select count(*) from raw.user_data), (select count(*) from raw.post_text_df),"
            " (select count(*) from raw.feed_data),"
            " (select count(*) from raw.feed_data where event_day = %s)",
            [last],
        )
        users, posts, events, newest = counted.fetchone() or (0, 0, 0, 0)
    return {
        "users": users,
        "posts": posts,
        "events": events,
        "newest": newest,
        "history": history,
        "history_rows": events - newest,
        "extracted": extracted,
        "extract_peak": peak_mb(),
    }


def fit(warehouse: Engine) -> Figures:
    """Train both arms and put them before their gates; what scoring shares is prepared as well."""
    from jobs.feed_recommendation import job

    return {"fitted": seconds(lambda: job.train(warehouse, AS_OF)), "fit_peak": peak_mb()}


def lists(warehouse: Engine) -> Figures:
    """Make and publish the lists of all users and parts of the day."""
    from jobs.feed_recommendation import serving

    versions = live(warehouse)
    scored = seconds(lambda: serving.score(warehouse, AS_OF, versions, 0, 1))
    rows = 0

    def publish() -> None:
        nonlocal rows
        rows = serving.publish(warehouse, AS_OF, versions, 1)

    published = seconds(publish)
    return {
        "scored": scored,
        "published": published,
        "lists": rows,
        "parts": len(serving.day_parts()),
        "lists_peak": peak_mb(),
    }


def notebook(warehouse: Engine) -> Figures:
    """Return the seconds a user takes when each gets a frame of all posts, scored and sorted."""
    from jobs.feed_recommendation import features, kept, model, reading, serving

    fitted = kept.load(warehouse, live(warehouse)["control"])
    common = serving.shared(warehouse, AS_OF)
    found = common.context
    text = model.text_table(fitted, common.vectors["control"])
    names = features.names(len(fitted.centroids))
    about_posts = pd.DataFrame(0.0, index=found.post_ids, columns=names, dtype=np.float32)
    about_posts[list(features.POST)] = features.post_features(found)
    about_posts[[name for name in names if name.startswith("text_")]] = text
    users = reading.read_users(warehouse, AS_OF).sample(NOTEBOOK_USERS, random_state=7)
    ages = users["age"].to_numpy(np.float32)

    def one(age: float) -> None:
        frame = about_posts.assign(age=age, hour=np.float32(18))
        frame["score"] = fitted.ranker.predict_proba(frame[names])[:, 1]
        frame.sort_values("score", ascending=False).head(5)

    return {"notebook": statistics.median(seconds(lambda age=age: one(age)) for age in ages)}


def als_alone(warehouse: Engine) -> Figures:
    """Fit ALS on all likes and let it recommend 100 posts to each user."""
    from threadpoolctl import threadpool_limits

    from jobs.feed_recommendation import arms, collaborative

    day = arms.read_days(warehouse, AS_OF)[-1]
    likes = collaborative.likes_of(day.history, day.context.post_ids)
    with threadpool_limits(1, "blas"):
        als = collaborative.als()
        fitted = seconds(lambda: als.fit(likes, show_progress=False))
        made = seconds(lambda: als.recommend(np.arange(likes.shape[0]), likes, N=100))
    return {"als_fit": fitted, "als_lists": made, "als_peak": peak_mb()}


def live(warehouse: Engine) -> dict[str, str]:
    """Return the version of each arm that serves AS_OF."""
    from jobs import champion
    from jobs.feed_recommendation.training import ARMS, JOB

    with warehouse.connect() as connection:
        found = {arm: champion.live_version(connection, f"{JOB}.{arm}", AS_OF) for arm in ARMS}
    return {arm: version for arm, version in found.items() if version}


def apart(warehouse: Engine, folder: Path, step: Callable[[Engine], Figures]) -> Figures:
    """Run a step in a process of its own, so that its peak memory is its own."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.environ["NIGHTSHIFT_STATE"] = str(folder / "state")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    url = warehouse.url.render_as_string(hide_password=False)
    process = context.Process(target=_run, args=(step, url, folder, sender))
    process.start()
    sender.close()
    try:
        found: Figures = receiver.recv()
    finally:
        process.join()
    return found


def _run(step: Callable[[Engine], Figures], url: str, folder: Path, answer: Connection) -> None:
    os.chdir(folder)  # MLflow keeps its artifacts beside it
    answer.send(step(engine(url)))


def peak_mb() -> float:
    """Return the most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(days: int) -> None:
    """Print the table for so many days of history."""
    with ground() as databases:
        print(measure(databases, days))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else DAYS)
