"""Scoring a million clients with reasons: wall time, rows/s, peak memory."""

import multiprocessing
import resource
from datetime import timedelta
from multiprocessing.connection import Connection

from bench.filled import AS_OF, fill
from bench.ground import Ground, seconds
from jobs.client_scores.night import BLOCK_ROWS
from jobs.client_scores.slices import split
from jobs.publish import stage
from jobs.purchase_propensity import explanation, labels, training
from jobs.purchase_propensity.explanation import SHAPE, STAGED
from jobs.warehouse import engine, read_blocks, read_sql

CLIENTS = 1_000_000
DATASET, TABLE = "purchase_propensity/dataset.sql", "result.purchase_propensity"
DAYS = 400


def measure(databases: Ground) -> str:
    """Return the figures of one whole pass: read, predict, explain, COPY."""
    fill(databases.warehouse, CLIENTS, DAYS)
    url = databases.warehouse.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe()
    process = context.Process(target=score, args=(url, sender))
    process.start()
    taken, peak = receiver.recv()
    process.join()
    return "\n".join(
        [
            f"clients                     {CLIENTS:>12,}",
            f"wall                        {taken:>12.1f} s",
            f"with reasons                {CLIENTS / taken:>12,.0f} rows/s",
            f"peak memory (goal 2048)     {peak / 1024:>12,.0f} MB",
        ]
    )


def score(url: str, answer: Connection) -> None:
    """Fit on a sample, then score everybody; send seconds and the process's peak memory in kB."""
    warehouse = engine(url)
    horizon = labels.HORIZON_DAYS
    cutoff = AS_OF - timedelta(days=horizon)
    sample = read_sql(
        warehouse, DATASET, as_of=cutoff, horizon_days=horizon, known_by=AS_OF, shard=0, shards=20
    )
    fitted = training.fit(split({cutoff: sample}, labels.LABEL))

    def whole() -> None:
        blocks = read_blocks(
            warehouse, DATASET, BLOCK_ROWS, as_of=AS_OF, horizon_days=horizon, known_by=AS_OF,
            shard=0, shards=1,
        )  # fmt: skip
        explained = (
            explanation.explain(fitted, block).select(STAGED.names).cast(STAGED) for block in blocks
        )
        stage(warehouse, TABLE, AS_OF, "0of1", SHAPE, explained)

    answer.send((seconds(whole), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
