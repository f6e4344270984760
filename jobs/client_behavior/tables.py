"""What a training leaves in the warehouse: its candidates, and how silence was understood."""

from datetime import date

import pandas as pd
from sqlalchemy import Connection

from jobs.warehouse import execute


def write_candidates(
    connection: Connection, version: str, as_of: date, table: pd.DataFrame
) -> None:
    """Write the table of `comparing.table` under a version; rows it has already are replaced."""
    _write(connection, "insert_candidate", version, as_of, table)


def write_silence(
    connection: Connection, version: str, as_of: date, came_back: pd.DataFrame, chosen: int
) -> None:
    """Write the table of `silence.came_back` under a version; rows it has already are replaced."""
    table = came_back.assign(chosen=came_back["days"] == chosen)
    _write(connection, "insert_silence", version, as_of, table)


def _write(
    connection: Connection, file: str, version: str, as_of: date, table: pd.DataFrame
) -> None:
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        values = {str(name): value for name, value in row.items()}
        execute(
            connection,
            f"client_behavior/{file}.sql",
            model_version=version,
            as_of=as_of,
            **values,
        )
