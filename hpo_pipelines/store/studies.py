"""``store.studies``: what pages show of a study's trials, counted and read without making a task of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Double, and_, bindparam, case, cast, func, literal_column, select

from hpo_pipelines.store.database import Database
from hpo_pipelines.store.records import from_json, metric_value
from hpo_pipelines.store.schema import metrics, tasks

# Not a bound value: SQLite uses an index over some rows only if it sees that they are meant.
_IS_TRIAL = and_(
    tasks.c.study == bindparam("study"),
    tasks.c.kind == literal_column("'pipeline'"),
    tasks.c.parent.is_(None),
    tasks.c.trial.is_not(None),
)
_COUNTS = select(tasks.c.status, func.count()).where(_IS_TRIAL).group_by(tasks.c.status)
_ROWS = (
    select(
        tasks.c.trial,
        tasks.c.id,
        tasks.c.number,
        tasks.c.status,
        tasks.c.params,
        tasks.c.started_at,
        tasks.c.finished_at,
    )
    .where(_IS_TRIAL, tasks.c.trial >= bindparam("first"))
    .order_by(tasks.c.trial)
)
_REPORTED = (
    select(tasks.c.trial, metrics.c.value)
    .select_from(metrics.join(tasks, tasks.c.id == metrics.c.task))
    .where(_IS_TRIAL, metrics.c.name == bindparam("name"), metrics.c.step == bindparam("step"))
    .order_by(metrics.c.id)
)
_runs = select(tasks.c.id).where(_IS_TRIAL).cte("runs", recursive=True)
_inside = tasks.alias("inside")
_runs = _runs.union_all(
    select(_inside.c.id)
    .join(_runs, _inside.c.parent == _runs.c.id)
    .where(_inside.c.kind == literal_column("'pipeline'"))
)
"""The trials' runs, and those inside them: the repeats of a trial, nested pipelines."""
_steps = tasks.alias("steps")
_origins = tasks.alias("origins")
_reused = case((_steps.c.reused_from.is_(None), 0), else_=1)
_WORK = (
    select(
        _steps.c.component,
        _reused.label("reused"),
        func.count(),
        func.sum(func.coalesce(_origins.c.finished_at - _origins.c.started_at, cast(0.0, Double))),
        func.min(_steps.c.position),
    )
    .select_from(_steps.outerjoin(_origins, _origins.c.id == _steps.c.reused_from))
    .where(
        _steps.c.parent.in_(select(_runs.c.id)),
        _steps.c.kind == literal_column("'step'"),
        _steps.c.status == literal_column("'completed'"),
    )
    .group_by(_steps.c.component, literal_column("2"))
)


@dataclass(frozen=True)
class TrialRow:
    """The run of one trial. ``params`` are encoded, ``seconds`` None until it has ended."""

    trial: int
    run: str
    number: int
    status: str
    params: Mapping[str, Any]
    seconds: float | None


@dataclass(frozen=True)
class Shared:
    """How often the steps of one component completed: executed, and reused; ``saved`` is how long those would take."""

    component: str
    ran: int
    reused: int
    saved: float


class Studies:
    """Reads of a study, by its id. Every method raises StoreError if the database refuses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def counts(self, study: str) -> dict[str, int]:
        """How many of its trials have which status."""
        return {str(status): int(count) for status, count in self._database.rows(_COUNTS, {"study": study})}

    def rows(self, study: str, *, first: int = 0) -> list[TrialRow]:
        """Its trials from number ``first`` on, in the order of their numbers."""
        found = self._database.rows(_ROWS, {"study": study, "first": first})
        return [
            TrialRow(
                trial,
                run,
                number,
                status,
                from_json(params),
                None if began is None or ended is None else ended - began,
            )
            for trial, run, number, status, params, began, ended in found
        ]

    def reported(self, study: str, name: str, step: int) -> dict[int, float]:
        """What the runs of its trials, not their steps, reported as ``name`` at ``step``, by trial, as they came."""
        found = self._database.rows(_REPORTED, {"study": study, "name": name, "step": step}, ordered=True)
        return {trial: metric_value(value) for trial, value in found}

    def work(self, study: str) -> list[Shared]:
        """What its trials' completed steps share, in the order of their calls, steps of runs inside them included."""
        found: dict[str, list[float]] = {}
        places: dict[str, int] = {}
        for component, reused, count, saved, place in self._database.rows(_WORK, {"study": study}):
            sums = found.setdefault(component, [0, 0, 0.0])
            sums[1 if reused else 0] += count
            sums[2] += saved if reused else 0.0
            places[component] = min(places.get(component, place), place) if place is not None else 0
        ordered = sorted(found, key=lambda component: places[component])
        return [Shared(name, int(found[name][0]), int(found[name][1]), found[name][2]) for name in ordered]
