"""Visits: the steps of a client in the shop, and what is bought, returned and cancelled there."""

import numpy as np

from jobs.simulate.catalog import draw_products
from jobs.simulate.clients import USUAL_RATE, World, alive, born_by, liked_groups
from jobs.simulate.clock import (
    DAY_US,
    SESSIONS,
    Array,
    Columns,
    concatenate,
    stream,
    take,
    time_of_day,
)
from jobs.simulate.codes import CANCEL, PURCHASE, RETURN, VIEW

BROWSED = 0.022  # visits a day by a usual living client
GONE_BROWSED = 0.04
LONGEST_VISIT = 40
# Second order: the next step depends on the last two. Rows: the step before last, then the last
# (start, view, cart, favorite); columns: view, cart, favorite, end.
BROWSE = np.array(
    [
        *(0.93, 0.02, 0.05, 0.00, 0.55, 0.05, 0.05, 0.35),  # start, then start and view
        *(0.50, 0.05, 0.05, 0.40, 0.60, 0.05, 0.05, 0.30),  # ... then cart and favorite
        *(0.93, 0.02, 0.05, 0.00, 0.62, 0.06, 0.04, 0.28),  # view, then ...
        *(0.57, 0.06, 0.04, 0.33, 0.65, 0.10, 0.05, 0.20),
        *(0.93, 0.02, 0.05, 0.00, 0.45, 0.15, 0.02, 0.38),  # cart
        *(0.20, 0.10, 0.05, 0.65, 0.30, 0.10, 0.10, 0.50),
        *(0.93, 0.02, 0.05, 0.00, 0.50, 0.02, 0.16, 0.32),  # favorite
        *(0.30, 0.05, 0.05, 0.60, 0.30, 0.05, 0.15, 0.50),
    ]
).reshape(4, 4, 4)
BUY = np.array(  # ends (at the checkout, or with the cart left behind) only near a cart
    [
        *(0.80, 0.15, 0.05, 0.00, 0.60, 0.32, 0.08, 0.00),
        *(0.35, 0.05, 0.02, 0.58, 0.60, 0.30, 0.10, 0.00),
        *(0.80, 0.15, 0.05, 0.00, 0.45, 0.48, 0.07, 0.00),
        *(0.30, 0.07, 0.03, 0.60, 0.40, 0.50, 0.10, 0.00),
        *(0.80, 0.15, 0.05, 0.00, 0.25, 0.20, 0.03, 0.52),
        *(0.12, 0.08, 0.02, 0.78, 0.20, 0.10, 0.05, 0.65),
        *(0.80, 0.15, 0.05, 0.00, 0.35, 0.60, 0.05, 0.00),
        *(0.15, 0.03, 0.02, 0.80, 0.30, 0.60, 0.10, 0.00),
    ]
).reshape(4, 4, 4)
STEP_SECONDS = 45
RETURNED = 0.08  # of lines, after 2 to 7 days
CANCELLED = 0.03  # of purchases, the same day


def visit_events(
    world: World, day: int, sent: Columns, wished: Columns, occasions: Columns, lines: Columns
) -> Columns:
    """Return the cohort's client events: client, day, at, type, product.

    Visits are idle ones, first looks where a wish arises, landings after a click, and a visit
    before each decision: it ends in the purchase events of the basket, or the cart stays behind.
    """
    rng = stream(world.seed, SESSIONS, day)
    born = born_by(world, day)
    chance = BROWSED * world.curiosity[:born] * np.sqrt(world.rate[:born] / USUAL_RATE)
    chance = chance * np.where(alive(world, slice(born), day), 1.0, GONE_BROWSED)
    idle = np.flatnonzero(rng.random(born, dtype=np.float32) < chance)
    look = take(wished, (wished["decision_day"] > day) & (rng.random(len(wished["at"])) < 0.8))
    landed = take(sent, sent["clicked"] & ~(sent["bought"] & (sent["buy_day"] == sent["open_day"])))
    dropped = take(wished, wished["dropped"])
    midnight = day * DAY_US
    looks = (idle, look["client"], landed["client"])
    starts = (
        midnight + time_of_day(rng, len(idle)),
        midnight + time_of_day(rng, len(look["client"])),
        landed["click_at"],
    )
    client = np.concatenate([*looks, dropped["client"], occasions["client"]])
    left_at = dropped["decision_day"] * DAY_US + dropped["at"]
    at = np.concatenate([*starts, left_at, occasions["at"]])
    looking = sum(len(part) for part in looks)
    first_line = np.searchsorted(lines["occasion"], np.arange(len(occasions["client"])))
    wanted = draw_products(world.catalog, rng, liked_groups(world, rng, client))
    wanted[len(client) - len(first_line) :] = lines["product"][first_line]
    walked = _walk(world, rng, client, wanted, np.arange(len(client)) >= looking)
    # a look's steps follow its start, a decision's steps lead up to it
    visit = walked["visit"]
    offset = np.where(visit < looking, walked["since_start"], -walked["until_end"])
    event_day = at[visit] // DAY_US
    time = np.clip(at[visit] + offset, event_day * DAY_US, (event_day + 1) * DAY_US - 1)
    steps = {"client": client[visit], "day": event_day, "at": time}
    steps |= {"type": walked["type"], "product": walked["product"]}

    line_at = occasions["at"][lines["occasion"]]
    bought = {"client": lines["client"], "day": lines["day"], "at": line_at}
    bought |= {"type": np.full(len(line_at), PURCHASE), "product": lines["product"]}
    back = take(bought, rng.random(len(line_at)) < RETURNED)
    back["day"] = back["day"] + rng.integers(2, 8, len(back["day"]))
    back["at"] = back["day"] * DAY_US + time_of_day(rng, len(back["day"]))
    back["type"] = np.full(len(back["day"]), RETURN)
    cancel = (rng.random(len(occasions["client"])) < CANCELLED)[lines["occasion"]]
    cancelled = take(bought, cancel)
    cancelled["at"] = np.minimum(
        cancelled["at"] + rng.integers(300, 14_400, len(cancelled["at"])) * 1_000_000,
        (cancelled["day"] + 1) * DAY_US - 1,
    )
    cancelled["type"] = np.full(len(cancelled["at"]), CANCEL)
    return concatenate([steps, bought, back, cancelled])


def _walk(
    world: World, rng: np.random.Generator, client: Array, wanted: Array, buys: Array
) -> Columns:
    """Return the steps of each visit by the second-order chains BROWSE or (where ``buys``) BUY.

    One row per step: visit (its place), type, product, since_start and until_end in microseconds.
    A view shows the wanted product or another one; a cart or favorite takes the product in view.
    """
    cumulated = np.cumsum(np.stack([BROWSE, BUY]), axis=3)[..., :3]
    active = np.arange(len(client))
    before = np.zeros(len(client), dtype=np.int64)
    last = np.zeros(len(client), dtype=np.int64)
    product = wanted.copy()
    elapsed = np.zeros(len(client), dtype=np.int64)
    visits, types, products, times = [], [], [], []
    for _ in range(LONGEST_VISIT):
        table = cumulated[buys[active].astype(np.int64), before[active], last[active]]
        step = (rng.random(len(active))[:, None] >= table).sum(axis=1)
        active, step = active[step < 3], step[step < 3]
        if not len(active):
            break
        before[active], last[active] = last[active], step + 1
        other = draw_products(world.catalog, rng, liked_groups(world, rng, client[active]))
        keeps = rng.random(len(active)) < 0.45
        shown = np.where(keeps, wanted[active], other)
        product[active] = np.where(step == VIEW, shown, product[active])
        visits.append(active)
        types.append(step)
        products.append(product[active])
        times.append(elapsed[active])
        elapsed[active] += (rng.exponential(STEP_SECONDS, len(active)) * 1e6).astype(
            np.int64
        ) + 10**6
    if not visits:
        empty = np.zeros(0, dtype=np.int64)
        names = ("visit", "type", "product", "since_start", "until_end")
        return dict.fromkeys(names, empty)
    visit, since = np.concatenate(visits), np.concatenate(times)
    return {
        "visit": visit,
        "type": np.concatenate(types),
        "product": np.concatenate(products),
        "since_start": since,
        "until_end": elapsed[visit] - since,
    }
