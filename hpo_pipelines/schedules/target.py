"""What a schedule starts: a clone of a run, a run of recorded code, or a study."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import CodeUnavailable, HpoPipelinesError
from hpo_pipelines.run import Run
from hpo_pipelines.study.basis import Recorded
from hpo_pipelines.study.handle import Study, find
from hpo_pipelines.study.options import Options
from hpo_pipelines.study.resumption import begin_again
from hpo_pipelines.study.start import Begun, begin, check
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, new_id
from search_spaces import Space

if TYPE_CHECKING:
    from hpo_pipelines.pipeline import Pipeline
    from hpo_pipelines.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Base:
    """A recorded run, by its id, or the recorded code of a pipeline, by its digest; and what its executor is to be."""

    run: str | None = None
    snapshot: str | None = None
    executor: str | None = None
    git: Mapping[str, Any] | None = None

    def pipeline(self, workspace: Workspace) -> Pipeline[..., Any]:
        """Its pipeline. Raises CodeUnavailable, TaskNotFound."""
        if self.run is not None:
            return workspace.code(workspace.store.tasks.get(self.run))[0]
        if workspace.store.snapshots.get(str(self.snapshot)) is None:
            raise CodeUnavailable(f"no code with the digest {self.snapshot!r} is recorded here.")
        return workspace.code(Task(new_id(), Kind.PIPELINE, str(self.snapshot), "", snapshot=self.snapshot))[0]

    def draft(self, workspace: Workspace, params: Mapping[str, Any]) -> Task:
        """The record of a run of it with ``params`` (plain JSON), not yet stored.

        Raises ParameterError, and what :meth:`pipeline` does.
        """
        pipeline = self.pipeline(workspace)
        values = pipeline.parameters.decode(params)
        if self.run is not None:
            return workspace.cloned(workspace.store.tasks.get(self.run), values, executor=self.executor)
        task = workspace.record_of(pipeline, values, executor=self.executor, snapshot=self.snapshot)
        return replace(task, git=self.git)

    def as_record(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class RunTarget:
    """A run of ``base`` with ``params`` (plain JSON) over its own, or over the defaults.

    In texts ``${trigger.id}`` and ``${trigger.label}`` stand for the run that fired the schedule, ``${at}`` for when.
    """

    base: Base
    params: Mapping[str, Any]

    def prepare(self, workspace: Workspace, words: Mapping[str, str], name: str) -> PreparedRun:
        """What is recorded when it fires. Raises ParameterError, CodeUnavailable, TaskNotFound."""
        return PreparedRun(workspace, self.base.draft(workspace, _filled(self.params, words)))

    def check(self, workspace: Workspace) -> None:
        """Raise what :meth:`prepare` would."""
        self.prepare(workspace, {}, "")

    def as_record(self) -> dict[str, Any]:
        return {"kind": "run", "base": self.base.as_record(), "params": dict(self.params)}


@dataclass(frozen=True)
class StudyTarget:
    """A study of ``base`` over ``space``; each firing makes one of its own, called after ``name`` and the time."""

    base: Base
    space: Mapping[str, Any]
    options: Mapping[str, Any]
    name: str

    def prepare(self, workspace: Workspace, words: Mapping[str, str], name: str) -> PreparedStudy:
        """What is recorded when it fires, under ``name``. Raises CodeUnavailable, TaskNotFound."""
        target = self._tuned(workspace)
        options = Options(**{**self.options, "name": name})
        return PreparedStudy(workspace, lambda: begin(workspace, target, Space(self.space), options))

    def check(self, workspace: Workspace) -> None:
        """Raise what :func:`hpo_pipelines.optimize` would."""
        check(workspace, self._tuned(workspace), Space(self.space), Options(**self.options))

    def _tuned(self, workspace: Workspace) -> Run | Recorded:
        pipeline = self.base.pipeline(workspace)  # loaded before anything is locked
        if self.base.run is not None:
            return workspace.run_called(self.base.run)
        return Recorded(pipeline, str(self.base.snapshot), self.base.git)

    def as_record(self) -> dict[str, Any]:
        about = {"space": dict(self.space), "options": dict(self.options), "name": self.name}
        return {"kind": "study", "base": self.base.as_record(), **about}


Target = RunTarget | StudyTarget


def target_of(record: Mapping[str, Any]) -> Target:
    """The target that is recorded so."""
    base = Base(**record["base"])
    if record["kind"] == "run":
        return RunTarget(base, record["params"])
    return StudyTarget(base, record["space"], record["options"], record["name"])


class PreparedRun:
    """A run that a schedule is about to start."""

    def __init__(self, workspace: Workspace, draft: Task) -> None:
        self._workspace = workspace
        self._draft = draft

    def record(self, tags: Sequence[str], queue: str | None, priority: int) -> Task:
        """Record it, waiting in its queue; a part of the transaction that records the firing."""
        made = self._workspace.store.tasks.create(replace(self._draft, tags=(*self._draft.tags, *tags)))
        return self._workspace.enqueue(made.id, queue=queue, priority=priority).task

    def begin(self) -> threading.Thread | None:
        """Nothing: an agent takes it from its queue."""
        return None


class PreparedStudy:
    """A study that a schedule is about to start."""

    def __init__(self, workspace: Workspace, begin: Callable[[], Begun]) -> None:
        self._workspace = workspace
        self._begin = begin
        self._begun: Begun | None = None

    def record(self, tags: Sequence[str], queue: str | None, priority: int) -> Task:
        """Record it; a part of the transaction that records the firing."""
        self._begun = self._begin()
        return self._workspace.store.tasks.update(self._begun.driver.study.id, tags=tuple(tags))

    def begin(self) -> threading.Thread | None:
        """Drive it in the thread that is given; whoever fires schedules goes on with it should this process go away."""
        assert self._begun is not None
        return _drive(self._begun)


def is_left(workspace: Workspace, study: Task) -> bool:
    """Whether ``study`` is a study that has not ended and nobody drives."""
    if study.kind is not Kind.STUDY or study.status.finished or find(workspace, study.name) is None:
        return False
    return not workspace.engine.liveness.is_held(f"study:{study.id}")


def take_up(workspace: Workspace, study: Task) -> threading.Thread | None:
    """Go on with ``study``, if it :func:`is_left`, in the thread that is given."""
    return _drive(begin_again(workspace, study)) if is_left(workspace, study) else None


def _drive(begun: Begun) -> threading.Thread:
    study: Study = begun.driver.study

    def work() -> None:
        try:
            begun.drive(progress=None)
        except HpoPipelinesError as error:
            log.warning("study %s stopped: %s", study.name, error)

    thread = threading.Thread(target=work, name=f"hpo-study-{study.name}", daemon=True)
    thread.start()
    return thread


def _filled(params: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """``params`` with ``words`` in the place of their names, in what is text."""
    filled = dict(params)
    for name, value in params.items():
        if isinstance(value, str):
            for word, text in words.items():
                value = value.replace(f"${{{word}}}", text)
            filled[name] = value
    return filled
