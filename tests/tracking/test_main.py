"""What runs in the mirror's process, here in the tests' own."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.settings import Settings
from hpo_pipelines.snapshot import Content
from hpo_pipelines.store import Store
from hpo_pipelines.task import Snapshot
from hpo_pipelines.tracking import __main__ as main

from .conftest import Call, Recorder, Shown
from .memory_mlflow import Client, Memory

SOON = 20.0


class Driver:
    """The driver's end of a line that is no pipe."""

    def __init__(self) -> None:
        self._says: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self.heard: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()

    def say(self, **message: Any) -> None:
        self._says.put(message)

    def hang_up(self) -> None:
        self._says.put(None)

    def messages(self) -> Iterator[Mapping[str, Any]]:
        while (message := self._says.get()) is not None:
            yield message

    def send(self, **message: Any) -> None:
        self.heard.put(message)


def recorded_code(settings: Settings, store: Store, digest: str = "5" * 64) -> str:
    content = Content(digest, "churn_code:churn", {}, components={"fit": "def fit(): ...\n"})
    ref = ArtifactStore(settings.artifacts).put_bytes(content.encode())
    store.snapshots.add(Snapshot(digest, content.entry, ref, content.python, {}))
    return digest


def test_a_mirror_follows_until_its_driver_hangs_up(
    recorder: Recorder, store: Store, settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(home / "mlflow-artifacts")
    memory.install(monkeypatch)
    nice, ends = [], []
    monkeypatch.setattr(os, "nice", nice.append)
    monkeypatch.setattr(main, "end_after", ends.append)
    driver = Driver()
    remote = replace(settings, tracking_uri="http://memory")
    thread = threading.Thread(target=main.mirror, args=(driver, remote, driver.messages()))
    thread.start()
    first = recorder.run([Call("fit")], snapshot=recorded_code(settings, store))
    driver.say(drain=1, timeout=SOON)
    assert driver.heard.get(timeout=SOON) == {"drained": 1, "ok": True}
    last = recorder.run()
    driver.hang_up()
    thread.join(SOON)
    assert not thread.is_alive()
    assert (nice, ends) == ([10], [main.HARD_END])
    shown = Shown(Client(memory))
    assert shown.run(last).info.status == "FINISHED"
    assert shown.text(shown.run(first), "code.py") == "# fit\ndef fit(): ...\n"


def test_code_that_cannot_be_read_is_left_out(settings: Settings, store: Store, recorder: Recorder) -> None:
    assert main.component_sources(store, settings.artifacts, recorded_code(settings, store)) == {
        "fit": "def fit(): ...\n"
    }
    assert main.component_sources(store, settings.artifacts, "unknown") == {}
    assert main.component_sources(store, settings.artifacts, recorder.snapshot("6" * 64)) == {}
