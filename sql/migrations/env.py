"""Alembic's entry: runs the revisions on the connection that jobs.migrate hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="migration", version_table_schema="ops")
with context.begin_transaction():
    context.run_migrations()
