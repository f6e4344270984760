"""The test's text encoder where a pretrained one is configured: sentences, in place of words.

The encoder (`pretrained`) is not trained any further. Learned here are the axes that its vectors
are reduced to, the main one first, and the user tower (`two_tower.fit_users`): what a user's likes
and other views say of the vectors the user will like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.feed_recommendation import pretrained, two_tower
from jobs.feed_recommendation.features import TEXT_DIMENSIONS
from jobs.feed_recommendation.history import History
from jobs.feed_recommendation.pretrained import encoded, unit

DIMENSIONS = 64
FILE, MODEL_FOLDER = "sentence.npz", "sentence"

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Sentence:
    """A pretrained encoder and what was learned on top of it.

    Attributes:
        folder: of the encoder.
        axes: its dimensions by ours.
        weights: of the user tower.
        known: vectors of the texts that were asked for last: the days of a training share them.
    """

    folder: Path
    axes: Matrix
    weights: Mapping[str, Matrix]
    known: dict[str, Matrix] = field(default_factory=dict, repr=False, compare=False)

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one row of length 1 for each text."""
        if not texts:
            return np.zeros((0, self.axes.shape[1]), np.float32)
        wanted = dict.fromkeys(texts)
        new = [each for each in wanted if each not in self.known]
        made = unit(encoded(self.folder, new) @ self.axes) if new else ()
        found = self.known | dict(zip(new, made, strict=True))
        self.known.clear()
        self.known.update((each, found[each]) for each in wanted)
        return np.stack([self.known[each] for each in texts])

    def users(self, liked: Matrix, passed: Matrix, traits: Matrix) -> Matrix:
        """Return users' vectors, see `two_tower.TwoTower.users`."""
        return two_tower.place_users(self.weights, liked, passed, traits)


def fit(
    folder: Path,
    texts: Sequence[str],
    users: pd.DataFrame,
    history: History,
    last_day: int,
    period: int = 1,
) -> Sentence:
    """Return the encoder in ``folder`` with axes of these texts and a user tower for them.

    Args:
        folder: what `pretrained.configured` returned.
        texts: as for `two_tower.fit`; so are the others.
        users: rows of users.sql.
        history: what happened up to ``last_day``.
        last_day: the last day to learn from.
        period: days that count as one.
    """
    distinct = list(dict.fromkeys(texts))
    raw = encoded(folder, distinct)
    axes = _axes(raw)
    known = dict(zip(distinct, unit(raw @ axes), strict=True))
    vectors = np.stack([known[each] for each in texts])
    weights = two_tower.fit_users(vectors, users, history, last_day, period)
    return Sentence(folder, axes, weights, known)


def save(encoder: Sentence, folder: Path) -> None:
    """Write the encoder into ``folder``, what it was trained from with it."""
    pretrained.copy(encoder.folder, folder / MODEL_FOLDER)
    weights = {"axes": encoder.axes, **encoder.weights}
    np.savez(folder / FILE, **weights)  # type: ignore[arg-type]


def load(folder: Path) -> Sentence:
    """Return the encoder that `save` wrote."""
    with np.load(folder / FILE) as arrays:
        weights = dict(arrays)
    return Sentence(folder / MODEL_FOLDER, weights.pop("axes"), weights)


def _axes(raw: Matrix) -> Matrix:
    """Return the main axes of the rows, up to DIMENSIONS, the main one first.

    Where the rows are shorter than the ranker's features of a text, axes of zeros follow.
    """
    _, axes = np.linalg.eigh(raw.T.astype(np.float64) @ raw)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    # An axis may point either way: its largest part is positive.
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    lacking = max(0, TEXT_DIMENSIONS - axes.shape[1])
    return np.pad(axes * np.sign(largest), ((0, 0), (0, lacking))).astype(np.float32)
