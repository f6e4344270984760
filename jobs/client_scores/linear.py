"""Ridge logistic regression on standardised terms."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from jobs import calibration as logistic_map
from jobs.client_scores.columns import named

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """Log-odds linear in terms: intercept + sum of weight * (term - centre) / scale."""

    terms: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float


def fit_linear(terms: pd.DataFrame, labels: Numbers, ridge: float, names: Sequence[str]) -> Linear:
    """Return a ridge logistic regression on ``names`` of ``terms``.

    Args:
        terms: one column per term; NaN counts as the term's mean.
        labels: 0 or 1.
        ridge: penalty on standardised weights, per unit of information.
        names: terms to use.
    """
    rate = labels.mean()
    unfitted = standardisation(terms, names)
    if not names:
        return replace(unfitted, intercept=float(logistic_map.log_odds(rate)))
    penalty = max(ridge * len(labels) * rate * (1 - rate), 1e-6)
    regression = LogisticRegression(C=1 / penalty, max_iter=1000, tol=1e-6)
    regression.fit(standardised(unfitted, terms), labels)
    weights = tuple(regression.coef_[0].tolist())
    return replace(unfitted, weights=weights, intercept=float(regression.intercept_[0]))


def apply_linear(linear: Linear, terms: pd.DataFrame) -> Numbers:
    """Return the intercept plus the weighted terms, one per row."""
    total: Numbers = linear.intercept + standardised(linear, terms) @ np.array(linear.weights)
    return total


def standardisation(terms: pd.DataFrame, names: Sequence[str]) -> Linear:
    """Return centre and scale of ``names`` over the rows that have them, weights still 0."""
    values = terms[list(names)].to_numpy(dtype=float)
    present = ~np.isnan(values)
    count = np.maximum(present.sum(axis=0), 1)
    centre = np.where(present, values, 0).sum(axis=0) / count
    spread = np.sqrt((np.where(present, values - centre, 0) ** 2).sum(axis=0) / count)
    scale = np.where(spread > 1e-9, spread, 1.0)
    nothing = (0.0,) * len(names)
    return Linear(tuple(names), tuple(centre.tolist()), tuple(scale.tolist()), nothing, 0.0)


def standardised(linear: Linear, terms: pd.DataFrame) -> Numbers:
    """Return the terms of ``linear`` in units of their scale; 0, the mean, where absent."""
    values = named(terms, linear.terms).to_numpy(dtype=float)
    scaled = (values - np.array(linear.centre)) / np.array(linear.scale)
    return np.where(np.isnan(scaled), 0.0, scaled)
