"""The periods a night learns from and is judged on: days, or longer ones where little happens.

A busy feed has thousands of users a day. A public set of ratings has a handful: most users rate
all they know in one sitting, and on many a day nobody comes. A ranker that learned from ten users,
and a gate that asks five, would decide by chance. So all periods are as long as it takes until
enough users liked something in each.
"""

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from jobs.warehouse import read_sql

# So many periods teach the ranker; the one after them is the gate's.
TRAIN_PERIODS = 3
ALL_PERIODS = TRAIN_PERIODS + 1
ENOUGH_USERS = 40
MOST_DAYS = 28


def length(engine: Engine, as_of: date) -> int | None:
    """Return how many days a period has: 1 where ENOUGH_USERS liked something on each day.

    Else as many as it takes, up to MOST_DAYS and as far as the history has room for; a feed with
    fewer users is asked for half of those that there are. (Users count on each day that they like
    something on.) None where nobody liked anything in the last period, however long.
    """
    if _enough(_likers(engine, as_of, 1))[0] >= ENOUGH_USERS:
        return 1
    first = read_sql(engine, "feed_recommendation/first_known.sql", as_of=as_of)["first_known"][0]
    if first is None:
        return None
    room = (as_of - first).days // (ALL_PERIODS + 1)  # and one to begin with
    likers = _likers(engine, as_of, min(MOST_DAYS, max(1, room)))
    in_the_last = np.cumsum(likers)[: len(likers) // ALL_PERIODS]
    if not in_the_last[-1]:
        return None
    found = _enough(likers)
    wanted = ENOUGH_USERS if found.max() >= ENOUGH_USERS else found.max() / 2
    # With nobody to learn from in the periods before, the training says so.
    return int(np.argmax(found >= wanted if found.any() else in_the_last > 0)) + 1


def cutoffs(as_of: date, days: int) -> list[date]:
    """Return the first days of the periods that the ranker learns from and, last, of the gate's.

    Args:
        as_of: the day after the last period.
        days: length of a period.
    """
    return [as_of - timedelta(days=back * days) for back in range(ALL_PERIODS, 0, -1)]


def _enough(likers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, for periods of 1, 2 ... days, the users of the last, or of the others if fewer."""
    total = np.concatenate([[0], np.cumsum(likers)])
    days = np.arange(1, len(likers) // ALL_PERIODS + 1)
    last = total[days]
    return np.asarray(np.minimum(last, (total[ALL_PERIODS * days] - last) / TRAIN_PERIODS))


def _likers(engine: Engine, as_of: date, days: int) -> NDArray[np.int64]:
    """Return how many users liked something on each day of periods of ``days``, newest first."""
    first_day = as_of - timedelta(days=ALL_PERIODS * days)
    found = read_sql(engine, "feed_recommendation/likers.sql", as_of=as_of, first_day=first_day)
    users = np.zeros(ALL_PERIODS * days, np.int64)
    for day, count in zip(found["event_day"], found["users"], strict=True):
        users[(as_of - day).days - 1] = count
    return users
