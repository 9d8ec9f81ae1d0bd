"""A step of a recorded run, as the person who started it sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.handle import Handle
from hpo_pipelines.task import Attempt

if TYPE_CHECKING:
    from hpo_pipelines.reasons import Why


class RunStep(Handle):
    """One step of a run."""

    @property
    def name(self) -> str:
        return self._task.name

    @property
    def component(self) -> str:
        return self._task.component or self._task.name

    @property
    def reused_from(self) -> str | None:
        """The id of the step that computed what this one reused; None when it ran."""
        return self.task.reused_from

    @property
    def seconds(self) -> float | None:
        """How long the execution took that counts: the component itself, without its worker's start."""
        return self.task.seconds

    @property
    def attempts(self) -> list[Attempt]:
        """Its executions, oldest first; none for a reused step."""
        return self.workspace.store.tasks.attempts(self.id)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric it reported."""
        return {name: value for (_, name), value in self.workspace.store.metrics.latest([self.id]).items()}

    @property
    def outputs(self) -> dict[str, Any]:
        """Its outputs by name, loaded."""
        return {name: self._output(name) for name in self.workspace.store.tasks.outputs(self.id)}

    def why(self) -> Why:
        """Why it was reused, or ran, or stands where it stands."""
        return self.workspace.why(self.task)

    def console(self, attempt: int | None = None) -> str:
        """What the step printed, of one attempt or (default) of all, oldest first."""
        return "".join(path.read_text("utf-8", "replace") for path in self.console_paths(attempt))

    def console_paths(self, attempt: int | None = None, *, fetched: bool = False) -> list[Path]:
        """The console files there are, of one attempt or of all; a reused step has those of the step that ran.

        ``fetched``: those of its run were brought here just now.
        """
        task = self.task
        if task.reused_from is not None:
            try:
                task = self.workspace.store.tasks.get(task.reused_from)
            except TaskNotFound:  # deleted since, with its console
                return []
        run, consoles = str(task.parent), self.workspace.consoles
        if not fetched:
            consoles.fetch(run)
        numbers = [attempt] if attempt is not None else range(1, 1000)
        paths: list[Path] = []
        for number in numbers:
            path = consoles.path(run, f"{task.name}.{number}")
            if not path.exists():
                break
            paths.append(path)
        return paths

    def __repr__(self) -> str:
        return f"<step {self.name} {self.status}>"
