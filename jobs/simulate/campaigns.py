"""Campaigns and messages: what is sent on a day, and who opens, clicks and buys for it."""

import numpy as np

from jobs.simulate.catalog import GROUPS
from jobs.simulate.clients import USUAL_RATE, World, alive, born_by
from jobs.simulate.clock import (
    CAMPAIGNS,
    DAY_US,
    SENDS,
    Array,
    Columns,
    concatenate,
    day_date,
    mix,
    pick,
    season,
    stream,
    take,
    time_of_day,
)
from jobs.simulate.codes import HARD_BOUNCE

# By channel: email, mobile push, web push, sms.
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
REUSED_IDS = 0.3  # of campaigns number their messages without the year


def campaigns(world: World, day: int) -> Columns:
    """Return the day's bulk campaigns: channel, share, offer, theme (-1 for none) and time."""
    rng = stream(world.seed, CAMPAIGNS, day)
    busy = 1.4 if day_date(day).month in (11, 12) else 1.0
    runs = rng.random(4) < np.minimum(CAMPAIGN_CHANCE * busy, 0.95)
    share = CAMPAIGN_SHARE * np.exp(rng.normal(-0.045, 0.3, 4))
    offer = OFFERS[pick(rng, OFFER_CHANCE, 4)]
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
    open_day[opened & ~ends] += pick(rng, OPEN_DAYS, int(np.sum(opened & ~ends)))
    buy_day = open_day.copy()
    buy_day[bought] += pick(rng, BUY_DAYS, int(bought.sum()))
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
    counts_years = int(mix(np.array([sender]))[0] % np.uint64(1000)) >= 1000 * REUSED_IDS
    key = np.uint64(int(sender) * 10_000 + (today.year if counts_years else 0))
    return {
        "client": client,
        "channel": np.broadcast_to(np.asarray(channel, dtype=np.int64), rows),
        "campaign": np.broadcast_to(np.asarray(campaign, dtype=np.int64), rows),
        "offer": np.full(rows, offer),
        "theme": np.full(rows, theme),
        "at": np.full(rows, at),
        "message": mix(mix(np.full(rows, key)) + np.arange(rows, dtype=np.uint64)) | np.uint64(1),
        "ending": np.full(rows, -1),
    }


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
