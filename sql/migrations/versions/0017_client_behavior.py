"""Client behavior: steps by client and day, result, transitions, candidates."""

from jobs.migrate import run_sql_file

revision = "0017_client_behavior"
down_revision = "0016_client_engagement"


def upgrade() -> None:
    run_sql_file(revision)
