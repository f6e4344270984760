"""The cost of a day with ten times the history behind it."""

from statistics import median

from bench.filled import AS_OF, fill
from bench.ground import Ground, seconds
from jobs.warehouse import read_blocks

CLIENTS = 200_000
DAYS = 200


def measure(databases: Ground) -> str:
    """Return the time to read a day's dataset after 200 and after 2,000 days, and the ratio."""
    taken = []
    for days in (DAYS, 10 * DAYS):
        fill(databases.warehouse, CLIENTS, days)
        read(databases)
        taken.append(median(seconds(lambda: read(databases)) for _ in range(3)))
    short, long = taken
    return "\n".join(
        [
            f"{DAYS} days of history         {short:>12.2f} s",
            f"{10 * DAYS} days of history        {long:>12.2f} s",
            f"ratio (goal 1.3)            {long / short:>12.2f}",
        ]
    )


def read(databases: Ground) -> int:
    """Return the rows of the day's dataset, streamed and dropped."""
    return sum(
        len(block)
        for block in read_blocks(
            databases.warehouse,
            "purchase_propensity/dataset.sql",
            50_000,
            as_of=AS_OF,
            horizon_days=90,
            known_by=AS_OF,
            shard=0,
            shards=1,
        )
    )
