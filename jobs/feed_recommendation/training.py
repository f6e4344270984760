"""Fit a version: encoder, collaborative part, then the ranker on the outcomes of later days.

The collaborative part and the encoder learn from what was before the label days (periods.py), and
the ranker from those: for each, candidates and features are built from before the day, labels are
the day's own. So no feature saw its label, and the ranker meets candidates of sources that did not
see the day, as it will when it serves.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from jobs.feed_recommendation import (
    collaborative,
    features,
    model,
    pretrained,
    sentence,
    tfidf,
    two_tower,
)
from jobs.feed_recommendation.day import Day
from jobs.feed_recommendation.encoders import Encoder
from jobs.feed_recommendation.evaluating import pairs
from jobs.feed_recommendation.history import LIKE, VIEW, number
from jobs.feed_recommendation.model import Fitted

JOB = "feed_recommendation"
ARMS = ("control", "test")
# So many users teach the encoder, and so many of a day the ranker; more say little more.
MAX_USERS = 20_000
UNVIEWED = 15
UNVIEWED_WEIGHT = 0.3
PARAMS = {
    "iterations": 150,
    "depth": 5,
    "learning_rate": 0.07,
    "l2_leaf_reg": 10.0,
    "border_count": 64,
}
SEED = 7
THREADS = 2

Matrix = NDArray[np.float32]


class NothingToLearnFrom(ValueError):
    """There is no view in the days to learn from."""


def check_settings(arms: Sequence[str]) -> None:
    """Return if the settings that concern the training of these arms are in order.

    Raises:
        BadSetting: if one is not.
    """
    if "test" in arms:
        pretrained.configured()


def fit_encoder(arm: str, day: Day) -> Encoder:
    """Return the arm's text encoder, learned from what was before the day's cutoff.

    Args:
        arm: control or test.
        day: the first label day, with the users to learn from.

    Raises:
        BadSetting: if a pretrained encoder is configured for the test and does not work.
    """
    if arm == "control":
        return tfidf.fit(day.texts)
    text = dict(zip(day.context.post_ids.tolist(), day.texts, strict=True))
    texts = [text.get(post, "") for post in day.history.posts.tolist()]
    users, before = day.users, day.history.before(day.cutoff)
    active = np.flatnonzero(np.diff(before.starts) > 0)
    if len(active) > MAX_USERS:  # each step of the fit takes all users' vectors anew
        drawn = np.sort(np.random.default_rng(SEED).choice(active, MAX_USERS, replace=False))
        users, before = users.iloc[drawn].reset_index(drop=True), before.of(drawn)
    last_day = number(day.cutoff) - 1
    if folder := pretrained.configured():
        return sentence.fit(folder, texts, users, before, last_day, day.days)
    return two_tower.fit(texts, users, before, last_day, day.days)


def fit(
    arm: str,
    encoder: Encoder,
    shared: collaborative.Collaborative,
    days: Sequence[Day],
    known_by: date,
) -> Fitted:
    """Return a fitted version of an arm.

    Args:
        arm: control or test.
        encoder: of the arm.
        shared: the collaborative part.
        days: the label days, in order, with the users to learn from.
        known_by: labels are as known by then.

    Raises:
        NothingToLearnFrom: if the label days have no view, no like, or nothing else.
    """
    from catboost import CatBoostClassifier, Pool

    vectors = [encoder.embed(day.texts) for day in days]
    centroids = np.zeros((0, vectors[0].shape[1]), np.float32)
    if arm == "test":
        centroids = cluster(vectors[0])
    first = days[0]
    fitted = Fitted(
        arm=arm,
        encoder=encoder,
        centroids=centroids,
        collaborative=shared,
        categories=features.encode_categories(first.users, first.history.before(first.cutoff)),
        ranker=CatBoostClassifier(),
    )
    parts = [rows(fitted, day, of_day, known_by) for day, of_day in zip(days, vectors, strict=True)]
    table, label, weight = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    if len(np.unique(label)) < 2:
        raise NothingToLearnFrom(
            f"{JOB} {arm}: {len(label)} candidates on {days[0].cutoff} to "
            f"{days[-1].cutoff} with {int(label.sum())} likes; likes and views without one are "
            "needed: python -m jobs extract --from ... --to ..."
        )
    ranker = CatBoostClassifier(
        **PARAMS,
        random_seed=SEED,
        thread_count=THREADS,
        verbose=False,
        allow_writing_files=False,
    )
    ranker.fit(Pool(table.T, label, weight=weight, feature_names=features.names(len(centroids))))
    return replace(fitted, ranker=ranker)


def rows(
    fitted: Fitted, day: Day, vectors: Matrix, known_by: date
) -> tuple[Matrix, NDArray[np.float32], NDArray[np.float32]]:
    """Return features (feature by feature), labels and weights of one label day.

    All that its users viewed that day and had not before, and UNVIEWED of their candidates that
    they did not view, which weigh UNVIEWED_WEIGHT each.
    """
    outcome = day.outcome(number(known_by))
    active = np.flatnonzero(np.diff(outcome.starts) > 0)
    random = np.random.default_rng(SEED + number(day.cutoff))
    if len(active) > MAX_USERS:
        active = np.sort(random.choice(active, MAX_USERS, replace=False))
    chosen, outcome = day.of(active), outcome.of(active)
    before = chosen.history.before(day.cutoff)
    seen = pairs(before.user, before.post, len(before.posts))
    place, there = model.places(day.context.post_ids, outcome.posts)
    new = ~np.isin(pairs(outcome.user, outcome.post, len(before.posts)), seen)
    new &= there[outcome.post] & ((outcome.action & (VIEW | LIKE)) > 0)
    user, post = outcome.user[new], place[outcome.post[new]].astype(np.int32)
    liked, hour = (outcome.action[new] & LIKE) > 0, outcome.hour[new].astype(np.int64)
    usual = np.zeros(len(active), np.int64)
    usual[outcome.user[::-1]] = outcome.hour[::-1]  # the day's first

    tables, labels, weights = [], [], []
    for block, table in model.prepare(fitted, day.context, vectors, chosen.users, chosen.history):
        found = table.found.post
        label = np.zeros(found.shape, np.float32)
        viewed = np.zeros(found.shape, np.bool_)
        hours = np.repeat(usual[block][:, None], found.shape[1], axis=1)
        inside = (user >= block.start) & (user < block.stop)
        row = user[inside] - block.start
        is_it = found[row] == post[inside][:, None]
        proposed = is_it.any(axis=1)
        row, column = row[proposed], is_it.argmax(axis=1)[proposed]
        label[row, column], viewed[row, column] = liked[inside][proposed], True
        hours[row, column] = hour[inside][proposed]
        lot = random.random(found.shape)
        lot[(found < 0) | viewed] = 2
        drawn = lot <= np.partition(lot, UNVIEWED - 1, axis=1)[:, UNVIEWED - 1 : UNVIEWED]
        kept = (drawn & (lot < 1)) | viewed
        row, column = np.nonzero(kept)
        tables.append(
            features.rows(
                table.profiles,
                day.context,
                table.posts,
                table.pairs,
                found,
                row,
                column,
                hours[row, column],
            )
        )
        labels.append(label[kept])
        weights.append(np.where(viewed, 1, UNVIEWED_WEIGHT)[kept].astype(np.float32))
    if not tables:
        width = len(features.names(len(fitted.centroids)))
        return np.zeros((width, 0), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32)
    return np.concatenate(tables, axis=1), np.concatenate(labels), np.concatenate(weights)


def cluster(vectors: Matrix) -> Matrix:
    """Return the centroids of CLUSTERS clusters of posts; fewer where there are fewer texts."""
    from sklearn.cluster import KMeans

    distinct = len(np.unique(vectors.round(4), axis=0))
    means = KMeans(min(features.CLUSTERS, distinct), random_state=SEED, n_init=3).fit(vectors)
    centroids = np.zeros((features.CLUSTERS, vectors.shape[1]), np.float32)
    centroids[: len(means.cluster_centers_)] = means.cluster_centers_
    return centroids
