"""What is to be started by the clock, or by what happens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "hpo_schedules",
        sa.Column("name", _text, primary_key=True),
        sa.Column("trigger", _text, nullable=False),
        sa.Column("target", _text, nullable=False),
        sa.Column("options", _text, nullable=False),
        sa.Column("paused", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Double),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("seen", _text, nullable=False),
        sa.Column("fired", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double),
        sa.Column("last_task", _text),
        sa.Column("said", _text),
        sa.Column("created_at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
