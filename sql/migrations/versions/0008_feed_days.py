"""The feed by day and topic, and by day and hour, for analysts."""

from jobs.migrate import run_sql_file

revision = "0008_feed_days"
down_revision = "0007_feed_at"


def upgrade() -> None:
    run_sql_file(revision)
