"""What moved a prediction most: words, how a text looks, its topic, its picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.calibration import Calibration
from jobs.post_conversion.boosting import Boosting
from jobs.post_conversion.regression import Regression
from jobs.post_conversion.rows import Rows

MOST = 5
# Columns of a vector say nothing one by one: they are one reason together.
TOGETHER = ("text", "picture")

Numbers = NDArray[np.float64]
Reasons = list[tuple[list[str], list[float]]]


def of_rows(one: Any, place: int, rows: Rows, calibration: Calibration) -> Reasons | None:
    """Return each post's MOST largest contributions to the calibrated log-odds of one action.

    Returns:
        Names and contributions, largest first; None where the model has none that add up.
    """
    if isinstance(one, Regression):
        table = one.table(rows).multiply(one.weights[place]).tocsr()
        names = np.array(one.names(rows), dtype=object)
        parts = (
            (names[table.indices[first:last]], table.data[first:last])
            for first, last in zip(table.indptr, table.indptr[1:], strict=False)
        )
    elif isinstance(one, Boosting):
        found = one.contributions(rows, place)[:, :-1]
        names = np.array(one.names(rows), dtype=object)
        parts = ((names, row) for row in found)
    else:
        return None
    return [_largest(told, row * calibration.slope) for told, row in parts]


def _largest(told: NDArray[Any], contributions: Numbers) -> tuple[list[str], list[float]]:
    """Return the largest of them, those of TOGETHER added up; ties by name."""
    names, values = told, np.asarray(contributions, float)
    for whole in TOGETHER:
        of_it = names == whole
        if of_it.sum() > 1:
            total = values[of_it].sum()
            names = np.append(names[~of_it], whole)
            values = np.append(values[~of_it], total)
    kept = np.flatnonzero(values)
    order = kept[np.lexsort([names[kept].astype(str), -np.abs(values[kept])])][:MOST]
    return names[order].tolist(), values[order].tolist()
