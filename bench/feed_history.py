"""History of the simulated feed at its full size: python -m bench.feed_history DAYS [USERS].

Ninety days are some 77 million events. They lie under TMPDIR, first in the product database, then
in the warehouse: about 400 MB a day.
"""

import argparse
import resource
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from multiprocessing import get_context

from sqlalchemy import Engine, text

from bench.ground import Ground, ground, seconds
from jobs.extract import job
from jobs.simulate.social.job import simulate
from jobs.warehouse import adbc_uri, engine

USERS = 163_205
START = date(2026, 1, 1)


def measure(databases: Ground, days: int = 3, users: int = USERS) -> str:
    """Return how long history of so many days takes to load, and the memory that it takes."""
    end = START + timedelta(days=days)
    # In a process of its own: of this one's memory only the loading is to be seen.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        other.submit(fill, adbc_uri(databases.owner), users, end).result()
    taken = {
        table: seconds(
            lambda table=table: job.load_range(
                databases.source,
                databases.warehouse,
                START,
                end - timedelta(days=1),
                [table],
                report=lambda chunk: print(chunk, flush=True),
            )
        )
        for table in job.SOCIAL
    }
    rows = counted(databases.warehouse, "feed_data")
    total = sum(taken.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join(
        [
            f"users, posts and pictures          {total - taken['feed_data']:>12,.0f} s",
            f"feed: days                         {days:>12,}",
            f"feed: rows                         {rows:>12,}",
            f"feed: wall time                    {taken['feed_data']:>12,.0f} s",
            f"feed: rows/s                       {rows / taken['feed_data']:>12,.0f}",
            f"peak memory of the process         {peak:>12,.0f} MB",
        ]
    )


def fill(owner: str, users: int, end: date) -> None:
    """Simulate the feed from START until before ``end``."""
    simulate(
        engine(owner),
        users=users,
        start=START,
        end=end,
        report=lambda day, rows: print(f"simulated {day}: {rows:,} rows", flush=True),
    )


def counted(warehouse: Engine, table: str) -> int:
    """Return the rows that ops.load says were loaded."""
    asked = text("select sum(rows_loaded) from ops.load where table_name = :table")
    with warehouse.connect() as connection:
        return int(connection.execute(asked, {"table": table}).scalar_one())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("days", type=int)
    parser.add_argument("users", type=int, nargs="?", default=USERS)
    given = parser.parse_args()
    with ground() as databases:
        print(measure(databases, given.days, given.users))
