"""Bring the platform of this machine up, and take it down."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs import settings
from jobs.local import airflow_api, databases, postgres, processes, services, state
from jobs.local.databases import Server
from jobs.local.progress import Report, step

HEAVY = "heavy"  # the pool that DAGs name
HEAVY_GIGABYTES = 8  # of memory that one training or scoring may take
STOP_COMMAND_SECONDS = 20


@dataclass(frozen=True)
class Platform:
    """What ``up`` made: the databases and the settings to reach everything."""

    server: Server
    settings: Mapping[str, str]


def heavy_slots() -> int:
    """Return how many trainings run at once: as memory allows, at most one a core.

    NIGHTSHIFT_HEAVY_SLOTS says otherwise.

    Raises:
        BadSetting: if it is no number of slots.
    """
    if written := settings.setting("NIGHTSHIFT_HEAVY_SLOTS", ""):
        if not written.isdecimal() or int(written) < 1:
            raise settings.BadSetting(
                f"NIGHTSHIFT_HEAVY_SLOTS is {written!r}; expected how many trainings may run at "
                "once, 1 or more"
            )
        return int(written)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min(int(memory // HEAVY_GIGABYTES), os.cpu_count() or 1))


def open_server(folder: Path, report: Report) -> Server:
    """Return the server that DATABASE_URL names, or our own, started if need be."""
    if url := os.environ.get("DATABASE_URL"):
        return Server(url, folder)
    port = int(settings.setting(postgres.PORT_SETTING, str(postgres.PORT)))
    return Server(postgres.start(folder, port, report=report), folder)


def prepare_databases(folder: Path) -> Platform:
    """Make server, databases, roles, schema and the env file; each is kept where it exists."""
    # Alembic and SQLAlchemy take a second to import, which `make down` need not wait for.
    from jobs import migrate

    with step("Postgres") as report:
        server = open_server(folder, report)
        report(databases.address(server.admin_url))
    with step("databases and roles") as report:
        changed = databases.create(server)
        found = databases.connections(server) | services.platform_settings(server)
        if "DATABASE_URL" not in os.environ:
            found[postgres.PORT_SETTING] = str(postgres.port_in(server.admin_url))
        databases.write_env(folder, found)
        if changed:
            report(f"new passwords for roles that existed: {', '.join(changed)}")
    with step("migrations"):
        migrate.upgrade(server.url("migrator", "warehouse"))
    return Platform(server, found)


def up(folder: Path) -> Platform:
    """Bring everything up and return it; what runs already is left alone."""
    platform = prepare_databases(folder)
    with step("Airflow, MLflow and the pages") as report:
        await_services(platform, launch_services(platform, report), report)
    return platform


def launch_services(platform: Platform, report: Report) -> services.Launched:
    """Start the services that don't run; `await_services` says when they are well."""
    return services.launch(platform.server, platform.settings, report)


def await_services(
    platform: Platform, launched: services.Launched, report: Report
) -> airflow_api.Airflow:
    """Wait until all services are well, give Airflow its pools, and return it."""
    services.wait(platform.server.state, launched, report)
    airflow = services.airflow(platform.server.state)
    purpose = "Training and scoring: each takes gigabytes of memory, and cores"
    airflow_api.ensure_pool(airflow, HEAVY, heavy_slots(), purpose)
    return airflow


def where_to_look(platform: Platform) -> str:
    """Return the addresses and logins of what runs."""
    folder = platform.server.state
    lines = [
        f"Airflow   {services.address('airflow')}  user admin, "
        f"password {state.secret(folder, 'airflow_admin')}",
        f"MLflow    {services.address('mlflow')}",
        f"Pages     {services.address('pages')}",
        f"Tables    psql '{platform.settings['NIGHTSHIFT_BI_URL']}'",
        f"Logs      {folder / 'log'}",
        "Stop      make down",
    ]
    return "\n".join(lines)


def down(folder: Path) -> list[str]:
    """Stop everything of this state folder, whoever started it; return what was stopped.

    A command still at work there (its `make` was killed, say) is stopped first.
    """
    stopped = stop_command(folder)
    stopped += services.stop(folder)
    if postgres.stop(folder):
        stopped.append("postgres")
    return stopped


def stop_command(folder: Path) -> list[str]:
    """End the command that holds the state folder, if one does."""
    if (found := state.holder(folder)) is None or found[0] in (0, os.getpid()):
        return []
    pid, command = found
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_COMMAND_SECONDS
        while processes.alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    return [command]
