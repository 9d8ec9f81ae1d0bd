"""What becomes of a step reaches the store at its end in one transaction, and before it soon enough to be watched."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine.contract import eventually
from engine.going import Going, begun
from samples import sharing
from sqlalchemy import Engine, event

from hpo_pipelines import Status, Workspace
from hpo_pipelines.component import Component
from hpo_pipelines.engine import journal
from hpo_pipelines.engine.keys import Key
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.engine.recorder import Recorder
from hpo_pipelines.engine.step import Arguments, Source, StepCall
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, CacheEntry, Metric, Task
from hpo_pipelines.types import ArtifactRef, Kind, new_id


class Commits:
    """Every COMMIT and ROLLBACK that SQLite itself executes for this process, whichever store it is for."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def connected(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(self._executed)

    def _executed(self, sql: str) -> None:
        if sql in ("COMMIT", "ROLLBACK"):
            self.words.append(sql)

    def since(self, before: int) -> list[str]:
        return self.words[before:]


@pytest.fixture
def commits() -> Iterator[Commits]:
    counted = Commits()
    event.listen(Engine, "connect", counted.connected)
    yield counted
    event.remove(Engine, "connect", counted.connected)


@pytest.fixture
def store(commits: Commits, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/hpo.db")
    yield opened
    problems = opened.check()
    opened.close()
    assert problems == []


@pytest.fixture
def run(store: Store) -> Task:
    created = store.tasks.create(Task(new_id(), Kind.PIPELINE, "churn", "retention", pipeline="churn"))
    return store.tasks.transition(created.id, Status.RUNNING)


def recorder_of(store: Store, run: Task, here: Liveness | None = None) -> Recorder:
    here = here or Liveness(store)
    lease = journal.lease_of(run.id)
    assert here.claim(lease)
    return Recorder(store, run, here, lambda step: "local", lease)


@pytest.fixture
def recorder(store: Store, run: Task) -> Recorder:
    return recorder_of(store, run)


OUTPUT = ArtifactRef("bytes", "value", "json", 1, preview={}, inline=b"1")


def call(name: str = "quick", key: str = "k", arguments: Arguments | None = None) -> StepCall:
    component: Component[..., Any] = sharing.quick
    step = StepCall(new_id(), name, component, arguments or Arguments())
    step.key = Key(key, {"code": {}})
    step.reason = "never seen before"
    return step


def outcome(step: StepCall, output: ArtifactRef = OUTPUT) -> CacheEntry:
    return CacheEntry(step.key.digest, step.id, "quick", {"value": output}, {}, 0.1, time.time())


def moves(store: Store, step: StepCall) -> list[str]:
    """``created queued``, ``queued → running``, … as the store's events tell."""
    told = []
    for each in store.events.story(step.id):
        if each.kind == "created":
            told.append(f"created {each.data['status']}")
        elif each.kind == "status":
            told.append(f"{each.data['from']} → {each.data['to']}")
    return told


def run_it(recorder: Recorder, step: StepCall) -> None:
    step.attempt = 1
    recorder.note(step, Status.QUEUED, reason="waits for a free worker")
    recorder.note(step, Status.RUNNING, reason=step.reason, key=step.key.digest)


def complete(recorder: Recorder, step: StepCall, output: ArtifactRef = OUTPUT) -> None:
    step.outputs = {"value": output}
    attempt = Attempt(step.id, 1, Status.COMPLETED, time.time(), time.time(), worker="local:1")
    recorder.complete(step, attempt, outcome(step, output))


def test_a_quick_step_is_one_transaction_that_tells_all_it_went_through(
    store: Store, recorder: Recorder, commits: Commits
) -> None:
    step = call()
    before = len(commits.words)
    run_it(recorder, step)
    recorder.report(Metric(step.id, "value", 1.5, 0, time.time()))
    assert commits.since(before) == []
    complete(recorder, step)
    assert commits.since(before) == ["COMMIT"]
    assert moves(store, step) == ["created queued", "queued → running", "running → completed"]
    recorded = store.tasks.get(step.id)
    assert (recorded.status, recorded.reason, recorded.key) == (Status.COMPLETED, "never seen before", "k")
    assert recorded.started_at is not None
    assert recorded.finished_at is not None
    assert recorded.created_at <= recorded.started_at <= recorded.finished_at
    assert [(m.name, m.value) for m in store.metrics.of([step.id])] == [("value", 1.5)]
    assert store.tasks.outputs(step.id) == {"value": OUTPUT}
    assert [each.status for each in store.tasks.attempts(step.id)] == [Status.COMPLETED]
    entry = store.cache.lookup("k")
    assert entry is not None
    assert entry.task == step.id
    recorder.write()
    assert commits.since(before) == ["COMMIT"]


def test_a_quick_step_of_a_real_run_is_the_claim_of_its_key_and_its_end(tmp_path: Path, commits: Commits) -> None:
    with Workspace(home=tmp_path / "home") as workspace:
        sharing.quickly.run(workspace=workspace, executor="inline", x=1)  # its code is recorded now
        counts = []
        for x in (2, 2):
            draft = sharing.quickly.draft(workspace=workspace, executor="inline", x=x)
            before = len(commits.words)
            draft.run()
            counts.append(len(commits.since(before)))
        # The run's start and end; and of its one step the claim, the start, which inline no watcher can write, and the
        # end, or just the end of one that is reused.
        assert counts == [5, 3]


def test_a_step_that_is_not_quick_is_written_in_between(store: Store, recorder: Recorder, commits: Commits) -> None:
    step = call()
    run_it(recorder, step)
    recorder.report(Metric(step.id, "value", 1.0, 0, time.time()))
    before = len(commits.words)
    recorder.write()
    assert commits.since(before) == ["COMMIT"]
    assert store.tasks.get(step.id).status is Status.RUNNING
    assert [m.value for m in store.metrics.of([step.id])] == [1.0]
    recorder.report(Metric(step.id, "value", 2.0, 1, time.time()))
    recorder.write()
    assert [m.value for m in store.metrics.of([step.id])] == [1.0, 2.0]
    complete(recorder, step)
    assert moves(store, step) == ["created queued", "queued → running", "running → completed"]
    assert [m.value for m in store.metrics.of([step.id])] == [1.0, 2.0]


def test_a_retried_step_tells_of_every_attempt(store: Store, recorder: Recorder) -> None:
    step = call()
    run_it(recorder, step)
    failed = Attempt(step.id, 1, Status.FAILED, time.time(), time.time(), error={"type": "OSError"})
    recorder.end(step, Status.QUEUED, attempt=failed, reason="attempt 1 failed; again in 1.0 s")
    assert store.tasks.get(step.id).status is Status.QUEUED
    step.attempt = 2
    recorder.note(step, Status.QUEUED, reason="waits for a free worker")
    recorder.note(step, Status.RUNNING, reason=step.reason, key="k")
    step.outputs = {"value": OUTPUT}
    recorder.complete(step, Attempt(step.id, 2, Status.COMPLETED, time.time(), time.time()), outcome(step))
    assert moves(store, step) == [
        "created queued", "queued → running", "running → queued", "queued → running", "running → completed",
    ]  # fmt: skip
    assert [each.status for each in store.tasks.attempts(step.id)] == [Status.FAILED, Status.COMPLETED]


def test_a_chain_of_steps_keeps_its_edges(store: Store, run: Task, recorder: Recorder) -> None:
    first = call("first", "k1")
    run_it(recorder, first)
    second = call("second", "k2", Arguments(inputs=[Source(first, "value")], whole={"x": 0}))
    recorder.note(second, Status.QUEUED, reason="waits for first")
    recorder.write()  # both rows at once, and the edge between them
    complete(recorder, first)
    run_it(recorder, second)
    complete(recorder, second)
    (edge,) = store.tasks.edges(run.id)
    assert (edge.source, edge.target, edge.output, edge.input) == (first.id, second.id, "value", "x")


# -- what somebody else has ended


def test_a_run_that_somebody_else_has_ended_takes_no_more_steps(store: Store, run: Task, recorder: Recorder) -> None:
    step = call()
    run_it(recorder, step)
    store.tasks.transition(run.id, Status.ABORTED, reason="aborted")
    with pytest.raises(IllegalTransition, match=r"churn#1 is aborted; its steps go on no more\."):
        complete(recorder, step)
    assert store.tasks.children(run.id) == []
    assert store.cache.lookup("k") is None


def test_a_run_that_somebody_else_has_ended_still_is_told_which_steps_were_stopped(
    store: Store, run: Task, recorder: Recorder
) -> None:
    step = call()
    run_it(recorder, step)
    store.tasks.transition(run.id, Status.ABORTED, reason="aborted")
    recorder.end(step, Status.ABORTED, reason="churn#1 was aborted")
    assert [task.status for task in store.tasks.children(run.id)] == [Status.ABORTED]
    assert moves(store, step) == ["created queued", "queued → running", "running → aborted"]


def write_while_aborted(store: Store, run: Task, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An abort from elsewhere comes just when what is noted is to be written."""

    def abort() -> None:
        with store.transaction():
            store.tasks.transition(run.id, Status.ABORTED, reason="aborted")
            for child in store.tasks.children(run.id):
                store.tasks.transition(child.id, Status.ABORTED, reason="churn#1 was aborted")

    aborting, hold = threading.Thread(target=abort), store.tasks.hold

    def held(task: str) -> Status:
        found = hold(task)
        if task == run.id and aborting.ident is None:
            aborting.start()
            aborting.join(0.3)  # it waits for what is being written, or comes before it
        return found

    with monkeypatch.context() as patch:
        patch.setattr(store.tasks, "hold", held)
        recorder.write()
        aborting.join(20)
    assert store.tasks.get(run.id).status is Status.ABORTED


def test_a_step_that_is_written_in_the_moment_of_an_abort_is_kept(
    store: Store, run: Task, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = call()
    run_it(recorder, step)
    write_while_aborted(store, run, recorder, monkeypatch)
    recorder.end(step, Status.ABORTED, reason="churn#1 was aborted")
    assert moves(store, step) == ["created queued", "queued → running", "running → aborted"]


@pytest.mark.integration
def test_nor_does_it_go_on_for_ever_on_postgresql(postgresql_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(postgresql_database)
    run = store.tasks.create(Task(new_id(), Kind.PIPELINE, "churn", "retention", pipeline="churn"))
    run = store.tasks.transition(run.id, Status.RUNNING)
    inner = store.tasks.create(Task(new_id(), Kind.PIPELINE, "prepare", "retention", pipeline="prepare", parent=run.id))
    recorder, step = recorder_of(store, inner), call()
    recorder.outer = recorder_of(store, run)
    run_it(recorder, step)
    write_while_aborted(store, inner, recorder, monkeypatch)
    with pytest.raises(IllegalTransition):
        complete(recorder, step)  # before its driver has heard of the abort
    assert store.tasks.get(step.id).status is Status.ABORTED
    store.close()


def test_nothing_more_is_written_of_a_run_after_its_first_refusal(
    store: Store, run: Task, recorder: Recorder, commits: Commits
) -> None:
    first, second, third = call("first", "k1"), call("second", "k2"), call("third", "k3")
    second.arguments = Arguments(inputs=[Source(first, "value")], whole={"x": 0})
    run_it(recorder, first)
    store.tasks.transition(run.id, Status.ABORTED, reason="aborted")
    with pytest.raises(IllegalTransition):
        complete(recorder, first)
    before = len(commits.words)
    # What follows names the first step, which has no record: it is not written, and is no error either.
    recorder.end(second, Status.ABORTED, reason="aborted from elsewhere")
    recorder.end(third, Status.SKIPPED, reason="upstream first failed")
    recorder.note(third, Status.QUEUED, reason="waits for a free worker")
    recorder.write()
    with pytest.raises(IllegalTransition):
        recorder.end(third, Status.QUEUED, reason="attempt 1 failed; again in 1.0 s")
    assert commits.since(before) == []
    assert store.tasks.children(run.id) == []


def test_a_run_that_another_process_took_over_takes_no_more_steps(store: Store, run: Task) -> None:
    here, there = Liveness(store), Liveness(store)
    recorder = recorder_of(store, run, here)
    step = call()
    run_it(recorder, step)
    store.leases.release(journal.lease_of(run.id), here.owner)  # it ran out while this process slept
    assert there.claim(journal.lease_of(run.id))
    with pytest.raises(IllegalTransition, match="another took it over"):
        complete(recorder, step)
    assert store.tasks.children(run.id) == []
    assert store.cache.lookup("k") is None


def test_a_step_that_waits_is_not_set_going_after_somebody_else_has_ended_it(store: Store, recorder: Recorder) -> None:
    step = call()
    recorder.note(step, Status.QUEUED, reason="waits for a free worker")
    recorder.write()
    store.tasks.transition(step.id, Status.ABORTED, reason="churn#1 was aborted")
    step.attempt = 1
    recorder.note(step, Status.RUNNING, reason=step.reason, key="k")
    with pytest.raises(IllegalTransition, match="is aborted"):
        complete(recorder, step)
    assert store.tasks.get(step.id).status is Status.ABORTED
    assert moves(store, step) == ["created queued", "queued → aborted"]
    recorder.end(step, Status.ABORTED, reason="aborted from elsewhere")


def test_a_step_that_somebody_else_has_ended_is_refused_and_gives_its_lease_back(store: Store, run: Task) -> None:
    step = call()
    here = Liveness(store)
    recorder = recorder_of(store, run, here)
    assert here.claim("key:k")
    step.lease = "key:k"
    run_it(recorder, step)
    recorder.write()
    store.tasks.transition(step.id, Status.ABORTED, reason="churn#1 was aborted")
    with pytest.raises(IllegalTransition):
        complete(recorder, step)
    assert store.tasks.get(step.id).reason == "churn#1 was aborted"
    assert store.cache.lookup("k") is None
    assert store.leases.holder("key:k") is None
    assert not here.holds("key:k")


@pytest.mark.integration
def test_what_is_noted_and_an_abort_from_elsewhere_do_not_wait_for_each_other(postgresql_database: str) -> None:
    store = Store.open(postgresql_database)
    run = store.tasks.create(Task(new_id(), Kind.PIPELINE, "churn", "retention", pipeline="churn"))
    recorder = recorder_of(store, run)
    steps = [call("quick", "k1"), call("quick.2", "k2")]
    for step in steps:
        recorder.note(step, Status.QUEUED, reason="waits for a free worker")
    recorder.write()
    for step in reversed(steps):
        recorder.note(step, Status.RUNNING, key=step.key.digest)
    raised: list[Exception] = []

    def write() -> None:
        try:
            recorder.write()
        except HpoPipelinesError as error:
            raised.append(error)

    def blocked() -> bool:
        with store._database.read() as connection:
            return bool(connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted").all())

    writing = threading.Thread(target=write)
    with store.transaction():
        store.tasks.transition(steps[0].id, Status.ABORTED)
        writing.start()
        eventually(blocked)
        store.tasks.transition(steps[1].id, Status.ABORTED)
    writing.join(20)
    assert [type(error) for error in raised] == [IllegalTransition]
    assert [task.status for task in store.tasks.children(run.id)] == [Status.ABORTED] * 2
    store.close()


# -- the lease, and two outcomes for one key


def test_the_lease_is_kept_between_attempts_and_given_back_with_the_end(store: Store, run: Task) -> None:
    here = Liveness(store)
    recorder = recorder_of(store, run, here)
    step = call()
    assert here.claim("key:k")
    step.lease = "key:k"
    run_it(recorder, step)
    recorder.end(step, Status.QUEUED, reason="attempt 1 failed; again in 1.0 s")
    assert store.leases.holder("key:k") is not None
    recorder.note(step, Status.RUNNING, reason=step.reason, key="k")
    complete(recorder, step)
    assert store.leases.holder("key:k") is None
    assert step.lease == ""


def test_of_two_outcomes_for_one_key_the_first_recorded_stands(store: Store, recorder: Recorder) -> None:
    first, second, equal = call("quick"), call("quick.2"), call("quick.3")
    other = ArtifactRef("other", "other", "json", 1, preview={}, inline=b"2")
    for step in (first, second, equal):
        run_it(recorder, step)
    complete(recorder, first)
    complete(recorder, second, other)
    complete(recorder, equal)
    assert second.outputs == {"value": OUTPUT}
    assert store.tasks.outputs(second.id) == {"value": OUTPUT}
    dropped = "never seen before; dropped: another step's outcome was recorded first"
    assert store.tasks.get(second.id).reason == dropped
    assert store.tasks.get(equal.id).reason == "never seen before"
    (entry,) = store.cache.list("quick")
    assert entry.task == first.id


def test_an_outcome_that_is_superseded_gives_way(store: Store, recorder: Recorder) -> None:
    old, new = call("quick"), call("quick.2")
    other = ArtifactRef("other", "other", "json", 1, preview={}, inline=b"2")
    run_it(recorder, old)
    complete(recorder, old)
    run_it(recorder, new)
    new.supersedes = old.id
    complete(recorder, new, other)
    assert new.outputs == {"value": other}
    (entry,) = store.cache.list("quick")
    assert (entry.task, entry.outputs) == (new.id, {"value": other})


# -- a real run, watched


@pytest.mark.integration
def test_a_slow_step_is_seen_running_with_its_metrics(tmp_path: Path) -> None:
    folder = tmp_path / "ran"
    folder.mkdir()
    with Workspace(home=tmp_path / "home") as workspace:
        slow = Going(workspace, sharing.shared, executor="local", folder=str(folder))
        begun(folder)
        started = time.monotonic()

        def seen() -> bool:
            steps = [task for task in workspace.store.tasks.children(slow.run.id) if task.status is Status.RUNNING]
            return bool(steps) and [m.value for m in workspace.store.metrics.of([steps[0].id])] == [0.0, 0.1]

        eventually(seen)
        assert time.monotonic() - started < 1.5  # 0.5 s on an idle machine
        assert slow.step("suffix") is not None
        assert slow.reason("suffix") == "waits for prefix"
        (folder / "open").touch()
        assert slow.end().value == 100.0


def test_a_step_that_ran_is_in_the_record_of_a_run_that_was_aborted_meanwhile(
    store: Store, run: Task, recorder: Recorder
) -> None:
    step = call()
    recorder.note(step, Status.RUNNING)
    store.tasks.transition(run.id, Status.ABORTED)
    recorder.write()  # the watcher, before it hears of the abort
    recorder.end(step, Status.ABORTED, reason="aborted")
    assert [task.status for task in store.tasks.children(run.id)] == [Status.ABORTED]
