"""Post conversion: which post a row is about, and whether its version was fitted on it."""

from jobs.migrate import run_sql_file

revision = "0021_post_conversion_views"
down_revision = "0020_post_conversion"


def upgrade() -> None:
    run_sql_file(revision)
