"""``store.tasks``: create, change and look up tasks."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from sqlalchemy import Double, Select, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from hpo_pipelines.errors import IllegalTransition, StudyError
from hpo_pipelines.store.archiving import Archiving
from hpo_pipelines.store.changes import PREVIOUS, change, move, refuse_fixed, values_of
from hpo_pipelines.store.database import Transaction
from hpo_pipelines.store.details import Details, write_edges
from hpo_pipelines.store.events import story
from hpo_pipelines.store.filters import Shape, TaskFilter
from hpo_pipelines.store.numbering import next_number
from hpo_pipelines.store.queues import LEAVE
from hpo_pipelines.store.records import task_of, task_row
from hpo_pipelines.store.references import find, not_found
from hpo_pipelines.store.removal import Removal, inside
from hpo_pipelines.store.schema import edges as edges_
from hpo_pipelines.store.schema import tasks
from hpo_pipelines.store.within import within
from hpo_pipelines.task import TRANSITIONS, Edge, Task
from hpo_pipelines.types import Kind, Status

_INSERT = insert(tasks)
_BY_ID = select(tasks).where(tasks.c.id == bindparam("of"))
_STATUS = select(tasks.c.status).where(tasks.c.id == bindparam("of"))
_HOLD = _STATUS.with_for_update(read=True)
_BY_IDS = select(tasks).where(within(tasks.c.id, "ids"))
_STATUSES = select(tasks.c.id, tasks.c.status).where(within(tasks.c.id, "ids"))
_WITHDRAW = (
    update(tasks)
    .where(tasks.c.id == bindparam("of"))
    .values(
        status=str(Status.SKIPPED),
        position=None,
        reused_from=None,
        finished_at=bindparam("now", type_=Double),
        reason=bindparam("reason", type_=tasks.c.reason.type),
    )
)
_DROP_EDGES = delete(edges_).where(edges_.c.target == bindparam("of"))
_CHILDREN = select(tasks).where(tasks.c.parent == bindparam("run")).order_by(tasks.c.position, tasks.c.id)
_CHILDREN_OF = (
    select(tasks).where(within(tasks.c.parent, "runs")).order_by(tasks.c.parent, tasks.c.position, tasks.c.id)
)


@cache
def _listing(shape: Shape, *, limited: bool, behind: bool) -> Select[Any]:
    statement = select(tasks).where(*shape.conditions()).order_by(tasks.c.id.desc())
    if behind:
        statement = statement.where(tasks.c.id < bindparam("before"))
    return statement.limit(bindparam("limit")) if limited else statement


class Tasks(Details, Archiving, Removal):
    """The tasks of a store. Every method raises StoreError if the database refuses."""

    # Writing

    def create(self, task: Task, edges: Sequence[Edge] = ()) -> Task:
        """Record a new task, of any status, with the edges into it; returned as it is stored.

        The store gives ``created_at``, where they are missing the ``started_at`` and ``finished_at`` that the status
        asks for, and a run its number, one more than the last of its project and pipeline. Raises StudyError if the
        project has a study of this name, or the study a run for this trial.
        """
        return self.create_many([task], edges)[0]

    def create_many(self, new: Sequence[Task], edges: Sequence[Edge] = ()) -> builtins.list[Task]:
        """:meth:`create` for each of ``new``, parents before children, all or none."""
        return self.record([(task, ()) for task in new], edges)

    def record(
        self, new: Sequence[tuple[Task, Sequence[tuple[Status, str | None]]]], edges: Sequence[Edge] = ()
    ) -> builtins.list[Task]:
        """Record tasks that were about for a moment already, each with the statuses and reasons it had before.

        They get their rows as they stand, and the events of all they went through. A ``created_at`` that is given
        stays. Otherwise like :meth:`create`, parents before children, all or none.
        """
        with self._database.transaction() as transaction:
            stored = [_as_stored(transaction, task) for task, _ in new]
            try:
                transaction.write(_INSERT, [task_row(task) for task in stored])
            except IntegrityError as error:
                _explain_study(transaction, error)
                raise
            write_edges(transaction, edges)
            for task, (_, story) in zip(stored, new, strict=True):
                _tell(transaction, task, [*story, (task.status, task.reason)])
        return stored

    def transition(
        self,
        task_id: str,
        status: Status,
        *,
        expect: Status | Collection[Status] | None = None,
        **changes: Any,
    ) -> Task:
        """Move a task to ``status`` and apply ``changes`` (as :meth:`update`), in one step.

        ``expect`` narrows the statuses it may be moved from. ``started_at`` and ``finished_at`` follow the status
        unless given; an event ``status`` says from, to and why; a run that has ended leaves its queue. Raises
        IllegalTransition, with the task's story, if it may not be moved, and TaskNotFound; then nothing is changed.
        """
        refuse_fixed(changes)
        sources = frozenset(one for one, after in TRANSITIONS.items() if status in after)
        if expect is not None:
            sources &= {expect} if isinstance(expect, str) else set(expect)
        with self._database.transaction() as transaction:
            values = {"of": task_id, "now": transaction.now, **values_of(changes)}
            moved = transaction.rows(move(status, sources, tuple(sorted(changes))), values)
            if not moved:
                raise self._illegal(task_id, status, expect)
            data = {"from": moved[0][PREVIOUS], "to": status, "reason": changes.get("reason")}
            transaction.event(task_id, "status", data)
            task = task_of(moved[0])
            if status.finished and task.kind is Kind.PIPELINE and task.parent is None:
                transaction.count(LEAVE, {"of": task_id})
        return task

    def reopen(self, study_id: str) -> Task:
        """Set a completed study running again, for more trials; any other task that completed is final.

        Raises IllegalTransition if it is no completed study.
        """
        with self._database.transaction() as transaction:
            statement = move(Status.RUNNING, frozenset({Status.COMPLETED}), (), Kind.STUDY)
            moved = transaction.rows(statement, {"of": study_id, "now": transaction.now})
            if not moved:
                raise self._illegal(study_id, Status.RUNNING, Status.COMPLETED)
            data = {"from": moved[0][PREVIOUS], "to": Status.RUNNING, "reason": "more trials"}
            transaction.event(study_id, "status", data)
        return task_of(moved[0])

    def withdraw(self, step_id: str, reason: str) -> None:
        """Take a step, or an inner run, out of the path of its run, so that it may be run anew: it is skipped, whatever
        it was.

        It has no position until the run calls it again. Raises TaskNotFound.
        """
        with self._database.transaction() as transaction:
            before = self.status(step_id)
            values = {"of": step_id, "now": transaction.now, "reason": reason}
            transaction.count(_WITHDRAW, values)
            transaction.count(_DROP_EDGES, {"of": step_id})
            transaction.event(step_id, "status", {"from": before, "to": Status.SKIPPED, "reason": reason})

    def _illegal(self, task_id: str, status: Status, expect: Status | Collection[Status] | None) -> IllegalTransition:
        task = self.get(task_id)
        after = ", ".join(sorted(TRANSITIONS[task.status])) or "nothing: clone it, or rerun it"
        if expect is not None and status in TRANSITIONS[task.status]:
            wanted = expect if isinstance(expect, str) else " or ".join(sorted(expect))
            message = f"{task.label} was to go from {wanted} to {status}, but is {task.status}."
        else:
            message = f"{task.label} is {task.status} and cannot become {status}. What can follow: {after}."
        told = story(partial(self._database.rows, ordered=True), task_id)
        return IllegalTransition(message, [event.line for event in told])

    def update(self, task_id: str, **changes: Any) -> Task:
        """Change fields of a task other than its status and its identity; an event ``changed`` names them.

        Raises TaskNotFound, and TaskError for a field that is not there or does not change.
        """
        refuse_fixed(changes)
        names = tuple(sorted(changes))
        with self._database.transaction() as transaction:
            changed = transaction.rows(change(names), {"of": task_id, **values_of(changes)})
            if not changed:
                raise not_found(transaction.rows, task_id)
            transaction.event(task_id, "changed", {"fields": names})
        return task_of(changed[0])

    # Reading

    def get(self, task_id: str) -> Task:
        """The task with this id. Raises TaskNotFound, which names what is near."""
        for row in self._database.rows(_BY_ID, {"of": task_id}):
            return task_of(row)
        raise not_found(self._database.rows, task_id)

    def get_all(self, task_ids: Sequence[str]) -> dict[str, Task]:
        """Each of these tasks by its id; those that are not there are left out."""
        found = map(task_of, self._database.rows(_BY_IDS, {"ids": task_ids}) if task_ids else ())
        return {task.id: task for task in found}

    def find(self, reference: str) -> Task:
        """The task that a person means by ``reference``.

        That is its id or the first 8 characters or more of it, ``churn#48``, ``project/churn#48``, ``churn`` (its
        latest run, or the study of this name), ``project/churn``. Raises TaskNotFound, naming what is near, or all
        that could be meant.
        """
        return find(self._database.rows, reference)

    def list(
        self, where: TaskFilter | None = None, *, limit: int | None = 100, before: str | None = None
    ) -> builtins.list[Task]:
        """The newest ``limit`` tasks (``None``: all) that fulfil ``where``, newest first.

        ``before``, an id, goes on from where an earlier list ended.
        """
        where = where or TaskFilter()
        statement = _listing(where.shape, limited=limit is not None, behind=before is not None)
        given = {"limit": limit, "before": before}
        values = where.values | {name: value for name, value in given.items() if value is not None}
        return [task_of(row) for row in self._database.rows(statement, values)]

    def statuses(self, task_ids: Sequence[str]) -> dict[str, Status]:
        """Where each of these tasks stands; those that are not there are left out."""
        return {task: Status(status) for task, status in self._database.rows(_STATUSES, {"ids": task_ids})}

    def status(self, task_id: str) -> Status:
        """Where one task stands. Raises TaskNotFound."""
        for (status,) in self._database.rows(_STATUS, {"of": task_id}):
            return Status(status)
        return self.get(task_id).status

    def hold(self, task_id: str) -> Status:
        """Where one task stands, until the transaction ends in which this is called. Raises TaskNotFound."""
        for (status,) in self._database.rows(_HOLD, {"of": task_id}):
            return Status(status)
        return self.get(task_id).status

    def children(self, run_id: str) -> builtins.list[Task]:
        """The steps and nested runs of a run, by position."""
        return [task_of(row) for row in self._database.rows(_CHILDREN, {"run": run_id})]

    def children_of(self, run_ids: Sequence[str]) -> dict[str, builtins.list[Task]]:
        """:meth:`children` of each of ``run_ids``."""
        found: dict[str, builtins.list[Task]] = {run_id: [] for run_id in run_ids}
        for task in map(task_of, self._database.rows(_CHILDREN_OF, {"runs": found})):
            found[str(task.parent)].append(task)
        return found

    def below(self, run_ids: Sequence[str]) -> builtins.list[Task]:
        """Every step of these runs and of the runs inside them, those runs too, level by level."""
        return inside(self._database.rows, run_ids)

    def ancestry(self, task_id: str) -> builtins.list[Task]:
        """What a task came from, what that came from, and so on, nearest first: the attempts before it, then what the
        first was cloned from. Raises TaskNotFound."""
        chain = [self.get(task_id)]
        while (before := chain[-1].attempt_of or chain[-1].cloned_from) is not None:
            origin = self._database.rows(_BY_ID, {"of": before})
            if not origin:
                break
            chain.append(task_of(origin[0]))
        return chain[1:]


def _tell(transaction: Transaction, task: Task, story: Sequence[tuple[Status, str | None]]) -> None:
    before, why = story[0]
    created = {"kind": task.kind, "name": task.name, "parent": task.parent, "status": before}
    if why is not None:
        created["reason"] = why
    transaction.event(task.id, "created", created)
    for status, reason in story[1:]:
        transaction.event(task.id, "status", {"from": before, "to": status, "reason": reason})
        before = status


def _as_stored(transaction: Transaction, task: Task) -> Task:
    if task.kind is Kind.STEP and task.created_at:
        return task  # whoever ran it knows its times
    now = transaction.now
    started, finished = task.started_at, task.finished_at
    if started is None and task.status is Status.RUNNING:
        started = now
    if finished is None and task.status.finished:
        finished = now
    number = next_number(transaction, task) if task.kind is Kind.PIPELINE else None
    created = task.created_at or now
    return replace(task, number=number, created_at=created, started_at=started, finished_at=finished)


def _explain_study(transaction: Transaction, error: IntegrityError) -> None:
    """Raise StudyError if two tasks claim one study name or one trial, in either database's words."""
    said = str(error.orig)
    if "hpo_tasks.trial" in said or "hpo_tasks_trial" in said:
        transaction.failed = True
        raise StudyError("The study has a run for this trial already. Resume it, or ask for another trial.") from error
    if "hpo_tasks.name" in said or "hpo_tasks_study_name" in said:
        transaction.failed = True
        raise StudyError("The project has a study of this name already. Resume it, or choose a name.") from error
