"""A random forest's chances, and what each column adds to them, in one walk down its trees."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Trees:
    """All trees of a forest, one after the other.

    Attributes:
        roots: place of each tree's root.
        left, right: places of a node's children; -1 of a leaf.
        column: what a node asks.
        limit: and goes left at or below.
        chance: share of positives in the node.
    """

    roots: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    column: NDArray[np.int64]
    limit: Numbers
    chance: Numbers


def trees_of(forest: RandomForestClassifier) -> Trees:
    """Return the trees of a fitted forest of two classes."""
    parts = [tree.tree_ for tree in forest.estimators_]
    roots = np.cumsum([0, *(part.node_count for part in parts[:-1])])

    def moved(children: NDArray[np.int64], root: int) -> NDArray[np.int64]:
        return np.where(children >= 0, children + root, -1)

    values = [part.value[:, 0, :] for part in parts]
    return Trees(
        roots.astype(np.int64),
        np.concatenate([moved(p.children_left, r) for p, r in zip(parts, roots, strict=True)]),
        np.concatenate([moved(p.children_right, r) for p, r in zip(parts, roots, strict=True)]),
        np.concatenate([part.feature.astype(np.int64) for part in parts]),
        np.concatenate([part.threshold for part in parts]),
        np.concatenate([value[:, 1] / value.sum(axis=1) for value in values]),
    )


def contributions(trees: Trees, matrix: NDArray[np.float32]) -> tuple[Numbers, float]:
    """Return what each column adds to each row's chance, and the chance that all begin with.

    A step from a node to its child moves the chance; the move is the asked column's (Saabas 2014).
    A row's sum and the constant are the forest's ``predict_proba``.
    """
    added = _walk(
        trees.roots,
        trees.left,
        trees.right,
        trees.column,
        trees.limit,
        trees.chance,
        np.ascontiguousarray(matrix, dtype=np.float32),
    )
    return added, float(trees.chance[trees.roots].mean())


@njit(cache=True, parallel=True)
def _walk(
    roots: Any, left: Any, right: Any, column: Any, limit: Any, chance: Any, matrix: Any
) -> Any:
    rows, columns = matrix.shape
    added = np.zeros((rows, columns))
    for row in prange(rows):
        for root in roots:
            node = root
            while left[node] >= 0:
                asked = column[node]
                then = left[node] if matrix[row, asked] <= limit[node] else right[node]
                added[row, asked] += chance[then] - chance[node]
                node = then
        for place in range(columns):
            added[row, place] /= len(roots)
    return added
