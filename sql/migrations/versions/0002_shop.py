"""The shop's raw tables, their quarantine and their daily aggregates."""

from jobs.migrate import run_sql_file

revision = "0002_shop"
down_revision = "0001_platform"


def upgrade() -> None:
    run_sql_file(revision)
