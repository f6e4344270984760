"""How likely a view ends in a like: what the rows are drawn with, and what the truth knows."""

import numpy as np

from jobs.simulate.clock import DAY_US, Array
from jobs.simulate.social.posts import PICTURE
from jobs.simulate.social.words import TOPICS
from jobs.simulate.social.world import CITY_OFFSET, DIMENSIONS, World, born_by

BASE = -2.93  # the logit of a usual view's like, of an old post
TOPIC_WEIGHT, FACTOR_WEIGHT = 0.44, 0.56
# A picture's appeal is uniform in [-1, 1]: over posts with pictures the sd of its effect is .28.
# That there is one counts too, around the mean of all posts.
PICTURE_WEIGHT, PICTURE_THERE = 0.62, 0.15
# A new post's logit is higher by the sum of these; each part of it fades at its own pace.
FRESH, FRESH_DAYS = np.array([0.55, 0.55]), np.array([3.0, 25.0])
# When each topic is liked most: the local hour, and how much more at weekends.
TOPIC_HOUR = np.array([9.0, 21.0, 23.0, 21.5, 8.5, 13.0, 19.0, 11.0, 17.0])
HOUR_WEIGHT = 0.35
WEEKEND = np.array([-0.30, 0.15, 0.25, 0.25, -0.30, -0.10, 0.25, -0.15, 0.25])


def logit(world: World, user: Array, post: Array, at: Array) -> Array:
    """Return the logit of a like for views of ``post`` by ``user`` at times, place by place.

    The picture is left out: add ``pictured``.
    """
    own = world.topic_taste[user, world.topic[post]]
    # the two gathered matrices one factor at a time: a day's views need not be held eight times
    latent = np.zeros(len(user), dtype=np.float32)
    for factor in range(DIMENSIONS):
        latent += world.taste[user, factor] * world.factors[post, factor]
    hour = (at // 3_600_000_000 + CITY_OFFSET[world.city[user]]) % 24
    weekday = (at // DAY_US + 3) % 7
    return np.asarray(
        appeal(world, post, at)
        + world.generous[user]
        + TOPIC_WEIGHT * own
        + (FACTOR_WEIGHT / np.sqrt(DIMENSIONS)) * latent
        + moment(world.topic[post], hour, weekday)
    )


def appeal(world: World, post: Array, at: Array | int) -> Array:
    """Return the part of ``logit`` that is the same for all users: quality and freshness."""
    age = np.maximum(at - world.published[post], 0) / DAY_US
    fresh = sum(lift * np.exp(-age / days) for lift, days in zip(FRESH, FRESH_DAYS, strict=True))
    return np.asarray(BASE + world.quality[post] + fresh)


def pictured(world: World, post: Array) -> Array:
    """Return what the posts' pictures, or their absence, add to the logit of a like."""
    there = PICTURE_THERE * (world.picture[post] - PICTURE)
    return np.asarray(there + PICTURE_WEIGHT * world.picture_appeal[post])


def usual(world: World, post: Array, at: int) -> Array:
    """Return ``logit`` of the mean user of the world's start, at no special hour."""
    first = slice(0, born_by(world, world.start))
    topic = world.topic_taste[first].mean(axis=0)[world.topic[post]]
    latent = world.factors[post] @ world.taste[first].mean(axis=0)
    return np.asarray(
        appeal(world, post, at)
        + TOPIC_WEIGHT * topic
        + (FACTOR_WEIGHT / np.sqrt(DIMENSIONS)) * latent
    )


def moment(topic: Array, hour: Array, weekday: Array) -> Array:
    """Return how much more a topic is liked at a local hour of a weekday (Monday is 0)."""
    return np.asarray(HOURLY[topic, hour] + np.where(weekday >= 5, WEEKEND[topic], 0.0))


def chance(logits: Array) -> Array:
    """Return the probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-logits)))


HOURLY = HOUR_WEIGHT * np.cos(2 * np.pi * (np.arange(24) - TOPIC_HOUR[:, None]) / 24)
assert len(TOPIC_HOUR) == len(WEEKEND) == len(TOPICS)
