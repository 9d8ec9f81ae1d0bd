"""What runs and studies have cost and saved: the sums, and that they agree with the steps' own times."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples.bodies import simple

from hpo_pipelines import Int, Workspace, component, optimize, pipeline, report
from hpo_pipelines.accounting import Accounting, Worked, account, accounting, accounting_of
from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, CacheEntry, Task
from hpo_pipelines.types import Kind, Status, new_id

ENDS = [Status.COMPLETED, Status.FAILED, Status.ABORTED, Status.PRUNED]


def attempt(
    seconds: float | None = 1.0, status: Status = Status.COMPLETED, error: str = "", number: int = 1
) -> Attempt:
    ended = None if seconds is None else 100.0 + seconds
    return Attempt("s", number, status, 100.0, ended, {"type": error} if error else None)


attempts = st.builds(
    attempt,
    st.none() | st.floats(0, 1e6),
    st.sampled_from(ENDS),
    st.sampled_from(["", "StepLost", "StepTimedOut", "ValueError"]),
)
work = st.lists(
    st.builds(
        Worked,
        st.lists(attempts, max_size=3),
        reused=st.booleans(),
        recorded=st.none() | st.floats(0, 1e6),
        pruned=st.booleans(),
        shared=st.booleans(),
    ),
    max_size=6,
)


@given(work)
def test_law_spent_is_useful_and_wasted(work: list[Worked]) -> None:
    sums = account(work)
    ended = [one for step in work for one in step.attempts if one.finished_at is not None]
    assert math.isclose(sums.spent, sums.useful + sums.wasted, rel_tol=1e-12, abs_tol=1e-9)
    assert math.isclose(sums.spent, math.fsum(one.finished_at - one.started_at for one in ended), abs_tol=1e-9)
    assert math.isclose(sums.wasted, math.fsum(sums.wasted_by.values()), abs_tol=1e-9)
    assert sums.executions == len(ended)
    assert min(sums.useful, sums.wasted, sums.saved) >= 0
    assert sums.reused == sum(step.reused for step in work)


@given(work, work)
def test_law_two_runs_cost_what_each_of_them_costs(one: list[Worked], other: list[Worked]) -> None:
    both, first, second = account([*one, *other]), account(one), account(other)
    for name in ("spent", "useful", "wasted", "saved"):
        assert math.isclose(getattr(both, name), getattr(first, name) + getattr(second, name), abs_tol=1e-6)
    for name in ("executions", "reused", "unknown"):
        assert getattr(both, name) == getattr(first, name) + getattr(second, name)


@pytest.mark.parametrize(
    ("step", "cause"),
    [
        (Worked([attempt()]), None),
        (Worked([attempt(status=Status.FAILED, error="ValueError")]), "failed"),
        (Worked([attempt(status=Status.FAILED, error="StepLost")]), "lost"),
        (Worked([attempt(status=Status.FAILED, error="StepTimedOut")], pruned=True), "timeout"),
        (Worked([attempt(status=Status.ABORTED, error="StepAborted")]), "aborted"),
        (Worked([attempt(status=Status.ABORTED)], pruned=True), "pruned"),
        (Worked([attempt(status=Status.PRUNED)]), "pruned"),
        (Worked([attempt()], pruned=True), "pruned"),
        (Worked([attempt()], pruned=True, shared=True), None),
    ],
)
def test_what_was_wasted_and_why(step: Worked, cause: str | None) -> None:
    sums = account([step])
    assert (sums.spent, sums.useful) == (1.0, 0.0 if cause else 1.0)
    assert sums.wasted_by == ({cause: 1.0} if cause else {})


def test_a_retried_step_wastes_what_failed_only() -> None:
    step = Worked(
        [attempt(2.0, Status.FAILED, "OSError"), attempt(3.0, number=2), attempt(None, Status.RUNNING, number=3)]
    )
    assert account([step]) == Accounting(5.0, 3.0, 2.0, wasted_by={"failed": 2.0}, executions=2)


def test_reuse_saves_what_is_recorded() -> None:
    reused = [Worked(reused=True, recorded=4.0), Worked(reused=True, recorded=0.0), Worked(reused=True)]
    sums = account([*reused, Worked([attempt(1.0, Status.FAILED)], reused=True, recorded=2.0)])
    assert (sums.saved, sums.reused, sums.unknown, sums.spent) == (6.0, 4, 1, 1.0)


# -- read from a store


class ReadingContract:
    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def run(self, store: Store, status: Status = Status.COMPLETED, **fields: Any) -> Task:
        return store.tasks.create(Task(new_id(), Kind.PIPELINE, "churn", "p", status, "churn", **fields))

    def step(
        self, store: Store, run: Task, seconds: float = 1.0, *, status: Status = Status.COMPLETED, **fields: Any
    ) -> Task:
        fields = {"component": "fit", "key": "k", **fields}
        step = store.tasks.create(Task(new_id(), Kind.STEP, "fit", "p", status, parent=run.id, **fields))
        if step.reused_from is None:
            store.tasks.finish_attempt(Attempt(step.id, 1, status, 5.0, 5.0 + seconds))
        return step

    def test_a_run_counts_its_steps_and_those_of_runs_inside(self, store: Store) -> None:
        run = self.run(store)
        inner = self.run(store, parent=run.id)
        self.step(store, run, 2.0)
        self.step(store, run, 1.0, status=Status.FAILED)
        self.step(store, self.run(store, parent=inner.id), 4.0)
        self.step(store, self.run(store), 100.0)
        sums = accounting(store, run)
        assert (sums.spent, sums.useful, sums.wasted, sums.executions) == (7.0, 6.0, 1.0, 3)
        assert accounting(store, inner).spent == 4.0
        assert accounting(store) == accounting(store, self.run(store)) == Accounting()

    @pytest.mark.parametrize("inside", [False, True])
    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.PRUNED])
    def test_it_is_the_same_from_what_was_read_already(self, store: Store, inside: bool, status: Status) -> None:
        run = self.run(store, status)
        first = self.step(store, run, 2.0)
        self.step(store, run, 1.0, status=Status.FAILED)
        self.step(store, run, reused_from=first.id)
        if inside:
            self.step(store, self.run(store, parent=run.id), 4.0)
        children = store.tasks.children(run.id)
        attempts = store.tasks.attempts_of([child.id for child in children])
        assert accounting_of(store, run, children, attempts) == accounting(store, run)
        assert accounting(store, run).executions == 2 + inside

    def test_a_study_counts_its_trials(self, store: Store) -> None:
        study = store.tasks.create(Task(new_id(), Kind.STUDY, "lr", "p"))
        for trial in range(3):
            self.step(store, self.run(store, study=study.id, trial=trial), trial)
        assert accounting(store, study).spent == 3.0
        assert accounting(store, study, self.run(store)).executions == 3

    def test_a_pruned_run_wastes_what_it_alone_had(self, store: Store) -> None:
        run = self.run(store, Status.PRUNED)
        shared = self.step(store, run, 1.0)
        self.step(store, run, 2.0)
        self.step(store, self.run(store, parent=run.id), 4.0)
        self.step(store, self.run(store), reused_from=shared.id)
        sums = accounting(store, run)
        assert (sums.useful, sums.wasted_by) == (1.0, {"pruned": 6.0})

    def test_reuse_saves_what_the_execution_took_that_it_stands_for(self, store: Store) -> None:
        first = self.step(store, self.run(store), 3.0)
        run = self.run(store)
        self.step(store, run, reused_from=first.id)
        self.step(store, run, reused_from=first.id, key=None)
        assert (accounting(store, run).saved, accounting(store, run).spent) == (6.0, 0.0)

    def test_it_is_still_known_when_that_run_was_deleted(self, store: Store) -> None:
        other = self.run(store)
        first = self.step(store, other, 3.0)
        store.cache.record(CacheEntry("k", first.id, "fit", {}, {}, 2.9, 1.0))
        run = self.run(store)
        second = self.step(store, run, reused_from=first.id)
        store.tasks.delete(other.id)
        assert accounting(store, run).saved == 3.0
        # What is reused from now on stands for the outcome, which is the second's by now.
        third = self.run(store)
        self.step(store, third, reused_from=second.id)
        assert accounting(store, third).saved == 2.9
        store.cache.delete("k")
        sums = accounting(store, third)
        assert (sums.saved, sums.unknown) == (0.0, 1)


class TestSqlite(ReadingContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = Store.open(f"sqlite:///{tmp_path}/hpo.db")
        yield store
        store.close()


@pytest.mark.integration
class TestPostgresql(ReadingContract):
    @pytest.fixture
    def store(self, postgresql_database: str) -> Iterator[Store]:
        store = Store.open(postgresql_database)
        yield store
        store.close()


# -- of what really ran


@component
def slow(x: int, seconds: float) -> int:
    time.sleep(seconds)
    return x


@component
def score(x: int, y: int) -> int:
    report("score", float(y))
    time.sleep(0.1)
    return x + y


@component
def refuse(x: int) -> int:
    time.sleep(0.3)
    raise ValueError(x)


@pipeline(project="accounting")
def chain(y: int = 0, seconds: float = 0.3) -> int:
    return score(slow(1, seconds), y)


@pipeline(project="accounting")
def refusing(seconds: float = 0.3) -> int:
    return refuse(slow(2, seconds))


def timed(run: Any) -> float:
    """What the steps of a run say themselves: from start to end of those that were executed."""
    return sum(step.seconds for step in run.steps.values() if not step.reused_from)


def test_the_sums_of_real_runs_agree_with_their_steps_to_one_percent(home: Path) -> None:
    with Workspace() as place:
        first = chain.run(executor="inline", workspace=place)
        second = chain.run(y=1, executor="inline", workspace=place)
        failed = refusing.run(executor="inline", workspace=place)
        sums = [accounting(place.store, run.task) for run in (first, second, failed)]
        for run, found in zip((first, second, failed), sums, strict=True):
            assert found.spent == pytest.approx(timed(run), rel=0.01)
            assert found.spent == pytest.approx(found.useful + found.wasted)
        assert sums[0].useful == sums[0].spent >= 0.4
        assert sums[1].saved == pytest.approx(first.steps["slow"].seconds, rel=0.01)
        assert sums[2].wasted == pytest.approx(failed.steps["refuse"].seconds, rel=0.01)
        assert sums[2].wasted_by.keys() == {"failed"}


@pytest.mark.integration
def test_the_sums_of_a_study_agree_with_its_runs_to_one_percent(home: Path) -> None:
    with Workspace() as place:
        study = optimize(
            chain,
            {"y": [1, 2, 3, 4]},
            objective="score.score",
            n_trials=6,
            n_jobs=2,
            executor="local",
            workspace=place,
            progress=False,
        )
        sums = accounting(place.store, study.task)
        assert sums.spent == pytest.approx(sum(timed(run) for run in study.runs), rel=0.01)
        slow_once = next(run.steps["slow"] for run in study.runs if not run.steps["slow"].reused_from)
        reused = [step for run in study.runs for step in run.steps.values() if step.reused_from]
        assert sums.reused == len(reused) >= 5
        expected = sum(
            slow_once.seconds if step.component == "slow" else place.get(step.reused_from).seconds for step in reused
        )
        assert sums.saved == pytest.approx(expected, rel=0.01)


def test_runs_and_studies_tell_their_own(tmp_path: Path) -> None:
    with Workspace(home=tmp_path) as workspace:
        run = simple.run(executor="inline", workspace=workspace)
        again = simple.run(executor="inline", workspace=workspace)
        assert run.accounting == accounting(workspace.store, run.task)
        assert (run.accounting.executions, again.accounting.executions, again.accounting.reused) == (2, 0, 2)
        assert again.accounting.saved > 0
        study = optimize(run, {"x": Int(1, 3)}, n_trials=2, executor="inline", progress=False, workspace=workspace)
        assert study.accounting == accounting(workspace.store, study.task)
