"""The store against a plain-dict model, by two processes that take turns, while the clock goes on.

Of what hangs together with time and with others: leases, followers, cursors on events, outcomes that come first,
attempts, withdrawn steps, stories recorded at once. ``tests/store/test_model.py`` has the rest.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
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
    rule,
    run_state_machine_as_test,
)
from laws.model import Model
from laws.programs import PHASES

from hpo_pipelines.errors import IllegalTransition, StoreError
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, CacheEntry, Metric, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status, new_id

few = st.sampled_from(["a", "b", "c"])
owners = st.sampled_from(["here", "there"])
seconds = st.sampled_from([-1.0, 0.0, 5.0, 15.0])
statuses = st.sampled_from(Status)
refs = st.builds(lambda name: ArtifactRef(f"d-{name}", f"v-{name}", "json", 1, {"n": name}, name.encode()), few)
outputs = st.dictionaries(few, refs, max_size=2)


class Undo(Exception):
    """Raised to make a transaction leave nothing."""


class Processes(RuleBasedStateMachine):
    """Each rule goes through the store object whose turn it is; the other must see all of it at once."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.model = Model()
        self.stores = Store.open(url), Store.open(url)
        for store in self.stores:
            store._database.dialect.now = lambda connection: self.model.clock  # type: ignore[method-assign]
        self.turns = itertools.cycle(self.stores)

    def teardown(self) -> None:
        problems = self.stores[0].check()
        for store in self.stores:
            store.close()
        assert problems == []

    @property
    def store(self) -> Store:
        return next(self.turns)

    @rule(passed=st.sampled_from([0.5, 4.0, 10.0, 20.0]))
    def time_passes(self, passed: float) -> None:
        self.model.clock += passed
        assert self.store.now() == self.model.clock


class Claims(Processes):
    """Who does what, for how long: leases and followers."""

    @rule(name=few, owner=owners, seconds=seconds, note=few)
    def claim(self, name: str, owner: str, seconds: float, note: str) -> None:
        assert self.store.leases.claim(name, owner, seconds, note) is self.model.claim(name, owner, seconds, note)

    @rule(owner=owners, seconds=seconds, names=st.none() | st.sets(few))
    def beat(self, owner: str, seconds: float, names: set[str] | None) -> None:
        assert self.store.leases.renew(owner, seconds, names) == self.model.renew(owner, seconds, names)

    @rule(name=few, owner=owners)
    def release(self, name: str, owner: str) -> None:
        assert self.store.leases.release(name, owner) is self.model.release(name, owner)

    @rule(name=few, owner=owners, seconds=seconds)
    def follow(self, name: str, owner: str, seconds: float) -> None:
        assert self.store.followers.claim(name, owner, seconds) == self.model.follow(name, owner, seconds)

    @rule(name=few, owner=owners, cursor=st.integers(0, 50))
    def advance(self, name: str, owner: str, cursor: int) -> None:
        assert self.store.followers.advance(name, owner, cursor) is self.model.advance(name, owner, cursor)

    @invariant()
    def both_know_who_holds_what(self) -> None:
        for name in ("a", "b", "c", "follower:a"):
            expected = self.model.holder(name)
            assert [store.leases.holder(name) for store in self.stores] == [expected, expected]


class Records(Processes):
    """What is remembered: tasks, outcomes, events; and the cursors that two readers go on from."""

    runs = Bundle("runs")
    steps = Bundle("steps")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.cursors = [0, 0]
        self.read: list[list[tuple[str, str]]] = [[], []]

    def teardown(self) -> None:
        for reader in (0, 1):
            while self._page(reader, 5):
                pass
            assert self.read[reader] == [(task, kind) for task, kind, _ in self.model.events]
        self.whole_story()
        super().teardown()

    # tasks

    @initialize(target=runs)
    def first(self) -> str:
        return str(self.run("a"))

    @rule(target=runs, pipeline=few)
    def run(self, pipeline: str) -> str:
        task = Task(new_id(), Kind.PIPELINE, pipeline, "laws", Status.RUNNING, pipeline)
        assert [self.store.tasks.create(task)] == self.model.record([(task, ())])
        return task.id

    @rule(target=steps, run=runs, story=st.lists(st.tuples(statuses, st.none() | few), max_size=2), status=statuses)
    def step(self, run: str, story: list[tuple[Status, str | None]], status: Status) -> str:
        fields: dict[str, Any] = {"parent": run, "component": "fit", "position": len(self.model.tasks)}
        if story:
            # Whoever ran it knows its times.
            ended = self.model.clock if status.finished else None
            began = self.model.clock - 0.5 if status is Status.RUNNING else None
            fields |= {"created_at": self.model.clock - 1.0, "started_at": began, "finished_at": ended}
        task = Task(new_id(), Kind.STEP, "fit", "laws", status, reason="last", **fields)
        assert self.store.tasks.record([(task, story)]) == self.model.record([(task, story)])
        return task.id

    @rule(task=steps | runs, status=statuses, expect=st.none() | st.sets(statuses, max_size=3))
    def transition(self, task: str, status: Status, expect: set[Status] | None) -> None:
        if self.model.may_move(task, status, expect):
            after = self.store.tasks.transition(task, status, expect=expect, reason="why")
            assert after == self.model.transition(task, status, reason="why")
        else:
            with pytest.raises(IllegalTransition):
                self.store.tasks.transition(task, status, expect=expect, reason="why")

    @rule(task=steps | runs, notes=few, key=st.none() | few)
    def update(self, task: str, notes: str, key: str | None) -> None:
        assert self.store.tasks.update(task, notes=notes, key=key) == self.model.update(task, notes=notes, key=key)

    @rule(step=steps)
    def withdraw(self, step: str) -> None:
        self.store.tasks.withdraw(step, "again")
        self.model.withdraw(step, "again")

    @rule(task=steps | runs, outputs=outputs)
    def set_outputs(self, task: str, outputs: dict[str, ArtifactRef]) -> None:
        self.store.tasks.set_outputs(task, outputs)
        self.model.outputs[task] = outputs

    @rule(step=steps, number=st.integers(1, 3), worker=few)
    def start_attempt(self, step: str, number: int, worker: str) -> None:
        attempt = Attempt(step, number, Status.RUNNING, self.model.clock, worker=worker)
        if self.model.start_attempt(attempt):
            self.store.tasks.start_attempt(attempt)
        else:
            with pytest.raises(StoreError):
                self.store.tasks.start_attempt(attempt)

    @rule(step=steps, number=st.integers(1, 3), status=statuses, error=st.none() | st.just({"type": "E"}))
    def finish_attempt(self, step: str, number: int, status: Status, error: dict[str, Any] | None) -> None:
        clock = self.model.clock
        attempt = Attempt(step, number, status, clock - 1, clock, error, "w", "c")
        self.store.tasks.finish_attempt(attempt)
        self.model.finish_attempt(attempt)

    @rule(reported=st.lists(st.tuples(steps, few, st.integers(0, 9)), max_size=4))
    def report(self, reported: list[tuple[str, str, int]]) -> None:
        metrics = [Metric(task, name, value / 2, value, 1.5) for task, name, value in reported]
        self.store.metrics.add(metrics)
        self.model.report(metrics)

    # outcomes

    @rule(key=few, task=steps, outputs=outputs, over=st.none() | steps, created=st.booleans())
    def remember(self, key: str, task: str, outputs: dict[str, ArtifactRef], over: str | None, created: bool) -> None:
        at = self.model.clock - 1.0 if created else 0.0
        entry = CacheEntry(key, task, "fit", outputs, {"code": task}, 1.0, at)
        stored = CacheEntry(key, task, "fit", outputs, {"code": task}, 1.0, at or self.model.clock)
        assert self.store.cache.record(entry, over=over) is self.model.remember(stored, over)

    @rule(keys=st.lists(few, max_size=3))
    def hit(self, keys: list[str]) -> None:
        self.store.cache.hit(*keys)
        self.model.hit(keys)

    @rule(keys=st.sets(few, max_size=2))
    def forget(self, keys: set[str]) -> None:
        there = [self.model.cache.pop(key) for key in sorted(keys) if key in self.model.cache]
        assert self.store.cache.forget(*keys) == len(there)

    # transactions

    @rule(run=runs, step=steps, key=few, outputs=outputs, kept=st.booleans())
    def a_step_ends(self, run: str, step: str, key: str, outputs: dict[str, ArtifactRef], kept: bool) -> None:
        """What the engine writes at the end of a step is there as a whole, or not at all."""
        store, model = self.store, self.model if kept else self.model.copy()
        guard: AbstractContextManager[Any] = nullcontext() if kept else pytest.raises(Undo)
        task = Task(new_id(), Kind.STEP, "new", "laws", Status.QUEUED, parent=run, component="new", position=0)
        entry = CacheEntry(key, step, "fit", outputs, {}, 1.0, model.clock)
        with guard, store.transaction():
            assert store.tasks.record([(task, ())]) == model.record([(task, ())])
            assert store.tasks.update(step, reason="over") == model.update(step, reason="over")
            store.metrics.add([Metric(step, "a", 1.0, 0, 1.0), Metric(step, "b", 2.0, 0, 1.0)])
            model.report([Metric(step, "a", 1.0, 0, 1.0), Metric(step, "b", 2.0, 0, 1.0)])
            assert store.cache.record(entry) is model.remember(entry, None)
            assert store.leases.claim("a", "here", 5.0) is model.claim("a", "here", 5.0, "")
            assert store.leases.release("b", "there") is model.release("b", "there")
            if not kept:
                raise Undo

    # what both must say

    def _page(self, reader: int, limit: int) -> int:
        events = self.store.events.after(self.cursors[reader], limit)
        self.read[reader] += [(event.task, event.kind) for event in events]
        if events:
            assert [event.id for event in events] == sorted({event.id for event in events})
            assert events[0].id > self.cursors[reader]
            self.cursors[reader] = events[-1].id
        return len(events)

    @rule(reader=st.integers(0, 1), limit=st.integers(1, 5))
    def go_on_reading(self, reader: int, limit: int) -> None:
        before = len(self.read[reader])
        self._page(reader, limit)
        expected = [(task, kind) for task, kind, _ in self.model.events]
        assert self.read[reader] == expected[: before + limit]

    def whole_story(self) -> None:
        store = self.store
        told = store.events.after(0, 10**6)
        assert store.events.last() == (told[-1].id if told else 0)
        assert len(told) == len(self.model.events)
        of: dict[str, Iterator[Metric]] = {
            task: iter([metric for metric in self.model.metrics if metric.task == task]) for task in self.model.tasks
        }
        for event, (task, kind, data) in zip(told, self.model.events, strict=True):
            assert (event.task, event.kind) == (task, kind)
            assert data is None or event.data == data
            if kind == "metrics":
                rows = store.metrics.between(task, event.data["first"], event.data["last"])
                assert rows
                assert rows == [next(of[task]) for _ in rows]
        assert all(next(left, None) is None for left in of.values())

    @rule(task=steps | runs)
    def read_a_task(self, task: str) -> None:
        store, model = self.store, self.model
        assert store.tasks.get(task) == model.tasks[task]
        assert store.tasks.status(task) == model.tasks[task].status
        assert store.tasks.outputs(task) == model.outputs.get(task, {})
        assert list(store.tasks.outputs(task)) == list(model.outputs.get(task, {}))
        assert store.tasks.attempts(task) == model.attempts_of(task)
        metrics = [metric for metric in model.metrics if metric.task == task]
        assert store.metrics.of([task]) == metrics
        assert store.metrics.latest([task]) == {(task, metric.name): metric.value for metric in metrics}
        told = [(of, kind) for of, kind, _ in model.events if of == task]
        assert [(event.task, event.kind) for event in store.events.story(task)] == told

    @rule(key=few)
    def read_an_outcome(self, key: str) -> None:
        assert self.store.cache.lookup(key) == self.model.cache.get(key)
        assert {entry.key: entry for entry in self.store.cache.list()} == self.model.cache

    @rule(run=runs)
    def read_a_run(self, run: str) -> None:
        children = {id: task for id, task in self.model.tasks.items() if task.parent == run}
        assert {task.id: task for task in self.store.tasks.children(run)} == children
        ids = list(self.model.tasks)
        assert self.store.tasks.statuses(ids) == {id: self.model.tasks[id].status for id in ids}
        assert self.store.tasks.attempts_of(ids) == {id: self.model.attempts_of(id) for id in ids}


def check(machine: type[Processes], url: Callable[[], str], examples: int, *, derandomize: bool = False) -> None:
    run_state_machine_as_test(
        lambda: machine(url()),  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
            derandomize=derandomize,
        ),
    )


machines = pytest.mark.parametrize("machine", [Claims, Records])


@pytest.fixture
def sqlite_urls(tmp_path: Path) -> Callable[[], str]:
    """URLs of new stores, each a copy of an empty one."""
    empty, numbers = tmp_path / "empty.db", itertools.count()
    Store.open(f"sqlite:///{empty}").close()

    def url() -> str:
        path = tmp_path / f"{next(numbers)}.db"
        shutil.copy(empty, path)
        return f"sqlite:///{path}"

    return url


@machines
def test_two_processes_agree_with_the_model(machine: type[Processes], sqlite_urls: Callable[[], str]) -> None:
    check(machine, sqlite_urls, 12, derandomize=True)


@pytest.mark.integration
@machines
def test_two_processes_agree_with_the_model_at_length(machine: type[Processes], sqlite_urls: Callable[[], str]) -> None:
    check(machine, sqlite_urls, 150)


@pytest.mark.integration
@machines
def test_two_processes_agree_with_the_model_on_postgresql(machine: type[Processes], postgresql_url: str) -> None:
    import psycopg

    numbers, folder = itertools.count(), postgresql_url.partition("?host=")[2]

    def url() -> str:
        name = f"laws_{machine.__name__.lower()}_{next(numbers)}"
        with psycopg.connect(host=folder, user="hpo", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{postgresql_url}&options=-csearch_path%3D{name}"

    check(machine, url, 15)
