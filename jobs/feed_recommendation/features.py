"""What the ranker is told of a user, a post and the moment; the same at training and serving.

A table of candidates is users by columns. Its features stand feature by feature, which is how
CatBoost reads them without a copy: features by candidates, user after user.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numba import njit, prange
from numpy.typing import NDArray

from jobs.feed_recommendation.candidates import SOURCES
from jobs.feed_recommendation.context import PRIOR_VIEWS, WINDOW_DAYS, Context
from jobs.feed_recommendation.history import LIKE, VIEW, History, number

CATEGORIES = ("city", "country", "os", "source", "exp_group")
USER = (
    "age", "gender", *(f"{name}_like_rate" for name in CATEGORIES),
    "user_views", "user_like_rate", "user_idle_days",
)  # fmt: skip
POST = (
    "post_age_days", "post_length", "post_views_1d", "post_views_7d", "post_views_30d",
    "post_likes_1d", "post_likes_7d", "post_likes_30d", "post_likes_all", "post_like_rate_7d",
    "post_like_rate_all", "post_share_rate", "post_comment_rate", "post_hide_rate",
    "topic_like_rate",
)  # fmt: skip
PAIR = (
    "user_topic_views", "user_topic_like_rate", "user_topic_share", "user_topic_idle_days",
    "segment_topic_like_rate", "segment_post_like_rate", "als_score", "neighbours_score",
    "content_score",
)  # fmt: skip
RANKS = tuple(f"{name}_rank" for name in SOURCES)
MOMENT = (
    "hour", "month", "weekday", "topic_hour_like_rate", "topic_weekday_like_rate",
    "user_hour_share",
)  # fmt: skip
TEXT_DIMENSIONS, CLUSTERS = 16, 16

Matrix = NDArray[np.float32]


def names(clusters: int) -> list[str]:
    """Return the features' names in order; ``clusters`` is 0 for an encoder without them."""
    text = [f"text_{each}" for each in range(TEXT_DIMENSIONS)]
    distances = [f"cluster_distance_{each}" for each in range(clusters)]
    return [*USER, *POST, *PAIR, *RANKS, *text, *distances, *MOMENT]


@dataclass(frozen=True)
class Profiles:
    """What is known of a block of users at a cutoff, besides what the sources say.

    Attributes:
        user: users by USER.
        segment: each user's segment.
        topic_views, topic_like_rate, topic_share, topic_idle: users by topics.
        hour_share: users by 24, share of the user's views in the hour, drawn to that of all.
    """

    user: Matrix
    segment: NDArray[np.int32]
    topic_views: Matrix
    topic_like_rate: Matrix
    topic_share: Matrix
    topic_idle: Matrix
    hour_share: Matrix


def encode_categories(users: pd.DataFrame, history: History) -> dict[str, dict[str, float]]:
    """Return, by category and value, the likes per view of its users; learned at fitting.

    Rates are drawn to that of all by 100 views, so that a rare value says little.
    """
    viewed = np.bincount(history.user, (history.action & (VIEW | LIKE)) > 0, len(users))
    liked = np.bincount(history.user, (history.action & LIKE) > 0, len(users))
    rate = (liked.sum() + 1) / (viewed.sum() + PRIOR_VIEWS)
    learned: dict[str, dict[str, float]] = {}
    for name in CATEGORIES:
        sums = (
            pd.DataFrame({"value": users[name].astype(str), "viewed": viewed, "liked": liked})
            .groupby("value")
            .sum()
        )
        rates = (sums["liked"] + 100 * rate) / (sums["viewed"] + 100)
        learned[name] = {str(value): float(found) for value, found in rates.items()}
        learned[name][""] = float(rate)
    return learned


def profile(
    users: pd.DataFrame,
    history: History,
    context: Context,
    categories: dict[str, dict[str, float]],
) -> Profiles:
    """Return the profiles of a block of users.

    Args:
        users: rows of users.sql.
        history: theirs, in the same order; what is not known at the context's cutoff is left out.
        context: of the cutoff.
        categories: what `encode_categories` learned.
    """
    recent = history.before(context.cutoff, WINDOW_DAYS)
    place = np.searchsorted(context.post_ids, recent.posts)
    place = np.minimum(place, max(len(context.post_ids) - 1, 0))
    topic = np.where(
        context.post_ids[place] == recent.posts, context.topic[place], len(context.topics)
    )[recent.post]
    who = recent.user.astype(np.int64)
    viewed = ((recent.action & (VIEW | LIKE)) > 0).astype(np.float64)
    liked = ((recent.action & LIKE) > 0).astype(np.float64)
    idle = (number(context.cutoff) - recent.day).astype(np.float32)
    size, topics = len(users), len(context.topics)

    def by_topic(weights: NDArray[np.float64]) -> Matrix:
        flat = np.bincount(who * (topics + 1) + topic, weights, size * (topics + 1))
        return flat.reshape(size, topics + 1)[:, :topics].astype(np.float32)

    views = np.bincount(who, viewed, size).astype(np.float32)
    likes = np.bincount(who, liked, size).astype(np.float32)
    rate = (likes + PRIOR_VIEWS * context.rate) / (views + PRIOR_VIEWS)
    topic_views, topic_likes = by_topic(viewed), by_topic(liked)
    # A user who likes twice as much as others is expected to in every topic.
    expected = context.topic_rate[None, :] * (rate / context.rate)[:, None]
    topic_idle = np.full((size, topics + 1), float(WINDOW_DAYS + 1), np.float32)
    np.minimum.at(topic_idle, (who[liked > 0], topic[liked > 0]), idle[liked > 0])
    since = np.full(size, float(WINDOW_DAYS + 1), np.float32)
    np.minimum.at(since, who, idle)
    hours = np.bincount(who * 24 + recent.hour, viewed, size * 24).reshape(size, 24)
    every = hours.sum(0) + 1
    share = (hours + 10 * every / every.sum()) / (hours.sum(1, keepdims=True) + 10)
    encoded = [
        users[name].astype(str).map(categories[name]).fillna(categories[name][""])
        for name in CATEGORIES
    ]
    return Profiles(
        user=np.column_stack(
            [
                pd.to_numeric(users["age"]).to_numpy(np.float32, na_value=np.nan),
                pd.to_numeric(users["gender"]).to_numpy(np.float32, na_value=np.nan),
                *(column.to_numpy(np.float32) for column in encoded),
                np.log1p(views),
                rate,
                since,
            ]
        ).astype(np.float32),
        segment=np.searchsorted(context.segments, users["segment"]).astype(np.int32),
        topic_views=np.log1p(topic_views),
        topic_like_rate=np.asarray((topic_likes + 5 * expected) / (topic_views + 5), np.float32),
        topic_share=(topic_likes + 1 / topics) / (topic_likes.sum(1, keepdims=True) + 1),
        topic_idle=topic_idle[:, :topics],
        hour_share=share.astype(np.float32),
    )


def post_features(context: Context) -> Matrix:
    """Return posts by POST."""
    counts = context.counts

    def rated(part: str, whole: str, usual: float) -> Matrix:
        found = (counts[part] + PRIOR_VIEWS * usual) / (counts[whole] + PRIOR_VIEWS)
        return np.asarray(found, np.float32)

    total = float(counts["views_all"].sum()) + 1
    usual = {
        name: float(counts[f"{name}_all"].sum()) / total for name in ("shares", "comments", "hides")
    }
    return np.column_stack(
        [
            np.log1p(np.maximum(context.age_days, 0)),
            np.log1p(context.length),
            *(np.log1p(counts[f"views_{days}"]) for days in ("1d", "7d", "30d")),
            *(np.log1p(counts[f"likes_{days}"]) for days in ("1d", "7d", "30d", "all")),
            rated("likes_7d", "views_7d", context.rate),
            rated("likes_all", "views_all", context.rate),
            *(rated(f"{name}_all", "views_all", usual[name]) for name in usual),
            context.topic_rate[context.topic],
        ]
    ).astype(np.float32)


def build(
    profiles: Profiles,
    context: Context,
    post_table: Matrix,
    text_table: Matrix,
    post: NDArray[np.int32],
    rank: NDArray[np.uint8],
    scores: tuple[Matrix, Matrix, Matrix],
) -> Matrix:
    """Return the features of a table of candidates, but for those of the moment (`at_moment`).

    Args:
        profiles: of the users, one per row of the table.
        context: of the cutoff.
        post_table: posts by POST.
        text_table: posts by text dimensions and cluster distances.
        post: users by columns, places of posts; -1 where there is none, whose features are not
            to be used.
        rank: users by columns by sources.
        scores: users by columns, of ALS, neighbours and content.

    Returns:
        Features as in `names` by users times columns; those of the moment are not written yet.
    """
    width = len(USER) + len(POST) + len(PAIR) + len(RANKS) + text_table.shape[1] + len(MOMENT)
    out = np.empty((width, post.size), np.float32)
    segment_rate = (context.segment_likes + PRIOR_VIEWS * context.rate) / (
        context.segment_views + PRIOR_VIEWS
    )
    _fill(
        out,
        post,
        rank,
        *scores,
        profiles.user,
        profiles.segment,
        profiles.topic_views,
        profiles.topic_like_rate,
        profiles.topic_share,
        profiles.topic_idle,
        context.topic,
        context.segment_topic_rate,
        segment_rate.astype(np.float32),
        post_table,
        text_table,
    )
    return out


def at_moment(
    out: Matrix,
    profiles: Profiles,
    context: Context,
    post: NDArray[np.int32],
    hours: NDArray[np.int64],
) -> None:
    """Write the features of the moment into ``out``.

    Args:
        out: what `build` returned.
        profiles: as for `build`.
        context: as for `build`; its day is the moment's.
        post: as for `build`.
        hours: UTC hour, by user and column; or users by 1.
    """
    weekday = context.cutoff.weekday()
    out[len(out) - len(MOMENT) + 1] = context.cutoff.month
    out[len(out) - len(MOMENT) + 2] = weekday
    _fill_moment(
        out[len(out) - len(MOMENT) :],
        post,
        np.ascontiguousarray(np.broadcast_to(hours, post.shape), np.int64),
        context.topic,
        context.topic_hour_rate,
        context.topic_weekday_rate[:, weekday],
        profiles.hour_share,
    )


@njit(cache=True, parallel=True)
def _fill_moment(
    out: Any,
    post: Any,
    hours: Any,
    topic: Any,
    topic_hour_rate: Any,
    topic_weekday_rate: Any,
    hour_share: Any,
) -> None:
    users, columns = post.shape
    for user in prange(users):
        for column in range(columns):
            at, hour = user * columns + column, hours[user, column]
            which = topic[max(post[user, column], 0)]
            out[0, at] = hour
            out[3, at] = topic_hour_rate[which, hour]
            out[4, at] = topic_weekday_rate[which]
            out[5, at] = hour_share[user, hour]


@njit(cache=True, parallel=True)
def _fill(
    out: Any,
    post: Any,
    rank: Any,
    als: Any,
    neighbours: Any,
    content: Any,
    user_table: Any,
    segment: Any,
    topic_views: Any,
    topic_like_rate: Any,
    topic_share: Any,
    topic_idle: Any,
    topic: Any,
    segment_topic_rate: Any,
    segment_post_rate: Any,
    post_table: Any,
    text_table: Any,
) -> None:
    users, columns = post.shape
    for user in prange(users):
        first, at = user * columns, 0
        for each in range(user_table.shape[1]):
            out[at, first : first + columns] = user_table[user, each]
            at += 1
        place = np.maximum(post[user], 0)
        for each in range(post_table.shape[1]):
            for column in range(columns):
                out[at, first + column] = post_table[place[column], each]
            at += 1
        for column in range(columns):
            which, row = topic[place[column]], first + column
            out[at, row] = topic_views[user, which]
            out[at + 1, row] = topic_like_rate[user, which]
            out[at + 2, row] = topic_share[user, which]
            out[at + 3, row] = topic_idle[user, which]
            out[at + 4, row] = segment_topic_rate[segment[user], which]
            out[at + 5, row] = segment_post_rate[segment[user], place[column]]
            out[at + 6, row] = als[user, column]
            out[at + 7, row] = neighbours[user, column]
            out[at + 8, row] = content[user, column]
        at += 9
        for source in range(rank.shape[2]):
            for column in range(columns):
                given = rank[user, column, source]
                out[at, first + column] = given if given else 255  # worse than the last rank
            at += 1
        for each in range(text_table.shape[1]):
            for column in range(columns):
                out[at, first + column] = text_table[place[column], each]
            at += 1
