"""Published days whose inputs changed since are found faster."""

from jobs.migrate import run_sql_file

revision = "0012_stale_days"
down_revision = "0011_metric_words"


def upgrade() -> None:
    run_sql_file(revision)
