"""A random forest on TF-IDF: the classic beside linear regression."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from jobs.post_conversion import rates
from jobs.post_conversion.regression import dense
from jobs.post_conversion.rows import Rows
from jobs.post_conversion.words import Words

TREES, LEAST_LEAF, COLUMNS = 120, 5, 0.1
# Of more posts than these, the newest.
MOST_POSTS = 20_000
SEED = 7

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Forest:
    """One forest for all actions.

    Attributes:
        text: TF-IDF of the texts.
        trees: the forest; its leaves hold log-odds.
        with_pictures: whether the picture is read.
    """

    text: Words
    trees: RandomForestRegressor
    with_pictures: bool

    def log_odds(self, rows: Rows) -> Numbers:
        """Return posts x actions."""
        told = self.trees.predict(_table(self.text, rows, self.with_pictures))
        return np.asarray(told.reshape(len(rows.posts), -1), float)


def fit(learned: Rows, text: Words, strengths: Numbers, with_pictures: bool) -> Forest:
    """Return the forest; a post weighs what its views are worth for the commonest action."""
    newest = np.argsort(learned.posts["published_at"].to_numpy(), kind="stable")[-MOST_POSTS:]
    rows = learned.where(np.sort(newest))
    counts, views = rows.counts(), rows.views
    wanted = np.column_stack(
        [
            rates.shrunk(
                counts[:, place],
                views,
                max(counts[:, place].sum() / max(views.sum(), 1), rates.LEAST),
                known,
            )
            for place, known in enumerate(strengths)
        ]
    )
    trees = RandomForestRegressor(
        TREES, min_samples_leaf=LEAST_LEAF, max_features=COLUMNS, n_jobs=2, random_state=SEED
    )
    trees.fit(
        _table(text, rows, with_pictures), wanted,
        sample_weight=rates.worth(views, float(strengths[int(counts.sum(axis=0).argmax())])),
    )  # fmt: skip
    # Trees are added up by threads in any order otherwise, and the last bit differs.
    trees.set_params(n_jobs=1)
    return Forest(text, trees, with_pictures)


def _table(text: Words, rows: Rows, with_pictures: bool) -> sp.csr_matrix:
    return sp.hstack(
        [text.table_of(rows), sp.csr_matrix(dense(rows, with_pictures))], format="csr"
    ).astype(np.float32)
