"""How clients move between states: a day's matrix, of everybody and of segments, with intervals."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from jobs.client_behavior import moves
from jobs.client_behavior.sequences import PURCHASE, Flags, Sequences, settled
from jobs.publish import NothingToPublish

ALL = "all"
# Of the staging table, in SQL.
SHAPE = (
    "segment text, from_state text, to_state text, transitions bigint, from_transitions bigint,"
    " clients bigint, probability double precision, low double precision,"
    " high double precision, stationary_share double precision,"
    " purchase_before_churn double precision, steps_to_purchase double precision,"
    " steps_to_end double precision"
)
NAMES = {"count": "transitions", "from_count": "from_transitions"}


def segments(found: Sequences) -> dict[str, Flags]:
    """Return who is in each segment: all; buyers, who bought in the window; others."""
    bought = found.state == found.states.index(PURCHASE)
    buyers = np.bincount(found.client()[bought], minlength=len(found.clients)) > 0
    return {ALL: np.ones(len(found.clients), bool), "buyers": buyers, "others": ~buyers}


def of_day(found: Sequences, silence_us: int, until: int) -> pa.Table:
    """Return the transitions of every segment with clients in it, columns as SHAPE.

    What came after the last days is counted once it is known who is silent (`settled`).

    Args:
        found: what clients did before ``until``, churn among it.
        silence_us: microseconds without an event that are churn.
        until: microseconds since 1970 UTC.

    Raises:
        NothingToPublish: if there is no client.
    """
    if not len(found.clients):
        raise NothingToPublish(
            "no client did anything in the window before the day; are its steps extracted? "
            "The newest published day goes on serving"
        )
    parts, counted = [], settled(found, silence_us, until)
    for segment, kept in segments(found).items():
        if not kept.any():
            continue
        table = moves.transitions(counted, kept)
        if table.empty:
            continue
        states = found.states
        matrix = moves.square(table, states)
        ends = moves.absorbing(matrix, states).set_index("from_state")
        begins = first_states(found, kept)
        share = pd.Series(moves.stationary(matrix, begins), index=list(states))
        table = table.rename(columns=NAMES).join(ends, on="from_state")
        table = table.assign(segment=segment, stationary_share=table["from_state"].map(share))
        parts.append(table)
    names = [part.split()[0] for part in SHAPE.split(", ")]
    return pa.Table.from_pandas(pd.concat(parts)[names], preserve_index=False)


def first_states(found: Sequences, kept: Flags) -> NDArray[np.float64]:
    """Return the share of the clients whose first event in the window is each state."""
    first = found.state[found.starts[:-1]][kept]
    counts = np.bincount(first, minlength=len(found.states)).astype(float)
    return np.asarray(counts / counts.sum())
