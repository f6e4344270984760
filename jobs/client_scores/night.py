"""A night of a job that gives each client a chance: train, gate, score, publish, look back.

The jobs differ in what a `ClientJob` holds: the gate, the columns, and the functions that fit,
score and explain their models. Their SQL lies in sql/<job>/: dataset.sql (features and label as of
any day), publish.sql, deciles.sql, observe_deciles.sql and observed.sql.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine

from jobs import champion, pictures
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.champion import Gate, Version
from jobs.checks import validate
from jobs.client_scores.slices import Cutoffs, Slices, labelled, split
from jobs.publish import already_published, stage
from jobs.publish import publish as publish_day
from jobs.warehouse import (
    airflow_run_id,
    execute,
    named_failures,
    only_run,
    read_blocks,
    read_sql,
)

if TYPE_CHECKING:
    import great_expectations as gx

TUNE_EVERY_DAYS = 7
BLOCK_ROWS = 50_000
LEVEL_ROWS = 100_000
PICTURE_ROWS = 5_000
SEED = 7

Numbers = NDArray[np.float64]
Params = Mapping[str, float]


@dataclass(frozen=True)
class ClientJob:
    """One job: what it declares, and its functions; the methods are its nights.

    A fitted model or baseline is whatever the job's own functions take; it has a ``name``.

    Attributes:
        gate: how its models replace each other.
        cutoffs: the days whose rows it learns from.
        label: column of its dataset with the label, 0 or 1; null while it is not known.
        shape: the columns that ``explain`` returns, as SQL defines them.
        staged: the same as Arrow knows them.
        trials: how many parameters are tried when it is tuned.
        suite: what the scores must satisfy before anybody reads them.
        tune: parameters for slices, from so many trials, the first with what was used so far.
        fit: 'model' and the baselines by name, each with the map with which it would have served
            the gate's rows.
        calibrate: the map of a model, from labelled rows, for the clients to be scored.
        probabilities: a row's chance by a model, with the model's own map or another.
        explain: the rows to publish, with their reasons.
        contributions: what each feature adds to a model's raw log-odds, and the features' values.
        save: writes a model into a folder.
        load: reads it.
        parameters: what its dataset.sql and observed.sql take beside days and shards.
    """

    gate: Gate
    cutoffs: Cutoffs
    label: str
    shape: str
    staged: pa.Schema
    trials: int
    suite: Callable[[], "gx.ExpectationSuite"]
    tune: Callable[[Slices, int, Params | None], dict[str, float]]
    fit: Callable[[Slices, Params, pd.DataFrame], Mapping[str, Any]]
    calibrate: Callable[[Any, pd.DataFrame, pd.DataFrame], Calibration]
    probabilities: Callable[[Any, pd.DataFrame, Calibration | None], Numbers]
    explain: Callable[[Any, pd.DataFrame, Calibration], pa.Table]
    contributions: Callable[[Any, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]
    save: Callable[[Any, Path], None]
    load: Callable[[Path], Any]
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the job's name."""
        return self.gate.job

    @property
    def table(self) -> str:
        """Return its result table."""
        return f"result.{self.name}"

    def run(
        self,
        engine: Engine,
        as_of: date,
        retrain: bool = False,
        model_version: str | None = None,
        shards: int = 1,
    ) -> int:
        """Do a whole night for ``as_of``: train, gate, score, publish, look back; return the rows.

        Raises:
            AlreadyRunning: if another process works on the same day.
        """
        with only_run(engine, f"run {self.name}", as_of):
            version = self.train(engine, as_of, retrain, model_version)
            for shard in range(shards):
                self.score(engine, as_of, version, shard, shards)
            published = self.publish(engine, as_of, version, shards)
            self.mature(engine, as_of)
        return published

    def train(
        self,
        engine: Engine,
        as_of: date,
        retrain: bool = False,
        model_version: str | None = None,
    ) -> str:
        """Return the version that serves ``as_of``: train one for that day, and ask the gate.

        A day that has a version keeps it, unless ``retrain``. A ``model_version`` that is named is
        used as it is. Either way, the map that calibrates the version on this day is settled here.

        Raises:
            UnknownVersion, VersionNotAllowed: if the named version does not exist, or knows what
                happened after ``as_of``.
            NothingToLearnFrom: if there are no labels.
        """
        gate_cutoff = self.cutoffs.gate(as_of)
        with only_run(engine, f"train {self.name}", as_of):
            if model_version:
                champion.require_fit_for(engine, self.name, model_version, as_of)
                serving = model_version
            else:
                gate_rows = self.dataset(engine, gate_cutoff, as_of)
                with engine.connect() as connection:
                    trained = champion.trained_version(connection, self.name, as_of)
                if trained is None or retrain:
                    trained = self._train(engine, as_of, gate_rows)
                serving = self._decide(engine, as_of, trained, gate_rows, retrain)
            champion.settle_calibration(
                engine,
                serving,
                as_of,
                gate_cutoff,
                lambda: self._fit_calibration(engine, as_of, serving),
            )
        return serving

    def score(
        self, engine: Engine, as_of: date, model_version: str, shard: int, shards: int
    ) -> int:
        """Score one hash range of the clients known at ``as_of`` into its staging table.

        Returns how many there are.

        Raises:
            WarehouseFull, WarehouseUnreachable: what was staged is undone.
        """
        scored = 0

        def blocks() -> Iterator[pa.Table]:
            nonlocal scored
            asked = self._asked(as_of, as_of, shard, shards)
            for block in read_blocks(engine, f"{self.name}/dataset.sql", BLOCK_ROWS, **asked):
                scored += len(block)
                explained = self.explain(fitted, block, calibration)
                yield explained.select(self.staged.names).cast(self.staged)

        with named_failures(engine, f"score {self.name} {as_of}"):
            fitted = self.load(champion.load_model(engine, model_version))
            with engine.connect() as connection:
                calibration = champion.calibration(connection, model_version, as_of)
            stage(engine, self.table, as_of, _part(shard, shards), self.shape, blocks())
        return scored

    def publish(self, engine: Engine, as_of: date, model_version: str, shards: int) -> int:
        """Check the scored parts and make them the day that readers see; return its rows."""
        staged = [f"{self.name}_{as_of:%Y%m%d}_{_part(shard, shards)}" for shard in range(shards)]
        if done := already_published(engine, self.table, as_of, staged, model_version):
            return done.rows
        suite = self.suite()
        for name in staged:
            validate(engine, "staging", name, suite, self.table, as_of, ("client_id",))
        with engine.connect() as connection:
            run_id = champion.described(connection, model_version)["mlflow_run_id"]
        published = publish_day(
            engine,
            self.table,
            as_of,
            staged,
            f"{self.name}/publish.sql",
            model_version,
            mlflow_run_id=run_id,
            alongside={f"{self.name}/deciles.sql": {"as_of": as_of}},
        )
        return published.rows

    def mature(self, engine: Engine, as_of: date) -> int:
        """Write what happened beside what was published, once a day's horizon is over; count days.

        Kept are the observed metrics (bi.model_quality, stage matured) and the positives of each
        decile.
        """

        def observed(day: date) -> pd.DataFrame:
            frame = read_sql(
                engine,
                f"{self.name}/observed.sql",
                published=day,
                horizon_days=self.cutoffs.horizon_days,
                known_by=as_of,
                **self.parameters,
            )
            with engine.begin() as connection:
                for decile, positives in frame.groupby("decile")["label"].sum().items():
                    execute(
                        connection,
                        f"{self.name}/observe_deciles.sql",
                        as_of=day,
                        decile=int(str(decile)),
                        observed=int(positives),
                    )
            return frame

        return len(
            champion.mature(
                engine, self.name, self.table, as_of, self.cutoffs.horizon_days, observed
            )
        )

    def visualize(self, engine: Engine, as_of: date, out: Path) -> list[Path]:
        """Redraw every picture of the version live on ``as_of`` into ``out``; return the files.

        Raises:
            NoLiveVersion: if no version was live on that day.
        """
        with engine.connect() as connection:
            live = champion.live_version(connection, self.name, as_of)
            if live is None:
                raise champion.NoLiveVersion(
                    f"{self.name} {as_of}: no version was live; "
                    f"python -m jobs versions {self.name} lists them"
                )
            cutoff = champion.described(connection, live)["gate_cutoff"]
            beside = champion.baselines_beside(connection, live)
        known_by = cutoff + timedelta(days=self.cutoffs.horizon_days)
        dataset = self.dataset(engine, cutoff, known_by)
        scored = self._scores(engine, dataset, [live, *beside])
        fitted = self.load(champion.load_model(engine, live))
        return self._draw(out, live, fitted, dataset, scored, {live: "model", **beside})

    def dataset(self, engine: Engine, cutoff: date, known_by: date) -> pd.DataFrame:
        """Return the labelled rows of ``cutoff``, one per client, with labels as of ``known_by``.

        Raises:
            NothingToLearnFrom: if nobody was known at the cutoff, or the labels are not complete.
        """
        frame = self._read(engine, cutoff, known_by)
        labelled_rows = frame[frame[self.label].notna()].reset_index(drop=True)
        if labelled_rows.empty:
            raise NothingToLearnFrom(
                f"{self.name}: no labelled client at cutoff {cutoff} (labels known by {known_by}); "
                f"history must begin before it: python -m jobs extract --from ... --to ..."
            )
        return labelled_rows

    def _train(self, engine: Engine, as_of: date, gate_rows: pd.DataFrame) -> str:
        """Fit model and baselines for ``as_of``, log and register them; return the new version."""
        cutoffs, known_by = self.cutoffs.to_fit(as_of), self.cutoffs.gate(as_of)
        slices = split(
            {cutoff: self.dataset(engine, cutoff, known_by) for cutoff in cutoffs}, self.label
        )
        with engine.connect() as connection:
            version = champion.next_version(connection, self.name, as_of)
        params = self._tuned(engine, as_of, slices)
        with (
            champion.training_run(version, self.name, as_of) as run_id,
            tempfile.TemporaryDirectory() as temporary,
        ):
            fitted = self.fit(slices, params, gate_rows)
            names = {
                version if name == "model" else champion.baseline_version(version, name): name
                for name in fitted
            }
            scored = gate_rows[["client_id"]].assign(
                label=gate_rows[self.label].astype(int),
                **{
                    each: self.probabilities(fitted[name], gate_rows, None)
                    for each, name in names.items()
                },
            )
            measured = champion.measure(self.gate, scored, names)
            drawn = Path(temporary) / "pictures"
            self._draw(drawn, version, fitted["model"], gate_rows, scored, names)
            counts = {
                "train": len(slices.train),
                "validation": len(slices.validation),
                "calibration": len(slices.calibration),
                "gate": len(gate_rows),
            }
            window = {"train_from": min(cutoffs), "train_to": known_by, "gate_cutoff": known_by}
            champion.log(
                run_id,
                {
                    **params,
                    **window,
                    **{f"rows_{name}": count for name, count in counts.items()},
                    "as_of": as_of,
                    "cutoffs": ", ".join(map(str, cutoffs)),
                    "positives_gate": int(scored["label"].sum()),
                },
                measured,
                drawn,
            )
            folders: dict[Path, Version] = {}
            for each, name in names.items():
                folder = Path(temporary) / name
                self.save(fitted[name], folder)
                folders[folder] = Version(
                    model_version=each,
                    job=self.name,
                    as_of=as_of,
                    kind="model" if name == "model" else "baseline",
                    name=fitted[name].name,
                    rows=counts,
                    params=params if name == "model" else {},
                    metrics=dict(
                        measured[measured["model_version"] == each][["metric", "value"]].to_numpy()
                    ),
                    **window,
                )
            champion.register(engine, run_id, folders)
        with engine.begin() as connection:
            champion.record_evaluation(connection, self.name, as_of, "gate", measured)
        return version

    def _decide(
        self, engine: Engine, as_of: date, trained: str, gate_rows: pd.DataFrame, retrained: bool
    ) -> str:
        """Put the day's version before the gate; return the version that serves."""
        with engine.connect() as connection:
            compared = [trained, *champion.baselines_beside(connection, trained)]
            live = champion.live_version(connection, self.name, as_of)
        # From the registered files: what is tested is what serves.
        scored = self._scores(engine, gate_rows, compared)
        if live and live not in compared:
            scored[live] = self._as_served(engine, live, as_of, gate_rows)
            measured = champion.measure(self.gate, scored, {live: "champion"})
            with engine.begin() as connection:
                champion.record_evaluation(connection, self.name, as_of, "gate", measured)
        actor = f"airflow {airflow_run_id()}" if airflow_run_id() else f"run of {as_of}"
        decision = champion.decide(engine, self.gate, as_of, scored, trained, actor, retrained)
        champion.sync_alias(engine, self.name)
        return decision.version

    def _as_served(
        self, engine: Engine, model_version: str, as_of: date, gate_rows: pd.DataFrame
    ) -> Numbers:
        """Return the chances with which an older version would have served the gate's cutoff.

        Its map follows the newest labels that were complete then, as the map of any served day
        does; the challenger's own map was fitted on labels of the same window.
        """
        fitted = self.load(champion.load_model(engine, model_version))
        complete = self._level_rows(engine, self.cutoffs.gate(as_of))
        settled = self.calibrate(fitted, complete, gate_rows)
        return self.probabilities(fitted, gate_rows, settled)

    def _tuned(self, engine: Engine, as_of: date, slices: Slices) -> dict[str, float]:
        """Return the tuned values for ``as_of``: the newest not later, tuned anew once a week."""
        with engine.connect() as connection:
            known = champion.tuned(connection, self.name, as_of)
        if known and (as_of - known[0]).days < TUNE_EVERY_DAYS:
            return known[1]
        params = self.tune(slices, self.trials, known[1] if known else None)
        with engine.begin() as connection:
            champion.record_tuning(connection, self.name, as_of, params, self.trials, None)
        return params

    def _fit_calibration(
        self, engine: Engine, as_of: date, model_version: str
    ) -> tuple[Calibration, int]:
        """Return the map that ``model_version`` serves ``as_of`` with, and its rows.

        They are the newest ones with complete labels, and its level follows the clients as they
        are now; the order of clients stays as tested, and the gate tests every version with the
        map that this same procedure gave it for the gate's cutoff.
        """
        complete = self._level_rows(engine, as_of)
        fitted = self.load(champion.load_model(engine, model_version))
        # A hash range of the clients is a fair sample of those to be scored.
        newest = (complete["cutoff_age"] == 0).sum()
        current = self._read(engine, as_of, as_of, shards=max(1, int(newest) // LEVEL_ROWS))
        return self.calibrate(fitted, complete, current), len(complete)

    def _scores(self, engine: Engine, dataset: pd.DataFrame, versions: list[str]) -> pd.DataFrame:
        """Return client_id, label and one column of chances per version, named by it."""
        columns = {
            each: self.probabilities(self.load(champion.load_model(engine, each)), dataset, None)
            for each in versions
        }
        return dataset[["client_id"]].assign(label=dataset[self.label].astype(int), **columns)

    def _level_rows(self, engine: Engine, as_of: date) -> pd.DataFrame:
        """Return the newest labelled rows whose labels are complete at ``as_of``."""
        days = self.cutoffs.of_level(as_of)
        return labelled({day: self.dataset(engine, day, as_of) for day in days}, self.label)

    def _read(self, engine: Engine, as_of: date, known_by: date, shards: int = 1) -> pd.DataFrame:
        """Return one hash range of the dataset; with one shard, all of it."""
        return read_sql(
            engine, f"{self.name}/dataset.sql", **self._asked(as_of, known_by, 0, shards)
        )

    def _asked(self, as_of: date, known_by: date, shard: int, shards: int) -> dict[str, object]:
        """Return the parameters of dataset.sql."""
        return {
            "as_of": as_of,
            "horizon_days": self.cutoffs.horizon_days,
            "known_by": known_by,
            "shard": shard,
            "shards": shards,
            **self.parameters,
        }

    def _draw(
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
        return pictures.draw(
            out,
            version,
            scored["label"],
            {name: scored[each] for each, name in names.items()},
            *self.contributions(fitted, sample),
        )


def _part(shard: int, shards: int) -> str:
    return f"{shard}of{shards}"
