"""What client jobs share: deciles, the words for a yes or no, studies."""

from jobs.migrate import run_sql_file

revision = "0015_client_scores"
down_revision = "0014_feed_inputs"


def upgrade() -> None:
    run_sql_file(revision)
