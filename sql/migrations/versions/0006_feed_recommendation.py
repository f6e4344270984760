"""The feed's lists and the views people read."""

from jobs.migrate import run_sql_file

revision = "0006_feed_recommendation"
down_revision = "0005_experiment"


def upgrade() -> None:
    run_sql_file(revision)
