"""What every part of the simulation shares: days, the season, random streams by day, draws."""

from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Columns = dict[str, Array]  # one table's rows, column by column, all of one length

# purposes of random streams; below 100 is the shop's (1 is the catalog's)
EXISTING, NEWCOMERS, CAMPAIGNS, SENDS, WISHES, BASKETS, SESSIONS, DEFECTS = range(2, 10)

EPOCH = date(1970, 1, 1)
DAY_US = 86_400_000_000
# Monday to Sunday; people shop from Friday on
WEEK = np.array([0.95, 0.92, 0.92, 0.96, 1.10, 1.12, 1.03])
# share of a day's visits in each hour from 00:00, a lunch and an evening peak
HOURS = np.array(
    [
        *(1.2, 0.7, 0.4, 0.3, 0.3, 0.5, 1.1, 2.4, 3.8, 4.8, 5.4, 5.9),
        *(6.6, 6.4, 5.6, 5.1, 5.0, 5.3, 6.0, 7.0, 8.0, 7.8, 5.9, 3.2),
    ]
)
HOURS_CUMULATED = np.cumsum(HOURS / HOURS.sum())


def day_number(day: date) -> int:
    """Return the days from 1970-01-01 to ``day``."""
    return (day - EPOCH).days


def day_date(number: int) -> date:
    """Return the date ``number`` days after 1970-01-01."""
    return EPOCH + timedelta(days=int(number))


def stream(seed: int, purpose: int, day: int = 0) -> np.random.Generator:
    """Return the random stream of one purpose on one day.

    The stream is a counter-based generator keyed by its three arguments, so a day's draws are the
    same wherever, and in whatever order, the days are asked for.
    """
    if seed < 0:
        raise ValueError(f"seed {seed}: expected 0 or more")
    key = np.array([seed, (purpose << 32) + day + 2**31], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def season(days: Array) -> Array:
    """Return how much more than usual is bought on each day number; about 1 over a year."""
    dates = np.asarray(days).astype("datetime64[D]")
    day_of_year = (dates - dates.astype("datetime64[Y]")).astype(int)
    turn = 2 * np.pi * day_of_year / 365.25
    year = 1 + 0.10 * np.cos(turn - 5.4) + 0.05 * np.cos(2 * turn - 2.6)
    year = np.where((day_of_year >= 324) & (day_of_year <= 333), 1.7 * year, year)  # Black Friday
    year = np.where((day_of_year >= 3) & (day_of_year <= 38), 0.85 * year, year)  # after the feasts
    return np.asarray(year * WEEK[(np.asarray(days) + 3) % 7])


def time_of_day(rng: np.random.Generator, rows: int) -> Array:
    """Return microseconds after midnight for ``rows`` visits, with a day's rhythm."""
    hour = np.searchsorted(HOURS_CUMULATED, rng.random(rows) * HOURS_CUMULATED[-1])
    time = ((hour + rng.random(rows)) / 24 * DAY_US).astype(np.int64)
    return np.asarray(np.minimum(time, DAY_US - 1))


def pick(rng: np.random.Generator, chances: Array, rows: int) -> Array:
    """Return places in ``chances``, drawn with these chances."""
    return np.asarray(np.searchsorted(np.cumsum(chances)[:-1], rng.random(rows), side="right"))


def mix(numbers: Array) -> Array:
    """Return 64-bit numbers scattered by splitmix64 (Steele, Lea and Flood 2014)."""
    mixed = np.asarray(numbers, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def concatenate(parts: list[Columns]) -> Columns:
    """Return the rows of all parts, in order; each part has the same columns."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def take(columns: Columns, rows: Array) -> Columns:
    """Return the chosen rows (indices or a mask) of every column."""
    return {name: values[rows] for name, values in columns.items()}
