"""docker-compose.yml holds together: every name in it is known to what it is given to."""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow_home
import psycopg
import pytest
import yaml

from jobs import setup
from jobs.local import databases, services, up

ROOT = airflow_home.ROOT
pytestmark = pytest.mark.skipif(
    shutil.which("docker-compose") is None,
    reason="needs docker-compose (apt-get install docker-compose)",
)
SECRETS = {
    **{name: f"{number}x" for number, name in enumerate(setup.PASSWORDS.values())},
    "POSTGRES_PASSWORD": "p",
    "REDIS_PASSWORD": "r",
    "AIRFLOW_ADMIN_PASSWORD": "w",
    "AIRFLOW_FERNET_KEY": "f",
    "AIRFLOW_SECRET_KEY": "s",
    "AIRFLOW_JWT_SECRET": "j",
    "NIGHTSHIFT_FEED_TOKEN": "t",
    "AIRFLOW_CONN_APP": "postgresql://reader:secret@product/shop",
}
OURS = {"api-server", "scheduler", "dag-processor", "triggerer", "airflow-setup", "setup"}
OURS |= {"mlflow", "feed-api", "pages", "worker"}
# What the images of others bring: their programs, their folder, their settings.
OTHERS = {
    "postgres": (
        {"postgres", "pg_isready"},
        "/var/lib/postgresql",
        {"POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS"},
    ),
    "redis": ({"redis-server", "redis-cli", "grep"}, "/data", {"REDIS_PASSWORD"}),
}


def config(
    folder: Path, *options: str, secrets: dict[str, str] = SECRETS
) -> subprocess.CompletedProcess[str]:
    """Return what `docker-compose config` makes of our file and these secrets alone."""
    env_file = folder / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    command = ["docker-compose", "--file", ROOT / "docker-compose.yml", "--env-file", env_file]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        [*command, *options, "config"],
        capture_output=True, text=True, timeout=60, cwd=folder, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the services of all profiles, as docker-compose resolves them."""
    resolved = config(tmp_path_factory.mktemp("compose"), "--profile", "celery")
    assert resolved.returncode == 0, resolved.stderr
    return yaml.safe_load(resolved.stdout)


@pytest.fixture(scope="module")
def recipe() -> str:
    """Return the Dockerfile with its lines joined."""
    return (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def words(service: dict[str, Any]) -> list[list[str]]:
    """Return the commands a service runs, each as words; a shell's are taken apart."""
    found = [service["command"]]
    if check := service.get("healthcheck"):
        kind, *rest = check["test"]
        found.append(["sh", "-c", *rest] if kind == "CMD-SHELL" else rest)
    return [part for command in found for part in apart(command)]


def apart(command: list[str]) -> Iterator[list[str]]:
    if command[:2] != ["sh", "-c"]:
        yield command
        return
    for part in re.split(r"&&|\|", command[2].replace("\n", " ")):
        said = re.findall(r'"[^"]*"|\S+', part.replace("$$", "$"))
        while said and (said[0] == "exec" or re.match(r"\w+=", said[0])):
            del said[0]
        if said and said[0] not in ("umask", "echo"):
            yield [word.strip('"') for word in said]


@pytest.mark.parametrize("options", [(), ("--profile", "celery")])
def test_docker_compose_accepts_the_file(tmp_path, options):
    resolved = config(tmp_path, *options)

    assert resolved.returncode == 0, resolved.stderr
    assert resolved.stderr == ""


@pytest.mark.parametrize("name", SECRETS)
def test_an_empty_secret_is_an_error_by_name(tmp_path, name):
    resolved = config(tmp_path, secrets=SECRETS | {name: ""})

    assert resolved.returncode != 0
    assert name in resolved.stderr


def test_nothing_starts_without_secrets(tmp_path):
    resolved = config(tmp_path, secrets={})

    assert resolved.returncode != 0
    assert "required" in resolved.stderr or "Missing" in resolved.stderr


def test_only_the_celery_profile_has_redis_and_workers(composed):
    profiled = {name for name, service in composed["services"].items() if service.get("profiles")}

    assert profiled == {"redis", "worker"}
    for name in set(composed["services"]) - profiled:
        waits_for = composed["services"][name].get("depends_on", {})
        assert not profiled & set(waits_for), f"{name} would not start without the profile"


def test_the_services_are_airflows_parts_and_what_they_stand_on(composed):
    assert set(composed["services"]) == OURS | set(OTHERS)
    assert set(services.AIRFLOW_PARTS) < OURS


def test_every_command_is_installed(composed, recipe):
    installed = {script.name for script in entry_points(group="console_scripts")}
    base_image = {"python", "sh", "hostname"}
    assert "FROM python:" in recipe
    assert "pip install --no-cache-dir --disable-pip-version-check -r requirements.txt" in recipe
    for name, service in composed["services"].items():
        known = OTHERS[name][0] if name in OTHERS else installed | base_image
        for command in words(service):
            assert command[0] in known, f"{name}: nothing installs {command[0]}"


def test_every_module_that_python_runs_exists(composed):
    modules = [
        command[command.index("-m") + 1]
        for service in composed["services"].values()
        for command in words(service)
        if command[0] == "python" and "-m" in command
    ]

    assert sorted(modules) == ["http.server", "jobs.setup"]
    for module in modules:
        assert importlib.util.find_spec(module), module


def test_airflow_understands_every_command_given_to_it(composed):
    from airflow.cli import cli_parser

    parser = cli_parser.get_parser()
    understood = [
        parser.parse_args([word.replace("$HEAVY_SLOTS", "1") for word in command[1:]])
        for service in composed["services"].values()
        for command in words(service)
        if command[0] == "airflow"
    ]

    assert len(understood) >= 9


def test_mlflow_understands_its_command(composed):
    from mlflow.cli import server

    _, _, *arguments = composed["services"]["mlflow"]["command"]

    _, unknown, _ = server.make_parser(server.make_context("server", [])).parse_args(arguments)

    assert unknown == []


def test_uvicorn_understands_its_command_and_finds_the_app(composed):
    from uvicorn.main import main

    _, *arguments = composed["services"]["feed-api"]["command"]

    parsed = main.make_context("uvicorn", arguments).params

    assert (parsed["host"], parsed["port"], parsed["workers"]) == ("0.0.0.0", 8070, 2)
    module, _, name = parsed["app"].partition(":")
    assert hasattr(importlib.import_module(module), name)


def test_postgres_knows_every_setting(composed, server: databases.Server):
    given = [w for w in composed["services"]["postgres"]["command"] if "=" in w]
    names = [setting.partition("=")[0] for setting in given]

    with psycopg.connect(server.admin_url) as connection:
        known = {row[0] for row in connection.execute("select lower(name) from pg_settings")}

    assert set(names) <= known
    assert "max_locks_per_transaction=1024" in given


def test_every_setting_is_known_to_what_reads_it(composed):
    from airflow.configuration import conf
    from mlflow import environment_variables
    from mlflow.cli import server

    source = "".join(
        path.read_text() for folder in ("jobs", "plugins") for path in (ROOT / folder).rglob("*.py")
    )
    mlflow = {getattr(value, "name", "") for value in vars(environment_variables).values()}
    mlflow |= {option.envvar for option in server.params if isinstance(option.envvar, str)}
    for name, service in composed["services"].items():
        for variable in service.get("environment") or {}:
            if name in OTHERS:
                assert variable in OTHERS[name][2], f"{name}: {variable}"
            elif match := re.fullmatch(r"AIRFLOW__(.+)__(.+)", variable):
                section, key = match[1].lower(), match[2].lower()
                options = conf.configuration_description.get(section, {}).get("options", {})
                assert key in options, f"{name}: Airflow has no option {section}.{key}"
            elif variable.startswith("MLFLOW_") and variable not in setup.PASSWORDS.values():
                assert variable in mlflow, f"{name}: MLflow reads no {variable}"
            elif variable == "HEAVY_SLOTS":
                assert variable in str(service["command"])
            elif variable.endswith("_PASSWORD"):
                assert variable in {*setup.PASSWORDS.values(), setup.ADMIN_PASSWORD}
            else:
                assert variable in services.QUIET or variable in source, f"{name}: {variable}"


def test_setup_gets_everything_it_asks_for(composed):
    given = composed["services"]["setup"]["environment"]

    asked = {setup.ADMIN_URL, setup.ADMIN_PASSWORD, setup.LOGINS, *setup.PASSWORDS.values()}
    assert asked <= set(given)
    for role in set(databases.ROLES) - set(setup.PASSWORDS):
        assert role in ("app_reader", "simulator"), f"{role} has no password in production"


def test_setup_names_what_is_missing_before_it_touches_anything():
    with pytest.raises(LookupError, match=r"DATABASE_URL, .*MIGRATOR_PASSWORD"):
        setup.setup({"NIGHTSHIFT_PASSWORD": "x"})


def test_the_image_makes_and_owns_every_mounted_folder(composed, recipe):
    (made,) = re.findall(r"install --directory --owner=nightshift[^\n]*", recipe)
    declared = set(composed["volumes"])
    for name, service in composed["services"].items():
        for mount in service.get("volumes", []):
            volume, folder, *mode = mount.split(":")
            assert volume in declared, f"{name} mounts {volume}, a path of this machine"
            if name in OTHERS:
                assert folder == OTHERS[name][1]
            else:
                assert folder in made.split(), f"{name}: the Dockerfile makes no {folder}"
            if name == "pages":
                assert mode == ["ro"]


def test_every_path_in_settings_and_commands_lies_in_a_mounted_or_copied_folder(composed, recipe):
    copied = {f"/srv/nightshift/{name}" for name in re.findall(r"COPY (\S+) \./\1", recipe)}
    inside = dict(re.findall(r"(\w+)=(/\S+)", recipe[recipe.index("ENV GIT_COMMIT") :]))
    for name in OURS:
        service = composed["services"][name]
        mounted = [mount.split(":")[1] for mount in service.get("volumes", [])]
        said = [str(value) for value in (service.get("environment") or {}).values()]
        said += [word.rpartition("=")[2] for command in words(service) for word in command]
        for path in filter(lambda text: text.startswith("/"), said):
            assert any(path.startswith(folder) for folder in mounted), f"{name}: {path}"
    for path in inside.values():
        assert path.startswith(("/tmp", "/var/lib/nightshift")) or any(
            folder.startswith(path) for folder in copied
        ), path
    for folder in copied:
        assert (ROOT / Path(folder).name).is_dir()


def test_the_build_context_holds_what_the_recipe_copies_and_no_more(recipe):
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}

    copied = {name for line in re.findall(r"COPY (.+)", recipe) for name in line.split()[:-1]}

    assert "*" in lines
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_nothing_of_ours_runs_as_root_or_writes_its_own_files(composed, recipe):
    assert recipe.rstrip().endswith("USER nightshift")
    for name in OURS:
        service = composed["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["tmpfs"] == ["/tmp"]
        assert "user" not in service
        assert "privileged" not in service


def test_everything_is_published_on_loopback_only(composed):
    published = {
        name: service["ports"]
        for name, service in composed["services"].items()
        if "ports" in service
    }

    assert set(published) == {"postgres", "api-server", "mlflow", "feed-api", "pages"}
    for name, ports in published.items():
        for port in ports:
            assert str(port).startswith("127.0.0.1:"), f"{name} is open to the world on {port}"


def test_everything_that_stays_is_checked_restarted_and_waited_for(composed):
    for name, service in composed["services"].items():
        once = name in ("setup", "airflow-setup")
        assert service["restart"] == ("no" if once else "unless-stopped"), name
        assert ("healthcheck" in service) is not once, name
        for other, wait in (service.get("depends_on") or {}).items():
            ends = other in ("setup", "airflow-setup")
            condition = "service_completed_successfully" if ends else "service_healthy"
            assert wait["condition"] == condition, f"{name} on {other}"


def test_the_pools_are_those_of_the_local_platform(composed):
    (said,) = [
        command
        for command in words(composed["services"]["airflow-setup"])
        if command[:3] == ["airflow", "pools", "set"]
    ]

    assert said[3] == up.HEAVY


def test_every_image_is_pinned_to_a_major_version(composed, recipe):
    for name in OTHERS:
        assert re.search(r":\d+", composed["services"][name]["image"]), name
    (base,) = re.findall(r"^FROM python:(\S+)", recipe, re.MULTILINE)
    assert re.match(r"3\.1[123]-", base)


def test_the_installed_celery_fits_airflows_executor():
    # celery 5.7 took away what the provider imports (apache-airflow-providers-celery 3.26).
    executor = importlib.import_module("airflow.providers.celery.executors.celery_executor_utils")

    assert executor.execute_workload
