"""Client behavior: words for its figures and its candidates' shares."""

from jobs.migrate import run_sql_file

revision = "0018_client_behavior_figures"
down_revision = "0017_client_behavior"


def upgrade() -> None:
    run_sql_file(revision)
