"""What lists would have been worth: on the next day's likes, and on each user's last like.

Two questions with different answers. Under one cut in time the popular posts of the moment are
hard to beat; with each user's last like held out, taste decides. Both are reported.

Both share a bias: a post that was not shown can't be liked, so the order that filled the day's
lists looks best, whatever it is worth. A gate that believed that would keep forever what served
first. It asks instead how each order puts the posts that the user did view (PRIMARY).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs import ranking
from jobs.champion.gate import mean_samples
from jobs.feed_recommendation import lists, model
from jobs.feed_recommendation.day import Day
from jobs.feed_recommendation.history import LIKE, VIEW
from jobs.feed_recommendation.model import Fitted

# NDCG of the posts that the user viewed, in the list's order: Sakai's condensed lists (2007).
PRIMARY = "condensed_ndcg@10"
# Says which source is the rival: condensed lists favour one that puts first what is rarely shown.
LIKES = "ndcg@10"
MAX_USERS = 20_000
MIN_LIKES = 3
SEED = 7

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """Users, what each liked that lists should have had, and when each was served.

    Attributes:
        day: the cutoff, with these users only; their history holds nothing of the answer.
        user: row of each pair of user and relevant post.
        post: its place among the day's posts, or beyond them where it was not there yet.
        hours: UTC hour at which each user is served.
        viewed: rows of users and places of posts, of all that they viewed; None if that is not
            asked for.
    """

    day: Day
    user: NDArray[np.int64]
    post: NDArray[np.int64]
    hours: NDArray[np.int64]
    viewed: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None


@dataclass(frozen=True)
class Answer:
    """One set of lists.

    Attributes:
        top: users by 10, the first posts of each list; -1 where it is shorter.
        viewed: users by 10, the posts that the user viewed, put into the lists' order (less the
            rules of lists.py); None where the question does not ask for that.
    """

    top: NDArray[np.int32]
    viewed: NDArray[np.int32] | None = None


def next_day(day: Day, known_by: int) -> Question:
    """Return the likes of the cutoff's day, or days, of posts not seen by their users before.

    Users are served at the hour of their first view then. At most MAX_USERS, drawn.
    """
    outcome = day.outcome(known_by)
    before = day.history.before(day.cutoff)
    seen = pairs(before.user, before.post, len(before.posts))
    unseen = ~np.isin(pairs(outcome.user, outcome.post, len(before.posts)), seen)
    new = (outcome.action & LIKE > 0) & unseen
    who = _drawn(np.unique(outcome.user[new]).astype(np.int64))
    theirs = outcome.of(who)
    hours = np.zeros(len(who), np.int64)
    hours[theirs.user[::-1]] = theirs.hour[::-1]
    asked = np.isin(outcome.user, who)
    new, viewed = new & asked, (outcome.action & (VIEW | LIKE) > 0) & unseen & asked
    return Question(
        day.of(who),
        np.searchsorted(who, outcome.user[new]),
        _among(day, outcome.post[new]),
        hours,
        (np.searchsorted(who, outcome.user[viewed]), _among(day, outcome.post[viewed])),
    )


def last_like(day: Day, held_out: NDArray[np.bool_]) -> Question:
    """Return each held-out user's last like before the cutoff; nothing after it is in the history.

    Args:
        day: the cutoff.
        held_out: users whose events no model learned from.
    """
    before = day.history.before(day.cutoff)
    first = model.first_likes(before)  # one element per user and post liked
    counts = np.bincount(before.user[first], minlength=len(before.users))
    who = _drawn(np.flatnonzero(held_out & (counts >= MIN_LIKES)))
    last = np.full(len(before.users), -1)
    last[before.user[first]] = np.flatnonzero(first)
    kept = np.arange(len(before.post)) < last[before.user]
    asked = day.of(who, before.where(kept & (last[before.user] >= 0)))
    return Question(
        asked,
        np.arange(len(who)),
        _among(day, before.post[last[who]]),
        before.hour[last[who]].astype(np.int64),
    )


def ask(
    question: Question, fitted: Fitted, vectors: Matrix, orders: Iterable[str]
) -> dict[str, Answer]:
    """Return, by order, each user's list.

    Args:
        question: users and moment.
        fitted: the model whose candidates are ordered.
        vectors: its encoder's, of the day's posts.
        orders: model.MODEL or those of model.ORDERS.
    """
    top: dict[str, list[NDArray[np.int32]]] = {order: [] for order in orders}
    viewed: dict[str, list[NDArray[np.int32]]] = {order: [] for order in top}
    day = question.day
    for block, table in model.prepare(
        fitted, day.context, vectors, day.users, day.history, question.viewed
    ):
        users, hours, post = day.users.iloc[block], question.hours[block], table.found.post
        for order in top:
            score = model.scores(fitted, day.context, table, users, hours, order)
            top[order].append(model.arranged(day.context, table, score, order, 10).post)
            if question.viewed is not None:
                theirs = np.where(_viewed(question, block, post), post, -1)
                viewed[order].append(lists.by_score(score, theirs, table.found.rank, 10).post)
    empty = np.zeros((0, 10), np.int32)
    return {
        order: Answer(
            np.concatenate([empty, *top[order]]),
            None if question.viewed is None else np.concatenate([empty, *viewed[order]]),
        )
        for order in top
    }


def figures(question: Question, answer: Answer) -> pd.DataFrame:
    """Return jobs.ranking.METRICS, and PRIMARY where it is asked for, by user, with user_id."""
    values = ranking.per_user(answer.top, question.user, question.post)
    if answer.viewed is not None:
        condensed = ranking.per_user(answer.viewed, question.user, question.post)
        values[PRIMARY] = condensed[LIKES]
    return question.day.users[["user_id"]].reset_index(drop=True).assign(**values)


def summary(question: Question, answers: Mapping[str, Answer], prefix: str = "") -> pd.DataFrame:
    """Return metric, value, low, high of each set of lists, by its name (column ``name``).

    Intervals (95 %) resample users; figures over the whole catalog have none. A question to nobody
    has no figures.
    """
    views = question.day.context.counts["views_30d"].astype(np.float64)
    per_user = {name: figures(question, each) for name, each in answers.items()}
    found: list[tuple[str, str, float, float, float]] = []
    columns = ["name", "metric", "value", "low", "high"]
    if question.day.users.empty:
        return pd.DataFrame(found, columns=columns).assign(rows=0)
    for metric in ranking.METRICS if question.viewed is None else (*ranking.METRICS, PRIMARY):
        table = question.day.users[["user_id"]].reset_index(drop=True)
        table = table.assign(**{name: each[metric] for name, each in per_user.items()})
        for name, drawn in mean_samples(table, list(answers), "user_id").items():
            low, high = np.quantile(drawn, [0.025, 0.975])
            found.append((name, prefix + metric, float(table[name].mean()), low, high))
    for name, answer in answers.items():
        for metric, value in ranking.over_catalog(answer.top, views).items():
            found.append((name, prefix + metric, value, np.nan, np.nan))
    return pd.DataFrame(found, columns=columns).assign(rows=len(question.day.users))


def pairs(user: NDArray[np.int32], post: NDArray[np.int32], posts: int) -> NDArray[np.int64]:
    """Return one number for each pair of user and post."""
    return user.astype(np.int64) * posts + post


def _viewed(question: Question, block: slice, post: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which of the posts in a block of users by columns their users viewed."""
    assert question.viewed is not None
    user, seen = question.viewed
    inside = (user >= block.start) & (user < block.stop)
    posts = len(question.day.context.post_ids)
    inside &= seen < posts
    rows = np.arange(len(post))[:, None]
    return np.isin(rows * posts + post, pairs(user[inside] - block.start, seen[inside], posts)) & (
        post >= 0
    )


def _among(day: Day, post: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return places among the context's posts; those not there yet come after the last one."""
    place, there = model.places(day.context.post_ids, day.history.posts)
    return np.where(there, place, len(day.context.post_ids) + np.arange(len(there)))[post]


def _drawn(who: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(who) <= MAX_USERS:
        return who
    return np.sort(np.random.default_rng(SEED).choice(who, MAX_USERS, replace=False))
