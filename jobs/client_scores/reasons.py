"""Scores with their reasons: chance, the features that moved it most, and the rest."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration

REASONS = 5
SCHEMA = pa.schema(
    [
        ("client_id", pa.int64()),
        ("probability", pa.float32()),
        ("reason_features", pa.list_(pa.string())),
        ("reason_values", pa.list_(pa.float32())),
        ("reason_contributions", pa.list_(pa.float32())),
        ("reason_rest", pa.float32()),
    ]
)
SHAPE = (
    "client_id bigint, probability real, reason_features text[], reason_values real[],"
    " reason_contributions real[], reason_rest real"
)


def explained(
    clients: pd.Series,
    contributions: pd.DataFrame,
    constant: NDArray[np.float64] | float,
    values: pd.DataFrame,
    calibration: Calibration,
) -> pa.Table:
    """Return scores with their reasons, one row per input row, same order.

    Columns are those of SCHEMA: reason_features, reason_values and reason_contributions hold the
    five largest contributions to the log-odds, largest first, ties by the order of the columns;
    contributions and reason_rest sum to the log-odds of ``probability``.

    Args:
        clients: their ids.
        contributions: to the log-odds before calibration, one column per feature.
        constant: what they and it sum to the log-odds with.
        values: the features' values; columns as in ``contributions`` or more.
        calibration: of the log-odds.
    """
    if not len(clients):
        return SCHEMA.empty_table()
    scaled = contributions.to_numpy() * calibration.slope
    z = calibration.intercept + calibration.slope * constant + scaled.sum(axis=1)
    probability = logistic_map.probability(z).astype(np.float32)
    kept = min(REASONS, scaled.shape[1])
    top = np.argsort(-np.abs(scaled), axis=1, kind="stable")[:, :kept]
    largest = np.take_along_axis(scaled, top, axis=1).astype(np.float32)
    shown = values[list(contributions.columns)].to_numpy(dtype=np.float32)
    # What is published must add up, so the rest is taken after rounding to real.
    published = logistic_map.log_odds(probability.astype(float))
    rest = published - largest.astype(float).sum(axis=1)
    names = pa.array(contributions.columns.to_numpy(dtype=object), pa.string())
    columns: Mapping[str, Any] = {
        "client_id": clients.to_numpy(dtype=np.int64),
        "probability": probability,
        "reason_features": _lists(
            pa.DictionaryArray.from_arrays(pa.array(top.ravel().astype(np.int32)), names).cast(
                pa.string()
            ),
            len(clients),
        ),
        "reason_values": _lists(
            pa.array(np.take_along_axis(shown, top, axis=1).ravel(), from_pandas=True), len(clients)
        ),
        "reason_contributions": _lists(pa.array(largest.ravel()), len(clients)),
        "reason_rest": rest.astype(np.float32),
    }
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def _lists(values: pa.Array, rows: int) -> pa.Array:
    """Return ``values`` as ``rows`` lists of equal length."""
    offsets = np.arange(rows + 1, dtype=np.int32) * (len(values) // rows)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
