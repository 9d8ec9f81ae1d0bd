"""Runs of one's past, made by something else: recorded as runs of a pipeline, so that studies can begin with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine.controller import VALUE
from hpo_pipelines.errors import ParameterError
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.pipeline import Pipeline, components_of
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.task import Metric, PastRun, Task
from hpo_pipelines.types import Kind, Status, new_id

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

MARK = "imported"
"""The tag of what was imported; another says what from: ``imported:mlflow:…``."""


@dataclass(frozen=True)
class Names:
    """What a pipeline calls what a past run called otherwise: ours to theirs.

    A parameter of the pipeline, unnamed here, has its own name there. A metric ``fit.val_auc`` becomes one of the step
    ``fit``, ``value`` the returned number, any other a key of the returned dict; without ``metrics`` all are taken.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Imports:
    """What became of past runs: those that are runs now, how many were already, and of the others why not.

    ``defaulted`` are parameters of the pipeline that no past run had, ``dropped`` those of theirs that it lacks.
    """

    runs: tuple[Run, ...]
    known: int
    left_out: Mapping[str, int]
    defaulted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        out = [f"{count} left out: {reason}" for reason, count in self.left_out.items()]
        already = [f"{self.known} already here"] if self.known else []
        said = [f"{len(self.runs)} run{'' if len(self.runs) == 1 else 's'} imported", *already, *out]
        if self.runs and self.defaulted:
            said.append(f"none had {', '.join(self.defaulted)}, so they have the defaults")
        if self.runs and self.dropped:
            said.append(f"dropped: {', '.join(self.dropped)}")
        return "; ".join(said)


def record(
    workspace: Workspace, pipeline: Pipeline[..., Any], found: Iterable[PastRun], names: Names | None = None
) -> Imports:
    """Record past runs as runs of ``pipeline`` as it is now; one that was imported before is not again.

    What ``pipeline`` has no parameter for is left out of a run, what the run lacks has the pipeline's default. A run
    without a required parameter, or with a value that the parameter does not take, is left out. Its code is not known:
    it has the pipeline's, and says so. Raises ParameterError for names that are not the pipeline's, or a parameter's
    that no past run has, before anything is recorded.
    """
    names, found = names or Names(), list(found)
    _refuse_unknown(pipeline, names)
    had = dict.fromkeys(name for past in found for name in past.params)
    if found:
        _refuse_absent(names, list(had))
    theirs = {name: names.params.get(name, name) for name in pipeline.parameters.names}
    snapshot = workspace.record_code(pipeline)
    known = _sources(workspace, pipeline)
    runs, there, left_out = [], 0, Counter[str]()
    for past in found:
        if past.source in known:
            there += 1
            continue
        known.add(past.source)
        try:
            params = _params(pipeline, past, names)
        except ParameterError as error:
            left_out[str(error)] += 1
            continue
        lacking = [metric for metric in names.metrics.values() if metric not in past.metrics]
        if lacking and past.status is Status.COMPLETED:
            left_out[f"no metric {', '.join(lacking)}"] += 1
            continue
        runs.append(_recorded(workspace, pipeline, snapshot, past, params, names))
    defaulted = tuple(name for name in theirs if theirs[name] not in had)
    return Imports(tuple(runs), there, left_out, defaulted, tuple(sorted(had.keys() - theirs.values())))


def _refuse_unknown(pipeline: Pipeline[..., Any], names: Names) -> None:
    for ours in names.params:
        if ours not in pipeline.parameters.names:
            hint = closest(ours, list(pipeline.parameters.names))
            raise ParameterError(f"{pipeline.name} has no parameter {ours!r}; {hint}")
    steps = [component.name for component in components_of(pipeline)]
    for ours in names.metrics:
        step, dot, _ = ours.partition(".")
        if dot and step not in steps:
            raise ParameterError(f"{ours!r}: {pipeline.name} has no step {step!r}; {closest(step, steps)}")


def _refuse_absent(names: Names, had: list[str]) -> None:
    # Such a parameter would have its default in every run, and a study would learn that it does not matter.
    for ours, theirs in names.params.items():
        if theirs not in had:
            raise ParameterError(f"{ours}={theirs}: no past run has a parameter {theirs!r}; {closest(theirs, had)}")


def _sources(workspace: Workspace, pipeline: Pipeline[..., Any]) -> set[str]:
    wanted = TaskFilter(kind=Kind.PIPELINE, project=pipeline.project, pipeline=pipeline.name, tag=MARK)
    tags = (tag for task in workspace.store.tasks.list(wanted, limit=None) for tag in task.tags)
    return {tag.removeprefix(f"{MARK}:") for tag in tags}


def _params(pipeline: Pipeline[..., Any], past: PastRun, names: Names) -> dict[str, Any]:
    """The past run's parameters as the pipeline takes them, encoded."""
    given: dict[str, Any] = {}
    for name in pipeline.parameters.names:
        theirs = names.params.get(name, name)
        if theirs in past.params:
            value = past.params[theirs]
            given[name] = pipeline.parameters.parse_text(name, value) if isinstance(value, str) else value
    return pipeline.parameters.encode(pipeline.parameters.bind(given))


def _recorded(
    workspace: Workspace,
    pipeline: Pipeline[..., Any],
    snapshot: str,
    past: PastRun,
    params: Mapping[str, Any],
    names: Names,
) -> Run:
    store = workspace.store
    taken = {ours: past.metrics[theirs] for ours, theirs in names.metrics.items() if theirs in past.metrics}
    metrics = taken if names.metrics else past.metrics
    steps = {component.name for component in components_of(pipeline)}
    of_steps = {name: value for name, value in metrics.items() if name.partition(".")[0] in steps and "." in name}
    returned = {name: value for name, value in metrics.items() if name not in of_steps}
    run = Task(
        new_id(), Kind.PIPELINE, pipeline.name, pipeline.project, status=past.status, pipeline=pipeline.name,
        params=params, snapshot=snapshot, tags=(MARK, f"{MARK}:{past.source}"), notes=past.notes,
        created_at=past.started_at, started_at=past.started_at, finished_at=past.finished_at,
        reason=None if past.status is Status.COMPLETED else f"{past.status} where it was imported from",
    )  # fmt: skip
    outputs = {
        VALUE if name == VALUE else f"{VALUE}.{name}": workspace.artifacts.put(value, name=name)
        for name, value in returned.items()
    }
    with store.transaction():
        made = store.tasks.create(run)
        if outputs:
            store.tasks.set_outputs(made.id, outputs)
        for position, step in enumerate(dict.fromkeys(name.partition(".")[0] for name in of_steps)):
            _record_step(workspace, made, step, position, of_steps)
    return Run(workspace, made)


def _record_step(workspace: Workspace, run: Task, step: str, position: int, metrics: Mapping[str, float]) -> None:
    """A step that ended with its run, for its metrics; nobody knows what else it was."""
    at = run.finished_at or run.created_at
    made = workspace.store.tasks.create(
        Task(
            new_id(), Kind.STEP, step, run.project, status=Status.COMPLETED, parent=run.id, component=step,
            position=position, reason="imported", created_at=run.created_at, started_at=at, finished_at=at,
        )
    )  # fmt: skip
    mine = {name.partition(".")[2]: value for name, value in metrics.items() if name.partition(".")[0] == step}
    workspace.store.metrics.add([Metric(made.id, name, value, 0, at) for name, value in mine.items()])
