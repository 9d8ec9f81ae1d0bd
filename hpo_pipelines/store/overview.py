"""``store.overview``: what lists of runs show, read for a whole page at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.filters import Shape, TaskFilter
from hpo_pipelines.store.records import metric_value, task_of
from hpo_pipelines.store.schema import SECONDS, metrics, run_numbers, tasks
from hpo_pipelines.store.within import within
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

_EXECUTED = (Status.COMPLETED, Status.FAILED, Status.RUNNING, Status.ABORTED, Status.PRUNED)
"""Where a step can stand that was executed."""

_IS_RUN = (tasks.c.kind == literal_column("'pipeline'")) & tasks.c.parent.is_(None)


def _pipelines(*, archived: bool) -> Select[Any]:
    """Project, name, runs and latest run of each pipeline; its counters have the count."""
    of_it = (tasks.c.project == run_numbers.c.project) & (tasks.c.pipeline == run_numbers.c.pipeline)
    hidden = tasks.c.archived_at.is_not(None) if archived else tasks.c.archived_at.is_(None)
    latest = select(func.max(tasks.c.id)).where(_IS_RUN, of_it, hidden).scalar_subquery().label("latest")
    count = run_numbers.c.archived if archived else run_numbers.c.runs
    return (
        select(run_numbers.c.project, run_numbers.c.pipeline, count, latest)
        .where(count > 0)
        .order_by(literal_column("latest").desc())
    )


_PIPELINES, _ARCHIVED = _pipelines(archived=False), _pipelines(archived=True)
_COUNTS = select(run_numbers.c.runs, run_numbers.c.archived).where(
    run_numbers.c.project == bindparam("of_project"), run_numbers.c.pipeline == bindparam("of_pipeline")
)
_latest = (
    select(tasks.c.id)
    .where(
        tasks.c.kind == literal_column("'pipeline'"),
        tasks.c.project == bindparam("of_project"),
        tasks.c.pipeline == bindparam("of_pipeline"),
        tasks.c.id < bindparam("before"),
    )
    .order_by(tasks.c.id.desc())
    .limit(bindparam("limit"))
    .subquery("latest")
)
_was_executed = and_(
    tasks.c.key.is_not(None),
    tasks.c.reused_from.is_(None),
    or_(*(tasks.c.status == literal_column(f"'{status}'") for status in _EXECUTED)),
)
_EXECUTIONS = (
    select(_latest.c.id, tasks.c.id, tasks.c.component, case((_was_executed, 1), else_=0))
    .select_from(_latest.outerjoin(tasks, tasks.c.parent == _latest.c.id))
    .order_by(_latest.c.id.desc())
)
_around = tasks.alias("around")
_UNDER_WAY = (
    select(tasks)
    .join(_around, _around.c.id == tasks.c.parent)
    .where(
        # Through the runs that have not ended, which are few: of all steps no index says which are under way.
        _around.c.kind == literal_column("'pipeline'"),
        or_(*(_around.c.status == literal_column(f"'{status}'") for status in Status if not status.finished)),
        tasks.c.kind == literal_column("'step'"),
        tasks.c.status == bindparam("of_status"),
    )
    .order_by(tasks.c.id.desc())
    .limit(bindparam("limit"))
)
_STEPS = (
    select(
        tasks.c.parent,
        case((tasks.c.component.is_(None), tasks.c.id)),  # a run inside
        tasks.c.status,
        case((tasks.c.reused_from.is_(None), 0), else_=1),
        func.count(),
    )
    .where(within(tasks.c.parent, "runs"))
    .group_by(tasks.c.parent, literal_column("2"), tasks.c.status, literal_column("4"))
)
_TOTALS = (
    select(tasks.c.parent, func.count(tasks.c.component), func.count(tasks.c.reused_from), func.count())
    .where(within(tasks.c.parent, "runs"))
    .group_by(tasks.c.parent)
)
_reporting = (
    select(tasks.c.id.label("task"), tasks.c.parent.label("run"), tasks.c.component, tasks.c.position)
    .where(within(tasks.c.parent, "runs"), tasks.c.component.is_not(None))
    .union_all(select(tasks.c.id, tasks.c.id, null(), null()).where(within(tasks.c.id, "runs")))
    .subquery("reporting")
)
_newest = (
    select(_reporting.c.run, _reporting.c.component, _reporting.c.position, func.max(metrics.c.id).label("metric"))
    .join(metrics, metrics.c.task == _reporting.c.task)
    .group_by(*_reporting.c, metrics.c.name)
    .subquery("newest")
)
_METRICS = (
    select(_newest.c.run, _newest.c.component, metrics.c.name, metrics.c.value)
    .join(metrics, metrics.c.id == _newest.c.metric)
    # The last call of a component has the last word, as in Run.metrics.
    .order_by(_newest.c.run, _newest.c.position, metrics.c.id)
)
_ORDERS: dict[str, ColumnElement[Any]] = {
    "created": tasks.c.id,
    "number": tasks.c.number,
    "pipeline": tasks.c.pipeline,
    "seconds": literal_column(SECONDS, Double),
    "status": tasks.c.status,
}
ORDERS = tuple(_ORDERS)
"""What a list of runs can be sorted by; every run has each of them."""


@dataclass(frozen=True)
class PipelineSummary:
    """One pipeline: how many runs it has, those inside other runs left out, and the id of the latest."""

    project: str
    pipeline: str
    runs: int
    latest: str


@dataclass(frozen=True)
class Brief:
    """A run in a few words, for where many are shown as one picture."""

    id: str
    number: int
    status: str
    started_at: float | None
    finished_at: float | None

    @property
    def seconds(self) -> float | None:
        return None if self.started_at is None or self.finished_at is None else self.finished_at - self.started_at


@dataclass(frozen=True)
class StepCounts:
    """How many steps of a run stand where; ``reused`` are those among the completed that were reused."""

    statuses: dict[str, int]
    reused: int = 0

    @property
    def total(self) -> int:
        return sum(self.statuses.values())


@dataclass(frozen=True)
class Executions:
    """Steps of some runs that were computed under a key, not reused: id and component of each.

    ``looked_at`` counts all that the runs have, ``last`` is the id of the oldest run, None where there was none.
    """

    steps: Sequence[tuple[str, str]]
    looked_at: int
    last: str | None


class Overview:
    """Reads for lists and pages. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pipelines(self, *, archived: bool = False) -> list[PipelineSummary]:
        """Every pipeline that has a run, the one with the latest run first; of archived runs, or of the others."""
        return [PipelineSummary(*row) for row in self._database.rows(_ARCHIVED if archived else _PIPELINES, {})]

    def count(self, where: TaskFilter) -> int:
        """How many tasks fulfil ``where``; the runs of one pipeline are not counted one by one."""
        if where.project is not None and where.pipeline is not None and where == _runs_of(where):
            values = {"of_project": where.project, "of_pipeline": where.pipeline}
            runs, archived = next(iter(self._database.rows(_COUNTS, values)), (0, 0))
            return int(runs + archived if where.archived is None else archived if where.archived else runs)
        ((count,),) = self._database.rows(_count(where.shape), where.values)
        return int(count)

    def page(
        self,
        where: TaskFilter,
        *,
        order: str = "created",
        descending: bool = True,
        after: tuple[Any, str] | None = None,
        limit: int = 50,
    ) -> tuple[list[Task], tuple[Any, str] | None]:
        """The first ``limit`` runs in ``order`` that fulfil ``where``, and where the next page begins, if one does.

        ``after`` is what an earlier page gave; runs recorded meanwhile neither repeat nor hide any. Raises
        ParameterError for an order that there is not.
        """
        if order not in _ORDERS:
            raise ParameterError(f"runs cannot be sorted by {order!r}; sort by {', '.join(_ORDERS)}.")
        if order == "created" and len(where.statuses) > 1:
            statuses, where = where.statuses, replace(where, status=None)
            statement = _page_of(where.shape, statuses, descending=descending, behind=after is not None)
        else:
            statement = _page(where.shape, order, descending=descending, behind=after is not None)
        values = {**where.values, "limit": limit + 1}
        if after is not None:
            values |= {"after": after[0], "after_id": after[1]}
        rows = self._database.rows(statement, values)
        found = [task_of(row[1:]) for row in rows[:limit]]
        return found, (rows[limit - 1][0], found[-1].id) if len(rows) > limit else None

    def briefs(self, where: TaskFilter, limit: int) -> list[Brief]:
        """The newest ``limit`` runs that fulfil ``where``, newest first."""
        return [Brief(*row) for row in self._database.rows(_briefs(where.shape), {**where.values, "limit": limit})]

    def under_way(self, status: Status, limit: int = 100) -> list[Task]:
        """The newest ``limit`` steps of this ``status`` of runs that have not ended, newest first."""
        values = {"of_status": str(status), "limit": limit}
        return [task_of(row) for row in self._database.rows(_UNDER_WAY, values)]

    def executions(self, project: str, pipeline: str, *, before: str, runs: int) -> Executions:
        """The steps that were executed in the newest ``runs`` of a pipeline with ids before ``before``, in whichever
        runs those are."""
        values = {"of_project": project, "of_pipeline": pipeline, "before": before, "limit": runs}
        rows = self._database.rows(_EXECUTIONS, values)
        executed = [(task, component) for _, task, component, was in rows if was]
        return Executions(executed, len(rows), rows[-1][0] if rows else None)

    def steps(self, run_ids: Sequence[str]) -> dict[str, StepCounts]:
        """How the steps of each of these runs stand, those of runs inside it included."""
        found: dict[str, tuple[dict[str, int], list[int]]] = {run: ({}, [0]) for run in run_ids}
        rows, parents = self._children(run_ids)
        for parent, status, reused, count in rows:
            for run in _upwards(parent, parents):
                if run in found:
                    statuses, shared = found[run]
                    statuses[status] = statuses.get(status, 0) + count
                    shared[0] += count if reused else 0
        return {run: StepCounts(statuses, shared[0]) for run, (statuses, shared) in found.items()}

    def totals(self, run_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """How many steps each of these runs has, as :meth:`steps` counts them, and how many of them were reused."""
        rows = self._database.rows(_TOTALS, {"runs": run_ids})
        if any(steps != children for _, steps, _, children in rows):  # some have runs inside
            return {run: (counts.total, counts.reused) for run, counts in self.steps(run_ids).items()}
        return dict.fromkeys(run_ids, (0, 0)) | {run: (steps, reused) for run, steps, reused, _ in rows}

    def _children(self, run_ids: Sequence[str]) -> tuple[list[Sequence[Any]], dict[str, str]]:
        """Counts of the steps of these runs, and of those inside them; and the run around each that is inside one."""
        # Level by level: what PostgreSQL expects of a recursive query makes it read the whole table for 60 runs.
        steps: list[Sequence[Any]] = []
        parents: dict[str, str] = {}
        seen = set(run_ids)
        level: Collection[str] = seen
        while level:
            rows = self._database.rows(_STEPS, {"runs": level})
            steps += [(parent, *counted) for parent, inside, *counted in rows if inside is None]
            fresh = {inside: parent for parent, inside, *_ in rows if inside is not None}
            parents |= fresh
            level = fresh.keys() - seen
            seen |= level
        return steps, parents

    def metrics(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """Of each run the last value of each metric: its own by their names, its steps' as ``fit.val_auc`` of the last
        call of ``fit``."""
        found: dict[str, dict[str, float]] = {run: {} for run in run_ids}
        own: dict[str, dict[str, float]] = {run: {} for run in run_ids}
        for run, component, name, value in self._database.rows(_METRICS, {"runs": run_ids}, ordered=True):
            if component is None:
                own[run][name] = metric_value(value)
            else:
                found[run][f"{component}.{name}"] = metric_value(value)
        return {run: found[run] | own[run] for run in found}


def _upwards(run: str, parents: Mapping[str, str]) -> Iterator[str]:
    """The run, the one around it, the one around that, …, as far as they are known."""
    at: str | None = run
    while at is not None:
        yield at
        at = parents.get(at)


@cache
def _count(shape: Shape) -> Select[Any]:
    return select(func.count()).select_from(tasks).where(*shape.conditions())


@cache
def _briefs(shape: Shape) -> Select[Any]:
    columns = (tasks.c.id, tasks.c.number, tasks.c.status, tasks.c.started_at, tasks.c.finished_at)
    return select(*columns).where(*shape.conditions()).order_by(tasks.c.id.desc()).limit(bindparam("limit"))


@cache
def _page(shape: Shape, order: str, *, descending: bool, behind: bool) -> Select[Any]:
    # All runs of one pipeline are equal in it; said so, for the databases sort 100,000 rows to find that out.
    key = tasks.c.id if order == "pipeline" and "pipeline" in shape.equal else _ORDERS[order]
    ordered = [tasks.c.id] if key is tasks.c.id else [key, tasks.c.id]
    statement = select(key, *tasks.c).where(*shape.conditions()).limit(bindparam("limit"))
    if key is tasks.c.number:
        statement = statement.where(key.is_not(None))  # as each run's is, and as the index of numbers says
    if behind:
        statement = statement.where(_behind(key, descending=descending))
    return statement.order_by(*(each.desc() if descending else each for each in ordered))


@cache
def _page_of(shape: Shape, statuses: tuple[str, ...], *, descending: bool, behind: bool) -> Select[Any]:
    """The newest, or oldest, of any of ``statuses``: an index has the order within one status only, so that of several
    rare ones all other runs would be read."""
    page = _page(shape, "created", descending=descending, behind=behind)
    parts = [page.where(tasks.c.status == literal_column(f"'{Status(status)}'")).subquery() for status in statuses]
    whole = union_all(*map(select, parts)).subquery("whole")
    ordered = whole.c.id.desc() if descending else whole.c.id
    return select(whole).order_by(ordered).limit(bindparam("limit"))


def _behind(key: ColumnElement[Any], *, descending: bool) -> ColumnElement[bool]:
    value, ident = bindparam("after", type_=key.type), bindparam("after_id", type_=tasks.c.id.type)
    if key is tasks.c.id:
        return tasks.c.id < ident if descending else tasks.c.id > ident
    # The first condition says no more than the second; it is what an index can begin at.
    if descending:
        return and_(key <= value, or_(key < value, tasks.c.id < ident))
    return and_(key >= value, or_(key > value, tasks.c.id > ident))


def _runs_of(where: TaskFilter) -> TaskFilter:
    """The runs of the pipeline that ``where`` names, those that are archived, those that are not, or both."""
    return TaskFilter(
        kind=Kind.PIPELINE, project=where.project, pipeline=where.pipeline, top=True, archived=where.archived
    )
