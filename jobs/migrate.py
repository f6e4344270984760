"""Bring a warehouse to the newest schema: Alembic revisions that run plain SQL files."""

from pathlib import Path

from alembic import command, op
from alembic.config import Config
from sqlalchemy import text

from jobs.warehouse import driver, engine

MIGRATIONS = Path(__file__).parents[1] / "sql" / "migrations"
# Two callers at once (a test run and a demo, two containers) must not both create the schema.
LOCK = "select pg_advisory_xact_lock(hashtextextended('nightshift migration', 0))"


def upgrade(url: str) -> None:
    """Run every revision that ``url``'s database lacks, as its user (role migrator)."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine(url).begin() as connection:
        connection.execute(text(LOCK))
        connection.execute(text("create schema if not exists ops"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def run_sql_file(revision: str) -> None:
    """Run sql/migrations/<revision>.sql, many statements, inside the migration's transaction."""
    statements = (MIGRATIONS / f"{revision}.sql").read_text()
    driver(op.get_bind()).execute(statements)
