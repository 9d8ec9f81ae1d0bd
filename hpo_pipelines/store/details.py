"""What hangs on a task: its edges, its outputs and its attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql

from hpo_pipelines.store import artifacts as artifacts_
from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.records import artifact_of, attempt_of, attempt_row, plain
from hpo_pipelines.store.schema import artifacts, attempts, edges, insert_or, outputs, tasks
from hpo_pipelines.store.within import within
from hpo_pipelines.task import Attempt, Edge
from hpo_pipelines.types import ArtifactRef

_EDGES_OF_RUN = (
    select(edges.c.source, edges.c.target, edges.c.kind, edges.c.output, edges.c.input)
    .join(tasks, tasks.c.id == edges.c.target)
    .where(tasks.c.parent == bindparam("run"))
    .order_by(tasks.c.position, edges.c.target, edges.c.source, edges.c.kind, edges.c.output, edges.c.input)
)
_DROP_OUTPUTS = delete(outputs).where(outputs.c.task == bindparam("of"))
_INSERT_OUTPUTS = insert(outputs)
_OUTPUTS = (
    select(outputs.c.task, outputs.c.name, *artifacts.c)
    .join(
        artifacts,
        (artifacts.c.digest == outputs.c.digest) & (artifacts.c.value_digest == outputs.c.value_digest),
    )
    .where(within(outputs.c.task, "tasks"))
    .order_by(outputs.c.task, outputs.c.position)
)
_INSERT_ATTEMPT = insert(attempts)
_ATTEMPTS = select(attempts).where(attempts.c.task == bindparam("of")).order_by(attempts.c.number)
_ATTEMPTS_OF = select(attempts).where(within(attempts.c.task, "tasks")).order_by(attempts.c.task, attempts.c.number)


@cache
def _insert_edges(dialect: str) -> postgresql.Insert:
    return insert_or(dialect, edges).on_conflict_do_nothing()


@cache
def _upsert_attempt(dialect: str) -> postgresql.Insert:
    statement = insert_or(dialect, attempts)
    changed = ("status", "finished_at", "error", "worker", "console")
    return statement.on_conflict_do_update(
        index_elements=["task", "number"], set_={name: statement.excluded[name] for name in changed}
    )


def write_edges(transaction: Transaction, new: Iterable[Edge]) -> None:
    """Record ``new``; an edge that is known stays one edge."""
    rows = [{**vars(edge), "output": plain(edge.output), "input": plain(edge.input)} for edge in new]
    transaction.write(_insert_edges(transaction.connection.dialect.name), rows)


class Details:
    """The part of ``store.tasks`` about what hangs on a task."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_edges(self, edges: Sequence[Edge]) -> None:
        """Record ``edges`` between recorded tasks; an event ``edges`` for each target names the sources."""
        with self._database.transaction() as transaction:
            write_edges(transaction, edges)
            sources: dict[str, list[str]] = {}
            for edge in edges:
                sources.setdefault(edge.target, []).append(edge.source)
            for target, names in sources.items():
                transaction.event(target, "edges", {"sources": names})

    def edges(self, run_id: str) -> list[Edge]:
        """The edges into the steps of a run, in the order of the steps."""
        return [Edge(*row) for row in self._database.rows(_EDGES_OF_RUN, {"run": run_id})]

    def set_outputs(
        self, task_id: str, refs: Mapping[str, ArtifactRef], *, first: bool = False, known: bool = False
    ) -> None:
        """Make ``refs``, in their order, the outputs of a task in place of those it had; records their artifacts.

        ``first`` promises that it had none, ``known`` that the artifacts are recorded: each saves a statement.
        """
        with self._database.transaction() as transaction:
            if not known:
                artifacts_.write(transaction, refs.values())
            if not first:
                transaction.count(_DROP_OUTPUTS, {"of": task_id})
            rows = [
                {
                    "task": task_id,
                    "name": name,
                    "position": position,
                    "digest": ref.digest,
                    "value_digest": ref.value_digest,
                }
                for position, (name, ref) in enumerate(refs.items())
            ]
            transaction.write(_INSERT_OUTPUTS, rows)

    def outputs(self, task_id: str) -> dict[str, ArtifactRef]:
        """The outputs of a task by name, in their order; empty for a task that has none or does not exist."""
        return self.outputs_of([task_id])[task_id]

    def outputs_of(self, task_ids: Sequence[str]) -> dict[str, dict[str, ArtifactRef]]:
        """:meth:`outputs` of each of ``task_ids``."""
        found: dict[str, dict[str, ArtifactRef]] = {task_id: {} for task_id in task_ids}
        for task, name, *artifact in self._database.rows(_OUTPUTS, {"tasks": found}):
            found[task][name] = artifact_of(artifact)
        return found

    def start_attempt(self, attempt: Attempt) -> None:
        """Record an attempt as it starts. Raises StoreError if the task has one of this number."""
        with self._database.transaction() as transaction:
            transaction.write(_INSERT_ATTEMPT, [attempt_row(attempt)])
            transaction.event(attempt.task, "attempt", {"number": attempt.number, "status": attempt.status})

    def finish_attempt(self, attempt: Attempt) -> None:
        """Record how an attempt ended; one whose start was not recorded is recorded whole."""
        with self._database.transaction() as transaction:
            statement = _upsert_attempt(transaction.connection.dialect.name)
            transaction.write(statement, [attempt_row(attempt)])
            transaction.event(attempt.task, "attempt", {"number": attempt.number, "status": attempt.status})

    def attempts(self, task_id: str) -> list[Attempt]:
        """The attempts of a step, by number."""
        return [attempt_of(row) for row in self._database.rows(_ATTEMPTS, {"of": task_id})]

    def attempts_of(self, task_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        """:meth:`attempts` of each of ``task_ids``."""
        found: dict[str, list[Attempt]] = {task_id: [] for task_id in task_ids}
        for attempt in map(attempt_of, self._database.rows(_ATTEMPTS_OF, {"tasks": found}) if found else ()):
            found[attempt.task].append(attempt)
        return found
