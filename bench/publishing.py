"""Publishing a day against a bare binary COPY of the same rows into a plain table."""

from datetime import date, timedelta
from itertools import count

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import pyarrow as pa

from bench.ground import Ground, pairs
from jobs.publish import publish, stage
from jobs.purchase_propensity.explanation import SHAPE
from jobs.warehouse import adbc_uri

ROWS = 1_000_000
TABLE = "result.purchase_propensity"
DAY = date(2026, 3, 1)


def measure(databases: Ground) -> str:
    """Return rows/s of both; ours has deciles, constraints, key, checksum and publication."""
    data = scores(ROWS)
    days = count()

    def ours() -> None:
        day = DAY + timedelta(days=next(days))
        staged = stage(databases.warehouse, TABLE, day, "0of1", SHAPE, [data])
        publish(
            databases.warehouse, TABLE, day, [staged], "purchase_propensity/publish.sql", "bench"
        )

    own, floor, ratio = pairs(ours, lambda: bare(databases, data))
    return "\n".join(
        [
            f"bare binary COPY            {ROWS / floor:>12,.0f} rows/s",
            f"ours, visible to readers    {ROWS / own:>12,.0f} rows/s",
            f"ratio (goal .5)             {ratio:>12.2f}",
        ]
    )


def scores(rows: int) -> pa.Table:
    """Return rows as the job stages them, five reasons each."""
    generator = np.random.default_rng(1)
    chance = generator.uniform(0.001, 0.5, rows).astype("float32")
    names = pa.array([f"feature_number_{n}" for n in range(40)])
    offsets = pa.array(np.arange(rows + 1, dtype="int32") * 5)
    numbers = pa.array(generator.normal(size=rows * 5).astype("float32"))
    picked = names.take(pa.array(generator.integers(0, 40, rows * 5)))
    return pa.table(
        {
            "client_id": pa.array(np.arange(rows)),
            "probability": pa.array(chance),
            "expected_spend_90d": pa.array(chance * 100),
            "reason_features": pa.ListArray.from_arrays(offsets, picked),
            "reason_values": pa.ListArray.from_arrays(offsets, numbers),
            "reason_contributions": pa.ListArray.from_arrays(offsets, numbers),
            "reason_rest": pa.array(chance),
        }
    )


def bare(databases: Ground, data: pa.Table) -> None:
    """Write the same rows into a plain table and commit."""
    uri = adbc_uri(databases.warehouse)
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists staging.bare")
        cursor.execute(f"create table staging.bare ({SHAPE})")
        connection.commit()
        cursor.adbc_ingest("bare", data, mode="append", db_schema_name="staging")
        connection.commit()
