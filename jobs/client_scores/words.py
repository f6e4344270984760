"""Word2Vec (item2vec): vectors of the words in clients' sequences, such as categories bought."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WORD_SIZE = 8
WORDS_FROM = 5  # a word seen less often has no vector
SEED = 7


@dataclass(frozen=True)
class Words:
    """One vector per word that was seen often enough."""

    names: tuple[str, ...]
    vectors: NDArray[np.float32]


def learn_words(train: pd.DataFrame, column: str) -> Words | None:
    """Return vectors learned from the clients' sequences in ``column`` at the newest cutoff."""
    from gensim.models import Word2Vec

    if column not in train:
        return None
    newest = train[train["cutoff_age"] == train["cutoff_age"].min()].sort_values("client_id")
    sequences = [list(map(str, ids)) for ids in newest[column] if ids is not None]
    seen = pd.Series([word for ids in sequences for word in ids], dtype=object).value_counts()
    if (seen >= WORDS_FROM).sum() < 2:
        return None
    logging.getLogger("gensim").setLevel(logging.WARNING)  # else every epoch is a line
    learned = Word2Vec(
        sequences,
        vector_size=WORD_SIZE,
        window=5,
        min_count=WORDS_FROM,
        sg=1,
        epochs=5,
        seed=SEED,
        workers=1,
    )
    return Words(tuple(learned.wv.index_to_key), learned.wv.vectors.astype(np.float32))


def word_means(words: Words, sequences: pd.Series) -> NDArray[np.float32]:
    """Return the mean vector of each client's words; NaN without a known one."""
    lists = [() if ids is None else ids for ids in sequences]
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    owner = np.repeat(np.arange(len(lists)), lengths)
    flat = pd.Index([word for ids in lists for word in ids], dtype=object)
    places = pd.Index(words.names, dtype=object).get_indexer(flat)
    owner, places = owner[places >= 0], places[places >= 0]
    known = np.bincount(owner, minlength=len(lists))
    means = np.full((len(lists), WORD_SIZE), np.nan, dtype=np.float32)
    for column in range(WORD_SIZE):
        total = np.bincount(owner, words.vectors[places, column], minlength=len(lists))
        means[known > 0, column] = (total[known > 0] / known[known > 0]).astype(np.float32)
    return means
