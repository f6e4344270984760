"""A two-parameter logistic map on the log-odds, so that probabilities mean what they say.

The map is ``calibrated = intercept + slope * log-odds`` (Platt 1999). It keeps the order of the
scores, and since it is linear in the log-odds, contributions that sum to the raw log-odds can be
scaled to sum to the calibrated ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALLEST = 1e-7  # probabilities stay this far from 0 and 1 (a real column holds them apart)
STEPS = 50

Numbers = NDArray[np.float64]


class NothingToLearnFrom(ValueError):
    """There are no labels, or they all say the same."""


@dataclass(frozen=True)
class Calibration:
    """The map's two numbers; the default changes nothing."""

    slope: float = 1.0
    intercept: float = 0.0


def log_odds(probability: ArrayLike) -> Numbers:
    """Return the log-odds of ``probability``, finite also at 0 and 1."""
    kept: Numbers = np.clip(np.asarray(probability, dtype=float), SMALLEST, 1 - SMALLEST)
    return np.log(kept) - np.log1p(-kept)


def probability(log_odds: ArrayLike) -> Numbers:
    """Return the probability of ``log_odds``, strictly between 0 and 1."""
    z = np.asarray(log_odds, dtype=float)
    small = 1 / (1 + np.exp(np.abs(np.clip(z, -40, 40))))
    chance: Numbers = np.clip(np.where(z < 0, small, 1 - small), SMALLEST, 1 - SMALLEST)
    return chance


def fit(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Calibration:
    """Return the map that maximises the likelihood of ``labels`` given log-odds ``scores``.

    With ``weights`` a row counts as so many.

    The rows must not be rows the scores were trained on. Where all scores are equal, or rank the
    labels backwards, only the level is fitted (slope 1).

    Raises:
        NothingToLearnFrom: if ``labels`` holds a single value.
    """
    z, y = _checked(scores, labels)
    each = np.ones_like(z) if weights is None else np.asarray(weights, dtype=float)
    share = float(np.average(y, weights=each))
    if np.ptp(z) < 1e-9:
        return Calibration(1.0, shift(z, share, each))
    centre, scale = z.mean(), z.std()
    design = np.column_stack([np.ones_like(z), (z - centre) / scale])
    found = np.array([shift(np.zeros_like(z), share), scale])
    loss = _loss(design @ found, y, each)
    for _ in range(STEPS):
        chance = probability(design @ found)
        gradient = design.T @ (each * (y - chance))
        curvature = (design * (each * chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        while (tried := _loss(design @ (found + step), y, each)) > loss and np.abs(
            step
        ).max() > 1e-12:
            step = step / 2
        found, loss = found + step, tried
        if np.abs(step).max() < 1e-10:
            break
    slope = float(found[1] / scale)
    if slope <= 0:
        return Calibration(1.0, shift(z, share, each))
    return Calibration(slope, float(found[0] - slope * centre))


def level(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the shift of log-odds ``scores`` that makes their mean chance the observed share.

    Raises:
        NothingToLearnFrom: if ``labels`` holds a single value.
    """
    z, y = _checked(scores, labels)
    return shift(z, float(y.mean()))


def shift(scores: ArrayLike, share: float, weights: ArrayLike | None = None) -> float:
    """Return the shift of log-odds ``scores`` that makes their (weighted) mean chance ``share``.

    Raises:
        ValueError: if ``share`` is not between 0 and 1, or there is no score.
    """
    z = np.asarray(scores, dtype=float)
    if not 0 < share < 1 or not len(z):
        raise ValueError(f"no shift gives {len(z)} scores a mean chance of {share}")
    each = np.ones_like(z) if weights is None else np.asarray(weights, dtype=float)
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        mean = np.average(probability(z + middle), weights=each)
        low, high = (middle, high) if mean < share else (low, middle)
    return (low + high) / 2


def apply(calibration: Calibration, scores: ArrayLike) -> Numbers:
    """Return the calibrated log-odds of log-odds ``scores``."""
    return calibration.intercept + calibration.slope * np.asarray(scores, dtype=float)


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Numbers, Numbers]:
    z, y = np.asarray(scores, dtype=float), np.asarray(labels, dtype=float)
    if not 0 < y.sum() < len(y):
        raise NothingToLearnFrom(f"labels have a single value in {len(y)} rows; cannot calibrate")
    if not np.isfinite(z).all():
        raise ValueError(f"{(~np.isfinite(z)).sum()} of {len(z)} log-odds are not finite")
    return z, y


def _loss(z: Numbers, y: Numbers, weights: Numbers) -> float:
    return float(np.average(np.logaddexp(0, z) - y * z, weights=weights))
