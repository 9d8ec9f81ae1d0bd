"""A run may end by asking for another attempt, which is a run of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    word = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("hpo_tasks", sa.Column("attempt_of", word))
    op.add_column("hpo_tasks", sa.Column("attempt", sa.Integer, nullable=False, server_default="1"))
    asked_for = sa.text("attempt_of IS NOT NULL")
    op.create_index(
        "hpo_tasks_attempt_of", "hpo_tasks", ["attempt_of"], sqlite_where=asked_for, postgresql_where=asked_for
    )
