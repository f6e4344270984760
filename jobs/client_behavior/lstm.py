"""A small LSTM over what clients did: TensorFlow trains it, and scoring does without.

It reads each event's state and how long the client had waited for it, and holds what it knows of
the client in UNITS numbers (Hochreiter and Schmidhuber 1997). From these it tells the next state;
with the silence since, whether the client buys, and churns, within the horizon. Training cuts
histories into chunks; each begins with what its client's chunk before ended with when it was last
trained, so that it learns in the middle of a history what serving meets there.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from jobs.client_behavior.labels import Marks
from jobs.client_behavior.sequences import DAY_US, Codes, Flags, Places, Sequences, Times
from jobs.feed_recommendation.products import product

UNITS = 32
STATE_DIMENSIONS, TIME_DIMENSIONS, HEAD_UNITS = 16, 8, 16
CHUNK = 64
BATCH = 256
LEARNING_RATE = 5e-3
STEEPEST = 1.0  # gradients longer than this are cut to it
UNKNOWN_SHARE = 0.01
PATIENCE = 2
SEED = 7
# What a state that the model has never met gets: small, and no infinite loss where it comes.
FLOOR = 1e-6
BLOCK_INPUTS = 1 << 18

HOUR_US = DAY_US // 24
# Where one bucket of waiting ends and the next begins; the first of all is for no event before.
WAITS = np.array([HOUR_US // 60, HOUR_US // 2, 6 * HOUR_US, *(DAY_US * np.array([1, 3, 7, 30]))])
SILENCES = np.array([HOUR_US, 6 * HOUR_US, *(DAY_US * np.array([1, 2, 4, 7, 14, 21, 30, 45, 60]))])
NEVER = -1

Matrix = NDArray[np.float32]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lstm:
    """A trained model.

    Attributes:
        states: names of the states it knows, in the order of its codes.
        weights: its arrays, by name.
    """

    states: tuple[str, ...]
    weights: dict[str, Matrix]

    def save(self, path: Path) -> None:
        """Write the model to ``path`` (.npz), the same bytes each time."""
        arrays = dict(sorted(self.weights.items()))
        np.savez(path, states=np.array(self.states), **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class After:
    """What comes after the last event of each client.

    Attributes:
        next: chance of each state to be the next one, shape (clients, states).
        purchase: chance of a purchase within the horizon.
        churn: chance of a churn within it.
    """

    next: Matrix
    purchase: Matrix
    churn: Matrix


@dataclass(frozen=True)
class _Inputs:
    """What the model reads: before each client's events one input that says they begin.

    Client i's inputs are ``starts[i]:starts[i + 1]``; ``target`` is the state that follows each, -1
    after the last.
    """

    starts: Places
    code: Codes
    bucket: Codes
    target: Codes


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


def load(path: Path) -> Lstm:
    """Return the model that `Lstm.save` wrote."""
    with np.load(path) as arrays:
        weights = dict(arrays)
    return Lstm(tuple(str(name) for name in weights.pop("states")), weights)


def next_events(model: Lstm, sequences: Sequences, wanted: Flags | None = None) -> Matrix:
    """Return the chance of each state to be each event, from all that its client did before.

    Rows sum to 1 and are, to the bit, the same whichever other clients are there.

    Args:
        model: whose states are all in the sequences, or the other way round. States that it does
            not know have chance FLOOR.
        sequences: columns are in the order of their states.
        wanted: for which events; without it for all.

    Raises:
        ValueError: if both know states that the other does not.
    """
    inputs = _inputs(sequences, _codes(model, sequences.states))
    places = np.flatnonzero(np.ones(len(sequences.at), bool) if wanted is None else wanted)
    # The input before an event stands as far right of it as clients began before its own.
    client = np.searchsorted(sequences.starts, places, side="right") - 1
    found = np.empty((len(places), len(sequences.states)), np.float32)
    for part, hidden in _hidden(model, inputs, client, places - sequences.starts[client]):
        found[part] = _next(model, hidden, sequences.states)
    return found


def after(model: Lstm, sequences: Sequences, now_us: int) -> After:
    """Return what comes after each client's last event, one row per client.

    Args:
        model: as for `next_events`.
        sequences: what clients did until ``now_us``.
        now_us: the moment the horizon begins, microseconds since 1970 UTC.

    Raises:
        ValueError: if both know states that the other does not, or an event is after ``now_us``.
    """
    late = int((sequences.at > now_us).sum())
    if late:
        raise ValueError(f"{late} of {len(sequences.at)} events are after {now_us}")
    inputs = _inputs(sequences, _codes(model, sequences.states))
    counts = np.diff(sequences.starts)
    silence = _bucket(now_us - sequences.at[sequences.starts[1:] - 1], SILENCES)
    following = np.empty((len(counts), len(sequences.states)), np.float32)
    within = np.empty((len(counts), 2), np.float32)
    for part, hidden in _hidden(model, inputs, np.arange(len(counts)), counts):
        following[part] = _next(model, hidden, sequences.states)
        within[part] = _sigmoid(_head(model.weights, hidden, silence[part]))
    return After(following, within[:, 0], within[:, 1])


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
    inputs = _inputs(sequences, np.arange(len(sequences.states) + 1, dtype=np.int8))
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


def _codes(model: Lstm, states: tuple[str, ...]) -> Codes:
    """Return the model's code of each of ``states`` and of the start.

    Raises:
        ValueError: if both know states that the other does not.
    """
    if set(states) - set(model.states) and set(model.states) - set(states):
        raise ValueError(
            f"the model knows {', '.join(model.states)}; the sequences have {', '.join(states)}"
        )
    places = {name: code for code, name in enumerate(model.states)}
    start = len(places)
    return np.array([*(places.get(name, start + 1) for name in states), start], np.int8)


def _inputs(sequences: Sequences, codes: Codes) -> _Inputs:
    """Return what the model reads, states as ``codes`` has them."""
    before = sequences.starts[:-1]
    starts = sequences.starts + np.arange(len(sequences.starts))
    return _Inputs(
        starts,
        codes[np.insert(sequences.state, before, sequences.start)],
        np.insert(_bucket(sequences.waited(), WAITS), before, 0).astype(np.int8),
        np.insert(sequences.state, sequences.starts[1:], NEVER),
    )


def _bucket(lasted: Times, edges: Times) -> NDArray[np.intp]:
    """Return each time's bucket, 0 for NEVER."""
    return np.where(lasted == NEVER, 0, 1 + np.searchsorted(edges, lasted, side="right"))


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
    read = _Read(marks.client, low - first, _bucket(silence, SILENCES), labels)
    return _of(read, np.lexsort((marks.moment, marks.client)))


def _of(read: _Read, kept: NDArray[Any]) -> _Read:
    """Return some of the marks, by flags or places."""
    return _Read(read.client[kept], read.place[kept], read.bucket[kept], read.labels[kept])


def _hidden(
    model: Lstm, inputs: _Inputs, client: Places, place: Places
) -> Iterator[tuple[slice, Matrix]]:
    """Yield what the model holds of clients after their inputs number ``place``.

    By blocks of clients: which of the asked one is about, and their rows. ``client`` ascends.
    """
    lengths = np.zeros(len(inputs.starts) - 1, np.int64)
    np.maximum.at(lengths, client, place + 1)
    ends = np.cumsum(lengths)
    table, recurrent = _tables(model.weights)
    first, done = 0, 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(ends, done + BLOCK_INPUTS, side="right")))
        part = slice(*np.searchsorted(client, [first, last]))
        begin = np.concatenate([[0], ends[first:last] - done])
        hidden = np.empty((begin[-1], len(recurrent)), np.float32)
        _walk(
            inputs.code, inputs.bucket, inputs.starts[first:last], begin, table, recurrent, hidden
        )
        yield part, hidden[begin[client[part] - first] + place[part]]
        first, done = last, int(ends[last - 1])


def _tables(weights: dict[str, Matrix]) -> tuple[Matrix, Matrix]:
    """Return what each state and wait brings to the gates, and what is known of the client.

    The three sigmoids' columns are halved: a sigmoid is a tanh of half of it.
    """
    units = len(weights["recurrent"])
    half = np.full(4 * units, 0.5, np.float32)
    half[2 * units : 3 * units] = 1
    split = weights["state"].shape[1]
    state = product(weights["state"], weights["input"][:split])
    wait = product(weights["wait"], weights["input"][split:])
    table = (state[:, None] + wait[None] + weights["bias"]) * half
    return np.ascontiguousarray(table), np.ascontiguousarray(weights["recurrent"] * half)


@njit(cache=True, fastmath={"contract"})
def _tanh(x: Any) -> Any:
    """Return tanh to 5e-7: of arithmetic alone, so that the compiler takes eight at once.

    A quotient of polynomials, as Eigen has it.
    """
    f = np.float32
    x = min(max(x, f(-7.9)), f(7.9))
    y = x * x
    top = y * f(-2.76076847742355e-16) + f(2.00018790482477e-13)
    top = y * top + f(-8.60467152213735e-11)
    top = y * top + f(5.12229709037114e-08)
    top = y * top + f(1.48572235717979e-05)
    top = y * top + f(6.37261928875436e-04)
    top = y * top + f(4.89352455891786e-03)
    bottom = y * f(1.19825839466702e-06) + f(1.18534705686654e-04)
    bottom = y * bottom + f(2.26843463243900e-03)
    bottom = y * bottom + f(4.89352518554385e-03)
    return x * top / bottom


@njit(cache=True, parallel=True, fastmath={"contract"})
def _walk(
    code: Any, bucket: Any, starts: Any, begin: Any, table: Any, recurrent: Any, hidden: Any
) -> None:
    """Fill rows ``begin[i]:begin[i + 1]`` of ``hidden`` with what is known after client i's inputs.

    No client's numbers depend on another's: each is summed in one order.
    """
    units, half = recurrent.shape[0], np.float32(0.5)
    for client in prange(len(starts)):
        known = np.zeros(units, np.float32)
        cell = np.zeros(units, np.float32)
        gates = np.empty(4 * units, np.float32)
        for step in range(begin[client + 1] - begin[client]):
            at = starts[client] + step
            gates[:] = table[code[at], bucket[at]]
            for unit in range(units):
                share, row = known[unit], recurrent[unit]
                for each in range(4 * units):
                    gates[each] += share * row[each]
            for each in range(4 * units):
                gates[each] = _tanh(gates[each])
            for unit in range(units):
                enter = half * gates[unit] + half
                keep = half * gates[units + unit] + half
                leave = half * gates[3 * units + unit] + half
                cell[unit] = keep * cell[unit] + enter * gates[2 * units + unit]
                known[unit] = leave * _tanh(cell[unit])
            hidden[begin[client] + step] = known


def _next(model: Lstm, hidden: Matrix, states: tuple[str, ...]) -> Matrix:
    """Return the chances of ``states`` to come next, rows that sum to 1."""
    logits = product(hidden, model.weights["next"]) + model.weights["next_bias"]
    chance = np.exp(logits - logits.max(axis=1, keepdims=True))
    chance = chance / chance.sum(axis=1, keepdims=True)
    if states != model.states:
        codes = _codes(model, states)[:-1]
        known = codes < len(model.states)
        chance = np.where(known, chance[:, np.where(known, codes, 0)], np.float32(FLOOR))
        chance = chance / chance.sum(axis=1, keepdims=True)
    return np.asarray(chance, np.float32)


def _head(weights: dict[str, Matrix], hidden: Matrix, bucket: NDArray[np.intp]) -> Matrix:
    """Return the log-odds of a purchase and of a churn within the horizon."""
    told = np.hstack([hidden, weights["silence"][bucket]])
    inner = np.tanh(product(told, weights["head"]) + weights["head_bias"])
    return product(inner, weights["within"]) + weights["within_bias"]


def _sigmoid(odds: Matrix) -> Matrix:
    return np.asarray((np.tanh(odds / 2) + 1) / 2, np.float32)


def _loss(model: Lstm, inputs: _Inputs, held: Flags, read: _Read) -> float:
    """Return the loss on held clients: the next event's, and both heads'; NaN without clients."""
    clients = np.flatnonzero(held)
    counts = np.diff(inputs.starts)[clients]
    client = np.repeat(clients, counts)
    place = _ranges(np.zeros(len(counts), np.int64), counts)
    target = inputs.target[_ranges(inputs.starts[clients], counts)]
    events = target != NEVER
    client, place, target = client[events], place[events], target[events]
    total = 0.0
    for part, hidden in _hidden(model, inputs, client, place):
        chance = _next(model, hidden, model.states)
        right = chance[np.arange(len(chance)), target[part]]
        total -= float(np.log(np.maximum(right, 1e-30), dtype=np.float64).sum())
    odds = np.empty((len(read.client), 2), np.float32)
    for part, hidden in _hidden(model, inputs, read.client, read.place):
        odds[part] = _head(model.weights, hidden, read.bucket[part])
    lost = np.logaddexp(0, odds.astype(float)) - read.labels * odds
    known = np.isfinite(lost)
    heads = np.where(known, lost, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return total / len(target) + float(heads.sum()) if len(target) else np.nan


def _ranges(first: Places, counts: Places) -> Places:
    """Return ``first[0]``, the next number and so on, ``counts[0]`` of them; then from first[1]."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(first - ends + counts, counts)


def _chunked(inputs: _Inputs, trained: Flags, read: _Read) -> tuple[_Chunks, _Read]:
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
        inputs: _Inputs,
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
