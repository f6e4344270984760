"""Pictures of posts: vectors by encoder, and what was refused."""

from jobs.migrate import run_sql_file

revision = "0019_post_images"
down_revision = "0018_client_behavior_figures"


def upgrade() -> None:
    run_sql_file(revision)
