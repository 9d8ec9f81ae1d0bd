"""Deleting runs and studies with all that hangs on them; what happened to them stays in the events.

Kept are the events, which are append-only and get one more, ``deleted``, for each task; the numbers, which are never
given again; code; artifacts, which are swept once nobody needs them. What other tasks say of a deleted one
(``cloned_from``, ``rerun_of``, ``reused_from``) stays as it is: it stays true.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Connection, Table, bindparam, delete, or_, select, update

from hpo_pipelines.errors import IllegalTransition, StudyError, TaskError
from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.events import story
from hpo_pipelines.store.filters import batches
from hpo_pipelines.store.numbering import uncount
from hpo_pipelines.store.records import task_of
from hpo_pipelines.store.references import not_found
from hpo_pipelines.store.schema import (
    attempts,
    cache,
    consoles,
    edges,
    leases,
    metrics,
    mirrors,
    outputs,
    queued,
    tasks,
)
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

_ids: BindParameter[str] = bindparam("ids", expanding=True)
_THESE = select(tasks).where(tasks.c.id.in_(_ids)).order_by(tasks.c.id)
_TRIALS = select(tasks).where(tasks.c.study.in_(_ids), tasks.c.parent.is_(None)).order_by(tasks.c.id)
_INSIDE = select(tasks).where(tasks.c.parent.in_(_ids)).order_by(tasks.c.id)
_CLONES = select(tasks.c.cloned_from, tasks.c.study, tasks.c.kind, tasks.c.id).where(
    tasks.c.cloned_from.in_(_ids), or_(tasks.c.study.is_not(None), tasks.c.kind == str(Kind.STUDY))
)
_MADE = select(cache.c.key).where(cache.c.task.in_(_ids))
_REUSED = select(tasks.c.reused_from).where(tasks.c.reused_from.is_not(None)).distinct()
_REUSES = (
    select(tasks.c.key, tasks.c.id)
    .where(tasks.c.reused_from.is_not(None), tasks.c.key.is_not(None), tasks.c.status == str(Status.COMPLETED))
    .order_by(tasks.c.id)
)
_PASS_ON = update(cache).where(cache.c.key == bindparam("of")).values(task=bindparam("to"))
_FORGET = delete(cache).where(cache.c.key == bindparam("of"))
_SECONDS = select(attempts.c.task, attempts.c.started_at, attempts.c.finished_at).where(
    attempts.c.task.in_(_ids), attempts.c.status == str(Status.COMPLETED), attempts.c.finished_at.is_not(None)
)
_MIRRORS = select(mirrors.c.follower, mirrors.c.task, mirrors.c.reference).where(mirrors.c.task.in_(_ids))
_HANGING: tuple[tuple[Table, str], ...] = (
    (metrics, "task"), (outputs, "task"), (attempts, "task"), (edges, "target"), (edges, "source"), (mirrors, "task"),
    (queued, "task"), (consoles, "run"),
)  # fmt: skip


@dataclass(frozen=True)
class Removed:
    """What went, or would go: studies, runs with those inside them, steps; and outcomes nobody else had reused."""

    studies: tuple[Task, ...] = ()
    runs: tuple[Task, ...] = ()
    steps: tuple[Task, ...] = ()
    outcomes: tuple[str, ...] = ()
    """Keys."""
    passed_on: Mapping[str, str] = field(default_factory=dict)
    """Keys of outcomes that stay, each with the step that has it now: one that had reused it."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (*self.studies, *self.runs, *self.steps)

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            self.studies + other.studies,
            self.runs + other.runs,
            self.steps + other.steps,
            self.outcomes + other.outcomes,
            {**self.passed_on, **other.passed_on},
        )


class Removal:
    """The part of ``store.tasks`` that deletes."""

    _database: Database

    def delete(self, *task_ids: str) -> Removed:
        """Delete runs and studies, a study with its trials, a run with its steps and the runs inside it; all or none.

        An outcome that a step of another run has reused stays, as that step's; other outcomes of theirs go. Each
        deleted task gets an event ``deleted`` with what it was, how long its execution took, and what followers made of
        it elsewhere.

        Raises TaskNotFound; TaskError for a step, or a run inside another; IllegalTransition, with the story, for what
        is under way; StudyError for a trial, and for a run that a study's trials are clones of, unless the study goes
        too.
        """
        with self._database.transaction() as transaction:
            # Locked, so that none is started again while it goes.
            _by_ids(transaction.connection, _THESE.with_for_update(), task_ids)
            _by_ids(transaction.connection, _TRIALS.with_for_update(), task_ids)
            removed = _removal(transaction.connection, task_ids, transaction.now)
            _write(transaction, removed)
        return removed

    def removal(self, *task_ids: str) -> Removed:
        """What :meth:`delete` would delete; raises what it would raise."""
        with self._database.read() as connection:
            return _removal(connection, task_ids, self._database.dialect.now(connection))

    def trials(self, study_ids: Sequence[str]) -> list[Task]:
        """The runs of these studies, without those inside them."""
        with self._database.read() as connection:
            return _by_ids(connection, _TRIALS, study_ids)

    def reused(self, step_ids: Collection[str]) -> frozenset[str]:
        """Those of ``step_ids`` that other steps have reused. Looks at every step there is."""
        wanted = frozenset(step_ids)
        return wanted.intersection(step for (step,) in self._database.rows(_REUSED, {}))


def _removal(connection: Connection, task_ids: Sequence[str], now: float) -> Removed:
    wanted = _by_ids(connection, _THESE, task_ids)
    found = {task.id for task in wanted}
    for task_id in task_ids:
        if task_id not in found:
            raise not_found(connection, task_id)
    studies = tuple(task for task in wanted if task.kind is Kind.STUDY)
    trials = _by_ids(connection, _TRIALS, [study.id for study in studies])
    roots = {task.id: task for task in (*wanted, *trials) if task.kind is not Kind.STUDY}
    for task in (*studies, *roots.values()):
        _refuse(connection, task, {study.id for study in studies}, now)
    _refuse_bases(connection, roots, {study.id for study in studies})
    below = inside(connection, roots)
    runs = (*roots.values(), *(task for task in below if task.kind is Kind.PIPELINE))
    steps = tuple(task for task in below if task.kind is Kind.STEP)
    outcomes, passed_on = _outcomes(connection, {task.id for task in (*studies, *runs, *steps)})
    return Removed(studies, runs, steps, outcomes, passed_on)


def _by_ids(connection: Connection, statement: Any, ids: Iterable[str]) -> list[Task]:
    return [task_of(row) for some in batches(ids) for row in connection.execute(statement, {"ids": some})]


def inside(connection: Connection, runs: Iterable[str]) -> list[Task]:
    """Every task below ``runs``, level by level."""
    found: list[Task] = []
    level: Sequence[str] = list(runs)
    while level:
        below = _by_ids(connection, _INSIDE, level)
        found += below
        level = [task.id for task in below if task.kind is Kind.PIPELINE]
    return found


def _refuse(connection: Connection, task: Task, studies: Collection[str], now: float) -> None:
    """Raise what :meth:`Removal.delete` says of ``task``, where ``studies`` go too."""
    if task.parent is not None:
        around = "its run" if task.kind is Kind.STEP else "the run around it"
        raise TaskError(f"{task.label} is part of another run and stays as long as that; delete {around}.")
    if is_under_way(connection, task, now):
        lines = [event.line for event in story(connection, task.id)]
        what, cure = ("study", "stop its driver") if task.kind is Kind.STUDY else ("run", "abort it")
        raise IllegalTransition(
            f"{what} {task.label} is {task.status}, so it cannot be deleted; wait for it, or {cure}.", lines
        )
    if task.study is not None and task.study not in studies:
        name = _names(connection, [task.study])
        what = "an attempt of a trial" if task.trial is None else f"trial {task.trial}"
        raise StudyError(f"{task.label} is {what} of study {name}, which counts on it; delete the study.")


def is_under_way(connection: Connection, task: Task, now: float) -> bool:
    if task.status not in (Status.QUEUED, Status.RUNNING):
        return False
    # Nothing ends a study whose driver was killed, but its lease ends by itself.
    lease = select(leases.c.name).where(leases.c.name == f"study:{task.id}", leases.c.expires_at > now)
    return task.kind is not Kind.STUDY or connection.execute(lease).first() is not None


def _refuse_bases(connection: Connection, roots: Mapping[str, Task], studies: Collection[str]) -> None:
    for some in batches(roots):
        for origin, study, kind, clone in connection.execute(_CLONES, {"ids": some}):
            owner = clone if kind == Kind.STUDY else study
            if owner not in studies:
                raise StudyError(
                    f"{roots[origin].label} is what the trials of study {_names(connection, [owner])} are clones of, "
                    "which goes on from it when it is resumed; delete the study too."
                )


def _names(connection: Connection, ids: Sequence[str]) -> str:
    rows = connection.execute(select(tasks.c.name).where(tasks.c.id.in_(_ids)), {"ids": list(ids)})
    return ", ".join(name for (name,) in rows) or ", ".join(ids)


def _outcomes(connection: Connection, ids: Collection[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The keys of the outcomes of the tasks ``ids``: those to forget, and those that another step has by now."""
    made = sorted(key for some in batches(ids) for (key,) in connection.execute(_MADE, {"ids": some}))
    if not made:
        return (), {}
    # One look at all steps that reused something: there is no index by what, which every step would pay for.
    others = {key: step for key, step in connection.execute(_REUSES) if step not in ids}
    return tuple(key for key in made if key not in others), {key: others[key] for key in made if key in others}


def _write(transaction: Transaction, removed: Removed) -> None:
    ids = [task.id for task in removed.tasks]
    seconds = _seconds(transaction.connection, [step.id for step in removed.steps])
    shown = _mirrors(transaction.connection, ids)
    transaction.write(_PASS_ON, [{"of": key, "to": step} for key, step in removed.passed_on.items()])
    transaction.write(_FORGET, [{"of": key} for key in removed.outcomes])
    for table, column in _HANGING:
        _delete(transaction, table, column, ids)
    _delete(transaction, tasks, "id", [step.id for step in removed.steps])
    # Those inside before those around them, which the foreign key asks for where they are not deleted at once.
    _delete(transaction, tasks, "id", [run.id for run in reversed(removed.runs)])
    _delete(transaction, tasks, "id", [study.id for study in removed.studies])
    uncount(transaction, removed.runs)
    for task in removed.tasks:
        data: dict[str, Any] = {
            "kind": task.kind,
            "name": task.label,
            "parent": task.parent,
            "seconds": seconds.get(task.id),
        }
        if task.id in shown:
            data["mirrors"] = shown[task.id]
        transaction.event(task.id, "deleted", data)


def _seconds(connection: Connection, steps: Sequence[str]) -> dict[str, float]:
    rows = (row for some in batches(steps) for row in connection.execute(_SECONDS, {"ids": some}))
    return {task: finished - started for task, started, finished in rows}


def _mirrors(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Task → follower → what it made of the task: the followers read of it after it is gone."""
    found: dict[str, dict[str, str]] = {}
    for some in batches(ids):
        for follower, task, reference in connection.execute(_MIRRORS, {"ids": some}):
            found.setdefault(task, {})[follower] = reference
    return found


def _delete(transaction: Transaction, table: Table, column: str, ids: Sequence[str]) -> None:
    statement = delete(table).where(table.c[column].in_(_ids))
    for some in batches(ids):
        transaction.connection.execute(statement, {"ids": some})
