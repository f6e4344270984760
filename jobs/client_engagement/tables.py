"""What a bench leaves in the warehouse: its candidates, and the numbers that went before it."""

from datetime import date

import pandas as pd
from sqlalchemy import Connection

from jobs.warehouse import execute_rows


def write(
    connection: Connection, version: str, as_of: date, bench: pd.DataFrame, vif: pd.DataFrame
) -> None:
    """Write the tables of `bench.compare` and `collinear.inflation` under a version.

    Rows that the version has already are replaced.
    """
    of = {"model_version": version, "as_of": as_of}
    execute_rows(connection, "client_engagement/insert_bench.sql", bench, **of)
    execute_rows(connection, "client_engagement/insert_vif.sql", vif, **of)
