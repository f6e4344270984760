"""Texts as TF-IDF of words and of pieces of words, in any language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from jobs.feed_recommendation.text import words
from jobs.post_conversion.layout import plain
from jobs.post_conversion.rows import Rows

MOST_WORDS, MOST_PIECES = 4_000, 4_000
LEAST_POSTS = 3
# Pieces of a text's beginning: they cost more than words, and say the same again.
PIECE_CHARACTERS = 2_000


@dataclass(frozen=True, eq=False)
class Words:
    """The words and pieces that training posts use; one matrix column each."""

    by_word: TfidfVectorizer
    by_piece: TfidfVectorizer

    def table(self, texts: Sequence[str]) -> Any:
        """Return a sparse matrix, texts x (words and pieces)."""
        cleaned = [plain(text) for text in texts]
        pieces = self.by_piece.transform(each[:PIECE_CHARACTERS] for each in cleaned)
        return sp.hstack([self.by_word.transform(cleaned), pieces], format="csr", dtype=np.float32)

    def table_of(self, rows: Rows) -> Any:
        """Return `table` of the posts' texts; made once, since several models ask for it."""
        if self not in rows.tables:
            rows.tables[self] = self.table(rows.texts)
        return rows.tables[self]

    def names(self) -> list[str]:
        """Return what the columns are called."""
        return [
            *(f"word {each}" for each in self.by_word.get_feature_names_out()),
            *(f"letters {each.strip()!r}" for each in self.by_piece.get_feature_names_out()),
        ]


def fit(texts: Sequence[str]) -> Words:
    """Return the words and pieces of texts; with too few texts those of an empty vocabulary."""
    cleaned = [plain(text) for text in texts]
    by_word = TfidfVectorizer(
        analyzer=words, sublinear_tf=True, min_df=LEAST_POSTS, max_features=MOST_WORDS
    )
    by_piece = TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 4),
        sublinear_tf=True,
        min_df=LEAST_POSTS,
        max_features=MOST_PIECES,
    )
    for one, read in (
        (by_word, cleaned),
        (by_piece, [each[:PIECE_CHARACTERS] for each in cleaned]),
    ):
        try:
            one.fit(read)
        except ValueError:  # no word is in enough texts
            one.set_params(vocabulary=["\0"], min_df=1).fit(["\0"])
    return Words(by_word, by_piece)
