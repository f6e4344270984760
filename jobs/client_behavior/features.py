"""What the models without a memory of their own read: of each event's past, and of each client's.

Nothing here looks at the event that is predicted, or later: not at its time either, which tells
churn from everything else.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.client_behavior.sequences import (
    DAY_US,
    PURCHASE,
    Flags,
    Sequences,
    sessions,
)

HOUR_US = DAY_US // 24
LAST = 3
# Days that are counted over, of those before a cutoff.
RECENT_DAYS = (7, 30, 90)

Places = NDArray[np.int64]


def of_events(found: Sequences, wanted: Flags | None = None) -> pd.DataFrame:
    """Return what came before each wanted event, one row an event in their order.

    Columns: ``last_1`` to ``last_3``, states as codes (`Sequences.start` where there is none);
    ``count_<state>``, events so far; ``events``, all of them; ``session_events``, those of the
    session of the event before; ``gap_hours``, hours between the two events before, NaN where there
    are not two; ``hour``, UTC hour of the event before, -1 without one; ``days_known``, days from
    the client's first event to the one before; ``days_since_purchase``, to the one before, NaN
    without a purchase.
    """
    places = np.arange(len(found.state)) if wanted is None else np.flatnonzero(wanted)
    return _past(found, places, np.repeat(found.starts[:-1], np.diff(found.starts))[places])


def of_ends(found: Sequences) -> pd.DataFrame:
    """Return what `of_events` says of the event that comes after each client's last, row by row."""
    return _past(found, found.starts[1:], found.starts[:-1])


def of_clients(found: Sequences, moment: int) -> pd.DataFrame:
    """Return what was known of each client at ``moment``, one row a client of ``found.clients``.

    Columns: ``last_1`` to ``last_3`` as in `of_events`; for each state ``count_<state>``,
    ``count_<state>_<days>d`` for RECENT_DAYS and ``days_since_<state>`` (NaN without one);
    ``days_since_event``, ``days_known``, ``sessions_30d``, ``days_active_30d``.

    Args:
        found: what clients did before ``moment``, and nothing later.
        moment: microseconds since 1970 UTC.
    """
    clients, client = len(found.clients), found.client()
    age = (moment - found.at) / DAY_US
    columns: dict[str, NDArray[np.float64]] = {
        f"last_{back}": _state_at(found, found.starts[1:] - back, found.starts[:-1]).astype(float)
        for back in range(1, LAST + 1)
    }
    for code, state in enumerate(found.states):
        those = found.state == code
        columns[f"count_{state}"] = np.bincount(client[those], minlength=clients).astype(float)
        for days in RECENT_DAYS:
            recent = those & (age <= days)
            columns[f"count_{state}_{days}d"] = np.bincount(
                client[recent], minlength=clients
            ).astype(float)
        since = np.full(clients, np.nan)
        since[client[those]] = age[those]  # the last of a client's is written last
        columns[f"days_since_{state}"] = since
    happened = found.state != len(found.states) - 1
    since = np.full(clients, np.nan)
    since[client[happened]] = age[happened]
    columns["days_since_event"] = since
    columns["days_known"] = age[found.starts[:-1]]
    month = happened & (age <= 30)
    columns["sessions_30d"] = _different(client[month], sessions(found)[month], clients)
    columns["days_active_30d"] = _different(client[month], found.at[month] // DAY_US, clients)
    return pd.DataFrame(columns)


def _past(found: Sequences, places: Places, first: Places) -> pd.DataFrame:
    """Return the past of what is, or would be, at ``places``, of clients begun at ``first``."""
    before = np.maximum(places - 1, 0)
    some, two = places > first, places - 1 > first
    columns: dict[str, NDArray[np.generic]] = {
        f"last_{back}": _state_at(found, places - back, first) for back in range(1, LAST + 1)
    }
    for code, state in enumerate(found.states):
        so_far = np.concatenate([[0], np.cumsum(found.state == code, dtype=np.int32)])
        columns[f"count_{state}"] = (so_far[places] - so_far[first]).astype(np.float32)
    columns["events"] = (places - first).astype(np.float32)
    session = sessions(found)
    begins = np.ones(len(found.state), bool)
    begins[1:] = np.diff(session) != 0
    begins[found.starts[:-1]] = True
    session_start = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))
    columns["session_events"] = np.where(some, places - session_start[before], 0).astype(np.float32)
    gap = (found.at[before] - found.at[np.maximum(places - 2, 0)]) / HOUR_US
    columns["gap_hours"] = np.where(two, gap, np.nan).astype(np.float32)
    hour = found.at[before] // HOUR_US % 24
    columns["hour"] = np.where(some, hour, -1).astype(np.int8)
    known = (found.at[before] - found.at[np.minimum(first, len(found.at) - 1)]) / DAY_US
    columns["days_known"] = np.where(some, known, 0).astype(np.float32)
    bought = np.where(found.state == found.states.index(PURCHASE), np.arange(len(found.state)), -1)
    last_bought = np.maximum.accumulate(bought)[before]
    since = (found.at[before] - found.at[np.maximum(last_bought, 0)]) / DAY_US
    columns["days_since_purchase"] = np.where(some & (last_bought >= first), since, np.nan).astype(
        np.float32
    )
    return pd.DataFrame(columns)


def _state_at(found: Sequences, places: Places, first: Places) -> NDArray[np.int8]:
    """Return the state at each place; the start's code where it lies before the client's first."""
    kept = np.maximum(places, 0)
    return np.where(places >= first, found.state[kept], found.start).astype(np.int8)


def _different(client: Places, value: NDArray[np.generic], clients: int) -> NDArray[np.float64]:
    """Return how many different values each client has; each client's values come in order."""
    new = np.ones(len(client), bool)
    new[1:] = (np.diff(client) != 0) | (np.diff(value) != 0)
    return np.bincount(client[new], minlength=clients).astype(float)
