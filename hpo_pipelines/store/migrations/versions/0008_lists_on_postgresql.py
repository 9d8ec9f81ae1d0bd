"""The indexes of lists on PostgreSQL, without the columns that are the same in all their rows: it does not look past
them, and read all runs of a pipeline for the few of a status."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TOP = "kind = 'pipeline' AND parent IS NULL"
_INDEXES = {
    "listed": (("project", "pipeline", "id"), "archived_at IS NULL"),
    "status": (("project", "pipeline", "status", "id"), "archived_at IS NULL"),
    "archived": (("project", "pipeline", "id"), "archived_at IS NOT NULL"),
    "archived_all": (("id",), "archived_at IS NOT NULL"),
    "tagged": (("id",), "tags <> '[]'"),
}


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for name, (columns, condition) in _INDEXES.items():
        op.drop_index(f"hpo_tasks_top_{name}", "hpo_tasks")
        where = sa.text(f"{_TOP} AND {condition}")
        op.create_index(f"hpo_tasks_top_{name}", "hpo_tasks", list(columns), postgresql_where=where)
