"""Collaborative candidates: ALS (from implicit) and EASE, an item-to-item model.

EASE: Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data". Users come and like every
day, posts' factors are of the version: a user's place is computed from the posts' factors and
what the user has liked by now.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from jobs.feed_recommendation.history import LIKE, History

if TYPE_CHECKING:
    from implicit.cpu.als import AlternatingLeastSquares

FACTORS = 64
ITERATIONS = 12
REGULARIZATION = 0.05
CONFIDENCE = 8.0
EASE_PENALTY = 200.0
# The Gram matrix of so many posts takes 400 MB; with more there are no neighbours.
EASE_MAX_POSTS = 10_000
NEIGHBOURS = 50
SEED = 7
FILE = "collaborative.npz"

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Collaborative:
    """What was learned of the posts from likes.

    Attributes:
        post_ids: posts with at least one like, sorted.
        factors: of each, for ALS.
        neighbours: places of each post's NEIGHBOURS strongest neighbours; -1 where no more.
        weights: what a like of the post adds to the neighbour.
    """

    post_ids: NDArray[np.int64]
    factors: Matrix
    neighbours: NDArray[np.int32]
    weights: Matrix

    def users(self, likes: sparse.csr_matrix) -> Matrix:
        """Return users' ALS vectors.

        Args:
            likes: users by this model's posts, 1 where liked.
        """
        if not (self.factors.size and likes.nnz):
            return np.zeros((likes.shape[0], self.factors.shape[1]), np.float32)
        with threadpool_limits(1, "blas"):  # its own threads and those of BLAS wait for each other
            model = als()
            model.item_factors = self.factors
            vectors = model.recalculate_user(np.arange(likes.shape[0]), likes)
        return np.asarray(vectors, np.float32)


def likes_of(history: History, post_ids: NDArray[np.int64]) -> sparse.csr_matrix:
    """Return users by ``post_ids`` (sorted), 1 where the user liked the post."""
    place = np.minimum(np.searchsorted(post_ids, history.posts), max(len(post_ids) - 1, 0))
    known = post_ids[place] == history.posts if len(post_ids) else np.zeros(len(place), bool)
    liked = ((history.action & LIKE) > 0) & known[history.post]
    shape = (len(history.users), len(post_ids))
    found = sparse.csr_matrix(
        (np.ones(liked.sum(), np.float32), (history.user[liked], place[history.post[liked]])),
        shape=shape,
    )
    found.data[:] = 1  # liked on two days is liked once
    found.sort_indices()
    return found


def fit(history: History) -> Collaborative:
    """Return what the likes in ``history`` say of the posts; empty where there is none."""
    liked = np.unique(history.post[(history.action & LIKE) > 0])
    post_ids = history.posts[liked]
    likes = likes_of(history, post_ids)
    if not likes.nnz:
        return Collaborative(
            post_ids[:0],
            np.zeros((0, FACTORS), np.float32),
            np.zeros((0, NEIGHBOURS), np.int32),
            np.zeros((0, NEIGHBOURS), np.float32),
        )
    likes = likes[np.diff(likes.indptr) > 0]
    with threadpool_limits(1, "blas"):
        model = als()
        model.fit(likes, show_progress=False)
    neighbours, weights = _ease(likes)
    return Collaborative(post_ids, np.asarray(model.item_factors, np.float32), neighbours, weights)


def save(model: Collaborative, folder: Path) -> None:
    """Write the model into ``folder``."""
    np.savez(
        folder / FILE,
        post_ids=model.post_ids,
        factors=model.factors,
        neighbours=model.neighbours,
        weights=model.weights,
    )


def load(folder: Path) -> Collaborative:
    """Return the model that `save` wrote."""
    with np.load(folder / FILE) as arrays:
        return Collaborative(**dict(arrays))


def als() -> "AlternatingLeastSquares":
    """Return ALS as we fit it, unfitted."""
    from implicit.als import AlternatingLeastSquares

    # A user's row is solved by one thread, so their number changes no factor.
    return AlternatingLeastSquares(
        factors=FACTORS,
        regularization=REGULARIZATION,
        alpha=CONFIDENCE,
        iterations=ITERATIONS,
        random_state=SEED,
    )


def _ease(likes: sparse.csr_matrix) -> tuple[NDArray[np.int32], Matrix]:
    """Return each post's strongest neighbours and their weights."""
    count = likes.shape[1]
    neighbours = np.full((count, NEIGHBOURS), -1, np.int32)
    weights = np.zeros((count, NEIGHBOURS), np.float32)
    if count < 2 or count > EASE_MAX_POSTS:
        return neighbours, weights
    gram = np.asarray((likes.T @ likes).todense(), dtype=np.float32)
    gram[np.diag_indices(count)] += EASE_PENALTY
    # Inverse of a positive definite matrix, in place, by its Cholesky factor.
    factor, _ = linalg.lapack.spotrf(gram, lower=True, overwrite_a=True)
    inverse, _ = linalg.lapack.spotri(factor, lower=True, overwrite_c=True)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    learned = -inverse / np.diag(inverse)
    np.fill_diagonal(learned, 0)
    room = min(NEIGHBOURS, count - 1)
    best = np.argpartition(-learned, room - 1, axis=1)[:, :room]
    found = np.take_along_axis(learned, best, axis=1)
    order = np.lexsort((best, -found), axis=1)
    best = np.take_along_axis(best, order, axis=1)
    found = np.take_along_axis(found, order, axis=1)
    neighbours[:, :room] = np.where(found > 0, best, -1)
    weights[:, :room] = np.maximum(found, 0)
    return neighbours, weights
