"""Airflow's four processes, MLflow and the pages: started, watched until healthy, stopped."""

import hashlib
import http.client
import importlib.metadata
import json
import os
import secrets
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from jobs.local import processes
from jobs.local.airflow_api import Airflow
from jobs.local.databases import Server
from jobs.local.progress import Report
from jobs.local.state import LocalError, secret, secret_file, write_private
from jobs.settings import ROOT, setting

HEALTHY_SECONDS = 600
# A service that ended so often while we wait will not come up.
RESTARTS = 3
IMAGE_WEIGHTS = "NIGHTSHIFT_IMAGE_WEIGHTS"
IMAGE_ROOTS = "NIGHTSHIFT_IMAGE_ROOTS"
# what -> (the setting that changes it, default)
PORTS = {
    "airflow": ("NIGHTSHIFT_AIRFLOW_PORT", 8080),
    "mlflow": ("NIGHTSHIFT_MLFLOW_PORT", 5001),
    "pages": ("NIGHTSHIFT_PAGES_PORT", 8090),
}
AIRFLOW_PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
# Libraries that talk too much, or phone home.
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
}


@dataclass(frozen=True)
class Service:
    """One process group: what it runs and how it is told healthy."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    # In PORTS; None where it listens nowhere.
    port: str | None = None
    forever: bool = False


@dataclass(frozen=True)
class Launched:
    """The services, the names of those that were started, and when."""

    wanted: list[Service]
    new: set[str]
    begun: datetime


def image_roots() -> list[str]:
    """Return the folders that this call is given beside the platform's own.

    Not those of the env file: a state folder that was moved would go on naming its old place.
    """
    return [each for each in os.environ.get(IMAGE_ROOTS, "").split(":") if each]


def port(what: str) -> int:
    """Return the port of airflow, mlflow or pages."""
    name, default = PORTS[what]
    return int(setting(name, str(default)))


def address(what: str) -> str:
    """Return the address of airflow, mlflow or pages on this machine."""
    return f"http://127.0.0.1:{port(what)}"


def platform_settings(server: Server) -> dict[str, str]:
    """Return what jobs, Airflow and a person's shell need in their environment."""
    state = server.state
    airflow_url = server.url("airflow", "airflow").replace("postgresql:", "postgresql+psycopg:")
    passwords = secret_file(state, "airflow_logins.json")
    write_private(passwords, json.dumps({"admin": secret(state, "airflow_admin")}))
    cores = os.cpu_count() or 2
    return {
        "NIGHTSHIFT_STATE": str(state),
        "NIGHTSHIFT_PAGES": str(state / "pages"),
        # Folders in which the uri of a picture is looked up, between colons; the simulated feed
        # draws below the first.
        IMAGE_ROOTS: ":".join(dict.fromkeys([str(state / "pictures"), *image_roots()])),
        # Nothing is downloaded unasked; pretrained weights are a setting away.
        IMAGE_WEIGHTS: setting(IMAGE_WEIGHTS, "random"),
        **{name: str(port(what)) for what, (name, _) in PORTS.items()},
        "MLFLOW_TRACKING_URI": address("mlflow"),
        "PYTHONPATH": str(ROOT),
        **QUIET,
        "AIRFLOW_HOME": str(state / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # One more than the cores: a waiting sensor's look must not hold up the work.
        "AIRFLOW__CORE__PARALLELISM": str(min(8, cores + 1)),
        "AIRFLOW__CORE__FERNET_KEY": secret(state, "airflow_fernet", fernet_key),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": address("airflow") + "/execution/",
        # A task whose start a busy api-server took 5 s (the default) to answer would lose a try.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port("airflow")),
        "AIRFLOW__API__BASE_URL": address("airflow"),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret(state, "airflow_secret_key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(state, "airflow_jwt", long_key),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_url,
        # asyncpg, the default, knows no libpq options such as sslmode.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": airflow_url,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "3",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(state / "airflow" / "logs"),
    }


def fernet_key() -> str:
    """Return a new key for what Airflow encrypts."""
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()


def long_key() -> str:
    """Return a new key of 64 bytes."""
    return secrets.token_urlsafe(64)


def services(server: Server, settings: Mapping[str, str]) -> list[Service]:
    """Return every service of this machine, in the order in which they start."""
    state = server.state
    python = sys.executable
    mlflow = {
        **settings,
        "MLFLOW_BACKEND_STORE_URI": server.url("mlflow", "mlflow").replace(
            "postgresql:", "postgresql+psycopg:"
        ),
        # Half of the server's 924 MB goes to a job runner that we don't use.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    pages = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", str(state / "pages")]
    served = ["-m", "mlflow", "server", "--serve-artifacts", "--artifacts-destination"]
    served += [str(state / "mlflow"), "--host", "127.0.0.1", "--port", str(port("mlflow"))]
    listed = [
        Service("pages", (python, *pages, str(port("pages"))), {}, "pages"),
        Service("mlflow", (python, *served, "--workers", "1"), mlflow, "mlflow"),
    ]
    for part in AIRFLOW_PARTS:
        # Logs lie on this machine, where the api-server reads them: no log server, which would
        # listen on every interface.
        quiet = ("--skip-serve-logs",) if part in ("scheduler", "triggerer") else ()
        airflow = "jobs.local.scheduler" if part == "scheduler" else "airflow"
        command = (python, "-m", airflow, part, *quiet)
        # An error 500 from the api-server at a task's start can end the scheduler
        # (apache/airflow#64476), a restart of Postgres the triggerer; started again, each goes
        # on where it was.
        listens = "airflow" if part == "api-server" else None
        listed.append(Service(part, command, settings, listens, forever=True))
    return listed


def launch(server: Server, settings: Mapping[str, str], report: Report) -> Launched:
    """Start what does not run yet, restart what runs with other settings; `wait` for them then.

    Args:
        server: the databases.
        settings: see ``platform_settings``.
        report: told what takes long.

    Raises:
        LocalError: if a port is busy, or Airflow's database can't be prepared.
    """
    state = server.state
    for folder in ("pages", "pictures", "mlflow", "airflow"):
        (state / folder).mkdir(mode=0o700, exist_ok=True)
    wanted = services(server, settings)
    outdated = [
        service.name
        for service in wanted
        if processes.running(state, service.name)
        and processes.identity_of(state, service.name) != identity(service)
    ]
    processes.stop(state, outdated)
    missing = [service for service in wanted if not processes.running(state, service.name)]
    # Where a leader is gone, parts of its group may not be.
    processes.stop(state, [service.name for service in missing])
    if len(missing) == len(wanted):
        processes.sweep(state)
    needed = {what: (port(what), PORTS[what][0]) for s in missing if (what := s.port)}
    processes.require_ports(needed)
    begun = datetime.now(UTC)
    for service in missing:
        if service.name == AIRFLOW_PARTS[0]:
            report("preparing Airflow's database")
            migrate_airflow(server, settings)
            begun = datetime.now(UTC)
        processes.start(
            state,
            service.name,
            service.command,
            {**inherited(), **service.environment},
            forever=service.forever,
            identity=identity(service),
        )
    return Launched(wanted, {service.name for service in missing}, begun)


def inherited() -> dict[str, str]:
    """Return the caller's environment without the administrator, and with no proxy to ourselves."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, (kept.get(name), "127.0.0.1,localhost")))
    return kept


def identity(service: Service) -> str:
    """Return what tells this service from one with other settings, without telling secrets."""
    told = json.dumps([service.command, sorted(service.environment.items())])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def migrate_airflow(server: Server, settings: Mapping[str, str]) -> None:
    """Bring Airflow's database to this version of Airflow, unless it is there already.

    Raises:
        LocalError: with the end of its log, if Airflow can't.
    """
    stamp = server.state / "airflow" / "migrated"
    version = importlib.metadata.version("apache-airflow")
    if stamp.exists() and stamp.read_text() == f"{version} {airflow_revision(server)}":
        return
    log = processes.log_file(server.state, "airflow-migrate")
    with log.open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            # Marked, so that `make down` finds it after a kill of its starter.
            env={**inherited(), **settings, processes.MARK: str(server.state)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=server.state,
        )
    if done.returncode:
        raise LocalError(f"`airflow db migrate` failed; {log} ends with:\n{processes.tail(log)}")
    write_private(stamp, f"{version} {airflow_revision(server)}")


def airflow_revision(server: Server) -> str:
    """Return the schema revision of Airflow's database; empty for a new database."""
    with psycopg.connect(server.url("airflow", "airflow"), connect_timeout=10) as connection:
        try:
            row = connection.execute("select version_num from alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return ""
    return str(row[0]) if row else ""


def wait(state: Path, launched: Launched, report: Report) -> None:
    """Return when every service says that it is well.

    Of those just started the sign of life must be newer than their start.

    Args:
        state: the state folder.
        launched: the services.
        report: told which are awaited.

    Raises:
        LocalError: with the log's end, if one ends or stays unhealthy.
    """
    wanted, new, begun = launched.wanted, launched.new, launched.begun
    deadline = time.monotonic() + HEALTHY_SECONDS
    while True:
        waiting = unhealthy([service.name for service in wanted], new, begun)
        for name in new:
            if not processes.running(state, name) or processes.restarts(state, name) >= RESTARTS:
                log = processes.log_file(state, name)
                raise LocalError(f"{name} ended; {log} ends with:\n{processes.tail(log)}")
        if not waiting:
            return
        if time.monotonic() > deadline:
            log = processes.log_file(state, waiting[0])
            raise LocalError(
                f"not healthy after {HEALTHY_SECONDS} s: {', '.join(waiting)}; "
                f"{log} ends with:\n{processes.tail(log)}"
            )
        report(f"{len(wanted) - len(waiting)}/{len(wanted)}, waiting for {', '.join(waiting)}")
        time.sleep(0.5)


def unhealthy(wanted: list[str], new: set[str], begun: datetime) -> list[str]:
    """Return the services of ``wanted`` that don't say they are well."""
    well = set()
    if ask(port("pages"), "/") is not None:
        well.add("pages")
    if ask(port("mlflow"), "/health") is not None:
        well.add("mlflow")
    if answer := ask(port("airflow"), "/api/v2/monitor/health"):
        well.add("api-server")
        for part, told in json.loads(answer).items():
            name = part.replace("_", "-")
            beat = told.get(f"latest_{part}_heartbeat")
            fresh = name not in new or (beat and datetime.fromisoformat(beat) >= begun)
            if told["status"] == "healthy" and fresh:
                well.add(name)
    return [name for name in wanted if name not in well]


def ask(number: int, path: str) -> bytes | None:
    """Return the body of a 200 answer on this machine, None for anything else."""
    connection = http.client.HTTPConnection("127.0.0.1", number, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == 200 else None


def stop(state: Path) -> list[str]:
    """Stop every service of this state folder and return the names of those that ran."""
    stopped = processes.stop(state, processes.names(state))
    processes.sweep(state)
    return stopped


def airflow(state: Path) -> Airflow:
    """Return the running Airflow, as its administrator."""
    return Airflow(address("airflow"), "admin", secret(state, "airflow_admin"))
