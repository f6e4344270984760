"""A small transformer in a folder, as Hugging Face writes them: weights are drawn, not trained."""

from pathlib import Path

import numpy as np

WIDTH, HEADS, LONGEST = 24, 2, 300
CORPUS = [
    "football goal match team",
    "новый фильм про любовь",
    "soup of onions and salt",
    "a few words",
]
ALL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def write(
    folder: Path,
    inputs: tuple[str, ...] = ALL_INPUTS,
    output: str = "last_hidden_state",
    inner: str = "saved_model/1",
    cut: int | None = None,
) -> Path:
    """Write tokenizer.json, and a SavedModel of one block of attention, into ``folder``."""
    tokenizer(cut).save(str(made(folder) / "tokenizer.json"))
    (folder / "pytorch_model.bin").write_bytes(b"the same weights again")
    export(made(folder / inner), inputs, output)
    return folder


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tokenizer(cut: int | None = None):
    """Return a WordPiece tokenizer learned from CORPUS, with BERT's marks around a text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer()
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    found.train_from_iterator(CORPUS, trainers.WordPieceTrainer(special_tokens=special))
    ends = [(name, found.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    if cut:
        found.enable_truncation(cut)
    return found


def export(folder: Path, inputs: tuple[str, ...], output: str) -> None:
    """Write a SavedModel: embedded tokens and places, attention among the tokens that count."""
    import tensorflow as tf

    random = np.random.default_rng(3)
    drawn = {
        name: tf.Variable(random.normal(size=size, scale=0.3), dtype=tf.float32)
        for name, size in {
            "tokens": (500, WIDTH), "places": (LONGEST, WIDTH), "kinds": (2, WIDTH),
            "query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH),
        }.items()
    }  # fmt: skip

    def split(rows):
        sizes = tf.shape(rows)
        return tf.transpose(
            tf.reshape(rows, [sizes[0], sizes[1], HEADS, WIDTH // HEADS]), [0, 2, 1, 3]
        )

    def encode(**told):
        ids, mask = told["input_ids"], tf.cast(told["attention_mask"], tf.float32)
        rows = tf.gather(drawn["tokens"], ids) + drawn["places"][: tf.shape(ids)[1]]
        if "token_type_ids" in told:
            rows += tf.gather(drawn["kinds"], told["token_type_ids"])
        query, key, value = (split(rows @ drawn[name]) for name in ("query", "key", "value"))
        odds = tf.matmul(query, key, transpose_b=True) - 1e9 * (1 - mask[:, None, None, :])
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(odds), value), [0, 2, 1, 3])
        states = rows + tf.reshape(mixed, tf.shape(rows))
        return {output: states, "pooler_output": states[:, 0]}

    module = tf.Module()
    module.drawn = list(drawn.values())
    specs = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in inputs}
    signature = tf.function(encode).get_concrete_function(**specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
