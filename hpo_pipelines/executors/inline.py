"""The inline executor: this process, this thread, program order, so that ``pdb`` stops in the user's own frame."""

from __future__ import annotations

import os

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import console, worker
from hpo_pipelines.executors.base import Assignment, Executor, Listener, Started
from hpo_pipelines.snapshot import Code


class InlineExecutor(Executor):
    """Runs each step where it is submitted, before ``submit`` returns; failures keep the exception itself."""

    name = "inline"

    def __init__(self) -> None:
        self._loaders: dict[str, worker.Loader] = {}

    def use(self, snapshot: str, code: Code) -> None:
        """Let steps of ``snapshot`` run from ``code``, which this process has loaded already."""
        self._loaders.setdefault(snapshot, worker.Loader(code))

    def submit(self, assignment: Assignment, listener: Listener) -> None:
        for limit, value in (("timeout", assignment.timeout), ("memory", assignment.resources.memory)):
            if value is not None:
                raise ConfigError(
                    f"{assignment.label} has {limit}={value!r}, and the inline executor cannot stop a step: it runs in "
                    f"your own thread. Run it with executor='local', or leave {limit} out while debugging."
                )
        listener(assignment, Started(f"inline:{os.getpid()}"))
        loader = self._loaders[assignment.snapshot_digest]
        with console.teed(assignment.console):
            ended = worker.execute(assignment, loader, lambda message: listener(assignment, message))
        listener(assignment, ended)

    def cancel(self, attempt: str) -> None:
        """Nothing to stop: whoever could ask is waiting for the step to end."""

    def close(self) -> None:
        self._loaders.clear()
