"""A pipeline's log-odds, and what each column adds to them."""

import numpy as np
import pandas as pd
from catboost import Pool
from imblearn.pipeline import Pipeline
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from jobs import calibration as logistic_map
from jobs.client_engagement import forest
from jobs.client_engagement.candidates import THREADS

# A forest says 0 where no leaf that it reached had a positive: it has not seen so many rows.
LEAST_CHANCE = 1e-4

Numbers = NDArray[np.float64]


def log_odds(pipeline: Pipeline, inputs: pd.DataFrame) -> Numbers:
    """Return the log-odds before calibration, one per row."""
    model = pipeline.named_steps["model"]
    matrix = matrix_of(pipeline, inputs)
    if isinstance(model, LogisticRegression):
        return np.asarray(model.decision_function(matrix), dtype=float)
    if isinstance(model, RandomForestClassifier):
        return _bounded(model.predict_proba(matrix)[:, 1])
    if hasattr(model, "get_feature_importance"):
        return np.asarray(
            model.predict(matrix, prediction_type="RawFormulaVal", thread_count=THREADS)
        )
    return logistic_map.log_odds(model.predict_proba(matrix)[:, 1])


def contributions(
    pipeline: Pipeline, inputs: pd.DataFrame, centre: Numbers
) -> tuple[Numbers, Numbers | float]:
    """Return what each column of the matrix adds to the log-odds, and the constant beside it.

    A row's sum and the constant are ``log_odds``. Of logistic regression a column counts from
    ``centre``, its mean in training; of CatBoost by exact SHAP; of a forest by the steps down its
    trees, which add up to a chance and are stretched so that they add up to its log-odds.
    """
    model = pipeline.named_steps["model"]
    matrix = matrix_of(pipeline, inputs)
    if isinstance(model, LogisticRegression):
        weights = model.coef_[0]
        return (matrix - centre) * weights, float(model.intercept_[0] + centre @ weights)
    if isinstance(model, RandomForestClassifier):
        added, base = forest.contributions(forest.trees_of(model), matrix.astype(np.float32))
        moved = added.sum(axis=1)
        begun = float(_bounded(np.array([base]))[0])
        risen = _bounded(base + moved) - begun
        with np.errstate(divide="ignore", invalid="ignore"):
            stretch = np.where(np.abs(moved) > 1e-9, risen / moved, 0.0)
        return added * stretch[:, None], begun
    if hasattr(model, "get_feature_importance"):
        shap = model.get_feature_importance(Pool(matrix), type="ShapValues", thread_count=THREADS)
        return shap[:, :-1], float(shap[0, -1]) if len(shap) else 0.0
    return np.zeros((len(inputs), 0)), log_odds(pipeline, inputs)


def matrix_of(pipeline: Pipeline, inputs: pd.DataFrame) -> Numbers:
    """Return what the pipeline's model reads; the model of the base rate reads nothing."""
    matrix: object = inputs
    for _, step in pipeline.steps[:-1]:
        if hasattr(step, "transform"):  # resampling is for fitting alone
            matrix = step.transform(matrix)
    if matrix is inputs:
        return np.zeros((len(inputs), 1))
    return np.asarray(matrix, dtype=float)


def _bounded(chance: Numbers) -> Numbers:
    return logistic_map.log_odds(np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE))
