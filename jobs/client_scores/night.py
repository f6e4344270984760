"""A night of a job that gives each client a chance: train, score, publish, look back."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
from sqlalchemy import Engine

from jobs import champion
from jobs.checks import validate
from jobs.client_scores.client_job import ClientJob
from jobs.client_scores.training import train
from jobs.publish import already_published, stage
from jobs.publish import publish as publish_day
from jobs.warehouse import execute, named_failures, only_run, read_blocks, read_sql

BLOCK_ROWS = 50_000


def run(
    job: ClientJob,
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
    with only_run(engine, f"run {job.name}", as_of):
        version = train(job, engine, as_of, retrain, model_version)
        for shard in range(shards):
            score(job, engine, as_of, version, shard, shards)
        published = publish(job, engine, as_of, version, shards)
        mature(job, engine, as_of)
    return published


def score(
    job: ClientJob, engine: Engine, as_of: date, model_version: str, shard: int, shards: int
) -> int:
    """Score one hash range of the clients known at ``as_of`` into its staging table.

    Returns how many there are.

    Raises:
        WarehouseFull, WarehouseUnreachable: what was staged is undone.
    """
    scored = 0

    def blocks() -> Iterator[pa.Table]:
        nonlocal scored
        asked = job.parameters(as_of, as_of, shard, shards)
        for block in read_blocks(engine, f"{job.name}/dataset.sql", BLOCK_ROWS, **asked):
            scored += len(block)
            explained = job.explain(fitted, block, calibration)
            yield explained.select(job.staged.names).cast(job.staged)

    with named_failures(engine, f"score {job.name} {as_of}"):
        fitted = job.load(champion.load_model(engine, model_version))
        with engine.connect() as connection:
            calibration = champion.calibration(connection, model_version, as_of)
        part = _part(shard, shards)
        stage(engine, job.table, as_of, part, job.shape, blocks(), model_version=model_version)
    return scored


def publish(job: ClientJob, engine: Engine, as_of: date, model_version: str, shards: int) -> int:
    """Check the scored parts and make them the day that readers see; return its rows."""
    from jobs.client_scores.expectations import scores  # Great Expectations takes seconds

    staged = [f"{job.name}_{as_of:%Y%m%d}_{_part(shard, shards)}" for shard in range(shards)]
    if done := already_published(engine, job.table, as_of, staged, model_version):
        return done.rows
    suite = scores(job.name)
    for name in staged:
        validate(engine, "staging", name, suite, job.table, as_of, ("client_id",))
    with engine.connect() as connection:
        run_id = champion.described(connection, model_version)["mlflow_run_id"]
    published = publish_day(
        engine,
        job.table,
        as_of,
        staged,
        f"{job.name}/publish.sql",
        model_version,
        mlflow_run_id=run_id,
        alongside={"client_scores/deciles.sql": {"job": job.name}},
    )
    return published.rows


def mature(job: ClientJob, engine: Engine, as_of: date) -> int:
    """Write what happened beside what was published, once a day's horizon is over; count days.

    Kept are the observed metrics (bi.model_quality, stage matured) and the positives of each
    decile.
    """

    def observed(day: date) -> pd.DataFrame:
        frame = read_sql(
            engine,
            f"{job.name}/observed.sql",
            published=day,
            horizon_days=job.cutoffs.horizon_days,
            known_by=as_of,
            **job.label_by,
        )
        with engine.begin() as connection:
            for decile, positives in frame.groupby("decile")["label"].sum().items():
                execute(
                    connection,
                    "client_scores/observe_deciles.sql",
                    job=job.name,
                    as_of=day,
                    decile=int(str(decile)),
                    observed=int(positives),
                )
        return frame

    return len(
        champion.mature(engine, job.name, job.table, as_of, job.cutoffs.horizon_days, observed)
    )


def visualize(job: ClientJob, engine: Engine, as_of: date, out: Path) -> list[Path]:
    """Redraw every picture of the version live on ``as_of`` into ``out``; return the files.

    Raises:
        NoLiveVersion: if no version was live on that day.
    """
    with engine.connect() as connection:
        live = champion.live_version(connection, job.name, as_of)
        if live is None:
            raise champion.NoLiveVersion(
                f"{job.name} {as_of}: no version was live; "
                f"python -m jobs versions {job.name} lists them"
            )
        cutoff = champion.described(connection, live)["gate_cutoff"]
        beside = champion.baselines_beside(connection, live)
    known_by = cutoff + timedelta(days=job.cutoffs.horizon_days)
    dataset = job.dataset(engine, cutoff, known_by)
    scored, _ = job.scores(engine, dataset, [live, *beside])
    fitted = job.load(champion.load_model(engine, live))
    return job.draw(out, live, fitted, dataset, scored, {live: "model", **beside})


def _part(shard: int, shards: int) -> str:
    return f"{shard}of{shards}"
