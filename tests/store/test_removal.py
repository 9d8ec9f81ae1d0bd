from __future__ import annotations

import pytest

from hpo_pipelines.errors import IllegalTransition, StudyError, TaskError, TaskNotFound
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Edge, Metric, Task
from hpo_pipelines.types import Status

DONE = Status.COMPLETED


def executed(store: Store, build, run: Task, name: str = "fit", *, key: str = "k", **fields) -> Task:  # type: ignore[no-untyped-def]
    """A step that ran for 1.5 s, with all that can hang on one."""
    step = build.step(run, name, status=DONE, key=key, **fields)
    store.tasks.set_outputs(step.id, {"value": build.ref(f"out-{key}")})
    store.tasks.finish_attempt(Attempt(step.id, 1, DONE, 10.0, 11.5))
    store.metrics.add([Metric(step.id, "auc", 0.5, 0, 1.0)])
    store.followers.set_mirrored("mlflow", step.id, "r1")
    store.cache.record(build.entry(key, step, value=build.ref(f"out-{key}")))
    return step


class RemovalContract:
    def test_a_run_goes_with_all_that_hangs_on_it(self, store: Store, build) -> None:
        other = build.run(status=DONE)
        untouched = executed(store, build, other, key="other")
        run = build.run(status=DONE)
        store.tasks.set_outputs(run.id, {"value": build.ref("returned")})
        load = executed(store, build, run, "load", key="l")
        edges = (Edge(load.id, "", "data"),)
        fit = build.step(run, status=DONE)
        store.tasks.add_edges([Edge(edges[0].source, fit.id, "data", "value", "x")])
        removed = store.tasks.delete(run.id)
        assert [task.id for task in removed.runs] == [run.id]
        assert {task.id for task in removed.steps} == {load.id, fit.id}
        assert (removed.studies, removed.outcomes, removed.passed_on) == ((), ("l",), {})
        for gone in (run, load, fit):
            with pytest.raises(TaskNotFound):
                store.tasks.get(gone.id)
            assert store.tasks.outputs(gone.id) == {}
            assert store.tasks.attempts(gone.id) == []
        assert store.metrics.of([load.id]) == []
        assert store.tasks.edges(run.id) == []
        assert store.followers.mirrored("mlflow", load.id) is None
        assert store.cache.lookup("l") is None
        assert store.tasks.get(untouched.id) == untouched
        assert store.cache.lookup("other").task == untouched.id
        assert store.followers.mirrored("mlflow", untouched.id) == "r1"

    def test_what_happened_stays_with_one_event_more(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        step = executed(store, build, run)
        before = store.events.last()
        store.tasks.delete(run.id)
        assert build.kinds(run) == ["created", "deleted"]
        assert build.kinds(step) == ["created", "attempt", "metrics", "deleted"]
        last = store.events.story(step.id)[-1]
        assert last.data == {
            "kind": "step",
            "name": "fit",
            "parent": run.id,
            "seconds": 1.5,
            "mirrors": {"mlflow": "r1"},
        }
        assert {event.kind for event in store.events.after(before)} == {"deleted"}
        assert store.check() == []

    def test_a_number_is_never_given_again(self, store: Store, build) -> None:
        first, second = build.run(status=DONE), build.run(status=DONE)
        store.tasks.delete(second.id)
        assert [first.number, build.run().number] == [1, 3]

    def test_what_others_say_of_it_stays_true(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        step = executed(store, build, run)
        clone = store.tasks.create(run.clone())
        again = build.step(clone, status=DONE, reused_from=step.id)
        store.tasks.delete(run.id)
        assert store.tasks.get(clone.id).cloned_from == run.id
        assert store.tasks.get(again.id).reused_from == step.id
        assert store.tasks.ancestry(clone.id) == []
        assert store.check() == [], "a task that was deleted may be named"

    def test_an_outcome_that_another_run_reused_is_that_ones(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        executed(store, build, run, key="shared")
        executed(store, build, run, key="alone")
        outcome = store.cache.lookup("shared")
        other = build.run(status=DONE)
        reuser = build.step(other, status=DONE, key="shared", reused_from=outcome.task)
        build.step(other, status=Status.FAILED, key="alone", reused_from=None)
        removed = store.tasks.delete(run.id)
        assert (removed.outcomes, removed.passed_on) == (("alone",), {"shared": reuser.id})
        kept = store.cache.lookup("shared")
        assert (kept.task, kept.outputs, kept.seconds) == (reuser.id, outcome.outputs, outcome.seconds)
        store.tasks.delete(other.id)
        assert store.cache.lookup("shared") is None

    def test_an_outcome_that_is_a_runs_own_goes_with_it(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        store.cache.record(build.entry("k", run))
        assert store.tasks.delete(run.id).outcomes == ("k",)
        assert store.cache.lookup("k") is None

    def test_runs_inside_go_too(self, store: Store, build) -> None:
        outer = build.run("outer", status=DONE)
        inner = build.run("inner", status=DONE, parent=outer.id)
        innermost = build.run("innermost", status=DONE, parent=inner.id)
        steps = [executed(store, build, run, key=run.name) for run in (outer, inner, innermost)]
        store.tasks.add_edges([Edge(steps[2].id, steps[0].id)])
        with pytest.raises(TaskError, match="inner#1 is part of another run"):
            store.tasks.delete(inner.id)
        assert {task.id for task in store.tasks.below([outer.id])} == {inner.id, innermost.id, *(s.id for s in steps)}
        removed = store.tasks.delete(outer.id)
        assert [run.id for run in removed.runs] == [outer.id, inner.id, innermost.id]
        assert len(removed.steps) == 3

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
    def test_what_is_under_way_stays(self, store: Store, build, status: Status) -> None:
        done, run = build.run(status=DONE), build.run(status=status)
        with pytest.raises(IllegalTransition, match=f"churn#2 is {status}, so it cannot be deleted") as refused:
            store.tasks.delete(done.id, run.id)
        assert f"status={status}" in refused.value.story[0]
        store.tasks.get(done.id)

    @pytest.mark.parametrize("status", [status for status in Status if status.finished] + [Status.DRAFT])
    def test_what_is_not_under_way_goes(self, store: Store, build, status: Status) -> None:
        run = build.run(status=status)
        build.step(run, status=Status.RUNNING)  # left so by a driver that was killed
        store.tasks.delete(run.id)
        assert store.tasks.statuses([run.id]) == {}

    def test_steps_and_what_is_not_there_are_refused(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        step = build.step(run, status=DONE)
        with pytest.raises(TaskError, match=r"fit is part of another run.* delete its run"):
            store.tasks.delete(step.id)
        with pytest.raises(TaskNotFound):
            store.tasks.delete(run.id, "nothing")
        assert store.tasks.get(run.id) == run
        assert store.tasks.delete().tasks == ()

    def test_a_study_goes_with_its_trials(self, store: Store, build) -> None:
        base = build.run(status=DONE)
        study = build.study("lr", status=DONE, cloned_from=base.id)
        trials = [build.run(status=DONE, study=study.id, trial=n, cloned_from=base.id) for n in range(3)]
        executed(store, build, trials[1])
        assert [run.id for run in store.tasks.trials([study.id])] == [run.id for run in trials]
        for needed in (trials[1], base):
            with pytest.raises(StudyError, match="study lr"):
                store.tasks.delete(needed.id)
        store.tasks.get(base.id)
        removed = store.tasks.delete(study.id, base.id)
        assert [task.id for task in removed.studies] == [study.id]
        assert [task.id for task in removed.runs] == [base.id, *(run.id for run in trials)]
        assert store.tasks.list(limit=None) == []

    def test_a_base_whose_study_does_not_say_so(self, store: Store, build) -> None:
        # Trials of a pipeline, not of a run, are clones of the first of them.
        study, other = build.study("lr", status=DONE), build.study("depth", status=DONE)
        first = build.run(status=DONE, study=study.id, trial=0)
        build.run(status=DONE, study=other.id, trial=0, cloned_from=first.id)
        with pytest.raises(StudyError, match="churn#1 is what the trials of study depth are clones of"):
            store.tasks.delete(study.id)
        store.tasks.delete(study.id, other.id)

    def test_a_study_that_runs_stays(self, store: Store, build) -> None:
        study = build.study("lr", status=Status.RUNNING)
        store.leases.claim(f"study:{study.id}", "driver", 30.0)
        with pytest.raises(IllegalTransition, match=r"study lr is running, so .* or stop its driver"):
            store.tasks.delete(study.id)
        over = build.study("depth", status=DONE)
        build.run(status=Status.RUNNING, study=over.id, trial=0)
        with pytest.raises(IllegalTransition, match="churn#1 is running"):
            store.tasks.delete(over.id)
        store.tasks.get(over.id)

    def test_a_study_whose_driver_was_killed_goes(self, store: Store, build) -> None:
        study = build.study("lr", status=Status.RUNNING)
        store.leases.claim(f"study:{study.id}", "driver", 0.0)
        store.tasks.delete(study.id)
        assert store.tasks.statuses([study.id]) == {}

    def test_clones_that_are_no_trials_hold_nothing_up(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        store.tasks.create(run.clone())
        store.tasks.delete(run.id)

    def test_what_would_go_is_told_before(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        executed(store, build, run)
        told = store.tasks.removal(run.id)
        assert store.tasks.get(run.id) == run
        assert store.tasks.delete(run.id) == told
        with pytest.raises(TaskNotFound):
            store.tasks.removal(run.id)

    def test_more_than_go_into_one_statement(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        template = Task("", build.step(run).kind, "fit", run.project, DONE, parent=run.id, component="fit")
        steps = [template.__class__(**{**vars(template), "id": f"step-{n:04}"}) for n in range(1100)]
        store.tasks.create_many(steps)
        assert len(store.tasks.attempts_of([step.id for step in steps])) == 1100
        assert len(store.tasks.delete(run.id).steps) == 1101
        assert store.tasks.list(limit=None) == []

    def test_nothing_is_deleted_where_the_transaction_fails(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        executed(store, build, run)
        with pytest.raises(RuntimeError), store.transaction():
            store.tasks.delete(run.id)
            raise RuntimeError
        assert store.tasks.get(run.id) == run
        assert build.kinds(run) == ["created"]

    def test_which_steps_others_have_reused(self, store: Store, build) -> None:
        run = build.run(status=DONE)
        used, unused = build.step(run, status=DONE), build.step(run, status=DONE)
        build.step(build.run(), reused_from=used.id)
        assert store.tasks.reused([used.id, unused.id]) == {used.id}


class TestSqlite(RemovalContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(RemovalContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store

    def test_a_run_that_is_started_meanwhile_is_seen(self, store: Store, build, postgresql_database: str) -> None:
        """Who deletes waits for who starts it, and then refuses."""
        import threading

        run = build.run(status=Status.FAILED)
        other = Store.open(postgresql_database)
        began, refused = threading.Event(), []

        def delete() -> None:
            began.wait(10)
            try:
                other.tasks.delete(run.id)
            except IllegalTransition as error:
                refused.append(error)

        thread = threading.Thread(target=delete)
        thread.start()
        with store.transaction():
            store.tasks.transition(run.id, Status.RUNNING)
            began.set()
            thread.join(0.3)
            assert thread.is_alive(), "it waits for the row"
        thread.join(10)
        other.close()
        assert len(refused) == 1
