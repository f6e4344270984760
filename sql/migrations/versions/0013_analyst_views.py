"""What an analyst asked for: reasons in words, users behind an experiment, truer comments."""

from jobs.migrate import run_sql_file

revision = "0013_analyst_views"
down_revision = "0012_stale_days"


def upgrade() -> None:
    run_sql_file(revision)
