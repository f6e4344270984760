"""Experiments, the split of users between arms, and the impressions that tell who saw what."""

from jobs.migrate import run_sql_file

revision = "0005_experiment"
down_revision = "0004_social"


def upgrade() -> None:
    run_sql_file(revision)
