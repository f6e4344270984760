"""What every DAG shares: its day, its warehouse, its defaults."""

import logging
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    Asset,
    CronTriggerTimetable,
    Param,
    RetryDecision,
    RetryPolicy,
    get_current_context,
    task,
)

from plugins.alerts import alert, mended, run_failed, run_succeeded
from plugins.connections import connected

if TYPE_CHECKING:  # costs a second, and the DAG processor parses this file again and again
    from sqlalchemy import Engine

log = logging.getLogger(__name__)

# Errors that five minutes don't mend; by name, since importing their modules here costs a second
# at every parse. A test holds the names to the classes.
HOPELESS = {"CheckFailed", "SourceChanged", "NoDay", "RawDropped", "RawStillNeeded", "BadSetting"}
HOPELESS |= {"UnknownVersion", "VersionNotAllowed", "DecisionNotAllowed", "NothingToRollBackTo"}


class WakeAtOnce(RetryPolicy):
    """Retries what may pass by itself, and nothing else."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Return fail for an error whose cause somebody has to mend, else the default."""
        if HOPELESS.intersection(kind.__name__ for kind in type(exception).__mro__):
            return RetryDecision.fail("the cause has to be mended first")
        return RetryDecision.default()


TASKS = {
    "owner": "ml-platform",
    "retries": 2,
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": WakeAtOnce(),
    "execution_timeout": timedelta(hours=1),
    "on_failure_callback": alert,
    "on_success_callback": mended,
}
DAILY = {
    "schedule": CronTriggerTimetable("0 0 * * *", timezone="UTC"),
    "start_date": datetime(1990, 1, 1, tzinfo=UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": TASKS,
    "on_failure_callback": run_failed,
    "on_success_callback": run_succeeded,
}
# Tasks that fill a machine; the pool's slots say how many at once.
HEAVY = {"pool": "heavy", "execution_timeout": timedelta(hours=4)}
# The product serves the feed's lists from midnight on; who reads clients' scores still sleeps.
HEAVY_FIRST = {**HEAVY, "priority_weight": 100}
WAIT = timedelta(hours=6)

DECISIONS = ["none", "promote", "rollback"]
PARAMS = {
    "retrain": Param(
        False, type="boolean", description="Train this day anew even if it has a version"
    ),
    "model_version": Param(
        None,
        type=["null", "string"],
        minLength=1,
        description="Score with this version (`python -m jobs versions JOB` lists them)",
    ),
    "shards": Param(
        1, type="integer", minimum=1, maximum=64, description="Score in so many parallel parts"
    ),
    "decision": Param(
        "none",
        enum=DECISIONS,
        description="promote: model_version goes live from this day on; rollback: the version "
        "before the live one does. Published days that it concerns are scored again",
    ),
    "reason": Param("", type="string", description="Why; a decision needs it, and it is kept"),
}
ARM = Param("test", enum=["control", "test"], description="The arm that the decision is about")
ARM_PARAMS = {**PARAMS, "arm": ARM}


class NoDay(ValueError):
    """The run was started by hand without a logical date."""


def as_of() -> date:
    """Return the day this run stands on; a rerun gets the same answer.

    Raises:
        NoDay: if the run was started by hand without a logical date.
    """
    run = get_current_context()["dag_run"]
    if run.logical_date is None:
        raise NoDay(
            f"run {run.run_id} of {run.dag_id} has no logical date: trigger it with one, "
            f"`airflow dags trigger {run.dag_id} --logical-date YYYY-MM-DD` (the as_of day)"
        )
    return run.logical_date.date()


def day(written: str) -> date:
    """Return the day that XCom carries as text."""
    return date.fromisoformat(written)


def params() -> dict[str, Any]:
    """Return this run's parameters."""
    return get_current_context()["params"]


def app() -> "Engine":
    """Return an engine for the product's database, the Airflow connection ``app``."""
    return connected("app")


def warehouse() -> "Engine":
    """Return an engine for the Airflow connection ``warehouse``."""
    return connected("warehouse")


def table(name: str) -> Asset:
    """Return the asset that stands for a table, named with its schema."""
    return Asset(name=name)


def day_loaded(*tables: str) -> Any:
    """Return a task that waits until the day before as_of of each raw table is loaded.

    It asks ops.load, not the state of another DAG, so that any DAG can be backfilled alone.
    """

    @task.sensor(
        mode="reschedule",
        # The first wait is half of this to all of it, later ones up to max_wait. A scheduler that
        # is slower than the wait takes the end of one look for that of the next and calls the
        # sensor killed, which costs a try; 90 s have been seen (apache/airflow#71172).
        poke_interval=180,
        exponential_backoff=True,
        max_wait=timedelta(minutes=5),
        timeout=WAIT.total_seconds(),
        inlets=[table(f"raw.{name}") for name in tables],
    )
    def day_loaded() -> bool:
        from jobs.incidents import missing_days

        with warehouse().connect() as connection:
            missing = missing_days(connection, as_of(), tables)
        for line in missing:
            log.info("waiting: %s", line)
        return not missing

    return day_loaded()


def pages() -> Any:
    """Return a task that rebuilds the validation pages, whatever became of the tasks before it.

    As a teardown it runs after a failure too, and doesn't make the failed run look well.
    """

    @task
    def pages() -> None:
        from jobs import pages, settings

        pages.build(warehouse(), settings.pages_dir())

    return pages().as_teardown()


@task
def decide(job: str) -> str | None:
    """Return the version this run was told to use; carries out its promotion or rollback first.

    A retry finds what the first attempt decided: a second rollback would go one version further.

    Raises:
        UnknownVersion, VersionNotAllowed, DecisionNotAllowed, NothingToRollBackTo: before anything
            is done.
    """
    from jobs import champion

    asked = params()
    if asked["decision"] == "none":
        if asked["model_version"]:
            champion.require_fit_for(warehouse(), job, asked["model_version"], as_of())
        return asked["model_version"]

    model = model_of(job)
    version = decided(model) or move(model)
    champion.sync_alias(warehouse(), model)
    return version


def model_of(job: str) -> str:
    """Return what ops.promotion calls the model that this run's decision is about.

    That is the job, or job.arm for a DAG with a parameter ``arm``: its job has a model for each.
    """
    return f"{job}.{params()['arm']}" if "arm" in params() else job


def decided(job: str) -> str | None:
    """Return the version that this run made live already, if it did."""
    from sqlalchemy import text

    found = text("select to_version from ops.promotion where job = :job and actor = :actor")
    with warehouse().connect() as connection:
        return connection.execute(found, {"job": job, "actor": actor()}).scalars().first()


def move(job: str) -> str:
    """Promote or roll back as this run's parameters say, and return the version now live.

    Raises:
        DecisionNotAllowed: if a promotion names no version.
    """
    from jobs import champion

    asked, day = params(), as_of()
    if asked["decision"] == "rollback":
        return champion.rollback(warehouse(), job, day, actor(), asked["reason"]).to_version
    if not (version := asked["model_version"]):
        raise champion.DecisionNotAllowed(
            f"{job} {day}: promote which version? set the parameter model_version"
        )
    return champion.promote(warehouse(), job, version, day, actor(), asked["reason"]).to_version


def actor() -> str:
    """Return who decides: the person who triggered this run, and the run."""
    run = get_current_context()["dag_run"]
    return f"{run.triggering_user_name or 'somebody'} by {run.run_id}"


@task
def shards() -> list[int]:
    """Return the numbers of the parts to score in parallel."""
    return list(range(params()["shards"]))


@task
def affected_days(job: str) -> list[str]:
    """Return the published days that this run's decision concerns; none on an ordinary night."""
    if params()["decision"] == "none":
        return []

    from jobs import champion

    with warehouse().connect() as connection:
        return [str(day) for day in champion.affected_days(connection, model_of(job), as_of())]
