"""The texts of posts: most words say nothing, some name the topic, a few betray the factors."""

from functools import cache

import numpy as np

from jobs.simulate.clock import stream
from jobs.simulate.social.words import (
    ENDINGS,
    FACTOR_STEMS,
    FUNCTION_WORDS,
    GENERAL_STEMS,
    RUSSIAN,
    TOPIC_STEMS,
)
from jobs.simulate.social.world import TEXTS, World

# shares of a text's words; the rest are function words
TOPIC_WORDS, FACTOR_WORDS, GENERAL_WORDS = 0.13, 0.19, 0.25
OTHER_TOPIC = 0.15  # of the topic words are of any topic
LEAN = 1.4  # a word of a pole is exp(LEAN) times as likely for each unit of the factor
SENTENCE_WORDS = 11
EDIT_WORDS = (2, 20)
EDIT_SIGN = ("Обновлено:", "Update:")


def text(world: World, post: int, day: int) -> str:
    """Return a post's text as it is on a day, an edit of that day included."""
    rng = stream(world.seed, TEXTS, post)
    language = int(world.english[post])
    found = _write(world, post, rng, language, int(world.words[post]))
    if 0 < world.edited[post] <= day:
        more = _write(world, post, rng, language, int(rng.integers(*EDIT_WORDS)))
        found = f"{found} {EDIT_SIGN[language]} {more}".strip()
    return found


def _write(world: World, post: int, rng: np.random.Generator, language: int, words: int) -> str:
    """Return so many words of a post, in sentences."""
    function, general, topics, poles = _vocabulary(language)
    kind = rng.random(words)
    draw = rng.random(words)
    # the first ending of the list is the most frequent
    ending = (len(ENDINGS[language]) * rng.random(words) ** 2).astype(np.int64)
    any_topic = rng.integers(0, len(topics), words)
    topic = np.where(rng.random(words) < OTHER_TOPIC, any_topic, int(world.topic[post]))
    lean = LEAN * world.factors[post].astype(float)
    weight = np.exp(np.stack([lean, -lean], axis=1).ravel())
    pole = np.searchsorted(np.cumsum(weight / weight.sum())[:-1], rng.random(words))
    breaks = rng.random(words) < 1 / SENTENCE_WORDS
    parts: list[str] = []
    begins = True
    for place in range(words):
        if kind[place] < FACTOR_WORDS:
            word = _form(_one(poles[pole[place]], draw[place]), language, ending[place])
        elif kind[place] < FACTOR_WORDS + TOPIC_WORDS:
            word = _form(_one(topics[topic[place]], draw[place]), language, ending[place])
        elif kind[place] < FACTOR_WORDS + TOPIC_WORDS + GENERAL_WORDS:
            word = _form(_one(general, draw[place]), language, ending[place])
        else:
            # as in any language, the first words of the list are the most frequent
            word = function[int(len(function) * draw[place] ** 2)]
        if begins:
            word = word.capitalize()
        begins = bool(breaks[place]) or place == words - 1
        parts.append(word + "." if begins else word)
    return " ".join(parts)


def _one(stems: tuple[str, ...], draw: float) -> str:
    return stems[int(len(stems) * draw)]


def _form(stem: str, language: int, ending: int) -> str:
    """Return a stem with one of its language's endings, if it takes it."""
    added = ENDINGS[language][ending]
    if language == RUSSIAN:
        return stem if stem[-1] in "аеийоуыэюяь" else stem + added
    if added in ("ed", "ing") and stem[-1] == "e":
        return stem[:-1] + added
    return stem[:-1] + "ies" if added == "s" and stem[-1] == "y" else stem + added


@cache
def _vocabulary(
    language: int,
) -> tuple[
    tuple[str, ...], tuple[str, ...], tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]
]:
    """Return function words, general stems, stems by topic and stems by pole."""

    def split(texts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(line.split()) for line in texts)

    return (
        tuple(FUNCTION_WORDS[language].split()),
        tuple(GENERAL_STEMS[language].split()),
        split(TOPIC_STEMS[language]),
        split(FACTOR_STEMS[language]),
    )
