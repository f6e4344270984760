"""Why a client has their score: what each feature adds to the log-odds."""

import numpy as np
import pandas as pd
import pyarrow as pa
from catboost import Pool

from jobs import calibration as logistic_map
from jobs.calibration import Calibration
from jobs.client_scores import reasons
from jobs.client_scores.linear import standardised
from jobs.purchase_propensity.features import FEATURES, RHYTHM, derive, rhythm_terms
from jobs.purchase_propensity.model import (
    CATEGORY_VECTOR,
    THREADS,
    Fitted,
    blocks,
    spend_if_bought,
    terms_and_inputs,
)

STAGED = reasons.SCHEMA.append(pa.field("expected_spend_90d", pa.float32()))
SHAPE = f"{reasons.SHAPE}, expected_spend_90d real"


def explain(
    fitted: Fitted, dataset: pd.DataFrame, calibration: Calibration | None = None
) -> pa.Table:
    """Return scores with their reasons, one row per input row, same order.

    Columns are those of `reasons.SCHEMA` and expected_spend_90d, null without a spend model.
    """
    tables = [
        _explain_block(fitted, block, calibration or fitted.calibration)
        for block in blocks(dataset)
    ]
    return pa.concat_tables(tables) if tables else STAGED.empty_table()


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
    scores = reasons.explained(
        block["client_id"], moved, constant, features(fitted, block), calibration
    )
    spend = scores["probability"].to_numpy() * spend_if_bought(fitted, block)
    return scores.append_column(
        "expected_spend_90d", pa.array(spend.astype(np.float32), from_pandas=True)
    )


def _feature(name: str) -> str:
    """Return the feature that a term or tree input belongs to."""
    if name in RHYTHM:
        return "rhythm"
    return "categories" if name in CATEGORY_VECTOR else name
