"""What was true of the posts and of groups of users at a cutoff; the same for every user."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.feed_recommendation.history import LIKE, VIEW, History, number

# Groups and hours are counted over the last days, so that what people like may change.
WINDOW_DAYS = 28
# Views' worth of the overall rate that a small group's rate is drawn to.
PRIOR_VIEWS = 20.0
FRESH_DAYS = 3.0
SEGMENT_DAYS = 7

Reals = NDArray[np.float32]
Order = NDArray[np.int32]


@dataclass(frozen=True)
class Context:
    """Posts and groups as known at a cutoff. Posts stand in order of their id.

    Attributes:
        cutoff: the as_of.
        post_ids: the posts there were.
        topics: names of the topics, sorted; topic: place of each post's topic among them.
        age_days: days since each post was published.
        length: characters of its text.
        counts: each post's views, likes ... by the column's name in posts.sql.
        rate: likes per view of all in the last 30 days.
        segments: names of the segments, sorted.
        segment_likes, segment_views: by segment and post in the last SEGMENT_DAYS.
        segment_topic_rate: likes per view by segment and topic, drawn to the topic's own.
        topic_rate: likes per view by topic, drawn to the rate of all.
        topic_hour_rate: likes per view by topic and UTC hour, drawn to the topic's own.
        topic_weekday_rate: likes per view by topic and weekday, Monday first, drawn likewise.
    """

    cutoff: date
    post_ids: NDArray[np.int64]
    topics: list[str]
    topic: NDArray[np.int32]
    age_days: Reals
    length: Reals
    counts: Mapping[str, Reals]
    rate: float
    segments: list[str]
    segment_likes: Reals
    segment_views: Reals
    segment_topic_rate: Reals
    topic_rate: Reals
    topic_hour_rate: Reals
    topic_weekday_rate: Reals

    def orders(self) -> dict[str, Order]:
        """Return the posts' places from the most liked down, over 7 and 30 days and ever.

        Ties go to the post with the smaller id. ``fresh`` has the posts of the last FRESH_DAYS,
        newest first.
        """
        newest = np.lexsort((self.post_ids, self.age_days))
        return {
            "popular_7d": _descending(self.counts["likes_7d"]),
            "popular_30d": _descending(self.counts["likes_30d"]),
            "popular_all": _descending(self.counts["likes_all"]),
            "fresh": newest[self.age_days[newest] < FRESH_DAYS].astype(np.int32),
        }

    def segment_orders(self, depth: int) -> Order:
        """Return, for each segment, the places of its ``depth`` most liked posts (-1: no more)."""
        found = np.full((len(self.segments), depth), -1, np.int32)
        for segment, likes in enumerate(self.segment_likes):
            order = _descending(likes)[:depth]
            order = order[likes[order] > 0]
            found[segment, : len(order)] = order
        return found


def build(cutoff: date, posts: pd.DataFrame, users: pd.DataFrame, history: History) -> Context:
    """Return the context at ``cutoff``.

    Args:
        cutoff: the as_of.
        posts: rows of posts.sql at the cutoff.
        users: rows of users.sql, in the order of ``history.users``.
        history: at least the last WINDOW_DAYS before the cutoff; later events are left out.
    """
    topics = sorted(posts["topic"].unique())
    segments = sorted(users["segment"].unique())
    topic = np.searchsorted(topics, posts["topic"]).astype(np.int32)
    ids = posts["post_id"].to_numpy(np.int64)
    counts = {
        name: posts[name].to_numpy(np.float32)
        for name in posts.columns
        if name.rpartition("_")[2] in ("1d", "7d", "30d", "all")
    }
    views, likes = float(counts["views_30d"].sum()), float(counts["likes_30d"].sum())
    rate = (likes + 1) / (views + PRIOR_VIEWS)

    recent = history.before(cutoff, WINDOW_DAYS)
    present, known = _renumbered(history.posts, ids)
    kept = known[recent.post]
    post, action = present[recent.post[kept]], recent.action[kept]
    segment = np.searchsorted(segments, users["segment"])[recent.user[kept]]
    viewed = ((action & (VIEW | LIKE)) > 0).astype(np.float64)
    liked = ((action & LIKE) > 0).astype(np.float64)
    days, hours = recent.day[kept], recent.hour[kept]

    def count(group: NDArray[Any], size: int, weights: NDArray[np.float64]) -> Reals:
        flat = np.bincount(
            group.astype(np.int64) * len(topics) + topic[post], weights, size * len(topics)
        )
        return flat.reshape(size, len(topics)).astype(np.float32)

    def rates(group: NDArray[Any], size: int, prior: Reals | float) -> Reals:
        found = count(group, size, liked) + PRIOR_VIEWS * prior
        return np.asarray(found / (count(group, size, viewed) + PRIOR_VIEWS), np.float32)

    topic_rate = rates(np.zeros(len(post), np.int64), 1, rate)[0]
    newest = days >= number(cutoff) - SEGMENT_DAYS
    cell = segment[newest].astype(np.int64) * len(ids) + post[newest]
    shape = (len(segments), len(ids))
    return Context(
        cutoff=cutoff,
        post_ids=ids,
        topics=topics,
        topic=topic,
        age_days=posts["age_days"].to_numpy(np.float32),
        length=np.asarray(posts["text"].str.len(), np.float32),
        counts=counts,
        rate=rate,
        segments=segments,
        segment_likes=np.bincount(cell, liked[newest], shape[0] * shape[1])
        .reshape(shape)
        .astype(np.float32),
        segment_views=np.bincount(cell, viewed[newest], shape[0] * shape[1])
        .reshape(shape)
        .astype(np.float32),
        segment_topic_rate=rates(segment, len(segments), topic_rate),
        topic_rate=topic_rate,
        topic_hour_rate=rates(hours, 24, topic_rate).T.copy(),
        topic_weekday_rate=rates((days + 3) % 7, 7, topic_rate).T.copy(),
    )


def pack(context: Context) -> dict[str, NDArray[Any]]:
    """Return the context as arrays that `numpy.savez` keeps; `unpack` reads them again."""
    packed: dict[str, NDArray[Any]] = {}
    for each in fields(context):
        value = getattr(context, each.name)
        if each.name == "counts":
            packed |= {f"counts.{name}": column for name, column in value.items()}
        else:
            packed[each.name] = np.asarray(str(value) if each.name == "cutoff" else value)
    return packed


def unpack(packed: Mapping[str, NDArray[Any]]) -> Context:
    """Return the context that `pack` made arrays of."""
    counts = {
        name.partition(".")[2]: value
        for name, value in packed.items()
        if name.startswith("counts.")
    }
    plain = {name: value for name, value in packed.items() if not name.startswith("counts.")}
    return Context(
        **{
            **plain,
            "cutoff": date.fromisoformat(str(plain["cutoff"])),
            "rate": float(plain["rate"]),
            "topics": plain["topics"].tolist(),
            "segments": plain["segments"].tolist(),
            "counts": counts,
        }
    )


def _renumbered(
    old: NDArray[np.int64], new: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return each old id's place among the new ones, and whether it is there."""
    if len(new) == 0:
        return np.zeros(len(old), np.int64), np.zeros(len(old), np.bool_)
    found = np.minimum(np.searchsorted(new, old), len(new) - 1)
    return found, new[found] == old


def _descending(values: Reals) -> Order:
    return np.argsort(-values, kind="stable").astype(np.int32)
