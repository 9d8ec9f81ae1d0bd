"""Adding a schedule: what is wrong with it is said now, not at night."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import ParameterError, ScheduleError
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.provenance import git_state
from hpo_pipelines.run import Run
from hpo_pipelines.schedules.target import Base, RunTarget, StudyTarget, Target
from hpo_pipelines.schedules.trigger import After, Clock, Trigger
from hpo_pipelines.store.schedules import Schedule
from hpo_pipelines.waiting import MOST_PRIORITY
from search_spaces import Space

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

MISSED = ("once", "skip")
OVERLAP = ("skip", "allow")
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Policy:
    """What becomes of a firing that cannot be as it should, and where what is started waits.

    ``missed``: times that passed while no agent was there are made up for ``once``, or are left out (``skip``).
    ``overlap``: while what was started last has not ended, a firing is left out (``skip``), or comes all the same
    (``allow``). ``queue`` (default: services) and ``priority`` are those of an enqueued run. Raises ScheduleError for
    other words, ParameterError for a priority beyond 32 bits.
    """

    missed: str = "once"
    overlap: str = "skip"
    queue: str | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("missed", self.missed, MISSED), ("overlap", self.overlap, OVERLAP)):
            if value not in known:
                raise ScheduleError(f"{name}={value!r}: it is one of {', '.join(known)}; {closest(value, list(known))}")
        if abs(self.priority) > MOST_PRIORITY:
            raise ParameterError(f"priority={self.priority}: it is a number from {-MOST_PRIORITY} to {MOST_PRIORITY}.")


def add_run(
    workspace: Workspace,
    trigger: Trigger,
    target: Pipeline[..., Any] | Run,
    params: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    policy: Policy | None = None,
) -> Schedule:
    """Have agents start a run of a pipeline, or a clone of a run, whenever ``trigger`` says.

    ``params`` go over the pipeline's defaults, or over the run's parameters; the code is that of now, or the run's.
    Raises ScheduleError, ParameterError, ConfigError before anything is kept.
    """
    base = base_of(workspace, target)
    pipeline = base.pipeline(workspace)
    values = {each: pipeline.parameters.check(each, value) for each, value in (params or {}).items()}
    made = RunTarget(base, pipeline.parameters.encode(values))
    if isinstance(trigger, After) and trigger.pipeline.rpartition("/")[2] == pipeline.name:
        raise ScheduleError(f"{pipeline.name} after {trigger.pipeline} would start itself without end; name a time.")
    return _kept(workspace, trigger, made, name or _free(workspace, pipeline.name), policy or Policy())


def add_study(
    workspace: Workspace,
    trigger: Trigger,
    target: Pipeline[..., Any] | Run,
    space: Space,
    options: Mapping[str, Any],
    *,
    name: str | None = None,
    policy: Policy | None = None,
) -> Schedule:
    """Have agents start a study whenever ``trigger`` says, each time one of its own, called after the time.

    ``options`` are those of :func:`hpo_pipelines.optimize`, by name, as JSON. Raises ScheduleError, StudyError,
    SpaceError, ParameterError, ConfigError before anything is kept.
    """
    base = base_of(workspace, target)
    called = str(options.get("name") or base.pipeline(workspace).name)
    made = StudyTarget(base, space.as_dict(), {**options, "name": called}, called)
    return _kept(workspace, trigger, made, name or _free(workspace, called), policy or Policy())


def base_of(workspace: Workspace, target: Pipeline[..., Any] | Run) -> Base:
    """``target`` as a schedule names it; the code of a pipeline is recorded now."""
    if isinstance(target, Run):
        return Base(run=target.id)
    return Base(snapshot=workspace.record_code(target), git=git_state(os.getcwd()))


def _kept(workspace: Workspace, trigger: Trigger, target: Target, name: str, policy: Policy) -> Schedule:
    if not _NAME.fullmatch(name):
        raise ScheduleError(f"{name!r}: a schedule's name is made of letters, digits, '.', '_' and '-'.")
    if policy.queue is not None:
        workspace.settings.queue(policy.queue)
    target.check(workspace)
    store = workspace.store
    next_at = trigger.after(store.now()) if isinstance(trigger, Clock) else None
    # What happened before does not count.
    last = store.events.last()
    return store.schedules.add(
        Schedule(name, trigger.as_record(), target.as_record(), vars(policy), next_at=next_at, cursor=last)
    )


def _free(workspace: Workspace, name: str) -> str:
    """``name``, with a number behind it if there is a schedule of that name."""
    known = {schedule.name for schedule in workspace.store.schedules.all()}
    numbered = (f"{name}-{number}" for number in range(2, len(known) + 3))
    return next(each for each in (name, *numbered) if each not in known)
