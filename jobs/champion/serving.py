"""What a version needs to serve a day: to be allowed on it, and a calibration map of that day."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine

from jobs import warehouse
from jobs.calibration import Calibration
from jobs.champion.tracking import described


class VersionNotAllowed(ValueError):
    """The version is another job's, or knows what happened after the day it is to serve."""


class NotCalibrated(LookupError):
    """The version has no calibration map for the day."""


def require_fit_for(engine: Engine, job: str, model_version: str, as_of: date) -> None:
    """Raise where an operator asks for a version that must not serve ``as_of``.

    Raises:
        UnknownVersion: if there is no such version.
        VersionNotAllowed: if it is another job's, or knows what happened after that day.
    """
    with engine.connect() as connection:
        version = described(connection, model_version)
    # A version of one of the job's models, job.model, may serve the job.
    model = version["job"] if version["job"].partition(".")[0] == job else job
    require_allowed(version, model, as_of)


def require_allowed(version: Mapping[str, Any], job: str, as_of: date) -> None:
    """Raise where a row of ops.model_version must not serve ``as_of``.

    Raises:
        VersionNotAllowed: if it is another job's, or knows what happened after that day.
    """
    name = version["model_version"]
    if version["job"] != job:
        raise VersionNotAllowed(f"{name} is a version of {version['job']}, not of {job}")
    if version["as_of"] > as_of:
        raise VersionNotAllowed(
            f"{name} was trained for {version['as_of']} and knows what happened after {as_of}; "
            f"name a version of that day or before, or a day from {version['as_of']} on"
        )


def settle_calibration(
    engine: Engine,
    model_version: str,
    as_of: date,
    cutoff: date,
    fit: Callable[[], tuple[Calibration, int]],
) -> None:
    """Keep, once, the map that ``model_version`` serves ``as_of`` with; a rerun finds it again.

    Args:
        engine: the warehouse.
        model_version: version that serves.
        as_of: day served.
        cutoff: newest cutoff with complete labels, whose rows the map is fitted on.
        fit: fits the map and counts its rows; called only where the day has none yet.
    """
    with engine.connect() as connection:
        if _settled(connection, model_version, as_of):
            return
    settled, count = fit()
    with engine.begin() as connection:
        warehouse.execute(
            connection,
            "champion/insert_calibration.sql",
            model_version=model_version,
            as_of=as_of,
            cutoff=cutoff,
            rows=count,
            slope=settled.slope,
            intercept=settled.intercept,
        )


def calibration(connection: Connection, model_version: str, as_of: date) -> Calibration:
    """Return the map that ``model_version`` serves ``as_of`` with.

    Raises:
        NotCalibrated: if it is not settled yet.
    """
    settled = _settled(connection, model_version, as_of)
    if settled is None:
        raise NotCalibrated(
            f"{model_version} has no calibration for {as_of}: run the train step of that day first"
        )
    return settled


def _settled(connection: Connection, model_version: str, as_of: date) -> Calibration | None:
    found = warehouse.rows(
        connection,
        warehouse.sql_file("champion/calibration.sql"),
        model_version=model_version,
        as_of=as_of,
    )
    return Calibration(found[0]["slope"], found[0]["intercept"]) if found else None
