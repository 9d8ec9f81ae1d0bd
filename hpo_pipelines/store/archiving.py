"""Archiving runs and studies: they stay as they are, and are listed only for who asks."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, update

from hpo_pipelines.errors import IllegalTransition, TaskError
from hpo_pipelines.store.database import Database, Transaction
from hpo_pipelines.store.events import story
from hpo_pipelines.store.numbering import recount
from hpo_pipelines.store.references import not_found
from hpo_pipelines.store.removal import THESE, THESE_LOCKED, TRIALS_LOCKED, by_ids, inside, is_under_way
from hpo_pipelines.store.schema import tasks
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind

_SET = (
    update(tasks)
    .where(tasks.c.id == bindparam("of"))
    .values(archived_at=bindparam("at", type_=tasks.c.archived_at.type))
)


class Archiving:
    """The part of ``store.tasks`` that archives."""

    _database: Database

    def archive(self, *task_ids: str) -> list[Task]:
        """Archive runs, with those inside them, and studies, with their trials; all or none. What is archived stays so.

        Gives those that were not before, each with an event ``archived``. Raises TaskNotFound; TaskError for a step, or
        a run inside another; IllegalTransition, with the story, for what waits or is under way.
        """
        return self._set(task_ids, archived=True)

    def restore(self, *task_ids: str) -> list[Task]:
        """Take what :meth:`archive` has archived back into the lists; each gets an event ``restored``.

        Raises TaskNotFound, and TaskError for a step, or a run inside another.
        """
        return self._set(task_ids, archived=False)

    def _set(self, task_ids: Sequence[str], *, archived: bool) -> list[Task]:
        with self._database.transaction() as transaction:
            found = [task for task in _whole(transaction, task_ids) if (task.archived_at is not None) != archived]
            if archived:
                for task in found:
                    _refuse_under_way(transaction, task)
            at = transaction.now if archived else None
            transaction.write(_SET, [{"of": task.id, "at": at} for task in found])
            recount(transaction, found)
            for task in found:
                transaction.event(task.id, "archived" if archived else "restored", {})
            return by_ids(transaction.rows, THESE, [task.id for task in found])


def _whole(transaction: Transaction, task_ids: Sequence[str]) -> list[Task]:
    """The tasks themselves, the trials of studies, and the runs inside those."""
    wanted = by_ids(transaction.rows, THESE_LOCKED, task_ids)
    known = {task.id for task in wanted}
    for task_id in task_ids:
        if task_id not in known:
            raise not_found(transaction.rows, task_id)
    for task in wanted:
        if task.parent is not None:
            around = "its run" if task.kind is Kind.STEP else "the run around it"
            raise TaskError(f"{task.label} is part of another run and is archived with it; name {around}.")
    studies = [task.id for task in wanted if task.kind is Kind.STUDY]
    trials = by_ids(transaction.rows, TRIALS_LOCKED, studies)
    roots = {task.id: task for task in (*wanted, *trials)}
    below = inside(transaction.rows, [task.id for task in roots.values() if task.kind is Kind.PIPELINE])
    return [*roots.values(), *(task for task in below if task.kind is Kind.PIPELINE)]


def _refuse_under_way(transaction: Transaction, task: Task) -> None:
    if task.parent is None and is_under_way(transaction.rows, task, transaction.now):
        lines = [event.line for event in story(transaction.rows, task.id)]
        cure = "stop its driver" if task.kind is Kind.STUDY else "abort it"
        raise IllegalTransition(
            f"{task.label} is {task.status}, so it cannot be archived; wait for it, or {cure}.", lines
        )
