"""What users saw long ago, kept in snapshots: a night reads a window of days, not all history.

A list leaves out all that its user ever viewed, and a like of long ago still says what is liked.
The days before the window are read from a snapshot, one row per user. It is the days' own rows
joined end to end, so the lists are the same whether one is there or not.
"""

from datetime import date, timedelta
from typing import NamedTuple

from sqlalchemy import Engine, text

from jobs.feed_recommendation.context import WINDOW_DAYS
from jobs.warehouse import execute, rows, sql_file

# The window may grow by so many days before it gets a new snapshot.
RENEW_DAYS = 7
# Snapshots kept: a night and a backfill of earlier days need one each.
KEPT = 3
FIRST_DAY = date(1, 1, 1)


class Snapshot(NamedTuple):
    """A snapshot of all days before ``before_day``; without an id there is none, nor such days."""

    snapshot_id: int | None
    before_day: date


class SnapshotGone(LookupError):
    """The snapshot was deleted while it was read."""


NONE = Snapshot(None, FIRST_DAY)


def newest(engine: Engine, as_of: date) -> Snapshot:
    """Return the newest snapshot that holds for ``as_of`` and leaves the window's days out."""
    with engine.connect() as connection:
        found = rows(
            connection,
            sql_file("feed_recommendation/seen_snapshot.sql"),
            as_of=as_of,
            last_day=as_of - timedelta(days=WINDOW_DAYS),
        )
    return Snapshot(**found[0]) if found else NONE


def renew(engine: Engine, as_of: date) -> Snapshot:
    """Return a snapshot for ``as_of``, built if there is none or the newest one is too old."""
    before_day = as_of - timedelta(days=WINDOW_DAYS)
    older = newest(engine, as_of)
    if before_day - older.before_day <= timedelta(days=RENEW_DAYS):
        return older
    # What it is built of and what it counts as its loads are of the same moment.
    with (
        engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
        connection.begin(),
    ):
        (made,) = rows(
            connection,
            sql_file("feed_recommendation/insert_seen_snapshot.sql"),
            as_of=as_of,
            before_day=before_day,
        )
        execute(
            connection,
            "feed_recommendation/insert_user_seen.sql",
            snapshot_id=made["snapshot_id"],
            older_id=older.snapshot_id,
            first_day=older.before_day,
            before_day=before_day,
            as_of=as_of,
        )
    with engine.begin() as connection:
        execute(connection, "feed_recommendation/delete_seen_snapshots.sql", kept=KEPT)
    return Snapshot(made["snapshot_id"], before_day)


def require(engine: Engine, snapshot: Snapshot) -> None:
    """Return if the snapshot is still there.

    Raises:
        SnapshotGone: if it is not; what was read of it may be too little.
    """
    if snapshot.snapshot_id is None:
        return
    with engine.connect() as connection:
        found = connection.execute(
            text("select from feature.seen_snapshot where snapshot_id = :snapshot_id"),
            {"snapshot_id": snapshot.snapshot_id},
        ).first()
    if found is None:
        raise SnapshotGone(
            f"feature.seen_snapshot {snapshot.snapshot_id}: it was deleted while the day was "
            "scored, as happens with many backfills at once; run the day's train step again, then "
            "this"
        )
