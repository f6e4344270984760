"""What on-call receives: a failed task becomes an incident, a message and, if asked, a POST."""

import http.client
import json
import logging
import os
import re
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import Asset, Connection
from airflow.sdk.module_loading import import_string

if TYPE_CHECKING:
    from jobs.incidents import Incident

log = logging.getLogger(__name__)

WEBHOOK_SECONDS = 10
Notifier = Callable[["Incident", str], None]


def alert(context: Mapping[str, Any]) -> None:
    """Store the incident of a task that failed for good, then tell on-call."""
    from sqlalchemy.exc import SQLAlchemyError

    from jobs import incidents
    from jobs.warehouse import engine

    failed = failure(context)
    try:
        incident = incidents.open_incident(engine(Connection.get("warehouse").get_uri()), failed)
    except SQLAlchemyError as error:
        incident = incidents.undescribed(failed, error)
    advice = if_it_fails(context["dag"].doc_md or "")
    tell_log(incident, advice)
    if (tell := notifier()) is not tell_log:
        tell(incident, advice)


def mended(context: Mapping[str, Any]) -> None:
    """Close the open incident of a task that succeeded."""
    from jobs import incidents
    from jobs.warehouse import engine

    closed = incidents.resolve(
        engine(Connection.get("warehouse").get_uri()),
        context["dag"].dag_id,
        day_of(context),
        task_name(context),
    )
    if closed:
        log.info("closed %d incident(s): this task succeeded", closed)


def failure(context: Mapping[str, Any]) -> Any:
    """Return what Airflow knows of a failed task, as a `jobs.incidents.Failure`."""
    from jobs.incidents import Failure

    instance, operator = context["ti"], context["ti"].task
    error = context.get("exception")
    said = f"{type(error).__name__}: {error}" if error else "the task's process died; see its log"
    later = sorted(operator.get_flat_relatives(upstream=False), key=lambda one: one.task_id)
    return Failure(
        dag_id=context["dag"].dag_id,
        task_id=task_name(context),
        as_of=day_of(context),
        error=said,
        makes=names([one for step in (operator, *later) for one in step.outlets]),
        needs=names(operator.inlets),
        airflow_run_id=instance.run_id,
        log_url=instance.log_url,
    )


def names(assets: list[Any]) -> list[str]:
    """Return the names of the assets among a task's inlets or outlets, each once."""
    return list(dict.fromkeys(one.name for one in assets if isinstance(one, Asset)))


def task_name(context: Mapping[str, Any]) -> str:
    """Return the task's id, with its index where it is one of a mapped task."""
    instance = context["ti"]
    index = instance.map_index
    return instance.task_id if index is None or index < 0 else f"{instance.task_id}[{index}]"


def day_of(context: Mapping[str, Any]) -> date | None:
    """Return the run's as_of, None where it was started without one."""
    run = context.get("dag_run")
    return run.logical_date.date() if run and run.logical_date else None


def if_it_fails(docs: str) -> str:
    """Return the "If it fails" paragraph of a DAG's docs on one line; empty where it has none."""
    found = re.search(r"(?is)\bif it fails\b.*?(?=\n\s*\n|\Z)", docs)
    return " ".join(found.group().split()) if found else ""


def notifier() -> Notifier:
    """Return how on-call is told.

    NIGHTSHIFT_NOTIFIER names a function (``package.module.function``) that takes the incident and
    the advice; else NIGHTSHIFT_WEBHOOK_URL gets a POST; else the task's log has to do.
    """
    if path := os.environ.get("NIGHTSHIFT_NOTIFIER"):
        return import_string(path)
    return tell_webhook if os.environ.get("NIGHTSHIFT_WEBHOOK_URL") else tell_log


def tell_log(incident: "Incident", advice: str) -> None:
    """Write the incident into the task's log."""
    from jobs.incidents import message

    log.error("incident\n%s", message(incident, advice))


def tell_webhook(incident: "Incident", advice: str) -> None:
    """POST the incident as JSON, ``text`` being the whole message (chat services show that).

    A webhook that fails is logged by host alone, since its path often is a secret; the incident
    is stored by then.
    """
    from jobs.incidents import message

    url = os.environ["NIGHTSHIFT_WEBHOOK_URL"]
    body = {"text": message(incident, advice), "advice": advice, **asdict(incident)}
    request = urllib.request.Request(
        url, json.dumps(body, default=str).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS) as answer:
            answer.read(1000)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "code", None) or type(error).__name__
        log.warning("webhook at %s did not take the incident: %s", urlsplit(url).hostname, why)
