"""Purchase propensity: read, train, gate, score, publish, and look back once labels are known."""

import tempfile
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
from sqlalchemy import Engine

from jobs import champion, pictures
from jobs.calibration import Calibration, NothingToLearnFrom
from jobs.champion import Gate, Version
from jobs.checks import validate
from jobs.publish import already_published, stage
from jobs.publish import publish as publish_day
from jobs.purchase_propensity import baselines, explanation, labels, model, training
from jobs.warehouse import (
    airflow_run_id,
    execute,
    named_failures,
    only_run,
    read_blocks,
    read_sql,
)

JOB = "purchase_propensity"
TABLE = "result.purchase_propensity"
DATASET = "purchase_propensity/dataset.sql"
# docs/gate.md has the power of this gate, from which margin, cadence and age were chosen.
GATE = Gate(
    job=JOB,
    metric="roc_auc",
    horizon_days=labels.HORIZON_DAYS,
    margin=0.01,
    max_age_days=30,
    cadence_days=7,
    calibration_bound=0.02,
    unit="client_id",
)
TRIALS = 8
TUNE_EVERY_DAYS = 7
BLOCK_ROWS = 50_000
LEVEL_ROWS = 100_000
PICTURE_ROWS = 5_000
SHAPE = (
    "client_id bigint, probability real, expected_spend_90d real, reason_features text[],"
    " reason_values real[], reason_contributions real[], reason_rest real"
)
STAGED = pa.schema(
    [
        ("client_id", pa.int64()),
        ("probability", pa.float32()),
        ("expected_spend_90d", pa.float32()),
        ("reason_features", pa.list_(pa.string())),
        ("reason_values", pa.list_(pa.float32())),
        ("reason_contributions", pa.list_(pa.float32())),
        ("reason_rest", pa.float32()),
    ]
)


def run(
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
    with only_run(engine, f"run {JOB}", as_of):
        version = train(engine, as_of, retrain, model_version)
        for shard in range(shards):
            score(engine, as_of, version, shard, shards)
        published = publish(engine, as_of, version, shards)
        mature(engine, as_of)
    return published


def train(
    engine: Engine, as_of: date, retrain: bool = False, model_version: str | None = None
) -> str:
    """Return the version that serves ``as_of``: train one for that day, and let the gate decide.

    A day that has a version keeps it, unless ``retrain``. A ``model_version`` that is named is
    used as it is. Either way, the map that calibrates the version on this day is settled here.

    Raises:
        UnknownVersion, VersionNotAllowed: if the named version does not exist, or knows what
            happened after ``as_of``.
        NothingToLearnFrom: if there are no labels.
    """
    with only_run(engine, f"train {JOB}", as_of):
        if model_version:
            champion.require_fit_for(engine, JOB, model_version, as_of)
            serving = model_version
        else:
            gate_rows = _dataset(engine, labels.gate_cutoff(as_of), as_of)
            with engine.connect() as connection:
                trained = champion.trained_version(connection, JOB, as_of)
            if trained is None or retrain:
                trained = _train(engine, as_of, gate_rows)
            serving = _decide(engine, as_of, trained, gate_rows, retrain)
        champion.settle_calibration(
            engine,
            serving,
            as_of,
            labels.gate_cutoff(as_of),
            lambda: _fit_calibration(engine, as_of, serving),
        )
    return serving


def score(engine: Engine, as_of: date, model_version: str, shard: int, shards: int) -> int:
    """Score one hash range of the clients known at ``as_of`` into its staging table; count them.

    Raises:
        WarehouseFull, WarehouseUnreachable: what was staged is undone.
    """
    scored = 0

    def blocks() -> Iterator[pa.Table]:
        nonlocal scored
        for block in read_blocks(
            engine,
            DATASET,
            BLOCK_ROWS,
            as_of=as_of,
            horizon_days=labels.HORIZON_DAYS,
            known_by=as_of,
            shard=shard,
            shards=shards,
        ):
            scored += len(block)
            yield explanation.explain(fitted, block, calibration).select(STAGED.names).cast(STAGED)

    with named_failures(engine, f"score {JOB} {as_of}"):
        fitted = model.load(champion.load_model(engine, model_version))
        with engine.connect() as connection:
            calibration = champion.calibration(connection, model_version, as_of)
        stage(engine, TABLE, as_of, _part(shard, shards), SHAPE, blocks())
    return scored


def publish(engine: Engine, as_of: date, model_version: str, shards: int) -> int:
    """Check the scored parts and make them the day that readers see; return its rows."""
    from jobs.purchase_propensity.expectations import SCORES

    staged = [f"{JOB}_{as_of:%Y%m%d}_{_part(shard, shards)}" for shard in range(shards)]
    if done := already_published(engine, TABLE, as_of, staged, model_version):
        return done.rows
    for name in staged:
        validate(engine, "staging", name, SCORES, TABLE, as_of, ("client_id",))
    with engine.connect() as connection:
        run_id = champion.described(connection, model_version)["mlflow_run_id"]
    published = publish_day(
        engine,
        TABLE,
        as_of,
        staged,
        "purchase_propensity/publish.sql",
        model_version,
        mlflow_run_id=run_id,
        alongside={"purchase_propensity/deciles.sql": {"as_of": as_of}},
    )
    return published.rows


def mature(engine: Engine, as_of: date) -> int:
    """Write what happened beside what was published, for days whose 90 days are over; count them.

    Kept are the observed metrics (bi.model_quality, stage matured) and the buyers of each decile.
    """

    def labelled(day: date) -> pd.DataFrame:
        frame = read_sql(
            engine,
            "purchase_propensity/observed.sql",
            published=day,
            horizon_days=labels.HORIZON_DAYS,
            known_by=as_of,
        )
        with engine.begin() as connection:
            for decile, observed in frame.groupby("decile")["label"].sum().items():
                execute(
                    connection,
                    "purchase_propensity/observe_deciles.sql",
                    as_of=day,
                    decile=int(str(decile)),
                    observed=int(observed),
                )
        return frame

    return len(champion.mature(engine, JOB, TABLE, as_of, labels.HORIZON_DAYS, labelled))


def visualize(engine: Engine, as_of: date, out: Path) -> list[Path]:
    """Redraw every picture of the version live on ``as_of`` into ``out``; return the files.

    Raises:
        NoLiveVersion: if no version was live on that day.
    """
    with engine.connect() as connection:
        live = champion.live_version(connection, JOB, as_of)
        if live is None:
            raise champion.NoLiveVersion(
                f"{JOB} {as_of}: no version was live; python -m jobs versions {JOB} lists them"
            )
        cutoff = champion.described(connection, live)["gate_cutoff"]
        beside = champion.baselines_beside(connection, live)
    dataset = _dataset(engine, cutoff, cutoff + timedelta(days=labels.HORIZON_DAYS))
    scored = _scores(engine, dataset, [live, *beside])
    fitted = model.load(champion.load_model(engine, live))
    return _draw(out, live, fitted, dataset, scored, {live: "model", **beside})


def _train(engine: Engine, as_of: date, gate_rows: pd.DataFrame) -> str:
    """Fit model and baselines for ``as_of``, log and register them; return the new version."""
    cutoffs = labels.fitting_cutoffs(as_of)
    known_by = labels.gate_cutoff(as_of)
    slices = labels.split({cutoff: _dataset(engine, cutoff, known_by) for cutoff in cutoffs})
    with engine.connect() as connection:
        version = champion.next_version(connection, JOB, as_of)
    params = _tuned(engine, as_of, slices)
    with (
        champion.training_run(version, JOB, as_of) as run_id,
        tempfile.TemporaryDirectory() as temporary,
    ):
        # Each gets the map with which it would have served the gate's cutoff.
        fitted = {
            "model": training.fit(slices, params, gate_rows),
            **baselines.fit_all(slices, gate_rows),
        }
        names = {
            version if name == "model" else champion.baseline_version(version, name): name
            for name in fitted
        }
        scored = gate_rows[["client_id"]].assign(
            label=gate_rows["bought"].astype(int),
            **{
                each: model.score(fitted[name], gate_rows)["probability"].to_numpy()
                for each, name in names.items()
            },
        )
        measured = champion.measure(GATE, scored, names)
        drawn = Path(temporary) / "pictures"
        _draw(drawn, version, fitted["model"], gate_rows, scored, names)
        counts = {
            "train": len(slices.train),
            "validation": len(slices.validation),
            "calibration": len(slices.calibration),
            "gate": len(gate_rows),
        }
        window = {
            "train_from": min(cutoffs),
            "train_to": known_by,
            "gate_cutoff": labels.gate_cutoff(as_of),
        }
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
            model.save(fitted[name], folder)
            folders[folder] = Version(
                model_version=each,
                job=JOB,
                as_of=as_of,
                kind="model" if name == "model" else "baseline",
                name="catboost" if name == "model" else name,
                rows=counts,
                params=params if name == "model" else {},
                metrics=dict(
                    measured[measured["model_version"] == each][["metric", "value"]].to_numpy()
                ),
                **window,
            )
        champion.register(engine, run_id, folders)
    with engine.begin() as connection:
        champion.record_evaluation(connection, JOB, as_of, "gate", measured)
    return version


def _decide(
    engine: Engine, as_of: date, trained: str, gate_rows: pd.DataFrame, retrained: bool
) -> str:
    """Put the day's version before the gate; return the version that serves."""
    with engine.connect() as connection:
        compared = [trained, *champion.baselines_beside(connection, trained)]
        live = champion.live_version(connection, JOB, as_of)
    # From the registered files: what is tested is what serves.
    scored = _scores(engine, gate_rows, compared)
    if live and live not in compared:
        scored[live] = _as_served(engine, live, as_of, gate_rows)
        measured = champion.measure(GATE, scored, {live: "champion"})
        with engine.begin() as connection:
            champion.record_evaluation(connection, JOB, as_of, "gate", measured)
    actor = f"airflow {airflow_run_id()}" if airflow_run_id() else f"run of {as_of}"
    decision = champion.decide(engine, GATE, as_of, scored, trained, actor, retrained)
    champion.sync_alias(engine, JOB)
    return decision.version


def _as_served(
    engine: Engine, model_version: str, as_of: date, gate_rows: pd.DataFrame
) -> pd.Series:
    """Return the probabilities with which an older version would have served the gate's cutoff.

    Its map follows the newest labels that were complete then, as the map of any served day does;
    the challenger's own map was fitted on labels of the same window.
    """
    fitted = model.load(champion.load_model(engine, model_version))
    complete = _level_rows(engine, labels.gate_cutoff(as_of))
    settled = training.calibrate(fitted, complete, gate_rows)
    return model.score(fitted, gate_rows, settled)["probability"]


def _tuned(engine: Engine, as_of: date, slices: labels.Slices) -> dict[str, float]:
    """Return the tuned values for ``as_of``: the newest not later, tuned anew once a week."""
    with engine.connect() as connection:
        known = champion.tuned(connection, JOB, as_of)
    if known and (as_of - known[0]).days < TUNE_EVERY_DAYS:
        return known[1]
    params = training.tune(slices, TRIALS, start=known[1] if known else None)
    with engine.begin() as connection:
        champion.record_tuning(connection, JOB, as_of, params, TRIALS, None)
    return params


def _fit_calibration(engine: Engine, as_of: date, model_version: str) -> tuple[Calibration, int]:
    """Return the map that ``model_version`` serves ``as_of`` with, and its rows.

    They are the newest ones with complete labels, and its level follows the clients as they are
    now; the order of clients stays as tested, and the gate tests every version with the map that
    this same procedure gave it for the gate's cutoff.
    """
    complete = _level_rows(engine, as_of)
    fitted = model.load(champion.load_model(engine, model_version))
    # A hash range of the clients is a fair sample of those to be scored.
    newest = (complete["cutoff_age"] == 0).sum()
    current = _read(engine, as_of, as_of, shards=max(1, int(newest) // LEVEL_ROWS))
    return training.calibrate(fitted, complete, current), len(complete)


def _scores(engine: Engine, dataset: pd.DataFrame, versions: list[str]) -> pd.DataFrame:
    """Return client_id, label and one column of probabilities per version, named by it."""
    columns = {
        each: model.score(model.load(champion.load_model(engine, each)), dataset)[
            "probability"
        ].to_numpy()
        for each in versions
    }
    return dataset[["client_id"]].assign(label=dataset["bought"].astype(int), **columns)


def _dataset(engine: Engine, cutoff: date, known_by: date) -> pd.DataFrame:
    """Return the labelled rows of ``cutoff``, one per client, with labels as of ``known_by``.

    Raises:
        NothingToLearnFrom: if nobody was known at the cutoff, or the labels are not complete.
    """
    frame = _read(engine, cutoff, known_by)
    labelled = frame[frame["bought"].notna()].reset_index(drop=True)
    if labelled.empty:
        raise NothingToLearnFrom(
            f"{JOB}: no labelled client at cutoff {cutoff} (labels known by {known_by}); "
            f"history must begin before it: python -m jobs extract --from ... --to ..."
        )
    return labelled


def _level_rows(engine: Engine, as_of: date) -> pd.DataFrame:
    """Return the newest labelled rows whose labels are complete at ``as_of``."""
    return labels.labelled(
        {cutoff: _dataset(engine, cutoff, as_of) for cutoff in labels.level_cutoffs(as_of)}
    )


def _read(engine: Engine, as_of: date, known_by: date, shards: int = 1) -> pd.DataFrame:
    """Return one hash range of the dataset; with one shard, all of it."""
    return read_sql(
        engine,
        DATASET,
        as_of=as_of,
        horizon_days=labels.HORIZON_DAYS,
        known_by=known_by,
        shard=0,
        shards=shards,
    )


def _draw(
    out: Path,
    version: str,
    fitted: model.Fitted,
    dataset: pd.DataFrame,
    scored: pd.DataFrame,
    names: Mapping[str, str],
) -> list[Path]:
    """Draw every picture of a version on the gate's rows."""
    sample = dataset.sample(min(len(dataset), PICTURE_ROWS), random_state=training.SEED)
    moved, _ = explanation.contributions(fitted, sample)
    return pictures.draw(
        out,
        version,
        scored["label"],
        {name: scored[each] for each, name in names.items()},
        moved * fitted.calibration.slope,
        explanation.features(fitted, sample),
    )


def _part(shard: int, shards: int) -> str:
    return f"{shard}of{shards}"
