from __future__ import annotations

import dataclasses
import threading

import pytest

from hpo_pipelines.errors import IllegalTransition, StoreError, StudyError, TaskError, TaskNotFound
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.task import TRANSITIONS, Edge, Task
from hpo_pipelines.types import Kind, Status, new_id


def full(run: Task) -> Task:
    """A step with something in every field that a caller may give."""
    return Task(
        id=new_id(),
        kind=Kind.STEP,
        name="fit.2",
        project=run.project,
        status=Status.FAILED,
        pipeline=run.pipeline,
        parent=run.id,
        component="models:fit",
        position=3,
        params={"z": 1, "a": [None, True, 1.5, "ü\ud800\x00", {"k": float("inf")}], "e": {}},
        study="s1",
        trial=7,
        executor="local",
        queue="gpu",
        key="k1",
        reason="timeout",
        error={"type": "ValueError", "message": "no"},
        git={"commit": "abc", "dirty": True},
        tags=("a", 'quo"te', "b,c"),
        notes="two\nlines ✓",
        started_at=12.25,
        finished_at=13.5,
    )


class TasksContract:
    def test_every_field_comes_back(self, store: Store, build) -> None:
        task = full(build.run())
        stored = store.tasks.create(task)
        assert store.tasks.get(task.id) == stored
        assert stored == dataclasses.replace(task, created_at=stored.created_at)
        assert abs(stored.created_at - store.now()) < 60
        assert list(stored.params) == ["z", "a", "e"]

    def test_text_that_a_database_refuses_is_made_legible(self, store: Store, build) -> None:
        run = build.run(notes="nul \0, surrogate \ud800")
        store.tasks.transition(run.id, Status.RUNNING, reason="\udcff")
        assert store.tasks.get(run.id).notes == "nul \ufffd, surrogate \\ud800"
        assert store.tasks.get(run.id).reason == "\\udcff"

    def test_runs_are_numbered_within_project_and_pipeline(self, store: Store, build) -> None:
        labels = [build.run(name, project=project).label for name, project in
                  (("churn", "a"), ("churn", "a"), ("price", "a"), ("churn", "b"), ("churn", "a"))]  # fmt: skip
        assert labels == ["churn#1", "churn#2", "price#1", "churn#1", "churn#3"]
        assert build.step(build.run()).number is None

    def test_a_number_is_taken_only_by_what_is_kept(self, store: Store, build) -> None:
        with pytest.raises(RuntimeError), store.transaction():
            assert build.run().number == 1
            raise RuntimeError
        assert build.run().number == 1
        assert build.run().number == 2

    def test_runs_created_at_once_get_different_numbers(self, store: Store, build) -> None:
        numbers: list[int] = []

        def create() -> None:
            for _ in range(5):
                numbers.append(build.run().number)

        threads = [threading.Thread(target=create) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(numbers) == list(range(1, 31))

    def test_create_gives_the_times_that_the_status_asks_for(self, store: Store, build) -> None:
        run = build.run()
        draft, running, done = (
            build.step(run, status=status) for status in (Status.DRAFT, Status.RUNNING, Status.COMPLETED)
        )
        assert (draft.started_at, draft.finished_at) == (None, None)
        assert (running.started_at, running.finished_at) == (running.created_at, None)
        assert (done.started_at, done.finished_at) == (None, done.created_at)

    def test_create_many_is_all_or_nothing(self, store: Store, build) -> None:
        run = build.run()
        steps = [Task(new_id(), Kind.STEP, f"s{i}", run.project, parent=run.id, position=i) for i in range(3)]
        edge = Edge(steps[0].id, steps[2].id, "data", "out", "x")
        assert [task.name for task in store.tasks.create_many(steps, [edge])] == ["s0", "s1", "s2"]
        assert store.tasks.edges(run.id) == [edge]
        new = Task(new_id(), Kind.STEP, "new", run.project, parent=run.id)
        with pytest.raises(StoreError):
            store.tasks.create_many([new, steps[0]])
        assert [task.name for task in store.tasks.children(run.id)] == ["s0", "s1", "s2"]

    def test_a_step_without_its_run_is_refused(self, store: Store, build) -> None:
        with pytest.raises(StoreError, match="must be there before it"):
            store.tasks.create(Task(new_id(), Kind.STEP, "fit", "p", parent=new_id()))

    def test_a_project_has_one_study_of_a_name(self, store: Store, build) -> None:
        build.study("lr")
        build.study("lr", project="other")
        with pytest.raises(StudyError, match="study of this name"):
            build.study("lr")
        build.study("lr2")

    def test_a_study_has_one_run_per_trial(self, store: Store, build) -> None:
        study = build.study("lr")
        run = build.run(study=study.id, trial=3)
        build.step(run, study=study.id, trial=3)
        build.run(parent=run.id, study=study.id, trial=3)  # a nested run belongs to the same trial
        with pytest.raises(StudyError, match="this trial"):
            build.run(study=study.id, trial=3)
        store.tasks.update(run.id, study=None, trial=None)
        build.run(study=study.id, trial=3)

    # transitions

    @pytest.mark.parametrize("status", Status)
    def test_exactly_the_transitions_of_the_state_machine_are_allowed(self, store: Store, build, status) -> None:
        for target in Status:
            task = build.run(status=status)
            if target in TRANSITIONS[status]:
                moved = store.tasks.transition(task.id, target)
                assert moved == store.tasks.get(task.id)
                assert moved.status is target
            else:
                with pytest.raises(IllegalTransition, match=f"is {status} and cannot become {target}"):
                    store.tasks.transition(task.id, target)
                assert store.tasks.get(task.id) == task

    def test_an_illegal_transition_tells_the_story(self, store: Store, build) -> None:
        run = build.run()
        store.tasks.transition(run.id, Status.RUNNING)
        store.tasks.transition(run.id, Status.COMPLETED, reason="all done")
        with pytest.raises(IllegalTransition) as raised:
            store.tasks.transition(run.id, Status.RUNNING)
        story = raised.value.story
        assert [line.partition("Z ")[2] for line in story] == [
            "created kind=pipeline name=churn parent=None status=draft",
            "draft -> running",
            "running -> completed: all done",
        ]
        assert str(raised.value).endswith(story[-1])

    def test_expect_fences_late_writers(self, store: Store, build) -> None:
        run = build.run()
        store.tasks.transition(run.id, Status.QUEUED)
        store.tasks.transition(run.id, Status.ABORTED)
        with pytest.raises(IllegalTransition, match="was to go from running to queued, but is aborted"):
            store.tasks.transition(run.id, Status.QUEUED, expect=Status.RUNNING)
        with pytest.raises(IllegalTransition, match="from failed or running to queued"):
            store.tasks.transition(run.id, Status.QUEUED, expect=(Status.RUNNING, Status.FAILED))
        store.tasks.transition(run.id, Status.QUEUED, expect={Status.ABORTED, Status.FAILED})

    def test_of_two_who_move_a_task_one_does(self, store: Store, build) -> None:
        run = build.run(status=Status.RUNNING)
        barrier, outcomes = threading.Barrier(2), []

        def move(status: Status) -> None:
            barrier.wait()
            try:
                outcomes.append(store.tasks.transition(run.id, status, reason=status).status)
            except IllegalTransition:
                outcomes.append(None)

        threads = [threading.Thread(target=move, args=(status,)) for status in (Status.COMPLETED, Status.PRUNED)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [status for status in outcomes if status is not None]
        assert store.tasks.get(run.id).status is winner
        assert store.tasks.get(run.id).reason == winner

    def test_times_follow_the_status(self, store: Store, build) -> None:
        move, run = store.tasks.transition, build.run()
        started = move(run.id, Status.RUNNING)
        assert started.started_at is not None
        requeued = move(run.id, Status.QUEUED)  # its agent died
        again = move(run.id, Status.RUNNING)
        assert requeued.started_at == again.started_at == started.started_at
        failed = move(run.id, Status.FAILED, reason="boom", error={"type": "E"})
        assert failed.finished_at is not None
        assert failed.seconds == failed.finished_at - started.started_at
        resumed = move(run.id, Status.RUNNING)
        assert resumed.started_at >= failed.finished_at
        assert (resumed.finished_at, resumed.error, resumed.reason) == (None, None, None)
        waiting = move(move(run.id, Status.ABORTED).id, Status.QUEUED)
        assert (waiting.started_at, waiting.finished_at) == (None, None)

    def test_a_transition_changes_fields_too_and_its_own_times_win(self, store: Store, build) -> None:
        step = build.step(build.run(), status=Status.RUNNING, reason="never seen before")
        moved = store.tasks.transition(step.id, Status.COMPLETED, started_at=1.5, finished_at=4.0, tags=["x"])
        assert (moved.seconds, moved.tags, moved.reason) == (2.5, ("x",), "never seen before")

    def test_a_completed_study_alone_can_be_reopened(self, store: Store, build) -> None:
        study, run = build.study("lr", status=Status.RUNNING), build.run(status=Status.RUNNING)
        with pytest.raises(IllegalTransition):
            store.tasks.reopen(study.id)
        for task in (study, run):
            store.tasks.transition(task.id, Status.COMPLETED)
        with pytest.raises(IllegalTransition):
            store.tasks.reopen(run.id)
        assert store.tasks.reopen(study.id) == store.tasks.get(study.id)
        assert store.tasks.get(study.id).status is Status.RUNNING
        with pytest.raises(TaskNotFound):
            store.tasks.reopen(new_id())

    def test_update_changes_what_may_change(self, store: Store, build) -> None:
        run = build.run()
        changed = store.tasks.update(run.id, tags=("a",), notes="n", params={"lr": 1}, queue=None)
        assert changed == store.tasks.get(run.id)
        assert changed == dataclasses.replace(run, tags=("a",), notes="n", params={"lr": 1})
        assert store.events.story(run.id)[-1].data == {"fields": ["notes", "params", "queue", "tags"]}
        for field in ("status", "id", "number", "colour", "previous", "created_at"):
            with pytest.raises(TaskError, match=f"A task's {field} cannot be set"):
                store.tasks.update(run.id, **{field: "x"})
        for write in (store.tasks.update, lambda task: store.tasks.transition(task, Status.RUNNING)):
            with pytest.raises(TaskNotFound):
                write(new_id())

    # reading

    def test_list_is_newest_first_in_pages(self, store: Store, build) -> None:
        runs = [build.run() for _ in range(5)]
        newest = [run.id for run in reversed(runs)]
        first = store.tasks.list(limit=2)
        assert [task.id for task in first] == newest[:2]
        assert [task.id for task in store.tasks.list(limit=9, before=first[-1].id)] == newest[2:]
        assert [task.id for task in store.tasks.list(limit=None)] == newest

    def test_list_filters(self, store: Store, build) -> None:
        study = build.study("lr", status=Status.RUNNING)
        one = build.run(tags=("a", "b"), study=study.id, trial=0)
        two = build.run(project="other", tags=("ab", "A", 'x"a'), status=Status.FAILED)
        three = build.run("price", parent=one.id, status=Status.RUNNING)
        step = build.step(one, study=study.id, trial=0)
        for where, expected in (
            (TaskFilter(), [study, one, two, three, step]),
            (TaskFilter(kind=Kind.PIPELINE), [one, two, three]),
            (TaskFilter(kind=Kind.PIPELINE, top=True), [one, two]),
            (TaskFilter(kind=Kind.STUDY, name="lr"), [study]),
            (TaskFilter(project="other"), [two]),
            (TaskFilter(pipeline="churn", kind=Kind.STEP), [step]),
            (TaskFilter(status=Status.RUNNING), [study, three]),
            (TaskFilter(status=(Status.RUNNING, Status.FAILED), kind=Kind.PIPELINE), [two, three]),
            (TaskFilter(status=()), []),
            (TaskFilter(parent=one.id), [three, step]),
            (TaskFilter(study=study.id), [one, step]),
            (TaskFilter(study=study.id, trial=0, kind=Kind.PIPELINE), [one]),
            (TaskFilter(tag="a"), [one]),
            (TaskFilter(tag="ab"), [two]),
            (TaskFilter(tag='x"a'), [two]),
            (TaskFilter(tag=""), []),
        ):
            assert {task.id for task in store.tasks.list(where)} == {task.id for task in expected}, where

    def test_many_tasks_at_once(self, store: Store, build) -> None:
        one, other, empty = build.run(), build.run(), build.run()
        steps = [build.step(run, name, position=n) for run in (one, other) for n, name in ((1, "b"), (0, "a"))]
        found = store.tasks.get_all([one.id, steps[0].id, "missing"])
        assert found == {one.id: store.tasks.get(one.id), steps[0].id: store.tasks.get(steps[0].id)}
        children = store.tasks.children_of([one.id, other.id, empty.id])
        assert children == {run.id: store.tasks.children(run.id) for run in (one, other, empty)}
        assert [task.name for task in children[one.id]] == ["a", "b"]

    def test_children_come_by_position(self, store: Store, build) -> None:
        run = build.run()
        for position, name in ((2, "c"), (0, "a"), (1, "b")):
            build.step(run, name, position=position)
        build.step(build.run(), "other", position=0)
        assert [task.name for task in store.tasks.children(run.id)] == ["a", "b", "c"]

    def test_statuses_of_many(self, store: Store, build) -> None:
        one, two = build.run(), build.run(status=Status.RUNNING)
        wanted = [one.id, two.id, "missing"]
        assert store.tasks.statuses(wanted) == {one.id: Status.DRAFT, two.id: Status.RUNNING}
        assert store.tasks.statuses([]) == {}

    def test_ancestry_follows_clones(self, store: Store, build) -> None:
        first = build.run()
        second = store.tasks.create(first.clone({"lr": 1}))
        third = store.tasks.create(second.clone())
        assert [task.id for task in store.tasks.ancestry(third.id)] == [second.id, first.id]
        assert store.tasks.ancestry(first.id) == []

    # references

    def test_find_takes_what_people_write(self, store: Store, build) -> None:
        build.run()
        run, study = build.run(), build.study("lr search")
        other = build.run("price", project="deep/er")
        for reference, task in (
            (run.id, run),
            (run.id.lower(), run),
            (f" {run.id} ", run),
            ("churn#2", run),
            ("churn #2", run),
            ("retention/churn#2", run),
            ("churn", run),
            ("retention/churn", run),
            ("lr search", study),
            ("retention/lr search", study),
            ("deep/er/price#1", other),
            ("deep/er/price", other),
        ):
            assert store.tasks.find(reference).id == task.id, reference

    def test_find_takes_a_prefix_that_only_one_id_has(self, store: Store, build) -> None:
        run = build.run()
        for name, tail in (("a", "AAAAAA0000"), ("b", "AAAAAB0000")):
            build.step(run, name, id=f"7ZZZZZZZZZZZZZZZ{tail}")
        assert store.tasks.find("7zzzzzzzzzzzzzzzaaaaaa").name == "a"
        with pytest.raises(TaskNotFound, match="any of 2 tasks") as raised:
            store.tasks.find("7ZZZZZZZ")
        assert "7ZZZZZZZZZZZZZZZAAAAAB0000" in str(raised.value)
        with pytest.raises(TaskNotFound, match="There is no task"):
            store.tasks.find("7ZZZZZZ")  # 7 characters are no prefix

    def test_find_lists_all_that_could_be_meant(self, store: Store, build) -> None:
        one, two = build.run(), build.run(project="other")
        for reference in ("churn", "churn#1"):
            with pytest.raises(TaskNotFound, match="any of 2 tasks") as raised:
                store.tasks.find(reference)
            assert f"{one.id}  retention/churn#1" in str(raised.value)
            assert f"{two.id}  other/churn#1" in str(raised.value)
        build.study("churn")
        with pytest.raises(TaskNotFound, match="study retention/churn"):
            store.tasks.find("retention/churn")
        assert store.tasks.find("other/churn").id == two.id

    def test_what_is_not_found_names_what_is_near(self, store: Store, build) -> None:
        build.run()
        build.study("learning-rate")
        for reference, near in (
            ("chrun", "Did you mean churn"),
            ("learning_rate", "Did you mean learning-rate"),
            ("churn#7", "The latest: retention/churn#1"),
            ("nothing like it", "Give an id"),
            ("#", "Give an id"),
            ("", "Give an id"),
        ):
            with pytest.raises(TaskNotFound, match=near):
                store.tasks.find(reference)
        with pytest.raises(TaskNotFound):
            store.tasks.get("churn#1")  # get takes ids only


class TestSqlite(TasksContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(TasksContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
