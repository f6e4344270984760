"""What the measurements stand on: a throwaway Postgres with fresh databases."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from jobs import migrate
from jobs.local import databases, postgres, processes, state
from jobs.local.databases import Server
from jobs.warehouse import engine

NAMES = {"app": "app_bench", "warehouse": "warehouse_bench"}


@dataclass(frozen=True)
class Ground:
    """Engines as their roles: the owner writes the source, extraction reads it, jobs write.

    ``feed_api`` is the address under which the feed service reaches the warehouse.
    """

    owner: Engine
    source: Engine
    warehouse: Engine
    admin: Engine
    feed_api: str


@contextmanager
def ground() -> Iterator[Ground]:
    """Yield fresh databases on a server of their own, with the settings that `make up` uses."""
    folder = Path(tempfile.mkdtemp(prefix="nightshift-bench-")).resolve()
    try:
        with state.locked(folder, "make bench"):
            server = Server(postgres.start(folder, processes.free_port()), folder)
            databases.create(server, NAMES)
            migrate.upgrade(server.url("migrator", NAMES["warehouse"]))
            yield Ground(
                engine(server.url("simulator", NAMES["app"])),
                engine(server.url("app_reader", NAMES["app"])),
                engine(server.url("nightshift", NAMES["warehouse"])),
                engine(server.url("migrator", NAMES["warehouse"])),
                server.url("feed_api", NAMES["warehouse"]),
            )
    finally:
        postgres.stop(folder)
        state.remove(folder)


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def pairs(
    ours: Callable[[], object], floor: Callable[[], object], runs: int = 3
) -> tuple[float, float, float]:
    """Return the median seconds of both, run in turn, and the median of floor / ours."""
    taken = [(seconds(floor), seconds(ours)) for _ in range(runs)]
    return (
        statistics.median(own for _, own in taken),
        statistics.median(low for low, _ in taken),
        statistics.median(low / own for low, own in taken),
    )
