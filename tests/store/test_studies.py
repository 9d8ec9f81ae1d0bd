from __future__ import annotations

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.types import Status


class StudiesContract:
    def test_trials_are_counted_and_read_in_the_order_of_their_numbers(self, store: Store, build) -> None:
        study, other = build.study("lr"), build.study("other")
        build.run(study=other.id, trial=0)
        late = build.run(study=study.id, trial=2, status=Status.RUNNING, params={"lr": 0.5})
        done = build.run(
            study=study.id, trial=0, status=Status.COMPLETED, params={"lr": 0.1}, started_at=10.0, finished_at=12.5
        )
        failed = build.run(study=study.id, trial=1, status=Status.FAILED)
        build.run(study=study.id, trial=0, parent=done.id)  # inside a trial
        assert store.studies.counts(study.id) == {"completed": 1, "failed": 1, "running": 1}
        rows = store.studies.rows(study.id)
        assert [(row.trial, row.run, row.status) for row in rows] == [
            (0, done.id, "completed"),
            (1, failed.id, "failed"),
            (2, late.id, "running"),
        ]
        assert (rows[0].params, rows[0].seconds, rows[0].number) == ({"lr": 0.1}, 2.5, done.number)
        assert rows[2].seconds is None
        assert [row.trial for row in store.studies.rows(study.id, first=2)] == [2]
        assert store.studies.counts("none") == {}
        assert store.studies.rows("none") == []

    def test_shared_work_counts_completed_steps_in_the_order_of_their_calls(self, store: Store, build) -> None:
        study = build.study("lr")
        one, two = (build.run(study=study.id, trial=number, status=Status.COMPLETED) for number in (0, 1))
        done = {"status": Status.COMPLETED, "started_at": 5.0, "finished_at": 8.0}
        load = build.step(one, "load", position=0, **done)
        build.step(one, "fit", position=1, **done)
        build.step(two, "load", position=0, reused_from=load.id, **{**done, "finished_at": 5.0})
        build.step(two, "fit", position=1, status=Status.FAILED)
        build.step(build.run(), "fit", position=0, **done)  # of no study
        found = [(row.component, row.ran, row.reused, row.saved) for row in store.studies.work(study.id)]
        assert found == [("load", 1, 1, 3.0), ("fit", 1, 0, 0.0)]
        assert store.studies.work("none") == []

    def test_shared_work_counts_the_steps_of_runs_inside_the_trials(self, store: Store, build) -> None:
        study = build.study("lr")
        trial = build.run(study=study.id, trial=0, status=Status.COMPLETED)
        repeat = build.run(parent=trial.id, status=Status.COMPLETED)
        deeper = build.run(parent=repeat.id, status=Status.COMPLETED)
        done = {"status": Status.COMPLETED, "started_at": 5.0, "finished_at": 8.0}
        fit = build.step(repeat, "fit", position=0, **done)
        build.step(deeper, "fit", position=0, reused_from=fit.id, **done)
        assert [(row.component, row.ran, row.reused) for row in store.studies.work(study.id)] == [("fit", 1, 1)]
        counts = store.overview.steps([trial.id, deeper.id])
        assert [(counts[run.id].total, counts[run.id].reused) for run in (trial, deeper)] == [(2, 1), (1, 1)]


class TestSqlite(StudiesContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(StudiesContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
