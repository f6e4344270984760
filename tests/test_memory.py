"""Memory: what a night holds does not grow with the rows it moves."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from jobs.settings import ROOT
from jobs.warehouse import adbc_uri

MANY_ROWS, FEW_ROWS = 400_000, 20_000
# Measured: 0.1 MB more. Held as a list, the copy's blocks take 169 MB more.
MORE_MEGABYTES = 8

# Not getrusage: it starts from the size of the process that forked this one.
PEAK = """
import os, re, sys
from datetime import date
from jobs.warehouse import engine

def say_peak():
    print("peak", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""
# The copy alone as well: the checks import much, which would hide what it holds.
EXTRACTION = """
from jobs.extract.job import accept_table, check_table, copy_table
app = engine(os.environ["AIRFLOW_CONN_APP"])
warehouse = engine(os.environ["AIRFLOW_CONN_WAREHOUSE"])
table, as_of = "apparel_purchases", date.fromisoformat(sys.argv[1])
copy_table(app, warehouse, table, as_of)
say_peak()
check_table(warehouse, table, as_of)
accept_table(warehouse, table, as_of)
say_peak()
"""
PUBLISHING = """
sys.path.insert(0, "tests")
import pyarrow as pa
from test_publish import DAY, SELECT, SHAPE, TABLE, publish, scores, stage
warehouse = engine(os.environ["AIRFLOW_CONN_WAREHOUSE"])
blocks = (
    scores(20_000, n).set_column(0, "client_id", pa.array(range(n * 20_000, (n + 1) * 20_000)))
    for n in range(int(sys.argv[1]) // 20_000)
)
staged = stage(warehouse, TABLE, DAY, "0of1", SHAPE, blocks)
publish(warehouse, TABLE, DAY, [staged], SELECT, "v1")
say_peak()
"""
# The rows of a day's dataset, block by block, as scoring reads them.
READING = """
from bench.filled import AS_OF, fill
from jobs.warehouse import read_blocks
warehouse = engine(os.environ["AIRFLOW_CONN_WAREHOUSE"])
fill(warehouse, int(sys.argv[1]), 30)
blocks = read_blocks(
    warehouse, "purchase_propensity/dataset.sql", 5_000,
    as_of=AS_OF, horizon_days=90, known_by=AS_OF, shard=0, shards=1,
)
assert sum(map(len, blocks)) == int(sys.argv[1])
say_peak()
"""


@pytest.fixture
def peak_megabytes(app, warehouse) -> Callable[[str, object], list[float]]:
    """Return a function: the most megabytes that a process of its own held until it said so."""
    connections = {
        "AIRFLOW_CONN_APP": adbc_uri(app),
        "AIRFLOW_CONN_WAREHOUSE": adbc_uri(warehouse),
    }

    def measure(work: str, argument: object) -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", PEAK + work, str(argument)],
            cwd=ROOT,
            env={**os.environ, **connections},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said = [line.split() for line in done.stdout.splitlines()]
        return [int(words[1]) / 1024 for words in said if words[0] == "peak"]

    return measure


def grown(few: list[float], many: list[float]) -> float:
    """Return the largest growth from one list of peaks to the other."""
    return max(more - less for less, more in zip(few, many, strict=True))


def buy(owner: Engine, day: str, rows: int) -> None:
    statement = (
        "insert into apparel_purchases select n, 1, n % 90 + 1, '[''4'', ''28'']',"
        " cast(:day as date), 'message ' || n from generate_series(1, :rows) as n"
    )
    with owner.begin() as connection:
        connection.execute(text(statement), {"day": day, "rows": rows})


def test_extraction_holds_no_more_of_a_day_of_many_rows_than_of_a_day_of_few(
    app, as_role, peak_megabytes
):
    buy(as_role("simulator"), "2026-03-01", FEW_ROWS)
    buy(as_role("simulator"), "2026-03-02", MANY_ROWS)

    few = peak_megabytes(EXTRACTION, "2026-03-02")
    many = peak_megabytes(EXTRACTION, "2026-03-03")

    assert grown(few, many) < MORE_MEGABYTES, (few, many)


def test_publishing_holds_no_more_of_many_scores_than_of_few(peak_megabytes):
    few = peak_megabytes(PUBLISHING, FEW_ROWS * 2)
    many = peak_megabytes(PUBLISHING, MANY_ROWS)

    assert grown(few, many) < MORE_MEGABYTES, (few, many)


def test_scoring_reads_no_more_of_many_clients_at_once_than_of_few(peak_megabytes):
    few = peak_megabytes(READING, FEW_ROWS * 4)  # some of the driver's batches
    many = peak_megabytes(READING, FEW_ROWS * 10)

    assert grown(few, many) < MORE_MEGABYTES * 2, (few, many)
