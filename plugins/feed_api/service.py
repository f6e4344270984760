"""The feed over HTTP: GET /post/recommendations/, alone behind a token or inside Airflow.

Alone: `uvicorn plugins.feed_api.service:app --host 127.0.0.1 --port 8070 --no-access-log`, with
NIGHTSHIFT_FEED_API_URL (the warehouse, as role feed_api) and NIGHTSHIFT_FEED_TOKEN (what callers
send as `Authorization: Bearer ...`) in the environment.
"""

import asyncio
import hmac
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError

from jobs.settings import MissingSetting, setting, state_dir
from plugins.feed_api.feed import Answer, Feed, Unavailable
from plugins.feed_api.journal import Journal

log = logging.getLogger(__name__)

TOKEN, URL = "NIGHTSHIFT_FEED_TOKEN", "NIGHTSHIFT_FEED_API_URL"
JOURNAL, CONNECTIONS = "NIGHTSHIFT_FEED_JOURNAL", "NIGHTSHIFT_FEED_CONNECTIONS"
SHORTEST_TOKEN = 16
RETRY_AFTER_SECONDS = 5
FIRST_MOMENT, LAST_MOMENT = datetime(1990, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
BIGINT = 2**63


class Asked(BaseModel):
    """What a request asks for."""

    id: int = Field(
        ge=-BIGINT, lt=BIGINT, description="User; one whom nobody knows gets what is popular"
    )
    time: datetime | None = Field(
        None,
        description="Moment that the list is for, ISO 8601, UTC unless it names a zone; "
        "default now",
    )
    limit: int = Field(5, ge=1, le=100, description="Posts, 1 to 100")
    preview: bool = Field(False, description="Only look: no impression is logged")


class Post(BaseModel):
    """A recommended post."""

    id: int
    text: str | None
    topic: str | None


class Recommendations(BaseModel):
    """The posts for a user at a moment, best first."""

    exp_group: str | None = Field(description="Arm of our experiment that the user is in")
    model_version: str | None = Field(description="Version that made the list")
    recommendations: list[Post] = Field(description="Fewer than asked for where no more are left")
    list: str | None = Field(description="user, segment or everyone: whose list it is")
    as_of: date = Field(description="Published day that the list came from")
    request_id: str | None = Field(description="Names this answer in experiment.impression")


class Trouble(BaseModel):
    """Why there is no answer."""

    detail: str


class NoToken(LookupError):
    """The service was to start without a token that callers must show."""


def feed_of_environment() -> Feed:
    """Return the feed that the environment describes.

    Raises:
        MissingSetting: if the warehouse's address is nowhere.
    """
    folder = os.environ.get(JOURNAL) or state_dir() / "feed_journal"
    connections = int(os.environ.get(CONNECTIONS) or 8)
    return Feed(setting(URL), Journal(Path(folder)), connections)


def token_of_environment() -> bytes:
    """Return what callers must show.

    Raises:
        NoToken: if there is none, or one that can be guessed.
    """
    token = os.environ.get(TOKEN, "")
    if len(token) < SHORTEST_TOKEN:
        raise NoToken(
            f"{TOKEN} has {len(token)} characters; expected {SHORTEST_TOKEN} or more that callers "
            "send as Authorization: Bearer, for example of `openssl rand -hex 24`"
        )
    return token.encode()


def create_app() -> FastAPI:
    """Return the service that stands alone; it starts with a token in the environment only."""
    secret = b""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal secret
        secret = token_of_environment()
        app.state.feed = feed_of_environment()
        await app.state.feed.start()
        yield
        await app.state.feed.stop()

    def require_token(request: Request) -> None:
        said = request.headers.get("authorization", "").encode()
        # Not ==, whose time tells how much was right.
        if not (secret and hmac.compare_digest(said, b"Bearer " + secret)):
            raise HTTPException(
                401,
                "Authorization: Bearer TOKEN is missing or wrong",
                {"WWW-Authenticate": "Bearer"},
            )

    async def feed(request: Request) -> Feed:
        found: Feed = request.app.state.feed
        return found

    app = FastAPI(
        title="Nightshift feed",
        description="The posts for each user at any moment.",
        lifespan=lifespan,
    )
    add_routes(app, feed, require_token)
    return app


def create_guest(dependencies: list[Any]) -> FastAPI:
    """Return the service as a part of another app, whose login the ``dependencies`` ask for.

    Nobody tells a mounted app when to start, so its feed starts with the first request.
    """
    started: dict[str, Any] = {}
    starting = asyncio.Lock()

    async def feed(request: Request) -> Feed:
        async with starting:
            # A worker has one event loop; a test may make another.
            if started.get("loop") is not asyncio.get_running_loop():
                try:
                    made = feed_of_environment()
                except MissingSetting as error:
                    raise Unavailable(str(error)) from error
                await made.start()
                started.update(loop=asyncio.get_running_loop(), feed=made)
        return started["feed"]

    # On the app, so that nothing of it answers a stranger.
    app = FastAPI(
        title="Nightshift feed",
        dependencies=dependencies,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    add_routes(app, feed, lambda request: None)

    @app.get("/openapi.json", include_in_schema=False)
    async def schema() -> JSONResponse:
        return JSONResponse(app.openapi())

    return app


def add_routes(
    app: FastAPI,
    feed: Callable[[Request], Coroutine[Any, Any, Feed]],
    admit: Callable[[Request], None],
) -> None:
    """Add the addresses of the service to ``app``.

    Args:
        app: where they go.
        feed: returns the feed.
        admit: raises where a request may not see anybody's list.
    """

    # The request is read by hand: FastAPI's own way takes as long as asking Postgres does.
    @app.get(
        "/post/recommendations/",
        response_model=Recommendations,
        summary="The posts for a user at a moment",
        responses={
            401: {"model": Trouble, "description": "The token is missing or wrong"},
            422: {"description": "id, time or limit can't be understood, or is out of range"},
            503: {"model": Trouble, "description": "No list can be served now; see Retry-After"},
        },
        openapi_extra={"parameters": parameters()},
    )
    async def recommendations(request: Request) -> Response:
        admit(request)
        asked = understood(request)
        lists = await feed(request)
        answer = await lists.answer(asked.id, moment_of(asked.time), asked.limit, asked.preview)
        return Response(body(answer), media_type="application/json")

    @app.get(
        "/health",
        summary="Whether the warehouse answers, and how much waits to be stored",
        responses={503: {"model": Trouble, "description": "The warehouse does not answer"}},
    )
    async def health(request: Request) -> dict[str, Any]:
        lists = await feed(request)
        as_of = await lists.newest_day(datetime.now(UTC))
        if lists.storing is None or lists.storing.done():
            raise Unavailable("impressions are not stored any more; restart the service")
        return {"status": "ok", "as_of": as_of, "waiting_bytes": lists.waiting()}

    @app.exception_handler(Unavailable)
    async def unavailable(request: Request, error: Unavailable) -> JSONResponse:
        again = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        return JSONResponse({"detail": str(error)}, 503, again)


def parameters() -> list[dict[str, Any]]:
    """Return the parameters of a request as OpenAPI describes them."""
    described = Asked.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in described["required"],
            "description": schema.pop("description"),
            "schema": schema,
        }
        for name, schema in described["properties"].items()
    ]


def understood(request: Request) -> Asked:
    """Return what a request asks for.

    Raises:
        RequestValidationError: naming what can't be understood.
    """
    try:
        return Asked.model_validate(dict(request.query_params))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise RequestValidationError(
            [{**one, "loc": ("query", *one["loc"])} for one in found]
        ) from None


def moment_of(time: datetime | None) -> datetime:
    """Return the moment asked for, in UTC.

    Raises:
        RequestValidationError: if no list can ever be published for it.
    """
    if time is None:
        return datetime.now(UTC)
    try:
        moment = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        moment = LAST_MOMENT
    if FIRST_MOMENT <= moment < LAST_MOMENT:
        return moment
    said = f"expected a moment from {FIRST_MOMENT:%Y} to {LAST_MOMENT:%Y}"
    raise RequestValidationError(
        [{"type": "time_range", "loc": ("query", "time"), "msg": said, "input": str(time)}]
    )


def body(answer: Answer) -> bytes:
    """Return an answer as JSON."""
    return json.dumps(
        {
            "exp_group": answer.arm,
            "model_version": answer.version,
            "recommendations": answer.posts,
            "list": answer.list,
            "as_of": answer.as_of.isoformat(),
            "request_id": str(answer.request_id) if answer.request_id else None,
        },
        ensure_ascii=False,
    ).encode()


app = create_app()
