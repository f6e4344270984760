"""The fitted model: scores clients, is saved and loaded. Everything learned is in ``Fitted``."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from imblearn.pipeline import Pipeline
from numpy.typing import NDArray

from jobs import calibration as logistic_map
from jobs.calibration import Calibration
from jobs.client_engagement.features import Columns, inputs
from jobs.client_engagement.log_odds import log_odds
from jobs.client_scores.threshold import Threshold, of_kept
from jobs.client_scores.words import Words

BLOCK_ROWS = 50_000

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A model or baseline with everything it learned.

    Attributes:
        name: model and handling, or the baseline.
        columns: what it reads.
        words: sequences that it reads as vectors, by the dataset's column.
        pipeline: see ``candidates``.
        centre: mean of each column of its matrix in training.
        calibration: the map that it was tested with.
        threshold: who is said to engage.
        bench: the candidates that it was chosen from; None of a baseline.
        vif: the numbers' variance inflation; None of a baseline.
    """

    name: str
    columns: Columns
    words: tuple[tuple[str, Words], ...]
    pipeline: Pipeline
    centre: Numbers
    calibration: Calibration
    threshold: Threshold
    bench: pd.DataFrame | None = None
    vif: pd.DataFrame | None = None


def raw_log_odds(fitted: Fitted, dataset: pd.DataFrame) -> Numbers:
    """Return the log-odds before calibration, one per row."""
    parts = [np.zeros(0)]
    for block in blocks(dataset):
        parts.append(log_odds(fitted.pipeline, inputs_of(fitted, block)))
    return np.concatenate(parts)


def probabilities(
    fitted: Fitted, dataset: pd.DataFrame, calibration: Calibration | None = None
) -> Numbers:
    """Return each row's chance to engage, by the model's own map or another."""
    z = raw_log_odds(fitted, dataset)
    return logistic_map.probability(logistic_map.apply(calibration or fitted.calibration, z))


def inputs_of(fitted: Fitted, dataset: pd.DataFrame) -> pd.DataFrame:
    """Return what the model's pipeline reads."""
    return inputs(dataset, fitted.columns, fitted.words)


def blocks(dataset: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield ``dataset`` in blocks of BLOCK_ROWS rows."""
    for start in range(0, len(dataset), BLOCK_ROWS):
        yield dataset.iloc[start : start + BLOCK_ROWS]


def save(fitted: Fitted, folder: Path) -> None:
    """Write the model into ``folder``: model.json, pipeline.joblib, vectors, tables as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "name": fitted.name,
        "columns": asdict(fitted.columns),
        "words": {name: list(words.names) for name, words in fitted.words},
        "centre": fitted.centre.tolist(),
        "calibration": asdict(fitted.calibration),
        "threshold": fitted.threshold.kept(),
    }
    (folder / "model.json").write_text(json.dumps(told, indent=1))
    for name, words in fitted.words:
        np.save(folder / f"{name}.npy", words.vectors)
    joblib.dump(fitted.pipeline, folder / "pipeline.joblib", compress=3)
    for name, table in (("bench", fitted.bench), ("vif", fitted.vif)):
        if table is not None:
            table.to_csv(folder / f"{name}.csv", index=False)


def load(folder: Path) -> Fitted:
    """Read the model from ``folder``.

    Its files are those whose checksum the registry keeps: a pipeline is code as well as numbers.
    """
    told = json.loads((folder / "model.json").read_text())
    words = tuple(
        (name, Words(tuple(names), np.load(folder / f"{name}.npy")))
        for name, names in told["words"].items()
    )
    columns = Columns(**{part: tuple(names) for part, names in told["columns"].items()})
    tables = {
        name: pd.read_csv(folder / f"{name}.csv", dtype={"dropped": "Int64"})
        for name in ("bench", "vif")
        if (folder / f"{name}.csv").exists()
    }
    return Fitted(
        told["name"],
        columns,
        words,
        joblib.load(folder / "pipeline.joblib"),
        np.array(told["centre"]),
        Calibration(**told["calibration"]),
        of_kept(told["threshold"]),
        **tables,
    )
