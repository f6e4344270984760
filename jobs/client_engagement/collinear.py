"""Multicollinearity: numbers that the others determine go, one by one."""

import warnings

import numpy as np
import pandas as pd

LIMIT = 10.0  # Kutner et al. (2004): from here on a coefficient's variance is all but lost
LEAST_SPREAD = 1e-9


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
    from statsmodels.stats.outliers_influence import variance_inflation_factor

    values = numbers.to_numpy(dtype=float)
    spread = values.std(axis=0)
    found: dict[str, tuple[float, int | None]] = {}
    kept = []
    for place, name in enumerate(numbers.columns):
        if spread[place] > LEAST_SPREAD:
            kept.append(place)
        else:
            found[name] = (np.nan, len(found) + 1)
    standard = (values - values.mean(axis=0)) / np.where(spread > LEAST_SPREAD, spread, 1)
    # R has the inner products of all rows, on which alone the factors rest. With a row of zeros
    # no constant can be made of its columns, which statsmodels would take for an intercept.
    triangle = np.linalg.qr(standard[:, kept], mode="r")
    triangle = np.vstack([triangle, np.zeros(len(kept))])
    while kept:
        with np.errstate(divide="ignore"), warnings.catch_warnings():
            # That numbers determine each other is what is being looked for.
            warnings.simplefilter("ignore", UserWarning)
            factors = [variance_inflation_factor(triangle, at) for at in range(len(kept))]
        worst = int(np.argmax(factors))
        if len(kept) == 1 or factors[worst] <= limit:
            for place, factor in zip(kept, factors, strict=True):
                found[numbers.columns[place]] = (float(factor), None)
            break
        found[numbers.columns[kept[worst]]] = (float(factors[worst]), len(found) + 1)
        triangle = np.delete(triangle, worst, axis=1)
        del kept[worst]
    rows = [(name, *found[name]) for name in numbers.columns]
    table = pd.DataFrame(rows, columns=["feature", "vif", "dropped"])
    return table.astype({"vif": float, "dropped": "Int64"})
