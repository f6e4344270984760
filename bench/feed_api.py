"""The feed service under load on loopback, beside a bare indexed select through the same pool."""

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from urllib.request import urlopen

import numpy as np
import psycopg

from bench.ground import Ground, seconds
from jobs.local import processes
from jobs.settings import ROOT
from jobs.warehouse import driver

USERS, POSTS, DEEP = 163_205, 7_023, 100
SECONDS, ROUNDS = 3.0, 5
CALLERS = (1, 8, 32)
TOKEN = "the token of the bench"
ADDRESS = {
    "feed": "/post/recommendations/?id={user}&limit=5&time=2026-03-01T{hour:02}:30:00",
    "bare": "/bare?id={user}",
}
FILL = f"""
insert into raw.post_text_df (post_id, text, topic, known_from)
select id, repeat('word ' || id || ' ', 40), 'topic ' || id % 7, '2026-01-01'
from generate_series(1, {POSTS}) as id;
create table result.feed_recommendation_20260301 partition of result.feed_recommendation
for values from ('2026-03-01') to ('2026-03-02');
insert into result.feed_recommendation_20260301
select
    '2026-03-01', user_id, part, case user_id % 2 when 0 then 'control' else 'test' end, 'bench',
    every.posts[1 + user_id * 7 % ({POSTS - DEEP}):user_id * 7 % ({POSTS - DEEP}) + {DEEP}],
    every.scores, every.sources
from generate_series(1, {USERS}) as user_id
cross join unnest(array[0, 6, 12, 18]) as part
cross join (
    select
        (
            select array_agg(id order by hashint8(id)) from generate_series(1, {POSTS}) as id
        ) as posts,
        (select array_agg(1.0 / id) from generate_series(1, {DEEP}) as id) as scores,
        (select array_agg(1 + id % 8) from generate_series(1, {DEEP}) as id) as sources
) as every;
insert into ops.publication (table_name, as_of, model_version, rows, checksum, replaced)
values ('result.feed_recommendation', '2026-03-01', 'bench', {USERS * 4}, '', false);
select experiment.make_impression_days('2025-12-01', '2026-03-10');
grant select on result.feed_recommendation to feed_api;
"""


def measure(databases: Ground) -> str:
    """Return requests/s, p50 and p99 of both, in turn, for each number of callers."""
    filled = seconds(lambda: fill(databases))
    port = processes.free_port()
    lines = [
        f"lists of {USERS:,} users, 4 parts of the day, {DEEP} posts (filled in {filled:.0f} s)",
        f"{'callers':>7} {'':16}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}",
    ]
    with tempfile.TemporaryDirectory() as journal, closing(service(databases, port, journal)):
        asyncio.run(load(port, "feed", 8, 2.0))
        asyncio.run(load(port, "bare", 8, 1.0))
        for callers in CALLERS:
            taken: dict[str, list[float]] = {"feed": [], "bare": []}
            # In turn, so that both meet the same machine.
            for _, what in itertools.product(range(ROUNDS), taken):
                taken[what] += asyncio.run(load(port, what, callers, SECONDS))
            figures = {what: figures_of(found, callers) for what, found in taken.items()}
            for what, name in (("feed", "feed"), ("bare", "bare select")):
                rate, p50, p99 = figures[what]
                lines.append(f"{callers:>7} {name:16}{rate:>12,.0f}{p50:>9.2f}{p99:>9.2f}")
            ratio = figures["feed"][2] / figures["bare"][2]
            lines.append(f"{callers:>7} {'p99 ratio (goal 3)':28}{ratio:>18.2f}")
        for _ in range(100):
            waiting = urlopen(f"http://127.0.0.1:{port}/health").read()
            if b'"waiting_bytes":0' in waiting:
                break
            time.sleep(0.1)
    with databases.admin.connect() as connection:
        count = driver(connection).execute("select count(*) from experiment.impression").fetchone()
    assert count
    lines.append(f"impressions logged: {count[0]:,}")
    return "\n".join(lines)


def fill(databases: Ground) -> None:
    """Make the lists, their posts and 100 days of the impression log."""
    with databases.admin.begin() as connection:
        driver(connection).execute(FILL)
    url = databases.admin.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum (analyze) result.feed_recommendation, raw.post_text_df")


class Service:
    """The service's process group."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self.running = running

    def close(self) -> None:
        """End it and wait."""
        os.killpg(self.running.pid, signal.SIGTERM)
        self.running.wait(30)


def service(databases: Ground, port: int, journal: str) -> Service:
    """Start one worker of the service and return it once it is healthy."""
    environment = {
        **os.environ,
        "NIGHTSHIFT_FEED_API_URL": databases.feed_api,
        "NIGHTSHIFT_FEED_TOKEN": TOKEN,
        "NIGHTSHIFT_FEED_JOURNAL": journal,
    }
    command = ["bench.feed_service:app", "--host", "127.0.0.1", "--port", str(port)]
    running = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *command, "--no-access-log", "--log-level", "warning"],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    for _ in range(300):
        try:
            urlopen(f"http://127.0.0.1:{port}/health").close()
            return Service(running)
        except OSError:
            time.sleep(0.1)
    Service(running).close()
    raise TimeoutError("the service did not come up in 30 s")


async def load(port: int, what: str, callers: int, duration: float) -> list[float]:
    """Ask without pause from so many connections; return the seconds that each answer took."""
    taken: list[float] = []
    end = time.perf_counter() + duration

    async def calls(number: int) -> None:
        chosen = random.Random(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            address = ADDRESS[what].format(user=chosen.randint(1, USERS), hour=chosen.randrange(24))
            begun = time.perf_counter()
            writer.write(
                f"GET {address} HTTP/1.1\r\nHost: bench\r\n"
                f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{address}: {head.decode()}")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(calls(number + callers * int(end * 1000)) for number in range(callers)))
    return taken


def figures_of(taken: list[float], callers: int) -> tuple[float, float, float]:
    """Return requests/s, and p50 and p99 in milliseconds."""
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    return len(taken) / (ROUNDS * SECONDS), float(p50), float(p99)
