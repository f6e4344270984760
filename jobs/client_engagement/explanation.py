"""Why a client has their score: what each feature adds to the log-odds."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from jobs.calibration import Calibration
from jobs.client_engagement.candidates import CONSTANT, matrix_features
from jobs.client_engagement.features import feature_of, shown
from jobs.client_engagement.log_odds import contributions as of_columns
from jobs.client_engagement.model import Fitted, blocks, inputs_of
from jobs.client_scores import reasons


def explain(
    fitted: Fitted, dataset: pd.DataFrame, calibration: Calibration | None = None
) -> pa.Table:
    """Return scores with their reasons, one row per input row, same order, as `reasons.SCHEMA`."""
    tables = []
    for block in blocks(dataset):
        moved, constant = raw_contributions(fitted, block)
        values = shown(block, list(moved.columns))
        tables.append(
            reasons.explained(
                block["client_id"], moved, constant, values, calibration or fitted.calibration
            )
        )
    return pa.concat_tables(tables) if tables else reasons.SCHEMA.empty_table()


def contributions(fitted: Fitted, dataset: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what each feature adds to the calibrated log-odds, and the features' values."""
    moved, _ = raw_contributions(fitted, dataset)
    return moved * fitted.calibration.slope, shown(dataset, list(moved.columns))


def raw_contributions(
    fitted: Fitted, dataset: pd.DataFrame
) -> tuple[pd.DataFrame, NDArray[np.float64] | float]:
    """Return each feature's contribution to the raw log-odds, and the constant beside them.

    A word's levels, a number's flag of being missing and the dimensions of a sequence's vector
    count as one feature each.
    """
    read = inputs_of(fitted, dataset)
    added, constant = of_columns(fitted.pipeline, read, fitted.centre)
    names: list[str] = []
    if fitted.name != CONSTANT and added.shape[1]:
        names = [feature_of(name) for name in matrix_features(fitted.pipeline, fitted.columns)]
    used = list(dict.fromkeys(names))
    place = {name: at for at, name in enumerate(used)}
    summed = np.zeros((len(dataset), len(used)))
    for name, column in zip(names, added.T, strict=True):
        summed[:, place[name]] += column
    return pd.DataFrame(summed, columns=used, index=dataset.index), constant
