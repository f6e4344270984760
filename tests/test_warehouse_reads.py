"""Rows by ADBC: what a process pays for once, and what it does not keep."""

import time

import adbc_driver_postgresql
from sqlalchemy import text

from jobs.warehouse import adbc_connect


def backends(connection) -> int:
    found = connection.execute(
        text(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and backend_type = 'client backend'"
        )
    )
    return found.scalar_one()


def test_the_drivers_catalog_is_read_once_and_no_connection_stays(warehouse, monkeypatch):
    made = []
    connect = adbc_driver_postgresql.connect
    monkeypatch.setattr(
        adbc_driver_postgresql, "connect", lambda uri: made.append(uri) or connect(uri)
    )
    with warehouse.connect() as connection:
        before = backends(connection)
        for number in range(3):
            with adbc_connect(warehouse) as opened, opened.cursor() as cursor:
                cursor.execute(f"select {number}")
                assert cursor.fetchall() == [(number,)]
        assert len(made) <= 1  # none, where an earlier test used the same database
        deadline = time.monotonic() + 10  # a backend takes a moment to end
        while backends(connection) > before and time.monotonic() < deadline:
            connection.rollback()
            time.sleep(0.05)
        assert backends(connection) == before
