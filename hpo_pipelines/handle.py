"""What every handle on a recorded task has: the record as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipelines.failure import readable
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace


class Handle:
    """A recorded task with the workspace it is in; reads it anew until it has ended."""

    def __init__(self, workspace: Workspace, task: Task) -> None:
        self.workspace = workspace
        self._task = task

    @property
    def task(self) -> Task:
        """The record as it stands now."""
        if not self._task.status.finished:
            self._task = self.workspace.store.tasks.get(self._task.id)
        return self._task

    @property
    def id(self) -> str:
        return self._task.id

    @property
    def status(self) -> Status:
        return self.task.status

    @property
    def reason(self) -> str | None:
        """Why it stands where it stands."""
        return self.task.reason

    @property
    def error(self) -> Mapping[str, Any] | None:
        """``{"type", "message", "traceback", "log"}`` of what failed, if it failed."""
        return readable(self.task.error)

    def _output(self, name: str) -> Any:
        outputs = self.workspace.store.tasks.outputs(self.id)
        _, code = self.workspace.code(self._task)
        return self.workspace.artifacts.get(outputs[name], code=code)
