"""From a pipeline or a run to its plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine import Refresh, RunOptions
from hpo_pipelines.errors import CodeUnavailable, ParameterError
from hpo_pipelines.executors import console
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning.comparison import Comparison
from hpo_pipelines.planning.durations import Durations
from hpo_pipelines.planning.record import Plan, Stop
from hpo_pipelines.planning.tracer import Planned, PlanTracer, Unforeseen, place_in
from hpo_pipelines.snapshot import Code, Content, live
from hpo_pipelines.store.records import from_json, to_json
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, new_id

if TYPE_CHECKING:
    from hpo_pipelines.run import Run
    from hpo_pipelines.workspace import Workspace


def plan(
    workspace: Workspace,
    target: Pipeline[..., Any] | Run,
    params: Mapping[str, Any] | None = None,
    *,
    refresh: Refresh | None = None,
) -> Plan:
    """What a run of ``target`` would do: a pipeline with ``params`` over its defaults, or a clone of a run.

    A run's plan is that of its recorded code with ``params`` over its own. Writes nothing. What the body prints is
    dropped; a body that raises ends the plan, and :attr:`Plan.stop` says so.

    Raises ParameterError for parameters that do not fit, CodeUnavailable when a run's code cannot be loaded here.
    """
    pipeline, code, given = resolved(workspace, target, params or {})
    values = pipeline.parameters.bind(given)
    encoded = from_json(to_json(pipeline.parameters.encode(values)))
    options = RunOptions(refresh=refresh or Refresh(), first_party=frozenset(pipeline.first_party))
    run = Task(new_id(), Kind.PIPELINE, pipeline.name, pipeline.project, pipeline=pipeline.name, params=encoded)
    run = replace(run, snapshot=None if isinstance(target, Pipeline) else target.task.snapshot)
    comparison = Comparison(workspace.store, workspace.artifacts, lambda: _content(pipeline))
    planned = Planned(workspace.engine, Durations(workspace.store), comparison)
    tracer = PlanTracer(planned, run, code, options)
    stop = _followed(planned, tracer, pipeline, pipeline.parameters.decode(encoded))
    return Plan(pipeline.name, encoded, tuple(planned.steps), stop)


def _content(pipeline: Pipeline[..., Any]) -> Content | None:
    """The code as it is now, to be compared with what is recorded."""
    try:
        return Content.decode(pipeline.captured().content)
    except CodeUnavailable:  # then it does not run either, which is for the run to say
        return None


def resolved(
    workspace: Workspace, target: Pipeline[..., Any] | Run, params: Mapping[str, Any]
) -> tuple[Pipeline[..., Any], Code, dict[str, Any]]:
    """The pipeline, its code, and ``params`` over what a run of it had. Raises ParameterError for neither."""
    if isinstance(target, Pipeline):
        return target, live(), dict(params)
    task = getattr(target, "task", None)
    if not isinstance(task, Task):
        raise ParameterError(f"a pipeline or a run can be planned, not {target!r}; is it under @pipeline?")
    pipeline, code = workspace.code(task)
    return pipeline, code, {**pipeline.parameters.decode(task.params), **params}


def _followed(
    planned: Planned, tracer: PlanTracer, pipeline: Pipeline[..., Any], values: Mapping[str, Any]
) -> Stop | None:
    """Follow the body as far as it goes; where it ended before its end, if it did."""
    try:
        with console.teed(os.devnull, echo=False):
            tracer.follow(pipeline, values)
    except Unforeseen as end:
        return Stop(str(end), end.place)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a raising body is a finding, whatever it raised
        if planned.ended is not None:
            return Stop(str(planned.ended), planned.ended.place)
        place = place_in(error.__traceback__, planned.bodies)
        kind = type(error).__name__
        return Stop(f"the body raises {kind}: {error}", place, error=kind)
    return None
