"""Schemas, roles' rights and the platform's own records."""

from jobs.migrate import run_sql_file

revision = "0001_platform"
down_revision = None


def upgrade() -> None:
    run_sql_file(revision)
