from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from store.conftest import Build

from hpo_pipelines.store import Store
from hpo_pipelines.store.queues import QueueState
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status


def lease(task: Task) -> str:
    return f"run:{task.id}"


class QueuesContract:
    def waiting(self, build: Build, queue: str = "services", *, priority: int = 0) -> Task:
        run = build.run(status=Status.QUEUED)
        build.store.queues.enter(run.id, queue, priority=priority)
        return run

    def take(self, store: Store, owner: str = "a", queues: tuple[str, ...] = ("services",)) -> str | None:
        with store.transaction():
            entry = store.queues.first(queues)
            if entry is None or not store.leases.claim(f"run:{entry.task}", owner, 100):
                return None
            return entry.task

    def test_the_first_come_is_the_first_served_among_those_of_one_priority(self, build: Build) -> None:
        low, first, second = (self.waiting(build, priority=priority) for priority in (-1, 5, 5))
        assert [entry.task for entry in build.store.queues.line("services")] == [first.id, second.id, low.id]
        assert [self.take(build.store) for _ in range(4)] == [first.id, second.id, low.id, None]

    def test_a_run_may_take_the_place_that_another_has_left(self, build: Build) -> None:
        first, second, attempt = self.waiting(build), self.waiting(build), build.run(status=Status.QUEUED)
        entry = build.store.queues.entry(first.id)
        assert entry is not None
        with build.store.transaction():
            build.store.queues.leave(first.id)
            build.store.queues.enter(attempt.id, "services", position=entry.position)
        last = self.waiting(build)
        assert [entry.task for entry in build.store.queues.line("services")] == [attempt.id, second.id, last.id]

    def test_an_agent_takes_from_its_own_queues_only(self, build: Build) -> None:
        other = self.waiting(build, "gpu")
        assert self.take(build.store) is None
        assert self.take(build.store, queues=("services", "gpu")) == other.id
        assert build.store.queues.first([]) is None

    def test_what_has_ended_and_what_somebody_has_is_passed_over(self, build: Build) -> None:
        ended, had, lapsed = (self.waiting(build) for _ in range(3))
        build.store.tasks.transition(ended.id, Status.ABORTED)
        build.store.leases.claim(lease(had), "b", 100)
        build.store.leases.claim(lease(lapsed), "b", -1)
        assert self.take(build.store) == lapsed.id
        assert self.take(build.store) is None

    def test_who_moves_keeps_its_place_and_options_are_kept(self, build: Build) -> None:
        first, second = self.waiting(build), self.waiting(build)
        before = build.store.queues.entry(first.id)
        moved = build.store.queues.enter(first.id, "services", options={"reuse": False})
        assert before is not None
        assert (moved.position, moved.options) == (before.position, {"reuse": False})
        assert build.store.queues.entry(first.id) == moved
        build.store.queues.enter(second.id, "services", priority=1)
        assert self.take(build.store) == second.id
        assert build.kinds(first)[-2:] == ["enqueued", "enqueued"]

    def test_a_paused_queue_and_a_full_one_give_nothing(self, build: Build) -> None:
        one, two = self.waiting(build), self.waiting(build)
        assert build.store.queues.pause("services") == QueueState("services", paused=True)
        assert self.take(build.store) is None
        assert build.store.queues.limit("services", 1) == QueueState("services", paused=True, capacity=1)
        assert self.take(build.store) is None
        assert build.store.queues.pause("services", paused=False) == QueueState("services", capacity=1)
        assert self.take(build.store) == one.id
        build.store.tasks.transition(one.id, Status.RUNNING)
        assert self.take(build.store) is None
        assert build.store.queues.states() == {"services": QueueState("services", capacity=1)}
        build.store.tasks.transition(one.id, Status.COMPLETED)
        assert self.take(build.store) == two.id

    def test_those_under_way_are_told_with_who_has_them(self, build: Build) -> None:
        had, lapsed, free = (self.waiting(build) for _ in range(3))
        for task in (had, lapsed, free):
            build.store.tasks.transition(task.id, Status.RUNNING)
        build.store.leases.claim(lease(had), "b", 100)
        build.store.leases.claim(lease(lapsed), "b", -1)
        found = {entry.task: owner for entry, owner in build.store.queues.under_way(["services"])}
        assert found == {had.id: "b", lapsed.id: None, free.id: None}
        assert build.store.queues.under_way(["default"]) == []

    def test_counts_and_places(self, build: Build) -> None:
        runs = [self.waiting(build) for _ in range(3)]
        self.waiting(build, "gpu")
        build.store.tasks.transition(runs[0].id, Status.RUNNING)
        assert build.store.queues.counts() == {"services": (2, 1), "gpu": (1, 0)}
        entries = [build.store.queues.entry(run.id) for run in runs]
        assert [build.store.queues.ahead(entry) for entry in entries[1:] if entry] == [0, 1]
        assert build.store.queues.orphaned(runs[0].id) == 1
        assert build.store.queues.orphaned(runs[0].id) == 2
        assert build.store.queues.orphaned("unknown") == 0

    def test_who_is_taken_out_or_has_ended_leaves_no_entry(self, build: Build) -> None:
        left, ended, stays, kept = (self.waiting(build) for _ in range(4))
        build.store.queues.leave(left.id)
        build.store.queues.leave("unknown")
        build.store.tasks.transition(ended.id, Status.ABORTED)
        build.store.tasks.transition(stays.id, Status.RUNNING)
        with pytest.raises(ValueError, match="not now"), build.store.transaction():
            build.store.tasks.transition(kept.id, Status.ABORTED)
            raise ValueError("not now")
        found = [build.store.queues.entry(run.id) is None for run in (left, ended, stays, kept)]
        assert found == [True, True, False, False]

    def test_a_change_of_a_queue_leaves_alone_what_another_changes_at_the_same_time(self, build: Build) -> None:
        changes = [
            change
            for number in range(20)
            for change in (
                functools.partial(build.store.queues.pause, f"queue{number}"),
                functools.partial(build.store.queues.limit, f"queue{number}", 3),
            )
        ]
        with ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(change) for change in changes]:
                done.result(60)
        wanted = {QueueState(f"queue{number}", paused=True, capacity=3) for number in range(20)}
        assert set(build.store.queues.states().values()) == wanted

    def test_deaths_are_counted_since_a_step_ended_last(self, build: Build) -> None:
        run = self.waiting(build)
        build.store.tasks.transition(run.id, Status.RUNNING)
        under_way, inner = build.step(run, status=Status.RUNNING), build.run(parent=run.id, status=Status.RUNNING)
        orphaned = build.store.queues.orphaned
        assert [orphaned(run.id), orphaned(run.id)] == [1, 2]
        build.store.tasks.transition(under_way.id, Status.QUEUED)
        build.store.tasks.transition(under_way.id, Status.RUNNING)
        assert orphaned(run.id) == 3
        build.store.tasks.transition(under_way.id, Status.COMPLETED)
        assert [orphaned(run.id), orphaned(run.id)] == [1, 2]
        build.step(inner, status=Status.COMPLETED)
        assert [orphaned(run.id), orphaned(run.id)] == [1, 2]
        assert build.kinds(run).count("orphaned") == 7

    def test_a_deleted_run_leaves_its_queue(self, build: Build) -> None:
        run = self.waiting(build)
        build.store.tasks.transition(run.id, Status.ABORTED)
        build.store.tasks.delete(run.id)
        assert build.store.queues.entry(run.id) is None

    def test_of_many_who_take_at_once_each_gets_another(self, build: Build) -> None:
        runs = {self.waiting(build).id for _ in range(24)}
        taken: list[str] = []

        def take_all(owner: str) -> None:
            while len(taken) < len(runs):
                task = self.take(build.store, owner)
                if task is not None:
                    taken.append(task)

        threads = [threading.Thread(target=take_all, args=(f"owner-{index}",)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(taken) == len(runs)
        assert set(taken) == runs


class TestSqlite(QueuesContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(QueuesContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
