"""Lists from Postgres, impressions into it: all that the service does, without HTTP."""

import asyncio
import json
import logging
import re
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from plugins.feed_api.journal import Journal

log = logging.getLogger(__name__)

SQL = Path(__file__).parents[2] / "sql" / "feed_api"
ASK_SECONDS = 2.0
STORE_SECONDS = 10.0
# Between two looks at what there is to store; a restart finds at most so much on disk.
FLUSH_SECONDS = 0.2
RETRY_SECONDS = 2.0
LOOK_AROUND_SECONDS = 30.0
BATCH_LINES = 1_000
# Lines kept in memory where the disk is full and Postgres takes nothing; then answers stop.
MOST_LINES = 10_000
# Posts shown that wait to be stored and are left out of the user's next list meanwhile.
MOST_REMEMBERED = 200_000
# A connection that the server or the network ended; another may do. (One that is asked while the
# server's last words to it are arriving raises InternalClientError.)
BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.InternalClientError,
    ConnectionResetError,
)
# What asyncpg raises for a server that is down, going down, coming up or out of connections.
DOWN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, *BROKEN)


class Unavailable(RuntimeError):
    """No list can be served now; the message is for the caller."""


# user -> moments with the posts shown then
Shown = dict[int, list[tuple[datetime, list[int]]]]


@dataclass(frozen=True)
class Answer:
    """What one request gets.

    Attributes:
        request_id: names the answer in the impression log; None where nothing was logged.
        arm: the user's arm; None for users in none.
        as_of: published day that the posts came from.
        version: version that made the list; None where nothing is left to show.
        list: user, segment or everyone; None where nothing is left to show.
        posts: id, text and topic of each post.
    """

    request_id: uuid.UUID | None
    arm: str | None
    as_of: date
    version: str | None
    list: str | None
    posts: list[dict[str, Any]]


@dataclass
class Feed:
    """The lists of one warehouse, asked for by one event loop.

    Attributes:
        url: the warehouse, as role feed_api.
        journal: where impressions wait.
        connections: the most that are open at once.
    """

    url: str
    journal: Journal
    connections: int = 8
    pool: asyncpg.Pool | None = None
    storing: asyncio.Task[None] | None = None
    # Lines that found room neither on disk nor in Postgres, oldest first.
    held: list[bytes] = field(default_factory=list)
    # What waits to be stored shows: segment (None: the lines held) -> user -> moment, posts.
    shown: dict[Path | None, Shown] = field(default_factory=dict)
    remembered: int = 0

    async def start(self) -> None:
        """Open the pool and store what dead processes left; Postgres may come up later."""
        self.pool = await asyncpg.create_pool(
            self.url,
            min_size=0,
            max_size=self.connections,
            timeout=ASK_SECONDS,
            command_timeout=STORE_SECONDS,
            # Nothing we do leaves a trace in the session; a reset would be a trip for each answer.
            reset=_nothing,
            server_settings={"application_name": "feed_api", "statement_timeout": "10s"},
        )
        if self.journal.take_over():
            try:
                await asyncio.wait_for(self.store(), STORE_SECONDS)
            except DOWN as error:
                log.warning("%d bytes of impressions wait: %r", self.waiting(), error)
        self.storing = asyncio.create_task(self._store_for_ever())

    async def stop(self) -> None:
        """Store what waits if Postgres takes it, and close; the rest is for the next process."""
        if self.storing is not None:
            self.storing.cancel()
            with suppress(asyncio.CancelledError):
                await self.storing
        with suppress(*DOWN):
            async with asyncio.timeout(STORE_SECONDS):
                while self.waiting():
                    await self.store()
        if self.held:
            log.error("%d impressions are lost: no room on disk, and no Postgres", len(self.held))
        self.journal.close()
        if self.pool is not None:
            with suppress(*DOWN):
                await asyncio.wait_for(self.pool.close(), ASK_SECONDS)

    async def answer(self, user: int, moment: datetime, limit: int, preview: bool) -> Answer:
        """Return the user's posts for a moment; the impression is durable when this returns.

        Raises:
            Unavailable: if Postgres does not answer, no day is published, or no impression can be
                kept any more.
        """
        left_out = self.left_out(user, moment)
        found = await self._ask(ASK, user, moment, limit, left_out)
        if not found:
            return await self._nothing_left(user, moment)
        first = found[0]
        request_id = None if preview else uuid.uuid4()
        posts = [row["post_id"] for row in found]
        if request_id is not None:
            line = {
                "request_id": str(request_id),
                "served_at": moment.isoformat(),
                "user_id": user,
                "experiment": first["experiment"],
                "arm": first["arm"],
                "as_of": first["as_of"].isoformat(),
                "day_part": first["day_part"],
                "model_version": first["model_version"],
                "list": first["list"],
                "post_ids": posts,
                "positions": list(range(1, len(posts) + 1)),
                "sources": [row["source"] for row in found],
            }
            await self._keep(json.dumps(line, separators=(",", ":")).encode(), user, moment, posts)
        return Answer(
            request_id,
            first["arm"],
            first["as_of"],
            first["model_version"],
            first["list"],
            [{"id": row["post_id"], "text": row["text"], "topic": row["topic"]} for row in found],
        )

    async def newest_day(self, moment: datetime) -> date | None:
        """Return the day that serves, or None where none is published.

        Raises:
            Unavailable: if Postgres does not answer.
        """
        found = await self._ask(ARM, 0, moment)
        return found[0]["as_of"] if found else None

    def left_out(self, user: int, moment: datetime) -> list[int]:
        """Return what this process showed the user that day and Postgres does not know yet."""
        return [
            post
            for users in self.shown.values()
            for shown_at, posts in users.get(user, ())
            if shown_at <= moment and shown_at.date() == moment.date()
            for post in posts
        ]

    def waiting(self) -> int:
        """Return the bytes that wait to be stored."""
        return self.journal.waiting_bytes() + sum(map(len, self.held))

    async def store(self) -> None:
        """Move what waits into Postgres, oldest first.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: if Postgres can't
                be had; what was not stored still waits.
        """
        while self.held:
            batch = self.held[:BATCH_LINES]
            await self._insert(batch)
            del self.held[: len(batch)]
        self._forget(None)
        if not self.journal.sealed:
            self.journal.seal()
        while self.journal.sealed:
            segment = self.journal.sealed[0]
            lines = segment.read()
            for begin in range(0, len(lines), BATCH_LINES):
                await self._insert(lines[begin : begin + BATCH_LINES])
            self.journal.sealed.pop(0).delete()
            self._forget(segment.path)

    async def _store_for_ever(self) -> None:
        """Store every FLUSH_SECONDS, later where Postgres can't be had, and look for orphans."""
        looked = time.monotonic()
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                if time.monotonic() - looked > LOOK_AROUND_SECONDS:
                    looked = time.monotonic()
                    self.journal.take_over()
                if self.waiting():
                    await self.store()
            except DOWN as error:
                log.warning("%d bytes of impressions wait: %r", self.waiting(), error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _insert(self, lines: list[bytes]) -> None:
        """Store lines in one statement; those that Postgres will never take go to the refused."""
        assert self.pool is not None
        try:
            joined = b"[" + b",".join(lines) + b"]"
            await self.pool.execute(LOG, joined.decode(), timeout=STORE_SECONDS)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError) as error:
            if len(lines) == 1:
                log.error("an impression can't be stored and goes to the refused: %r", error)
                self.journal.refuse(lines[0])
                return
            for line in lines:
                await self._insert([line])

    async def _keep(self, line: bytes, user: int, moment: datetime, posts: list[int]) -> None:
        """Make one impression durable: on disk, else in Postgres at once, else in memory.

        Raises:
            Unavailable: if memory holds as much as it may.
        """
        where = None
        try:
            where = self.journal.append(line).path
        except OSError as full:
            try:
                return await asyncio.wait_for(self._insert([line]), ASK_SECONDS)
            except DOWN as down:
                if len(self.held) >= MOST_LINES:
                    raise Unavailable(
                        "impressions can be kept neither on disk nor in the warehouse"
                    ) from down
                log.error("an impression is in memory only: %r, and %r", full, down)
                self.held.append(line)
        self.shown.setdefault(where, {}).setdefault(user, []).append((moment, posts))
        self.remembered += len(posts)
        while self.remembered > MOST_REMEMBERED:
            self._forget(next(iter(self.shown)))

    def _forget(self, where: Path | None) -> None:
        gone = self.shown.pop(where, {})
        self.remembered -= sum(len(posts) for each in gone.values() for _, posts in each)

    async def _nothing_left(self, user: int, moment: datetime) -> Answer:
        found = await self._ask(ARM, user, moment)
        if not found:
            raise Unavailable(
                f"no list is published for {moment:%Y-%m-%d} or before; "
                "python -m jobs status shows what is"
            )
        return Answer(None, found[0]["arm"], found[0]["as_of"], None, None, [])

    async def _ask(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Return the rows of a statement; a connection that broke is tried anew, once.

        Raises:
            Unavailable: if Postgres does not answer.
        """
        assert self.pool is not None
        for attempt in (1, 2):
            try:
                async with self.pool.acquire(timeout=ASK_SECONDS) as connection:
                    return await connection.fetch(statement, *values, timeout=ASK_SECONDS)
            except BROKEN as error:
                if attempt == 2:
                    raise Unavailable("the warehouse does not answer") from error
            except DOWN as error:
                log.warning("no list: %r", error)
                raise Unavailable("the warehouse does not answer") from error
        raise AssertionError("unreachable")


def numbered(path: str, *names: str) -> str:
    """Return a file under sql/feed_api with $1, $2 ... in place of these :names.

    Raises:
        ValueError: if the file's names are others.
    """
    statement = (SQL / path).read_text()
    if (found := set(re.findall(r"(?<!:):(\w+)", statement))) != set(names):
        raise ValueError(f"feed_api/{path} has parameters {sorted(found)}, given {sorted(names)}")
    return re.sub(r"(?<!:):(\w+)", lambda match: f"${names.index(match[1]) + 1}", statement)


async def _nothing(connection: asyncpg.Connection) -> None:
    pass


ASK = numbered("ask.sql", "user_id", "at", "max_posts", "exclude")
ARM = numbered("arm.sql", "user_id", "at")
LOG = numbered("log.sql", "lines")
