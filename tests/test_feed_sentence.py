"""A pretrained sentence encoder in the test arm: a real SavedModel, made by TensorFlow."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import test_feed_recommendation as small

from jobs import champion
from jobs.feed_recommendation import (
    arms,
    job,
    kept,
    pretrained,
    sentence,
    tfidf,
    training,
    two_tower,
)
from jobs.settings import BadSetting

NIGHT = small.NIGHT
WIDTH, BUCKETS = 24, 512
TEXTS = ["football goal", "", "новый фильм", "football goal", "soup " * 5_000]

feed, _mlflow = small.feed, small._mlflow


def write(folder: Path, flaw: str = "") -> Path:
    """Write a SavedModel whose call makes the mean of its words' random vectors, or one flawed."""
    import tensorflow as tf

    table = tf.constant(np.random.default_rng(3).normal(size=(BUCKETS, WIDTH)), tf.float32)

    def encode(texts):
        words = tf.strings.split(tf.strings.join(["begin ", texts]))
        places = tf.strings.to_hash_bucket_fast(words.flat_values, BUCKETS)
        made = tf.math.unsorted_segment_mean(
            tf.gather(table, places), words.value_rowids(), words.nrows()
        )
        if flaw == "nan":
            return tf.where(tf.equal(texts, "")[:, None], made, np.nan)
        if flaw == "one number":
            return made[:, 0]
        if flaw == "integers":
            return tf.cast(made, tf.int32)
        if flaw == "two outputs":
            return {"a": made, "b": made}
        return {"vectors": made} if flaw == "signature" else made

    kind = tf.TensorSpec([None], tf.float32 if flaw == "numbers" else tf.string, name="texts")
    module, signatures = tf.Module(), None
    function = tf.function(
        (lambda texts: texts[:, None]) if flaw == "numbers" else encode, input_signature=[kind]
    )
    if flaw == "signature":
        module.encode = function
        signatures = {"serving_default": function}
    elif flaw != "no call":
        module.__call__ = function
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> Path:
    folder = write(tmp_path / "encoder")
    monkeypatch.setenv(pretrained.SETTING, str(folder))
    return folder


def test_texts_become_rows_of_length_one_alike_in_any_company(encoder):
    axes = np.eye(WIDTH, dtype=np.float32)
    found = sentence.Sentence(encoder, axes, {})

    rows = found.embed(TEXTS)

    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), WIDTH)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(rows[0], rows[3])
    np.testing.assert_array_equal(found.embed(TEXTS[2:3]), rows[2:3])
    alone = sentence.Sentence(encoder, axes, {})
    np.testing.assert_allclose(alone.embed(TEXTS[2:3]), rows[2:3], atol=1e-6)
    assert found.embed([]).shape == (0, WIDTH)
    many = found.embed([f"text {n}" for n in range(3 * pretrained.BATCH + 1)])
    assert many.shape == (3 * pretrained.BATCH + 1, WIDTH)
    np.testing.assert_allclose(many[-1:], alone.embed([f"text {3 * pretrained.BATCH}"]), atol=1e-6)


def test_a_model_that_has_a_signature_and_no_call_is_called_by_it(tmp_path, encoder):
    folder = write(tmp_path / "other", "signature")

    np.testing.assert_allclose(
        pretrained.encoded(folder, TEXTS), pretrained.encoded(encoder, TEXTS), atol=1e-6
    )


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("nan", r"it made NaN or infinity of the text 'a few words'"),
        ("one number", r"it made float32 of shape \(3,\) of 3 texts; expected floats, one row"),
        ("integers", r"it made int32 of shape \(3, 24\) of 3 texts; expected floats"),
        ("numbers", r"it does not take a batch of strings"),
        ("no call", r"it has neither a call nor a signature serving_default"),
        ("two outputs", r"it returns \['a', 'b'\]; expected one matrix"),
        ("broken file", r"it can't be loaded"),
        ("no file", r"is '.*nowhere', and there is no .*saved_model.pb; expected the folder"),
    ],
)
def test_a_setting_that_can_not_be_lived_with_is_said_before_anything_is_trained(
    warehouse, tmp_path, monkeypatch, flaw, message
):
    folder = tmp_path / "nowhere"
    if flaw == "broken file":
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"no model at all")
    elif flaw != "no file":
        write(folder, flaw)
    monkeypatch.setenv(pretrained.SETTING, str(folder))

    with pytest.raises(BadSetting, match=f"{pretrained.SETTING}.*{message}"):
        job.train(warehouse, NIGHT)


def test_the_test_arm_learns_on_top_of_the_encoder_and_ships_it(feed, encoder, monkeypatch):
    job.run(feed, NIGHT)

    version = f"{job.JOB}.test-{NIGHT}-1"
    first = kept.load(feed, version).encoder
    assert isinstance(first, sentence.Sentence)
    control = kept.load(feed, f"{job.JOB}.control-{NIGHT}-1")
    assert isinstance(control.encoder, tfidf.Tfidf)
    folder = champion.load_model(feed, version)
    assert first.folder == folder / "sentence"
    stored = small.read(
        feed,
        "select count(*), min(cardinality(embedding)) from feature.post_embedding"
        " where encoder_version = :version",
        version=version,
    )
    assert stored == [(small.POSTS, WIDTH)]
    value = dict(
        small.read(
            feed,
            "select name, value from ops.evaluation where job = :job and metric = 'ndcg@10'",
            job=f"{job.JOB}.test",
        )
    )
    assert value["test"] > value["random"]
    assert value["content"] > value["random"]

    # The version needs neither the setting nor the folder, and later nights may do without.
    rows = first.embed(TEXTS)
    shutil.rmtree(encoder)
    shutil.rmtree(folder)
    pretrained._encoder.cache_clear()
    monkeypatch.delenv(pretrained.SETTING)
    np.testing.assert_array_equal(kept.load(feed, version).encoder.embed(TEXTS), rows)
    before = small.published(feed)
    job.run(feed, NIGHT)
    assert small.published(feed).equals(before)
    job.run(feed, NIGHT, retrain=True)
    retrained = kept.load(feed, f"{job.JOB}.test-{NIGHT}-2")
    assert isinstance(retrained.encoder, two_tower.TwoTower)


def test_the_user_tower_is_learned_on_frozen_vectors(feed, encoder):
    day = arms.read_days(feed, NIGHT)[0]
    found = training.fit_encoder("test", arms.learners(day))

    again = training.fit_encoder("test", arms.learners(day))

    for name in two_tower.USER_TOWER:
        np.testing.assert_array_equal(found.weights[name], again.weights[name])
    assert not np.allclose(found.weights["liked"], 2 * np.eye(WIDTH))
    # Users like the posts of one topic in three; the tower knows whose turn it is.
    vectors = found.embed(day.texts)
    before = day.history.before(day.cutoff)
    liked = two_tower.mean_of(vectors, two_tower.recent(before, liked=True))
    passed = two_tower.mean_of(vectors, two_tower.recent(before, liked=False))
    odds = found.users(liked, passed, two_tower.traits(day.users)) @ vectors.T
    own = day.users["user_id"].to_numpy()[:, None] % 3 == day.context.post_ids[None, :] % 3
    mine = np.where(own, odds, 0).sum(axis=1) / own.sum(axis=1)
    others = np.where(own, 0, odds).sum(axis=1) / (~own).sum(axis=1)
    assert (mine > others).mean() > 0.9
