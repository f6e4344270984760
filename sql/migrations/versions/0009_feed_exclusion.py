"""Posts that a user must not be shown: kept by version, left out of lists and of feed_at."""

from jobs.migrate import run_sql_file

revision = "0009_feed_exclusion"
down_revision = "0008_feed_days"


def upgrade() -> None:
    run_sql_file(revision)
