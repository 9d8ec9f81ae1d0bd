"""A fresh store of each kind, and what tests put into it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.task import CacheEntry, Edge, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status, new_id


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/hpo.db"


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    yield from _checked(sqlite_url)


@pytest.fixture
def postgresql_store(postgresql_database: str) -> Iterator[Store]:
    yield from _checked(postgresql_database)


def _checked(url: str) -> Iterator[Store]:
    """Whatever a test did, the store is whole afterwards."""
    store = Store.open(url)
    yield store
    problems = store.check()
    store.close()
    assert problems == []


_numbers = itertools.count()


def ref(name: str = "", **changes: Any) -> ArtifactRef:
    name = name or f"a{next(_numbers)}"
    fields = {"digest": f"bytes-{name}", "value_digest": f"value-{name}", "format": "json", "size": len(name)}
    return ArtifactRef(**{**fields, "preview": {"text": name}, "inline": name.encode(), **changes})


@dataclass
class Build:
    """Puts plain records into a store."""

    store: Store
    ref = staticmethod(ref)

    def run(self, pipeline: str = "churn", *, project: str = "retention", **fields: Any) -> Task:
        task = Task(new_id(), Kind.PIPELINE, pipeline, project, pipeline=pipeline, **fields)
        return self.store.tasks.create(task)

    def step(self, run: Task, name: str = "fit", *, edges: tuple[Edge, ...] = (), **fields: Any) -> Task:
        fields = {"component": name, "pipeline": run.pipeline, "status": Status.QUEUED, **fields}
        task = Task(fields.pop("id", new_id()), Kind.STEP, name, run.project, parent=run.id, **fields)
        return self.store.tasks.create(task, edges)

    def study(self, name: str, *, project: str = "retention", **fields: Any) -> Task:
        return self.store.tasks.create(Task(new_id(), Kind.STUDY, name, project, **fields))

    def entry(self, key: str, task: Task, *, created_at: float = 0.0, **outputs: ArtifactRef) -> CacheEntry:
        component = task.component or task.name
        return CacheEntry(key, task.id, component, outputs, {"code": key}, 1.5, created_at)

    def kinds(self, task: Task) -> list[str]:
        return [event.kind for event in self.store.events.story(task.id)]


@pytest.fixture
def build(store: Store) -> Build:
    return Build(store)


_PRELUDE = """
import os, signal, sys, threading
from hpo_pipelines.errors import *
from hpo_pipelines.store import Store
from hpo_pipelines.task import *
from hpo_pipelines.types import *

url = sys.argv[1]

def run(name="churn", **fields):
    return Task(new_id(), Kind.PIPELINE, name, "retention", pipeline=name, **fields)

def in_child(work):
    # The exit status of a forked child: 0 if work() returned.
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


@pytest.fixture
def script() -> Callable[[str, str], str]:
    """Runs Python code in a process of its own, with ``url`` set; returns what it prints."""

    def run(code: str, url: str) -> str:
        command = [sys.executable, "-c", _PRELUDE + textwrap.dedent(code), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
