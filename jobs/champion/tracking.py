"""What MLflow keeps of each training: run, registry and the files that serve."""

import hashlib
import http.client
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from jobs import settings, warehouse

if TYPE_CHECKING:  # importing mlflow takes seconds, and deciding or listing does not need it
    from mlflow import MlflowClient

LIVE = "live"
REACH_SECONDS = 5
# A picture is worth no wait: MLflow's own settings come to minutes, 8 tries of up to 120 s each.
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
PICTURE = re.compile(r"[A-Za-z0-9_.-]+\.png")


class MlflowUnreachable(ConnectionError):
    """MLflow does not answer; nothing was logged."""


class UnknownVersion(LookupError):
    """No version of that name is registered."""


class AlreadyRegistered(RuntimeError):
    """A version of that name is registered; versions are never written over."""


class NoModelFiles(ValueError):
    """A version without files could not serve."""


class PicturesNotFetched(RuntimeError):
    """MLflow answers, but does not hand out a run's pictures."""


class ArtifactChanged(RuntimeError):
    """The files MLflow returns for a version are not those that were tested."""


@dataclass(frozen=True)
class Version:
    """One trained model or baseline, as a row of ops.model_version.

    ``train_from`` and ``train_to`` are the first day of the fitting labels' windows and the day
    before which they all end; ``rows`` counts each slice; ``metrics`` are those on the gate's rows.
    """

    model_version: str
    job: str
    as_of: date
    kind: str
    name: str
    train_from: date | None = None
    train_to: date | None = None
    gate_cutoff: date | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def client() -> "MlflowClient":
    """Return a client of the server or store that MLFLOW_TRACKING_URI names.

    Raises:
        MlflowUnreachable: if it does not answer within seconds (MLflow itself retries for minutes).
    """
    uri = settings.setting("MLFLOW_TRACKING_URI")
    try:
        if uri.startswith(("http://", "https://")):
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=REACH_SECONDS):
                pass
        elif uri.startswith("postgres"):
            with warehouse.engine(uri).connect():
                pass
    except (OSError, http.client.HTTPException, OperationalError) as error:
        raise MlflowUnreachable(
            f"MLflow at {_without_password(uri)} does not answer ({type(error).__name__}: "
            f"{warehouse.first_line(error)}): start it (`make up`) or correct MLFLOW_TRACKING_URI, "
            "then rerun; published days and the live version are untouched"
        ) from error
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def training_run(model_version: str, job: str, as_of: date) -> Iterator[str]:
    """Open the MLflow run of one training and yield its id; the run fails where the block does.

    The environment (python, packages and their checksum, git commit) is logged at once, and so is
    the Airflow run at work, whose address is shown in the run's description.

    Args:
        model_version: name that `next_version` gave.
        job: job, which is the name of the MLflow experiment and of the DAG as well.
        as_of: day trained for.

    Raises:
        MlflowUnreachable: if MLflow does not answer.
    """
    mlflow = client()
    packages = installed_packages()
    airflow_run_id, airflow_url = warehouse.airflow_run_id(), _airflow_url(job)
    tags = {
        "job": job,
        "as_of": str(as_of),
        "model_version": model_version,
        "python": platform.python_version(),
        "requirements_sha256": hashlib.sha256(packages.encode()).hexdigest(),
        "mlflow.source.name": f"python -m jobs run {job} --as-of {as_of}",
        "mlflow.source.git.commit": git_commit(),
        "airflow_run_id": airflow_run_id,
        "airflow_url": airflow_url,
        "mlflow.note.content": f"[Airflow run {airflow_run_id}]({airflow_url})"
        if airflow_url
        else None,
    }
    run = mlflow.create_run(
        _experiment(mlflow, job),
        run_name=model_version,
        tags={name: value for name, value in tags.items() if value},
    )
    run_id: str = run.info.run_id
    finished = False
    try:
        mlflow.log_text(run_id, packages, "environment/requirements.txt")
        yield run_id
        finished = True
    finally:
        mlflow.set_terminated(run_id, "FINISHED" if finished else "FAILED")


def log(
    run_id: str,
    params: Mapping[str, object],
    metrics: pd.DataFrame,
    pictures: Path | None = None,
) -> None:
    """Log what one training used and measured.

    Args:
        run_id: the run that `training_run` yielded.
        params: parameters, data window and row counts, one value each.
        metrics: columns name ('model' or the baseline's), metric, value, low, high. The model's
            are logged as ``roc_auc``, ``roc_auc.low`` ..., a baseline's as ``recency.roc_auc`` ...
        pictures: folder of pictures, kept under ``pictures``.
    """
    from mlflow.entities import Metric, Param

    mlflow = client()
    values: dict[str, float] = {}
    for row in metrics.to_dict("records"):
        prefix = row["metric"] if row["name"] == "model" else f"{row['name']}.{row['metric']}"
        ends = {prefix: row["value"], f"{prefix}.low": row["low"], f"{prefix}.high": row["high"]}
        # MLflow has no @ in names: hitrate@5 is hitrate_at_5 there.
        ends = {key.replace("@", "_at_"): value for key, value in ends.items()}
        values |= {key: float(value) for key, value in ends.items() if pd.notna(value)}
    started: int = mlflow.get_run(run_id).info.start_time
    mlflow.log_batch(
        run_id,
        metrics=[Metric(key, value, started, 0) for key, value in values.items()],
        params=[Param(key, str(value)) for key, value in params.items()],
    )
    if pictures is not None:
        mlflow.log_artifacts(run_id, str(pictures), "pictures")


def pictures(run_id: str, folder: Path) -> list[Path]:
    """Return the pictures that `log` kept of a run, fetched into ``folder``; none is no error.

    They are PNG files with plain names, whatever else lies there. MLflow gets one try.

    Raises:
        MlflowUnreachable: if MLflow does not answer.
        PicturesNotFetched: if it answers without them.
    """
    mlflow = client()
    from mlflow.exceptions import MlflowException

    try:
        with _impatient():
            return [
                Path(mlflow.download_artifacts(run_id, entry.path, str(folder)))
                for entry in mlflow.list_artifacts(run_id, "pictures")
                if PICTURE.fullmatch(entry.path.rpartition("/")[2]) and not entry.is_dir
            ]
    # What requests raises is an OSError.
    except (MlflowException, OSError, SQLAlchemyError) as error:
        said = warehouse.first_line(error)
        raise PicturesNotFetched(f"MLflow run {run_id}, pictures: {said}") from error


def next_version(connection: Connection, job: str, as_of: date) -> str:
    """Return the name of ``job``'s next version for ``as_of``: ``<job>-<as_of>-<1, 2 ...>``."""
    taken = [name.rpartition("-")[2] for name in _trained(connection, job, as_of)]
    return f"{job}-{as_of}-{max(map(int, taken), default=0) + 1}"


def trained_version(connection: Connection, job: str, as_of: date) -> str | None:
    """Return the newest version trained for ``as_of``, which a rerun of that day uses again."""
    numbered = {int(name.rpartition("-")[2]): name for name in _trained(connection, job, as_of)}
    return numbered[max(numbered)] if numbered else None


def baseline_version(model_version: str, name: str) -> str:
    """Return the version name of the baseline trained beside ``model_version``."""
    return f"{model_version}-{name}"


def baselines_beside(connection: Connection, model_version: str) -> dict[str, str]:
    """Return version and name of the baselines that were trained beside ``model_version``."""
    statement = warehouse.sql_file("champion/baselines_beside.sql")
    found = warehouse.rows(connection, statement, model_version=model_version)
    return {row["model_version"]: row["name"] for row in found}


def register(
    engine: Engine,
    run_id: str,
    versions: Mapping[Path, Version],
    beside: Callable[[Connection], None] = lambda connection: None,
) -> None:
    """Keep the files of a model and its baselines in MLflow, its registry and ops.model_version.

    The rows are written last and together: a version that is listed can serve.

    Args:
        engine: the warehouse.
        run_id: the run that `training_run` yielded.
        versions: folder of files and the version that they are.
        beside: writes what else is known of them, in the same transaction: a training that is
            killed leaves all of it or nothing.

    Raises:
        NoModelFiles: if a folder is empty.
        AlreadyRegistered: if a version of that name exists already.
    """
    from mlflow.exceptions import MlflowException

    mlflow = client()
    for folder, version in versions.items():
        if not any(path.is_file() for path in folder.rglob("*")):
            raise NoModelFiles(f"{version.model_version}: no model files in {folder}")
    with engine.begin() as connection:
        for version in versions.values():
            if _one(connection, "version", model_version=version.model_version):
                raise AlreadyRegistered(
                    f"{version.model_version} is registered already: was the day trained twice at "
                    "once? Rerun; the rerun uses what is there"
                )
        root = mlflow.get_run(run_id).info.artifact_uri
        for folder, version in versions.items():
            place = _artifact_path(version.kind, version.name)
            mlflow.log_artifacts(run_id, str(folder), place)
            try:
                mlflow.create_registered_model(version.job)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            entry = mlflow.create_model_version(
                version.job,
                f"{root}/{place}",
                run_id,
                tags={
                    "model_version": version.model_version,
                    "kind": version.kind,
                    "name": version.name,
                    "as_of": str(version.as_of),
                },
            )
            warehouse.execute(
                connection,
                "champion/insert_version.sql",
                model_version=version.model_version,
                job=version.job,
                as_of=version.as_of,
                kind=version.kind,
                name=version.name,
                mlflow_run_id=run_id,
                model_uri=f"models:/{version.job}/{entry.version}",
                artifact_sha256=folder_sha256(folder),
                train_from=version.train_from,
                train_to=version.train_to,
                gate_cutoff=version.gate_cutoff,
                rows=json.dumps(dict(version.rows)),
                params=json.dumps(dict(version.params), default=str),
                metrics=json.dumps(dict(version.metrics)),
                airflow_run_id=warehouse.airflow_run_id(),
            )
        beside(connection)


def load_model(engine: Engine, model_version: str, cache: Path | None = None) -> Path:
    """Return the folder of a version's files, fetched from MLflow once and checked every time.

    Args:
        engine: the warehouse, whose checksum decides.
        model_version: version to load.
        cache: folder that keeps fetched versions; ``models`` in the state folder by default.

    Raises:
        UnknownVersion: if there is no such version.
        ArtifactChanged: if MLflow's files are not those that were tested.
    """
    with engine.connect() as connection:
        version = described(connection, model_version)
    cache = cache or settings.state_dir() / "models"
    folder = cache / model_version
    if folder.is_dir() and folder_sha256(folder) == version["artifact_sha256"]:
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as temporary:
        place = _artifact_path(version["kind"], version["name"])
        fetched = Path(client().download_artifacts(version["mlflow_run_id"], place, temporary))
        if (found := folder_sha256(fetched)) != version["artifact_sha256"]:
            raise ArtifactChanged(
                f"{model_version}: MLflow run {version['mlflow_run_id']} returns files with "
                f"checksum {found}, but {version['artifact_sha256']} was tested; do not serve it: "
                "restore MLflow's artifacts, or roll back to another version"
            )
        # A damaged copy makes way; a copy that another process has put there meanwhile is equal.
        if folder.is_dir() and folder_sha256(folder) != version["artifact_sha256"]:
            shutil.rmtree(folder)
        if not folder.is_dir():
            fetched.rename(folder)
    return folder


def sync_alias(engine: Engine, job: str) -> str | None:
    """Point MLflow's alias ``live`` at the version that is live, and return that version.

    The warehouse decides; an alias that someone moved by hand is put back, and one without a
    live version is removed.
    """
    from mlflow.exceptions import MlflowException

    with engine.connect() as connection:
        live = _one(connection, "live_version", job=job, as_of=date.max)
        entry = described(connection, live["model_version"])["model_uri"] if live else None
    mlflow = client()
    try:
        # int from the direct store, str through the server
        pointed = str(mlflow.get_registered_model(job).aliases.get(LIVE, ""))
    except MlflowException as error:
        if live is None and error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    wanted = entry.rpartition("/")[2] if entry else ""
    if wanted and pointed != wanted:
        mlflow.set_registered_model_alias(job, LIVE, wanted)
    elif pointed and not wanted:
        mlflow.delete_registered_model_alias(job, LIVE)
    return live["model_version"] if live else None


def described(connection: Connection, model_version: str) -> dict[str, Any]:
    """Return the row of ops.model_version.

    Raises:
        UnknownVersion: if there is none.
    """
    row = _one(connection, "version", model_version=model_version)
    if row is None:
        raise UnknownVersion(
            f"ops.model_version has no {model_version}; "
            f"python -m jobs versions {model_version.partition('-')[0]} lists a job's versions"
        )
    return row


def run_link(run_id: str) -> str:
    """Return the address of a run in MLflow's UI; without a server, the run's name in the store."""
    uri = settings.setting("MLFLOW_TRACKING_URI")
    if not uri.startswith(("http://", "https://")):
        return f"runs:/{run_id}"
    experiment = client().get_run(run_id).info.experiment_id
    return f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"


def folder_sha256(folder: Path) -> str:
    """Return one checksum over the names and contents of all files under ``folder``."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def installed_packages() -> str:
    """Return the installed packages as ``name==version`` lines (what pip freeze prints)."""
    pairs = {(found.metadata["Name"].lower(), found.version) for found in metadata.distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(pairs))


def git_commit() -> str | None:
    """Return the commit at work: GIT_COMMIT (set in images), else git's, else None."""
    if commit := os.environ.get("GIT_COMMIT"):
        return commit
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=settings.ROOT, capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None


@contextmanager
def _impatient() -> Iterator[None]:
    """Give MLflow's requests one try of seconds while the block runs."""
    # The client takes these from the environment alone.
    before = {name: os.environ.get(name) for name in IMPATIENT}
    os.environ.update(IMPATIENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _experiment(mlflow: "MlflowClient", job: str) -> str:
    """Return the id of the job's experiment, made where it is missing."""
    from mlflow.exceptions import MlflowException

    found = mlflow.get_experiment_by_name(job)
    if found is None:
        # A direct store would put files under the working directory; a server knows its place.
        direct = not settings.setting("MLFLOW_TRACKING_URI").startswith(("http://", "https://"))
        place = (settings.state_dir() / "mlflow" / "artifacts" / job).as_uri() if direct else None
        try:
            return str(mlflow.create_experiment(job, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = mlflow.get_experiment_by_name(job)
    return str(found.experiment_id)


def _airflow_url(dag_id: str) -> str | None:
    """Return the address of the Airflow run at work, or None when run by hand."""
    base, run_id = os.environ.get("AIRFLOW__API__BASE_URL"), warehouse.airflow_run_id()
    return f"{base.rstrip('/')}/dags/{dag_id}/runs/{run_id}" if base and run_id else None


def _artifact_path(kind: str, name: str) -> str:
    return "model" if kind == "model" else f"baselines/{name}"


def _trained(connection: Connection, job: str, as_of: date) -> list[str]:
    statement = warehouse.sql_file("champion/trained.sql")
    return [
        row["model_version"] for row in warehouse.rows(connection, statement, job=job, as_of=as_of)
    ]


def _one(connection: Connection, name: str, **values: object) -> dict[str, Any] | None:
    found = warehouse.rows(connection, warehouse.sql_file(f"champion/{name}.sql"), **values)
    return found[0] if found else None


def _without_password(uri: str) -> str:
    head, _, tail = uri.rpartition("@")
    return f"{head.partition('://')[0]}://{tail}" if head else uri
