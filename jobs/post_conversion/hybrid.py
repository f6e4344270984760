"""A network that joins text and picture: TensorFlow fits it, numpy asks it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.post_conversion import rates
from jobs.post_conversion.regression import dense
from jobs.post_conversion.rows import Rows

UNITS, DROPPED, DECAY = 24, 0.3, 1e-4
EPOCHS, PATIENCE, BATCH, LEARNING_RATE = 120, 10, 64, 3e-3
SEED = 7

Matrix = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Hybrid:
    """The network: a hidden layer for the text, one for the rest, joined, one output an action.

    Attributes:
        source: name of the text encoder whose vectors are read.
        weights: of each layer, and ``centre`` and ``scale`` of the numbers.
        with_pictures: whether the picture is read.
    """

    source: str
    weights: Mapping[str, Matrix]
    with_pictures: bool

    def log_odds(self, rows: Rows) -> Numbers:
        """Return posts x actions."""
        of = self.weights
        text = _relu(rows.vectors[self.source] @ of["text"] + of["text_bias"])
        scaled = (dense(rows, self.with_pictures) - of["centre"]) / of["scale"]
        rest = _relu(scaled @ of["rest"] + of["rest_bias"])
        both = _relu(np.hstack([text, rest]) @ of["both"] + of["both_bias"])
        return np.asarray(both @ of["out"] + of["out_bias"], float)


def fit(
    learned: Rows, chosen_by: Rows, source: str, strengths: Numbers, with_pictures: bool
) -> Hybrid:
    """Return the network of the epoch with the least loss on ``chosen_by``; the same each time."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    read = dense(learned, with_pictures)
    centre, scale = read.mean(axis=0), read.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1)
    counts, views = learned.counts(), learned.views
    rate = np.clip(counts.sum(axis=0) / max(views.sum(), 1), rates.LEAST, rates.MOST)
    layers = tf.keras.layers
    decay = tf.keras.regularizers.L2(DECAY)

    def dense_layer(name: str) -> Any:
        return layers.Dense(UNITS, activation="relu", kernel_regularizer=decay, name=name)

    text_in = layers.Input((learned.vectors[source].shape[1],))
    rest_in = layers.Input((read.shape[1],))
    joined = layers.Concatenate()(
        [dense_layer("text")(text_in), dense_layer("rest")(layers.Dropout(DROPPED)(rest_in))]
    )
    last = dense_layer("both")(layers.Dropout(DROPPED)(joined))
    start = tf.keras.initializers.Constant(np.log(rate) - np.log1p(-rate))
    small = tf.keras.initializers.RandomNormal(stddev=0.01, seed=SEED)
    out = layers.Dense(
        len(learned.actions), bias_initializer=start, kernel_initializer=small, name="out"
    )(last)
    network = tf.keras.Model([text_in, rest_in], out)
    network.compile(tf.keras.optimizers.Adam(LEARNING_RATE), loss=_binomial)

    def given(rows: Rows) -> tuple[list[Matrix], Matrix]:
        scaled = (dense(rows, with_pictures) - centre) / scale
        worth = np.column_stack([rates.worth(rows.views, known) for known in strengths])
        observed = rows.counts() / np.maximum(rows.views, 1)[:, None]
        # Of rare actions a view's loss is small, and what holds the weights down would outweigh it.
        size = max(float((worth * rate * (1 - rate)).mean()), 1e-9)
        return (
            [rows.vectors[source], scaled.astype(np.float32)],
            np.hstack([observed, worth / size]).astype(np.float32),
        )

    stop = tf.keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    network.fit(
        *given(learned), validation_data=given(chosen_by), epochs=EPOCHS, batch_size=BATCH,
        callbacks=[stop], verbose=0,
    )  # fmt: skip
    weights = {"centre": centre.astype(np.float32), "scale": scale.astype(np.float32)}
    for name in ("text", "rest", "both", "out"):
        weights[name], weights[f"{name}_bias"] = network.get_layer(name).get_weights()
    return Hybrid(source, weights, with_pictures)


def _binomial(told: Any, log_odds: Any) -> Any:
    """Return the binomial log-loss; ``told`` holds observed rates, then what they are worth."""
    import tensorflow as tf

    rate, worth = tf.split(told, 2, axis=-1)
    lost = tf.nn.sigmoid_cross_entropy_with_logits(labels=rate, logits=log_odds)
    return tf.reduce_mean(lost * worth, axis=-1)


def _relu(values: Any) -> Numbers:
    return np.asarray(np.maximum(values, 0))
