"""The test's text encoder: a two-tower model of who likes which words, trained on our own likes.

The text tower takes the mean of its words' vectors through one layer, so that a post has a place
before anybody saw it; the user tower is linear in the mean of the posts that a user liked, of
those viewed and not liked, and in what is known of the user. Their product, scaled, is trained to
tell liked views from others (Yi et al. 2019, with observed views in place of sampled ones). Both
are small enough that numpy serves them: only training needs TensorFlow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.feed_recommendation.history import LIKE, VIEW, History
from jobs.feed_recommendation.text import BUCKETS, hashed
from jobs.products import product

if TYPE_CHECKING:
    import tensorflow as tf

DIMENSIONS = 32
WORD_DIMENSIONS = 48
TRAITS = 128
RECENT = 20
# The last days before the cutoff are trained on, in slices, each with the history before it.
SLICE_DAYS, SLICES = 7, 2
EPOCHS = 4
BATCH = 8192
MAX_VIEWS = 1_000_000
LEARNING_RATE = 5e-3
SEED = 7
FILE = "two_tower.npz"
CATEGORIES = ("city", "country", "exp_group", "gender", "os", "source", "segment")

# Weights that serve: of the text tower, and of the user tower.
TEXT_TOWER = ("word", "text", "text_bias")
USER_TOWER = ("liked", "passed", "traits")

Matrix = NDArray[np.float32]
Weights = Mapping[str, "tf.Variable"]


@dataclass(frozen=True)
class TwoTower:
    """The weights of both towers, by name."""

    weights: dict[str, Matrix]

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one row of length 1 for each text."""
        buckets, starts = hashed(texts)
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        summed = np.add.reduceat(self.weights["word"][buckets], starts[:-1], axis=0)
        mean = summed / np.diff(starts)[:, None]
        found = np.tanh(mean @ self.weights["text"] + self.weights["text_bias"])
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def users(self, liked: Matrix, passed: Matrix, traits: Matrix) -> Matrix:
        """Return users' vectors; their product with a post's is its log-odds but for constants.

        Args:
            liked: mean vector of each user's last liked posts, zeros without one.
            passed: mean vector of the last ones viewed and not liked.
            traits: see `traits`.
        """
        return place_users(self.weights, liked, passed, traits)


def place_users(
    weights: Mapping[str, Matrix], liked: Matrix, passed: Matrix, traits: Matrix
) -> Matrix:
    """Return users' vectors by the weights of USER_TOWER, see `TwoTower.users`."""
    parts = {"liked": liked, "passed": passed, "traits": traits}
    return product(np.hstack(list(parts.values())), np.vstack([weights[name] for name in parts]))


def traits(users: pd.DataFrame) -> Matrix:
    """Return what is known of each user as TRAITS zeros and ones, by hashed category."""
    found = np.zeros((len(users), TRAITS), np.float32)
    for name in CATEGORIES:
        codes, values = pd.factorize(users[name].astype(str).fillna(""))  # unknown is a value
        places = np.array([crc32(f"{name}={value}".encode()) % TRAITS for value in values])
        found[np.arange(len(users)), places[codes]] = 1
    return found


def recent(history: History, liked: bool) -> NDArray[np.int32]:
    """Return the places of each user's last RECENT posts, liked or passed; -1 where no more."""
    chosen = (history.action & LIKE) > 0
    if not liked:
        chosen = ~chosen & ((history.action & VIEW) > 0)
    part = history.where(chosen)
    counts = np.diff(part.starts)
    found = np.full((len(part.users), RECENT), -1, np.int32)
    from_end = np.repeat(part.starts[1:], counts) - 1 - np.arange(len(part.post))
    kept = from_end < RECENT
    found[part.user[kept], from_end[kept]] = part.post[kept]
    return found


def mean_of(vectors: Matrix, posts: NDArray[np.int32]) -> Matrix:
    """Return the mean of the vectors at each row's places; -1 is none, and zeros where all are."""
    known = posts >= 0
    summed = np.einsum("urd,ur->ud", vectors[posts], known.astype(np.float32))
    return np.asarray(summed / np.maximum(known.sum(1), 1)[:, None], np.float32)


def fit(
    texts: Sequence[str], users: pd.DataFrame, history: History, last_day: int, period: int = 1
) -> TwoTower:
    """Train both towers on the views of the last days.

    Args:
        texts: of the posts, in the order of ``history.posts``.
        users: rows of users.sql, in the order of ``history.users``.
        history: what happened up to ``last_day``, a day's number; nothing later is looked at.
        last_day: the last day to learn from.
        period: days that count as one (`periods.length`).

    Returns:
        The towers; with too few views they stay as they were drawn, which is a random projection
        of the words.
    """
    import tensorflow as tf

    def posts(weights: Weights) -> Any:
        pooled = tf.sparse.sparse_dense_matmul(pooling, weights["word"])
        vectors = tf.tanh(pooled @ weights["text"] + weights["text_bias"])
        return tf.math.l2_normalize(vectors, axis=1, epsilon=1e-12)

    buckets, starts = hashed(texts)
    text_of = np.repeat(np.arange(len(texts)), np.diff(starts))
    share = (1 / np.diff(starts))[text_of].astype(np.float32)
    # Sparse products in place of gathers: a gradient that adds up row by row took ten times longer.
    pooling = _sparse(tf, text_of, buckets, share, (len(texts), BUCKETS))
    random = np.random.default_rng(SEED)
    drawn = _drawn(
        random,
        {
            "word": (BUCKETS, WORD_DIMENSIONS),
            "text": (WORD_DIMENSIONS, DIMENSIONS),
            "traits": (TRAITS, DIMENSIONS),
        },
    )
    initial = drawn | {"text_bias": np.zeros(DIMENSIONS, np.float32)} | _user_tower(drawn)
    learned = _learn(tf, initial, posts, len(texts), users, history, last_day, period, random)
    return TwoTower({name: learned[name] for name in (*TEXT_TOWER, *USER_TOWER)})


def fit_users(
    vectors: Matrix, users: pd.DataFrame, history: History, last_day: int, period: int = 1
) -> dict[str, Matrix]:
    """Train the user tower alone, on posts' vectors that stay as they are.

    Args:
        vectors: of the posts, in the order of ``history.posts``.
        users: as for `fit`; so are the others.
        history: what happened up to ``last_day``.
        last_day: the last day to learn from.
        period: days that count as one.

    Returns:
        The tower's weights, see USER_TOWER.
    """
    import tensorflow as tf

    frozen = tf.constant(vectors)
    random = np.random.default_rng(SEED)
    drawn = _drawn(random, {"traits": (TRAITS, vectors.shape[1])})
    learned = _learn(
        tf,
        drawn | _user_tower(drawn),
        lambda weights: frozen,
        len(vectors),
        users,
        history,
        last_day,
        period,
        random,
    )
    return {name: learned[name] for name in USER_TOWER}


def save(towers: TwoTower, folder: Path) -> None:
    """Write the towers into ``folder``."""
    np.savez(folder / FILE, **towers.weights)  # type: ignore[arg-type]


def load(folder: Path) -> TwoTower:
    """Return the towers that `save` wrote."""
    with np.load(folder / FILE) as arrays:
        return TwoTower(dict(arrays))


def _drawn(random: np.random.Generator, shapes: Mapping[str, tuple[int, int]]) -> dict[str, Matrix]:
    """Return random weights of these shapes, of rows of length 1 or so; traits say little yet."""
    drawn = {
        name: random.normal(0, 1 / np.sqrt(shape[1]), shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    drawn["traits"] *= 0.1
    return drawn


def _user_tower(drawn: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Return the rest of the user tower before training; biases and scale serve training only."""
    traits, dimensions = drawn["traits"].shape
    return {
        "liked": 2 * np.eye(dimensions, dtype=np.float32),
        "passed": -np.eye(dimensions, dtype=np.float32),
        "quality": np.zeros((dimensions, 1), np.float32),
        "warm": np.zeros((traits, 1), np.float32),
        "bias": np.array([-2.0], np.float32),
    }


def _learn(
    tf: Any,
    initial: Mapping[str, Matrix],
    place: Callable[[Weights], Any],
    posts: int,
    users: pd.DataFrame,
    history: History,
    last_day: int,
    period: int,
    random: np.random.Generator,
) -> dict[str, Matrix]:
    """Return the weights after training on the views of the last days; see `fit`."""
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    weights = {name: tf.Variable(value, name=name) for name, value in initial.items()}
    days = SLICE_DAYS * period
    slices = [_slice(history, last_day - days * step, days, random) for step in range(SLICES)]
    if sum(len(rows[0]) for *_, rows in slices):
        _train(tf, weights, place, posts, traits(users), slices, random)
    return {name: value.numpy() for name, value in weights.items()}


def _slice(
    history: History, last_day: int, days: int, random: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[NDArray[Any], ...]]:
    """Return one slice of days: liked and passed posts before it, and its views.

    The views are user, post and label; where there are too many, a random part of them.
    """
    first_day = last_day - days + 1
    before = history.where(history.day < first_day)
    seen = (history.day >= first_day) & (history.day <= last_day) & (history.action & VIEW > 0)
    rows = np.flatnonzero(seen)
    if len(rows) > MAX_VIEWS // SLICES:
        rows = np.sort(random.choice(rows, MAX_VIEWS // SLICES, replace=False))
    label = ((history.action[rows] & LIKE) > 0).astype(np.float32)
    return (
        recent(before, liked=True),
        recent(before, liked=False),
        (history.user[rows], history.post[rows], label),
    )


def _train(
    tf: Any,
    weights: Weights,
    place: Callable[[Weights], Any],
    posts: int,
    known: Matrix,
    slices: Sequence[tuple[NDArray[np.int32], NDArray[np.int32], tuple[NDArray[Any], ...]]],
    random: np.random.Generator,
) -> None:
    """Change the weights so that the product of the towers tells liked views from others.

    ``place`` makes the posts' vectors of the weights.
    """
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(liked: Any, passed: Any, traits: Any, user: Any, post: Any, label: Any) -> Any:
        with tf.GradientTape() as tape:
            vectors = place(weights)
            taste = tf.sparse.sparse_dense_matmul(liked, vectors) @ weights["liked"]
            taste += tf.sparse.sparse_dense_matmul(passed, vectors) @ weights["passed"]
            taste += traits @ weights["traits"]
            viewed = tf.gather(vectors, post)
            odds = tf.reduce_sum(tf.gather(taste, user) * viewed, 1)
            odds += (viewed @ weights["quality"])[:, 0]
            odds += tf.gather(traits @ weights["warm"], user)[:, 0] + weights["bias"]
            loss = tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=odds)
            )
        variables = list(weights.values())
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    prepared = []
    for liked, passed, views in slices:
        shape = (len(known), posts)
        means = [_mean(tf, liked, shape), _mean(tf, passed, shape)]
        prepared.append((means, views))
    everyone = tf.constant(known)
    for _ in range(EPOCHS):
        for (liked, passed), (user, post, label) in prepared:
            order = random.permutation(len(user))
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                step(
                    liked,
                    passed,
                    everyone,
                    tf.constant(user[rows]),
                    tf.constant(post[rows]),
                    tf.constant(label[rows]),
                )


def _mean(tf: Any, posts: NDArray[np.int32], shape: tuple[int, int]) -> Any:
    """Return the matrix that takes posts' vectors to each user's mean of those in ``posts``."""
    user, column = np.nonzero(posts >= 0)
    share = 1 / np.maximum((posts >= 0).sum(1), 1)
    return _sparse(tf, user, posts[user, column], share[user].astype(np.float32), shape)


def _sparse(
    tf: Any,
    rows: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[np.float32],
    shape: tuple[int, int],
) -> Any:
    places = np.column_stack([rows, columns]).astype(np.int64)
    return tf.sparse.reorder(tf.sparse.SparseTensor(places, values, shape))
