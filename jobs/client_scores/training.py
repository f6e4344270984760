"""Training for a day: fit model and baselines, ask the gate, settle the map that calibrates."""

import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine

from jobs import champion
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.champion import Version
from jobs.client_scores import tuning
from jobs.client_scores.client_job import ClientJob, Numbers
from jobs.client_scores.slices import Slices, split
from jobs.warehouse import airflow_run_id, named_failures, only_run

TUNE_EVERY_DAYS = 7
LEVEL_ROWS = 100_000


def train(
    job: ClientJob,
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
    gate_cutoff = job.cutoffs.gate(as_of)
    with only_run(engine, f"train {job.name}", as_of):
        if model_version:
            champion.require_fit_for(engine, job.name, model_version, as_of)
            serving = model_version
        else:
            gate_rows = job.dataset(engine, gate_cutoff, as_of)
            _require_both(job, gate_rows, gate_cutoff)
            with engine.connect() as connection:
                trained = champion.trained_version(connection, job.name, as_of)
            if trained is None or retrain:
                trained = _train(job, engine, as_of, gate_rows)
            serving = _decide(job, engine, as_of, trained, gate_rows, retrain)
        champion.settle_calibration(
            engine,
            serving,
            as_of,
            gate_cutoff,
            lambda: _fit_calibration(job, engine, as_of, serving),
        )
    return serving


def _require_both(job: ClientJob, rows: pd.DataFrame, cutoff: date) -> None:
    """Raise NothingToLearnFrom where nothing can be tested on the gate's rows."""
    positives = int(rows[job.label].sum())
    if positives in (0, len(rows)):
        raise NothingToLearnFrom(
            f"{job.name}: {job.label} has a single value in the {len(rows)} rows of the gate's "
            f"cutoff {cutoff}, {positives} positive; no model can be tested on them. Are the days "
            "since then loaded?"
        )


def _train(job: ClientJob, engine: Engine, as_of: date, gate_rows: pd.DataFrame) -> str:
    """Fit model and baselines for ``as_of``, log and register them; return the new version."""
    cutoffs, known_by = job.cutoffs.to_fit(as_of), job.cutoffs.gate(as_of)
    slices = split({cutoff: job.dataset(engine, cutoff, known_by) for cutoff in cutoffs}, job.label)
    with engine.connect() as connection:
        version = champion.next_version(connection, job.name, as_of)
    params = _tuned(job, engine, as_of, slices)
    with (
        champion.training_run(version, job.name, as_of) as run_id,
        tempfile.TemporaryDirectory() as temporary,
    ):
        fitted = job.fit(slices, params, gate_rows)
        names = {
            version if name == "model" else champion.baseline_version(version, name): name
            for name in fitted
        }
        scored, yes = job.scored(gate_rows, {each: fitted[name] for each, name in names.items()})
        measured = champion.measure(job.gate, scored, names, yes)
        drawn = Path(temporary) / "pictures"
        job.draw(drawn, version, fitted["model"], gate_rows, scored, names)
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
                **{f"promise_{name}": kept for name, kept in job.keeps(fitted["model"]).items()},
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
            job.save(fitted[name], folder)
            folders[folder] = Version(
                model_version=each,
                job=job.name,
                as_of=as_of,
                kind="model" if name == "model" else "baseline",
                name=fitted[name].name,
                rows=counts,
                params={**(params if name == "model" else {}), **job.keeps(fitted[name])},
                metrics=dict(
                    measured[measured["model_version"] == each][["metric", "value"]].to_numpy()
                ),
                **window,
            )

        def record(connection: Connection) -> None:
            champion.record_evaluation(connection, job.name, as_of, "gate", measured)
            if job.record is not None:
                job.record(connection, version, as_of, fitted["model"])

        champion.register(engine, run_id, folders, record)
    return version


def _decide(
    job: ClientJob,
    engine: Engine,
    as_of: date,
    trained: str,
    gate_rows: pd.DataFrame,
    retrained: bool,
) -> str:
    """Put the day's version before the gate; return the version that serves."""
    with engine.connect() as connection:
        compared = [trained, *champion.baselines_beside(connection, trained)]
        live = champion.live_version(connection, job.name, as_of)
    # From the registered files: what is tested is what serves.
    scored, yes = job.scores(engine, gate_rows, compared)
    if live and live not in compared:
        fitted = job.load(champion.load_model(engine, live))
        scored[live] = _as_served(job, engine, fitted, as_of, gate_rows)
        if yes is not None:
            yes[live] = job.yes({live: fitted}, {live: scored[live].to_numpy()})
        measured = champion.measure(job.gate, scored, {live: "champion"}, yes)
        with engine.begin() as connection:
            champion.record_evaluation(connection, job.name, as_of, "gate", measured)
    actor = f"airflow {airflow_run_id()}" if airflow_run_id() else f"run of {as_of}"
    said = None
    if yes is not None:
        promised = job.least_precision(job.load(champion.load_model(engine, trained)))
        said = champion.Said(yes, promised)
    decision = champion.decide(engine, job.gate, as_of, scored, trained, actor, retrained, said)
    champion.sync_alias(engine, job.name)
    return decision.version


def _as_served(
    job: ClientJob, engine: Engine, fitted: Any, as_of: date, gate_rows: pd.DataFrame
) -> Numbers:
    """Return the chances with which an older version would have served the gate's cutoff.

    Its map follows the newest labels that were complete then, as the map of any served day
    does; the challenger's own map was fitted on labels of the same window.
    """
    complete = job.level_rows(engine, job.cutoffs.gate(as_of))
    settled = job.calibrate(fitted, complete, gate_rows)
    return job.probabilities(fitted, gate_rows, settled)


def _tuned(job: ClientJob, engine: Engine, as_of: date, slices: Slices) -> dict[str, float]:
    """Return the tuned values for ``as_of``: the newest not later, tuned anew once a week."""
    with engine.connect() as connection:
        known = champion.tuned(connection, job.name, as_of)
    if known and (as_of - known[0]).days < TUNE_EVERY_DAYS:
        return known[1]
    trials = tuning.budget(job.trials)
    with named_failures(engine, f"tune {job.name} {as_of}"):
        study = tuning.study(engine, tuning.study_name(job.name, as_of))
        params = job.tune(slices, trials, known[1] if known else None, study)
    with engine.begin() as connection:
        champion.record_tuning(connection, job.name, as_of, params, trials, None)
    return params


def _fit_calibration(
    job: ClientJob, engine: Engine, as_of: date, model_version: str
) -> tuple[Calibration, int]:
    """Return the map that ``model_version`` serves ``as_of`` with, and its rows.

    They are the newest ones with complete labels, and its level follows the clients as they
    are now; the order of clients stays as tested, and the gate tests every version with the
    map that this same procedure gave it for the gate's cutoff.
    """
    complete = job.level_rows(engine, as_of)
    fitted = job.load(champion.load_model(engine, model_version))
    # A hash range of the clients is a fair sample of those to be scored.
    newest = (complete["cutoff_age"] == 0).sum()
    current = job.read(engine, as_of, as_of, shards=max(1, int(newest) // LEVEL_ROWS))
    return job.calibrate(fitted, complete, current), len(complete)
