"""What the trials of a study are clones of, and whether its space fits that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo_pipelines.errors import ParameterError, SpaceError, StudyError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.run import Run
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, new_id
from hpo_pipelines.workspace import Workspace
from search_spaces import Fixed, Space, load
from search_spaces.errors import SpaceError as PlainSpaceError
from search_spaces.groups import nested


@dataclass(frozen=True)
class Recorded:
    """A pipeline whose code is recorded, by its digest: what is tuned where its files are not."""

    pipeline: Pipeline[..., Any]
    snapshot: str
    git: Mapping[str, Any] | None = None


def base_of(
    workspace: Workspace, target: Pipeline[..., Any] | Run | Recorded, space: Space, executor: str | None
) -> Task:
    """The record that trials are clones of: a run, or one of the pipeline's defaults that is never stored.

    What a pipeline has no default for comes from the space: fixed values now, the others with each trial.
    """
    if isinstance(target, Run):
        return replace(target.task, executor=executor or target.task.executor)
    recorded = target if isinstance(target, Recorded) else None
    target = target.pipeline if isinstance(target, Recorded) else target
    if not isinstance(target, Pipeline):
        raise StudyError(f"optimize takes a pipeline or a run, not {target!r}; is it under @pipeline?")
    _check_names(space, target)  # before what it lacks is missed: a misspelt name is the likelier reason
    given = nested({name: item.examples()[0] for name, item in space.items()})
    needed = {
        name: value for name, value in given.items() if name in target.parameters and target.parameters[name].required
    }
    base = workspace.record_of(target, needed, executor=executor, snapshot=recorded.snapshot if recorded else None)
    if recorded is not None:
        base = replace(base, git=recorded.git)
    drawn = {name for name in needed if not isinstance(space.get(name), Fixed)}
    return replace(base, params={name: value for name, value in base.params.items() if name not in drawn})


def parsed(space: Space | Mapping[str, Any] | str | Path) -> Space:
    try:
        return load(space) if isinstance(space, str | Path) else Space(space)
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None


def check(space: Space, workspace: Workspace, base: Task) -> None:
    """Raise SpaceError unless the pipeline of ``base`` has every parameter of ``space`` and accepts its values."""
    check_values(space, workspace.code(base)[0])


def check_values(space: Space, pipeline: Pipeline[..., Any]) -> None:
    """Raise SpaceError unless ``pipeline`` has every parameter of ``space`` and accepts its values."""

    def accepts(name: str, value: Any) -> str | None:
        try:
            pipeline.parameters.check(name, value)
        except ParameterError as error:
            return str(error)
        return None

    try:
        space.check(pipeline.parameters.names, accepts=accepts)
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None


def _check_names(space: Space, pipeline: Pipeline[..., Any]) -> None:
    try:
        space.check(pipeline.parameters.names)
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None


def recorded_base(workspace: Workspace, study: Task) -> Task:
    """:func:`base_of` a study that is recorded."""
    origin = None if study.cloned_from is None else workspace.store.tasks.get(study.cloned_from)
    base = origin or Task(
        new_id(),
        Kind.PIPELINE,
        str(study.pipeline),
        study.project,
        pipeline=study.pipeline,
        params=study.params["base"],
        snapshot=study.snapshot,
        git=study.git,
    )
    return replace(base, executor=study.executor)
