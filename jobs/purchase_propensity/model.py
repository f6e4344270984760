"""The fitted model: scores clients, is saved and loaded.

A score is a sum of log-odds: a linear trunk on logarithms of recency, frequency, money and age and
on the BG/NBD rhythm of purchases, plus CatBoost trees fitted on what the trunk leaves over, then
the two-parameter calibration map. Trees alone can't say what happens at ages and in seasons they
have not seen; the trunk carries on, and the trees correct it where the data say so (docs/cdnow.md
has the figures). Because all parts add up, so do the reasons. Everything learned from data is in
``Fitted``.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration
from jobs.client_scores.columns import named
from jobs.client_scores.linear import Linear, apply_linear
from jobs.client_scores.words import WORD_SIZE, Words, word_means
from jobs.purchase_propensity import features
from jobs.purchase_propensity.bgnbd import BgNbd
from jobs.purchase_propensity.spend import Spend, spend_of

THREADS = 2
CATEGORY_VECTOR = tuple(f"category_{place}" for place in range(WORD_SIZE))
BLOCK_ROWS = 50_000  # an explanation needs some 5 kB a row while it is made

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A model or baseline with everything it learned; ``trees`` is None for baselines.

    ``spend`` gives the logarithm of what a client who buys spends within the horizon; it is None
    where it did not beat the mean spend of buyers.
    """

    name: str
    linear: Linear
    rhythm: BgNbd | None
    calibration: Calibration
    trees: CatBoostClassifier | None = None
    words: Words | None = None
    spend: Spend | None = None


def score(
    fitted: Fitted, dataset: pd.DataFrame, calibration: Calibration | None = None
) -> pd.DataFrame:
    """Return client_id, probability and expected_spend_90d, one row per input row, same order.

    The expected spend is the probability times what a client like this spends when buying; NaN
    where the model has none.

    Args:
        fitted: model or baseline.
        dataset: rows of the dataset.
        calibration: newer map than the one fitted with the model, from ``training.calibrate``.
    """
    z = logistic_map.apply(calibration or fitted.calibration, raw_log_odds(fitted, dataset))
    chance = logistic_map.probability(z)
    spend = [spend_if_bought(fitted, block) for block in blocks(dataset)]
    return dataset[["client_id"]].assign(
        probability=chance, expected_spend_90d=chance * np.concatenate([np.zeros(0), *spend])
    )


def raw_log_odds(fitted: Fitted, dataset: pd.DataFrame) -> Numbers:
    """Return the log-odds before calibration, one per row."""
    parts = [np.zeros(0)]
    for block in blocks(dataset):
        parts.append(log_odds(fitted, *terms_and_inputs(fitted, block)))
    return np.concatenate(parts)


def log_odds(fitted: Fitted, terms: pd.DataFrame, inputs: pd.DataFrame) -> Numbers:
    """Return the log-odds before calibration, from what ``terms_and_inputs`` returns."""
    z = apply_linear(fitted.linear, terms)
    if fitted.trees is None:
        return z
    matrix = inputs.to_numpy(dtype=np.float32)
    added: Numbers = fitted.trees.predict(
        matrix, prediction_type="RawFormulaVal", thread_count=THREADS
    )
    return z + added


def spend_if_bought(fitted: Fitted, block: pd.DataFrame) -> Numbers:
    """Return what each client spends in the horizon if they buy; NaN without a spend model."""
    if fitted.spend is None:
        return np.full(len(block), np.nan)
    return spend_of(fitted.spend, features.terms_of(fitted.rhythm, block))


def terms_and_inputs(fitted: Fitted, dataset: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the linear terms and the tree inputs of ``dataset``.

    Trees already fitted name their own inputs: a version goes on serving after TREES has changed.

    Raises:
        VersionOutdated: if they name one that is no longer made.
    """
    values = features.derive(dataset)
    terms = features.trunk_terms(values, fitted.rhythm)
    made = [values, terms[list(features.RHYTHM)]]
    if fitted.words:
        means = word_means(fitted.words, dataset["categories"])
        made.append(pd.DataFrame(means, index=dataset.index, columns=CATEGORY_VECTOR))
    inputs = pd.concat(made, axis=1)
    wanted = [*features.TREES, *(CATEGORY_VECTOR if fitted.words else ())]
    if fitted.trees is not None:
        wanted = list(fitted.trees.feature_names_)
    return terms, named(inputs, wanted)


def blocks(dataset: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield ``dataset`` in blocks of BLOCK_ROWS rows."""
    for start in range(0, len(dataset), BLOCK_ROWS):
        yield dataset.iloc[start : start + BLOCK_ROWS]


def save(fitted: Fitted, folder: Path) -> None:
    """Write ``fitted`` to ``folder``: model.json, and trees.cbm and words.npy where there are."""
    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {
        "name": fitted.name,
        "linear": asdict(fitted.linear),
        "rhythm": asdict(fitted.rhythm) if fitted.rhythm else None,
        "calibration": asdict(fitted.calibration),
        "trees": "trees.cbm" if fitted.trees is not None else None,
        "words": list(fitted.words.names) if fitted.words else None,
        "spend": asdict(fitted.spend) if fitted.spend else None,
    }
    if fitted.trees is not None:
        fitted.trees.save_model(str(folder / "trees.cbm"))
    if fitted.words:
        np.save(folder / "words.npy", fitted.words.vectors)
    (folder / "model.json").write_text(json.dumps(described, indent=1))


def load(folder: Path) -> Fitted:
    """Return what ``save`` wrote to ``folder``.

    Raises:
        FileNotFoundError: if a file is not there.
    """
    described = json.loads((folder / "model.json").read_text())
    trees = words = spend = None
    if described["trees"]:
        trees = CatBoostClassifier()
        trees.load_model(str(folder / described["trees"]))
    if described["words"]:
        words = Words(tuple(described["words"]), np.load(folder / "words.npy"))
    if described["spend"]:
        log_mean = _linear_from(described["spend"]["log_mean"])
        spend = Spend(log_mean, described["spend"]["most"])
    return Fitted(
        name=described["name"],
        linear=_linear_from(described["linear"]),
        rhythm=BgNbd(**described["rhythm"]) if described["rhythm"] else None,
        calibration=Calibration(**described["calibration"]),
        trees=trees,
        words=words,
        spend=spend,
    )


def _linear_from(described: Mapping[str, Any]) -> Linear:
    lists = {name: tuple(described[name]) for name in ("terms", "centre", "scale", "weights")}
    return Linear(**lists, intercept=described["intercept"])
