"""Client engagement: result, bench, multicollinearity; deciles of all client jobs in one table."""

from jobs.migrate import run_sql_file

revision = "0015_client_engagement"
down_revision = "0014_feed_inputs"


def upgrade() -> None:
    run_sql_file(revision)
