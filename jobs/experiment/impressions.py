"""The impression log's days: partitions for those to come, an end for those whose time is over."""

import logging
from datetime import date, timedelta

import psycopg
from psycopg import sql
from sqlalchemy import Engine, text

from jobs.publish import partitions
from jobs.warehouse import driver

log = logging.getLogger(__name__)

# Days made ahead of as_of: a week of failed nights costs no impression its own partition.
AHEAD_DAYS = 8
# Answers of the feed wait behind whoever wants the table alone; not longer than this.
LOCK_TIMEOUT = "200ms"


def make_days(engine: Engine, as_of: date, ahead: int = AHEAD_DAYS) -> int:
    """Make the partitions from the day before ``as_of`` to ``ahead`` days after it; count them.

    Impressions of days without one are in the default partition until then, and move.
    """
    days = {"first": as_of - timedelta(days=1), "last": as_of + timedelta(days=ahead)}
    with engine.begin() as connection:
        made = connection.execute(
            text("select experiment.make_impression_days(:first, :last)"), days
        ).scalar_one()
    return int(made)


def drop_days(engine: Engine, as_of: date, keep_days: int | None) -> list[str]:
    """Drop the impressions of days older than ``keep_days``; return the partitions dropped.

    One that is being read is left for the next night. What the readout counted stays.

    Args:
        engine: the warehouse.
        as_of: day to count back from.
        keep_days: days to keep, the setting of raw; None keeps everything.
    """
    if keep_days is None:
        return []
    with engine.connect() as connection:
        found = partitions(connection, "experiment.impression")
    oldest = as_of - timedelta(days=keep_days)
    dropped = []
    for name in [one["name"] for one in found if one["end_day"] and one["end_day"] <= oldest]:
        try:
            with engine.begin() as connection:
                ours = driver(connection)
                ours.execute(
                    sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT))
                )
                ours.execute(sql.SQL("drop table {}").format(sql.Identifier("experiment", name)))
        except psycopg.errors.LockNotAvailable:
            log.info("experiment.%s is in use; another night will do", name)
            continue
        dropped.append(name)
    return dropped
