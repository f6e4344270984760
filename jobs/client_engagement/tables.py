"""What a bench leaves in the warehouse: its candidates, and the numbers that went before it."""

from datetime import date

import pandas as pd
from sqlalchemy import Connection

from jobs.warehouse import execute


def write(
    connection: Connection, version: str, as_of: date, bench: pd.DataFrame, vif: pd.DataFrame
) -> None:
    """Write the tables of `bench.compare` and `collinear.inflation` under a version.

    Rows that the version has already are replaced.
    """
    for file, table in (("insert_bench", bench), ("insert_vif", vif)):
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            values = {str(name): value for name, value in row.items()}
            execute(
                connection,
                f"client_engagement/{file}.sql",
                model_version=version,
                as_of=as_of,
                **values,
            )
