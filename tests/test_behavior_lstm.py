import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import behavior_worlds
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jobs.client_behavior import lstm, lstm_training
from jobs.client_behavior.labels import Marks
from jobs.client_behavior.sequences import CHURN, DAY_US, PURCHASE, Sequences

ROOT = Path(__file__).parents[1]
NOW = behavior_worlds.BEGIN_US + 100 * DAY_US
SOON = 5 * DAY_US
CART = behavior_worlds.STATES.index("cart")
NOBODY = Marks(*(np.zeros(0, kind) for kind in (int, int, np.float32, np.float32)))
# Trains a model and trains it further; says so after each epoch.
SCRIPT = """
import logging, sys
from pathlib import Path
import behavior_worlds, numpy as np
from jobs.client_behavior import lstm, lstm_training
from test_behavior_lstm import drawn, marks_at, NOW
found = behavior_worlds.draw(3, 120, 80, 2, 0.1)
lstm.next_events(drawn(found.states), found)
assert "tensorflow" not in sys.modules, "scoring imports tensorflow"
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
lstm_training.BATCH = 16
held = np.arange(120) % 5 == 0
marks = marks_at(found, [NOW - 20 * 86_400_000_000, NOW], 4)
first = lstm_training.fit(found, marks, held, 2)
first.save(Path(sys.argv[1]) / "first.npz")
lstm_training.fit(found, marks, held, 2, begin=first).save(Path(sys.argv[1]) / "further.npz")
"""


@pytest.fixture(scope="module")
def whole():
    return behavior_worlds.draw(1, 1500, 80, order=2, effects=0.1)


@pytest.fixture(scope="module")
def learned(whole):
    """A model of what was done before NOW."""
    known = before_now(whole)
    marks = marks_at(known, [NOW - 30 * DAY_US, NOW - 15 * DAY_US, NOW], 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lstm_training, "BATCH", 64)
        return lstm_training.fit(known, marks, held(known), 9)


def held(found: Sequences) -> np.ndarray:
    return np.arange(len(found.clients)) % 5 == 0


def before_now(found: Sequences) -> Sequences:
    return found.where(found.at < NOW)


def drawn(states: tuple[str, ...]) -> lstm.Lstm:
    return lstm.Lstm(states, lstm_training._drawn(np.random.default_rng(5), len(states)))


def marks_at(found: Sequences, cutoffs: list[int], seed: int) -> Marks:
    """Whoever did something lately buys; whose last event was a cart does not churn, often."""
    random = np.random.default_rng(seed)
    parts = []
    for cutoff in cutoffs:
        counts = np.bincount(found.client()[found.at < cutoff], minlength=len(found.clients))
        last = found.starts[:-1] + np.maximum(counts - 1, 0)
        lately = (cutoff - found.at[last] < SOON) & (counts > 0)
        cart = (found.state[last] == CART) & (counts > 0)
        purchase = random.random(len(counts)) < np.where(lately, 0.9, 0.05)
        churn = np.where(random.random(len(counts)) < np.where(cart, 0.05, 0.9), 1.0, 0.0)
        churn[counts == 0] = np.nan
        parts.append((np.arange(len(counts)), np.full(len(counts), cutoff), purchase, churn))
    client, cutoff, purchase, churn = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Marks(client, cutoff, purchase.astype(np.float32), churn.astype(np.float32))


def losses(chances: np.ndarray, states: np.ndarray) -> np.ndarray:
    return -np.log(chances[np.arange(len(states)), states])


def order_one(known: Sequences, asked: Sequences) -> np.ndarray:
    counts = np.full((asked.start + 1, asked.start), 0.5)
    np.add.at(counts, (known.before(), known.state), 1)
    return (counts / counts.sum(axis=1, keepdims=True))[asked.before()]


def sequences(states: tuple[str, ...], *clients: list[tuple[int, int]]) -> Sequences:
    """Clients' (state, hour) pairs."""
    starts = np.concatenate([[0], np.cumsum([len(each) for each in clients])])
    state, hour = np.array([event for client in clients for event in client]).T
    ids = np.arange(len(clients), dtype=np.int64)
    return Sequences(states, ids, starts, state.astype(np.int8), hour * lstm.HOUR_US)


def slow(model: lstm.Lstm, codes: list[int], buckets: list[int]) -> np.ndarray:
    """What is known after each input, in doubles, as the textbook has it."""

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    weights = {name: each.astype(float) for name, each in model.weights.items()}
    hidden, cell, found = np.zeros(lstm.UNITS), np.zeros(lstm.UNITS), []
    for code, bucket in zip(codes, buckets, strict=True):
        told = np.concatenate([weights["state"][code], weights["wait"][bucket]])
        gates = told @ weights["input"] + hidden @ weights["recurrent"] + weights["bias"]
        enter, keep, new, leave = np.split(gates, 4)
        cell = sigmoid(keep) * cell + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(leave) * np.tanh(cell)
        found.append(hidden)
    return np.array(found)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def test_serving_says_what_keras_says(learned, whole):
    import tensorflow as tf

    some = whole.where(whole.client() < 12)
    layer = tf.keras.layers.LSTM(lstm.UNITS, return_sequences=True)
    layer.build((None, None, lstm_training.STATE_DIMENSIONS + lstm_training.TIME_DIMENSIONS))
    weights = learned.weights
    layer.set_weights([weights["input"], weights["recurrent"], weights["bias"]])
    end = int(some.at.max()) + 7 * DAY_US
    said, after = lstm.next_events(learned, some), lstm.after(learned, some, end)

    for client, (first, last) in enumerate(zip(some.starts[:-1], some.starts[1:], strict=True)):
        code = np.append(some.start, some.state[first:last])
        wait = np.diff(some.at[first:last])
        bucket = [0, 0, *(1 + (lstm.WAITS[:, None] <= wait).sum(axis=0))]
        told = np.hstack([weights["state"][code], weights["wait"][bucket]])
        hidden = layer(told[None]).numpy()[0]
        chances = softmax(hidden @ weights["next"] + weights["next_bias"])
        silence = 1 + int((end - some.at[last - 1] >= lstm.SILENCES).sum())
        read = np.append(hidden[-1], weights["silence"][silence])
        inner = np.tanh(read @ weights["head"] + weights["head_bias"])
        within = 1 / (1 + np.exp(-(inner @ weights["within"] + weights["within_bias"])))

        np.testing.assert_allclose(said[first:last], chances[:-1], rtol=0, atol=1e-5)
        np.testing.assert_allclose(after.next[client], chances[-1], rtol=0, atol=1e-5)
        np.testing.assert_allclose(after.purchase[client], within[0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(after.churn[client], within[1], rtol=0, atol=1e-5)


def test_a_clients_chances_are_the_same_to_the_bit_whoever_is_there(learned, whole, monkeypatch):
    everyone = lstm.next_events(learned, whole)
    after = lstm.after(learned, whole, int(whole.at.max()))
    monkeypatch.setattr(lstm, "BLOCK_INPUTS", 300)
    kept = whole.client() % 7 == 3
    some = whole.where(kept)

    assert (lstm.next_events(learned, some) == everyone[kept]).all()
    assert (lstm.next_events(learned, whole, kept) == everyone[kept]).all()
    assert (lstm.after(learned, some, int(whole.at.max())).churn == after.churn[3::7]).all()
    assert everyone.dtype == np.float32
    np.testing.assert_allclose(everyone.sum(axis=1), 1, atol=1e-6)


def test_later_events_change_no_earlier_chance(learned, whole):
    known = before_now(whole)

    before = lstm.next_events(learned, whole, whole.at < NOW)

    assert 0 < len(known.at) < len(whole.at)
    assert (before == lstm.next_events(learned, known)).all()


def test_it_beats_one_state_back_where_two_count_and_clients_differ(learned, whole):
    asked = whole.at >= NOW
    known, states = before_now(whole), whole.state[asked]

    lost = losses(lstm.next_events(learned, whole, asked), states)

    gained = losses(order_one(known, whole)[asked], states) - lost
    assert gained.mean() > 0.1
    assert lost.mean() < losses(behavior_worlds.chances_of(whole, 2)[asked], states).mean() + 0.06


def test_it_finds_nothing_where_one_state_back_is_all_there_is(monkeypatch):
    monkeypatch.setattr(lstm_training, "BATCH", 64)
    whole = behavior_worlds.draw(6, 1000, 60, order=1)
    known, asked = before_now(whole), whole.at >= NOW
    states = whole.state[asked]

    model = lstm_training.fit(known, NOBODY, held(known), 6)

    lost = losses(lstm.next_events(model, whole, asked), states)
    for rival in (behavior_worlds.chances_of(whole, 1), order_one(known, whole)):
        more = lost - losses(rival[asked], states)
        noise = more.std() / np.sqrt(len(more))
        assert -3 * noise < more.mean() < 0.05


def test_the_heads_learn_what_silence_and_the_last_state_say(learned, whole):
    known = before_now(whole)
    truth = marks_at(known, [NOW], 99)

    found = lstm.after(learned, known, NOW)

    asked = held(known)
    assert roc_auc_score(truth.purchase[asked], found.purchase[asked]) > 0.7
    assert roc_auc_score(truth.churn[asked], found.churn[asked]) > 0.7
    # Chances, and not ranks alone.
    assert abs(found.purchase[asked].mean() - truth.purchase[asked].mean()) < 0.1
    assert abs(found.churn[asked].mean() - truth.churn[asked].mean()) < 0.1


def test_a_label_without_meaning_costs_nothing(monkeypatch):
    monkeypatch.setattr(lstm_training, "BATCH", 16)
    found = behavior_worlds.draw(4, 60, 10)
    marks = marks_at(found, [NOW], 1)
    marks = replace(marks, churn=np.full_like(marks.churn, np.nan))

    model = lstm_training.fit(found, marks, held(found), 1)

    begun = lstm_training._drawn(np.random.default_rng(lstm_training.SEED), len(found.states))
    assert all(np.isfinite(each).all() for each in model.weights.values())
    assert (model.weights["within"][:, 1] == begun["within"][:, 1]).all()
    assert (model.weights["within"][:, 0] != begun["within"][:, 0]).all()
    assert (model.weights["state"][-1] != begun["state"][-1]).any(), "no unknown state was met"


def test_of_clients_held_out_nothing_is_learned(monkeypatch):
    monkeypatch.setattr(lstm_training, "BATCH", 16)
    found = behavior_worlds.draw(4, 60, 10)
    of_held = held(found)[found.client()] & (found.state < 2)
    turned = replace(found, state=np.where(of_held, 1 - found.state, found.state).astype(np.int8))
    marks = marks_at(found, [NOW], 1)
    said = held(found)[marks.client]
    other = replace(marks, purchase=np.where(said, 1 - marks.purchase, marks.purchase))

    one = lstm_training.fit(found, marks, held(found), 1)
    two = lstm_training.fit(turned, other, held(found), 1)

    assert of_held.sum() > 20
    assert all((one.weights[name] == two.weights[name]).all() for name in one.weights)


def test_the_best_epoch_is_kept_and_two_worse_ones_end_the_training(monkeypatch):
    found = behavior_worlds.draw(4, 10, 5)
    losses, epochs = iter([5.0, 4.0, 4.5, 4.0, 1.0]), []

    class Trainer:
        def __init__(self, *_: object) -> None:
            pass

        def epoch(self) -> lstm.Lstm:
            epochs.append(lstm.Lstm(found.states, {"epoch": np.float32([len(epochs)])}))
            return epochs[-1]

    monkeypatch.setattr(lstm_training, "_Trainer", Trainer)
    monkeypatch.setattr(lstm_training, "_loss", lambda *_: next(losses))

    best = lstm_training.fit(found, NOBODY, held(found), 9)

    assert len(epochs) == 4
    assert best is epochs[1]


def test_a_chunk_begins_with_what_the_one_before_ended_with(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(lstm_training, "LEARNING_RATE", 0.0)
    monkeypatch.setattr(lstm_training, "UNKNOWN_SHARE", 0.0)
    monkeypatch.setattr(lstm_training, "CHUNK", 8)
    monkeypatch.setattr(lstm_training, "BATCH", 5)
    tf.config.experimental.enable_op_determinism()
    found = behavior_worlds.draw(4, 12, 30)
    model = drawn(found.states)
    inputs = lstm.inputs_of(found, np.arange(len(found.states) + 1, dtype=np.int8))
    marks = lstm_training._read(found, NOBODY)
    trained = np.arange(12) != 2

    trainer = lstm_training._Trainer(model, inputs, marks, trained, np.random.default_rng(1))
    for _ in range(4):
        trainer.epoch()

    counts = np.diff(inputs.starts)
    asked = [
        (client, place)
        for client in np.flatnonzero(trained)
        for place in range(7, counts[client] - 1, 8)
    ]
    client, place = np.array(asked).T
    expected = np.vstack([rows for _, rows in lstm.hidden_after(model, inputs, client, place)])
    assert len(expected) > 20
    np.testing.assert_allclose(trainer.kept[0, 1:], expected, rtol=0, atol=1e-5)
    assert (trainer.kept[:, 0] == 0).all()


def test_a_mark_is_read_at_the_last_event_before_its_cutoff():
    found = sequences(("view", CHURN), [(0, 10), (0, 10), (0, 34)], [(0, 20)])
    client, hours = np.array([(0, 10), (0, 11), (1, 21), (0, 34), (0, 35), (1, 5), (1, 2000)]).T
    label = np.arange(7, dtype=np.float32)

    read = lstm_training._read(found, Marks(client, hours * lstm.HOUR_US, label, label))

    # By client and cutoff; an event at the cutoff is not before it.
    assert read.client.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert read.place.tolist() == [0, 2, 2, 3, 0, 1, 1]
    assert read.bucket.tolist() == [0, 2, 4, 2, 0, 2, len(lstm.SILENCES) + 1]
    assert read.labels[:, 0].tolist() == [0, 1, 3, 4, 5, 2, 6]


def test_a_client_with_one_event_and_one_with_two_thousand():
    states = ("view", PURCHASE, CHURN)
    random = np.random.default_rng(8)
    many = [(int(code), 2 * hour) for hour, code in enumerate(random.integers(0, 2, 2000))]
    found = sequences(states, [(1, 5)], many)
    model = drawn(states)

    said = lstm.next_events(model, found)

    codes = [3, *(code for code, _ in many)]
    bucket = 1 + int((lstm.WAITS <= 2 * lstm.HOUR_US).sum())
    hidden = slow(model, codes, [0, 0, *[bucket] * 1999])
    expected = softmax(hidden @ model.weights["next"] + model.weights["next_bias"])
    np.testing.assert_allclose(said[1:], expected[:-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(said[0], expected[0], rtol=0, atol=1e-5)
    after = lstm.after(model, found, 4000 * lstm.HOUR_US)
    np.testing.assert_allclose(after.next[1], expected[-1], rtol=0, atol=1e-5)


def test_clients_with_one_event_each_can_be_learned_from():
    found = sequences(("view", PURCHASE, CHURN), *[[(place % 2, place)] for place in range(40)])

    model = lstm_training.fit(found, NOBODY, np.arange(40) < 10, 2)

    said = lstm.next_events(model, found)
    assert np.isfinite(said).all()
    assert (said == said[0]).all()


def test_states_are_found_by_name():
    events = [[(0, 1), (1, 2), (0, 3), (2, 9)]]
    known = sequences(("view", PURCHASE, CHURN), *events)
    model = drawn(known.states)
    said = lstm.next_events(model, known)
    turned = replace(known, states=(PURCHASE, "view", CHURN), state=np.array([1, 0, 1, 2], np.int8))
    fewer = replace(known, states=("view", CHURN), state=np.array([0, 0, 0, 1], np.int8))

    np.testing.assert_array_equal(lstm.next_events(model, turned), said[:, [1, 0, 2]])
    one, few = lstm.next_events(model, fewer)[0], said[0, [0, 2]]
    np.testing.assert_allclose(one, few / few.sum(), rtol=1e-6)
    with pytest.raises(ValueError, match=r"knows view, purchase, churn; the .* have cart, churn"):
        lstm.next_events(model, replace(known, states=("cart", CHURN)))


def test_a_state_that_the_model_never_met_counts_as_unknown():
    states = ("view", "gift", PURCHASE, CHURN)
    found = sequences(states, [(0, 1), (1, 2), (2, 3)])
    model = drawn(("view", PURCHASE, CHURN))

    said = lstm.next_events(model, found)

    bucket = 1 + int((lstm.WAITS <= lstm.HOUR_US).sum())
    hidden = slow(model, [3, 0, 4], [0, 0, bucket])
    expected = softmax(hidden @ model.weights["next"] + model.weights["next_bias"])
    np.testing.assert_allclose(said[:, [0, 2, 3]], expected, rtol=0, atol=1e-5)
    assert (said[:, 1] > 0).all()
    assert (said[:, 1] < 2 * lstm.FLOOR).all()


def test_training_refuses_what_it_cannot_use():
    found = behavior_worlds.draw(4, 10, 5)
    nobody_held = np.zeros(10, bool)
    small = drawn(found.states)
    small.weights["next"] = small.weights["next"][:4]

    with pytest.raises(ValueError, match="knows view, churn; the sequences have view, cart"):
        lstm_training.fit(found, NOBODY, nobody_held, 1, begin=drawn(("view", CHURN)))
    with pytest.raises(ValueError, match="expected"):
        lstm_training.fit(found, NOBODY, nobody_held, 1, begin=small)
    with pytest.raises(ValueError, match="all of 10 clients are held"):
        lstm_training.fit(found, NOBODY, ~nobody_held, 1)
    with pytest.raises(ValueError, match=r"1 of .* events are after"):
        lstm.after(drawn(found.states), found, int(found.at.max()) - 1)


def test_a_saved_model_says_the_same_in_the_same_bytes(learned, whole, tmp_path):
    learned.save(tmp_path / "one.npz")
    found = lstm.load(tmp_path / "one.npz")
    replace(found, weights=dict(reversed(found.weights.items()))).save(tmp_path / "two.npz")

    some = whole.where(whole.client() < 5)
    assert found.states == whole.states
    assert (lstm.next_events(found, some) == lstm.next_events(learned, some)).all()
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_training_gives_the_same_bytes_also_after_it_was_killed(tmp_path):
    def begun(name: str) -> subprocess.Popen[str]:
        (tmp_path / name).mkdir(exist_ok=True)
        path = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
        environment = os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / name)]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )

    undisturbed, killed = begun("undisturbed"), begun("again")
    assert killed.stdout
    assert any("epoch 1" in line for line in killed.stdout)
    killed.kill()
    killed.communicate()
    again = begun("again")
    for process in (undisturbed, again):
        process.communicate()

    assert (killed.returncode, undisturbed.returncode, again.returncode) == (-9, 0, 0)
    for file in ("first.npz", "further.npz"):
        one, two = (tmp_path / name / file for name in ("undisturbed", "again"))
        assert one.read_bytes() == two.read_bytes(), file
    first, further = (
        lstm.load(tmp_path / "again" / f"{name}.npz") for name in ("first", "further")
    )
    assert (first.weights["recurrent"] != further.weights["recurrent"]).all()
    found = behavior_worlds.draw(3, 120, 80, 2, 0.1)
    lost = [losses(lstm.next_events(each, found), found.state).mean() for each in (first, further)]
    assert lost[1] < lost[0]
