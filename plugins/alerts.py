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

from airflow.sdk import Asset
from airflow.sdk.module_loading import import_string

from plugins.connections import connected

if TYPE_CHECKING:
    from jobs.incidents import Failure, Incident

log = logging.getLogger(__name__)

WEBHOOK_SECONDS = 10
DIED = (
    "no error was recorded: the task's process was killed (by somebody, or for lack of memory), or "
    "could not reach us; its log says which"
)
Notifier = Callable[["Incident", str], None]


def alert(context: Mapping[str, Any]) -> None:
    """Open the incident of a task that failed for good, and tell on-call."""
    error = context.get("exception")
    said = f"{type(error).__name__}: {error}" if error else DIED
    open_and_tell(failure(context, task_name(context), context["ti"].log_url, said), context)


def mended(context: Mapping[str, Any]) -> None:
    """Close the open incident of a task that succeeded."""
    close(context, task_name(context))


def run_failed(context: Mapping[str, Any]) -> None:
    """Open the incidents of a failed run's tasks that could not call `alert` themselves.

    Airflow calls no task's callback when the task's process was killed (out of memory, kill -9).
    """
    from jobs import incidents

    if (last := context.get("ti")) is None:
        log.error("run %s failed, and Airflow doesn't say in which task", context["run_id"])
        return
    dag_id, run_id = context["dag"].dag_id, last.run_id
    states = last.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
    known = incidents.open_logs(connected("warehouse"), dag_id, day_of(context))
    for key in sorted(key for key, state in states.items() if state == "failed"):
        name = name_of(key, context["dag"].task_dict)
        is_last = name == task_name(context)
        log_url = last.log_url if is_last else log_of(last.log_url, name)
        if name not in known or (is_last and known[name] != log_url):
            open_and_tell(failure(context, name, log_url, DIED), context)


def run_succeeded(context: Mapping[str, Any]) -> None:
    """Close every open incident of a day whose run succeeded, those of shards of old included."""
    close(context, None)


def open_and_tell(failed: "Failure", context: Mapping[str, Any]) -> None:
    """Store the incident, then tell on-call; a warehouse that is down keeps no one from knowing."""
    from sqlalchemy.exc import SQLAlchemyError

    from jobs import incidents

    engine = connected("warehouse")
    incident = incidents.described(engine, failed)
    advice = if_it_fails(context["dag"].doc_md or "")
    try:
        incidents.store(engine, incident)
    except SQLAlchemyError as error:
        advice = f"{advice} This incident is not stored: {incidents.said_by(error)}".strip()
    tell_log(incident, advice)
    if (tell := notifier()) is not tell_log:
        tell(incident, advice)


def close(context: Mapping[str, Any], task: str | None) -> None:
    """Close the open incidents of one task, or of all the run's day."""
    from jobs import incidents

    closed = incidents.resolve(connected("warehouse"), context["dag"].dag_id, day_of(context), task)
    if closed:
        log.info("closed %d incident(s)", closed)


def failure(context: Mapping[str, Any], name: str, log_url: str, error: str) -> "Failure":
    """Return what Airflow knows of one failed task of the context's run."""
    from jobs.incidents import Failure

    operator = context["dag"].get_task(name.partition("[")[0])
    later = sorted(operator.get_flat_relatives(upstream=False), key=lambda one: one.task_id)
    return Failure(
        dag_id=context["dag"].dag_id,
        task_id=name,
        as_of=day_of(context),
        error=error,
        makes=names([one for step in (operator, *later) for one in step.outlets]),
        needs=names(operator.inlets),
        airflow_run_id=context["ti"].run_id,
        log_url=log_url,
        conf=conf_of(context),
    )


def names(assets: list[Any]) -> list[str]:
    """Return the names of the assets among a task's inlets or outlets, each once."""
    return list(dict.fromkeys(one.name for one in assets if isinstance(one, Asset)))


def task_name(context: Mapping[str, Any]) -> str:
    """Return the task's id, with its index where it is one of a mapped task."""
    instance = context["ti"]
    index = instance.map_index
    return instance.task_id if index is None or index < 0 else f"{instance.task_id}[{index}]"


def name_of(key: str, tasks: Mapping[str, Any]) -> str:
    """Return the name of the task that Airflow's list of states calls ``score_3``: score[3]."""
    if key in tasks:
        return key
    task, _, index = key.rpartition("_")
    return f"{task}[{index}]"


def log_of(other: str, name: str) -> str:
    """Return the log of task ``name``, given that of another task of its run."""
    task, _, index = name.rstrip("]").partition("[")
    mapped = f"/mapped/{index}" if index else ""
    return f"{other.partition('/tasks/')[0]}/tasks/{task}{mapped}"


def day_of(context: Mapping[str, Any]) -> date | None:
    """Return the run's as_of, None where it was started without one."""
    run = context.get("dag_run")
    return run.logical_date.date() if run and run.logical_date else None


def conf_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that the run was given."""
    run = context.get("dag_run")
    return (run.conf if run else None) or {}


def if_it_fails(docs: str) -> str:
    """Return the "If it fails" paragraph of a DAG's docs on one line; empty where it has none."""
    found = re.search(r"(?is)\bif it fails\b.*?(?=\n\s*\n|\Z)", docs)
    return " ".join(found.group().replace("**", "").split()) if found else ""


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
    sent = json.dumps(body, default=str).encode()
    try:
        # Made in here: the error about a bad address quotes it.
        request = urllib.request.Request(url, sent, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS) as answer:
            answer.read(1000)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "code", None) or type(error).__name__
        log.warning("webhook at %s did not take the incident: %s", urlsplit(url).hostname, why)
