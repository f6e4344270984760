"""The feed at any moment, and the tables and views of the experiments' readout."""

from jobs.migrate import run_sql_file

revision = "0007_feed_at"
down_revision = "0006_feed_recommendation"


def upgrade() -> None:
    run_sql_file(revision)
