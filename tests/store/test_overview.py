from __future__ import annotations

from dataclasses import replace

import pytest

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.store.overview import ORDERS, Brief, Executions
from hpo_pipelines.task import Metric
from hpo_pipelines.types import Kind, Status

RUNS = TaskFilter(kind=Kind.PIPELINE, top=True)


class OverviewContract:
    def test_pipelines_count_their_runs_but_not_those_inside_others(self, store: Store, build) -> None:
        first = build.run(pipeline="churn", project="shop")
        build.run(pipeline="churn", project="shop", parent=first.id)
        last = build.run(pipeline="price", project="shop")
        build.run(pipeline="churn", project="shop")
        found = {each.pipeline: each for each in store.overview.pipelines()}
        assert {name: each.runs for name, each in found.items()} == {"churn": 2, "price": 1}
        assert found["price"].latest == last.id
        assert store.overview.count(RUNS) == 3

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("descending", [True, False])
    def test_pages_cover_everything_once_while_more_is_recorded(
        self, store: Store, build, order: str, descending: bool
    ) -> None:
        for i in range(7):
            times = {"started_at": 10.0, "finished_at": 10.0 + i % 3} if i % 2 else {}
            build.run(pipeline=f"p{i % 2}", status=Status.COMPLETED if i % 2 else Status.DRAFT, **times)
        every, end = store.overview.page(RUNS, order=order, descending=descending, limit=100)
        assert (len(every), end) == (7, None)
        seen, after = [], None
        while True:
            page, after = store.overview.page(RUNS, order=order, descending=descending, after=after, limit=2)
            seen += [task.id for task in page]
            if after is None:
                break
            build.run(pipeline="p2", status=Status.RUNNING)
        known = {task.id for task in every}
        assert [task for task in seen if task in known] == [task.id for task in every]
        assert len(set(seen)) == len(seen)

    @pytest.mark.parametrize("descending", [True, False])
    def test_pages_of_several_statuses_are_in_one_order(self, store: Store, build, descending: bool) -> None:
        statuses = [Status.FAILED, Status.COMPLETED, Status.ABORTED]
        runs = [build.run(status=statuses[i % 3], pipeline=f"p{i % 2}", project="shop").id for i in range(12)]
        for given, picked in (({}, runs), ({"pipeline": "p0", "project": "shop"}, runs[::2])):
            where = replace(RUNS, status=[Status.ABORTED, Status.FAILED, Status.ABORTED, Status.RUNNING], **given)
            expected = [run for run in picked if runs.index(run) % 3 != 1]
            seen, after = [], None
            while after is not None or not seen:
                page, after = store.overview.page(where, descending=descending, after=after, limit=3)
                seen += [task.id for task in page]
            assert seen == (expected[::-1] if descending else expected)
            assert store.overview.count(where) == len(expected)

    def test_briefs_are_the_newest_of_a_filter(self, store: Store, build) -> None:
        times = [(10.0 * i, 10.0 * i + 5) for i in range(4)]
        runs = [
            build.run(pipeline=f"p{i % 2}", status=Status.COMPLETED, started_at=begin, finished_at=end)
            for i, (begin, end) in enumerate(times)
        ]
        waiting = build.run(pipeline="p0")
        where = replace(RUNS, pipeline="p0")
        found = store.overview.briefs(where, 2)
        assert found == [
            Brief(waiting.id, waiting.number, "draft", None, None),
            Brief(runs[2].id, runs[2].number, "completed", *times[2]),
        ]
        assert [brief.seconds for brief in store.overview.briefs(where, 9)] == [None, 5.0, 5.0]

    def test_an_unknown_order_is_refused(self, store: Store) -> None:
        with pytest.raises(ParameterError, match="sorted by 'colour'"):
            store.overview.page(RUNS, order="colour")

    def test_steps_are_counted_by_status_and_reuse(self, store: Store, build) -> None:
        run, empty = build.run(), build.run()
        origin = build.step(run, "load", status=Status.COMPLETED)
        build.step(run, "fit", status=Status.COMPLETED, reused_from=origin.id)
        build.step(run, "score", status=Status.FAILED)
        found = store.overview.steps([run.id, empty.id])
        assert found[run.id].statuses == {"completed": 2, "failed": 1}
        assert (found[run.id].reused, found[run.id].total) == (1, 3)
        assert found[empty.id].total == 0
        assert store.overview.totals([run.id, empty.id]) == {run.id: (3, 1), empty.id: (0, 0)}

    def test_executions_are_what_was_computed_before_under_a_key(self, store: Store, build) -> None:
        first, empty, second, other = build.run(), build.run(), build.run(), build.run(pipeline="other")
        ran = build.step(first, "fit", status=Status.FAILED, key="k1")
        build.step(first, "fit.2", status=Status.COMPLETED, key="k1", reused_from=ran.id)
        build.step(first, "fit.3", status=Status.COMPLETED)
        build.step(first, "fit.4", status=Status.QUEUED, key="k2")
        later = build.step(second, "load", status=Status.RUNNING, key="k3")
        build.step(other, "load", status=Status.COMPLETED, key="k4")

        def found(before: str, runs: int = 9) -> Executions:
            return store.overview.executions(str(first.project), str(first.pipeline), before=before, runs=runs)

        whole = found(f"{second.id}~")
        assert whole.steps == [(later.id, later.component), (ran.id, ran.component)]
        assert whole.last == first.id
        assert whole.looked_at == 6, "the steps of both, and that one has none"
        assert found(f"{second.id}~", 1).last == second.id
        assert found(second.id, 1) == Executions([], 1, empty.id)
        assert found(first.id) == Executions([], 0, None)

    def test_metrics_are_the_last_of_the_last_call(self, store: Store, build) -> None:
        run = build.run()
        first = build.step(run, "fit", component="fit", position=0)
        second = build.step(run, "fit.2", component="fit", position=1)
        store.metrics.add([Metric(second.id, "auc", 0.7, 0, 1.0), Metric(second.id, "auc", 0.8, 1, 2.0)])
        store.metrics.add([Metric(first.id, "auc", 0.9, 0, 3.0), Metric(first.id, "loss", float("nan"), 0, 3.0)])
        found = store.overview.metrics([run.id])[run.id]
        assert found["fit.auc"] == 0.8
        assert found["fit.loss"] != found["fit.loss"]

    def test_a_run_has_metrics_of_its_own_too(self, store: Store, build) -> None:
        run, other = build.run(), build.run()
        step = build.step(run, "fit", component="fit", position=0)
        store.metrics.add([Metric(step.id, "auc", 0.7, 0, 1.0)])
        store.metrics.add([Metric(run.id, "auc", 0.1, step, float(step)) for step in range(3)])
        store.metrics.add([Metric(run.id, "fit.auc", 0.2, 0, 4.0)])
        found = store.overview.metrics([run.id, other.id])
        assert found == {run.id: {"auc": 0.1, "fit.auc": 0.2}, other.id: {}}

    def test_steps_of_runs_inside_count_for_all_around_them(self, store: Store, build) -> None:
        outer = build.run()
        inner = build.run(parent=outer.id)
        innermost = build.run(parent=inner.id)
        for run in (outer, inner, innermost):
            build.step(run, "fit", status=Status.COMPLETED)
        found = store.overview.steps([inner.id, outer.id])
        assert {run: counts.total for run, counts in found.items()} == {outer.id: 3, inner.id: 2}
        assert store.overview.steps([innermost.id])[innermost.id].statuses == {"completed": 1}
        assert store.overview.totals([inner.id, outer.id]) == {outer.id: (3, 0), inner.id: (2, 0)}
        assert store.overview.totals([innermost.id]) == {innermost.id: (1, 0)}


class TestSqlite(OverviewContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(OverviewContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
