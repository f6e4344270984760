"""After how many days without a step a client counts as gone: chosen from the data.

It is the shortest of SILENCES after which at most one in five comes back within as many days again;
the longest where there is none. docs/behavior.md has the shares of the simulated shop.
"""

import numpy as np
import pandas as pd

from jobs.client_behavior.sequences import DAY_US, Sequences

SILENCES = (7, 14, 21, 30, 45, 60)
MOST_BACK = 0.2
# Fewer silences say nothing.
LEAST_SILENCES = 50


def came_back(found: Sequences, until: int) -> pd.DataFrame:
    """Return how many silences ended, one row for each length in SILENCES.

    Columns: days, silent (silences of at least so many days that could be watched for as many days
    again), back (those that ended by then), share.

    Args:
        found: what clients did, without churn.
        until: end of what is known, microseconds since 1970 UTC.
    """
    after = np.append(found.at[1:], until)
    after[found.starts[1:] - 1] = until
    went_on = np.ones(len(found.at), bool)
    went_on[found.starts[1:] - 1] = False
    lasted = after - found.at
    rows = []
    for days in SILENCES:
        length = days * DAY_US
        watched = (lasted >= length) & (found.at + 2 * length <= until)
        silent = int(watched.sum())
        back = int((watched & went_on & (lasted < 2 * length)).sum())
        rows.append((days, silent, back, back / silent if silent else np.nan))
    return pd.DataFrame(rows, columns=["days", "silent", "back", "share"])


def chosen(table: pd.DataFrame) -> int:
    """Return the days of silence that count as churn, by what `came_back` returned."""
    enough = table[(table["silent"] >= LEAST_SILENCES) & (table["share"] <= MOST_BACK)]
    return int(enough["days"].iloc[0]) if len(enough) else SILENCES[-1]
