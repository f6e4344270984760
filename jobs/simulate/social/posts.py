"""The simulated feed's posts: what is drawn once for each."""

import numpy as np

from jobs.simulate.clock import DAY_US, Array, Columns, pick, stream, time_of_day
from jobs.simulate.social.words import TOPICS
from jobs.simulate.social.world import APPEALS, AUTHORS, DIMENSIONS, World, born_by

OLD_DAYS = 25  # mean age of the posts that are there at the start
OLDEST_DAYS = 120
TOPIC_SHARE = np.array([0.12, 0.14, 0.09, 0.15, 0.13, 0.08, 0.12, 0.09, 0.08])
ENGLISH = 0.4
NO_TOPIC, EMPTY, PICTURE = 0.04, 0.006, 0.45
MEDIAN_WORDS, WORDS_SD, MOST_WORDS = 75, 0.85, 5_000
QUALITY_SD = 0.36
EDITED, EDIT_DAYS = 0.05, 10  # of the posts are edited, within so many days
REMOVED, REMOVED_DAYS = 0.02, 30  # of the posts go, after so many days on average
WRITTEN = 0.3  # of the posts are by a user; the others are by editors
NEVER = np.iinfo(np.int32).max


def old(rng: np.random.Generator, number: int, start: int) -> Columns:
    """Return posts published before the time ``start``, in order."""
    age = np.minimum(rng.exponential(OLD_DAYS, number), OLDEST_DAYS - 1) * DAY_US
    published = np.sort(start - 1 - age.astype(np.int64))
    return _traits(rng, published, start // DAY_US)


def new(rng: np.random.Generator, number: int, day: int) -> Columns:
    """Return posts published on ``day``, in order."""
    return _traits(rng, np.sort(day * DAY_US + time_of_day(rng, number)), day)


def appeals(seed: int, picture: Array) -> Array:
    """Return how appealing each post's picture is, uniform in [-1, 1]; 0 where it has none."""
    drawn = stream(seed, APPEALS).uniform(-1, 1, len(picture))
    return np.where(picture, drawn, 0).astype(np.float32)


def authors(world: World, day: int, number: int) -> Array:
    """Return the place of the user who wrote each of the posts that appear on a day; -1 is none.

    Args:
        world: planned for the day.
        day: its number; on the world's first day all older posts appear as well.
        number: of posts that appear.
    """
    rng = stream(world.seed, AUTHORS, day)
    users = born_by(world, day)
    user = rng.integers(0, max(users, 1), number)
    return np.where((rng.random(number) < WRITTEN) & (user < users), user, -1)


def _traits(rng: np.random.Generator, published: Array, known: int) -> Columns:
    """Return what is drawn once for each post; nothing changes it before the day ``known``."""
    rows = len(published)
    picture = rng.random(rows) < PICTURE
    quality = rng.normal(0, QUALITY_SD, rows)
    words = np.exp(rng.normal(np.log(MEDIAN_WORDS), WORDS_SD, rows))
    words = np.clip(words, 2, MOST_WORDS).astype(np.int32)
    words[rng.random(rows) < EMPTY] = 0
    edit_day = known + 1 + rng.integers(0, EDIT_DAYS, rows)
    gone_day = known + 4 + np.minimum(rng.exponential(REMOVED_DAYS, rows), 10_000)
    return {
        "published": published.astype(np.int64),
        "topic": pick(rng, TOPIC_SHARE, rows).astype(np.int8),
        "no_topic": rng.random(rows) < NO_TOPIC,
        "english": rng.random(rows) < ENGLISH,
        "words": words,
        "picture": picture,
        "quality": quality.astype(np.float32),
        "factors": rng.normal(0, 1, (rows, DIMENSIONS)).astype(np.float32),
        "edited": np.where(rng.random(rows) < EDITED, edit_day, 0).astype(np.int32),
        "removed": np.where(rng.random(rows) < REMOVED, gone_day, NEVER).astype(np.int32),
    }


assert len(TOPIC_SHARE) == len(TOPICS)
