"""What came of each client after a moment: a purchase, or silence; in one place.

**Purchase**: at least one in the HORIZON after the moment. **Churn**: within the HORIZON the client
has done nothing for so many days that it counts as gone (`silence`); of clients who count as gone
already at the moment there is nothing to say, and it is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.client_behavior.reading import microseconds
from jobs.client_behavior.sequences import (
    DAY_US,
    PURCHASE,
    Places,
    Sequences,
    Times,
    with_churn,
)

HORIZON_DAYS = 30
HORIZON = timedelta(days=HORIZON_DAYS)
HEADS = ("purchase", "churn")


@dataclass(frozen=True)
class Marks:
    """Moments in clients' lives, and what came of them; one entry a client and moment.

    Attributes:
        client: place in ``Sequences.clients``.
        moment: microseconds since 1970 UTC; only what happened before it may be looked at.
        purchase: 0 or 1.
        churn: 0 or 1; NaN where the client is gone already.
    """

    client: Places
    moment: Times
    purchase: NDArray[np.float64]
    churn: NDArray[np.float64]

    def of(self, moment: int) -> "Marks":
        """Return the entries of one moment, in the order of its clients."""
        those = self.moment == moment
        return Marks(
            self.client[those], self.moment[those], self.purchase[those], self.churn[those]
        )


def marks(found: Sequences, moments: Sequence[int], horizon: timedelta = HORIZON) -> Marks:
    """Return what came of every client who did something before each moment.

    Args:
        found: what clients did until one horizon after the last moment or later, churn among it.
        moments: microseconds since 1970 UTC.
        horizon: length of the window after each.
    """
    parts = [_at(found, moment, round(horizon.total_seconds() * 1e6)) for moment in moments]
    return Marks(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def beside(told: pd.DataFrame, found: Sequences, day: date, silence_days: int) -> pd.DataFrame:
    """Return a published day's chances with what came of them, as `jobs.champion.mature` asks.

    Of clients whose steps were all taken back since, nobody bought, and nothing is said of leaving.

    Args:
        told: client_id, score (the chance of a purchase), score_churn; a row a client.
        found: what clients did in the window before ``day`` and in the HORIZON after it.
        day: the published day.
        silence_days: days without a step that are churn.
    """
    moment = microseconds(day)
    until = moment + round(HORIZON.total_seconds() * 1e6)
    seen = with_churn(found, silence_days * DAY_US, until)
    came = marks(seen, [moment])
    label = {
        "client_id": seen.clients[came.client],
        "label": came.purchase,
        "label_churn": came.churn,
    }
    both = told.merge(pd.DataFrame(label), on="client_id", how="left")
    return both.assign(label=both["label"].fillna(0).astype(int))


def _at(
    found: Sequences, moment: int, horizon: int
) -> tuple[Places, Times, NDArray[np.float64], NDArray[np.float64]]:
    clients, client = len(found.clients), found.client()
    before = np.bincount(client[found.at < moment], minlength=clients)
    known = np.flatnonzero(before)
    state = found.state[found.starts[known] + before[known] - 1]
    inside = (found.at >= moment) & (found.at < moment + horizon)

    def happens(code: int) -> NDArray[np.float64]:
        those = inside & (found.state == code)
        return (np.bincount(client[those], minlength=clients)[known] > 0).astype(float)

    gone = len(found.states) - 1
    return (
        known,
        np.full(len(known), moment),
        happens(found.states.index(PURCHASE)),
        np.where(state == gone, np.nan, happens(gone)),
    )
