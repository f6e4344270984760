"""Lists for everybody and every part of the day: prepare what all share, score, publish."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from jobs import champion, settings
from jobs.binary_copy import Field
from jobs.checks import validate
from jobs.experiment import split
from jobs.feed_recommendation import context, kept, lists, model, reading, seen, training
from jobs.feed_recommendation.arms import require_rows
from jobs.feed_recommendation.context import Context
from jobs.feed_recommendation.seen import Snapshot
from jobs.feed_recommendation.training import JOB
from jobs.publish import already_published, stage_fields
from jobs.publish import publish as publish_day
from jobs.warehouse import named_failures, only_run

TABLE = "result.feed_recommendation"
EXPERIMENT = "feed"
NO_ARM = "none"
SHAPE = (
    "user_id bigint, day_part smallint, arm text, model_version text, post_ids bigint[],"
    " scores real[], sources smallint[]"
)
# Each arm's version by the arm's name.
Versions = dict[str, str]


class Shared(NamedTuple):
    """What all parts of a day's scoring share.

    Attributes:
        context: of the day.
        vectors: by arm, the texts' vectors by its version's encoder, posts by dimensions.
        read_at: when the first of it began to be read.
    """

    context: Context
    vectors: dict[str, NDArray[np.float32]]
    read_at: datetime


def day_parts() -> tuple[int, ...]:
    """Return the first UTC hours of the parts of the day: NIGHTSHIFT_DAY_PARTS, 4 by default.

    Raises:
        BadSetting: if it is not a number from 1 to 24.
    """
    value = settings.setting("NIGHTSHIFT_DAY_PARTS", "4")
    if not value.isdecimal() or not 1 <= int(value) <= 24:
        raise settings.BadSetting(
            f"NIGHTSHIFT_DAY_PARTS is {value!r}; expected a number of parts from 1 to 24"
        )
    return tuple(-(-24 * part // int(value)) for part in range(int(value)))


def prepare(engine: Engine, as_of: date, versions: Versions) -> None:
    """Keep what all parts of the day share: posts and groups on ``as_of``, and the texts' vectors.

    New texts get their vectors from the encoder of the version that serves.
    """
    with engine.connect() as connection:
        read_at = connection.execute(text("select clock_timestamp()")).scalar_one()
    users = reading.read_users(engine, as_of)
    posts = reading.read_posts(engine, as_of)
    require_rows(users, posts, as_of)
    history = reading.read_history(
        engine,
        as_of,
        users,
        posts["post_id"].to_numpy(np.int64),
        since=Snapshot(None, as_of - timedelta(days=context.WINDOW_DAYS)),
    )
    found = context.build(as_of, posts, users, history)
    vectors = {
        f"vectors.{arm}": kept.embed(engine, version, posts) for arm, version in versions.items()
    }
    seen.renew(engine, as_of)
    begun = {"read_at": np.asarray(read_at.isoformat())}
    reading.keep(engine, prepared(as_of), context.pack(found) | vectors | begun)


def score(engine: Engine, as_of: date, versions: Versions, shard: int, shards: int) -> int:
    """Make the lists of one hash range of the users into its staging table; return their number.

    Raises:
        AlreadyRunning: if another part is just making what the parts share, which is gone.
        WarehouseFull, WarehouseUnreachable: what was staged is undone.
    """
    made = 0

    def blocks() -> Iterator[list[Field]]:
        nonlocal made
        for arm, fitted in models.items():
            mine = np.flatnonzero(serving == arm)
            chosen = users.iloc[mine].reset_index(drop=True)
            theirs = history.of(mine)
            for block, table in model.prepare(fitted, found, common.vectors[arm], chosen, theirs):
                rows = chosen.iloc[block]
                for first, hour in zip(parts, middles, strict=True):
                    ranked = model.rank(
                        fitted, found, table, rows, np.full(len(rows), hour, np.int64)
                    )
                    made += len(rows)
                    yield _as_rows(found, ranked, rows, arms[mine[block]], first, versions[arm])

    with named_failures(engine, f"score {JOB} {as_of}"):
        common = _shared(engine, as_of, versions)
        found = common.context
        parts = day_parts()
        middles = [(first + last) // 2 for first, last in zip(parts, [*parts[1:], 24], strict=True)]
        users = reading.read_users(engine, as_of, shard, shards)
        frozen = split.frozen(engine, EXPERIMENT, as_of)
        arms = split.arm(frozen.salt, frozen.arms, frozen.shares, users["user_id"].to_numpy())
        # Who takes no part in the experiment gets the control's lists, and is not counted in it.
        serving = np.where(arms == None, training.ARMS[0], arms)  # noqa: E711
        arms = np.where(arms == None, NO_ARM, arms)  # noqa: E711
        models = {arm: kept.load(engine, version) for arm, version in versions.items()}
        snapshot = seen.newest(engine, as_of)
        history = reading.read_history(
            engine, as_of, users, found.post_ids, since=snapshot, shard=shard, shards=shards
        )
        seen.require(engine, snapshot)
        stage_fields(
            engine, TABLE, as_of, _part(shard, shards), SHAPE, blocks(), read_at=common.read_at
        )
    return made


def publish(engine: Engine, as_of: date, versions: Versions, shards: int) -> int:
    """Check the scored parts and make them the day that readers see; return its rows."""
    from jobs.feed_recommendation import expectations

    staged = [f"{JOB}_{as_of:%Y%m%d}_{_part(shard, shards)}" for shard in range(shards)]
    made_by = ", ".join(versions.values())
    if done := already_published(engine, TABLE, as_of, staged, made_by):
        return done.rows
    suite = expectations.lists(training.ARMS, day_parts())
    for name in staged:
        validate(engine, "staging", name, suite, TABLE, as_of, ("user_id", "day_part"))
    found = _shared(engine, as_of, versions).context
    with engine.connect() as connection:
        runs = [
            champion.described(connection, version)["mlflow_run_id"]
            for version in versions.values()
        ]
    published = publish_day(
        engine,
        TABLE,
        as_of,
        staged,
        "feed_recommendation/publish.sql",
        made_by,
        mlflow_run_id=", ".join(dict.fromkeys(filter(None, runs))) or None,
        alongside={
            "feed_recommendation/popular.sql": {
                "as_of": as_of,
                "lists": json.dumps(_popular(found)),
            }
        },
    )
    reading.drop(engine, prepared(as_of))
    return published.rows


def shared(engine: Engine, as_of: date) -> Shared:
    """Return what `prepare` kept.

    Raises:
        NotPrepared: if it is not there.
    """
    packed = reading.kept(engine, prepared(as_of))
    read_at = datetime.fromisoformat(str(packed.pop("read_at")))
    arms = [name for name in packed if name.startswith("vectors.")]
    vectors = {name.removeprefix("vectors."): packed.pop(name) for name in arms}
    return Shared(context.unpack(packed), vectors, read_at)


def _shared(engine: Engine, as_of: date, versions: Versions) -> Shared:
    """Return what `prepare` kept; made anew where it is gone: by a crash, or the day is out."""
    try:
        return shared(engine, as_of)
    except reading.NotPrepared:
        with only_run(engine, f"prepare {JOB}", as_of):
            prepare(engine, as_of, versions)
        return shared(engine, as_of)


def _as_rows(
    found: Context,
    ranked: lists.Lists,
    users: pd.DataFrame,
    arms: NDArray[Any],
    first_hour: int,
    version: str,
) -> list[Field]:
    """Return lists as rows of the staging table, in the order of SHAPE."""
    sizes = (ranked.post >= 0).sum(axis=1)
    arm_names = (*training.ARMS, NO_ARM)
    return [
        Field("bigint", users["user_id"].to_numpy(np.int64)),
        Field("smallint", np.full(len(users), first_hour)),
        Field("text", pd.Index(arm_names).get_indexer(pd.Index(arms)), texts=arm_names),
        Field("text", np.zeros(len(users), np.int64), texts=(version,)),
        Field("bigint[]", found.post_ids[np.maximum(ranked.post, 0)], sizes=sizes),
        Field("real[]", ranked.score, sizes=sizes),
        Field("smallint[]", ranked.source, sizes=sizes),
    ]


def _popular(found: Context) -> dict[str, dict[str, list[float]]]:
    """Return, by segment, the most liked posts of the last 7 days; '' is everyone."""
    everyone = found.orders()["popular_7d"][: lists.DEPTH]
    likes = {"": (everyone, found.counts["likes_7d"], 4)}
    orders = found.segment_orders(lists.DEPTH)
    for place, segment in enumerate(found.segments):
        order = orders[place][orders[place] >= 0]
        likes[segment] = (order, found.segment_likes[place], 6)
    return {
        segment: {
            "post_ids": found.post_ids[order].tolist(),
            "scores": counts[order].tolist(),
            "sources": [code] * len(order),
        }
        for segment, (order, counts, code) in likes.items()
    }


def prepared(as_of: date) -> str:
    """Return the staging table of what `prepare` keeps."""
    return f"{JOB}_{as_of:%Y%m%d}_prepared"


def _part(shard: int, shards: int) -> str:
    return f"{shard}of{shards}"
