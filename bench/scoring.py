"""Scoring a million clients with reasons, by each job that does: wall time, rows/s, peak memory."""

import importlib
import multiprocessing
import resource
from datetime import timedelta
from multiprocessing.connection import Connection

from bench.filled import AS_OF, fill
from bench.ground import Ground, seconds
from jobs.client_scores.client_job import ClientJob
from jobs.client_scores.night import BLOCK_ROWS
from jobs.client_scores.slices import split
from jobs.publish import stage
from jobs.warehouse import engine, read_blocks

CLIENTS = 1_000_000
DAYS = 400
JOBS = ("purchase_propensity", "client_engagement")


def measure(databases: Ground) -> str:
    """Return the figures of one whole pass of each job: read, predict, explain, COPY."""
    fill(databases.warehouse, CLIENTS, DAYS)
    url = databases.warehouse.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    lines = [f"clients                     {CLIENTS:>12,}"]
    for job in JOBS:
        receiver, sender = context.Pipe()
        process = context.Process(target=score, args=(url, job, sender))
        process.start()
        name, taken, peak = receiver.recv()
        process.join()
        lines += [
            f"{job}: {name}",
            f"  wall                      {taken:>12.1f} s",
            f"  with reasons              {CLIENTS / taken:>12,.0f} rows/s",
            f"  peak memory (goal 2048)   {peak / 1024:>12,.0f} MB",
        ]
    return "\n".join(lines)


def score(url: str, name: str, answer: Connection) -> None:
    """Fit on a sample, then score everybody; send model, seconds and the peak memory in kB."""
    warehouse = engine(url)
    job: ClientJob = importlib.import_module(f"jobs.{name}.job").DECLARED
    cutoff = AS_OF - timedelta(days=job.cutoffs.horizon_days)
    sample = job.read(warehouse, cutoff, AS_OF, shards=20)
    fitted = job.fit(split({cutoff: sample}, job.label), {}, sample)["model"]

    def whole() -> None:
        asked = job.parameters(AS_OF, AS_OF, 0, 1)
        blocks = read_blocks(warehouse, f"{name}/dataset.sql", BLOCK_ROWS, **asked)
        explained = (
            job.explain(fitted, block, fitted.calibration).select(job.staged.names).cast(job.staged)
            for block in blocks
        )
        stage(warehouse, job.table, AS_OF, "0of1", job.shape, explained)

    taken = seconds(whole)
    answer.send((fitted.name, taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
