"""What the morning page knows: how Airflow's runs went, what the warehouse says it serves."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow.exceptions import AirflowNotFoundException
from airflow.models import DagModel, DagRun, TaskInstance
from airflow.models.dagwarning import DagWarning
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

Row = dict[str, Any]
PATIENCE = "set local statement_timeout = '5s'"
# What is told of a run that went wrong or is not over; the first state found is the one told.
TELLING = {
    "failed": "in",
    "up_for_retry": "will retry",
    "running": "at",
    "up_for_reschedule": "waits in",
    "queued": "before",
}


@dataclass
class Night:
    """Everything on the page; lists of rows as the queries name them.

    Attributes:
        now: when the page was made, UTC.
        jobs: one row per DAG: dag_id, is_paused, and of its newest day run_id, as_of, state,
            started, ended, doing.
        import_errors: DAG files that fail to parse: filename, error, timestamp.
        warnings: what Airflow warns of: dag_id, message.
        warehouse_error: why the warehouse could not be asked, empty where it could.
        incidents: open ones.
        tables: result tables and what they serve.
        quality: models and baselines behind the newest day of each.
        loads: newest day of each raw table.
        stale: result tables with days whose inputs changed since.
    """

    now: datetime
    jobs: list[Row] = field(default_factory=list)
    import_errors: list[Row] = field(default_factory=list)
    warnings: list[Row] = field(default_factory=list)
    warehouse_error: str = ""
    incidents: list[Row] = field(default_factory=list)
    tables: list[Row] = field(default_factory=list)
    quality: list[Row] = field(default_factory=list)
    loads: list[Row] = field(default_factory=list)
    stale: list[Row] = field(default_factory=list)


def tonight() -> Night:
    """Return the night as it stands; a warehouse that is down leaves its part empty, with why."""
    from jobs.incidents import first_lines, without_secrets

    night = Night(datetime.now(UTC))
    with create_session() as session:
        night.jobs = newest_runs(session)
        night.import_errors = import_errors(session)
        night.warnings = [
            {"dag_id": warning.dag_id, "message": warning.message}
            for warning in session.scalars(select(DagWarning).order_by(DagWarning.dag_id))
        ]
    try:
        ask_warehouse(night)
    except (SQLAlchemyError, AirflowNotFoundException) as error:
        why = str(error.__cause__ or error)
        night.warehouse_error = first_lines(without_secrets(why), lines=3)
    return night


def ask_warehouse(night: Night) -> None:
    """Fill in what the warehouse knows, in one short read-only transaction."""
    from jobs import warehouse
    from plugins import run

    def rows(name: str) -> list[Row]:
        return warehouse.rows(connection, warehouse.sql_file(f"morning_page/{name}.sql"))

    with run.warehouse().connect() as connection:
        connection.execute(text("set transaction read only"))
        connection.execute(text(PATIENCE))
        night.incidents = rows("incidents")
        night.tables = rows("status")
        night.quality = rows("quality")
        night.loads = rows("loads")
        night.stale = rows("stale_days")


def newest_runs(session: Session) -> list[Row]:
    """Return one row per DAG, with the run of its newest day if it has one."""
    newest = (
        select(DagRun.dag_id, func.max(DagRun.logical_date).label("logical_date"))
        .group_by(DagRun.dag_id)
        .subquery()
    )
    runs = {
        run.dag_id: run
        for run in session.scalars(
            select(DagRun).join(
                newest,
                (DagRun.dag_id == newest.c.dag_id) & (DagRun.logical_date == newest.c.logical_date),
            )
        )
    }
    dags = session.execute(
        select(DagModel.dag_id, DagModel.is_paused)
        .where(~DagModel.is_stale)
        .order_by(DagModel.dag_id)
    )
    return [job_row(session, dag_id, paused, runs.get(dag_id)) for dag_id, paused in dags]


def job_row(session: Session, dag_id: str, is_paused: bool, run: DagRun | None) -> Row:
    """Return what the page says about one DAG."""
    row: Row = {"dag_id": dag_id, "is_paused": is_paused, "run_id": None, "as_of": None}
    if run is None:
        return row | {"state": "never ran", "started": None, "ended": None, "doing": ""}
    return row | {
        "run_id": run.run_id,
        "as_of": run.logical_date.date(),
        "state": str(run.state),
        "started": run.start_date,
        "ended": run.end_date,
        "doing": doing(session, run),
    }


def doing(session: Session, run: DagRun) -> str:
    """Return which tasks a run failed in or is at, in words; empty where all is done."""
    found = session.execute(
        select(TaskInstance.state, TaskInstance.task_id)
        .where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.state.in_(TELLING),
        )
        .order_by(TaskInstance.task_id)
        .distinct()
    ).all()
    for state, words in TELLING.items():
        if tasks := [task for said, task in found if said == state]:
            return f"{words} {', '.join(tasks)}"
    return ""


def import_errors(session: Session) -> list[Row]:
    """Return the DAG files that fail to parse, each with the last line of its error."""
    from jobs.incidents import without_secrets

    found = session.scalars(select(ParseImportError).order_by(ParseImportError.filename))
    return [
        {
            "filename": error.filename,
            "error": without_secrets((error.stacktrace or "").strip().rpartition("\n")[2]),
            "timestamp": error.timestamp,
        }
        for error in found
    ]
