"""Models without a memory of their own: regression and trees on features of the past."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

SEED = 7
THREADS = 2
MODELS = ("logistic", "catboost")
# Codes of states: names, not numbers.
CODES = ("last_1", "last_2", "last_3")
TREES = {"iterations": 120, "depth": 4, "learning_rate": 0.1, "l2_leaf_reg": 10}
RIDGE = 0.001
# Rows looked at at once: prepared they are ten times as large.
BLOCK_ROWS = 1 << 18

Numbers = NDArray[np.float64]


def fit(name: str, features: pd.DataFrame, labels: NDArray[np.integer[Any]]) -> Pipeline:
    """Return a fitted classifier of two or more labels.

    Args:
        name: of MODELS.
        features: one row per label; columns of CODES are names, the others numbers that may lack.
        labels: whole numbers; at least two different ones.
    """
    codes = [column for column in CODES if column in features]
    numbers = [column for column in features if column not in codes]
    if name == "catboost":
        model: Any = CatBoostClassifier(
            **TREES,
            loss_function="MultiClass" if len(np.unique(labels)) > 2 else "Logloss",
            random_seed=SEED,
            thread_count=THREADS,
            allow_writing_files=False,
            verbose=False,
        )
        prepared = ColumnTransformer(
            [("codes", _one_hot(features, codes), codes), ("numbers", "passthrough", numbers)]
        )
        return Pipeline([("prepare", prepared), ("model", model)]).fit(features, labels)
    # Counts and ages are steep at their beginning: the second day is another than the first.
    amounts = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        FunctionTransformer(_log),
        StandardScaler(),
    )
    prepared = ColumnTransformer(
        [("codes", _one_hot(features, codes), codes), ("numbers", amounts, numbers)]
    )
    model = LogisticRegression(C=1 / (RIDGE * len(labels)), max_iter=300)
    return Pipeline([("prepare", prepared), ("model", model)]).fit(features, labels)


def chances(model: Pipeline, features: pd.DataFrame, labels: int) -> Numbers:
    """Return each row's chance of each label 0 ... labels - 1; those never seen have a little."""
    found = np.full((len(features), labels), 1e-6)
    for first in range(0, len(features), BLOCK_ROWS):
        part = slice(first, first + BLOCK_ROWS)
        seen = np.asarray(model.named_steps["model"].classes_, dtype=int)
        found[part, seen] = np.maximum(model.predict_proba(features.iloc[part]), 1e-6)
    total: Numbers = found / found.sum(axis=1, keepdims=True)
    return total


def _one_hot(features: pd.DataFrame, codes: Sequence[str]) -> OneHotEncoder:
    known = [np.unique(features[column]) for column in codes]
    return OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)


def _log(values: Numbers) -> Numbers:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
