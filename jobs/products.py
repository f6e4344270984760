"""Products of matrices whose every row depends on nothing but its own row.

BLAS chooses its kernel by the shape, so the last bit of a user's scores would depend on who else is
in the block, and a day made in three shards would not be the day made in one.
"""

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

# Rows that share a tile of the table while it is in the cache, and the tile's columns.
CHUNK_ROWS, TILE_COLUMNS = 8, 512


def product(rows: Matrix, table: Matrix) -> Matrix:
    """Return ``rows`` @ ``table``, each row summed in the order of the inner dimension."""
    out = np.zeros((len(rows), table.shape[1]), np.float32)
    _product(np.ascontiguousarray(rows, np.float32), np.ascontiguousarray(table, np.float32), out)
    return out


@njit(cache=True, fastmath={"contract"})
def add_products(rows: Any, table: Any, out: Any) -> None:
    """Add to ``out`` (a few rows) their products with ``table``, tile by tile."""
    inner, columns = table.shape
    for first in range(0, columns, TILE_COLUMNS):
        last = min(first + TILE_COLUMNS, columns)
        for row in range(len(rows)):
            part = out[row, first:last]
            at = 0
            while at + 4 <= inner:
                a, b, c, d = rows[row, at], rows[row, at + 1], rows[row, at + 2], rows[row, at + 3]
                ta, tb = table[at, first:last], table[at + 1, first:last]
                tc, td = table[at + 2, first:last], table[at + 3, first:last]
                for each in range(last - first):
                    part[each] += a * ta[each] + b * tb[each] + c * tc[each] + d * td[each]
                at += 4
            while at < inner:
                a, ta = rows[row, at], table[at, first:last]
                for each in range(last - first):
                    part[each] += a * ta[each]
                at += 1


@njit(cache=True, parallel=True)
def _product(rows: Any, table: Any, out: Any) -> None:
    for chunk in prange((len(rows) + CHUNK_ROWS - 1) // CHUNK_ROWS):
        first = chunk * CHUNK_ROWS
        last = min(first + CHUNK_ROWS, len(rows))
        add_products(rows[first:last], table, out[first:last])
