"""Airflow's REST API, the few calls that the demo needs."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

from jobs.local.state import LocalError

# When a run that is held would start by itself.
NEVER = datetime(9000, 1, 1, tzinfo=UTC)
# A machine's own address never goes through a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiError(LocalError):
    """Airflow refused a call; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass
class Airflow:
    """One Airflow and who we are there."""

    url: str
    user: str
    password: str
    token: str = field(default="", repr=False)


def call(airflow: Airflow, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Return the answer to one call of the API, logging in first where needed.

    Raises:
        ApiError: if Airflow answers with an error.
    """
    if not airflow.token and not path.startswith("/auth"):
        login = {"username": airflow.user, "password": airflow.password}
        airflow.token = call(airflow, "POST", "/auth/token", login)["access_token"]
    request = urllib.request.Request(airflow.url + path, method=method)
    request.add_header("Accept", "application/json")
    if airflow.token:
        request.add_header("Authorization", f"Bearer {airflow.token}")
    data = None
    if body is not None:
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode()
    try:
        with OPENER.open(request, data, timeout=60) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode(errors="replace")[:500]
        raise ApiError(error.code, f"Airflow {method} {path}: {error.code} {said}") from error
    return json.loads(text) if text else {}


def ensure_pool(airflow: Airflow, name: str, slots: int, description: str) -> None:
    """Make the pool, or bring it to these slots."""
    pool = {"name": name, "slots": slots, "description": description, "include_deferred": False}
    try:
        call(airflow, "POST", "/api/v2/pools", pool)
    except ApiError as error:
        if error.status != 409:
            raise
        path = f"/api/v2/pools/{quote(name)}?update_mask=slots&update_mask=description"
        call(airflow, "PATCH", path, pool)


def wait_for_dags(airflow: Airflow, dags: list[str], patience_seconds: float = 120) -> None:
    """Return when Airflow knows these DAGs.

    Raises:
        LocalError: with the import errors, if it doesn't in time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        known = call(airflow, "GET", "/api/v2/dags?limit=100")["dags"]
        ready = {dag["dag_id"] for dag in known if not dag["is_stale"]}
        missing = sorted(set(dags) - ready)
        if not missing:
            return
        if time.monotonic() > deadline:
            errors = call(airflow, "GET", "/api/v2/importErrors")["import_errors"]
            told = "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in errors)
            raise LocalError(
                f"Airflow did not load {', '.join(missing)} in {patience_seconds:.0f} s; "
                f"import errors: {told or 'none (see log/dag-processor.log in the state folder)'}"
            )
        time.sleep(1)


def unpause(airflow: Airflow, dag: str) -> None:
    """Let the scheduler run this DAG."""
    call(airflow, "PATCH", f"/api/v2/dags/{dag}?update_mask=is_paused", {"is_paused": False})


def hold_run(airflow: Airflow, dag: str, as_of: date, why: str) -> None:
    """Make sure that the DAG has a run for ``as_of``; one made here waits until `ensure_run`.

    The scheduler makes no second run of a day. So a DAG can be unpaused, which would start today's
    run at once, while earlier days are still to be run.
    """
    if not find_run(airflow, dag, as_of):
        make_run(airflow, dag, as_of, {"note": why, "run_after": NEVER.isoformat()})


def ensure_run(airflow: Airflow, dag: str, as_of: date) -> str:
    """Make sure that the DAG has a run for ``as_of`` that is done or on its way.

    A run that exists is kept; if it failed, its failed tasks are cleared to run again.

    Returns:
        The run's id.
    """
    found = find_run(airflow, dag, as_of)
    if found and found["state"] == "queued" and found["run_after"] >= f"{NEVER.year}":
        # Airflow can't change when a run starts.
        call(airflow, "DELETE", run_path(dag, found["dag_run_id"]))
        found = None
    if not found:
        # Where the scheduler made it in the meantime, that one will do.
        found = make_run(airflow, dag, as_of, {"note": "make demo"}) or find_run(
            airflow, dag, as_of
        )
    assert found is not None
    run_id: str = found["dag_run_id"]
    if found["state"] == "failed":
        clear = {"dry_run": False, "only_failed": True}
        call(airflow, "POST", f"{run_path(dag, run_id)}/clear", clear)
    return run_id


def find_run(airflow: Airflow, dag: str, as_of: date) -> dict[str, Any] | None:
    """Return the DAG's run for ``as_of`` as the API tells it, if there is one."""
    logical_date = f"{as_of}T00:00:00Z"
    window = f"?logical_date_gte={logical_date}&logical_date_lte={logical_date}"
    found: list[dict[str, Any]] = call(airflow, "GET", runs_path(dag) + window)["dag_runs"]
    return found[0] if found else None


def make_run(
    airflow: Airflow, dag: str, as_of: date, about: dict[str, object]
) -> dict[str, Any] | None:
    """Make the DAG's run for ``as_of`` and return it; None if there was one already."""
    new = {"logical_date": f"{as_of}T00:00:00Z", **about}
    try:
        return call(airflow, "POST", runs_path(dag), new)
    except ApiError as error:
        if error.status != 409:
            raise
        return None


def runs_path(dag: str) -> str:
    """Return the address of the DAG's runs."""
    return f"/api/v2/dags/{dag}/dagRuns"


def run_path(dag: str, run_id: str) -> str:
    """Return the address of one run."""
    return f"{runs_path(dag)}/{quote(run_id, safe='')}"


def run_state(airflow: Airflow, dag: str, run_id: str) -> str:
    """Return the run's state: queued, running, success or failed."""
    state: str = call(airflow, "GET", run_path(dag, run_id))["state"]
    return state


def tasks(airflow: Airflow, dag: str, run_id: str) -> list[dict[str, Any]]:
    """Return the run's task instances, as the API tells them."""
    path = f"{run_path(dag, run_id)}/taskInstances?limit=200"
    found: list[dict[str, Any]] = call(airflow, "GET", path)["task_instances"]
    return found


def log_tail(airflow: Airflow, task: dict[str, Any], lines: int = 30) -> str:
    """Return the last lines of a task's newest log."""
    path = run_path(task["dag_id"], task["dag_run_id"])
    path += f"/taskInstances/{quote(task['task_id'], safe='')}/logs/{max(1, task['try_number'])}"
    path += f"?map_index={task['map_index']}&full_content=true"
    try:
        content = call(airflow, "GET", path)["content"]
    except ApiError as error:
        return f"(no log: {error})"
    told = []
    for entry in content:
        if not isinstance(entry, dict):
            told.append(str(entry))
            continue
        told.append(str(entry.get("event", "")))
        for problem in entry.get("error_detail") or []:
            frames = problem.get("frames") or []
            # Airflow's own frames stand between the reader and ours.
            ours = [frame for frame in frames if "site-packages/airflow" not in frame["filename"]]
            told += [f"  {f['filename']}:{f['lineno']} in {f['name']}" for f in ours]
            told.append(f"{problem.get('exc_type')}: {problem.get('exc_value')}")
    kept = [line for line in "\n".join(told).splitlines() if not line.startswith("::")]
    return "\n".join(kept[-lines:])
