"""The test's text encoder where a pretrained one is configured: sentences, in place of words.

NIGHTSHIFT_SENTENCE_ENCODER names the folder of a TensorFlow SavedModel that takes a batch of
strings and returns a matrix of floats with a row for each, as the Universal Sentence Encoder and
others are shipped. It is not trained any further. Learned here are the axes that its vectors are
reduced to, the main one first, and the user tower (`two_tower.fit_users`): what a user's likes and
other views say of the vectors the user will like.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jobs.feed_recommendation import two_tower
from jobs.feed_recommendation.features import TEXT_DIMENSIONS
from jobs.feed_recommendation.history import History
from jobs.feed_recommendation.text import MAX_WORDS
from jobs.settings import BadSetting, setting

SETTING = "NIGHTSHIFT_SENTENCE_ENCODER"
DIMENSIONS = 64
BATCH = 256
MAX_CHARACTERS = 4_000
PROBES = ("", "a few words", "\N{CYRILLIC SMALL LETTER YA} " * 300)
FILE, MODEL_FOLDER = "sentence.npz", "sentence"

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Sentence:
    """A pretrained encoder and what was learned on top of it.

    Attributes:
        folder: of the SavedModel.
        axes: its dimensions by ours.
        weights: of the user tower.
        known: vectors of the texts that were asked for last: the days of a training share them.
    """

    folder: Path
    axes: Matrix
    weights: Mapping[str, Matrix]
    known: dict[str, Matrix] = field(default_factory=dict, repr=False, compare=False)

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one row of length 1 for each text."""
        if not texts:
            return np.zeros((0, self.axes.shape[1]), np.float32)
        wanted = dict.fromkeys(texts)
        new = [each for each in wanted if each not in self.known]
        made = _unit(encoded(self.folder, new) @ self.axes) if new else ()
        found = self.known | dict(zip(new, made, strict=True))
        self.known.clear()
        self.known.update((each, found[each]) for each in wanted)
        return np.stack([self.known[each] for each in texts])

    def users(self, liked: Matrix, passed: Matrix, traits: Matrix) -> Matrix:
        """Return users' vectors, see `two_tower.TwoTower.users`."""
        return two_tower.place_users(self.weights, liked, passed, traits)


def configured() -> Path | None:
    """Return the folder of the encoder that is configured and works; None where there is none.

    Raises:
        BadSetting: if there is no such SavedModel, or it does not turn strings into vectors.
    """
    value = setting(SETTING, "")
    if not value:
        return None
    folder = Path(value)
    if not (folder / "saved_model.pb").is_file():
        raise BadSetting(
            f"{SETTING} is {value!r}, and there is no {folder / 'saved_model.pb'}; expected the "
            "folder of a TensorFlow SavedModel, or nothing"
        )
    encoded(folder, PROBES)
    return folder


def fit(
    folder: Path,
    texts: Sequence[str],
    users: pd.DataFrame,
    history: History,
    last_day: int,
    period: int = 1,
) -> Sentence:
    """Return the encoder in ``folder`` with axes of these texts and a user tower for them.

    Args:
        folder: what `configured` returned.
        texts: as for `two_tower.fit`; so are the others.
        users: rows of users.sql.
        history: what happened up to ``last_day``.
        last_day: the last day to learn from.
        period: days that count as one.
    """
    distinct = list(dict.fromkeys(texts))
    raw = encoded(folder, distinct)
    axes = _axes(raw)
    known = dict(zip(distinct, _unit(raw @ axes), strict=True))
    vectors = np.stack([known[each] for each in texts])
    weights = two_tower.fit_users(vectors, users, history, last_day, period)
    return Sentence(folder, axes, weights, known)


def save(encoder: Sentence, folder: Path) -> None:
    """Write the encoder into ``folder``, the SavedModel with it."""
    shutil.copytree(encoder.folder, folder / MODEL_FOLDER)
    weights = {"axes": encoder.axes, **encoder.weights}
    np.savez(folder / FILE, **weights)  # type: ignore[arg-type]


def load(folder: Path) -> Sentence:
    """Return the encoder that `save` wrote."""
    with np.load(folder / FILE) as arrays:
        weights = dict(arrays)
    return Sentence(folder / MODEL_FOLDER, weights.pop("axes"), weights)


def encoded(folder: Path, texts: Sequence[str]) -> Matrix:
    """Return what the SavedModel makes of texts, one row of length 1 for each.

    Raises:
        BadSetting: if it can't be loaded or called, or returns anything but a matrix of numbers.
    """
    call = _encoder(folder, (folder / "saved_model.pb").stat().st_mtime_ns)
    found = []
    for start in range(0, len(texts), BATCH):
        batch = [_beginning(text) for text in texts[start : start + BATCH]]
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
    return _unit(np.concatenate(found))


def _beginning(text: str) -> str:
    return " ".join(text.split()[:MAX_WORDS])[:MAX_CHARACTERS]


@lru_cache(maxsize=2)
def _encoder(folder: Path, changed: int) -> Callable[[Sequence[str]], Any]:
    """Return the SavedModel as a function of texts; loading a large one takes seconds."""
    import tensorflow as tf

    errors = (OSError, RuntimeError, ValueError, TypeError, KeyError, tf.errors.OpError)
    try:
        model = tf.saved_model.load(str(folder))
    except errors as error:
        raise _bad(folder, f"it can't be loaded: {_first_line(error)}") from error
    function, names = model, []
    if not callable(model):
        function = dict(model.signatures).get("serving_default")
        if function is None:
            raise _bad(folder, "it has neither a call nor a signature serving_default")
        names = list(function.structured_input_signature[1])

    def call(texts: Sequence[str]) -> Any:
        batch = tf.constant(texts, tf.string)
        try:
            made = function(**dict.fromkeys(names, batch)) if names else function(batch)
        except errors as error:
            raise _bad(
                folder, f"it does not take a batch of strings: {_first_line(error)}"
            ) from error
        if isinstance(made, Mapping):
            if len(made) != 1:
                raise _bad(folder, f"it returns {sorted(made)}; expected one matrix")
            (made,) = made.values()
        return made

    return call


def _axes(raw: Matrix) -> Matrix:
    """Return the main axes of the rows, up to DIMENSIONS, the main one first.

    Where the rows are shorter than the ranker's features of a text, axes of zeros follow.
    """
    _, axes = np.linalg.eigh(raw.T.astype(np.float64) @ raw)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    # An axis may point either way: its largest part is positive.
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    lacking = max(0, TEXT_DIMENSIONS - axes.shape[1])
    return np.pad(axes * np.sign(largest), ((0, 0), (0, lacking))).astype(np.float32)


def _unit(rows: Matrix) -> Matrix:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def _bad(folder: Path, why: str) -> BadSetting:
    return BadSetting(f"{SETTING}: the SavedModel in {folder} can't encode texts: {why}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
