"""What moved a prediction most: words, how a text looks, its topic, its picture."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from jobs.calibration import Calibration
from jobs.post_conversion.boosting import Boosting
from jobs.post_conversion.regression import Regression
from jobs.post_conversion.rows import Flags, Rows

MOST = 5
# What a model says of a picture that is not there is a reason, too.
PICTURE, NO_PICTURE = "picture", "no picture"

Numbers = NDArray[np.float64]


class Reasons(NamedTuple):
    """The largest contributions to each post's log-odds, largest first; ties by name.

    Attributes:
        features: a list of names a post.
        contributions: a list of numbers (float32) a post.
        sums: of each post's contributions.
    """

    features: pa.ListArray
    contributions: pa.ListArray
    sums: Numbers


def of_rows(one: Any, place: int, rows: Rows, calibration: Calibration) -> Reasons | None:
    """Return each post's MOST largest contributions to the calibrated log-odds of one action.

    Columns of one name are one reason together: those of a vector say nothing one by one.

    Returns:
        None where the model has none that add up.
    """
    if isinstance(one, Regression):
        table = one.table(rows).multiply(one.weights[place]).tocsr()
    elif isinstance(one, Boosting):
        table = sp.csr_matrix(one.contributions(rows, place)[:, :-1])
    else:
        return None
    names, group = np.unique(np.array(one.names(rows), dtype=str), return_inverse=True)
    columns = np.arange(len(group))
    alike = sp.csr_matrix((np.ones(len(group)), (columns, group)), (len(group), len(names)))
    return _largest(names, (table @ alike) * calibration.slope, rows.has_picture)


def _largest(names: NDArray[np.str_], table: sp.csr_matrix, has_picture: Flags) -> Reasons:
    """Return the largest of each row; ``names`` of the columns are in their order."""
    table.sort_indices()
    counts = np.diff(table.indptr)
    row = np.repeat(np.arange(len(counts)), counts)
    left = np.abs(table.data)
    filled = np.flatnonzero(counts)
    starts = table.indptr[filled]
    taken = []
    for _ in range(MOST if len(left) else 0):
        most = np.zeros(len(counts))
        most[filled] = np.maximum.reduceat(left, starts)
        found = np.flatnonzero((left == most[row]) & (left > 0))
        # Of equal ones the first by name.
        found = found[np.unique(row[found], return_index=True)[1]]
        taken.append(found)
        left[found] = 0
    chosen = np.concatenate(taken) if taken else np.zeros(0, np.intp)
    rank = np.repeat(np.arange(len(taken)), [len(each) for each in taken])
    chosen = chosen[np.lexsort([rank, row[chosen]])]
    value = table.data[chosen].astype(np.float32)
    ends = np.cumsum(np.bincount(row[chosen], minlength=len(counts)))
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    name = table.indices[chosen]
    name = np.where((names[name] == PICTURE) & ~has_picture[row[chosen]], len(names), name)
    told = pa.DictionaryArray.from_arrays(
        pa.array(name, pa.int32()), pa.array([*names.tolist(), NO_PICTURE], pa.string())
    ).dictionary_decode()
    return Reasons(
        pa.ListArray.from_arrays(offsets, told),
        pa.ListArray.from_arrays(offsets, pa.array(value, pa.float32())),
        np.asarray(np.bincount(row[chosen], weights=value, minlength=len(counts)), float),
    )
