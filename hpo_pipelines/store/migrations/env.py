"""Run by alembic for each migration of a store: it works on the connection and in the transaction it is given."""

from __future__ import annotations

from alembic import context

from hpo_pipelines.store import schema

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=schema.metadata,
    version_table=schema.VERSION_TABLE,
    # SQLite changes a table by copying it.
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
