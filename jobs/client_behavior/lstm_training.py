"""Training the LSTM of `lstm`: TensorFlow changes the weights, on chunks of clients' histories.

Each chunk begins with what its client's chunk before ended with when it was last trained, so that
the network learns in the middle of a history what serving meets there.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.client_behavior.labels import Marks
from jobs.client_behavior.lstm import (
    NEVER,
    SILENCES,
    UNITS,
    WAITS,
    Inputs,
    Lstm,
    Matrix,
    bucket_of,
    hidden_after,
    inputs_of,
    next_chances,
    odds_within,
)
from jobs.client_behavior.sequences import Flags, Places, Sequences

STATE_DIMENSIONS, TIME_DIMENSIONS, HEAD_UNITS = 16, 8, 16
CHUNK = 64
BATCH = 256
LEARNING_RATE = 5e-3
STEEPEST = 1.0  # gradients longer than this are cut to it
UNKNOWN_SHARE = 0.01
PATIENCE = 2
SEED = 7

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    """Marks as the model reads them: at which input of which client, after which silence."""

    client: Places
    place: Places
    bucket: NDArray[np.intp]
    labels: Matrix  # purchase and churn


@dataclass(frozen=True)
class _Chunks:
    """Up to CHUNK inputs that follow each other, and the marks on them.

    ``before`` says where what its client's chunk before ended with is kept, and ``after`` where its
    own end goes; 0 where there is none.
    """

    first: Places
    length: Places
    before: Places
    after: Places
    marks: Places  # chunk i has marks[i]:marks[i + 1] of those sorted by chunk


def fit(
    sequences: Sequences, marks: Marks, held: Flags, epochs: int, begin: Lstm | None = None
) -> Lstm:
    """Train on the clients that are not held; the same to the bit each time.

    Of all epochs the weights with the least loss on held clients are kept, and training stops
    where PATIENCE epochs brought none; without held clients they are those of the last.

    Args:
        sequences: what clients did; all of it is looked at.
        marks: what clients' moments were followed by; labels may be NaN, which teaches nothing.
        held: for each client, whether they only choose when to stop.
        epochs: the most there are.
        begin: a model to go on from; it is returned where no epoch is better on held clients.

    Raises:
        ValueError: if every client is held, or ``begin`` has other states or sizes.
    """
    if held.all():
        raise ValueError(f"all of {len(held)} clients are held: there is none to train on")
    random = np.random.default_rng(SEED)
    weights = _drawn(random, len(sequences.states))
    if begin:
        _check(begin, sequences.states, weights)
        weights = begin.weights
    model = Lstm(sequences.states, weights)
    inputs = inputs_of(sequences, np.arange(len(sequences.states) + 1, dtype=np.int8))
    read = _read(sequences, marks)
    held_read = _of(read, held[read.client])
    best, least = model, _loss(model, inputs, held, held_read) if begin else np.inf
    trainer = _Trainer(model, inputs, _of(read, ~held[read.client]), ~held, random)
    worse = 0
    for epoch in range(epochs):
        model = trainer.epoch()
        loss = _loss(model, inputs, held, held_read)
        log.info("epoch %d: held loss %.5f", epoch + 1, loss)
        if loss < least or not held.any():
            best, least, worse = model, loss, 0
        else:
            worse += 1
        if worse == PATIENCE:
            break
    return best


def _check(begin: Lstm, states: tuple[str, ...], drawn: dict[str, Matrix]) -> None:
    """Raise ValueError where training can't go on from ``begin``."""
    if begin.states != states:
        raise ValueError(
            f"training can't go on: the model knows {', '.join(begin.states)};"
            f" the sequences have {', '.join(states)}"
        )
    found = {name: value.shape for name, value in begin.weights.items()}
    expected = {name: value.shape for name, value in drawn.items()}
    if found != expected:
        raise ValueError(f"training can't go on: the model is of {found}, expected {expected}")


def _drawn(random: np.random.Generator, states: int) -> dict[str, Matrix]:
    """Return the weights before training; the gate that keeps what is known begins open."""
    width = STATE_DIMENSIONS + TIME_DIMENSIONS
    shapes = {
        "state": (states + 2, STATE_DIMENSIONS),  # then the start, then an unknown one
        "wait": (len(WAITS) + 2, TIME_DIMENSIONS),
        "input": (width, 4 * UNITS),
        "recurrent": (UNITS, 4 * UNITS),
        "next": (UNITS, states),
        "silence": (len(SILENCES) + 2, TIME_DIMENSIONS),
        "head": (UNITS + TIME_DIMENSIONS, HEAD_UNITS),
        "within": (HEAD_UNITS, 2),
    }
    drawn = {
        name: random.normal(0, np.sqrt(2 / sum(shape)), shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    bias = np.zeros(4 * UNITS, np.float32)
    bias[UNITS : 2 * UNITS] = 1
    return drawn | {
        "bias": bias,
        "next_bias": np.zeros(states, np.float32),
        "head_bias": np.zeros(HEAD_UNITS, np.float32),
        "within_bias": np.zeros(2, np.float32),
    }


def _read(sequences: Sequences, marks: Marks) -> _Read:
    """Return the marks by client, each at their last event before the moment."""
    first, last = sequences.starts[marks.client], sequences.starts[marks.client + 1]
    low, high = first, last
    while (low < high).any():
        middle = (low + high) // 2
        earlier = (low < high) & (sequences.at[np.minimum(middle, last - 1)] < marks.moment)
        low, high = np.where(earlier, middle + 1, low), np.where(earlier, high, middle)
    silence = np.where(low > first, marks.moment - sequences.at[low - 1], NEVER)
    labels = np.column_stack([marks.purchase, marks.churn]).astype(np.float32)
    read = _Read(marks.client, low - first, bucket_of(silence, SILENCES), labels)
    return _of(read, np.lexsort((marks.moment, marks.client)))


def _of(read: _Read, kept: NDArray[Any]) -> _Read:
    """Return some of the marks, by flags or places."""
    return _Read(read.client[kept], read.place[kept], read.bucket[kept], read.labels[kept])


def _loss(model: Lstm, inputs: Inputs, held: Flags, read: _Read) -> float:
    """Return the loss on held clients: the next event's, and both heads'; NaN without clients."""
    clients = np.flatnonzero(held)
    counts = np.diff(inputs.starts)[clients]
    client = np.repeat(clients, counts)
    place = _ranges(np.zeros(len(counts), np.int64), counts)
    target = inputs.target[_ranges(inputs.starts[clients], counts)]
    events = target != NEVER
    client, place, target = client[events], place[events], target[events]
    total = 0.0
    for part, hidden in hidden_after(model, inputs, client, place):
        chance = next_chances(model, hidden, model.states)
        right = chance[np.arange(len(chance)), target[part]]
        total -= float(np.log(np.maximum(right, 1e-30), dtype=np.float64).sum())
    odds = np.empty((len(read.client), 2), np.float32)
    for part, hidden in hidden_after(model, inputs, read.client, read.place):
        odds[part] = odds_within(model.weights, hidden, read.bucket[part])
    lost = np.logaddexp(0, odds.astype(float)) - read.labels * odds
    known = np.isfinite(lost)
    heads = np.where(known, lost, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return total / len(target) + float(heads.sum()) if len(target) else np.nan


def _ranges(first: Places, counts: Places) -> Places:
    """Return ``first[0]``, the next number and so on, ``counts[0]`` of them; then from first[1]."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(first - ends + counts, counts)


def _chunked(inputs: Inputs, trained: Flags, read: _Read) -> tuple[_Chunks, _Read]:
    """Return trained clients' chunks, and their marks sorted by chunk, places counted within it."""
    clients = np.flatnonzero(trained)
    counts = np.diff(inputs.starts)[clients]
    pieces = -(-counts // CHUNK)
    client = np.repeat(np.arange(len(clients)), pieces)
    number = _ranges(np.zeros(len(pieces), np.int64), pieces)
    goes_on = number > 0
    before = np.where(goes_on, np.cumsum(goes_on), 0)
    chunk = (np.cumsum(pieces) - pieces)[np.searchsorted(clients, read.client)]
    chunk = chunk + read.place // CHUNK
    order = np.argsort(chunk, kind="stable")
    chunks = _Chunks(
        first=inputs.starts[clients][client] + number * CHUNK,
        length=np.minimum(counts[client] - number * CHUNK, CHUNK),
        before=before,
        after=np.append(before[1:], 0),
        marks=np.searchsorted(chunk[order], np.arange(len(client) + 1)),
    )
    inside = _Read(read.client, read.place % CHUNK, read.bucket, read.labels)
    return chunks, _of(inside, order)


class _Trainer:
    """Weights in training, and what each chunk's client was known by at its beginning."""

    def __init__(
        self,
        model: Lstm,
        inputs: Inputs,
        read: _Read,
        trained: Flags,
        random: np.random.Generator,
    ) -> None:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        self.states, self.inputs, self.random = model.states, inputs, random
        self.chunks, self.read = _chunked(inputs, trained, read)
        self.kept = np.zeros((2, int(self.chunks.before.max()) + 1, UNITS), np.float32)
        self.weights = {name: tf.Variable(each, name=name) for name, each in model.weights.items()}
        self.step = _step(tf, self.weights)

    def epoch(self) -> Lstm:
        """Train on every chunk once, in a new order; return the weights."""
        chunks = self.chunks
        batches = -(-len(chunks.first) // BATCH)
        targets = int(chunks.length.sum() - (chunks.after == 0).sum())
        # Each event and each label counts the same, whichever batch it is in.
        labels = np.isfinite(self.read.labels).sum(axis=0)
        share = batches / np.maximum([targets, *labels], 1)
        order = np.lexsort((self.random.random(len(chunks.first)), chunks.length))
        parts = np.array_split(order, batches)
        for place in self.random.permutation(batches):
            self._train(np.sort(parts[place]), share.astype(np.float32))
        return Lstm(self.states, {name: each.numpy() for name, each in self.weights.items()})

    def _train(self, part: Places, share: Matrix) -> None:
        """Train on some chunks; keep what they end with for those that follow them."""
        chunks, read, unknown = self.chunks, self.read, len(self.states) + 1
        length = chunks.length[part]
        column = np.arange(length.max())
        within = column < length[:, None]
        at = chunks.first[part, None] + np.where(within, column, 0)
        hidden_states = self.random.random(at.shape) < UNKNOWN_SHARE
        first, last = chunks.marks[part], chunks.marks[part + 1]
        mark = _ranges(first, last - first)
        row = np.repeat(np.arange(len(part)), last - first)
        ends = self.step(
            np.where(hidden_states, unknown, self.inputs.code[at]).astype(np.int32),
            self.inputs.bucket[at].astype(np.int32),
            np.where(within, self.inputs.target[at], NEVER).astype(np.int32),
            self.kept[:, chunks.before[part]],
            (row * len(column) + read.place[mark]).astype(np.int32),
            read.bucket[mark].astype(np.int32),
            read.labels[mark],
            share,
        )
        goes_on = chunks.after[part] > 0
        self.kept[:, chunks.after[part][goes_on]] = ends.numpy()[:, goes_on]


def _step(tf: Any, weights: dict[str, Any]) -> Any:
    """Return the function that changes the weights by one batch and returns its last states.

    The loop over events is TensorFlow's: unrolled it was a seventh faster and compiled for each
    length of chunk.
    """
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE, global_clipnorm=STEEPEST)
    cell = tf.keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)
    cell.build((None, None, STATE_DIMENSIONS + TIME_DIMENSIONS))
    own = zip(cell.trainable_variables, ("input", "recurrent", "bias"), strict=True)
    for variable, name in own:
        variable.assign(weights[name])
        weights[name] = variable.value
    variables = list(weights.values())
    optimizer.build(variables)  # else the first call makes variables, and all is traced twice
    whole, real = tf.int32, tf.float32

    def looked_up(name: str, place: Any) -> Any:
        # A product in place of a gather: its gradient is summed in one order.
        return tf.one_hot(place, weights[name].shape[0]) @ weights[name]

    def losses(
        code: Any, bucket: Any, target: Any, known: Any, mark: Any, silence: Any, labels: Any
    ) -> tuple[Any, Any]:
        told = tf.concat([looked_up("state", code), looked_up("wait", bucket)], 2)
        hidden, *last = cell(told, initial_state=[known[0], known[1]])
        hidden = tf.reshape(hidden, (-1, UNITS))
        target = tf.reshape(target, [-1])
        logits = hidden @ weights["next"] + weights["next_bias"]
        lost = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(target, 0), logits)
        events = tf.reduce_sum(tf.where(target == NEVER, 0.0, lost))
        told = tf.concat([tf.gather(hidden, mark), looked_up("silence", silence)], 1)
        inner = tf.tanh(told @ weights["head"] + weights["head_bias"])
        odds = inner @ weights["within"] + weights["within_bias"]
        missing = tf.math.is_nan(labels)
        lost = tf.nn.sigmoid_cross_entropy_with_logits(tf.where(missing, 0.0, labels), odds)
        heads = tf.reduce_sum(tf.where(missing, 0.0, lost), 0)
        return tf.concat([[events], heads], 0), tf.stack(last)

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tf.TensorSpec((None, None), whole),
            tf.TensorSpec((None, None), whole),
            tf.TensorSpec((None, None), whole),
            tf.TensorSpec((2, None, UNITS), real),
            tf.TensorSpec((None,), whole),
            tf.TensorSpec((None,), whole),
            tf.TensorSpec((None, 2), real),
            tf.TensorSpec((3,), real),
        ],
        autograph=False,
    )
    def step(
        code: Any,
        bucket: Any,
        target: Any,
        known: Any,
        mark: Any,
        silence: Any,
        labels: Any,
        share: Any,
    ) -> Any:
        with tf.GradientTape() as tape:
            lost, last = losses(code, bucket, target, known, mark, silence, labels)
            loss = tf.reduce_sum(lost * share)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return last

    return step
