"""Linear regression of log-odds on words and what a post looks like: plain, and ridge."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge

from jobs.post_conversion import rates
from jobs.post_conversion.rows import Rows, numbers
from jobs.post_conversion.words import Words

# Penalties that a ridge chooses from, by how it foretells later posts.
PENALTIES = (1.0, 10.0, 100.0, 1_000.0)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Regression:
    """One linear model for each action, on the same columns.

    Attributes:
        text: TF-IDF that the first columns are of; None: vectors of the encoder ``source``.
        source: name of a text encoder.
        centre: means of the numbers and of the picture's.
        scale: their standard deviations.
        weights: actions x columns.
        intercepts: one for each action.
        with_pictures: whether the picture is read.
    """

    text: Words | None
    source: str
    centre: Numbers
    scale: Numbers
    weights: Numbers
    intercepts: Numbers
    with_pictures: bool

    def log_odds(self, rows: Rows) -> Numbers:
        """Return posts x actions."""
        return np.asarray(self.table(rows) @ self.weights.T + self.intercepts, float)

    def table(self, rows: Rows) -> Any:
        """Return the columns, sparse: texts, then numbers, then the picture."""
        scaled = (dense(rows, self.with_pictures) - self.centre) / self.scale
        first = self.text.table_of(rows) if self.text else sp.csr_matrix(rows.vectors[self.source])
        return sp.hstack([first, sp.csr_matrix(scaled)], format="csr")

    def names(self, rows: Rows) -> list[str]:
        """Return what the columns are called; those of a vector by what it is of."""
        width = self.weights.shape[1]
        first = self.text.names() if self.text else ["text"] * rows.vectors[self.source].shape[1]
        told = [*first, *numbers(rows.actions)]
        return told + ["picture"] * (width - len(told))


def dense(rows: Rows, with_pictures: bool) -> Numbers:
    """Return the numbers of posts and, if wanted, whether there is a picture and its vector."""
    parts = [rows.layout]
    if with_pictures:
        parts += [rows.has_picture[:, None].astype(np.float32), rows.picture]
    return np.hstack(parts).astype(float)


def fit(
    learned: Rows,
    chosen_by: Rows,
    text: Words | None,
    source: str,
    strengths: Numbers,
    with_pictures: bool,
    plain: bool = False,
) -> Regression:
    """Return the regression; a ridge's penalty is that of the least loss on ``chosen_by``.

    Args:
        learned: posts to fit.
        chosen_by: later posts.
        text: TF-IDF of the texts, or None to read the vectors of ``source``.
        source: name of a text encoder.
        strengths: by action, how many views a prediction is worth.
        with_pictures: whether to read pictures.
        plain: least squares without a penalty.
    """
    read = dense(learned, with_pictures)
    centre, scale = read.mean(axis=0), read.std(axis=0)
    frame = Regression(
        text, source, centre, np.where(scale > 1e-9, scale, 1), np.zeros((0, 0)), np.zeros(0),
        with_pictures,
    )  # fmt: skip
    table, later = frame.table(learned), frame.table(chosen_by)
    counts, views = learned.counts(), learned.views
    weights, intercepts = [], []
    for place, known in enumerate(strengths):
        rate = counts[:, place].sum() / max(views.sum(), 1)
        wanted = rates.shrunk(
            counts[:, place], views, np.clip(rate, rates.LEAST, rates.MOST), known
        )
        worth = rates.worth(views, known)
        models = [LinearRegression()] if plain else [Ridge(penalty) for penalty in PENALTIES]
        found = []
        for one in models:
            one.fit(table, wanted, sample_weight=worth / worth.mean())
            told = rates.rate_of(one.predict(later))
            lost = rates.loss(chosen_by.counts()[:, place], chosen_by.views, told).sum()
            found.append((lost, one))
        best = min(found, key=lambda each: each[0])[1]
        weights.append(best.coef_)
        intercepts.append(best.intercept_)
    return Regression(
        text, source, centre, frame.scale, np.array(weights), np.array(intercepts), with_pictures
    )
