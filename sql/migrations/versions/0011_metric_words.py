"""What the metrics of lists mean, where analysts read them."""

from jobs.migrate import run_sql_file

revision = "0011_metric_words"
down_revision = "0010_user_seen"


def upgrade() -> None:
    run_sql_file(revision)
