"""What the product shows where our lists do not decide: its own base ranking policy.

A mix of popular posts, posts of the topics a user follows, fresh ones and random ones. The planted
appeal stands in for a count of recent likes, so that no day needs the days before it; the part of
the pictures is left out, so that who views a post does not depend on its picture. Posts take turns:
in each cycle a user meets a post on one day at most, so that few views are repeated.
"""

from typing import NamedTuple

import numpy as np

from jobs.simulate.clock import DAY_US, Array, mix, pick
from jobs.simulate.social.likes import usual
from jobs.simulate.social.words import TOPICS
from jobs.simulate.social.world import World, there

POPULAR, FOLLOWED, NEW, RANDOM = range(4)
SHARE = np.array([0.40, 0.20, 0.10, 0.30])
POPULAR_POWER, FOLLOWED_POWER = 2.5, 1.0  # of a post's planted odds of a like
FOLLOW_POWER = 0.9  # how much more often a liked topic is followed
NEW_DAYS = 3
CYCLE_DAYS = 28
POSTS_A_TURN = 30  # at least; a small world has fewer turns, and more views are repeated


class Policy(NamedTuple):
    """One day's tables; posts stand in order of turn and topic."""

    post: Array
    cumulated: Array  # by kind of the mix: the sums of the weights before each post, and of all
    before: Array  # the sums of those published before the day
    first: Array  # of turn t and topic k the posts from first[t * topics + k]
    turns: int
    day: int


def policy(world: World, day: int) -> Policy:
    """Return the base policy of a day."""
    post = there(world, day)
    cycle = (day - world.start) // CYCLE_DAYS
    before = there(world, world.start + cycle * CYCLE_DAYS - 1)
    turns = int(np.clip(len(before) // POSTS_A_TURN, 1, CYCLE_DAYS))
    key = mix(mix(post.astype(np.uint64)) ^ np.uint64(cycle * 1_000_003 + world.seed))
    turn = (key % np.uint64(turns)).astype(np.int64)
    place = turn * len(TOPICS) + world.topic[post]
    order = np.argsort(place, kind="stable")
    post, place = post[order], place[order]
    lift = usual(world, post, day * DAY_US + DAY_US // 2)
    lift = lift - lift.max(initial=0)
    fresh = world.published[post] >= (day - NEW_DAYS) * DAY_US
    weights = [
        np.exp(POPULAR_POWER * lift),
        np.exp(FOLLOWED_POWER * lift),
        fresh * np.exp(FOLLOWED_POWER * lift),
        np.ones(len(post)),
    ]
    cumulated = np.stack([_sums(weight) for weight in weights])
    before = _sums((world.published[post] < day * DAY_US).astype(float))
    first = np.searchsorted(place, np.arange(turns * len(TOPICS) + 1))
    return Policy(post, cumulated, before, first, turns, day)


def choose(rng: np.random.Generator, world: World, rules: Policy, user: Array, at: Array) -> Array:
    """Return a post for each view of ``user`` at a time, published before it."""
    kind = pick(rng, SHARE, len(user))
    shift = mix(user.astype(np.uint64)) % np.uint64(rules.turns)
    turn = (rules.day + shift.astype(np.int64)) % rules.turns
    topics = len(TOPICS)
    low, high = rules.first[turn * topics], rules.first[(turn + 1) * topics]
    follows = np.flatnonzero(kind == FOLLOWED)
    topic = _followed(rng, world, user[follows])
    low[follows] = rules.first[turn[follows] * topics + topic]
    high[follows] = rules.first[turn[follows] * topics + topic + 1]
    uniform = rng.random(len(user))
    post = np.full(len(user), -1)
    for number in range(len(SHARE)):
        of = np.flatnonzero(kind == number)
        post[of] = _draw(rules, rules.cumulated[number], low[of], high[of], uniform[of])
    # nothing of that kind has its turn, or it is not published yet: any older post
    absent = np.flatnonzero((post < 0) | (world.published[post] > at))
    low, high = rules.first[turn[absent] * topics], rules.first[(turn[absent] + 1) * topics]
    again = rng.random(len(absent))
    post[absent] = _draw(rules, rules.before, low, high, again)
    absent, again = absent[post[absent] < 0], again[post[absent] < 0]
    post[absent] = any_older(rules, again)
    return post


def any_older(rules: Policy, uniform: Array) -> Array:
    """Return posts published before the day, each as likely as any other."""
    everything = np.full(len(uniform), len(rules.post))
    return _draw(rules, rules.before, 0 * everything, everything, uniform)


def _followed(rng: np.random.Generator, world: World, user: Array) -> Array:
    """Return a topic for each user, liked ones more often."""
    weight = np.exp(FOLLOW_POWER * world.topic_taste[user])
    cumulated = np.cumsum(weight, axis=1)
    wanted = rng.random(len(user), dtype=np.float32) * cumulated[:, -1]
    return np.asarray((wanted[:, None] >= cumulated[:, :-1]).sum(axis=1))


def _draw(rules: Policy, cumulated: Array, low: Array, high: Array, uniform: Array) -> Array:
    """Return a post of each range [low, high) by its weights; -1 where they sum to nothing."""
    least, most = cumulated[low], cumulated[high]
    place = np.searchsorted(cumulated, least + uniform * (most - least), side="right") - 1
    place = np.clip(place, 0, len(rules.post) - 1)
    return np.where(most > least, rules.post[place], -1)


def _sums(weight: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(weight)])
