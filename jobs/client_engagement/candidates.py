"""The candidates: three kinds of model, seven ways of handling imbalance, as one pipeline each.

A pipeline holds everything that is learned from rows: medians for missing numbers and which are
flagged, scales, the words known, the resampling, the model. Resampling happens while it is fitted
and only then, so rows that it made up are in no other slice; scoring can refit nothing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC, RandomOverSampler
from imblearn.pipeline import Pipeline
from imblearn.under_sampling import RandomUnderSampler
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from jobs.client_engagement.features import Columns

MODELS = ("logistic", "catboost", "forest")
HANDLINGS = (
    "none",
    "class_weights",
    "oversampling",
    "smote_nc",
    "adasyn",
    "undersampling",
    "focal",
)
CONSTANT = "constant"  # the model of the base rate
SEED = 7
THREADS = 2
NEIGHBOURS = 5
FOCUS = 2.0  # Lin et al. (2017) found this the best power of the focal loss
FOCAL_ROUNDS = 2  # after which the ranking no longer changed on the simulated shop

# Values that serve until tuning finds better ones.
PARAMS: dict[str, float] = {
    "logistic.ridge": 0.04,  # per unit of information (rows x rate x (1 - rate))
    "catboost.depth": 4,
    "catboost.learning_rate": 0.05,
    "catboost.l2_leaf_reg": 10.0,
    "catboost.iterations": 200,
    "forest.min_samples_leaf": 20,
    "forest.max_features": 0.2,
    "forest.trees": 60,
}

Numbers = NDArray[np.float64]


def fit(
    model: str,
    handling: str,
    columns: Columns,
    params: Mapping[str, float],
    inputs: pd.DataFrame,
    labels: Numbers,
) -> Pipeline:
    """Return the fitted pipeline of one candidate.

    Args:
        model: of MODELS, or CONSTANT.
        handling: of HANDLINGS. 'focal' fits again and again: rows that the fit before was sure of
            count less.
        columns: what it reads.
        params: as PARAMS.
        inputs: what `features.inputs` returns.
        labels: 0 or 1, both present.

    Raises:
        ValueError: if the handling can't work with so few rows.
    """
    pipeline = _pipeline(model, handling, columns, params, labels)
    if handling == "class_weights":
        weights = np.where(labels == 1, (1 - labels.mean()) / labels.mean(), 1.0)
        return _fitted(pipeline, inputs, labels, weights)
    _fitted(pipeline, inputs, labels, None)
    logs = np.zeros(len(labels))
    for _ in range(FOCAL_ROUNDS if handling == "focal" else 0):
        # Half the way each time: the whole way, the sure ones' weights swing from all to nothing.
        logs = (logs + _focal_logs(pipeline.predict_proba(inputs)[:, 1], labels)) / 2
        _fitted(pipeline, inputs, labels, np.exp(logs - logs.max()))
    return pipeline


def _fitted(
    pipeline: Pipeline, inputs: pd.DataFrame, labels: Numbers, weights: Numbers | None
) -> Pipeline:
    """Fit the pipeline and return it. A forest sums its trees alone: threads do so in any order."""
    model = pipeline.named_steps["model"]
    forest = isinstance(model, RandomForestClassifier)
    if forest:
        model.set_params(n_jobs=THREADS)
    told = {} if weights is None else {"model__sample_weight": weights / weights.mean()}
    pipeline.fit(inputs, labels, **told)
    if forest:
        model.set_params(n_jobs=1)
    return pipeline


def _focal_logs(chance: Numbers, labels: Numbers) -> Numbers:
    """Return the log of each row's weight; with it, log loss has the focal loss's gradient."""
    right = np.clip(np.where(labels == 1, chance, 1 - chance), 1e-6, 1 - 1e-6)
    slope = 1 - FOCUS * right * np.log(right) / (1 - right)
    logs: Numbers = FOCUS * np.log(1 - right) + np.log(slope)
    return logs


def prepare(columns: Columns, normal: bool) -> ColumnTransformer:
    """Return the unfitted first step: codes of the words, then numbers, then flags.

    Args:
        columns: what it reads.
        normal: amounts as log1p and every number standardised, as linear models and SMOTE need
            them; else numbers as they are. Missing ones are the median.
    """
    log = FunctionTransformer(log1p, feature_names_out="one-to-one")
    scale = [("scale", StandardScaler())] if normal else []
    amounts = Pipeline([("median", _median()), *([("log", log)] if normal else []), *scale])
    measures = Pipeline([("median", _median()), *scale])
    parts = [
        (
            "words",
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            list(columns.categories),
        ),
        ("amounts", amounts, list(columns.amounts)),
        ("measures", measures, [*columns.measures, *columns.vectors]),
        ("missing", MissingIndicator(error_on_new=False), list(columns.numbers)),
    ]
    return ColumnTransformer([part for part in parts if part[2]])


def matrix_features(pipeline: Pipeline, columns: Columns) -> list[str]:
    """Return the column of `features.inputs` that each column of the model's matrix is about."""
    first = pipeline.named_steps["prepare"]
    flags: list[str] = []
    if "missing" in first.named_transformers_:
        absent = first.named_transformers_["missing"].features_
        flags = [columns.numbers[place] for place in absent]
    words: list[str] = []
    if columns.categories:
        known = pipeline.named_steps["encode"].named_transformers_["words"].categories_
        pairs = zip(columns.categories, known, strict=True)
        words = [name for name, codes in pairs for _ in codes]
    return [*words, *columns.numbers, *flags]


def log1p(values: Numbers) -> Numbers:
    """Return log(1 + value), of negative amounts that of 0."""
    logs: Numbers = np.log1p(np.maximum(values, 0))
    return logs


def _median() -> SimpleImputer:
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _pipeline(
    model: str, handling: str, columns: Columns, params: Mapping[str, float], labels: Numbers
) -> Pipeline:
    if model == CONSTANT:
        return Pipeline([("model", DummyClassifier(strategy="prior"))])
    normal = model == "logistic" or handling in ("smote_nc", "adasyn")
    words = len(columns.categories)
    encode = ColumnTransformer(
        [("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), slice(0, words))],
        remainder="passthrough",
    )
    steps = [("prepare", prepare(columns, normal)), ("encode", encode)]
    if not words:
        steps = steps[:1]
    sampler = _sampler(handling, words, int(labels.sum()))
    if sampler is not None:
        # ADASYN knows numbers only; the others take a word as a whole.
        steps.insert(len(steps) if handling == "adasyn" else 1, ("sample", sampler))
    return Pipeline([*steps, ("model", _model(model, params, labels))])


def _sampler(handling: str, words: int, positives: int) -> Any:
    neighbours = min(NEIGHBOURS, positives - 1)
    if handling in ("smote_nc", "adasyn") and neighbours < 1:
        raise ValueError(f"{handling} needs two positive rows, there are {positives}")
    if handling == "oversampling":
        return RandomOverSampler(random_state=SEED)
    if handling == "undersampling":
        return RandomUnderSampler(random_state=SEED)
    if handling == "adasyn":
        return ADASYN(random_state=SEED, n_neighbors=neighbours)
    if handling == "smote_nc" and words:
        return SMOTENC(list(range(words)), random_state=SEED, k_neighbors=neighbours)
    if handling == "smote_nc":
        return SMOTE(random_state=SEED, k_neighbors=neighbours)
    return None


def _model(model: str, params: Mapping[str, float], labels: Numbers) -> Any:
    if model == "logistic":
        rate = labels.mean()
        penalty = max(params["logistic.ridge"] * len(labels) * rate * (1 - rate), 1e-6)
        # A hundred columns and many more rows: Newton's method takes a tenth of the time.
        return LogisticRegression(C=1 / penalty, solver="newton-cholesky")
    if model == "catboost":
        return CatBoostClassifier(
            iterations=int(params["catboost.iterations"]),
            depth=int(params["catboost.depth"]),
            learning_rate=params["catboost.learning_rate"],
            l2_leaf_reg=params["catboost.l2_leaf_reg"],
            random_seed=SEED,
            thread_count=THREADS,
            allow_writing_files=False,
            verbose=False,
        )
    return RandomForestClassifier(
        n_estimators=int(params["forest.trees"]),
        min_samples_leaf=int(params["forest.min_samples_leaf"]),
        max_features=params["forest.max_features"],
        max_samples=0.5,
        random_state=SEED,
    )
