"""A page of a list of runs: filters and order from a query, and what the rows show, read at once."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.server.site import Site
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.store.overview import StepCounts
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

MOST = 500


@dataclass(frozen=True)
class Query:
    """What is asked for. ``sort`` is a name of :data:`hpo_pipelines.store.overview.ORDERS`, with ``-`` for the highest
    first; ``status`` one or several statuses, with commas."""

    project: str | None = None
    pipeline: str | None = None
    status: str | None = None
    study: str | None = None
    tag: str | None = None
    sort: str = "-created"
    limit: int = 50
    cursor: str | None = None
    archived: bool = False

    def filter(self, site: Site) -> TaskFilter:
        """The condition for the store. Raises ParameterError for a status that there is not."""
        statuses = [word for word in (self.status or "").split(",") if word]
        for word in statuses:
            if word not in list(Status):
                raise ParameterError(f"status={word!r}: there is no such status; {closest(word, [*Status])}")
        return TaskFilter(
            kind=Kind.PIPELINE,
            project=self.project,
            pipeline=self.pipeline,
            status=[Status(word) for word in statuses] or None,
            study=None if self.study is None else site.study(self.study).id,
            tag=self.tag,
            top=True,
            archived=self.archived,
        )


@dataclass(frozen=True)
class Row:
    """One run of a list."""

    task: Task
    steps: StepCounts
    metrics: Mapping[str, float]
    abandoned: bool = False

    def record(self) -> dict[str, Any]:
        """The row as JSON."""
        task = self.task
        return {
            "id": task.id,
            "run": task.label,
            "project": task.project,
            "pipeline": task.pipeline,
            "number": task.number,
            "status": str(task.status),
            "reason": task.reason,
            "params": dict(task.params),
            "metrics": dict(self.metrics),
            "steps": dict(self.steps.statuses),
            "steps_reused": self.steps.reused,
            "cloned_from": task.cloned_from,
            "rerun_of": task.rerun_of,
            "attempt": task.attempt,
            "attempt_of": task.attempt_of,
            "study": task.study,
            "trial": task.trial,
            "tags": list(task.tags),
            "created_at": task.created_at,
            "started_at": task.started_at,
            "finished_at": task.finished_at,
            "archived_at": task.archived_at,
            "seconds": task.seconds,
        }


@dataclass(frozen=True)
class Listing:
    """One page of runs; ``next`` is the cursor of the following one."""

    rows: Sequence[Row]
    next: str | None = None
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """``params`` and ``metrics``: the names that these rows have."""


def listed(site: Site, query: Query) -> Listing:
    """The page that ``query`` asks for. Raises ParameterError for an order, a status or a cursor that there is not."""
    store = site.workspace.store
    order, descending = query.sort.removeprefix("-"), query.sort.startswith("-")
    tasks, behind = store.overview.page(
        query.filter(site),
        order=order,
        descending=descending,
        after=_decoded(query.cursor) if query.cursor else None,
        limit=max(1, min(query.limit, MOST)),
    )
    return Listing(rows_of(site, tasks), None if behind is None else _encoded(behind), _names(tasks))


def rows_of(site: Site, tasks: Sequence[Task]) -> list[Row]:
    """What lists show of ``tasks``."""
    store, ids = site.workspace.store, [task.id for task in tasks]
    steps, metrics = store.overview.steps(ids), store.overview.metrics(ids)
    return [Row(task, steps[task.id], metrics[task.id]) for task in tasks]


def _names(tasks: Sequence[Task]) -> dict[str, Sequence[str]]:
    return {"params": list(dict.fromkeys(name for task in tasks for name in task.params))}


def _encoded(behind: tuple[Any, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(behind).encode()).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[Any, str]:
    try:
        value, ident = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError):
        raise ParameterError(f"cursor={cursor!r} is none that an earlier page gave; leave it out.") from None
    if not isinstance(value, str | int | float) or not isinstance(ident, str):
        raise ParameterError(f"cursor={cursor!r} is none that an earlier page gave; leave it out.")
    return value, ident
