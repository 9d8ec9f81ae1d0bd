"""Lists of runs at 100,000 runs: an index for each order and filter that pages offer, and counts of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TOP = "kind = 'pipeline' AND parent IS NULL"
_LISTED = f"{_TOP} AND archived_at IS NULL"
_SECONDS = "coalesce(finished_at - started_at, -1.0)"


def _partly(name: str, *columns: str, where: str) -> None:
    condition = sa.text(where)
    expressions = [sa.text(column) if "(" in column else column for column in columns]
    op.create_index(name, "hpo_tasks", expressions, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    for name in ("runs", "archived"):
        op.add_column("hpo_run_numbers", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    for name, condition in (("runs", "IS NULL"), ("archived", "IS NOT NULL")):
        op.execute(
            f"UPDATE hpo_run_numbers SET {name} = (SELECT count(*) FROM hpo_tasks WHERE {_TOP}"
            f" AND archived_at {condition} AND hpo_tasks.project = hpo_run_numbers.project"
            " AND hpo_tasks.pipeline = hpo_run_numbers.pipeline)"
        )
    _partly("hpo_tasks_top_listed", "project", "pipeline", "kind", "id", where=_LISTED)
    _partly("hpo_tasks_top_status", "project", "pipeline", "kind", "status", "id", where=_LISTED)
    _partly("hpo_tasks_top_seconds", "project", "pipeline", _SECONDS, "id", where=_LISTED)
    _partly("hpo_tasks_top_number", "number", "id", where=_LISTED)
    _partly("hpo_tasks_top_pipeline", "pipeline", "id", where=_LISTED)
    _partly("hpo_tasks_top_longest", _SECONDS, "id", where=_LISTED)
    _partly("hpo_tasks_top_archived", "project", "pipeline", "kind", "id", where=f"{_TOP} AND archived_at IS NOT NULL")
    _partly("hpo_tasks_top_archived_all", "kind", "id", where=f"{_TOP} AND archived_at IS NOT NULL")
    _partly("hpo_tasks_top_tagged", "kind", "parent", "id", where=f"{_TOP} AND tags <> '[]'")
    _partly("hpo_tasks_studies", "id", where="kind = 'study'")
    _partly("hpo_tasks_trial_status", "study", "status", where=f"{_TOP} AND trial IS NOT NULL")
