"""The shop's clients and what they do, day by day: clients and days in, source rows out.

A *cohort* is what begins on one day: the messages sent on it and the wishes to buy that arise on
it, with all that follows (opens, clicks, purchases, visits, returns) on that day and the two weeks
after. A cohort is drawn from random streams of its own day, so no day needs another to be played
first; a day's rows come from the cohorts of the ``REACH_DAYS`` before it.

A client lives, leaves, and comes back at most once. While alive, wishes to buy arise at the
client's own rate, times the season; some are dropped, the rest become a purchase within a week.
Messages go to subscribers; an opened and clicked one makes a living client buy with a chance of
its own. Nothing a client does changes the client: only the traits drawn at birth and the date
decide, which is what makes days independent and the truth (shop_truth.py) computable.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd

from jobs.simulate.catalog import (
    FIRST_PRODUCT_ID,
    GROUPS,
    NO_CATEGORY,
    NONE_CATEGORY,
    Catalog,
    catalog,
    draw_products,
)
from jobs.simulate.clock import (
    DAY_US,
    Array,
    Columns,
    concatenate,
    day_date,
    day_number,
    season,
    stream,
    take,
    time_of_day,
)

# purposes of random streams; below 100 is the shop's
EXISTING, NEWCOMERS, CAMPAIGNS, SENDS, WISHES, BASKETS, SESSIONS, DEFECTS = range(2, 10)

# the lists end in what the shop's data model does not know: rows for the quarantine
EVENTS = (
    *("send", "open", "click", "purchase", "close", "unsubscribe", "complain"),
    *("hard_bounce", "soft_bounce", "teleport"),
)
SEND, OPEN, CLICK, BOUGHT, CLOSE, UNSUBSCRIBE, COMPLAIN, HARD_BOUNCE, SOFT_BOUNCE, UNKNOWN = range(
    10
)
CHANNELS = ("email", "mobile_push", "web_push", "sms")
EVENT_TYPES = ("view", "cart", "favorite", "purchase", "return", "cancel", "teleport")
VIEW, CART, FAVORITE, PURCHASE, RETURN, CANCEL, UNKNOWN_TYPE = range(7)

NULL = np.iinfo(np.int64).min  # a null id or time
NEVER = 2**31 - 1  # a day number that does not come

# Clients: a prospect only signed up, the others began with a purchase.
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

# Messages, by channel: email, mobile push, web push, sms.
SUBSCRIBED = np.array([0.72, 0.30, 0.25, 0.22])
END_LIVING = 1 / 1_500  # a subscription's end, a day, while its client is alive
END_GONE = 1 / 500  # ... and after the client left
END_UNSUBSCRIBE = np.array([0.62, 0.9, 0.95, 0.75])  # the rest: hard bounces, complaints
END_COMPLAIN = np.array([0.10, 0.0, 0.0, 0.1])
CAMPAIGN_CHANCE = np.array([0.75, 0.70, 0.60, 0.20])  # a day
CAMPAIGN_SHARE = 0.100  # of a channel's subscribers reached by one campaign
OFFERS = np.array([0.0, 0.1, 0.2, 0.3])
OFFER_CHANCE = np.array([0.5, 0.25, 0.15, 0.1])
FIRST_CAMPAIGN_DAY = 17_000  # bulk_campaign_id counts from this day number
SOFT_BOUNCED = np.array([0.012, 0.004, 0.004, 0.006])
OPENED = np.array([0.38, 0.26, 0.20, 0.50])  # of delivered messages, by a usual living client
CLICKED = np.array([0.22, 0.24, 0.20, 0.12])  # of opened ones
GONE_OPENED, GONE_CLICKED = 0.12, 0.25  # how much of that remains once the client left
BOUGHT_AFTER_CLICK = 0.075
OFFER_PULL = 1.5  # clicks and purchases grow by 1 + OFFER_PULL * discount
THEME_PULL = 1.35  # clicks, where the campaign's theme is the client's taste
CLOSED = np.array([0.0, 0.18, 0.12, 0.0])  # of messages neither opened nor bounced
OPEN_DAYS = np.array([0.80, 0.15, 0.05])  # from send to open; a click follows within minutes
BUY_DAYS = np.array([0.72, 0.14, 0.09, 0.05])  # from click to purchase
TIE_LOST = 0.20  # of purchases after a click carry no message_id
TIE_WRONG = 0.02  # of ties name a message that is not there
REUSED_IDS = 0.3  # of campaigns number their messages without the year

# Wishes to buy and baskets.
DROPPED = 0.45  # of wishes
WISH_DAYS = np.array([0.45, 0.15, 0.12, 0.10, 0.08, 0.06, 0.04])  # from wish to purchase
MORE_LINES = 0.48  # chance of one more line in the basket, again and again
MOST_LINES = 12
QUANTITIES = np.array([0.88, 0.09, 0.03])
TASTE_CHANCE = np.array([0.5, 0.25])  # the first and second group a client likes; the rest: any
THEME_CHANCE = 0.4  # of a tied purchase's lines are from the campaign's theme
PRICE_NOISE = 0.06

# Visits. Second order: the next step depends on the last two. Rows: the step before last, then
# the last (start, view, cart, favorite); columns: view, cart, favorite, end.
BROWSED = 0.022  # visits a day by a usual living client
GONE_BROWSED = 0.04
LONGEST_VISIT = 40
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

# What is wrong with real data.
COPIES = np.array([0.62, 0.28, 0.08, 0.02])  # of a purchase line: 1.5 on average, a third surplus
COPY_LATER = 0.05  # of surplus copies reach the source on a day of their own
MESSAGE_COPIES, EVENT_COPIES = 0.03, 0.01
LATE = {"apparel_purchases": 0.02, "apparel_messages": 0.01, "client_event": 0.01}
LATE_DAYS = np.array([0.7, 0.2, 0.1])  # one, two and three days
CORRECTED = 15  # of 1000 purchase lines change price or quantity one or two days later
NO_CREATED_AT = 0.005
CATEGORY_EMPTY, CATEGORY_NONE = 0.03, 0.02
NEGATIVE_PRICE, PURCHASE_NO_CLIENT = 1 / 1_000, 1 / 2_000
UNKNOWN_EVENT, MESSAGE_NO_CLIENT = 1 / 8_000, 1 / 16_000
UNKNOWN_EVENT_TYPE, EVENT_NO_CLIENT = 1 / 8_000, 1 / 16_000

# Days from a cohort's first to the last arrival of its rows or corrections: the longest way is
# open 2, buy 3, return 7, late 3; from wishes 6, 7, 3.
REACH_DAYS = 16


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


class Window(NamedTuple):
    """What reaches the source on the days [first, end).

    ``rows`` has each table's new rows. ``corrections`` has purchases that arrived before ``first``
    and change now, with ``new_price`` and ``new_quantity``.
    """

    first: int
    end: int
    rows: dict[str, Columns]
    corrections: Columns


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


def arrivals(world: World, day: date) -> Window:
    """Return what reaches the source on one day: its own rows, late ones and corrections."""
    number = day_number(day)
    return next(windows(world, number, number + 1, 1))


def windows(world: World, first: int, end: int, step: int) -> Iterator[Window]:
    """Yield what reaches the source on the day numbers [first, end), ``step`` days at a time.

    The windows of any step hold the same rows; in a longer one a correction that falls into it
    is already in the row. Memory is that of one window.

    Raises:
        ValueError: if the world is not planned for these days.
    """
    if first < world.start or end > world.end:
        raise ValueError(
            f"days {day_date(first)} to {day_date(end)}: the world is planned from "
            f"{day_date(world.start)} to {day_date(world.end)}; plan it for more days"
        )
    pending = [cohort(world, day) for day in range(max(world.start, first - REACH_DAYS), first)]
    while first < end:
        last = min(first + step, end)
        pending += [cohort(world, day) for day in range(first, last)]
        rows = {table: concatenate([part[table] for part in pending]) for table in TABLES}
        yield _window(rows, first, last)
        pending = [
            {
                table: take(columns, np.maximum(columns["arrival"], columns["correction"]) >= last)
                for table, columns in rows.items()
            }
        ]
        first = last


def cohort(world: World, day: int) -> dict[str, Columns]:
    """Return all source rows that began on a day number, whenever they reach the source.

    Each table has its columns in codes (see ``frame``) and ``arrival``, ``correction``: the day
    numbers on which the row reaches the source and changes there.
    """
    sent = sends(world, day)
    wished = wishes(world, day)
    occasions = _occasions(world, day, sent, wished)
    lines = _lines(world, day, occasions)
    rng = stream(world.seed, DEFECTS, day)
    return {
        "apparel_purchases": _purchase_rows(rng, occasions, lines),
        "apparel_messages": _message_rows(rng, sent, occasions),
        "client_event": _event_rows(rng, _visit_events(world, day, sent, wished, occasions, lines)),
    }


def frame(world: World, table: str, columns: Columns) -> pd.DataFrame:
    """Return rows as the source shows them: texts for codes, nulls for their stand-ins."""
    shown: dict[str, pd.Series] = {}
    for name, texts in TABLES[table].items():
        values = columns[name]
        if name == "message_id":
            shown[name] = pd.Series([f"{number:016x}" if number else None for number in values])
        elif name == "category_ids":
            shown[name] = pd.Series(np.array(world.catalog.category_texts, dtype=object)[values])
        elif texts:
            shown[name] = pd.Series(np.array(texts, dtype=object)[values])
        elif name == "date":
            shown[name] = pd.Series(values.astype("datetime64[D]"))
        elif name in ("created_at", "event_time"):
            shown[name] = pd.Series(values.astype("datetime64[us]"))  # NULL is NaT there
        elif name in ("client_id", "product_id", "bulk_campaign_id"):
            shown[name] = pd.Series(values).astype("Int64").mask(values == NULL)
        else:
            shown[name] = pd.Series(values)
    return pd.DataFrame(shown)


# each source table's columns; a column of codes has the texts they stand for
TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "apparel_purchases": {
        **{"client_id": (), "quantity": (), "price": (), "category_ids": ()},
        **{"date": (), "message_id": ()},
    },
    "apparel_messages": {
        **{"bulk_campaign_id": (), "client_id": (), "message_id": (), "event": EVENTS},
        **{"channel": CHANNELS, "date": (), "created_at": ()},
    },
    "client_event": {
        **{"client_id": (), "event_time": (), "event_type": EVENT_TYPES, "product_id": ()},
    },
}


# ---- clients


def _newcomers(clients: int, days: int) -> int:
    """Return how many clients arrived in the first ``days`` days."""
    return int(clients * NEW_SHARE) * days // REFERENCE_DAYS


def born_by(world: World, day: int) -> int:
    """Return how many clients there are on a day: those at places below this number."""
    existing = world.clients - int(world.clients * NEW_SHARE)
    return existing + _newcomers(world.clients, day - world.start + 1)


def alive(world: World, client: Array | slice, day: int) -> Array:
    """Return whether each client is a living one on a day number."""
    first_life = day < world.death[client]
    second_life = (day >= world.comeback[client]) & (day < world.second_death[client])
    return np.asarray(first_life | second_life)


def _wait(rng: np.random.Generator, mean: Array | float, rows: int) -> Array:
    """Return whole days to wait, memoryless: ends each day with chance 1 - exp(-1 / mean)."""
    return np.minimum(rng.exponential(1.0, rows) * mean, 1_000_000).astype(np.int32)


def _traits(rng: np.random.Generator, birth: Array, start: int) -> Columns:
    """Return what is drawn once for each client born on ``birth``."""
    rows = len(birth)
    segment = _pick(rng, SEGMENT_SHARE, rows)
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


# ---- messages


def campaigns(world: World, day: int) -> Columns:
    """Return the day's bulk campaigns: channel, share, offer, theme (-1 for none) and time."""
    rng = stream(world.seed, CAMPAIGNS, day)
    busy = 1.4 if day_date(day).month in (11, 12) else 1.0
    runs = rng.random(4) < np.minimum(CAMPAIGN_CHANCE * busy, 0.95)
    share = CAMPAIGN_SHARE * np.exp(rng.normal(-0.045, 0.3, 4))
    offer = OFFERS[_pick(rng, OFFER_CHANCE, 4)]
    theme = np.where(rng.random(4) < 0.5, rng.integers(0, GROUPS, 4), -1)
    at = day * DAY_US + (8 * 60 + rng.integers(0, 11 * 60, 4)) * 60_000_000
    columns = {"channel": np.arange(4), "share": share, "offer": offer, "theme": theme, "at": at}
    return take(columns, runs)


def response(
    world: World, client: Array | slice, channel: Array | int, offer: Array, theme: Array
) -> tuple[Array, Array, Array]:
    """Return a living client's chances to open, then to click, then to buy, season aside."""
    taste = world.taste[client]
    liked = (taste[:, 0] == theme) | (taste[:, 1] == theme)
    pull = 1 + OFFER_PULL * offer
    opens = OPENED[channel] * world.engagement[client]
    clicks = CLICKED[channel] * np.sqrt(world.engagement[client]) * pull
    clicks = clicks * np.where(liked, THEME_PULL, 1.0)
    buys = BOUGHT_AFTER_CLICK * np.sqrt(world.rate[client] / USUAL_RATE) * pull
    return np.minimum(opens, 0.9), np.minimum(clicks, 0.7), np.minimum(buys, 0.6)


def sends(world: World, day: int) -> Columns:
    """Return the day's messages with their whole funnel, one row per message.

    ``open_chance``, ``click_chance`` and ``buy_chance`` are the true ones, each given the step
    before it; ``open_day`` and ``buy_day`` the days on which an open and click, and a purchase,
    happen if they do; ``ending`` is the event that ends the subscription, or -1.
    """
    rng = stream(world.seed, SENDS, day)
    born = born_by(world, day)
    until = world.subscribed_until[:born]
    parts = []
    for number, (channel, share, offer, theme, at) in enumerate(
        zip(*campaigns(world, day).values(), strict=True)
    ):
        chosen = rng.random(born, dtype=np.float32) < share * world.reach[:born]
        client = np.flatnonzero(chosen & (until[:, channel] > day))
        campaign = (day - FIRST_CAMPAIGN_DAY) * 4 + channel
        parts.append(_messages(day, client, channel, campaign, offer, theme, at, number))
    first = born_by(world, day - 1)
    welcomed = first + np.flatnonzero((until[first:] > day).any(axis=1))
    channel = np.argmax(until[welcomed] > day, axis=1)
    noon = day * DAY_US + DAY_US // 2
    parts.append(_messages(day, welcomed, channel, 1 + channel, 0.0, -1, noon, 4))
    client, channel = np.nonzero(until == day)
    last = _messages(day, client, channel, 11 + channel, 0.0, -1, noon, 5)
    last["ending"] = world.ending[client, channel].astype(np.int64)
    parts.append(last)
    sent = concatenate(parts)

    client, channel, rows = sent["client"], sent["channel"], len(sent["client"])
    lives = alive(world, client, day)
    opens, clicks, buys = response(world, client, channel, sent["offer"], sent["theme"])
    soft = rng.random(rows) < SOFT_BOUNCED[channel]
    opens = np.where(lives, opens, GONE_OPENED * opens) * (1 - SOFT_BOUNCED[channel])
    clicks = np.where(lives, clicks, GONE_CLICKED * clicks)
    buys = np.where(lives, np.minimum(buys * season(np.array([day])), 0.8), 0.0)
    ends = sent["ending"] >= 0
    opens = np.where(ends, sent["ending"] != HARD_BOUNCE, opens)
    clicks = np.where(ends, 0.0, clicks)
    soft &= ~ends
    # an open is drawn among the delivered, so that its chance among all sent is open_chance
    opened = ~soft & (rng.random(rows) * np.where(ends, 1, 1 - SOFT_BOUNCED[channel]) < opens)
    clicked = opened & (rng.random(rows) < clicks)
    bought = clicked & (rng.random(rows) < buys)
    closed = ~opened & ~soft & ~ends & (rng.random(rows) < CLOSED[channel])
    again = opened & ~ends & (rng.random(rows) < 0.15)
    tied = rng.random(rows) >= TIE_LOST
    # days and times only where they will be seen: most messages are never opened
    open_day = np.full(rows, day)
    open_day[opened & ~ends] += _pick(rng, OPEN_DAYS, int(np.sum(opened & ~ends)))
    buy_day = open_day.copy()
    buy_day[bought] += _pick(rng, BUY_DAYS, int(bought.sum()))
    sent_at = sent["at"] + (rng.random(rows) * 30 * 60_000_000).astype(np.int64)
    open_at = _after(rng, opened, sent_at, day, open_day, 7_200)
    click_at = _after(rng, clicked, open_at, open_day, open_day, 120)
    buy_at = _after(rng, bought, click_at, open_day, buy_day, 1_200)
    close_at = _after(rng, closed | soft | ends, sent_at, day, open_day, 600)
    again_at = _after(rng, again | ends, open_at, open_day, open_day, 3_600)
    return sent | {
        **{"open_chance": opens, "click_chance": clicks, "buy_chance": buys},
        **{"soft": soft, "opened": opened, "clicked": clicked, "bought": bought},
        **{"open_day": open_day, "buy_day": buy_day, "closed": closed, "again": again},
        **{"sent_at": sent_at, "open_at": open_at, "click_at": click_at, "buy_at": buy_at},
        **{"close_at": close_at, "again_at": again_at, "tied": tied},
    }


def _messages(
    day: int,
    client: Array,
    channel: Array | int,
    campaign: Array | int,
    offer: float,
    theme: int,
    at: int,
    number: int,
) -> Columns:
    """Return one campaign's messages, with their ids."""
    rows = len(client)
    today = day_date(day)
    sender = np.uint64(today.timetuple().tm_yday * 8 + number)
    counts_years = int(_mix(np.array([sender]))[0] % np.uint64(1000)) >= 1000 * REUSED_IDS
    key = np.uint64(int(sender) * 10_000 + (today.year if counts_years else 0))
    return {
        "client": client,
        "channel": np.broadcast_to(np.asarray(channel, dtype=np.int64), rows),
        "campaign": np.broadcast_to(np.asarray(campaign, dtype=np.int64), rows),
        "offer": np.full(rows, offer),
        "theme": np.full(rows, theme),
        "at": np.full(rows, at),
        "message": _mix(_mix(np.full(rows, key)) + np.arange(rows, dtype=np.uint64)) | np.uint64(1),
        "ending": np.full(rows, -1),
    }


def _pick(rng: np.random.Generator, chances: Array, rows: int) -> Array:
    """Return places in ``chances``, drawn with these chances."""
    return np.asarray(np.searchsorted(np.cumsum(chances)[:-1], rng.random(rows), side="right"))


def _after(
    rng: np.random.Generator,
    chosen: Array,
    before: Array,
    day: Array | int,
    then: Array,
    seconds: int,
) -> Array:
    """Return, for the chosen rows, times on the days ``then``; ``before`` for the others.

    Where ``then`` is ``day``, the time is soon after ``before``, and else any time of that day.
    """
    rows = np.flatnonzero(chosen)
    last = (then[rows] + 1) * DAY_US - 1
    soon = before[rows] + 1_000_000 + (rng.exponential(seconds, len(rows)) * 1e6).astype(np.int64)
    when = before.copy()
    when[rows] = np.minimum(soon, last)
    later = rows[then[rows] != np.broadcast_to(day, len(before))[rows]]
    when[later] = then[later] * DAY_US + time_of_day(rng, len(later))
    return when


def _mix(numbers: Array) -> Array:
    """Return 64-bit numbers scattered by splitmix64 (Steele, Lea and Flood 2014)."""
    mixed = np.asarray(numbers, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


# ---- purchases


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
    wait = _pick(rng, WISH_DAYS, len(client))
    dropped = rng.random(len(client)) < DROPPED
    first = born_by(world, day - 1)
    newborn = first + np.flatnonzero(world.segment[first:born] != PROSPECT)
    return {
        "client": np.concatenate([client, newborn]),
        "decision_day": day + np.concatenate([wait, np.zeros(len(newborn), dtype=np.int64)]),
        "dropped": np.concatenate([dropped, np.zeros(len(newborn), dtype=bool)]),
        "at": time_of_day(rng, len(client) + len(newborn)),
    }


def _occasions(world: World, day: int, sent: Columns, wished: Columns) -> Columns:
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


def _lines(world: World, day: int, occasions: Columns) -> Columns:
    """Return the baskets' lines: occasion (its place), product, category, quantity, price."""
    rng = stream(world.seed, BASKETS, day)
    count = np.minimum(rng.geometric(1 - MORE_LINES, len(occasions["client"])), MOST_LINES)
    occasion = np.repeat(np.arange(len(count)), count)
    client, rows = occasions["client"][occasion], len(occasion)
    theme = occasions["theme"][occasion]
    group = _liked_groups(world, rng, client)
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
        "quantity": 1 + _pick(rng, QUANTITIES, rows),
        "price": np.maximum(np.round(price, 2), 0.5),
        "message": np.where(wrong, _mix(message), message),
    }


def _liked_groups(world: World, rng: np.random.Generator, client: Array) -> Array:
    """Return a category group per row, by the client's taste."""
    chance = rng.random(len(client))
    any_group = _pick(rng, world.catalog.group_share, len(client))
    taste = world.taste[client].astype(np.int64)
    first, second = TASTE_CHANCE
    return np.select(
        [chance < first, chance < first + second], [taste[:, 0], taste[:, 1]], any_group
    )


# ---- visits


def _visit_events(
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
    wanted = draw_products(world.catalog, rng, _liked_groups(world, rng, client))
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
        other = draw_products(world.catalog, rng, _liked_groups(world, rng, client[active]))
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


# ---- rows, with all that is wrong with them


def _arrival(rng: np.random.Generator, day: Array, table: str) -> Array:
    """Return the day on which each row of an event day reaches the source."""
    late = np.flatnonzero(rng.random(len(day)) < LATE[table])
    arrival = day.copy()
    arrival[late] += 1 + _pick(rng, LATE_DAYS, len(late))
    return arrival


def _client_id(client: Array) -> Array:
    return np.asarray(FIRST_CLIENT_ID + client, dtype=np.int64)


def _purchase_rows(rng: np.random.Generator, occasions: Columns, lines: Columns) -> Columns:
    """Return the rows of apparel_purchases, copies and offenders among them."""
    table = "apparel_purchases"
    rows = {
        "client_id": _client_id(lines["client"]),
        "quantity": lines["quantity"],
        "price": lines["price"],
        "category_ids": lines["category"],
        "date": lines["day"],
        "message_id": lines["message"],
        "arrival": _arrival(rng, lines["day"], table),
    }
    # equal rows must change together or not at all: what is in the row decides
    key = _mix(rows["client_id"].astype(np.uint64)) ^ rows["price"].view(np.uint64)
    key = _mix(_mix(key) ^ (rows["category_ids"] * 8 + rows["quantity"]).astype(np.uint64))
    key = _mix(key ^ rows["date"].astype(np.uint64))
    corrected = key % np.uint64(1000) < CORRECTED
    later = rows["date"] + 1 + (key >> np.uint64(32)).astype(np.int64) % 2
    rows["correction"] = np.where(corrected, later, -1)
    cheaper = (key >> np.uint64(40)) % np.uint64(2) == 0
    rows["new_price"] = np.where(cheaper, np.round(0.9 * rows["price"], 2), rows["price"])
    rows["new_quantity"] = rows["quantity"] + np.where(cheaper, 0, 1)

    copies = 1 + _pick(rng, COPIES, len(rows["price"]))
    place = np.repeat(np.arange(len(copies)), copies)
    surplus = np.concatenate([[False], place[1:] == place[:-1]]) if len(place) else place > 0
    copied = take(rows, place)
    apart = surplus & (rng.random(len(place)) < COPY_LATER)
    copied["arrival"] = np.where(
        apart, copied["date"] + rng.integers(1, 4, len(place)), copied["arrival"]
    )
    negative = take(rows, rng.random(len(copies)) < NEGATIVE_PRICE)
    negative["price"] = -negative["price"]
    nobody = take(rows, rng.random(len(copies)) < PURCHASE_NO_CLIENT)
    nobody["client_id"] = np.full(len(nobody["client_id"]), NULL)
    for offenders in (negative, nobody):
        offenders["correction"] = np.full(len(offenders["correction"]), -1)
    return concatenate([copied, negative, nobody])


def _message_rows(rng: np.random.Generator, sent: Columns, occasions: Columns) -> Columns:
    """Return the rows of apparel_messages, copies and offenders among them."""
    tied = occasions["message"] > 0
    ends = sent["ending"] >= 0
    steps = [
        (SEND, np.ones(len(ends), dtype=bool), "sent_at"),
        (OPEN, sent["opened"], "open_at"),
        (OPEN, sent["again"], "again_at"),
        (CLICK, sent["clicked"], "click_at"),
        (CLOSE, sent["closed"], "close_at"),
        (SOFT_BOUNCE, sent["soft"], "close_at"),
    ]
    for event, time in (
        (UNSUBSCRIBE, "again_at"),
        (COMPLAIN, "close_at"),
        (HARD_BOUNCE, "close_at"),
    ):
        steps.append((event, ends & (sent["ending"] == event), time))
    parts = [
        {
            "bulk_campaign_id": sent["campaign"][chosen],
            "client_id": sent["client"][chosen],
            "message_id": sent["message"][chosen],
            "event": np.full(int(chosen.sum()), event),
            "channel": sent["channel"][chosen],
            "created_at": sent[time][chosen],
        }
        for event, chosen, time in steps
    ]
    parts.append(
        {
            "bulk_campaign_id": occasions["campaign"][tied],
            "client_id": occasions["client"][tied],
            "message_id": occasions["message"][tied],
            "event": np.full(int(tied.sum()), BOUGHT),
            "channel": occasions["channel"][tied],
            "created_at": occasions["at"][tied],
        }
    )
    rows = concatenate(parts)
    rows["client_id"] = _client_id(rows["client_id"])
    day = rows["created_at"] // DAY_US
    # a row written in the day's last seconds carries the next day's date now and then
    tardy = rows["created_at"] % DAY_US >= DAY_US - 600_000_000
    tardy &= rng.random(len(day)) < 0.5
    absent = rng.random(len(day)) < NO_CREATED_AT
    rows["date"] = day + (tardy & ~absent)
    rows["arrival"] = _arrival(rng, day, "apparel_messages")
    rows["correction"] = np.full(len(day), -1)
    rows["created_at"] = np.where(absent, NULL, rows["created_at"])
    copied = take(rows, rng.random(len(day)) < MESSAGE_COPIES)
    unknown = take(rows, rng.random(len(day)) < UNKNOWN_EVENT)
    unknown["event"] = np.full(len(unknown["event"]), UNKNOWN)
    nobody = take(rows, rng.random(len(day)) < MESSAGE_NO_CLIENT)
    nobody["client_id"] = np.full(len(nobody["client_id"]), NULL)
    return concatenate([rows, copied, unknown, nobody])


def _event_rows(rng: np.random.Generator, events: Columns) -> Columns:
    """Return the rows of client_event, copies and offenders among them."""
    number = len(events["day"])
    rows = {
        "client_id": _client_id(events["client"]),
        "event_time": events["at"],
        "event_type": events["type"],
        "product_id": FIRST_PRODUCT_ID + events["product"],
        "arrival": _arrival(rng, events["day"], "client_event"),
        "correction": np.full(number, -1),
    }
    copied = take(rows, rng.random(number) < EVENT_COPIES)
    unknown = take(rows, rng.random(number) < UNKNOWN_EVENT_TYPE)
    unknown["event_type"] = np.full(len(unknown["event_type"]), UNKNOWN_TYPE)
    nobody = take(rows, rng.random(number) < EVENT_NO_CLIENT)
    nobody["client_id"] = np.full(len(nobody["client_id"]), NULL)
    return concatenate([rows, copied, unknown, nobody])


def _window(rows: dict[str, Columns], first: int, end: int) -> Window:
    """Return what of ``rows`` reaches the source in [first, end)."""
    arrived = {
        table: take(columns, (columns["arrival"] >= first) & (columns["arrival"] < end))
        for table, columns in rows.items()
    }
    purchases = arrived["apparel_purchases"]
    changed = (purchases["correction"] >= 0) & (purchases["correction"] < end)
    purchases["price"] = np.where(changed, purchases["new_price"], purchases["price"])
    purchases["quantity"] = np.where(changed, purchases["new_quantity"], purchases["quantity"])
    before = rows["apparel_purchases"]
    due = (before["arrival"] < first) & (before["correction"] >= first)
    return Window(first, end, arrived, take(before, due & (before["correction"] < end)))
