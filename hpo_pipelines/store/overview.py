"""``store.overview``: what lists of runs show, read for a whole page at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, literal_column, or_, select

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.filters import TaskFilter, batches
from hpo_pipelines.store.records import metric_value, task_of
from hpo_pipelines.store.schema import metrics, tasks
from hpo_pipelines.task import Task

_IS_RUN = (tasks.c.kind == literal_column("'pipeline'")) & tasks.c.parent.is_(None)
_PIPELINES = (
    select(tasks.c.project, tasks.c.pipeline, func.count(), func.max(tasks.c.id))
    .where(_IS_RUN, tasks.c.archived_at.is_(None))
    .group_by(tasks.c.project, tasks.c.pipeline)
    .order_by(func.max(tasks.c.id).desc())
)
_ARCHIVED = (
    select(tasks.c.project, tasks.c.pipeline, func.count(), func.max(tasks.c.id))
    .where(_IS_RUN, tasks.c.archived_at.is_not(None))
    .group_by(tasks.c.project, tasks.c.pipeline)
    .order_by(func.max(tasks.c.id).desc())
)
_asked = (
    select(tasks.c.id.label("root"), tasks.c.id)
    .where(tasks.c.id.in_(bindparam("runs", expanding=True)))
    .cte("asked", recursive=True)
)
_inside = tasks.alias("inside")
_asked = _asked.union_all(
    select(_asked.c.root, _inside.c.id)
    .join(_asked, _inside.c.parent == _asked.c.id)
    .where(_inside.c.kind == literal_column("'pipeline'"))
)
"""The runs asked for and those inside them, each with the one asked for."""
_STEPS = (
    select(_asked.c.root, tasks.c.status, case((tasks.c.reused_from.is_(None), 0), else_=1), func.count())
    .join(_asked, tasks.c.parent == _asked.c.id)
    .where(tasks.c.component.is_not(None))
    .group_by(_asked.c.root, tasks.c.status, literal_column("3"))
)
_newest = (
    select(func.max(metrics.c.id))
    .join(tasks, tasks.c.id == metrics.c.task)
    .where(tasks.c.parent.in_(bindparam("runs", expanding=True)), tasks.c.component.is_not(None))
    .group_by(metrics.c.task, metrics.c.name)
)
_METRICS = (
    select(tasks.c.parent, tasks.c.component, metrics.c.name, metrics.c.value)
    .join(tasks, tasks.c.id == metrics.c.task)
    .where(metrics.c.id.in_(_newest))
    # The last call of a component has the last word, as in Run.metrics.
    .order_by(tasks.c.parent, tasks.c.position, metrics.c.id)
)
_seconds = func.coalesce(tasks.c.finished_at - tasks.c.started_at, -1.0)
_ORDERS: dict[str, ColumnElement[Any]] = {
    "created": tasks.c.id,
    "number": func.coalesce(tasks.c.number, 0),
    "pipeline": func.coalesce(tasks.c.pipeline, ""),
    "seconds": _seconds,
    "status": tasks.c.status,
}
ORDERS = tuple(_ORDERS)
"""What a list of runs can be sorted by."""


@dataclass(frozen=True)
class PipelineSummary:
    """One pipeline: how many runs it has, those inside other runs left out, and the id of the latest."""

    project: str
    pipeline: str
    runs: int
    latest: str


@dataclass(frozen=True)
class StepCounts:
    """How many steps of a run stand where; ``reused`` are those among the completed that were reused."""

    statuses: dict[str, int]
    reused: int = 0

    @property
    def total(self) -> int:
        return sum(self.statuses.values())


class Overview:
    """Reads for lists and pages. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pipelines(self, *, archived: bool = False) -> list[PipelineSummary]:
        """Every pipeline that has a run, the one with the latest run first; of archived runs, or of the others."""
        with self._database.read() as connection:
            return [PipelineSummary(*row) for row in connection.execute(_ARCHIVED if archived else _PIPELINES)]

    def count(self, where: TaskFilter) -> int:
        """How many tasks fulfil ``where``."""
        statement = select(func.count()).select_from(tasks)
        for condition in where.conditions():
            statement = statement.where(condition)
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def page(
        self,
        where: TaskFilter,
        *,
        order: str = "created",
        descending: bool = True,
        after: tuple[Any, str] | None = None,
        limit: int = 50,
    ) -> tuple[list[Task], tuple[Any, str] | None]:
        """The first ``limit`` tasks in ``order`` that fulfil ``where``, and where the next page begins, if one does.

        ``after`` is what an earlier page gave; tasks recorded meanwhile neither repeat nor hide any. Raises
        ParameterError for an order that there is not.
        """
        if order not in _ORDERS:
            raise ParameterError(f"runs cannot be sorted by {order!r}; sort by {', '.join(_ORDERS)}.")
        key = _ORDERS[order]
        statement = select(key, *tasks.c).limit(limit + 1)
        statement = statement.order_by(*((key.desc(), tasks.c.id.desc()) if descending else (key, tasks.c.id)))
        for condition in where.conditions():
            statement = statement.where(condition)
        if after is not None:
            statement = statement.where(_behind(key, after, descending=descending))
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        found = [task_of(row[1:]) for row in rows[:limit]]
        return found, (rows[limit - 1][0], found[-1].id) if len(rows) > limit else None

    def steps(self, run_ids: Sequence[str]) -> dict[str, StepCounts]:
        """How the steps of each of these runs stand, those of runs inside it included."""
        found: dict[str, tuple[dict[str, int], list[int]]] = {run: ({}, [0]) for run in run_ids}
        for run, status, reused, count in self._all(_STEPS, run_ids):
            statuses, shared = found[run]
            statuses[status] = statuses.get(status, 0) + count
            shared[0] += count if reused else 0
        return {run: StepCounts(statuses, shared[0]) for run, (statuses, shared) in found.items()}

    def metrics(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Of each run the last value of each metric of its steps: ``fit.val_auc`` of the last call of ``fit``."""
        found: dict[str, dict[str, float]] = {run: {} for run in run_ids}
        for run, component, name, value in self._all(_METRICS, run_ids, ordered=True):
            found[run][f"{component}.{name}"] = metric_value(value)
        return found

    def _all(self, statement: Select[Any], run_ids: Sequence[str], *, ordered: bool = False) -> list[Any]:
        with self._database.read(ordered=ordered) as connection:
            return [row for some in batches(run_ids) for row in connection.execute(statement, {"runs": some})]


def _behind(key: ColumnElement[Any], after: tuple[Any, str], *, descending: bool) -> ColumnElement[bool]:
    value, ident = after
    if key is tasks.c.id:
        return tasks.c.id < ident if descending else tasks.c.id > ident
    if descending:
        return or_(key < value, and_(key == value, tasks.c.id < ident))
    return or_(key > value, and_(key == value, tasks.c.id > ident))
