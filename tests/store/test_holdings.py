from __future__ import annotations

import pytest

from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.store import Holding, Store
from hpo_pipelines.task import Snapshot, Task
from hpo_pipelines.types import Status

DONE = Status.COMPLETED


def ids(holdings: list[Holding]) -> set[str]:
    return {holding.id for holding in holdings}


class HoldingsContract:
    def test_outcomes_with_what_they_hold_and_when_they_were_used(self, store: Store, build) -> None:
        step = build.step(build.run())
        store.cache.record(build.entry("k", step, created_at=5.0, a=build.ref("a"), b=build.ref("b", inline=None)))
        (found,) = store.holdings.outcomes()
        assert found == Holding("k", frozenset({"bytes-a", "bytes-b"}), 5.0, "fit", step.id, 1.5, 0)
        assert found.is_outcome
        store.cache.hit("k")
        (found,) = store.holdings.outcomes()
        assert (found.used_at, found.hits) == (store.cache.lookup("k").hit_at, 1)

    def test_tasks_are_told_apart_by_who_still_reads_them(self, store: Store, build) -> None:
        over, under_way = build.run(status=DONE), build.run(status=Status.RUNNING)
        inner = build.run(status=DONE, parent=under_way.id)
        innermost = build.run(status=DONE, parent=inner.id)
        steps = {run.id: build.step(run, status=DONE, component="c") for run in (over, under_way, inner, innermost)}
        for task in (over, *steps.values()):
            store.tasks.set_outputs(task.id, {"x": build.ref(task.id, inline=None), "y": build.ref("y", inline=None)})
        needed, rest = store.holdings.tasks()
        assert ids(needed) == {over.id, steps[under_way.id].id, steps[inner.id].id, steps[innermost.id].id}
        (holding,) = rest
        step = steps[over.id]
        digests = frozenset({f"bytes-{step.id}", "bytes-y"})
        assert holding == Holding(step.id, digests, store.tasks.get(step.id).finished_at, "c")
        assert not holding.is_outcome
        store.tasks.transition(under_way.id, Status.FAILED)
        needed, rest = store.holdings.tasks()
        assert (ids(needed), ids(rest)) == ({over.id}, {step.id for step in steps.values()})

    def test_what_lies_in_the_store_itself_is_nobodys_file(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        store.tasks.set_outputs(run.id, {"x": build.ref("small")})
        assert store.holdings.tasks() == ([], [])

    def test_code(self, store: Store, build) -> None:
        assert store.holdings.code() == frozenset()
        store.snapshots.add(Snapshot("s", "m:churn", build.ref("code"), "3.11", {}))
        assert store.holdings.code() == {"bytes-code"}

    def test_sizes_are_of_distinct_bytes(self, store: Store, build) -> None:
        one = build.ref("one", size=10)
        store.artifacts.add([one, build.ref("one", size=10, value_digest="other", format="bytes"), build.ref("two")])
        assert store.holdings.sizes() == {"bytes-one": 10, "bytes-two": 3}

    def test_since_when_something_is_under_way(self, store: Store, build) -> None:
        def drive(run: Task, seconds: float = 30.0) -> Task:
            store.leases.claim(lease_of(run.id), "driver", seconds)
            return run

        assert store.holdings.under_way_since() is None
        drive(build.run(status=DONE, started_at=1.0))
        drive(build.run(status=Status.RUNNING, started_at=2.0), 0.0)
        build.run(status=Status.RUNNING, started_at=3.0)
        build.step(drive(build.run(status=Status.FAILED, started_at=4.0)), status=Status.RUNNING, started_at=4.5)
        drive(build.run())
        assert store.holdings.under_way_since() is None
        for at in (7.0, 6.0, 8.0):
            outer = drive(build.run(status=Status.RUNNING, started_at=at))
        assert store.holdings.under_way_since() == 6.0
        inner = build.run(status=DONE, started_at=5.1, parent=outer.id)
        build.run(status=Status.RUNNING, started_at=5.5, parent=inner.id)
        assert store.holdings.under_way_since() == 5.5


class TestSqlite(HoldingsContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(HoldingsContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
