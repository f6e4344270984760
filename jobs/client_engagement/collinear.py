"""Multicollinearity: numbers that the others determine go, one by one."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

LIMIT = 10.0  # Kutner et al. (2004): from here on a coefficient's variance is all but lost
LEAST_SPREAD = 1e-9
INFINITE = 1e10  # what is left over then is rounding


def inflation(numbers: pd.DataFrame, limit: float = LIMIT) -> pd.DataFrame:
    """Return each number's variance inflation factor, and which go for it, in which order.

    The largest factor goes first and the others are counted anew, until none is above ``limit``.
    A number that never varies goes at the beginning: it explains nothing.

    Args:
        numbers: one column per number, none missing, as linear models see them.
        limit: the largest factor that stays.

    Returns:
        feature, vif (when it was dropped, or at the end; infinite where the others determine it,
        NaN where it never varies) and dropped (1 first; NA where it stays), in the order of
        ``numbers``.
    """
    values = numbers.to_numpy(dtype=float)
    spread = values.std(axis=0)
    varies = spread > LEAST_SPREAD
    names = list(numbers.columns)
    still = [name for name, moves in zip(names, varies, strict=True) if not moves]
    found: dict[str, tuple[float, int | None]] = {
        name: (np.nan, place) for place, name in enumerate(still, start=1)
    }
    kept = list(np.flatnonzero(varies))
    standard = (values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept]
    # R has the inner products of all rows, on which alone the factors rest. With a row of zeros
    # no constant can be made of its columns, which statsmodels would take for an intercept.
    triangle = np.linalg.qr(standard, mode="r") if kept else np.zeros((0, 0))
    triangle = np.vstack([triangle, np.zeros(len(kept))])
    while len(kept) > 1:
        worst = _worst(triangle)
        factor = _factor(triangle, worst)
        if factor <= limit:
            break
        found[names[kept[worst]]] = (factor, len(found) + 1)
        triangle = np.delete(triangle, worst, axis=1)
        del kept[worst]
    for at, place in enumerate(kept):
        found[names[place]] = (_factor(triangle, at) if len(kept) > 1 else 1.0, None)
    rows = [(name, *found[name]) for name in numbers.columns]
    table = pd.DataFrame(rows, columns=["feature", "vif", "dropped"])
    return table.astype({"vif": float, "dropped": "Int64"})


def _worst(triangle: NDArray[np.float64]) -> int:
    """Return which column the others determine most: the largest of the inverse's diagonal."""
    inner = triangle.T @ triangle
    inner += 1e-12 * np.trace(inner) * np.eye(len(inner))
    return int(np.diag(np.linalg.inv(inner)).argmax())


def _factor(triangle: NDArray[np.float64], column: int) -> float:
    """Return a column's variance inflation factor."""
    from statsmodels.stats.outliers_influence import variance_inflation_factor

    with np.errstate(divide="ignore"), warnings.catch_warnings(), threadpool_limits(1):
        # That numbers determine each other is what is being looked for.
        warnings.simplefilter("ignore", UserWarning)
        # It would centre the triangle's rows, which are no clients.
        factor = float(variance_inflation_factor(triangle, column, standardize=False))
    return factor if factor < INFINITE else np.inf
