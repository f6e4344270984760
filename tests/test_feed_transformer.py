"""A transformer as the text encoder: a real tokenizer and a real SavedModel, small ones."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
import transformers
from tokenizers import Tokenizer
from transformers import CORPUS, WIDTH

from jobs.feed_recommendation import pretrained, sentence
from jobs.settings import BadSetting

TEXTS = ["football goal", "", "новый фильм", "soup of onions and salt, a few words", "goal " * 900]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return transformers.write(tmp_path_factory.mktemp("bert"))


def hidden(folder, text: str):
    """Return the token vectors that the model itself makes of one text, unpadded."""
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids[:256]
    model = tf.saved_model.load(str(folder / "saved_model" / "1"))
    row = tf.constant([ids], tf.int32)
    made = model.signatures["serving_default"](
        input_ids=row, attention_mask=tf.ones_like(row), token_type_ids=tf.zeros_like(row)
    )
    return made["last_hidden_state"][0].numpy()


def test_a_text_is_the_mean_of_its_tokens_in_any_company(encoder):
    rows = pretrained.encoded(encoder, TEXTS)

    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), WIDTH)
    for text, row in zip(TEXTS[:4], rows, strict=False):
        mean = hidden(encoder, text).mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
        np.testing.assert_allclose(row, pretrained.encoded(encoder, [text])[0], atol=1e-5)
    assert np.abs(rows[0] - rows[3]).max() > 0.01


def test_more_texts_than_a_batch_stay_in_order(encoder):
    many = [CORPUS[number % 4] + " goal" * (number % 3) for number in range(70)]

    rows = pretrained.encoded(encoder, many)

    assert len(many) > 2 * pretrained.TOKEN_BATCH
    for number in (0, 31, 32, 69):
        np.testing.assert_allclose(
            rows[number], pretrained.encoded(encoder, [many[number]])[0], atol=1e-5
        )


def test_a_text_is_read_to_the_limit_and_no_further(encoder, tmp_path):
    read = pretrained.MAX_TOKENS - 2  # BERT's marks take two
    same, longer = (
        pretrained.encoded(encoder, ["goal " * read + end]) for end in ("", "soup " * 40)
    )
    shorter = pretrained.encoded(encoder, ["goal " * (read - 1) + "soup"])
    np.testing.assert_allclose(longer, same, atol=1e-5)
    assert np.abs(shorter - same).max() > 1e-5

    # A tokenizer that says less is believed.
    brief = transformers.write(tmp_path / "brief", cut=8)
    one, two = (pretrained.encoded(brief, ["goal " * 6 + end]) for end in ("", "soup"))
    np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("inner", ["saved_model/1", "."])
@pytest.mark.parametrize("inputs", [transformers.ALL_INPUTS, transformers.ALL_INPUTS[:2]])
def test_both_layouts_and_models_without_types_are_read(tmp_path, monkeypatch, inner, inputs):
    folder = transformers.write(tmp_path / "other", inputs, inner=inner)
    monkeypatch.setenv(pretrained.SETTING, str(folder))

    assert pretrained.configured() == folder
    assert pretrained.encoded(folder, TEXTS).shape == (len(TEXTS), WIDTH)


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("broken tokenizer", r"tokenizer.json can't be read"),
        ("other output", r"it returns \['logits', 'pooler_output'\]; expected a last_hidden_state"),
        ("other input", r"it takes \['attention_mask', 'input_ids', 'pixels'\]; expected some of"),
        ("no model", r"there is no .*saved_model.pb; expected .* of a transformer"),
    ],
)
def test_a_folder_that_can_not_be_lived_with_says_why(tmp_path, monkeypatch, flaw, message):
    folder = tmp_path / "bad"
    if flaw == "other input":
        transformers.write(folder, ("input_ids", "attention_mask", "pixels"))
    else:
        transformers.write(
            folder, output="logits" if flaw == "other output" else "last_hidden_state"
        )
    if flaw == "broken tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    if flaw == "no model":
        shutil.rmtree(folder / "saved_model")
    monkeypatch.setenv(pretrained.SETTING, str(folder))

    with pytest.raises(BadSetting, match=f"(?s){pretrained.SETTING}.*{message}"):
        pretrained.configured()


def test_a_version_ships_what_it_reads_and_no_other_form_of_the_weights(encoder, tmp_path):
    version = tmp_path / "version"
    version.mkdir()
    found = sentence.Sentence(encoder, np.eye(WIDTH, dtype=np.float32), {})
    rows = found.embed(TEXTS)

    sentence.save(found, version)

    shipped = sentence.load(version)
    np.testing.assert_array_equal(shipped.embed(TEXTS), rows)
    assert sorted(path.name for path in shipped.folder.iterdir()) == [
        "saved_model", "tokenizer.json",
    ]  # fmt: skip
