"""The tasks of a job that trains, scores in parts and publishes; its DAG says which job."""

import importlib
from types import ModuleType

from airflow.sdk import task

from plugins import run


def night(job: str, *tables: str) -> None:
    """Add a night's tasks to the DAG at hand: train, score, publish, look back; and its decisions.

    Args:
        job: package under jobs/ and table under result.
        tables: raw tables whose day the night waits for.
    """

    @task(**run.HEAVY)
    def train(version: str | None) -> str:
        return module(job).train(run.warehouse(), run.as_of(), run.params()["retrain"], version)

    @task(**run.HEAVY, map_index_template="shard {{ task.op_kwargs['shard'] }}")
    def score(version: str, shard: int) -> int:
        shards = run.params()["shards"]
        return module(job).score(run.warehouse(), run.as_of(), version, shard, shards)

    @task(outlets=[run.table(f"result.{job}")])
    def publish(version: str) -> int:
        return module(job).publish(run.warehouse(), run.as_of(), version, run.params()["shards"])

    @task
    def mature() -> int:
        return module(job).mature(run.warehouse(), run.as_of())

    @task(**run.HEAVY, map_index_template="{{ task.op_kwargs['day'] }}")
    def rescore(version: str, day: str) -> None:
        module(job).run(run.warehouse(), run.day(day), model_version=version)

    version = train(run.decide(job))
    run.day_loaded(*tables) >> version
    published = publish(version)
    score.partial(version=version).expand(shard=run.shards()) >> published
    published >> [run.pages(), mature(), affected := run.affected_days(job)]
    rescore.partial(version=version).expand(day=affected)


def module(job: str) -> ModuleType:
    """Return the job's module, imported when a task runs: parsing a DAG must not wait for it."""
    return importlib.import_module(f"jobs.{job}.job")
