"""The feed's raw tables, their quarantine and their daily aggregates."""

from jobs.migrate import run_sql_file

revision = "0004_social"
down_revision = "0003_purchase_propensity"


def upgrade() -> None:
    run_sql_file(revision)
