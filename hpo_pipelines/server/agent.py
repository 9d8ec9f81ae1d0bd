"""Who drives the runs that are submitted to the server.

:func:`start_agent` is the one seam: whatever has :class:`Agent`'s four methods can take the place of the threads here.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from hpo_pipelines.engine import RunOptions
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition
from hpo_pipelines.run import Run
from hpo_pipelines.types import Status
from hpo_pipelines.workspace import Workspace

log = logging.getLogger(__name__)

AT_ONCE = 8
"""How many runs are driven at a time; controllers hold no slot of an executor, so this is no limit on steps."""


class Agent(Protocol):
    """Drives runs somewhere else than in the request that asks for it."""

    def submit(self, run: Run, options: RunOptions | None = None) -> Run:
        """Queue the draft ``run`` and return at once. Raises IllegalTransition for what is no draft."""

    def resume(self, run: Run, from_step: str | None = None) -> Run:
        """Have an ended or abandoned run driven on. Raises IllegalTransition for one that cannot be."""

    def describe(self) -> str:
        """Where submitted runs go, for a person."""

    def close(self) -> None:
        """Stop taking runs; what is under way is aborted when the workspace closes."""


def start_agent(workspace: Workspace) -> Agent:
    """What drives submitted runs of ``workspace``."""
    return ThreadAgent(workspace)


class ThreadAgent:
    """Drives runs in threads of this process."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._begun: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, run: Run, options: RunOptions | None = None) -> Run:
        self._workspace.code(run.task)  # refused here rather than in a thread that nobody listens to
        queued = self._workspace.store.tasks.transition(run.id, Status.QUEUED, reason="waits for the server")
        options = options or RunOptions()
        self._begin(lambda: self._workspace.start(run.id, replace(options, echo=False)), run)
        return Run(self._workspace, queued)

    def resume(self, run: Run, from_step: str | None = None) -> Run:
        controller, values = self._workspace.resumed(run.task, from_step, options=RunOptions(echo=False))
        self._begin(lambda: controller.drive(values), run)
        return run.refreshed()

    def describe(self) -> str:
        return "this server"

    def close(self) -> None:
        self._closed = True
        tasks = self._workspace.store.tasks
        with self._lock:
            begun = list(self._begun)
        for run, status in tasks.statuses(begun).items():
            if status is Status.QUEUED:
                # Nobody would take it from the queue: as a draft it says so, and can be submitted again.
                with contextlib.suppress(IllegalTransition):
                    tasks.transition(run, Status.DRAFT, expect=Status.QUEUED, reason="the server was stopped")

    def _begin(self, drive: Callable[[], object], run: Run) -> None:
        def work() -> None:
            try:
                with self._slots:
                    if not self._closed:
                        drive()
            except IllegalTransition:
                log.info("%s was ended before it began", run.label)
            except HpoPipelinesError:
                log.exception("%s could not be driven", run.label)
            except SystemExit:
                log.warning("the body of %s called sys.exit()", run.label)
            finally:
                with self._lock:
                    self._begun.pop(run.id, None)

        thread = threading.Thread(target=work, name=f"hpo-run-{run.label}", daemon=True)
        with self._lock:
            self._begun[run.id] = thread
        thread.start()
