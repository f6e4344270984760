"""What the ranker is told of a user, a post, the two together and the moment.

Training and serving make the same tables of them, each as small as what it is about; `rows` puts
them together for candidates to learn from, and jobs/feed_recommendation/trees.py asks the ranker
of the tables themselves.
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
USER_MOMENT = ("hour", "month", "weekday", "user_hour_share")
TOPIC_MOMENT = ("topic_hour_like_rate", "topic_weekday_like_rate")
MOMENT = (*USER_MOMENT[:3], *TOPIC_MOMENT, *USER_MOMENT[3:])
TEXT_DIMENSIONS, CLUSTERS = 16, 16

Matrix = NDArray[np.float32]


def names(clusters: int) -> list[str]:
    """Return the features' names in order; ``clusters`` is 0 for an encoder without them."""
    return [*USER, *POST, *PAIR, *RANKS, *_text(clusters), *MOMENT]


def tables(clusters: int) -> dict[str, NDArray[np.int64]]:
    """Return, by table, where its columns stand among `names`."""
    place = {name: at for at, name in enumerate(names(clusters))}
    columns = {
        "user": USER,
        "post": (*POST, *_text(clusters)),
        "pair": (*PAIR, *RANKS),
        "user_moment": USER_MOMENT,
        "topic_moment": TOPIC_MOMENT,
    }
    return {name: np.array([place[each] for each in of]) for name, of in columns.items()}


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


def pair_features(
    profiles: Profiles,
    context: Context,
    post: NDArray[np.int32],
    rank: NDArray[np.uint8],
    scores: tuple[Matrix, Matrix, Matrix],
) -> Matrix:
    """Return PAIR and RANKS, features by users by columns.

    Args:
        profiles: of the users, one per row of ``post``.
        context: of the cutoff.
        post: users by columns, places of posts; -1 where there is none, whose features are not
            to be used.
        rank: users by columns by sources.
        scores: users by columns, of ALS, neighbours and content.
    """
    segment_rate = (context.segment_likes + PRIOR_VIEWS * context.rate) / (
        context.segment_views + PRIOR_VIEWS
    )
    return np.asarray(
        _pair_features(
            post,
            rank,
            *scores,
            profiles.segment,
            profiles.topic_views,
            profiles.topic_like_rate,
            profiles.topic_share,
            profiles.topic_idle,
            context.topic,
            context.segment_topic_rate,
            segment_rate.astype(np.float32),
        )
    )


def user_moment(profiles: Profiles, context: Context, hour: NDArray[np.int64]) -> Matrix:
    """Return users by USER_MOMENT, at each user's UTC hour of the context's day."""
    return _user_moment(profiles, context, np.arange(len(hour)), hour)


def topic_moment(context: Context) -> Matrix:
    """Return hours by topics by TOPIC_MOMENT, on the context's day."""
    by_hour = context.topic_hour_rate.T
    weekday = context.topic_weekday_rate[:, context.cutoff.weekday()]
    return np.stack([by_hour, np.broadcast_to(weekday, by_hour.shape)], axis=2)


def rows(
    profiles: Profiles,
    context: Context,
    post_table: Matrix,
    pairs: Matrix,
    post: NDArray[np.int32],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    hour: NDArray[np.int64],
) -> Matrix:
    """Return all features of chosen candidates, feature by feature (as CatBoost reads them best).

    Args:
        profiles: of the users, one per row of ``post``.
        context: of the cutoff; its day is the moment's.
        post_table: posts by the columns of the table 'post'.
        pairs: what `pair_features` returned for ``post``.
        post: users by columns, places of posts.
        row: of each chosen candidate in ``post``.
        column: the same.
        hour: UTC hour that each is asked at.

    Returns:
        `names` by chosen candidates.
    """
    which = post[row, column]
    chosen = {
        "user": profiles.user[row],
        "post": post_table[which],
        "pair": pairs[:, row, column].T,
        "user_moment": _user_moment(profiles, context, row, hour),
        "topic_moment": topic_moment(context)[hour, context.topic[which]],
    }
    places = tables(post_table.shape[1] - len(POST) - TEXT_DIMENSIONS)
    out = np.empty((sum(map(len, places.values())), len(row)), np.float32)
    for name, values in chosen.items():
        out[places[name]] = values.T
    return out


def _user_moment(
    profiles: Profiles, context: Context, row: NDArray[np.int64], hour: NDArray[np.int64]
) -> Matrix:
    out = np.empty((len(row), len(USER_MOMENT)), np.float32)
    out[:, 0], out[:, 1], out[:, 2] = hour, context.cutoff.month, context.cutoff.weekday()
    out[:, 3] = profiles.hour_share[row, hour]
    return out


def _text(clusters: int) -> list[str]:
    return [
        *(f"text_{each}" for each in range(TEXT_DIMENSIONS)),
        *(f"cluster_distance_{each}" for each in range(clusters)),
    ]


@njit(cache=True, parallel=True)
def _pair_features(
    post: Any,
    rank: Any,
    als: Any,
    neighbours: Any,
    content: Any,
    segment: Any,
    topic_views: Any,
    topic_like_rate: Any,
    topic_share: Any,
    topic_idle: Any,
    topic: Any,
    segment_topic_rate: Any,
    segment_post_rate: Any,
) -> Any:
    users, columns = post.shape
    out = np.empty((9 + rank.shape[2], users, columns), np.float32)
    for user in prange(users):
        for column in range(columns):
            place = max(post[user, column], 0)
            which = topic[place]
            out[0, user, column] = topic_views[user, which]
            out[1, user, column] = topic_like_rate[user, which]
            out[2, user, column] = topic_share[user, which]
            out[3, user, column] = topic_idle[user, which]
            out[4, user, column] = segment_topic_rate[segment[user], which]
            out[5, user, column] = segment_post_rate[segment[user], place]
            out[6, user, column] = als[user, column]
            out[7, user, column] = neighbours[user, column]
            out[8, user, column] = content[user, column]
            for source in range(rank.shape[2]):
                given = rank[user, column, source]
                out[9 + source, user, column] = given if given else 255  # worse than the last rank
    return out
