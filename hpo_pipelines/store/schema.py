"""The tables of the store, as this release wants them; ``migrations/`` says how an older store gets there.

Every name starts with ``hpo_``, so that one PostgreSQL database may also hold MLflow's and Optuna's tables.
JSON is text: its key order, NaN and infinities survive, and both databases keep the same bytes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

REVISIONS: tuple[str, ...] = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
"""Every schema revision, oldest first. A store of the last one is opened as it is."""

VERSION_TABLE = "hpo_schema"

metadata = MetaData()

# Ids, names and keys are compared byte by byte: PostgreSQL's language-aware order is slower, and not SQLite's.
_text = Text().with_variant(Text(collation="C"), "postgresql")
_row_id = BigInteger().with_variant(Integer, "sqlite")


def _word(name: str, *constraints: Any, **options: Any) -> Column[str]:
    return Column(name, _text, *constraints, **{"nullable": False, **options})


def _maybe(name: str, *constraints: Any) -> Column[str]:
    return Column(name, _text, *constraints, nullable=True)


def _task(name: str = "task", **options: Any) -> Column[str]:
    return _word(name, ForeignKey("hpo_tasks.id"), **options)


def _partly(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over some rows only: steps, which are most tasks, pay nothing for what only runs need."""
    condition = text(where)
    expressions = [text(column) if "(" in column else column for column in columns]
    return Index(name, *expressions, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _of_list(name: str, *columns: str, where: str) -> tuple[Index, Index]:
    """An index for a list, as each database reads it best.

    ``kind`` and ``parent`` are the same in all its rows. SQLite, which counts columns, prefers it for them to one over
    all runs; PostgreSQL leaves out conditions that an index implies by itself, and would then read all that is behind
    the column.
    """
    varied = [column for column in columns if column not in ("kind", "parent")]
    return (
        _partly(name, *columns, where=where).ddl_if(dialect="sqlite"),
        _partly(name, *varied, where=where).ddl_if(dialect="postgresql"),
    )


TOP = "kind = 'pipeline' AND parent IS NULL"
"""Runs that are not inside others."""
LISTED = f"{TOP} AND archived_at IS NULL"
ARCHIVED = f"{TOP} AND archived_at IS NOT NULL"
SECONDS = "coalesce(finished_at - started_at, -1.0)"
"""How long a task took, as lists sort by it: SQLite and PostgreSQL take the index only for this very text."""


tasks = Table(
    "hpo_tasks",
    metadata,
    # In the order of the fields of hpo_pipelines.task.Task.
    _word("id", primary_key=True),
    _word("kind"),
    _word("name"),
    _word("project"),
    _word("status"),
    _maybe("pipeline"),
    Column("number", Integer),
    _maybe("parent", ForeignKey("hpo_tasks.id")),
    _maybe("component"),
    Column("position", Integer),
    _word("params"),
    _maybe("snapshot"),
    _maybe("cloned_from"),
    _maybe("rerun_of"),
    _maybe("study"),
    Column("trial", Integer),
    _maybe("executor"),
    _maybe("queue"),
    _maybe("key"),
    _maybe("reused_from"),
    _maybe("reason"),
    _maybe("error"),
    _maybe("git"),
    _word("tags"),
    _word("notes"),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    # The status before this one: an UPDATE … RETURNING gives new values only, and the event wants the old.
    _maybe("previous"),
    Column("archived_at", Double),
    _maybe("attempt_of"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    _partly("hpo_tasks_children", "parent", "position", where="parent IS NOT NULL"),
    _partly("hpo_tasks_number", "project", "pipeline", "number", where="number IS NOT NULL", unique=True),
    _partly("hpo_tasks_runs", "id", where="kind = 'pipeline'"),
    _partly("hpo_tasks_runs_of", "project", "pipeline", "id", where="kind = 'pipeline'"),
    _partly("hpo_tasks_runs_status", "status", "id", where="kind = 'pipeline'"),
    _partly("hpo_tasks_study", "study", "id", where="study IS NOT NULL"),
    _partly("hpo_tasks_cloned_from", "cloned_from", where="cloned_from IS NOT NULL"),
    _partly("hpo_tasks_attempt_of", "attempt_of", where="attempt_of IS NOT NULL"),
    _partly("hpo_tasks_study_name", "project", "name", where="kind = 'study'", unique=True),
    _partly(
        "hpo_tasks_trial",
        "study",
        "trial",
        where="kind = 'pipeline' AND parent IS NULL AND trial IS NOT NULL",
        unique=True,
    ),
    # Of lists: each filter and each order that pages offer, so that a page of 100,000 runs reads only what it shows.
    # Of two that seem as good to it, SQLite takes whichever was made last.
    *_of_list("hpo_tasks_top_listed", "project", "pipeline", "kind", "id", where=LISTED),
    *_of_list("hpo_tasks_top_status", "project", "pipeline", "kind", "status", "id", where=LISTED),
    _partly("hpo_tasks_top_seconds", "project", "pipeline", SECONDS, "id", where=LISTED),
    _partly("hpo_tasks_top_number", "number", "id", where=LISTED),
    _partly("hpo_tasks_top_pipeline", "pipeline", "id", where=LISTED),
    _partly("hpo_tasks_top_longest", SECONDS, "id", where=LISTED),
    *_of_list("hpo_tasks_top_archived", "project", "pipeline", "kind", "id", where=ARCHIVED),
    *_of_list("hpo_tasks_top_archived_all", "kind", "id", where=ARCHIVED),
    *_of_list("hpo_tasks_top_tagged", "kind", "parent", "id", where=f"{TOP} AND tags <> '[]'"),
    _partly("hpo_tasks_studies", "id", where="kind = 'study'"),
    _partly("hpo_tasks_trial_status", "study", "status", where=f"{TOP} AND trial IS NOT NULL"),
)

run_numbers = Table(
    "hpo_run_numbers",
    metadata,
    _word("project", primary_key=True),
    _word("pipeline", primary_key=True),
    # A counter rather than max(number) + 1: the number of a deleted run is never given again.
    Column("last", Integer, nullable=False),
    # How many there are that lists show, and how many that are archived; without those inside other runs.
    Column("runs", Integer, nullable=False, server_default="0"),
    Column("archived", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

edges = Table(
    "hpo_edges",
    metadata,
    _task("target", primary_key=True),
    _task("source", primary_key=True),
    _word("kind", primary_key=True),
    _word("output", primary_key=True),
    _word("input", primary_key=True),
    Index("hpo_edges_source", "source"),
    sqlite_with_rowid=False,
)

attempts = Table(
    "hpo_attempts",
    metadata,
    _task(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _word("status"),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    _maybe("error"),
    _word("worker"),
    _word("console"),
    sqlite_with_rowid=False,
)

artifacts = Table(
    "hpo_artifacts",
    metadata,
    _word("digest", primary_key=True),
    # The same bytes may be two values: the text "1" and the number 1 in two formats.
    _word("value_digest", primary_key=True),
    _word("format"),
    Column("size", BigInteger, nullable=False),
    _word("preview"),
    Column("inline", LargeBinary),
)

outputs = Table(
    "hpo_outputs",
    metadata,
    _task(primary_key=True),
    _word("name", primary_key=True),
    Column("position", Integer, nullable=False),
    _word("digest"),
    _word("value_digest"),
    ForeignKeyConstraint(["digest", "value_digest"], ["hpo_artifacts.digest", "hpo_artifacts.value_digest"]),
    Index("hpo_outputs_artifact", "digest", "value_digest"),
    sqlite_with_rowid=False,
)

metrics = Table(
    "hpo_metrics",
    metadata,
    Column("id", _row_id, primary_key=True),
    _task(),
    _word("name"),
    # NULL is NaN, which SQLite cannot hold; nor can it hold -0.0, which becomes 0.0.
    Column("value", Double),
    Column("step", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Index("hpo_metrics_task", "task", "name", "id"),
    sqlite_autoincrement=True,
)

cache = Table(
    "hpo_cache",
    metadata,
    _word("key", primary_key=True),
    _task(),
    _word("component"),
    # JSON: {name: [digest, value digest]}
    _word("outputs"),
    _word("parts"),
    Column("seconds", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("hits", Integer, nullable=False),
    Column("hit_at", Double),
    Index("hpo_cache_component", "component", "created_at"),
    Index("hpo_cache_task", "task"),
)

snapshots = Table(
    "hpo_snapshots",
    metadata,
    _word("digest", primary_key=True),
    _word("entry"),
    _word("content_digest"),
    _word("content_value_digest"),
    _word("python"),
    _word("packages"),
    Column("created_at", Double, nullable=False),
    ForeignKeyConstraint(
        ["content_digest", "content_value_digest"], ["hpo_artifacts.digest", "hpo_artifacts.value_digest"]
    ),
)

events = Table(
    "hpo_events",
    metadata,
    Column("id", _row_id, primary_key=True),
    Column("at", Double, nullable=False),
    # No foreign key: what happened stays true when the task is gone.
    _word("task"),
    _word("kind"),
    _word("data"),
    Index("hpo_events_task", "task", "id"),
    sqlite_autoincrement=True,
)

followers = Table(
    "hpo_followers",
    metadata,
    _word("name", primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

mirrors = Table(
    "hpo_mirrors",
    metadata,
    _word("follower", primary_key=True),
    _word("task", primary_key=True),
    _word("reference"),
    sqlite_with_rowid=False,
)

leases = Table(
    "hpo_leases",
    metadata,
    _word("name", primary_key=True),
    _word("owner"),
    Column("expires_at", Double, nullable=False),
    # What the owner does, for a person who waits for it.
    _word("note", server_default=""),
    Index("hpo_leases_owner", "owner"),
    sqlite_with_rowid=False,
)

queues = Table(
    "hpo_queues",
    metadata,
    # Only those that somebody has paused or limited.
    _word("name", primary_key=True),
    Column("paused", Integer, nullable=False),
    # How many of its runs may be driven at once; NULL for no limit.
    Column("capacity", Integer),
    sqlite_with_rowid=False,
)

queued = Table(
    "hpo_queued",
    metadata,
    # First come, first served among those of one priority.
    Column("position", _row_id, primary_key=True),
    _task(unique=True),
    _word("queue"),
    Column("priority", Integer, nullable=False),
    Column("at", Double, nullable=False),
    # How many agents took it and died.
    Column("claims", Integer, nullable=False),
    # JSON: how it is to be driven, which its task does not say.
    _word("options"),
    sqlite_autoincrement=True,
)
Index("hpo_queued_order", queued.c.queue, queued.c.priority.desc(), queued.c.position)

schedules = Table(
    "hpo_schedules",
    metadata,
    # In the order of the fields of hpo_pipelines.store.schedules.Schedule; trigger, target, options and seen are JSON.
    _word("name", primary_key=True),
    _word("trigger"),
    _word("target"),
    _word("options"),
    Column("paused", Integer, nullable=False),
    Column("next_at", Double),
    Column("cursor", BigInteger, nullable=False),
    _word("seen"),
    Column("fired", BigInteger, nullable=False),
    Column("last_at", Double),
    _maybe("last_task"),
    _maybe("said"),
    Column("created_at", Double, nullable=False),
    sqlite_with_rowid=False,
)

consoles = Table(
    "hpo_consoles",
    metadata,
    _task("run", primary_key=True),
    _word("name", primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)


def insert_or(dialect: str, table: Table) -> postgresql.Insert:
    """An INSERT into ``table`` that knows ON CONFLICT, in the words of ``dialect`` (its name in SQLAlchemy)."""
    if dialect == "postgresql":
        return postgresql.insert(table)
    # Both classes offer the same on_conflict_do_nothing and on_conflict_do_update.
    return sqlite.insert(table)  # type: ignore[return-value]
