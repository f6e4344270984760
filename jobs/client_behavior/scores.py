"""A day's rows of each client: the state, what comes next, who buys, who leaves."""

import numpy as np
import pyarrow as pa

from jobs.client_behavior import model
from jobs.client_behavior.model import Fitted, Standing
from jobs.client_behavior.sequences import CHURN, PURCHASE, Sequences

# Of the staging table, in SQL.
SHAPE = (
    "client_id bigint, current_state text, since timestamptz, next_states text[],"
    " next_probabilities real[], purchase_probability double precision,"
    " churn_probability double precision"
)


def of_clients(fitted: Fitted, found: Sequences, moment: int) -> pa.Table:
    """Return a row for each client of ``found``, columns as SHAPE.

    The next states come with the likeliest first, ties by name. The chance of churn is null for
    clients who count as gone already.

    Args:
        fitted: the model.
        found: what clients did before ``moment``, churn among it.
        moment: microseconds since 1970 UTC.
    """
    standing = Standing(fitted, found, moment)
    comes = model.what_comes(standing)
    by_name = np.argsort(np.array(found.states), kind="stable")
    order = by_name[np.argsort(-comes[:, by_name], axis=1, kind="stable")]
    ranked = np.take_along_axis(comes, order, axis=1)
    names = np.array(found.states)
    rows, states = comes.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * states)
    leaving = model.served_head(standing, CHURN)
    return pa.table(
        {
            "client_id": pa.array(found.clients),
            "current_state": pa.array(names[found.ends()].tolist(), pa.string()),
            "since": pa.array(found.at[found.starts[1:] - 1]).cast(pa.timestamp("us", "UTC")),
            "next_states": pa.ListArray.from_arrays(
                offsets, pa.array(names[order.ravel()].tolist(), pa.string())
            ),
            "next_probabilities": pa.ListArray.from_arrays(
                offsets, pa.array(ranked.ravel().astype(np.float32))
            ),
            "purchase_probability": pa.array(model.served_head(standing, PURCHASE)),
            "churn_probability": pa.array(leaving, from_pandas=True),
        }
    )
