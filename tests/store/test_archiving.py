from __future__ import annotations

import pytest

from hpo_pipelines.errors import IllegalTransition, TaskError, TaskNotFound
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.types import Kind, Status

DONE = Status.COMPLETED


def listed(store: Store, archived: bool | None) -> set[str]:
    return {task.id for task in store.tasks.list(TaskFilter(kind=Kind.PIPELINE, top=True, archived=archived))}


class ArchivingContract:
    def test_a_run_and_those_inside_it(self, store: Store, build) -> None:
        outer, other = build.run(status=DONE), build.run(status=DONE)
        inner = build.run("part", parent=outer.id, status=DONE)
        step = build.step(outer, status=DONE)
        changed = store.tasks.archive(outer.id)
        assert {task.id for task in changed} == {outer.id, inner.id}
        assert all(task.archived_at is not None for task in changed)
        assert store.tasks.get(step.id).archived_at is None
        assert (listed(store, True), listed(store, False), listed(store, None)) == (
            {outer.id}, {other.id}, {outer.id, other.id},
        )  # fmt: skip
        assert build.kinds(inner)[-1] == "archived"
        before = store.tasks.get(outer.id).archived_at
        assert store.tasks.archive(outer.id) == []
        assert store.tasks.get(outer.id).archived_at == before
        assert {task.id for task in store.tasks.restore(outer.id, other.id)} == {outer.id, inner.id}
        assert build.kinds(other) == ["created"]
        assert listed(store, False) == {outer.id, other.id}

    def test_a_study_with_its_trials(self, store: Store, build) -> None:
        study = build.study("lr", pipeline="churn", status=DONE)
        trial = build.run(status=DONE, study=study.id, trial=0)
        assert {task.id for task in store.tasks.archive(study.id)} == {study.id, trial.id}
        assert store.tasks.get(trial.id).clone().archived_at is None

    def test_what_is_under_way_stays_and_all_with_it(self, store: Store, build) -> None:
        done, queued = build.run(status=DONE), build.run(status=Status.QUEUED)
        with pytest.raises(IllegalTransition, match="is queued, so it cannot be archived") as refused:
            store.tasks.archive(done.id, queued.id)
        assert refused.value.story
        assert listed(store, True) == set()

    def test_what_is_no_run_or_not_there(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        step = build.step(run, status=DONE)
        with pytest.raises(TaskError, match="is part of another run"):
            store.tasks.archive(step.id)
        with pytest.raises(TaskNotFound):
            store.tasks.archive(run.id, "nothing")
        with pytest.raises(TaskError, match="archived_at"):
            store.tasks.update(run.id, archived_at=1.0)
        assert store.tasks.archive() == []

    def test_pipelines_are_those_with_runs_that_are_listed(self, store: Store, build) -> None:
        first, second, other = build.run(status=DONE), build.run(status=DONE), build.run("fit", status=DONE)
        store.tasks.archive(second.id, other.id)
        (shown,) = store.overview.pipelines()
        assert (shown.pipeline, shown.runs, shown.latest) == ("churn", 1, first.id)
        assert {(each.pipeline, each.runs) for each in store.overview.pipelines(archived=True)} == {
            ("churn", 1),
            ("fit", 1),
        }


class TestSqlite(ArchivingContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(ArchivingContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
