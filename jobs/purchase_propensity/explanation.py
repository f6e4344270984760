"""Why a client has their score: what each feature adds to the log-odds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from catboost import Pool

from jobs import calibration as logistic_map
from jobs.calibration import Calibration
from jobs.purchase_propensity.features import FEATURES, RHYTHM, derive, rhythm_terms
from jobs.purchase_propensity.linear import standardised
from jobs.purchase_propensity.model import (
    THREADS,
    Fitted,
    blocks,
    spend_if_bought,
    terms_and_inputs,
)
from jobs.purchase_propensity.words import WORDS

REASONS = 5


def explain(
    fitted: Fitted, dataset: pd.DataFrame, calibration: Calibration | None = None
) -> pa.Table:
    """Return scores with their reasons, one row per input row, same order.

    Columns: client_id, probability, expected_spend_90d (null without a spend model),
    reason_features, reason_values, reason_contributions (the five largest contributions to the
    log-odds, largest first, ties by the order of FEATURES) and reason_rest; contributions and rest
    sum to the log-odds of ``probability``.
    """
    tables = [
        _explain_block(fitted, block, calibration or fitted.calibration)
        for block in blocks(dataset)
    ]
    return pa.concat_tables(tables) if tables else _reasons_table({})


def contributions(fitted: Fitted, dataset: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return each feature's contribution to the raw log-odds, and the constant beside them.

    One column per feature that the model uses, named and ordered as in FEATURES; a row's sum plus
    the constant is ``model.raw_log_odds``. Linear terms count from their mean, trees by exact SHAP.
    """
    terms, inputs = terms_and_inputs(fitted, dataset)
    linear = fitted.linear
    names = [_feature(term) for term in linear.terms]
    parts = [standardised(linear, terms) * np.array(linear.weights)]
    constant = linear.intercept
    if fitted.trees is not None:
        matrix = inputs.to_numpy(dtype=np.float32)
        shap = fitted.trees.get_feature_importance(
            Pool(matrix), type="ShapValues", thread_count=THREADS
        )
        parts.append(shap[:, :-1])
        names += [_feature(name) for name in inputs.columns]
        constant += float(shap[0, -1]) if len(shap) else 0.0
    used = [name for name in FEATURES if name in set(names)]
    place = {name: at for at, name in enumerate(used)}
    summed = np.zeros((len(dataset), len(used)))
    for name, column in zip(names, np.hstack(parts).T, strict=True):
        summed[:, place[name]] += column
    return pd.DataFrame(summed, columns=used, index=dataset.index), constant


def features(fitted: Fitted, dataset: pd.DataFrame) -> pd.DataFrame:
    """Return FEATURES as the reasons show them: one column each, missing as NaN."""
    values = derive(dataset)
    values["rhythm"] = np.nan
    if fitted.rhythm is not None:
        values["rhythm"] = logistic_map.probability(rhythm_terms(fitted.rhythm, values)[RHYTHM[0]])
        values.loc[values["never_bought"] == 1, "rhythm"] = np.nan
    values["categories"] = values["category_breadth_365d"]
    return values[list(FEATURES)]


def _explain_block(fitted: Fitted, block: pd.DataFrame, calibration: Calibration) -> pa.Table:
    moved, constant = contributions(fitted, block)
    scaled = moved.to_numpy() * calibration.slope
    z = calibration.intercept + calibration.slope * constant + scaled.sum(axis=1)
    probability = logistic_map.probability(z).astype(np.float32)
    kept = min(REASONS, scaled.shape[1])
    top = np.argsort(-np.abs(scaled), axis=1, kind="stable")[:, :kept]
    largest = np.take_along_axis(scaled, top, axis=1).astype(np.float32)
    values = features(fitted, block)[list(moved.columns)].to_numpy(dtype=np.float32)
    # What is published must add up, so the rest is taken after rounding to real.
    published = logistic_map.log_odds(probability.astype(float))
    rest = published - largest.astype(float).sum(axis=1)
    names = np.array(moved.columns, dtype=object)
    shown = np.take_along_axis(values, top, axis=1)
    return _reasons_table(
        {
            "client_id": block["client_id"].to_numpy(dtype=np.int64),
            "probability": probability,
            "expected_spend_90d": pa.array(
                (probability * spend_if_bought(fitted, block)).astype(np.float32), from_pandas=True
            ),
            "reason_features": _lists(
                pa.DictionaryArray.from_arrays(
                    pa.array(top.ravel().astype(np.int32)), pa.array(names, pa.string())
                ).cast(pa.string()),
                len(block),
            ),
            "reason_values": _lists(pa.array(shown.ravel(), from_pandas=True), len(block)),
            "reason_contributions": _lists(pa.array(largest.ravel()), len(block)),
            "reason_rest": rest.astype(np.float32),
        }
    )


def _lists(values: pa.Array, rows: int) -> pa.Array:
    """Return ``values`` as ``rows`` lists of equal length."""
    width = len(values) // rows
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _reasons_table(columns: Mapping[str, Any]) -> pa.Table:
    schema = pa.schema(
        [
            ("client_id", pa.int64()),
            ("probability", pa.float32()),
            ("expected_spend_90d", pa.float32()),
            ("reason_features", pa.list_(pa.string())),
            ("reason_values", pa.list_(pa.float32())),
            ("reason_contributions", pa.list_(pa.float32())),
            ("reason_rest", pa.float32()),
        ]
    )
    return pa.table({name: columns.get(name, []) for name in schema.names}, schema=schema)


def _feature(name: str) -> str:
    """Return the feature that a term or tree input belongs to."""
    if name in RHYTHM:
        return "rhythm"
    return "categories" if name in WORDS else name
