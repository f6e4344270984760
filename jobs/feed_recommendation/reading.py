"""From the warehouse's rows to the arrays that the model works on."""

import io
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Engine

from jobs.feed_recommendation import exclusions
from jobs.feed_recommendation.history import History, gather
from jobs.feed_recommendation.seen import Snapshot
from jobs.warehouse import driver, read_batches, read_sql


class NotPrepared(LookupError):
    """What the parts of a day share was not prepared, or is gone since a crash of Postgres."""


def read_users(engine: Engine, as_of: date, shard: int = 0, shards: int = 1) -> pd.DataFrame:
    """Return one hash range of the users known at ``as_of``, by user_id."""
    return read_sql(
        engine, "feed_recommendation/users.sql", as_of=as_of, shard=shard, shards=shards
    )


def read_posts(engine: Engine, as_of: date) -> pd.DataFrame:
    """Return the posts that there were on ``as_of``, by post_id."""
    return read_sql(engine, "feed_recommendation/posts.sql", as_of=as_of)


def read_history(
    engine: Engine,
    as_of: date,
    users: pd.DataFrame,
    post_ids: NDArray[np.int64],
    *,
    first_cutoff: date | None = None,
    since: Snapshot,
    shard: int = 0,
    shards: int = 1,
) -> History:
    """Return the history of one hash range of the users, streamed into compact arrays.

    What must not be shown to a user is in it as well (exclusions.py).

    Args:
        engine: the warehouse.
        as_of: days before it, known by it.
        users: rows of `read_users`, of the same hash range.
        post_ids: posts, sorted; events of others are left out.
        first_cutoff: the earliest cutoff that the history will be asked for; default as_of.
        since: the snapshot that holds the days before; without an id they are left out.
        shard: number of the hash range, from 0.
        shards: how many hash ranges there are.
    """
    batches = read_batches(
        engine,
        "feed_recommendation/history.sql",
        as_of=as_of,
        first_cutoff=first_cutoff or as_of,
        first_day=since.before_day,
        snapshot_id=since.snapshot_id,
        shard=shard,
        shards=shards,
    )
    ids = users["user_id"].to_numpy(np.int64)
    excluded = exclusions.read(
        engine, as_of, ids, post_ids, first_cutoff=first_cutoff, shard=shard, shards=shards
    )
    return exclusions.add(gather(batches, ids, post_ids), excluded)


def keep(engine: Engine, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays in the staging table ``name``, in place of what was there."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    table = sql.Identifier("staging", name)
    with engine.begin() as connection:
        ours = driver(connection)
        ours.execute(sql.SQL("drop table if exists {}").format(table))
        ours.execute(sql.SQL("create unlogged table {} (arrays bytea)").format(table))
        ours.execute(sql.SQL("insert into {} values (%s)").format(table), [file.getvalue()])


def kept(engine: Engine, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays that `keep` kept.

    Raises:
        NotPrepared: if they are not there.
    """
    with engine.begin() as connection:
        ours = driver(connection)
        found = None
        if ours.execute("select to_regclass(%s)", [f"staging.{name}"]).fetchone() != (None,):
            query = sql.SQL("select arrays from {}").format(sql.Identifier("staging", name))
            found = ours.execute(query).fetchone()
    if found is None:
        raise NotPrepared(f"staging.{name} is not there or empty")
    with np.load(io.BytesIO(found[0])) as arrays:
        return dict(arrays)


def drop(engine: Engine, name: str) -> None:
    """Drop what `keep` kept, if it is there."""
    with engine.begin() as connection:
        table = sql.Identifier("staging", name)
        driver(connection).execute(sql.SQL("drop table if exists {}").format(table))
