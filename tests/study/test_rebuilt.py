"""A study looked at where Optuna's file of it is not: what our store has is enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import bodies

from hpo_pipelines import Categorical, Float, Int, Workspace, optimize
from hpo_pipelines.study import Study
from hpo_pipelines.study.analysis import Analysis
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status, new_id

SPACE = {
    "kind": Categorical(["a", "bb"]),
    "x": Float(0.0, 1.0),
    "depth": Int(1, 3, when={"kind": "bb"}),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("here")) as opened:
        tuned(opened, 12)
        yield opened


@pytest.fixture
def there(here: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """Another machine with the same store."""
    with Workspace(here.settings.store, artifacts=here.settings.artifacts, home=tmp_path / "there") as opened:
        yield opened


def tuned(workspace: Workspace, n_trials: int, name: str = "tuned") -> Study:
    return optimize(
        bodies.tuned, SPACE, "scored.score", n_trials=n_trials, name=name, workspace=workspace, executor="inline",
        progress=False, seed=0,
    )  # fmt: skip


def journal(workspace: Workspace, study: Study) -> Path:
    return workspace.home / "optuna" / f"{study.id}.journal"


def check_same(one: Study, other: Study) -> None:
    for mine, its in zip(one.trials, other.trials, strict=True):
        assert (mine.number, mine.params, mine.value, mine.status) == (its.number, its.params, its.value, its.status)
    assert (one.best_value, one.best_params) == (other.best_value, other.best_params)
    known, made = one.optuna_study, other.optuna_study
    for mine, its in zip(known.get_trials(deepcopy=False), made.get_trials(deepcopy=False), strict=True):
        assert (mine.number, mine.params, mine.values, mine.state) == (its.number, its.params, its.values, its.state)
        assert mine.distributions == its.distributions
    assert Analysis(one).values == Analysis(other).values


def test_another_machine_sees_what_this_one_sees(here: Workspace, there: Workspace) -> None:
    one, other = Study.called(here, "tuned"), Study.called(there, "tuned")
    assert len(one.trials) == 12
    check_same(one, other)
    assert Analysis(one).importances == pytest.approx(Analysis(other).importances)
    assert "x" in Analysis(other).importances


def test_a_file_that_is_behind_does_not_count(here: Workspace, there: Workspace) -> None:
    one, other = Study.called(here, "tuned"), Study.called(there, "tuned")
    content = journal(here, one).read_bytes().splitlines(keepends=True)
    journal(there, other).parent.mkdir(parents=True, exist_ok=True)
    journal(there, other).write_bytes(b"".join(content[: len(content) // 2]))
    check_same(one, other)


def test_what_is_added_elsewhere_is_seen_and_it_can_go_on_here(tmp_path: Path) -> None:
    with Workspace(home=tmp_path / "one") as one:
        begun = tuned(one, 3)
        with Workspace(one.settings.store, artifacts=one.settings.artifacts, home=tmp_path / "two") as two:
            elsewhere = Analysis(Study.called(two, "tuned"))
            assert set(elsewhere.values) == {0, 1, 2}
            tuned(one, 5)
            assert set(elsewhere.values) == {0, 1, 2, 3, 4}
            assert len(tuned(two, 7).trials) == 7
            check_same(Study.called(two, "tuned"), Study.called(one, "tuned"))
            assert begun.best_value == Study.called(two, "tuned").best_value


def test_one_that_has_not_begun_has_no_trials(here: Workspace) -> None:
    params = {"objective": None, "direction": "minimize", "storage": None, "space": {}, "space_digest": "", "base": {}}
    task = Task(new_id(), Kind.STUDY, "new", "samples", Status.DRAFT, pipeline="tuned", params=params)
    study = Study(here, here.store.tasks.create(task))
    assert study.trials == []
    assert Analysis(study).values == {}
