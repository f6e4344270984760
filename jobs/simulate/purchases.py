"""Purchases: wishes to buy, the baskets that come of them and of messages, and their lines."""

import numpy as np

from jobs.simulate.catalog import NO_CATEGORY, NONE_CATEGORY, draw_products
from jobs.simulate.clients import PROSPECT, World, alive, born_by, liked_groups
from jobs.simulate.clock import (
    BASKETS,
    DAY_US,
    WISHES,
    Array,
    Columns,
    mix,
    pick,
    season,
    stream,
    take,
    time_of_day,
)

DROPPED = 0.45  # of wishes
WISH_DAYS = np.array([0.45, 0.15, 0.12, 0.10, 0.08, 0.06, 0.04])  # from wish to purchase
MORE_LINES = 0.48  # chance of one more line in the basket, again and again
MOST_LINES = 12
QUANTITIES = np.array([0.88, 0.09, 0.03])
THEME_CHANCE = 0.4  # of a tied purchase's lines are from the campaign's theme
PRICE_NOISE = 0.06
TIE_WRONG = 0.02  # of ties name a message that is not there
CATEGORY_EMPTY, CATEGORY_NONE = 0.03, 0.02  # of lines, for "[]" and "[None]"


def wish_chance(world: World, client: Array | slice, day: int) -> Array:
    """Return each living client's chance that a wish to buy arises on a day."""
    factor = float(season(np.array([day]))[0]) / (1 - DROPPED)
    return np.asarray(1 - np.exp(-world.rate[client] * np.float32(factor)))


def wishes(world: World, day: int) -> Columns:
    """Return the day's wishes to buy: client, the day it is decided, whether it is dropped."""
    rng = stream(world.seed, WISHES, day)
    born = born_by(world, day)
    chance = wish_chance(world, slice(born), day) * alive(world, slice(born), day)
    client = np.flatnonzero(rng.random(born, dtype=np.float32) < chance)
    wait = pick(rng, WISH_DAYS, len(client))
    dropped = rng.random(len(client)) < DROPPED
    first = born_by(world, day - 1)
    newborn = first + np.flatnonzero(world.segment[first:born] != PROSPECT)
    return {
        "client": np.concatenate([client, newborn]),
        "decision_day": day + np.concatenate([wait, np.zeros(len(newborn), dtype=np.int64)]),
        "dropped": np.concatenate([dropped, np.zeros(len(newborn), dtype=bool)]),
        "at": time_of_day(rng, len(client) + len(newborn)),
    }


def occasions(world: World, day: int, sent: Columns, wished: Columns) -> Columns:
    """Return the cohort's purchases, one row per basket; message 0 is none."""
    bought = take(sent, sent["bought"])
    kept = take(wished, ~wished["dropped"])
    rows = len(kept["client"])
    none = np.zeros(rows, dtype=np.int64)
    return {
        "client": np.concatenate([kept["client"], bought["client"]]),
        "day": np.concatenate([kept["decision_day"], bought["buy_day"]]),
        "at": np.concatenate([kept["decision_day"] * DAY_US + kept["at"], bought["buy_at"]]),
        "offer": np.concatenate([np.zeros(rows), bought["offer"]]),
        "theme": np.concatenate([none - 1, bought["theme"]]),
        "message": np.concatenate(
            [none.astype(np.uint64), np.where(bought["tied"], bought["message"], np.uint64(0))]
        ),
        "campaign": np.concatenate([none, bought["campaign"]]),
        "channel": np.concatenate([none, bought["channel"]]),
    }


def lines(world: World, day: int, occasions: Columns) -> Columns:
    """Return the baskets' lines: occasion (its place), product, category, quantity, price."""
    rng = stream(world.seed, BASKETS, day)
    count = np.minimum(rng.geometric(1 - MORE_LINES, len(occasions["client"])), MOST_LINES)
    occasion = np.repeat(np.arange(len(count)), count)
    client, rows = occasions["client"][occasion], len(occasion)
    theme = occasions["theme"][occasion]
    group = liked_groups(world, rng, client)
    group = np.where((theme >= 0) & (rng.random(rows) < THEME_CHANCE), theme, group)
    product = draw_products(world.catalog, rng, group)
    price = world.catalog.price[product] * world.price_level[client]
    price = price * (1 - occasions["offer"][occasion])
    price = price * np.exp(rng.normal(0, PRICE_NOISE, rows))
    missing = rng.random(rows)
    category = np.select(
        [missing < CATEGORY_EMPTY, missing < CATEGORY_EMPTY + CATEGORY_NONE],
        [NO_CATEGORY, NONE_CATEGORY],
        world.catalog.category[product],
    )
    message = occasions["message"][occasion]
    wrong = (message > 0) & (rng.random(rows) < TIE_WRONG)
    return {
        "occasion": occasion,
        "client": client,
        "day": occasions["day"][occasion],
        "product": product,
        "category": category,
        "quantity": 1 + pick(rng, QUANTITIES, rows),
        "price": np.maximum(np.round(price, 2), 0.5),
        "message": np.where(wrong, mix(message), message),
    }
