"""Client engagement: result, bench, multicollinearity, threshold."""

from jobs.migrate import run_sql_file

revision = "0016_client_engagement"
down_revision = "0015_client_scores"


def upgrade() -> None:
    run_sql_file(revision)
