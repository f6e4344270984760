"""Incidents: what broke, what still serves, what depends on it, what to type."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from jobs import warehouse
from jobs.extract.tables import OPTIONAL

ERROR_LINES = 12
ERROR_CHARACTERS = 2000
HIDDEN = "***"
SECRET_NAME = re.compile(r"(PASSWORD|SECRET|TOKEN|_KEY|WEBHOOK_URL)$")
SHORTEST_SECRET = 8
# What stands before the @ of an address, and what follows password= in a libpq string.
IN_ADDRESS = re.compile(r"(?<=://)([^\s:/@]*):([^\s@]*)(?=@)")
IN_SETTING = re.compile(r"(?i)\b((?:password|passwd|secret|token)\s*[=:]\s*)('[^']*'|[^\s,;&]+)")

# Errors about what the run was asked for.
REFUSED = {"UnknownVersion", "VersionNotAllowed", "DecisionNotAllowed", "NothingToRollBackTo"}


@dataclass(frozen=True)
class Failure:
    """What whoever saw a task fail knows about it.

    Attributes:
        dag_id: DAG.
        task_id: task; one of a mapped task carries its index, ``score[3]``.
        as_of: day of the run; None where a manual run has none.
        error: the error in words, secrets and all.
        makes: tables, with schema, that this task or one after it would have written.
        needs: tables, with schema, that the task reads.
        airflow_run_id: Airflow run.
        log_url: the task's log.
        conf: parameters that the run was given.
    """

    dag_id: str
    task_id: str
    as_of: date | None
    error: str
    makes: Sequence[str] = ()
    needs: Sequence[str] = ()
    airflow_run_id: str | None = None
    log_url: str | None = None
    conf: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Incident:
    """A row of ops.incident, less its times."""

    dag_id: str
    task_id: str
    as_of: date | None
    airflow_run_id: str | None
    error: str
    log_url: str | None
    still_serves: str
    depends: str
    rerun_command: str


def open_incident(engine: Engine, failure: Failure) -> Incident:
    """Store ``failure`` as the open incident of its task and day, and return it."""
    incident = described(engine, failure)
    store(engine, incident)
    return incident


def described(engine: Engine, failure: Failure) -> Incident:
    """Return the incident of ``failure``, with what readers see if the warehouse tells."""
    try:
        with engine.connect() as connection:
            return describe(connection, failure)
    except SQLAlchemyError as error:
        return undescribed(failure, error)


def store(engine: Engine, incident: Incident) -> None:
    """Write an incident into ops.incident.

    One open row per DAG, task and day: failing again brings it up to date.
    """
    values = asdict(incident)
    with engine.begin() as connection:
        connection.execute(
            text("select pg_advisory_xact_lock(hashtextextended(:one, 0))"),
            {"one": f"incident {incident.dag_id} {incident.task_id} {incident.as_of}"},
        )
        if not warehouse.execute(connection, "incidents/update_open.sql", **values):
            warehouse.execute(connection, "incidents/insert.sql", **values)


def resolve(engine: Engine, dag_id: str, as_of: date | None, task_id: str | None = None) -> int:
    """Close the open incidents of one task, or of a DAG's whole day; return how many."""
    with engine.begin() as connection:
        return warehouse.execute(
            connection, "incidents/resolve.sql", dag_id=dag_id, as_of=as_of, task_id=task_id
        )


def open_logs(engine: Engine, dag_id: str, as_of: date | None) -> dict[str, str | None]:
    """Return the tasks of a DAG's day that have an open incident, with its log's address."""
    statement = warehouse.sql_file("incidents/open_logs.sql")
    with engine.connect() as connection:
        found = warehouse.rows(connection, statement, dag_id=dag_id, as_of=as_of)
    return {row["task_id"]: row["log_url"] for row in found}


def describe(connection: Connection, failure: Failure) -> Incident:
    """Return the incident of ``failure``: it looks up what readers see meanwhile."""
    served = warehouse.rows(
        connection,
        warehouse.sql_file("incidents/serving.sql"),
        tables=list(failure.makes),
        as_of=failure.as_of,
    )
    loaded = warehouse.rows(
        connection,
        warehouse.sql_file("incidents/newest_days.sql"),
        tables=raw_names(failure.makes),
    )
    error = first_lines(without_secrets(failure.error))
    if failure.as_of is not None:
        missing = missing_days(connection, failure.as_of, raw_names(failure.needs))
        error = "\n".join([error, *missing])
    return Incident(
        dag_id=failure.dag_id,
        task_id=failure.task_id,
        as_of=failure.as_of,
        airflow_run_id=failure.airflow_run_id,
        error=error,
        log_url=failure.log_url,
        still_serves="\n".join([*map(loaded_line, loaded), *map(serving_line, served)])
        or "every published table, as before: this task publishes nothing",
        depends=depends_line(failure, served),
        rerun_command=rerun_command(failure),
    )


def undescribed(failure: Failure, reason: SQLAlchemyError) -> Incident:
    """Return the incident of ``failure`` when the warehouse can't be asked."""
    return Incident(
        dag_id=failure.dag_id,
        task_id=failure.task_id,
        as_of=failure.as_of,
        airflow_run_id=failure.airflow_run_id,
        error=first_lines(without_secrets(failure.error)),
        log_url=failure.log_url,
        still_serves=f"unknown: the warehouse says: {said_by(reason)}",
        depends=depends_line(failure, None),
        rerun_command=rerun_command(failure),
    )


def said_by(error: SQLAlchemyError) -> str:
    """Return the first line of what the database said, without secrets or the statement."""
    return first_lines(without_secrets(str(error.__cause__ or error)), lines=1)


class NotLoaded(LookupError):
    """A day that a run needs is not loaded."""


def require_loaded(engine: Engine, job: str, as_of: date) -> None:
    """Refuse a run whose inputs lack the day before ``as_of``; in Airflow a sensor waits for it.

    Raises:
        NotLoaded: naming the tables.
    """
    with engine.connect() as connection:
        inputs = connection.execute(
            text("select distinct unnest(inputs) from ops.result_table where job = :job"),
            {"job": job},
        )
        missing = missing_days(connection, as_of, sorted(inputs.scalars()))
    if missing:
        raise NotLoaded(f"{job} {as_of}: {'; '.join(missing)}")


def missing_days(connection: Connection, as_of: date, tables: Sequence[str]) -> list[str]:
    """Return one sentence per table (under raw) whose day before ``as_of`` is not loaded."""
    missing = warehouse.rows(
        connection,
        warehouse.sql_file("incidents/days_missing.sql"),
        tables=list(tables),
        optional=list(OPTIONAL),
        as_of=as_of,
    )
    return [
        f"raw.{row['table_name']} {row['event_day']}: not loaded for as_of {as_of} "
        f"(newest day: {row['newest_day'] or 'none'}); run its extraction for {as_of}"
        for row in missing
    ]


def loaded_line(row: dict[str, Any]) -> str:
    """Return how far a raw table is loaded, in words."""
    if row["newest_day"] is None:
        return f"raw.{row['table_name']} has no day yet"
    return f"raw.{row['table_name']} is complete up to {row['newest_day']}"


def serving_line(row: dict[str, Any]) -> str:
    """Return what a result table's readers see now, in words."""
    if row["newest_as_of"] is None:
        return f"{row['table_name']} was never published: its readers see no rows"
    serves = (
        f"{row['table_name']} serves {row['newest_as_of']} "
        f"({row['rows']:,} rows, {row['model_version']})"
    )
    return f"{serves}; this day itself is published" if row["day_published"] else serves


def depends_line(failure: Failure, served: Sequence[dict[str, Any]] | None) -> str:
    """Return who waits for the failed task, in words; ``served`` is None where it is unknown."""
    if served is None:
        return f"unknown; it makes {', '.join(failure.makes) or 'nothing'}"
    day = str(failure.as_of or "new day")
    jobs = sorted({row["job"] for row in served if not row["made_here"]})
    lines = [f"{job} of {day} waits for it" for job in jobs]
    for row in served:
        if row["made_here"]:
            view = row["table_name"].replace("result.", "bi.", 1)
            lines.append(
                f"readers of {view} go on seeing {day} as it was published before"
                if row["day_published"]
                else f"readers of {view} see no {day} until it is mended"
            )
    return "\n".join(lines) or "nothing that is published"


def rerun_command(failure: Failure) -> str:
    """Return what on-call types: all that failed of that day again, or the same without Airflow.

    A run whose parameters were refused is run without them. One that was to promote or roll back
    has no second way: by hand, only the scores would be made.

    Not by task: Airflow 3.3 takes ``--task-regex`` for a part of the name, so that ``score`` would
    clear ``rescore`` too.
    """
    dag_id, as_of = failure.dag_id, failure.as_of
    if as_of is None:
        return f"airflow dags trigger {dag_id} --logical-date YYYY-MM-DD"
    if failure.conf and failure.error.partition(":")[0] in REFUSED:
        # Cleared, the run would ask for the same again.
        return (
            f"airflow backfill create --dag-id {dag_id} --from-date {as_of} --to-date {as_of} "
            "--reprocess-behavior failed --dag-run-conf '{}'"
        )
    day = f"--start-date {as_of} --end-date {as_of}"
    lines = [f"airflow tasks clear {dag_id} --only-failed {day} --yes"]
    if tables := raw_names(failure.makes):
        named = " ".join(f"--table {table}" for table in tables)
        lines.append(f"python -m jobs extract --as-of {as_of} {named}")
    elif failure.makes and failure.conf.get("decision", "none") == "none":
        asked = "".join(map(option, failure.conf.items()))
        lines.append(f"python -m jobs run {dag_id} --as-of {as_of}{asked}")
    return "\n".join(lines)


def option(parameter: tuple[str, Any]) -> str:
    """Return a run's parameter as an option of ``python -m jobs run``; empty where it has none."""
    name, value = parameter
    if name not in ("retrain", "model_version", "shards") or not value:
        return ""
    flag = f" --{name.replace('_', '-')}"
    return flag if value is True else f"{flag} {shlex.quote(str(value))}"


def message(incident: Incident, advice: str = "") -> str:
    """Return the incident as the text that on-call receives.

    Args:
        incident: what happened.
        advice: the "If it fails" line of the DAG's docs.
    """
    day = incident.as_of or "a run without a day"
    lines = [
        f"{incident.dag_id}.{incident.task_id} failed for {day}",
        f"error: {incident.error}",
        f"still serves: {incident.still_serves}",
        f"depends on it: {incident.depends}",
        f"rerun: {incident.rerun_command}",
        f"log: {incident.log_url or 'none'}",
        *([advice] if advice else []),
    ]
    return "\n".join(line.replace("\n", "\n  ") for line in lines)


def raw_names(tables: Sequence[str]) -> list[str]:
    """Return the names under raw of those ``tables`` that are there."""
    return [table.removeprefix("raw.") for table in tables if table.startswith("raw.")]


def first_lines(words: str, lines: int = ERROR_LINES) -> str:
    """Return the first lines of an error, at most ERROR_CHARACTERS of them."""
    kept = "\n".join(words.strip().splitlines()[:lines])
    return kept if len(kept) <= ERROR_CHARACTERS else kept[:ERROR_CHARACTERS] + " ..."


def without_secrets(words: str) -> str:
    """Return ``words`` with passwords, tokens and this environment's own secrets hidden."""
    for secret in secrets():
        words = words.replace(secret, HIDDEN)
    words = IN_ADDRESS.sub(rf"\1:{HIDDEN}", words)
    return IN_SETTING.sub(rf"\1{HIDDEN}", words)


def secrets() -> list[str]:
    """Return the secrets that this process's environment holds, longest first."""
    found = set()
    for name, value in os.environ.items():
        if SECRET_NAME.search(name):
            found.add(value)
        for _, password in IN_ADDRESS.findall(value):
            found |= {password, unquote(password)}
    return sorted((one for one in found if len(one) >= SHORTEST_SECRET), key=len, reverse=True)
