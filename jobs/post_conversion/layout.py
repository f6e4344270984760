"""What a text looks like, in any language: length, links, mentions, emoji, shouting."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LINK = re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE)
# @name, and VK's [id1|name] and [club1|name].
MENTION = re.compile(r"(?<!\w)@\w+|\[(?:id|club|public)\d+\|[^\]]*\]")
HASHTAG = re.compile(r"(?<!\w)#\w+")
EMOJI = re.compile("[\U0001f1e6-\U0001faff\u2600-\u27bf\u2b00-\u2bff\ufe0f]")
WORD = re.compile(r"[^\W\d_]+")
CYRILLIC = re.compile(r"[\u0400-\u04ff]")
# A text of a megabyte says what it looks like within its beginning.
MAX_CHARACTERS = 20_000
NAMES = (
    "text_length", "words", "lines", "word_length", "links", "mentions", "hashtags", "emoji",
    "exclamations", "questions", "digit_share", "upper_share", "cyrillic_share", "no_text",
)  # fmt: skip

Numbers = NDArray[np.float32]


def layout(texts: Sequence[str]) -> Numbers:
    """Return one row of NAMES for each text; counts as the logarithm of one more."""
    return np.array([_of(text[:MAX_CHARACTERS]) for text in texts], np.float32).reshape(
        len(texts), len(NAMES)
    )


def plain(text: str) -> str:
    """Return the text with links and mentions as one word each: which one it is says little."""
    return MENTION.sub(" mention ", LINK.sub(" link ", text[:MAX_CHARACTERS]))


def _of(text: str) -> list[float]:
    words = WORD.findall(text)
    letters = sum(map(len, words))
    counts = [
        len(text),
        len(words),
        text.count("\n"),
        letters / max(len(words), 1),
        *(len(each.findall(text)) for each in (LINK, MENTION, HASHTAG, EMOJI)),
        text.count("!"),
        text.count("?"),
    ]
    size = max(len(text), 1)
    return [
        *np.log1p(counts),
        sum(map(str.isdigit, text)) / size,
        sum(map(str.isupper, text)) / max(letters, 1),
        len(CYRILLIC.findall(text)) / max(letters, 1),
        float(not words),
    ]
