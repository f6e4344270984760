"""Exclusions are an input of the feed's lists."""

from jobs.migrate import run_sql_file

revision = "0014_feed_inputs"
down_revision = "0013_analyst_views"


def upgrade() -> None:
    run_sql_file(revision)
