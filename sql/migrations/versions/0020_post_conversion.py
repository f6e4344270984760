"""Post conversion: result, experiments, what an action is worth."""

from jobs.migrate import run_sql_file

revision = "0020_post_conversion"
down_revision = "0019_post_images"


def upgrade() -> None:
    run_sql_file(revision)
