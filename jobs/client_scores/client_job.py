"""What a job that gives each client a chance declares, and the rows that it reads.

Its SQL lies in sql/<job>/: dataset.sql (features and label as of any day), publish.sql and
observed.sql.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from jobs import champion, pictures
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.champion import Gate
from jobs.client_scores.slices import Cutoffs, Slices, labelled
from jobs.warehouse import read_sql

if TYPE_CHECKING:  # takes a second
    import optuna

PICTURE_ROWS = 5_000
SEED = 7

Numbers = NDArray[np.float64]
Params = Mapping[str, float]


@dataclass(frozen=True)
class ClientJob:
    """One job: what it declares, its functions, and its rows; `night` and `training` take it.

    A fitted model or baseline is whatever the job's own functions take; it has a ``name``.

    Attributes:
        gate: how its models replace each other.
        cutoffs: the days whose rows it learns from.
        label: column of its dataset with the label, 0 or 1; null while it is not known.
        shape: the columns that ``explain`` returns, as SQL defines them.
        staged: the same as Arrow knows them.
        trials: how many parameters are tried when it is tuned, if no setting says otherwise.
        tune: parameters for slices, from so many trials in a study, the first with what was used
            so far.
        fit: 'model' and the baselines by name, each with the map with which it would have served
            the gate's rows.
        calibrate: the map of a model, from labelled rows, for the clients to be scored.
        probabilities: a row's chance by a model, with the model's own map or another.
        explain: the rows to publish, with their reasons.
        contributions: what each feature adds to a model's calibrated log-odds, and its values.
        save: writes a model into a folder.
        load: reads it.
        label_by: parameters of dataset.sql and observed.sql that say what the label is.
        says_yes: to whom of a day's clients, by their chances, the model says yes; None for a job
            that only gives chances.
        least_precision: the share of those that is right at least, by a model's promise; None
            without one.
        keeps: what is kept with a version in ops.model_version.params.
        record: writes a trained model's own tables, in the transaction that keeps its figures.
        pictures: draws pictures beside those of every job: into a folder, with a title, of a
            model, on labels and chances.
    """

    gate: Gate
    cutoffs: Cutoffs
    label: str
    shape: str
    staged: pa.Schema
    trials: int
    tune: "Callable[[Slices, int, Params | None, optuna.Study], dict[str, float]]"
    fit: Callable[[Slices, Params, pd.DataFrame], Mapping[str, Any]]
    calibrate: Callable[[Any, pd.DataFrame, pd.DataFrame], Calibration]
    probabilities: Callable[[Any, pd.DataFrame, Calibration | None], Numbers]
    explain: Callable[[Any, pd.DataFrame, Calibration], pa.Table]
    contributions: Callable[[Any, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]
    save: Callable[[Any, Path], None]
    load: Callable[[Path], Any]
    label_by: Mapping[str, object] = field(default_factory=dict)
    says_yes: Callable[[Any, Numbers], NDArray[np.bool_]] | None = None
    least_precision: Callable[[Any], float | None] = lambda fitted: None
    keeps: Callable[[Any], dict[str, object]] = lambda fitted: {}
    record: Callable[[Connection, str, date, Any], None] | None = None
    pictures: Callable[[Path, str, Any, pd.DataFrame, pd.Series, Numbers], list[Path]] | None = None

    @property
    def name(self) -> str:
        """Return the job's name."""
        return self.gate.job

    @property
    def table(self) -> str:
        """Return its result table."""
        return f"result.{self.name}"

    def dataset(self, engine: Engine, cutoff: date, known_by: date) -> pd.DataFrame:
        """Return the labelled rows of ``cutoff``, one per client, with labels as of ``known_by``.

        Raises:
            NothingToLearnFrom: if nobody was known at the cutoff, or the labels are not complete.
        """
        frame = self.read(engine, cutoff, known_by)
        labelled_rows = frame[frame[self.label].notna()].reset_index(drop=True)
        if labelled_rows.empty:
            raise NothingToLearnFrom(
                f"{self.name}: no labelled client at cutoff {cutoff} (labels known by {known_by}); "
                f"history must begin before it: python -m jobs extract --from ... --to ..."
            )
        return labelled_rows

    def level_rows(self, engine: Engine, as_of: date) -> pd.DataFrame:
        """Return the newest labelled rows whose labels are complete at ``as_of``."""
        days = self.cutoffs.of_level(as_of)
        return labelled({day: self.dataset(engine, day, as_of) for day in days}, self.label)

    def read(self, engine: Engine, as_of: date, known_by: date, shards: int = 1) -> pd.DataFrame:
        """Return one hash range of the dataset; with one shard, all of it."""
        return read_sql(
            engine, f"{self.name}/dataset.sql", **self.parameters(as_of, known_by, 0, shards)
        )

    def parameters(self, as_of: date, known_by: date, shard: int, shards: int) -> dict[str, object]:
        """Return the parameters of dataset.sql."""
        return {
            "as_of": as_of,
            "horizon_days": self.cutoffs.horizon_days,
            "known_by": known_by,
            "shard": shard,
            "shards": shards,
            **self.label_by,
        }

    def scores(
        self, engine: Engine, dataset: pd.DataFrame, versions: list[str]
    ) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Return client_id, label and one column of chances per version, named by it; and yeses.

        The yeses are one column per version, or None for a job that says none.
        """
        fitted = {each: self.load(champion.load_model(engine, each)) for each in versions}
        return self.scored(dataset, fitted)

    def scored(
        self, dataset: pd.DataFrame, fitted: Mapping[str, Any]
    ) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Return the same of models at hand, by version."""
        chances = {each: self.probabilities(one, dataset, None) for each, one in fitted.items()}
        yes = self.yes(fitted, chances)
        label = dataset[self.label].astype(int)
        return dataset[["client_id"]].assign(label=label, **chances), yes

    def yes(self, fitted: Mapping[str, Any], chances: Mapping[str, Numbers]) -> pd.DataFrame | None:
        """Return to whom each version says yes, by its chances; None for a job that says none."""
        if self.says_yes is None:
            return None
        return pd.DataFrame(
            {each: self.says_yes(fitted[each], chance) for each, chance in chances.items()}
        )

    def draw(
        self,
        out: Path,
        version: str,
        fitted: Any,
        dataset: pd.DataFrame,
        scored: pd.DataFrame,
        names: Mapping[str, str],
    ) -> list[Path]:
        """Draw every picture of a version on the gate's rows."""
        sample = dataset.sample(min(len(dataset), PICTURE_ROWS), random_state=SEED)
        own = []
        if self.pictures is not None:
            out.mkdir(parents=True, exist_ok=True)
            chances = scored[version].to_numpy()
            own = self.pictures(out, version, fitted, dataset, scored["label"], chances)
        return own + pictures.draw(
            out,
            version,
            scored["label"],
            {name: scored[each] for each, name in names.items()},
            *self.contributions(fitted, sample),
        )
