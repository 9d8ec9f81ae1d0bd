"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _word(name: str) -> sa.Column[str]:
    return sa.Column(name, _text, nullable=False)


def _maybe(name: str) -> sa.Column[str]:
    return sa.Column(name, _text, nullable=True)


def _row_id(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False)


def _partly(name: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, "hpo_tasks", columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    _tasks()
    _shared()
    _details()
    _followed()


def _tasks() -> None:
    op.create_table(
        "hpo_run_numbers",
        _word("project"),
        _word("pipeline"),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project", "pipeline"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hpo_tasks",
        _word("id"),
        _word("kind"),
        _word("name"),
        _word("project"),
        _word("status"),
        _maybe("pipeline"),
        sa.Column("number", sa.Integer(), nullable=True),
        _maybe("parent"),
        _maybe("component"),
        sa.Column("position", sa.Integer(), nullable=True),
        _word("params"),
        _maybe("snapshot"),
        _maybe("cloned_from"),
        _maybe("rerun_of"),
        _maybe("study"),
        sa.Column("trial", sa.Integer(), nullable=True),
        _maybe("executor"),
        _maybe("queue"),
        _maybe("key"),
        _maybe("reused_from"),
        _maybe("reason"),
        _maybe("error"),
        _maybe("git"),
        _word("tags"),
        _word("notes"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        _maybe("previous"),
        sa.ForeignKeyConstraint(["parent"], ["hpo_tasks.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    _partly("hpo_tasks_children", ["parent", "position"], where="parent IS NOT NULL")
    _partly("hpo_tasks_cloned_from", ["cloned_from"], where="cloned_from IS NOT NULL")
    _partly("hpo_tasks_number", ["project", "pipeline", "number"], where="number IS NOT NULL", unique=True)
    _partly("hpo_tasks_runs", ["id"], where="kind = 'pipeline'")
    _partly("hpo_tasks_runs_of", ["project", "pipeline", "id"], where="kind = 'pipeline'")
    _partly("hpo_tasks_runs_status", ["status", "id"], where="kind = 'pipeline'")
    _partly("hpo_tasks_study", ["study", "id"], where="study IS NOT NULL")
    _partly("hpo_tasks_study_name", ["project", "name"], where="kind = 'study'", unique=True)
    _partly(
        "hpo_tasks_trial",
        ["study", "trial"],
        where="kind = 'pipeline' AND parent IS NULL AND trial IS NOT NULL",
        unique=True,
    )


def _shared() -> None:
    op.create_table(
        "hpo_artifacts",
        _word("digest"),
        _word("value_digest"),
        _word("format"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _word("preview"),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("digest", "value_digest"),
    )
    op.create_table(
        "hpo_cache",
        _word("key"),
        _word("task"),
        _word("component"),
        _word("outputs"),
        _word("parts"),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("hit_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["hpo_tasks.id"]),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("hpo_cache_component", "hpo_cache", ["component", "created_at"], unique=False)
    op.create_index("hpo_cache_task", "hpo_cache", ["task"], unique=False)
    op.create_table(
        "hpo_snapshots",
        _word("digest"),
        _word("entry"),
        _word("content_digest"),
        _word("content_value_digest"),
        _word("python"),
        _word("packages"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_digest", "content_value_digest"], ["hpo_artifacts.digest", "hpo_artifacts.value_digest"]
        ),
        sa.PrimaryKeyConstraint("digest"),
    )


def _details() -> None:
    op.create_table(
        "hpo_attempts",
        _word("task"),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        _word("status"),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        _maybe("error"),
        _word("worker"),
        _word("console"),
        sa.ForeignKeyConstraint(["task"], ["hpo_tasks.id"]),
        sa.PrimaryKeyConstraint("task", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hpo_edges",
        _word("target"),
        _word("source"),
        _word("kind"),
        _word("output"),
        _word("input"),
        sa.ForeignKeyConstraint(["source"], ["hpo_tasks.id"]),
        sa.ForeignKeyConstraint(["target"], ["hpo_tasks.id"]),
        sa.PrimaryKeyConstraint("target", "source", "kind", "output", "input"),
        sqlite_with_rowid=False,
    )
    op.create_index("hpo_edges_source", "hpo_edges", ["source"], unique=False)
    op.create_table(
        "hpo_metrics",
        _row_id("id"),
        _word("task"),
        _word("name"),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["hpo_tasks.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("hpo_metrics_task", "hpo_metrics", ["task", "name", "id"], unique=False)
    op.create_table(
        "hpo_outputs",
        _word("task"),
        _word("name"),
        sa.Column("position", sa.Integer(), nullable=False),
        _word("digest"),
        _word("value_digest"),
        sa.ForeignKeyConstraint(["digest", "value_digest"], ["hpo_artifacts.digest", "hpo_artifacts.value_digest"]),
        sa.ForeignKeyConstraint(["task"], ["hpo_tasks.id"]),
        sa.PrimaryKeyConstraint("task", "name"),
        sqlite_with_rowid=False,
    )
    op.create_index("hpo_outputs_artifact", "hpo_outputs", ["digest", "value_digest"], unique=False)


def _followed() -> None:
    op.create_table(
        "hpo_events",
        _row_id("id"),
        sa.Column("at", sa.Double(), nullable=False),
        _word("task"),
        _word("kind"),
        _word("data"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("hpo_events_task", "hpo_events", ["task", "id"], unique=False)
    op.create_table(
        "hpo_followers",
        _word("name"),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hpo_leases",
        _word("name"),
        _word("owner"),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )
    op.create_index("hpo_leases_owner", "hpo_leases", ["owner"], unique=False)
    op.create_table(
        "hpo_mirrors",
        _word("follower"),
        _word("task"),
        _word("reference"),
        sa.PrimaryKeyConstraint("follower", "task"),
        sqlite_with_rowid=False,
    )
