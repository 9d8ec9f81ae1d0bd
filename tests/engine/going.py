"""Runs in threads of their own, and what they leave behind; for tests of what runs share."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from engine.contract import eventually

from hpo_pipelines import Status, Workspace
from hpo_pipelines.engine import Refresh, RunOptions
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.task import CacheEntry


class Going:
    """A run in a thread of its own."""

    def __init__(
        self, workspace: Workspace, pipeline: Any, *, executor: str = "inline", refresh: bool = False, **params: Any
    ) -> None:
        self.run: Run = pipeline.draft(executor=executor, workspace=workspace, **params)
        options = RunOptions(refresh=Refresh.of(refresh))
        self._thread = threading.Thread(target=workspace.start, args=(self.run.id, options), daemon=True)
        self._thread.start()

    def step(self, name: str) -> RunStep | None:
        return self.run.steps.get(name)

    def reason(self, name: str) -> str:
        """The reason of a step, "" while it is not recorded."""
        step = self.step(name)
        return "" if step is None else step.reason or ""

    def wait_until_computed_elsewhere(self, name: str = "prefix") -> str:
        """The reason of the step, once it waits for another that computes its key."""

        def waits() -> str:
            step = self.step(name)
            waiting = step is not None and step.status is Status.QUEUED
            reason = self.reason(name)
            return reason if waiting and reason.startswith("computing in ") else ""

        return str(eventually(waits))

    def end(self) -> Run:
        self._thread.join(30)
        assert not self._thread.is_alive(), self.run.status
        return self.run.refreshed()


def executions(folder: Path, kind: str = "prefix") -> int:
    """How often a step of :mod:`samples.sharing` has run."""
    return len(list(folder.glob(f"{kind}.*")))


def begun(folder: Path, kind: str = "prefix", count: int = 1) -> None:
    eventually(lambda: executions(folder, kind) >= count)


def known_key(workspace: Workspace, folder: Path, pipeline: Any, name: str) -> CacheEntry:
    """Run ``pipeline`` once; the outcome of its step ``name``, which then is not recorded any more."""
    (folder / "open").touch()
    run = pipeline.run(executor="inline", workspace=workspace, folder=str(folder))
    entry = workspace.store.cache.lookup(run.steps[name].task.key)
    assert entry is not None
    assert workspace.store.cache.delete(entry.key)
    return entry
