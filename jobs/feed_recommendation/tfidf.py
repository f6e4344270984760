"""The control's text encoder: TF-IDF, reduced by a truncated singular value decomposition."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from jobs.feed_recommendation.text import words

DIMENSIONS = 32
MAX_WORDS = 20_000
SEED = 7
FILE = "tfidf"

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Tfidf:
    """A fitted encoder: the words it knows, their weights, and the axes they are reduced to."""

    vocabulary: dict[str, int]
    idf: NDArray[np.float64]
    axes: Matrix

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one row of length 1 for each text; zeros where it has no known word."""
        if not texts:
            return np.zeros((0, self.axes.shape[1]), np.float32)
        vectorizer = _vectorizer(self.vocabulary)
        vectorizer.idf_ = self.idf
        found = np.asarray(vectorizer.transform(texts) @ self.axes, np.float32)
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.where(length > 0, length, 1), np.float32)


def fit(texts: Sequence[str]) -> Tfidf:
    """Return an encoder of the words of ``texts``; what it makes is of DIMENSIONS or fewer.

    With no words at all it knows none, and every text becomes zeros.
    """
    known = sorted({word for text in texts for word in words(text)})
    if not known:
        return Tfidf({"": 0}, np.ones(1), np.zeros((1, DIMENSIONS), np.float32))
    vectorizer = _vectorizer(None)
    weights = vectorizer.fit_transform(texts)
    axes = np.zeros((weights.shape[1], DIMENSIONS), np.float32)
    room = min(DIMENSIONS, min(weights.shape) - 1)
    if room > 0:
        reduced = TruncatedSVD(room, random_state=SEED).fit(weights)
        axes[:, :room] = reduced.components_.T
    vocabulary = {word: int(place) for word, place in vectorizer.vocabulary_.items()}
    return Tfidf(vocabulary, vectorizer.idf_, axes)


def save(encoder: Tfidf, folder: Path) -> None:
    """Write the encoder into ``folder``."""
    (folder / f"{FILE}.json").write_text(json.dumps(encoder.vocabulary, ensure_ascii=False))
    np.savez(folder / f"{FILE}.npz", idf=encoder.idf, axes=encoder.axes)


def load(folder: Path) -> Tfidf:
    """Return the encoder that `save` wrote."""
    vocabulary = json.loads((folder / f"{FILE}.json").read_text())
    with np.load(folder / f"{FILE}.npz") as arrays:
        return Tfidf(vocabulary, arrays["idf"], arrays["axes"])


def _vectorizer(vocabulary: dict[str, int] | None) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer=words, sublinear_tf=True, max_features=MAX_WORDS, vocabulary=vocabulary
    )
