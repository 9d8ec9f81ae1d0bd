"""Who drives the runs that are submitted to the server.

:func:`start_agent` is the one seam: whatever has :class:`Driving`'s methods can take the place of what is here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from hpo_pipelines.agent import Agent
from hpo_pipelines.engine import RunOptions
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition
from hpo_pipelines.run import Run
from hpo_pipelines.schedules import Firing
from hpo_pipelines.waiting import CONTROLLERS
from hpo_pipelines.workspace import Workspace

log = logging.getLogger(__name__)

STEPS = "default"
"""The other queue that is always there."""


class Driving(Protocol):
    """Has runs driven somewhere else than in the request that asks for it."""

    def submit(
        self, run: Run, options: RunOptions | None = None, *, queue: str | None = None, priority: int | None = None
    ) -> Run:
        """Queue the draft ``run``, or move one that waits, and return at once. Raises IllegalTransition for any other.

        ``options`` that are None leave those of a run that waits as they are.
        """

    def resume(self, run: Run, from_step: str | None = None) -> Run:
        """Have an ended or abandoned run driven on. Raises IllegalTransition for one that cannot be."""

    def close(self) -> None:
        """Take no more runs; those under way go on elsewhere, or are aborted when the workspace closes."""


def start_agent(workspace: Workspace) -> Driving:
    """What drives submitted runs of ``workspace``: its queues, with an agent in this process that listens to them."""
    driving = QueuedDriving(workspace)
    driving.start()
    return driving


class QueuedDriving:
    """Submitted runs wait in queues, for the agent in this process or any other; resumed ones are driven here."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._agent = Agent(workspace, (CONTROLLERS, STEPS))
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Listen, as `hpo agent` does, to the queues that are always there."""
        self._thread = threading.Thread(target=self._listen, name="hpo-agent", daemon=True)
        self._thread.start()

    def submit(
        self, run: Run, options: RunOptions | None = None, *, queue: str | None = None, priority: int | None = None
    ) -> Run:
        self._workspace.code(run.task)  # said now rather than by the agent
        if options is not None and options.prior:
            # Which steps of which run are kept does not wait with a run: it is driven here, at once.
            kept = replace(options, echo=False)
            return self._begin(run, lambda: self._workspace.start(run.id, kept))
        return self._workspace.enqueue(run.id, queue=queue, priority=priority, options=options)

    def resume(self, run: Run, from_step: str | None = None) -> Run:
        controller, values = self._workspace.resumed(run.task, from_step, options=RunOptions(echo=False))
        return self._begin(run, lambda: controller.drive(values))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._agent.hand_over()

    def _listen(self) -> None:
        try:
            with Firing(self._workspace).beside():
                self._agent.run()
        except HpoPipelinesError:
            if not self._closed:
                log.exception("the server's agent ended; runs wait until another listens")

    def _begin(self, run: Run, drive: Callable[[], object]) -> Run:
        def work() -> None:
            try:
                drive()
            except IllegalTransition:
                log.info("%s was ended before it began", run.label)
            except HpoPipelinesError:
                log.exception("%s could not be driven", run.label)
            except SystemExit:
                log.warning("the body of %s called sys.exit()", run.label)

        threading.Thread(target=work, name=f"hpo-run-{run.label}", daemon=True).start()
        return run.refreshed()
