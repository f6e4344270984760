"""What is true of the simulated shop: the chances that its rows were drawn with.

Tests and benches ask for it; nothing that trains or scores may.
"""

from datetime import date

import numpy as np
import pandas as pd

from jobs.simulate.campaigns import (
    BUY_DAYS,
    GONE_CLICKED,
    GONE_OPENED,
    OPEN_DAYS,
    SOFT_BOUNCED,
    campaigns,
    response,
    sends,
)
from jobs.simulate.clients import (
    COMEBACK_DAYS,
    END_GONE,
    END_LIVING,
    FIRST_CLIENT_ID,
    SECOND_LIFE_DAYS,
    TASTE_CHANCE,
    World,
    alive,
    born_by,
)
from jobs.simulate.clock import Array, day_number, season
from jobs.simulate.codes import CHANNELS
from jobs.simulate.purchases import (
    DROPPED,
    MORE_LINES,
    PRICE_NOISE,
    QUANTITIES,
    THEME_CHANCE,
    WISH_DAYS,
    wish_chance,
    wishes,
)
from jobs.simulate.visits import BROWSE, BUY

SHORTEST_HORIZON_DAYS = 10  # what is under way at as_of has ended by then
BLOCK = 100_000  # clients at once, to bound memory
WISH_DONE = np.cumsum(WISH_DAYS)  # chance that a wish is decided within 0, 1 ... days
CLICK_DONE = np.cumsum(BUY_DAYS)
OPEN_DONE = np.cumsum(OPEN_DAYS)
SEND_DONE = np.cumsum(np.convolve(OPEN_DAYS, BUY_DAYS))


def truth(world: World, as_of: date, horizon_days: int = 90) -> pd.DataFrame:
    """Return each client's true chance to buy in [as_of, as_of + horizon_days).

    It is what one could know who, at as_of 00:00 UTC, had seen every row with an event time
    before as_of and also knew each client's traits (rates of buying and leaving, taste, response
    to messages), whether the client is alive on as_of, which subscriptions run, which wishes to
    buy are undecided, the season, and the campaigns to come with their shares and offers; but no
    later draw: not who leaves or returns and when, who is sent, opens, clicks, wishes or drops a
    wish. Exact but for one term: a subscription is taken to end at the living clients' pace
    whatever happened to its client before (an error in the third digit of the chance).

    Returns:
        One row per client born before as_of: client_id, probability (of at least one purchase),
        alive (on as_of), expected_spend (sum of price times quantity over the window, before
        copies, corrections and offenders).

    Raises:
        ValueError: if the horizon is shorter than SHORTEST_HORIZON_DAYS.
    """
    if horizon_days < SHORTEST_HORIZON_DAYS:
        raise ValueError(
            f"horizon_days {horizon_days}: expected {SHORTEST_HORIZON_DAYS} or more, "
            "so that what is under way at as_of ends inside the window"
        )
    day = day_number(as_of)
    known = born_by(world, day - 1)
    if not world.start < day <= world.end:
        raise ValueError(f"as_of {as_of}: the world has rows before it for {world.start} on only")
    blocks = [
        _future(world, slice(first, min(first + BLOCK, known)), day, horizon_days)
        for first in range(0, known, BLOCK)
    ]
    none, spend = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    _under_way(world, day, none, spend)
    return pd.DataFrame(
        {
            "client_id": FIRST_CLIENT_ID + np.arange(known),
            "probability": np.clip(1 - none, 0, 1),
            "alive": alive(world, slice(known), day),
            "expected_spend": spend,
        }
    )


def engagement(world: World, as_of: date, horizon_days: int = 14) -> pd.DataFrame:
    """Return each client's true chance to click on a message in [as_of, as_of + horizon_days).

    What it knows is what ``truth`` knows: all that happened, the client's traits, whether the
    client lives and which subscriptions run on as_of, and the campaigns to come; not who will be
    sent, open or click. A subscription is taken to end at the pace of what its client is on as_of.

    Returns:
        One row per client born before as_of: client_id, probability, alive (on as_of).
    """
    day = day_number(as_of)
    known = born_by(world, day - 1)
    blocks = [
        _clicks(world, slice(first, min(first + BLOCK, known)), day, horizon_days)
        for first in range(0, known, BLOCK)
    ]
    none = np.concatenate(blocks)
    for began in range(max(world.start, day - len(OPEN_DAYS) + 1), day):
        sent = sends(world, began)
        seen = sent["opened"] & (sent["open_day"] < day)
        may = ~seen & ~sent["soft"] & (sent["ending"] < 0)
        opens = sent["open_chance"] / (1 - SOFT_BOUNCED[sent["channel"]])
        later = _later(opens, OPEN_DONE, np.full(len(opens), day - 1 - began))
        np.multiply.at(none, sent["client"], 1 - np.where(may, later * sent["click_chance"], 0.0))
    return pd.DataFrame(
        {
            "client_id": FIRST_CLIENT_ID + np.arange(known),
            "probability": np.clip(1 - none, 0, 1),
            "alive": alive(world, slice(known), day),
        }
    )


def funnel(world: World, start: date, days: int) -> pd.DataFrame:
    """Return the true rates of the messages sent in ``days`` days from ``start``.

    One row per channel: sends; open_rate of sends; click_rate of opened and buy_rate of clicked
    ones, each the mean of the chances that the messages were drawn with. A purchase loses its
    message_id in TIE_LOST of the cases.
    """
    first = day_number(start)
    parts = []
    for day in range(first, first + days):
        sent = sends(world, day)
        clicks = sent["open_chance"] * sent["click_chance"]
        chances = {"opens": sent["open_chance"], "clicks": clicks}
        chances["purchases"] = clicks * sent["buy_chance"]
        parts.append(pd.DataFrame({"channel": sent["channel"], "sends": 1, **chances}))
    total = pd.concat(parts).groupby("channel").sum()
    return pd.DataFrame(
        {
            "channel": np.array(CHANNELS)[total.index],
            "sends": total["sends"].to_numpy(),
            "open_rate": (total["opens"] / total["sends"]).to_numpy(),
            "click_rate": (total["clicks"] / total["opens"]).to_numpy(),
            "buy_rate": (total["purchases"] / total["clicks"]).to_numpy(),
        }
    )


def next_steps() -> pd.DataFrame:
    """Return the true chance of each next step of a visit, given its last two.

    One row per visit ("look", or "decide" where a purchase is made or dropped), before, last and
    next step; "start" stands before the first step and "end" after the last one.
    """
    steps = ["start", "view", "cart", "favorite"]
    rows = [
        (visit, before, last, then, float(table[i, j, k]))
        for visit, table in (("look", BROWSE), ("decide", BUY))
        for i, before in enumerate(steps)
        for j, last in enumerate(steps)
        for k, then in enumerate([*steps[1:], "end"])
        if j or not i
    ]
    return pd.DataFrame(rows, columns=["visit", "before", "last", "next", "probability"])


def _future(world: World, who: slice, day: int, horizon: int) -> tuple[Array, Array]:
    """Return, from what begins on ``day`` or later, the chance of no purchase and the spend."""
    lives = alive(world, who, day)
    again = lives & (day >= world.comeback[who])
    # chances of each state: living, away, living again; alone, and together with no purchase yet
    states = [lives & ~again, ~lives & (day < world.comeback[who]), again]
    here = [state.astype(float) for state in states]
    none = [state.copy() for state in here]
    lost = 1 - here[0] - here[1] - here[2]  # gone for good: buys nothing
    leaves = 1 - np.exp(-world.leave[who].astype(float))
    returns, leaves_again = 1 - np.exp(-1 / COMEBACK_DAYS), 1 - np.exp(-1 / SECOND_LIFE_DAYS)
    subscribed = world.subscribed_until[who] >= day
    basket = _basket(world, who)
    spend = np.zeros(len(lost))
    for today in range(day, day + horizon):
        left = day + horizon - 1 - today
        wish = wish_chance(world, who, today) * (1 - DROPPED) * _done(WISH_DONE, left)
        keeps = 1 - wish
        worth = wish * basket
        runs = np.exp(-END_LIVING * (today - day + 1))
        for channel, share, offer, theme, _ in zip(*campaigns(world, today).values(), strict=True):
            opens, clicks, buys = response(world, who, channel, offer, theme)
            buys = np.minimum(buys * season(np.array([today])), 0.8)
            chance = np.minimum(share * world.reach[who], 1) * subscribed[:, channel] * runs
            chance = chance * (1 - SOFT_BOUNCED[channel]) * opens * clicks * buys
            chance = chance * _done(SEND_DONE, left)
            keeps = keeps * (1 - chance)
            worth = worth + chance * (1 - offer) * _basket(world, who, theme)
        spend += (here[0] + here[2]) * worth
        none[0], none[2] = none[0] * keeps, none[2] * keeps
        for chances in (here, none):
            leaving, back = chances[0] * leaves, chances[1] * returns
            leaving_again = chances[2] * leaves_again
            chances[0] = chances[0] - leaving
            chances[1] = chances[1] + leaving - back
            chances[2] = chances[2] + back - leaving_again
            if chances is none:
                lost = lost + leaving_again
    return none[0] + none[1] + none[2] + lost, spend


def _clicks(world: World, who: slice, day: int, horizon: int) -> Array:
    """Return the chance of no click on what is sent on ``day`` or later."""
    lives = alive(world, who, day)
    again = lives & (day >= world.comeback[who])
    away = ~lives & (day < world.comeback[who])
    leaves = 1 - np.exp(-np.where(again, 1 / SECOND_LIFE_DAYS, world.leave[who].astype(float)))
    returns = np.where(away, 1 - np.exp(-1 / COMEBACK_DAYS), 0.0)
    ends = np.where(lives, END_LIVING, END_GONE)
    subscribed = world.subscribed_until[who] >= day
    # chances of living, and of being gone, together with no click yet
    living, gone = lives.astype(float), (~lives).astype(float)
    for today in range(day, day + horizon):
        opened = _done(OPEN_DONE, day + horizon - 1 - today)
        runs = np.exp(-ends * (today - day + 1)) * opened
        for channel, share, offer, theme, _ in zip(*campaigns(world, today).values(), strict=True):
            opens, clicks, _ = response(world, who, channel, offer, theme)
            chance = np.minimum(share * world.reach[who], 1) * subscribed[:, channel] * runs
            chance = chance * (1 - SOFT_BOUNCED[channel]) * opens * clicks
            living = living * (1 - chance)
            gone = gone * (1 - chance * GONE_OPENED * GONE_CLICKED)
        leaving, back = living * leaves, gone * returns
        living, gone = living - leaving + back, gone + leaving - back
    return np.asarray(living + gone)


def _under_way(world: World, day: int, none: Array, spend: Array) -> None:
    """Multiply into ``none``, and add to ``spend``, what began before ``day`` and is undecided."""
    for began in range(max(world.start, day - len(WISH_DAYS) + 1), day):
        wished = wishes(world, began)
        client = wished["client"][wished["decision_day"] >= day]
        np.multiply.at(none, client, DROPPED)
        np.add.at(spend, client, (1 - DROPPED) * _basket(world, client))
    for began in range(max(world.start, day - len(SEND_DONE) + 1), day):
        sent = sends(world, began)
        client, offer = sent["client"], sent["offer"]
        seen_open = sent["opened"] & (sent["open_day"] < day)
        seen_purchase = sent["bought"] & (sent["buy_day"] < day)
        may_open = ~seen_open & ~sent["soft"] & (sent["ending"] < 0)
        opens = sent["open_chance"] / (1 - SOFT_BOUNCED[sent["channel"]])
        later = _later(opens, OPEN_DONE, np.full(len(client), day - 1 - began))
        unopened = later * sent["click_chance"] * sent["buy_chance"]
        waited = np.maximum(day - 1 - sent["open_day"], 0)
        clicked = _later(sent["buy_chance"], CLICK_DONE, waited)
        chance = np.where(may_open, unopened, 0.0)
        chance = np.where(seen_open & sent["clicked"] & ~seen_purchase, clicked, chance)
        np.multiply.at(none, client, 1 - chance)
        for theme in np.unique(sent["theme"]):
            of = sent["theme"] == theme
            worth = chance[of] * (1 - offer[of]) * _basket(world, client[of], int(theme))
            np.add.at(spend, client[of], worth)


def _done(cumulated: Array, days: int) -> float:
    """Return the chance that a wait is over within ``days`` more days."""
    return float(cumulated[min(days, len(cumulated) - 1)])


def _later(chance: Array, cumulated: Array, waited: Array) -> Array:
    """Return the chance that a thing still happens, given ``waited`` days without it (Bayes)."""
    done = cumulated[np.minimum(waited, len(cumulated) - 1)]
    return np.asarray(chance * (1 - done) / (1 - chance * done))


def _basket(world: World, who: Array | slice, theme: int = -1) -> Array:
    """Return the expected worth of each client's basket, before a campaign's discount."""
    price, taste = world.catalog.group_price, world.taste[who]
    first, second = TASTE_CHANCE
    mean = first * price[taste[:, 0]] + second * price[taste[:, 1]]
    mean = mean + (1 - first - second) * float(world.catalog.group_share @ price)
    if theme >= 0:
        mean = (1 - THEME_CHANCE) * mean + THEME_CHANCE * price[theme]
    items = float(QUANTITIES @ np.arange(1, len(QUANTITIES) + 1)) / (1 - MORE_LINES)
    return np.asarray(mean * world.price_level[who] * items * np.exp(PRICE_NOISE**2 / 2))
