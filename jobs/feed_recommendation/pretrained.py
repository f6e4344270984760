"""A pretrained text encoder in a folder on this machine, which NIGHTSHIFT_SENTENCE_ENCODER names.

- A TensorFlow SavedModel that takes a batch of strings and returns a matrix of floats with a row
  for each, as the Universal Sentence Encoder and others are shipped.
- A transformer (BERT and its likes) as Hugging Face's ``save_pretrained(..., saved_model=True)``
  writes it: ``tokenizer.json``, and the SavedModel in ``saved_model/1`` or beside it, which takes
  input_ids and attention_mask (and token_type_ids). A text's row is the mean of its tokens' last
  hidden states, as sentence transformers pool.

It is not trained any further.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.feed_recommendation.text import MAX_WORDS
from jobs.settings import BadSetting, setting

SETTING = "NIGHTSHIFT_SENTENCE_ENCODER"
TOKENIZER = "tokenizer.json"
# Of a text no more is read, whatever the transformer could take: attention costs its square.
MAX_TOKENS = 256
BATCH, TOKEN_BATCH = 256, 32
MAX_CHARACTERS = 4_000
PROBES = ("", "a few words", "\N{CYRILLIC SMALL LETTER YA} " * 300)
# Other forms of the same weights lie beside a transformer's SavedModel.
NOT_READ = ("*.bin", "*.h5", "*.safetensors", "*.msgpack", "*.onnx", "*.ot")

Matrix = NDArray[np.float32]
Call = Callable[[Sequence[str]], Any]


def configured() -> Path | None:
    """Return the folder of the encoder that is configured and works; None where there is none.

    Raises:
        BadSetting: if there is no such SavedModel, or it does not turn texts into vectors.
    """
    value = setting(SETTING, "")
    if not value:
        return None
    folder = Path(value)
    if not (_saved_model(folder) / "saved_model.pb").is_file():
        raise BadSetting(
            f"{SETTING} is {value!r}, and there is no {folder / 'saved_model.pb'}; expected the "
            "folder of a TensorFlow SavedModel, or of a transformer (tokenizer.json, and "
            "saved_model/1), or nothing"
        )
    encoded(folder, PROBES)
    return folder


def copy(folder: Path, to: Path) -> None:
    """Copy what `encoded` reads of an encoder's folder."""
    shutil.copytree(
        folder, to, ignore=shutil.ignore_patterns(*NOT_READ) if _tokens(folder) else None
    )


def encoded(folder: Path, texts: Sequence[str]) -> Matrix:
    """Return what the encoder makes of texts, one row of length 1 for each.

    Raises:
        BadSetting: if it can't be loaded or called, or returns anything but a matrix of numbers.
    """
    call = _encoder(folder, (_saved_model(folder) / "saved_model.pb").stat().st_mtime_ns)
    batch_size = TOKEN_BATCH if _tokens(folder) else BATCH
    found = []
    for start in range(0, len(texts), batch_size):
        batch = [_beginning(text) for text in texts[start : start + batch_size]]
        made = np.asarray(call(batch))
        if made.ndim != 2 or len(made) != len(batch) or made.dtype.kind != "f":
            raise _bad(
                folder,
                f"it made {made.dtype} of shape {made.shape} of {len(batch)} texts; expected "
                "floats, one row for each text",
            )
        if not np.isfinite(made).all():
            row = int(np.flatnonzero(~np.isfinite(made).all(axis=1))[0])
            raise _bad(folder, f"it made NaN or infinity of the text {batch[row][:60]!r}")
        found.append(made.astype(np.float32))
    return unit(np.concatenate(found))


def unit(rows: Matrix) -> Matrix:
    """Return the rows at length 1; zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def _beginning(text: str) -> str:
    return " ".join(text.split()[:MAX_WORDS])[:MAX_CHARACTERS]


def _tokens(folder: Path) -> bool:
    return (folder / TOKENIZER).is_file()


def _saved_model(folder: Path) -> Path:
    inner = folder / "saved_model" / "1"
    return inner if _tokens(folder) and inner.is_dir() else folder


@lru_cache(maxsize=2)
def _encoder(folder: Path, changed: int) -> Call:
    """Return the encoder as a function of texts; loading a large one takes seconds."""
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(_saved_model(folder)))
    except _errors() as error:
        raise _bad(folder, f"it can't be loaded: {_first_line(error)}") from error
    return _transformer(folder, model) if _tokens(folder) else _of_strings(folder, model)


def _of_strings(folder: Path, model: Any) -> Call:
    import tensorflow as tf

    function, names = model, []
    if not callable(model):
        function = _signature(folder, model)
        names = list(function.structured_input_signature[1])

    def call(texts: Sequence[str]) -> Any:
        batch = tf.constant(texts, tf.string)
        try:
            made = function(**dict.fromkeys(names, batch)) if names else function(batch)
        except _errors() as error:
            raise _bad(
                folder, f"it does not take a batch of strings: {_first_line(error)}"
            ) from error
        if isinstance(made, Mapping):
            if len(made) != 1:
                raise _bad(folder, f"it returns {sorted(made)}; expected one matrix")
            (made,) = made.values()
        return made

    return call


def _transformer(folder: Path, model: Any) -> Call:
    """Return tokenizer, transformer and the mean over tokens as one function."""
    import tensorflow as tf

    tokenizer = _tokenizer(folder)
    function = _signature(folder, model)
    wanted = function.structured_input_signature[1]

    def call(texts: Sequence[str]) -> Any:
        read = tokenizer.encode_batch(list(texts))
        told = {
            "input_ids": [each.ids for each in read],
            "attention_mask": [each.attention_mask for each in read],
            "token_type_ids": [each.type_ids for each in read],
        }
        if "input_ids" not in wanted or wanted.keys() - told.keys():
            raise _bad(folder, f"it takes {sorted(wanted)}; expected some of {sorted(told)}")
        try:
            made = function(
                **{name: tf.constant(told[name], spec.dtype) for name, spec in wanted.items()}
            )
        except _errors() as error:
            raise _bad(folder, f"it does not take tokens: {_first_line(error)}") from error
        states = made.get("last_hidden_state")
        if states is None or states.shape.rank != 3:
            raise _bad(folder, f"it returns {sorted(made)}; expected a last_hidden_state of tokens")
        mask = np.asarray(told["attention_mask"], np.float32)[:, :, None]
        # A text without a token is the mean of nothing: zeros.
        return (np.asarray(states) * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)

    return call


def _tokenizer(folder: Path) -> Any:
    """Return the folder's tokenizer, cutting at MAX_TOKENS and padding to the batch's longest."""
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # the library raises nothing narrower
        raise _bad(folder, f"{TOKENIZER} can't be read: {_first_line(error)}") from error
    longest = (found.truncation or {}).get("max_length", MAX_TOKENS)
    found.enable_truncation(min(longest, MAX_TOKENS))
    if found.padding:
        found.enable_padding(**(found.padding | {"length": None}))
    else:
        token = next(
            (name for name in ("[PAD]", "<pad>") if found.token_to_id(name) is not None), ""
        )
        found.enable_padding(pad_id=found.token_to_id(token) or 0, pad_token=token or "[PAD]")
    return found


def _signature(folder: Path, model: Any) -> Any:
    function = dict(model.signatures).get("serving_default")
    if function is None:
        raise _bad(folder, "it has neither a call nor a signature serving_default")
    return function


def _errors() -> tuple[type[Exception], ...]:
    import tensorflow as tf

    return OSError, RuntimeError, ValueError, TypeError, KeyError, tf.errors.OpError


def _bad(folder: Path, why: str) -> BadSetting:
    return BadSetting(f"{SETTING}: the encoder in {folder} can't encode texts: {why}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
