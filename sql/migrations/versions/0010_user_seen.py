"""What each user saw long ago, in one row."""

from jobs.migrate import run_sql_file

revision = "0010_user_seen"
down_revision = "0009_feed_exclusion"


def upgrade() -> None:
    run_sql_file(revision)
