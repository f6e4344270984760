"""Airflow's connections as engines."""

from typing import TYPE_CHECKING

from airflow.sdk import Connection

if TYPE_CHECKING:  # jobs.warehouse takes a second, and every parse of a DAG file would pay it
    from sqlalchemy import Engine


def connected(connection_id: str) -> "Engine":
    """Return an engine for an Airflow connection."""
    from jobs.warehouse import engine

    return engine(Connection.get(connection_id).get_uri())
