"""Deleting runs and studies with all that hangs on them; what happened to them stays in the events.

Kept are the events, which are append-only and get one more, ``deleted``, for each task; the numbers, which are never
given again; code; artifacts, which are swept once nobody needs them. What other tasks say of a deleted one
(``cloned_from``, ``rerun_of``, ``reused_from``) stays as it is: it stays true.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache as once
from typing import Any

from sqlalchemy import Delete, Executable, Table, bindparam, delete, or_, select, update

from hpo_pipelines.errors import IllegalTransition, StudyError, TaskError
from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.driver import Rows
from hpo_pipelines.store.events import story
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
from hpo_pipelines.store.within import within
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

THESE = select(tasks).where(within(tasks.c.id, "ids")).order_by(tasks.c.id)
THESE_LOCKED = THESE.with_for_update()
_TRIALS = select(tasks).where(within(tasks.c.study, "ids"), tasks.c.parent.is_(None)).order_by(tasks.c.id)
TRIALS_LOCKED = _TRIALS.with_for_update()
_INSIDE = select(tasks).where(within(tasks.c.parent, "ids")).order_by(tasks.c.id)
_NAMES = select(tasks.c.name).where(within(tasks.c.id, "ids"))
_CLONES = select(tasks.c.cloned_from, tasks.c.study, tasks.c.kind, tasks.c.id).where(
    within(tasks.c.cloned_from, "ids"), or_(tasks.c.study.is_not(None), tasks.c.kind == str(Kind.STUDY))
)
_MADE = select(cache.c.key).where(within(cache.c.task, "ids"))
_REUSED = select(tasks.c.reused_from).where(tasks.c.reused_from.is_not(None)).distinct()
_REUSES = (
    select(tasks.c.key, tasks.c.id)
    .where(tasks.c.reused_from.is_not(None), tasks.c.key.is_not(None), tasks.c.status == str(Status.COMPLETED))
    .order_by(tasks.c.id)
)
_PASS_ON = update(cache).where(cache.c.key == bindparam("of")).values(task=bindparam("to"))
_FORGET = delete(cache).where(cache.c.key == bindparam("of"))
_SECONDS = select(attempts.c.task, attempts.c.started_at, attempts.c.finished_at).where(
    within(attempts.c.task, "ids"), attempts.c.status == str(Status.COMPLETED), attempts.c.finished_at.is_not(None)
)
_MIRRORS = select(mirrors.c.follower, mirrors.c.task, mirrors.c.reference).where(within(mirrors.c.task, "ids"))
_DRIVEN = select(leases.c.name).where(leases.c.name == bindparam("lease"), leases.c.expires_at > bindparam("now"))
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
            by_ids(transaction.rows, THESE_LOCKED, task_ids)
            by_ids(transaction.rows, TRIALS_LOCKED, task_ids)
            removed = _removal(transaction.rows, task_ids, transaction.now)
            _write(transaction, removed)
        return removed

    def removal(self, *task_ids: str) -> Removed:
        """What :meth:`delete` would delete; raises what it would raise."""
        with self._database.read() as connection:
            now = self._database.dialect.now(connection)
        return _removal(self._database.rows, task_ids, now)

    def trials(self, study_ids: Sequence[str]) -> list[Task]:
        """The runs of these studies, without those inside them."""
        return by_ids(self._database.rows, _TRIALS, study_ids)

    def reused(self, step_ids: Collection[str]) -> frozenset[str]:
        """Those of ``step_ids`` that other steps have reused. Looks at every step there is."""
        wanted = frozenset(step_ids)
        return wanted.intersection(step for (step,) in self._database.rows(_REUSED, {}))


def _removal(rows: Rows, task_ids: Sequence[str], now: float) -> Removed:
    wanted = by_ids(rows, THESE, task_ids)
    found = {task.id for task in wanted}
    for task_id in task_ids:
        if task_id not in found:
            raise not_found(rows, task_id)
    studies = tuple(task for task in wanted if task.kind is Kind.STUDY)
    trials = by_ids(rows, _TRIALS, [study.id for study in studies])
    roots = {task.id: task for task in (*wanted, *trials) if task.kind is not Kind.STUDY}
    for task in (*studies, *roots.values()):
        _refuse(rows, task, {study.id for study in studies}, now)
    _refuse_bases(rows, roots, {study.id for study in studies})
    below = inside(rows, roots)
    runs = (*roots.values(), *(task for task in below if task.kind is Kind.PIPELINE))
    steps = tuple(task for task in below if task.kind is Kind.STEP)
    outcomes, passed_on = _outcomes(rows, {task.id for task in (*studies, *runs, *steps)})
    return Removed(studies, runs, steps, outcomes, passed_on)


def by_ids(rows: Rows, statement: Executable, ids: Iterable[str]) -> list[Task]:
    """The tasks that ``statement`` finds for ``ids``; none without any."""
    ids = list(ids)
    return [task_of(row) for row in rows(statement, {"ids": ids})] if ids else []


def inside(rows: Rows, runs: Iterable[str]) -> list[Task]:
    """Every task below ``runs``, level by level."""
    found: list[Task] = []
    level: Sequence[str] = list(runs)
    while level:
        below = by_ids(rows, _INSIDE, level)
        found += below
        level = [task.id for task in below if task.kind is Kind.PIPELINE]
    return found


def _refuse(rows: Rows, task: Task, studies: Collection[str], now: float) -> None:
    """Raise what :meth:`Removal.delete` says of ``task``, where ``studies`` go too."""
    if task.parent is not None:
        around = "its run" if task.kind is Kind.STEP else "the run around it"
        raise TaskError(f"{task.label} is part of another run and stays as long as that; delete {around}.")
    if is_under_way(rows, task, now):
        lines = [event.line for event in story(rows, task.id)]
        what, cure = ("study", "stop its driver") if task.kind is Kind.STUDY else ("run", "abort it")
        raise IllegalTransition(
            f"{what} {task.label} is {task.status}, so it cannot be deleted; wait for it, or {cure}.", lines
        )
    if task.study is not None and task.study not in studies:
        name = _names(rows, [task.study])
        what = "an attempt of a trial" if task.trial is None else f"trial {task.trial}"
        raise StudyError(f"{task.label} is {what} of study {name}, which counts on it; delete the study.")


def is_under_way(rows: Rows, task: Task, now: float) -> bool:
    if task.status not in (Status.QUEUED, Status.RUNNING):
        return False
    # Nothing ends a study whose driver was killed, but its lease ends by itself.
    return task.kind is not Kind.STUDY or bool(rows(_DRIVEN, {"lease": f"study:{task.id}", "now": now}))


def _refuse_bases(rows: Rows, roots: Mapping[str, Task], studies: Collection[str]) -> None:
    for origin, study, kind, clone in rows(_CLONES, {"ids": roots}):
        owner = clone if kind == Kind.STUDY else study
        if owner not in studies:
            raise StudyError(
                f"{roots[origin].label} is what the trials of study {_names(rows, [owner])} are clones of, "
                "which goes on from it when it is resumed; delete the study too."
            )


def _names(rows: Rows, ids: Sequence[str]) -> str:
    return ", ".join(name for (name,) in rows(_NAMES, {"ids": ids})) or ", ".join(ids)


def _outcomes(rows: Rows, ids: Collection[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The keys of the outcomes of the tasks ``ids``: those to forget, and those that another step has by now."""
    made = sorted(key for (key,) in rows(_MADE, {"ids": ids}))
    if not made:
        return (), {}
    # One look at all steps that reused something: there is no index by what, which every step would pay for.
    others = {key: step for key, step in rows(_REUSES, {}) if step not in ids}
    return tuple(key for key in made if key not in others), {key: others[key] for key in made if key in others}


def _write(transaction: Transaction, removed: Removed) -> None:
    ids = [task.id for task in removed.tasks]
    seconds = _seconds(transaction.rows, [step.id for step in removed.steps])
    shown = _mirrors(transaction.rows, ids)
    transaction.write(_PASS_ON, [{"of": key, "to": step} for key, step in removed.passed_on.items()])
    transaction.write(_FORGET, [{"of": key} for key in removed.outcomes])
    for table, column in _HANGING:
        transaction.count(_delete(table, column), {"ids": ids})
    # At once, for the foreign key of what is inside to what is around it is looked at when all are gone.
    transaction.count(_delete(tasks, "id"), {"ids": ids})
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


def _seconds(rows: Rows, steps: Sequence[str]) -> dict[str, float]:
    return {task: finished - started for task, started, finished in rows(_SECONDS, {"ids": steps})}


def _mirrors(rows: Rows, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Task → follower → what it made of the task: the followers read of it after it is gone."""
    found: dict[str, dict[str, str]] = {}
    for follower, task, reference in rows(_MIRRORS, {"ids": ids}):
        found.setdefault(task, {})[follower] = reference
    return found


@once
def _delete(table: Table, column: str) -> Delete:
    return delete(table).where(within(table.c[column], "ids"))
