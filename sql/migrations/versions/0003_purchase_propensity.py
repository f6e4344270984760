"""The purchase scores and the views people read."""

from jobs.migrate import run_sql_file

revision = "0003_purchase_propensity"
down_revision = "0002_shop"


def upgrade() -> None:
    run_sql_file(revision)
