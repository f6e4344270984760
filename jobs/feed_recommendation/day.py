"""A cutoff with all that belongs to it: users and posts as they were, and what had happened."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.feed_recommendation import context as contexts
from jobs.feed_recommendation.context import Context
from jobs.feed_recommendation.history import History, number


@dataclass(frozen=True)
class Day:
    """One cutoff.

    Attributes:
        cutoff: the as_of.
        users: rows of users.sql at the cutoff.
        texts: of the context's posts.
        context: posts and groups at the cutoff.
        history: of these users in this order; may go on after the cutoff, for the labels.
        days: how many days from the cutoff on the outcome is of (`periods.length`).
    """

    cutoff: date
    users: pd.DataFrame
    texts: list[str]
    context: Context
    history: History
    days: int = 1

    def of(self, places: NDArray[np.int64], history: History | None = None) -> "Day":
        """Return the day with some of its users, and their history or part of it."""
        return replace(
            self,
            users=self.users.iloc[places].reset_index(drop=True),
            history=(history or self.history).of(places),
        )

    def outcome(self, known_by: int) -> History:
        """Return what happened on the cutoff's day, or days, as known by a day's number."""
        events, first = self.history, number(self.cutoff)
        return events.where(
            (events.day >= first)
            & (events.day < first + self.days)
            & (events.known_from <= known_by)
            & (events.known_to > known_by)
        )


def build(
    cutoff: date, users: pd.DataFrame, posts: pd.DataFrame, history: History, days: int = 1
) -> Day:
    """Return a cutoff's day.

    Args:
        cutoff: the as_of.
        users: rows of users.sql at the cutoff.
        posts: rows of posts.sql at the cutoff.
        history: of these users, maybe of others, too, and past the cutoff.
        days: length of the outcome.
    """
    place = np.searchsorted(history.users, users["user_id"].to_numpy(np.int64))
    theirs = history.of(place)
    return Day(
        cutoff,
        users,
        posts["text"].tolist(),
        contexts.build(cutoff, posts, users, theirs),
        theirs,
        days,
    )
