"""A version of the feed's model, and the lists it makes: arrays in, arrays out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.feed_recommendation import (
    candidates,
    collaborative,
    encoders,
    features,
    lists,
    trees,
    two_tower,
)
from jobs.feed_recommendation.candidates import SOURCES, Candidates
from jobs.feed_recommendation.collaborative import Collaborative
from jobs.feed_recommendation.context import FRESH_DAYS, Context
from jobs.feed_recommendation.encoders import Encoder
from jobs.feed_recommendation.features import Profiles
from jobs.feed_recommendation.history import LIKE, History
from jobs.feed_recommendation.lists import Lists
from jobs.feed_recommendation.tfidf import Tfidf
from jobs.feed_recommendation.trees import Asked, Trees

if TYPE_CHECKING:
    from catboost import CatBoostClassifier

BLOCK_USERS = 2048
RANKER_FILE = "ranker.cbm"
MODEL, RANDOM = "model", "random"
# What can stand in for the ranker: a single source's own order, or chance.
ORDERS = (*SOURCES, RANDOM)

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """One version of the model: all that it takes to make lists.

    Attributes:
        arm: control or test.
        encoder: makes vectors of texts.
        centroids: of the clusters of posts; none (0 rows) for the control.
        collaborative: ALS and neighbours.
        categories: see `features.encode_categories`.
        ranker: CatBoost.
        order: what orders the candidates: 'model' or one of ORDERS.
    """

    arm: str
    encoder: Encoder
    centroids: Matrix
    collaborative: Collaborative
    categories: dict[str, dict[str, float]]
    ranker: "CatBoostClassifier"
    order: str = MODEL

    @cached_property
    def trees(self) -> Trees:
        """The ranker's trees."""
        return trees.of(self.ranker, features.tables(len(self.centroids)))


@dataclass(frozen=True)
class Table:
    """The candidates of a block of users with all that is known of them but the moment.

    Attributes:
        found: the candidates.
        profiles: of the users.
        posts: features of all posts, posts by the columns of the table 'post'.
        pairs: as `features.pair_features` returns them.
        asked: what the ranker's trees say so far, as `trees.of_candidates` returns it; None where
            there is no ranker yet.
    """

    found: Candidates
    profiles: Profiles
    posts: Matrix
    pairs: Matrix
    asked: Asked | None


def text_table(fitted: Fitted, vectors: Matrix) -> Matrix:
    """Return posts by the text features: the first dimensions and the distances to clusters."""
    parts = [vectors[:, : features.TEXT_DIMENSIONS]]
    if len(fitted.centroids):
        away = vectors[:, None, :] - fitted.centroids[None, :, :]
        parts.append(np.linalg.norm(away, axis=2))
    return np.ascontiguousarray(np.hstack(parts), dtype=np.float32)


def user_vectors(
    encoder: Encoder, users: pd.DataFrame, history: History, vectors: Matrix
) -> Matrix:
    """Return users' vectors, whose product with a post's says how near it is to their taste.

    Args:
        encoder: of the vectors.
        users: rows of users.sql.
        history: theirs, in the same order.
        vectors: of the posts in ``history.posts``.
    """
    liked = two_tower.mean_of(vectors, two_tower.recent(history, liked=True))
    if isinstance(encoder, Tfidf):
        return liked
    passed = two_tower.mean_of(vectors, two_tower.recent(history, liked=False))
    return encoder.users(liked, passed, two_tower.traits(users))


def prepare(
    fitted: Fitted,
    context: Context,
    vectors: Matrix,
    users: pd.DataFrame,
    history: History,
    added: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Iterator[tuple[slice, Table]]:
    """Yield blocks of users, as a slice of ``users``, with their candidates.

    Args:
        fitted: the model; its ranker may be lacking while it is being trained.
        context: of the cutoff.
        vectors: the encoder's, of the context's posts.
        users: rows of users.sql.
        history: theirs, all of it; what is not known at the cutoff is left out.
        added: rows of users and places of posts to stand behind their candidates.
    """
    known = _on_posts(history.before(context.cutoff), context.post_ids)
    orders, segment_orders = context.orders(), context.segment_orders(candidates.SIZE)
    posts = np.hstack([features.post_features(context), text_table(fitted, vectors)])
    of_posts = trees.answers(fitted.trees, "post", posts) if fitted.ranker.is_fitted() else None
    cf = fitted.collaborative
    factors = np.zeros((len(context.post_ids), collaborative.FACTORS), np.float32)
    neighbours = np.full((len(context.post_ids), collaborative.NEIGHBOURS), -1, np.int32)
    weights = np.zeros((len(context.post_ids), collaborative.NEIGHBOURS), np.float32)
    place, there = places(context.post_ids, cf.post_ids)
    factors[place[there]] = cf.factors[there]
    renumbered = np.where(there, place, -1)
    near = cf.neighbours[there]
    moved = np.where(near >= 0, renumbered[near], -1)
    # Neighbours that are gone would end the row: the others move up.
    order = np.argsort(moved < 0, axis=1, kind="stable")
    neighbours[place[there]] = np.take_along_axis(moved, order, axis=1)
    weights[place[there]] = np.take_along_axis(cf.weights[there], order, axis=1)
    learned = np.zeros(len(context.post_ids), np.bool_)
    learned[place[there]] = True
    factors, by_dimension = np.ascontiguousarray(factors.T), np.ascontiguousarray(vectors.T)

    starts, more = _by_user(len(users), len(context.post_ids), added)

    for start in range(0, len(users), BLOCK_USERS):
        block = slice(start, min(start + BLOCK_USERS, len(users)))
        rows = users.iloc[block].reset_index(drop=True)
        theirs = known.of(np.arange(block.start, block.stop))
        taste = cf.users(collaborative.likes_of(theirs, cf.post_ids))
        liked = collaborative.likes_of(theirs, context.post_ids)
        profiles = features.profile(rows, theirs, context, fitted.categories)
        found = candidates.propose(
            theirs.starts,
            theirs.post,
            taste,
            factors,
            learned,
            user_vectors(fitted.encoder, rows, theirs, vectors),
            by_dimension,
            liked.indptr,
            liked.indices,
            neighbours,
            weights,
            orders,
            profiles.segment,
            segment_orders,
            rows["user_id"].to_numpy(np.int64),
            starts[block.start : block.stop + 1],
            more,
        )
        pairs = features.pair_features(
            profiles,
            context,
            found.post,
            found.rank,
            (found.als, found.neighbours, found.content),
        )
        asked = None
        if of_posts is not None:
            of_users = trees.answers(fitted.trees, "user", profiles.user)
            asked = trees.of_candidates(fitted.trees, found.post, of_users, of_posts, pairs)
        yield block, Table(found, profiles, posts, pairs, asked)


def rank(
    fitted: Fitted,
    context: Context,
    table: Table,
    users: pd.DataFrame,
    hours: NDArray[np.int64],
    order: str | None = None,
    depth: int = lists.DEPTH,
) -> Lists:
    """Return the final lists of a block of users at their hour of the context's day.

    Args:
        fitted: the model.
        context: of the cutoff.
        table: what `prepare` yielded for the block.
        users: the block's rows of users.sql.
        hours: UTC hour for each user.
        order: another order than the version's own.
        depth: length of the lists.
    """
    order = order or fitted.order
    score = scores(fitted, context, table, users, hours, order)
    return arranged(context, table, score, order, depth)


def scores(
    fitted: Fitted,
    context: Context,
    table: Table,
    users: pd.DataFrame,
    hours: NDArray[np.int64],
    order: str,
) -> Matrix:
    """Return users by candidates: what puts them into an order; arguments as for `rank`.

    Of no candidate, any number.
    """
    if order != MODEL:
        return _source_order(table.found, context, users, order)
    return chances(fitted, context, table, hours)


def arranged(context: Context, table: Table, score: Matrix, order: str, depth: int) -> Lists:
    """Return the final lists of candidates with these scores; added posts are left out."""
    post = table.found.post
    if post.shape[1] > candidates.SIZE:  # what was added has no source's rank
        post = np.where(table.found.rank.any(axis=2), post, -1)
    if order == MODEL:
        fresh = context.age_days < FRESH_DAYS
        return lists.arrange(score, post, table.found.rank, context.topic, fresh, depth)
    return lists.by_score(score, post, table.found.rank, depth)


def chances(fitted: Fitted, context: Context, table: Table, hours: NDArray[np.int64]) -> Matrix:
    """Return the ranker's chance of a like, users by candidates; of no candidate, any number.

    Raises:
        ValueError: if the table was prepared without a ranker.
    """
    if table.asked is None:
        raise ValueError("these candidates were prepared without a ranker")
    by_user = features.user_moment(table.profiles, context, hours)
    by_topic = features.topic_moment(context)
    of_topics = trees.answers(fitted.trees, "topic_moment", by_topic.reshape(-1, by_topic.shape[2]))
    return trees.chances(
        fitted.trees,
        table.asked,
        trees.answers(fitted.trees, "user_moment", by_user),
        table.found.post,
        context.topic,
        of_topics.reshape(*by_topic.shape[:2], -1),
        hours,
    )


def save(fitted: Fitted, folder: Path) -> None:
    """Write the version into ``folder``; the ranker as CatBoost's own file, RANKER_FILE."""
    folder.mkdir(parents=True, exist_ok=True)
    encoders.save(fitted.encoder, folder)
    collaborative.save(fitted.collaborative, folder)
    np.save(folder / "centroids.npy", fitted.centroids)
    fitted.ranker.save_model(str(folder / RANKER_FILE))
    described = {"arm": fitted.arm, "order": fitted.order, "categories": fitted.categories}
    (folder / "model.json").write_text(json.dumps(described, ensure_ascii=False, indent=1))


def load(folder: Path) -> Fitted:
    """Return the version that `save` wrote."""
    from catboost import CatBoostClassifier

    described = json.loads((folder / "model.json").read_text())
    ranker = CatBoostClassifier()
    ranker.load_model(str(folder / RANKER_FILE))
    return Fitted(
        arm=described["arm"],
        encoder=encoders.load(folder),
        centroids=np.load(folder / "centroids.npy"),
        collaborative=collaborative.load(folder),
        categories=described["categories"],
        ranker=ranker,
        order=described["order"],
    )


def _source_order(found: Candidates, context: Context, users: pd.DataFrame, order: str) -> Matrix:
    """Return scores that put the candidates into one source's order, or a random one.

    What the source did not propose follows by popularity.
    """
    if order == RANDOM:
        # Splitmix64 of user and post: the same list whenever it is asked for.
        key = users["user_id"].to_numpy(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
        key = key + context.post_ids[np.maximum(found.post, 0)].astype(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
        return ((key >> np.uint64(40)).astype(np.float64) / 2**24).astype(np.float32)
    given = found.rank[:, :, SOURCES.index(order)].astype(np.float32)
    popular = np.empty(len(context.post_ids), np.float32)
    which = order if order in ("popular_30d", "popular_all") else "popular_7d"
    popular[context.orders()[which]] = np.arange(len(context.post_ids))
    behind = 300 + popular[np.maximum(found.post, 0)]
    return np.asarray(-np.where(given > 0, given, behind), np.float32)


def _by_user(
    users: int, posts: int, added: tuple[NDArray[np.int64], NDArray[np.int64]] | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the added posts one user after another, once each, and where each user's begin."""
    if added is None:
        return np.zeros(users + 1, np.int64), np.zeros(0, np.int32)
    user, post = (each[added[1] < posts] for each in added)
    pairs = np.unique(user * max(posts, 1) + post)
    starts = np.searchsorted(pairs, np.arange(users + 1) * max(posts, 1))
    return starts, (pairs % max(posts, 1)).astype(np.int32)


def _on_posts(history: History, post_ids: NDArray[np.int64]) -> History:
    """Return the history with places among other posts; events of posts not there are dropped."""
    place, there = places(post_ids, history.posts)
    kept = history.where(there[history.post])
    return History(
        kept.users,
        post_ids,
        kept.starts,
        place[kept.post].astype(np.int32),
        kept.day,
        kept.hour,
        kept.action,
        kept.known_from,
        kept.known_to,
    )


def places(
    new: NDArray[np.int64], old: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return each old id's place among the sorted new ones, and whether it is there."""
    place = np.minimum(np.searchsorted(new, old), max(len(new) - 1, 0))
    return place, (new[place] == old if len(new) else np.zeros(len(old), np.bool_))


def first_likes(history: History) -> NDArray[np.bool_]:
    """Return which events are the first like of their user and post."""
    liked = np.flatnonzero((history.action & LIKE) > 0)
    pair = history.user[liked].astype(np.int64) * len(history.posts) + history.post[liked]
    chosen = np.zeros(len(history.post), np.bool_)
    chosen[liked[np.unique(pair, return_index=True)[1]]] = True
    return chosen
