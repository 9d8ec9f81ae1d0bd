"""The store against a model of plain dicts: whatever is done to both in whatever order, they agree."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from hpo_pipelines.errors import IllegalTransition
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.task import TRANSITIONS, CacheEntry, Edge, Metric, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status, new_id

words = st.sampled_from(["a", "b", "c"])
values = st.floats(allow_nan=True, allow_infinity=True, width=32).map(lambda value: value or 0.0)
refs = st.builds(
    lambda name, kind: ArtifactRef(f"d-{name}", f"v-{name}-{kind}", kind, 1, {"n": name}, name.encode()),
    words,
    st.sampled_from(["json", "bytes"]),
)
outputs = st.dictionaries(words, refs, max_size=3)
params = st.dictionaries(words, st.none() | st.booleans() | st.integers() | st.text(max_size=4), max_size=3)


class Undo(Exception):
    """Raised to make a transaction leave nothing."""


def same(value: float) -> object:
    """``value`` for comparing, so that NaN equals NaN."""
    return "nan" if math.isnan(value) else value


class StoreAgainstModel(RuleBasedStateMachine):
    tasks = Bundle("tasks")
    runs = Bundle("runs")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.store = Store.open(url)
        self.known: dict[str, Task] = {}
        self.numbers: dict[tuple[str, str], int] = {}
        self.edges: dict[str, set[Edge]] = {}
        self.outputs: dict[str, dict[str, ArtifactRef]] = {}
        self.metrics: list[Metric] = []
        self.cache: dict[str, CacheEntry] = {}
        self.told: list[tuple[str, str]] = []

    def teardown(self) -> None:
        problems = self.store.check()
        self.store.close()
        assert problems == []

    def _created(self, task: Task, stored: Task) -> Task:
        number = None
        if task.kind is Kind.PIPELINE:
            name = (task.project, task.pipeline or "")
            number = self.numbers[name] = self.numbers.get(name, 0) + 1
        assert stored == dataclasses.replace(
            task,
            number=number,
            created_at=stored.created_at,
            started_at=stored.created_at if task.status is Status.RUNNING else None,
            finished_at=stored.created_at if task.status.finished else None,
        )
        self.known[task.id] = stored
        self.told.append((task.id, "created"))
        return stored

    def _gone(self, *tasks: str) -> bool:
        """Whether one of ``tasks`` was deleted: rules may still draw it."""
        return any(task not in self.known for task in tasks)

    # what is done to both

    @initialize(target=runs)
    def first(self) -> str:
        return self.create("a", "a", {}, Status.DRAFT)

    @rule(target=runs, project=words, pipeline=words, params=params, status=st.sampled_from(Status))
    def create(self, project: str, pipeline: str, params: dict[str, Any], status: Status) -> str:
        task = Task(new_id(), Kind.PIPELINE, pipeline, project, status, pipeline, params=params)
        return self._created(task, self.store.tasks.create(task)).id

    @rule(target=tasks, run=runs, status=st.sampled_from(Status), sources=st.lists(tasks, max_size=2))
    def step(self, run: str, status: Status, sources: list[str]) -> Any:
        if self._gone(run, *sources):
            return multiple()
        task = Task(new_id(), Kind.STEP, "fit", "a", status, parent=run, component="fit", position=len(self.known))
        edges = {Edge(source, task.id, "data", "out", "x") for source in sources}
        self._created(task, self.store.tasks.create(task, sorted(edges, key=lambda edge: edge.source)))
        self.edges.setdefault(run, set()).update(edges)
        return task.id

    @rule(target=runs, run=runs, params=params)
    def clone(self, run: str, params: dict[str, Any]) -> Any:
        if self._gone(run):
            return multiple()
        task = self.known[run].clone(params)
        return self._created(task, self.store.tasks.create(task)).id

    @rule(target=tasks, run=runs)
    def run_is_a_task(self, run: str) -> str:
        return run

    @rule(task=tasks, status=st.sampled_from(Status), expect=st.none() | st.sets(st.sampled_from(Status)))
    def transition(self, task: str, status: Status, expect: set[Status] | None) -> None:
        if self._gone(task):
            return
        before = self.known[task]
        legal = status in TRANSITIONS[before.status] and (expect is None or before.status in expect)
        if not legal:
            with pytest.raises(IllegalTransition):
                self.store.tasks.transition(task, status, expect=expect)
            return
        after = self.store.tasks.transition(task, status, expect=expect, reason="why")
        again = before.status.finished
        assert after == dataclasses.replace(
            before,
            status=status,
            reason="why",
            started_at=after.started_at,
            finished_at=after.finished_at,
        )
        assert (after.finished_at is not None) is status.finished
        if status is Status.RUNNING:
            assert after.started_at is not None
            assert again or before.started_at in (None, after.started_at)
        elif status.finished:
            assert after.started_at == before.started_at
        else:
            assert after.started_at == (None if again else before.started_at)
        self.known[task] = after
        self.told.append((task, "status"))

    @rule(task=tasks, tags=st.lists(words, max_size=2), notes=st.text(st.characters(codec="utf-8"), max_size=5))
    def annotate(self, task: str, tags: list[str], notes: str) -> None:
        if self._gone(task):
            return
        notes = notes.replace("\0", "")
        after = self.store.tasks.update(task, tags=tags, notes=notes)
        self.known[task] = dataclasses.replace(self.known[task], tags=tuple(tags), notes=notes)
        assert after == self.known[task]
        self.told.append((task, "changed"))

    @rule(task=tasks, outputs=outputs)
    def set_outputs(self, task: str, outputs: dict[str, ArtifactRef]) -> None:
        if self._gone(task):
            return
        self.store.tasks.set_outputs(task, outputs)
        self.outputs[task] = outputs

    @rule(reported=st.lists(st.tuples(tasks, words, values, st.integers(0, 9)), max_size=4))
    def report(self, reported: list[tuple[str, str, float, int]]) -> None:
        metrics = [Metric(*fields, at=1.5) for fields in reported if not self._gone(fields[0])]
        self.store.metrics.add(metrics)
        self.metrics += metrics
        self.told += [(task, "metrics") for task in dict.fromkeys(metric.task for metric in metrics)]

    @rule(key=words, task=tasks, outputs=outputs)
    def record(self, key: str, task: str, outputs: dict[str, ArtifactRef]) -> None:
        if self._gone(task):
            return
        entry = CacheEntry(key, task, "fit", outputs, {"code": task}, 1.0, 5.0 + len(self.cache))
        assert self.store.cache.record(entry) is (key not in self.cache)
        self.cache.setdefault(key, entry)

    @rule(key=words)
    def hit(self, key: str) -> None:
        self.store.cache.hit(key)
        if key in self.cache:
            self.cache[key] = dataclasses.replace(self.cache[key], hits=self.cache[key].hits + 1)

    @rule(key=words)
    def forget(self, key: str) -> None:
        assert self.store.cache.delete(key) is (self.cache.pop(key, None) is not None)

    @rule(run=runs)
    def delete(self, run: str) -> None:
        if self._gone(run):
            return
        if self.known[run].status in (Status.QUEUED, Status.RUNNING):
            with pytest.raises(IllegalTransition):
                self.store.tasks.delete(run)
            return
        gone = {run, *(task.id for task in self.known.values() if task.parent == run)}
        assert {task.id for task in self.store.tasks.delete(run).tasks} == gone
        self.known = {id: task for id, task in self.known.items() if id not in gone}
        self.outputs = {id: outputs for id, outputs in self.outputs.items() if id not in gone}
        self.metrics = [metric for metric in self.metrics if metric.task not in gone]
        self.cache = {key: entry for key, entry in self.cache.items() if entry.task not in gone}
        self.edges = {
            id: {edge for edge in edges if not {edge.source, edge.target} & gone}
            for id, edges in self.edges.items()
            if id not in gone
        }
        self.told += [(run, "deleted"), *((task, "deleted") for task in sorted(gone - {run}))]

    @rule(run=runs, task=tasks, ref=refs)
    def nothing_is_left_of_a_transaction_that_raises(self, run: str, task: str, ref: ArtifactRef) -> None:
        if self._gone(run, task):
            return
        with pytest.raises(Undo), self.store.transaction():
            self.store.tasks.create(self.known[run].clone())
            self.store.tasks.update(task, notes="never")
            self.store.tasks.set_outputs(task, {"never": ref})
            self.store.metrics.add([Metric(task, "never", 1.0, 0, 1.0)])
            self.store.cache.record(CacheEntry("never", task, "fit", {"never": ref}, {}, 1.0, 1.0))
            raise Undo

    @rule(task=tasks, outputs=outputs, value=values)
    def several_writes_in_one_transaction(self, task: str, outputs: dict[str, ArtifactRef], value: float) -> None:
        if self._gone(task):
            return
        with self.store.transaction():
            self.set_outputs(task, outputs)
            self.report([(task, "a", value, 0)])
            self.annotate(task, ["a"], "together")

    # what both must say

    @rule(task=tasks, project=words, pipeline=words, status=st.sampled_from(Status), tag=words)
    def read(self, task: str, project: str, pipeline: str, status: Status, tag: str) -> None:
        if self._gone(task):
            return
        assert self.store.tasks.get(task) == self.known[task]
        assert self.store.tasks.find(task) == self.known[task]
        if (project, pipeline) in self.numbers:
            there = [
                task.number for task in self.known.values() if (task.project, task.pipeline) == (project, pipeline)
            ]
            number = max((number for number in there if number is not None), default=None)
            if number is not None:
                assert self.store.tasks.find(f"{project}/{pipeline}").number == number
                assert self.store.tasks.find(f"{project}/{pipeline}#{number}").number == number
        for where, fits in (
            (TaskFilter(project=project, pipeline=pipeline), lambda t: (t.project, t.pipeline) == (project, pipeline)),
            (TaskFilter(kind=Kind.PIPELINE, status=status), lambda t: t.number is not None and t.status is status),
            (TaskFilter(tag=tag), lambda t: tag in t.tags),
        ):
            expected = sorted((t for t in self.known.values() if fits(t)), key=lambda t: t.id, reverse=True)
            assert self.store.tasks.list(where, limit=None) == expected
            assert self.store.tasks.list(where, limit=1) == expected[:1]

    @invariant()
    def whole(self) -> None:
        assert self.store.tasks.statuses(list(self.known)) == {id: task.status for id, task in self.known.items()}

    @rule(run=runs)
    def read_a_run(self, run: str) -> None:
        if self._gone(run):
            return
        children = [task for task in self.known.values() if task.parent == run]
        assert self.store.tasks.children(run) == sorted(children, key=lambda task: task.position or 0)
        assert set(self.store.tasks.edges(run)) == self.edges.get(run, set())
        origin, ancestry = self.known[run].cloned_from, []
        while origin in self.known:
            ancestry.append(self.known[origin])
            origin = self.known[origin].cloned_from
        assert self.store.tasks.ancestry(run) == ancestry

    @rule()
    def read_all(self) -> None:
        ids = list(self.known)
        assert self.store.tasks.outputs_of(ids) == {id: self.outputs.get(id, {}) for id in ids}
        recorded = [dataclasses.replace(metric, value=0.0) for metric in self.store.metrics.of(ids)]
        by_task = [metric for id in ids for metric in self.metrics if metric.task == id]
        key = _by_task
        assert sorted(recorded, key=key) == [
            dataclasses.replace(metric, value=0.0) for metric in sorted(by_task, key=key)
        ]
        latest = {(metric.task, metric.name): same(metric.value) for metric in self.metrics}
        assert {name: same(value) for name, value in self.store.metrics.latest(ids).items()} == latest
        assert {entry.key: dataclasses.replace(entry, hit_at=None) for entry in self.store.cache.list()} == self.cache
        for name in ("a", "b", "c"):
            found = self.store.cache.lookup(name)
            assert (None if found is None else dataclasses.replace(found, hit_at=None)) == self.cache.get(name)
        assert [(event.task, event.kind) for event in self.store.events.after(0, limit=10**6)] == self.told


def _by_task(metric: Metric) -> str:
    return metric.task


def check(url: Callable[[], str], examples: int) -> None:
    run_state_machine_as_test(
        lambda: StoreAgainstModel(url()),
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def sqlite_urls(tmp_path: Path) -> Callable[[], str]:
    """URLs of new stores, each a copy of an empty one."""
    empty = tmp_path / "empty.db"
    Store.open(f"sqlite:///{empty}").close()

    def url() -> str:
        path = Path(tempfile.mkdtemp(dir=tmp_path)) / "hpo.db"
        shutil.copy(empty, path)
        return f"sqlite:///{path}"

    return url


def test_sqlite_agrees_with_the_model(sqlite_urls: Callable[[], str]) -> None:
    check(sqlite_urls, 6)


@pytest.mark.integration
def test_sqlite_agrees_with_the_model_at_length(sqlite_urls: Callable[[], str]) -> None:
    check(sqlite_urls, 100)


@pytest.mark.integration
def test_postgresql_agrees_with_the_model(postgresql_url: str) -> None:
    import psycopg

    counter = iter(range(10**6))
    folder = postgresql_url.partition("?host=")[2]

    def url() -> str:
        name = f"model_{next(counter)}"
        with psycopg.connect(host=folder, user="hpo", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{postgresql_url}&options=-csearch_path%3D{name}"

    check(url, 15)
