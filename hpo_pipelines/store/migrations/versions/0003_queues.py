"""Runs wait in queues; what runs print is kept for other machines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "hpo_queues",
        sa.Column("name", _text, primary_key=True),
        sa.Column("paused", sa.Integer, nullable=False),
        sa.Column("capacity", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hpo_queued",
        sa.Column("position", _row_id, primary_key=True),
        sa.Column("task", _text, sa.ForeignKey("hpo_tasks.id"), nullable=False, unique=True),
        sa.Column("queue", _text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("options", _text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "hpo_consoles",
        sa.Column("run", _text, sa.ForeignKey("hpo_tasks.id"), primary_key=True),
        sa.Column("name", _text, primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("hpo_queued_order", "hpo_queued", ["queue", sa.text("priority DESC"), "position"])
