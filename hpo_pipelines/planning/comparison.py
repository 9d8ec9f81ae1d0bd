"""Why a planned step will run, in the words that :mod:`hpo_pipelines.reasons` will have for it when it has run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hpo_pipelines.engine.step import Source, StepCall
from hpo_pipelines.reasons import Compared, Execution, Fed, Reader, compared
from hpo_pipelines.snapshot import Content
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.artifacts import ArtifactStore
    from hpo_pipelines.store import Store


class Comparison(Reader):
    """Reads what is recorded, and the steps of a plan as if they were too.

    ``content`` gives the code of a plan whose code is not recorded.
    """

    def __init__(self, store: Store, artifacts: ArtifactStore, content: Callable[[], Content | None]) -> None:
        super().__init__(store, artifacts)
        self._content = content
        self._captured: list[Content | None] = []
        self._planned: dict[str, tuple[StepCall, Task]] = {}

    def add(self, run: Task, step: StepCall, *, runs: bool) -> None:
        """A step of the plan that will run, or be reused; ``run`` is the planned run that it is in."""
        now = time.time()
        task = Task(
            step.id,
            Kind.STEP,
            step.name,
            run.project,
            status=Status.RUNNING,
            pipeline=run.pipeline,
            parent=run.id,
            component=step.component.name,
            params=step.arguments.shown,
            snapshot=run.snapshot,
            key=step.key.digest if step.key is not None and runs else None,
            reason=step.reason,
            started_at=now,
        )
        self._tasks[run.id] = run
        self._tasks[step.id] = task
        self._planned[step.id] = step, task

    def of(self, step: StepCall) -> Compared | None:
        """What the step, which was added, is measured by; None if its component never ran before."""
        _, task = self._planned[step.id]
        return compared(self, self.execution(task), lambda fed: fed.reason or "")

    def execution(self, task: Task) -> Execution:
        if task.id not in self._planned:
            return super().execution(task)
        return Execution(task, self._planned[task.id][0].key.parts)

    def earlier(self, task: Task) -> list[Task]:
        planned = [other for _, other in self._planned.values() if other.component == task.component and other.key]
        return super().earlier(task) + [other for other in planned if other.id < task.id]

    def fed(self, task: Task) -> dict[str, list[Fed]]:
        if task.id not in self._planned:
            return super().fed(task)
        arguments = self._planned[task.id][0].arguments
        named = {index: name for name, index in arguments.whole.items()}
        found: dict[str, list[Fed]] = {}
        for index, item in enumerate(arguments.inputs):
            if isinstance(item, Source):
                source = self._planned[item.step.id][1]
                ref = item.step.outputs.get(item.name)
                found.setdefault(named.get(index, ""), []).append(Fed(source, item.name, ref))
        # As the store has them: in the order of the calls that they come from, not of the argument's parts.
        return {name: sorted(feds, key=lambda fed: (fed.step.id, fed.name)) for name, feds in found.items()}

    def content(self, task: Task) -> Content | None:
        if task.id not in self._planned or task.snapshot is not None:
            return super().content(task)
        if not self._captured:
            self._captured.append(self._content())
        return self._captured[0]
