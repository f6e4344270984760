"""What is true of the simulated feed: the chances that its rows were drawn with.

Tests and benches ask for it; nothing that trains or scores may. Days are dates, hours are of UTC;
a post that can't be seen (unknown, removed, or not published at the hour) earns no like.
"""

from datetime import date

import numpy as np
import pandas as pd

from jobs.simulate.clock import DAY_US, Array, day_date, day_number
from jobs.simulate.social.feed import ACTIONS, LIKE, RARE, rare_chance
from jobs.simulate.social.likes import (
    FACTOR_WEIGHT,
    PICTURE_THERE,
    TOPIC_WEIGHT,
    appeal,
    chance,
    logit,
    moment,
    pictured,
    usual,
)
from jobs.simulate.social.posts import PICTURE
from jobs.simulate.social.world import (
    CITY_OFFSET,
    DIMENSIONS,
    FIRST_POST_ID,
    FIRST_USER_ID,
    World,
)

HOUR_US = 3_600_000_000
BLOCK = 2_000  # users at once, to bound memory


def available(world: World, day: date) -> Array:
    """Return the ids of the posts published before a day and not removed by its end."""
    number = _number(world, day)
    there = (world.published < number * DAY_US) & (world.removed > number)
    return np.asarray(FIRST_POST_ID + np.flatnonzero(there))


def expected_likes(
    world: World, day: date, user_ids: Array, post_ids: Array, hour: int | Array
) -> Array:
    """Return the chance that a view ends in a like.

    Args:
        world: planned for the day.
        day: the day of the view.
        user_ids: one for each row.
        post_ids: users x k; an id that is no post (such as -1) earns nothing.
        hour: of the view, one for all or one for each row; its middle is meant.

    Returns:
        users x k probabilities; a list's expected likes are its row's sum.
    """
    number = _number(world, day)
    listed = np.asarray(post_ids)
    user = np.broadcast_to((_users(world, user_ids))[:, None], listed.shape)
    at = number * DAY_US + np.broadcast_to(np.asarray(hour), len(user))[:, None] * HOUR_US
    at = np.broadcast_to(at + HOUR_US // 2, listed.shape)
    post = listed.astype(np.int64) - FIRST_POST_ID
    known = (post >= 0) & (post < len(world.published))
    post = np.where(known, post, 0)
    known &= (world.published[post] <= at) & (world.removed[post] > number)
    found = np.zeros(listed.shape)
    views = logit(world, user[known], post[known], at[known])
    found[known] = chance(views + pictured(world, post[known]))
    return found


def best(
    world: World,
    day: date,
    user_ids: Array,
    k: int,
    posts: Array,
    hour: int | Array,
    without: Array | None = None,
) -> tuple[Array, Array]:
    """Return each user's best list and what it earns: what can be achieved.

    Args:
        world: planned for the day.
        day: the day of the views.
        user_ids: one for each row.
        k: length of the lists, at most the number of posts.
        posts: ids to choose from, such as ``available``.
        hour: of the views, one for all or one for each user.
        without: users x posts, where true the post may not be in the user's list (viewed before).

    Returns:
        users x k post ids, the best first (-1 where none is left), and their expected likes.
    """
    users, choice = np.asarray(user_ids), np.asarray(posts)
    hours = np.broadcast_to(np.asarray(hour), len(users))
    ids = np.full((len(users), k), -1, dtype=np.int64)
    likes = np.zeros((len(users), k))
    for begin in range(0, len(users), BLOCK):
        rows = slice(begin, begin + BLOCK)
        earned = chances(world, day, users[rows], choice, hours[rows])
        if without is not None:
            earned[without[rows]] = 0.0
        top = np.argpartition(-earned, k - 1, axis=1)[:, :k]
        value = np.take_along_axis(earned, top, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        likes[rows] = np.take_along_axis(value, order, axis=1)
        ids[rows] = np.where(likes[rows] > 0, choice[np.take_along_axis(top, order, axis=1)], -1)
    return ids, likes


def chances(world: World, day: date, user_ids: Array, posts: Array, hour: int | Array) -> Array:
    """Return users x posts what ``expected_likes`` says of every pair; memory is the result's."""
    post = np.asarray(posts).astype(np.int64) - FIRST_POST_ID
    return chance(_logits(world, day, user_ids, post, hour) + pictured(world, post))


def picture_appeal(world: World, post_ids: Array) -> Array:
    """Return the planted appeal of each post's picture, in [-1, 1]; 0 where it has none."""
    return np.asarray(world.picture_appeal[_posts(world, post_ids)])


def rates(
    world: World,
    day: date,
    post_ids: Array,
    picture: bool = True,
    user_ids: Array | None = None,
    hour: int | Array = 12,
) -> pd.DataFrame:
    """Return how often a view of each post ends in each action, one row per post.

    Args:
        world: planned for the day.
        day: the day of the views.
        post_ids: whose rates; a post that can't be seen at the hour has none (0).
        picture: whether the posts show their pictures; if not, what they would earn without.
        user_ids: the mean over views of these users, one each; by default the view of the mean
            user at no special hour, which is less than the mean of users' views.
        hour: of the views, one for all or one for each user.

    Returns:
        post_id, like, share, comment, hide.
    """
    post = _posts(world, post_ids)
    if user_ids is None:
        number, at = _number(world, day), int(hour) * HOUR_US + HOUR_US // 2
        at += number * DAY_US
        there = (world.published[post] <= at) & (world.removed[post] > number)
        plain = np.where(there, usual(world, post, at), -np.inf)[None, :]
    else:
        plain = _logits(world, day, user_ids, post, hour)
    seen, liked = np.isfinite(plain), chance(plain)
    shown = pictured(world, post) if picture else -PICTURE_THERE * PICTURE
    found = {"post_id": FIRST_POST_ID + post, ACTIONS[LIKE]: chance(plain + shown).mean(axis=0)}
    for action in RARE:
        yes, no = (rare_chance(world, action, post, np.array(like)) for like in (1, 0))
        found[ACTIONS[action]] = (seen * (liked * yes + (1 - liked) * no)).mean(axis=0)
    return pd.DataFrame(found)


def _logits(world: World, day: date, user_ids: Array, post: Array, hour: int | Array) -> Array:
    """Return users x posts logits of a like, pictures left out; -inf where a post can't be seen."""
    number, user = _number(world, day), _users(world, user_ids)
    hours = np.broadcast_to(np.asarray(hour), len(user))
    logits = world.taste[user] @ (FACTOR_WEIGHT / np.sqrt(DIMENSIONS) * world.factors[post].T)
    taste = TOPIC_WEIGHT * world.topic_taste[user] + world.generous[user][:, None]
    topic = np.arange(taste.shape[1])
    local = (hours + CITY_OFFSET[world.city[user]]) % 24
    taste = taste + moment(topic[None, :], local[:, None], np.array((number + 3) % 7))
    logits += taste[:, world.topic[post]]
    for value in np.unique(hours):
        at = number * DAY_US + int(value) * HOUR_US + HOUR_US // 2
        there = (world.published[post] <= at) & (world.removed[post] > number)
        logits[hours == value] += np.where(there, appeal(world, post, at), -np.inf)
    return np.asarray(logits)


def uninformed(world: World, day: date, user_ids: Array, posts: Array, hour: int | Array) -> Array:
    """Return each user's expected likes of one view of a post drawn at random from ``posts``."""
    users = np.asarray(user_ids)
    hours = np.broadcast_to(np.asarray(hour), len(users))
    found = [
        chances(world, day, users[rows], posts, hours[rows]).mean(axis=1)
        for rows in (slice(at, at + BLOCK) for at in range(0, len(users), BLOCK))
    ]
    return np.concatenate([np.zeros(0), *found])


def achieved(
    world: World,
    day: date,
    user_ids: Array,
    post_ids: Array,
    hour: int | Array,
    without: Array | None = None,
) -> float:
    """Return the share of the achievable expected likes that lists (users x k) earn.

    What is achievable is ``best`` of the available posts at the same length.
    """
    earned = expected_likes(world, day, user_ids, post_ids, hour).sum()
    k = np.asarray(post_ids).shape[1]
    most = best(world, day, user_ids, k, available(world, day), hour, without)[1].sum()
    return float(earned / most)


def _number(world: World, day: date) -> int:
    """Return the day's number.

    Raises:
        ValueError: if the world's posts are not planned up to it.
    """
    number = day_number(day)
    if not world.start <= number <= world.end:
        raise ValueError(
            f"day {day}: the world is planned from {day_date(world.start)} to "
            f"{day_date(world.end)}; plan it for more days"
        )
    return number


def _users(world: World, user_ids: Array) -> Array:
    """Return the users' places.

    Raises:
        ValueError: if one is not in the world.
    """
    user = np.asarray(user_ids).astype(np.int64) - FIRST_USER_ID
    if len(user) and not (user.min() >= 0 and user.max() < len(world.birth)):
        raise ValueError(
            f"user ids {user_ids.min()} to {user_ids.max()}: the world has {FIRST_USER_ID} to "
            f"{FIRST_USER_ID + len(world.birth) - 1}"
        )
    return np.asarray(user)


def _posts(world: World, post_ids: Array) -> Array:
    """Return the posts' places.

    Raises:
        ValueError: if one is not in the world.
    """
    post = np.asarray(post_ids).astype(np.int64) - FIRST_POST_ID
    if len(post) and not (post.min() >= 0 and post.max() < len(world.published)):
        raise ValueError(
            f"post ids {post.min() + FIRST_POST_ID} to {post.max() + FIRST_POST_ID}: the world has "
            f"{FIRST_POST_ID} to {FIRST_POST_ID + len(world.published) - 1}"
        )
    return np.asarray(post)
