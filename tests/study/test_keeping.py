from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import bodies

from hpo_pipelines import Workspace, optimize
from hpo_pipelines.errors import IllegalTransition, StudyError, TaskNotFound
from hpo_pipelines.study import keeping
from hpo_pipelines.study.keeping import archive, delete, members, removal, restore


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def study(place: Workspace, name: str = "xs", **options: object) -> str:
    made = optimize(
        bodies.simple, {"x": [1, 2, 3]}, n_trials=3, seed=0, name=name, executor="inline", workspace=place,
        progress=False, **options,
    )  # fmt: skip
    return made.id


def test_a_pipeline_goes_in_parts_and_whole(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_RUNS_AT_ONCE", 2)
    kept = bodies.training.run(x=1, executor="inline", workspace=place)
    for y in range(5):
        bodies.simple.run(x=1, y=y, executor="inline", workspace=place)
    xs = study(place)
    ids = members(place.store, kept.task.project, "simple")
    assert xs in ids
    assert len(ids) == 6, "trials go with their study"
    told = removal(place, *ids)
    done = delete(place, *ids)
    assert (sorted(told.runs), told.studies, told.steps) == (sorted(done.runs), done.studies, done.steps)
    assert len(done.runs) == 8
    assert done.studies == ("xs",)
    assert done.left == ()
    assert [run.id for run in place.runs()] == [kept.id]
    with pytest.raises(TaskNotFound, match="no pipeline 'simple'"):
        members(place.store, kept.task.project, "simple")


def test_what_is_refused_is_refused_before_anything_goes(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_RUNS_AT_ONCE", 1)
    done = bodies.simple.run(x=1, executor="inline", workspace=place)
    waiting = done.clone(y=9).enqueue()
    with pytest.raises(IllegalTransition):
        delete(place, done.id, waiting.id)
    xs = study(place)
    trial = place.store.tasks.trials([xs])[0]
    with pytest.raises(StudyError):
        delete(place, done.id, trial.id)
    assert place.run_called(done.id).status == "completed"


def test_a_study_goes_from_its_optuna_storage_or_says_why_not(place: Workspace, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    xs = study(place, storage=url)
    assert delete(place, xs).left == ()
    assert study(place, storage=url) != xs, "its name is free again"
    again = place.store.tasks.find("xs").id
    (tmp_path / "optuna.db").write_bytes(b"no database")
    (line,) = delete(place, again).left
    assert line.startswith("study xs stays in its Optuna storage")


def test_archived_and_restored(place: Workspace) -> None:
    xs = study(place)
    assert len(archive(place, xs)) == 4
    assert len(restore(place, xs)) == 4
    assert restore(place, xs) == []
