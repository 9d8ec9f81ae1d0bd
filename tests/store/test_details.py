from __future__ import annotations

import dataclasses

import pytest

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Edge
from hpo_pipelines.types import Status, new_id


class DetailsContract:
    def test_edges_come_in_the_order_of_the_steps(self, store: Store, build) -> None:
        run = build.run()
        load = build.step(run, "load", position=0)
        data = Edge(load.id, new_id(), "data", "train", "x[0]")
        fit = build.step(run, "fit", id=data.target, position=2, edges=(data, Edge(load.id, data.target, "control")))
        look = Edge(load.id, new_id(), "control")
        build.step(run, "early", id=look.target, position=1, edges=(look, look))
        assert store.tasks.edges(run.id) == [look, Edge(load.id, fit.id, "control"), data]
        assert store.tasks.edges(build.run().id) == []

    def test_edges_added_later_are_told_of(self, store: Store, build) -> None:
        run = build.run()
        one, two, three = (build.step(run, name, position=i) for i, name in enumerate("abc"))
        edges = [Edge(one.id, three.id), Edge(two.id, three.id)]
        store.tasks.add_edges(edges)
        store.tasks.add_edges(edges[:1])
        assert store.tasks.edges(run.id) == edges
        assert store.events.story(three.id)[1].data == {"sources": [one.id, two.id]}
        assert build.kinds(one) == ["created"]

    def test_an_edge_needs_both_its_ends(self, store: Store, build) -> None:
        step = build.step(build.run())
        with pytest.raises(StoreError):
            store.tasks.add_edges([Edge(new_id(), step.id)])
        assert build.kinds(step) == ["created"]

    def test_outputs_keep_names_order_and_artifacts(self, store: Store, build) -> None:
        step = build.step(build.run())
        outputs = {"z": build.ref(), "a": build.ref(inline=None, preview={}, size=10**12), "ü": build.ref()}
        store.tasks.set_outputs(step.id, outputs)
        assert store.tasks.outputs(step.id) == outputs
        assert list(store.tasks.outputs(step.id)) == ["z", "a", "ü"]

    def test_setting_outputs_replaces_them(self, store: Store, build) -> None:
        step = build.step(build.run())
        one, two = build.ref(), build.ref()
        store.tasks.set_outputs(step.id, {"a": one, "b": two})
        store.tasks.set_outputs(step.id, {"b": one})
        assert store.tasks.outputs(step.id) == {"b": one}
        store.tasks.set_outputs(step.id, {})
        assert store.tasks.outputs(step.id) == {}

    def test_one_artifact_serves_many_outputs_and_one_digest_two_values(self, store: Store, build) -> None:
        run = build.run()
        step, other = build.step(run, position=0), build.step(run, position=1)
        shared = build.ref("one", value_digest="the number 1")
        alike = dataclasses.replace(shared, value_digest="the text 1", format="bytes")
        store.tasks.set_outputs(step.id, {"a": shared, "b": shared, "c": alike})
        store.tasks.set_outputs(other.id, {"a": alike})
        assert store.tasks.outputs_of([step.id, other.id, "missing"]) == {
            step.id: {"a": shared, "b": shared, "c": alike},
            other.id: {"a": alike},
            "missing": {},
        }
        assert store.artifacts.holders(shared.digest) == [(step.id, n) for n in "abc"] + [(other.id, "a")]

    def test_outputs_of_an_unknown_task_are_refused(self, store: Store, build) -> None:
        with pytest.raises(StoreError):
            store.tasks.set_outputs(new_id(), {"a": build.ref()})

    def test_attempts_are_kept_apart(self, store: Store, build) -> None:
        step = build.step(build.run())
        first = Attempt(step.id, 1, Status.RUNNING, 10.5, worker="host:1", console="a/1.log")
        store.tasks.start_attempt(first)
        assert store.tasks.attempts(step.id) == [first]
        lost = dataclasses.replace(first, status=Status.FAILED, finished_at=12.0, error={"type": "StepLost"})
        store.tasks.finish_attempt(lost)
        second = dataclasses.replace(first, number=2, status=Status.COMPLETED, finished_at=13.0, console="a/2.log")
        store.tasks.finish_attempt(second)  # too quick for its start to be worth a write of its own
        assert store.tasks.attempts(step.id) == [lost, second]
        assert [event.data for event in store.events.story(step.id)[1:]] == [
            {"number": 1, "status": "running"},
            {"number": 1, "status": "failed"},
            {"number": 2, "status": "completed"},
        ]

    def test_an_attempt_starts_once(self, store: Store, build) -> None:
        step = build.step(build.run())
        attempt = Attempt(step.id, 1, Status.RUNNING, 1.0)
        store.tasks.start_attempt(attempt)
        with pytest.raises(StoreError, match="must be new"):
            store.tasks.start_attempt(attempt)


class TestSqlite(DetailsContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(DetailsContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
