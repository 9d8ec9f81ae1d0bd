"""Builds assignments as the engine does, and hears what becomes of them."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.component import Component
from hpo_pipelines.executors.base import (
    Assignment,
    Completed,
    ConsoleChunk,
    Ended,
    Executor,
    Failed,
    Message,
    Reported,
    Slot,
    Started,
    Waiting,
    ended,
)
from hpo_pipelines.snapshot import Code, Locator, capture, component_locator, live
from hpo_pipelines.types import ArtifactRef, Environment

PATIENCE = 60.0
"""Seconds until a test gives up waiting; nothing here takes as long by itself."""


class Heard:
    """What the listener of one assignment was told; writes console chunks into the console file, as the engine does."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.messages: list[Message] = []
        self.threads: set[str] = set()
        self._changed = threading.Condition()

    def listen(self, assignment: Assignment, message: Message) -> None:
        assert assignment is self.assignment
        if isinstance(message, ConsoleChunk):
            _write(assignment.console, message)
        with self._changed:
            self.messages.append(message)
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"waited {PATIENCE} s for {what}; {self.messages}"

    @property
    def ended(self) -> Ended:
        """How it ended; waits for that. The protocol is checked on the way."""
        self.wait(lambda: self.messages and ended(self.messages[-1]), "the end")
        kinds = [type(message) for message in self.messages]
        assert kinds.count(Started) <= 1
        waited = [kind for kind in kinds if kind is Waiting]
        assert kinds[: len(waited)] == waited, kinds
        assert Started not in kinds[len(waited) + 1 :], kinds
        assert [kind for message, kind in zip(self.messages, kinds) if ended(message)] == kinds[-1:], kinds
        last = self.messages[-1]
        assert ended(last)
        return last  # type: ignore[return-value]

    @property
    def completed(self) -> Completed:
        end = self.ended
        assert isinstance(end, Completed), end.failure.traceback if isinstance(end, Failed) else end
        return end

    @property
    def failed(self) -> Failed:
        end = self.ended
        assert isinstance(end, Failed), end
        return end

    @property
    def reports(self) -> list[Reported]:
        return [message for message in self.messages if isinstance(message, Reported)]

    @property
    def console(self) -> str:
        try:
            return Path(self.assignment.console).read_text()
        except FileNotFoundError:
            return ""


def _write(path: str, chunk: ConsoleChunk) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, chunk.data, chunk.offset)
    finally:
        os.close(descriptor)


class Bench:
    """An executor, an artifact store, and the code of one pipeline at a time."""

    _numbers = itertools.count()

    def __init__(self, executor: Executor, folder: Path, pipeline: Any, code: Code | None = None) -> None:
        self.executor = executor
        self.folder = folder
        self.store = ArtifactStore(folder / "artifacts")
        self.code = code or live()
        self.environment = Environment()
        """Of assignments that name none."""
        captured = capture(pipeline)
        self.snapshot, self.digest = self.store.put_bytes(captured.content), captured.digest

    def assignment(self, component: Component[..., Any], *args: Any, **options: Any) -> Assignment:
        """One attempt of ``component(*args)``; an argument that is an artifact is loaded by the worker."""
        inputs: list[ArtifactRef] = []
        slotted = [self._slot(inputs, value) for value in args]
        task = f"task{next(self._numbers)}"
        fields = {
            "task": task,
            "attempt": 1,
            "label": f"bench#1/{component.name}",
            "locator": self.locator(component),
            "arguments": self.code.dumps((tuple(slotted), {})),
            "inputs": tuple(inputs),
            "artifacts": self.store.url,
            "snapshot": self.snapshot,
            "snapshot_digest": self.digest,
            "environment": self.environment,
            "console": str(self.folder / "consoles" / f"{task}.log"),
        }
        return Assignment(**{**fields, **options})

    def locator(self, component: Component[..., Any]) -> Locator:
        return component_locator(component, self.code)

    def _slot(self, inputs: list[ArtifactRef], value: Any) -> Any:
        if not isinstance(value, ArtifactRef):
            return value
        inputs.append(value)
        return Slot(len(inputs) - 1)

    def submit(self, component: Component[..., Any], *args: Any, **options: Any) -> Heard:
        heard = Heard(self.assignment(component, *args, **options))
        self.executor.submit(heard.assignment, heard.listen)
        return heard

    def run(self, component: Component[..., Any], *args: Any, **options: Any) -> Any:
        """The value of ``component(*args)``, run by the executor."""
        return self.value(self.submit(component, *args, **options))

    def value(self, heard: Heard, name: str = "value") -> Any:
        return self.store.get(heard.completed.outputs[name], code=self.code)

    def marker(self, name: str = "marker") -> Path:
        """A path that no other step writes to."""
        return self.folder / f"{name}{next(self._numbers)}"


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
