"""The simulated feed's users: traits drawn at registration, and what changes later."""

from typing import NamedTuple

import numpy as np

from jobs.simulate.clock import Array, Columns, pick, stream
from jobs.simulate.social.words import TOPICS
from jobs.simulate.social.world import (
    CITIES,
    CITY_COUNTRY,
    CITY_SHARE,
    COEFFICIENTS,
    COUNTRIES,
    COUNTRY_SHARE,
    DIMENSIONS,
    GROUPS,
    MOVES,
    World,
    born_by,
)

# Sessions a day follow a power law: the chance of more than r is (LEAST / r) ** POWER.
POWER = 1.25
LEAST_SESSIONS, MOST_SESSIONS = 0.48, 6.0
GENEROUS_SD = 0.4
DEMOGRAPHIC = 0.3  # of the variance of taste is explained by what user_data says
PEAKS = np.array([8.0, 13.0, 19.5, 22.5])  # local hours of four kinds of people
PEAK_SHARE = np.array([0.2, 0.2, 0.4, 0.2])
MOVED = 1 / 1_200  # of the users move to another city of their country, a day
NO_CITY = 0.005


class Coefficients(NamedTuple):
    """How user_data's columns move taste; one row per cause, a column per topic or factor."""

    number: Array  # age, age squared, gender, os, source
    country: Array
    city: Array
    group: Array


def coefficients(seed: int) -> Coefficients:
    """Return the world's own effects of demographics on topic taste and latent taste."""
    rng = stream(seed, COEFFICIENTS)
    wide = len(TOPICS) + DIMENSIONS

    def effects(rows: int, size: float) -> Array:
        return np.asarray(rng.normal(0, size, (rows, wide)))

    number = effects(5, 1.0) * np.array([[0.55], [0.3], [0.6], [0.25], [0.15]])
    return Coefficients(
        number, effects(len(COUNTRIES), 0.3), effects(len(CITIES), 0.2), effects(GROUPS, 0.2)
    )


def traits(rng: np.random.Generator, birth: Array, effects: Coefficients) -> Columns:
    """Return what is drawn once for each user registered on ``birth``."""
    rows = len(birth)
    age = np.minimum(14 + rng.gamma(2.2, 6.0, rows), 95).astype(np.int16)
    gender = (rng.random(rows) < 0.55).astype(np.int8)
    country = pick(rng, COUNTRY_SHARE, rows)
    city = city_of(rng.random(rows), country)
    ios = (rng.random(rows) < 0.28 + 0.12 * gender - 0.004 * (age - 27)).astype(np.int8)
    organic = (rng.random(rows) < 0.38 + 0.004 * (age - 27)).astype(np.int8)
    group = rng.integers(0, GROUPS, rows).astype(np.int8)
    years = (age - 27.0) / 9.0
    numbers = np.stack(
        [years, np.minimum(years**2, 4) - 0.9, gender * 2 - 1, ios * 2 - 1, organic * 2 - 1], axis=1
    )
    explained = numbers @ effects.number + effects.country[country]
    explained += effects.city[city] + effects.group[group]
    own = rng.normal(0, 1, explained.shape)
    taste = np.sqrt(DEMOGRAPHIC) * explained + np.sqrt(1 - DEMOGRAPHIC) * own
    rate = LEAST_SESSIONS * rng.random(rows) ** (-1 / POWER)
    peak = PEAKS[pick(rng, PEAK_SHARE, rows)] + rng.normal(0, 1, rows)
    return {
        "birth": birth,
        "age": age,
        "birthday": rng.integers(0, 365, rows).astype(np.int16),
        "gender": gender,
        "city": city.astype(np.int8),
        "os": ios,
        "source": organic,
        "exp_group": group,
        "no_city": rng.random(rows) < NO_CITY,
        "rate": np.minimum(rate, MOST_SESSIONS).astype(np.float32),
        "peak": peak.astype(np.float32),
        "generous": rng.normal(0, GENEROUS_SD, rows).astype(np.float32),
        "topic_taste": taste[:, : len(TOPICS)].astype(np.float32),
        "taste": taste[:, len(TOPICS) :].astype(np.float32),
    }


def city_of(chance: Array, country: Array) -> Array:
    """Return a city of each country, by the cities' sizes; ``chance`` is uniform on [0, 1)."""
    first = np.searchsorted(CITY_COUNTRY, country)
    cumulated = np.cumsum(CITY_SHARE)
    # every country's shares sum to 1, so its cities span [country, country + 1)
    place = np.searchsorted(cumulated, country + chance, side="right")
    last = np.searchsorted(CITY_COUNTRY, country, side="right") - 1
    return np.asarray(np.clip(place, first, last))


def age_on(world: World, user: Array, day: int) -> Array:
    """Return each user's age on a day."""
    birthday = world.birthday[user].astype(np.int64)
    since = (day - birthday) // 365 - (world.birth[user] - birthday) // 365
    return np.asarray(world.age[user] + since)


def birthdays(world: World, day: int) -> Array:
    """Return the users registered before a day who turn a year older on it."""
    before = born_by(world, day - 1)
    return np.flatnonzero(world.birthday[:before] == day % 365)


def moves(world: World, day: int) -> tuple[Array, Array]:
    """Return the users registered before a day who move on it, and their new cities."""
    before = born_by(world, day - 1)
    rng = stream(world.seed, MOVES, day)
    user = np.flatnonzero(rng.random(before) < MOVED)
    city = city_of(rng.random(len(user)), CITY_COUNTRY[world.city[user]])
    known = ~world.no_city[user]
    return user[known], city[known]
