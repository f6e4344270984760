"""One day of the simulated feed: sessions, views, and what comes of them.

Nothing a user does changes the user, and the base policy knows only what is planted, so a day is
drawn from random streams of its own and needs no other; only our lists' viewed posts are looked up.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from jobs.simulate.clock import (
    DAY_US,
    HOURS_CUMULATED,
    Array,
    Columns,
    concatenate,
    day_date,
    stream,
    take,
)
from jobs.simulate.social.likes import chance, logit, pictured
from jobs.simulate.social.lists import Lists, part_of, serve
from jobs.simulate.social.policy import any_older, choose, policy
from jobs.simulate.social.world import (
    BASE_POLICY,
    CITY_OFFSET,
    FIRST_POST_ID,
    FIRST_USER_ID,
    LIKES,
    LISTS,
    SESSIONS,
    World,
    born_by,
)

ACTIONS = ("view", "like", "share", "comment", "hide", "teleport")
VIEW, LIKE, SHARE, COMMENT, HIDE, UNKNOWN = range(6)

WEEK = np.array([0.97, 0.95, 0.95, 0.97, 1.02, 1.08, 1.06])
MORE_VIEWS = 3.0  # mean of the views of a session after its first
AT_OWN_HOURS, HOURS_SD = 0.75, 2.2
GAP_LEAST_S, GAP_MEAN_S = 3, 20
PASSED = 0.1  # of a view's time goes to a post that is served and not viewed
NOTICED_US = 500_000  # from a request to the view of its first post
FROM_BASE = 0.2  # of the views of a user who has lists come from search, friends and the like
LIKE_LEAST_S, LIKE_MEAN_S, LIKE_MOST_S = 2, 30, 280
# the rare actions after a view: their logit, what a like adds to it, and which of the post's
# factors moves it
RARE = {SHARE: (-6.2, 1.8, 1), COMMENT: (-5.7, 1.4, 0), HIDE: (-5.6, -3.0, 6)}
RARE_WEIGHT = 0.6

IMPRESSION = ("served_at", "user_id", "day_part", "post_ids", "positions")


class Day(NamedTuple):
    """What happens on a day: events (at, user, post, action, target), and the lists served."""

    events: Columns
    impressions: pd.DataFrame


def play(world: World, day: int, found: Lists | None = None, seen: Array | None = None) -> Day:
    """Return all events of the sessions that begin on a day.

    Args:
        world: planned for the day.
        day: its number.
        found: our lists; a user without one for the hour sees the base policy.
        seen: what users viewed on earlier days (see ``lists.no_bits``); goes with ``found``.

    Raises:
        ValueError: if the world is not planned for the day.
    """
    if not world.start <= day < world.end:
        raise ValueError(
            f"day {day_date(day)}: the world is planned from {day_date(world.start)} to "
            f"{day_date(world.end)}; plan it for more days"
        )
    sessions = _sessions(world, day)
    slots = None
    if found is not None and seen is not None:
        sessions, slots = _listed(world, day, sessions, found, seen)
    views = _base_views(world, day, sessions)
    if slots is not None:
        viewed = take(slots, slots["viewed"])
        user = sessions["user"][viewed["session"]]
        listed = {"user": user, "post": viewed["post"], "at": viewed["at"] + NOTICED_US}
        views = concatenate([views, listed])
    # a post is viewed once a day; the first view drawn stays
    views = take(views, _first(world, views["user"], views["post"]))
    impressions = no_impressions()
    if slots is not None and found is not None:
        impressions = _impressions(sessions, slots, found)
    return Day(_events(world, day, views), impressions)


def rare_chance(world: World, action: int, post: Array, liked: Array) -> Array:
    """Return the chance of a rare action after views of ``post``.

    ``liked`` is whether the view is liked, the picture aside: see ``_events``.
    """
    base, lift, factor = RARE[action]
    return chance(base + lift * liked + RARE_WEIGHT * world.factors[post, factor])


def no_impressions() -> pd.DataFrame:
    """Return the frame of impressions without a row."""
    return pd.DataFrame({name: [] for name in IMPRESSION})


def _sessions(world: World, day: int) -> Columns:
    """Return the day's sessions in order of user and time: user, at, wanted (views)."""
    rng = stream(world.seed, SESSIONS, day)
    born = born_by(world, day)
    number = rng.poisson(world.rate[:born] * WEEK[(day + 3) % 7])
    user = np.repeat(np.arange(born), number)
    rows = len(user)
    usual = np.searchsorted(HOURS_CUMULATED, rng.random(rows) * HOURS_CUMULATED[-1])
    usual = usual + rng.random(rows)
    own = world.peak[user] + HOURS_SD * rng.standard_normal(rows, dtype=np.float32)
    local = np.where(rng.random(rows, dtype=np.float32) < AT_OWN_HOURS, own, usual)
    hour = (local - CITY_OFFSET[world.city[user]]) % 24
    at = day * DAY_US + np.minimum((hour / 24 * DAY_US).astype(np.int64), DAY_US - 1)
    order = np.lexsort((at, user))
    wanted = 1 + rng.standard_exponential(rows, dtype=np.float32) * MORE_VIEWS
    return {"user": user, "at": at[order], "wanted": wanted.astype(np.int64)}


def _listed(
    world: World, day: int, sessions: Columns, found: Lists, seen: Array
) -> tuple[Columns, Columns]:
    """Return the sessions with what is left to the base policy, and the slots served of lists."""
    rng = stream(world.seed, LISTS, day)
    part = part_of(found, (sessions["at"] // 3_600_000_000) % 24)
    row = np.where(part >= 0, found.row[sessions["user"], part], -1) if len(found.parts) else part
    other = rng.binomial(sessions["wanted"], FROM_BASE)
    other = np.where(row >= 0, other, sessions["wanted"])
    has = np.flatnonzero(row >= 0)
    asking = {"user": sessions["user"][has], "row": row[has]}
    asking["wanted"] = (sessions["wanted"] - other)[has]
    gone = np.flatnonzero((world.removed <= day) | (world.published >= day * DAY_US))
    slots, left = serve(rng, world, found, asking, gone, seen)
    # who has seen all of the list is left to the base policy
    none = has[~left]
    other[none] = sessions["wanted"][none]
    slots["session"] = has[slots["session"]]
    gaps = _gaps(rng, slots["session"], np.where(slots["viewed"], 1.0, PASSED))
    slots["at"] = sessions["at"][slots["session"]] + gaps
    # what would be after midnight is not asked for any more
    slots = take(slots, slots["at"] < (day + 1) * DAY_US)
    return {**sessions, "wanted": other, "part": part}, slots


def _base_views(world: World, day: int, sessions: Columns) -> Columns:
    """Return the base policy's views: user, post, at."""
    rng = stream(world.seed, BASE_POLICY, day)
    session = np.repeat(np.arange(len(sessions["user"])), sessions["wanted"])
    at = sessions["at"][session] + _gaps(rng, session, 1.0)
    today = at < (day + 1) * DAY_US  # a session stops at midnight
    at, user = at[today], sessions["user"][session[today]]
    rules = policy(world, day)
    post = choose(rng, world, rules, user, at)
    # who has seen what has its turn is shown any other post
    again = ~_first(world, user, post)
    post[again] = any_older(rules, rng.random(int(again.sum())))
    return {"user": user, "post": post, "at": at}


def _first(world: World, user: Array, post: Array) -> Array:
    """Return whether each pair of user and post is the first such one."""
    key = user * len(world.published) + post
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.ones(len(key), dtype=bool)
    first[order[1:]] = key[1:] != key[:-1]
    return first


def _gaps(rng: np.random.Generator, session: Array, usual: Array | float) -> Array:
    """Return the time since each session's start, of posts in order of sessions.

    ``usual`` is how long each post is looked at, 1 is a view.
    """
    gap = GAP_LEAST_S + GAP_MEAN_S * rng.standard_exponential(len(session), dtype=np.float32)
    total = np.cumsum((gap * usual * 1e6).astype(np.int64))
    if not len(total):
        return total
    total = np.concatenate([[0], total[:-1]])
    begins = np.concatenate([[True], session[1:] != session[:-1]])
    start = np.maximum.accumulate(np.where(begins, np.arange(len(session)), 0))
    return np.asarray(total - total[start])


def _impressions(sessions: Columns, slots: Columns, found: Lists) -> pd.DataFrame:
    """Return the requests answered from lists, one row each."""
    if not len(slots["session"]):
        return no_impressions()
    # the later requests of a session follow when the earlier posts were scrolled past
    first = np.flatnonzero(slots["position"] == 1)
    session, at = slots["session"][first], slots["at"][first]
    ids, positions = FIRST_POST_ID + slots["post"], slots["position"].astype(np.int16)
    return pd.DataFrame(
        {
            "served_at": pd.Series(at.astype("datetime64[us]")),
            "user_id": FIRST_USER_ID + sessions["user"][session],
            "day_part": found.parts[sessions["part"][session]],
            "post_ids": np.split(ids, first[1:]),
            "positions": np.split(positions, first[1:]),
        }
    )


def _events(world: World, day: int, views: Columns) -> Columns:
    """Return views and what came of them: at, user, post, action, target (-1 is none)."""
    rng = stream(world.seed, LIKES, day)
    rows = len(views["at"])
    drawn, plain = rng.random(rows), logit(world, views["user"], views["post"], views["at"])
    liked = drawn < chance(plain + pictured(world, views["post"]))
    # Who likes a post shares it more, and pictures move likes; yet the truth planted is that no
    # picture moves a share, comment or hide. So these follow what the same draw would have been
    # without the picture's part, in which nothing of the picture is left.
    liked_anyway = drawn < chance(plain)
    soon = LIKE_LEAST_S + LIKE_MEAN_S * rng.standard_exponential(rows, dtype=np.float32)
    delay = (np.minimum(soon, LIKE_MOST_S) * 1e6).astype(np.int64)
    parts = [{**views, "action": np.full(rows, VIEW), "target": liked.astype(np.int64)}]
    happened = [(LIKE, liked)]
    for action in RARE:
        chances = rare_chance(world, action, views["post"], liked_anyway)
        happened.append((action, rng.random(rows, dtype=np.float32) < chances))
    for action, which in happened:
        rare = take(views, which)
        rare["at"] = rare["at"] + delay[which] * (1 if action == LIKE else 2)
        number = len(rare["at"])
        parts.append(rare | {"action": np.full(number, action), "target": np.full(number, -1)})
    return concatenate(parts)
