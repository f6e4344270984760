"""Texts as numbers that need no vocabulary: hashed words, in any language."""

import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

BUCKETS = 2**15
# A text of 100,000 characters says what it is about within its first words.
MAX_WORDS = 256
STEM = 5
WORD = re.compile(r"[^\W\d_]{2,}|\d+")


def words(text: str) -> list[str]:
    """Return the first MAX_WORDS words of a text, in lower case; Russian and English alike.

    Words are cut after STEM letters, which takes most endings off in either language.
    """
    found = []
    for match in WORD.finditer(text):
        found.append(
            match.group()
            .lower()
            .replace("\N{CYRILLIC SMALL LETTER IO}", "\N{CYRILLIC SMALL LETTER IE}")[:STEM]
        )
        if len(found) == MAX_WORDS:
            break
    return found


def hashed(texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the buckets of all texts' words one after the other, and where each text starts.

    Bucket 0 is for a text without words, so that every text has at least one.
    """
    buckets: list[int] = []
    starts = [0]
    for text in texts:
        found = [1 + crc32(word.encode()) % (BUCKETS - 1) for word in words(text)]
        buckets += found or [0]
        starts.append(len(buckets))
    return np.array(buckets, np.int32), np.array(starts, np.int64)
