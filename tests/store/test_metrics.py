from __future__ import annotations

import math
import threading

import pytest

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store import Store
from hpo_pipelines.task import Metric
from hpo_pipelines.types import Status


class MetricsContract:
    def test_values_come_back_in_their_order(self, store: Store, build) -> None:
        step = build.step(build.run())
        values = [0.1, math.inf, -math.inf, 1e-320, 7]
        series = [Metric(step.id, "auc", value, 2**40 - i, 1.5 + i) for i, value in enumerate(values)]
        store.metrics.add(series)
        assert store.metrics.of([step.id]) == series

    def test_nan_stays_nan(self, store: Store, build) -> None:
        step = build.step(build.run())
        store.metrics.add([Metric(step.id, "auc", math.nan, 0, 1.0)])
        assert math.isnan(store.metrics.of([step.id])[0].value)
        assert math.isnan(store.metrics.latest([step.id])[step.id, "auc"])

    def test_latest_is_what_was_recorded_last(self, store: Store, build) -> None:
        run = build.run()
        one, two = build.step(run, position=0), build.step(run, position=1)
        for task, name, value, step in (
            (one, "auc", 0.5, 9), (one, "auc", 0.25, 1), (one, "loss", 3.0, 0), (two, "auc", 1.0, 0),
        ):  # fmt: skip
            store.metrics.add([Metric(task.id, name, value, step, 100.0 - step)])
        latest = {(one.id, "auc"): 0.25, (one.id, "loss"): 3.0, (two.id, "auc"): 1.0}
        assert store.metrics.latest([one.id, two.id]) == latest
        assert store.metrics.latest([two.id]) == {(two.id, "auc"): 1.0}
        assert store.metrics.latest([]) == {}

    def test_one_event_per_call_and_task_names_exactly_its_values(self, store: Store, build) -> None:
        run = build.run()
        one, two = build.step(run, position=0), build.step(run, position=1)
        series = [Metric(task.id, "auc", i, i, 1.0) for i, task in enumerate((one, two, one, two, one))]
        with store.transaction():
            store.metrics.add(series)
            store.tasks.transition(one.id, Status.RUNNING)
            store.metrics.add(series[:1])
        assert build.kinds(one) == ["created", "metrics", "status", "metrics"]
        assert build.kinds(two) == ["created", "metrics"]
        told = [
            store.metrics.between(event.task, event.data["first"], event.data["last"])
            for event in store.events.after(0)
            if event.kind == "metrics"
        ]
        assert told == [series[::2], series[1::2], series[:1]]

    def test_what_is_taken_back_is_gone_and_an_event_says_so(self, store: Store, build) -> None:
        run = build.run()
        one, two = build.step(run, position=0), build.step(run, position=1)
        for task in (one, two):
            store.metrics.add([Metric(task.id, name, i, i, 1.0) for name in ("auc", "loss") for i in range(3)])
        first, last = (store.events.after(0)[-1].data[name] for name in ("first", "last"))
        store.metrics.withdraw([one.id])
        store.metrics.withdraw([one.id])
        store.metrics.withdraw([two.id], name="auc", step=1)
        assert store.metrics.of([one.id]) == []
        assert [(metric.name, metric.step) for metric in store.metrics.between(two.id, first, last)] == [
            ("auc", 0), ("auc", 2), ("loss", 0), ("loss", 1), ("loss", 2),
        ]  # fmt: skip
        told = [(event.task, event.data) for event in store.events.after(0) if event.kind == "withdrawn"]
        assert told == [(one.id, {"name": None, "values": 6}), (two.id, {"name": "auc", "values": 1})]
        with store.transaction():
            store.metrics.add([Metric(one.id, "auc", 7.0, 0, 1.0)])
            store.metrics.withdraw([one.id])
            store.metrics.add([Metric(one.id, "auc", 8.0, 0, 1.0)])
        assert [metric.value for metric in store.metrics.of([one.id])] == [8.0]
        assert store.check() == []

    def test_a_follower_of_several_writers_gets_each_value_once(self, store: Store, build) -> None:
        step = build.step(build.run())

        def report(name: str) -> None:
            for i in range(8):
                with store.transaction():
                    store.metrics.add(Metric(step.id, name, j, i, 1.0) for j in range(3))
                    store.metrics.add([Metric(step.id, name, 3, i, 1.0)])

        threads = [threading.Thread(target=report, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        followed = [
            metric
            for event in store.events.story(step.id)
            if event.kind == "metrics"
            for metric in store.metrics.between(step.id, event.data["first"], event.data["last"])
        ]
        assert followed == store.metrics.of([step.id])
        assert len(followed) == 4 * 8 * 4

    def test_the_values_of_an_unknown_task_are_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="must be there before it"):
            store.metrics.add([Metric("nobody", "auc", 1.0, 0, 1.0)])
        assert store.events.last() == 0

    def test_a_transaction_sees_its_own_values(self, store: Store, build) -> None:
        step = build.step(build.run())
        with store.transaction():
            store.metrics.add([Metric(step.id, "auc", 1.0, 0, 1.0)])
            assert store.metrics.latest([step.id]) == {(step.id, "auc"): 1.0}


class TestSqlite(MetricsContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(MetricsContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
