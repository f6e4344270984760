"""The shop's clients: the traits drawn at birth, and who is born and alive on a day."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from jobs.simulate.catalog import GROUPS, Catalog, catalog
from jobs.simulate.clock import (
    EXISTING,
    NEWCOMERS,
    Array,
    Columns,
    concatenate,
    day_number,
    pick,
    stream,
)
from jobs.simulate.codes import COMPLAIN, HARD_BOUNCE, UNSUBSCRIBE

# A prospect only signed up, the others began with a purchase.
PROSPECT, ONE_OFF, REGULAR = range(3)
FIRST_CLIENT_ID = 10_000_000
NEW_SHARE = 0.22  # of ``clients`` arrive in the REFERENCE_DAYS after the start, at an even pace
REFERENCE_DAYS = 540
OLDEST_DAYS = 1_400  # the shop's age at the start
SEGMENT_SHARE = np.array([0.60, 0.18, 0.22])
RATE_SHAPE = np.array([0.7, 0.7, 0.7])
RATE_MEAN = np.array([1 / 3_000, 1 / 1_400, 1 / 580])  # purchases a day while alive
LEAVE_SHAPE = np.array([1.5, 4.0, 1.5])
LEAVE_MEAN = np.array([1 / 220, 1 / 5, 1 / 330])  # a day, while alive
LEAVE_LEAST = 1 / 2_000
COMEBACK_DAYS = 2_000  # mean days from leaving to coming back
SECOND_LIFE_DAYS = 200
USUAL_RATE = 1 / 800  # what rates are compared with in visits and message response
TASTE_CHANCE = np.array([0.5, 0.25])  # the first and second group a client likes; the rest: any

# Subscriptions, by channel: email, mobile push, web push, sms.
SUBSCRIBED = np.array([0.72, 0.30, 0.25, 0.22])
END_LIVING = 1 / 1_500  # a subscription's end, a day, while its client is alive
END_GONE = 1 / 500  # ... and after the client left
END_UNSUBSCRIBE = np.array([0.62, 0.9, 0.95, 0.75])  # the rest: hard bounces, complaints
END_COMPLAIN = np.array([0.10, 0.0, 0.0, 0.1])


@dataclass(frozen=True)
class World:
    """A shop's clients: a few numbers for each, drawn at birth; place i is client_id FIRST + i.

    Days are day numbers. A world planned for more days begins with the same clients.
    """

    seed: int
    clients: int
    start: int
    end: int  # the first day it is not planned for
    catalog: Catalog
    birth: Array
    segment: Array
    rate: Array  # purchases a day while alive, before the season
    leave: Array  # chance of leaving, as a rate a day
    death: Array  # first day of absence
    comeback: Array  # first day of the second life
    second_death: Array
    engagement: Array  # with messages, 1 is usual
    reach: Array  # how often campaigns choose the client, 1 is usual
    curiosity: Array  # visits, 1 is usual
    price_level: Array
    taste: Array  # two category groups
    subscribed_until: Array  # by channel: the day of the last message; 0 if never subscribed
    ending: Array  # by channel: the event that ends the subscription


def plan(seed: int, clients: int, start: date, days: int) -> World:
    """Return the world of ``days`` days from ``start``.

    Args:
        seed: what tells one world from another.
        clients: how many there are REFERENCE_DAYS after the start: NEW_SHARE of them arrive
            evenly in that time, and at the same pace ever after.
        start: the first day with rows; many clients were born, and some left, before it.
        days: days planned; a longer plan adds newcomers and changes nothing else.
    """
    if clients < 1 or days < 0:
        raise ValueError(f"clients {clients}, days {days}: expected at least 1 and 0")
    first = day_number(start)
    existing = clients - int(clients * NEW_SHARE)
    rng = stream(seed, EXISTING)
    age = 1 + (OLDEST_DAYS * rng.random(existing)).astype(np.int32)
    parts = [_traits(rng, first - np.sort(age)[::-1], first)]
    for day in range(first, first + days):
        newborn = _newcomers(clients, day - first + 1) - _newcomers(clients, day - first)
        births = np.full(newborn, day, dtype=np.int32)
        parts.append(_traits(stream(seed, NEWCOMERS, day), births, first))
    return World(seed, clients, first, first + days, catalog(seed), **concatenate(parts))


def born_by(world: World, day: int) -> int:
    """Return how many clients there are on a day: those at places below this number."""
    existing = world.clients - int(world.clients * NEW_SHARE)
    return existing + _newcomers(world.clients, day - world.start + 1)


def alive(world: World, client: Array | slice, day: int) -> Array:
    """Return whether each client is a living one on a day number."""
    first_life = day < world.death[client]
    second_life = (day >= world.comeback[client]) & (day < world.second_death[client])
    return np.asarray(first_life | second_life)


def liked_groups(world: World, rng: np.random.Generator, client: Array) -> Array:
    """Return a category group per row, by the client's taste."""
    chance = rng.random(len(client))
    any_group = pick(rng, world.catalog.group_share, len(client))
    taste = world.taste[client].astype(np.int64)
    first, second = TASTE_CHANCE
    return np.select(
        [chance < first, chance < first + second], [taste[:, 0], taste[:, 1]], any_group
    )


def _newcomers(clients: int, days: int) -> int:
    """Return how many clients arrived in the first ``days`` days."""
    return int(clients * NEW_SHARE) * days // REFERENCE_DAYS


def _wait(rng: np.random.Generator, mean: Array | float, rows: int) -> Array:
    """Return whole days to wait, memoryless: ends each day with chance 1 - exp(-1 / mean)."""
    return np.minimum(rng.exponential(1.0, rows) * mean, 1_000_000).astype(np.int32)


def _traits(rng: np.random.Generator, birth: Array, start: int) -> Columns:
    """Return what is drawn once for each client born on ``birth``."""
    rows = len(birth)
    segment = pick(rng, SEGMENT_SHARE, rows)
    rate = rng.gamma(RATE_SHAPE[segment]) * (RATE_MEAN / RATE_SHAPE)[segment]
    leave = rng.gamma(LEAVE_SHAPE[segment]) * (LEAVE_MEAN / LEAVE_SHAPE)[segment]
    leave = np.maximum(leave, LEAVE_LEAST)
    death = birth + 1 + _wait(rng, 1 / leave, rows)
    comeback = death + 1 + _wait(rng, COMEBACK_DAYS, rows)
    second_death = comeback + 1 + _wait(rng, SECOND_LIFE_DAYS, rows)
    engagement = np.exp(rng.normal(-0.15, 0.55, rows))
    reach = np.exp(rng.normal(-0.18, 0.5, rows)) * np.where(segment == REGULAR, 1.25, 0.95)
    curiosity = np.exp(rng.normal(-0.15, 0.55, rows))
    price_level = np.exp(rng.normal(0, 0.35, rows))
    taste = rng.integers(0, GROUPS, (rows, 2)).astype(np.int8)
    subscribed = rng.random((rows, 4)) < SUBSCRIBED
    subscribed[(segment == PROSPECT) & ~subscribed.any(axis=1), 0] = True
    known = np.maximum(birth, start)
    until = np.empty((rows, 4), dtype=np.int32)
    ending = np.empty((rows, 4), dtype=np.int8)
    for channel in range(4):
        living = known + 1 + _wait(rng, 1 / END_LIVING, rows)
        gone = np.maximum(death, known) + 1 + _wait(rng, 1 / END_GONE, rows)
        until[:, channel] = np.where(subscribed[:, channel], np.minimum(living, gone), 0)
        way = rng.random(rows)
        complain = END_UNSUBSCRIBE[channel] + END_COMPLAIN[channel]
        ending[:, channel] = np.select(
            [way < END_UNSUBSCRIBE[channel], way < complain], [UNSUBSCRIBE, COMPLAIN], HARD_BOUNCE
        )
    small: Columns = {
        "birth": birth,
        "death": death,
        "comeback": comeback,
        "second_death": second_death,
    }
    real: Columns = {"rate": rate, "leave": leave, "engagement": engagement, "reach": reach}
    real |= {"curiosity": curiosity, "price_level": price_level}
    traits: Columns = {name: values.astype(np.int32) for name, values in small.items()}
    traits |= {name: values.astype(np.float32) for name, values in real.items()}
    traits |= {"segment": segment.astype(np.int8), "taste": taste}
    return traits | {"subscribed_until": until, "ending": ending}
