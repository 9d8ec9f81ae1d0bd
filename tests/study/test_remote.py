"""Studies that a server drives, asked for and followed as if they were driven here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from samples import bodies, queueing, studied
from services import wait_until
from serving import Serving, serving

from hpo_pipelines import Float, SpaceError, Status, StudyError, Workspace, optimize
from hpo_pipelines.study import Study, figures, resume
from hpo_pipelines.study.progress import Progress


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def place(served: Serving) -> Iterator[Workspace]:
    with Workspace(served.url) as opened:
        yield opened


def test_a_pipeline_from_here_is_tuned_there(place: Workspace, served: Serving) -> None:
    seen: list[tuple[int, float | None]] = []

    def progress(said: Progress) -> None:
        seen.append((said.done, said.best))

    study = optimize(
        bodies.simple, {"x": [1, 2, 3]}, n_trials=3, seed=0, name="xs", workspace=place, progress=progress
    )  # fmt: skip
    there = Study.called(served.workspace, "xs")
    assert (study.status, study.reason) == ("completed", "3 of 3 trials")
    assert seen[-1] == (3, study.best_value)
    assert [trial.value for trial in study.trials] == [trial.value for trial in there.trials]
    assert study.best_params == there.best_params
    assert study.best_run.id == there.best_run.id
    assert study.accounting == there.accounting
    assert study.trials_dataframe().equals(there.trials_dataframe())
    assert [trial.value for trial in study.optuna_study.get_trials()] == [trial.value for trial in there.trials]
    assert not study.is_abandoned


def test_trials_climb_and_go_on_there(place: Workspace, folder: Path) -> None:
    space = {"x": Float(0, 1), "folder": str(folder)}
    rungs = {"param": "rows", "min": 10, "max": 90}
    study = optimize(
        studied.rising, space, "auc", n_trials=5, seed=0, name="climbs", workspace=place, fidelity=rungs,
        progress=False, enqueue=[{"x": 0.01}],
    )  # fmt: skip
    assert [rung.fidelity for rung in study.trials[0].rungs] == [10, 30, 90]
    assert (study.trials[1].params["x"], study.trials[1].status) == (0.01, Status.PRUNED)
    assert study.continue_trial(1) is True
    assert study.enqueue(x=0.02) is True
    wait_until(lambda: study.status is Status.COMPLETED and len(study.runs) == 7, "both trials")
    assert {trial.continues for trial in study.trials} == {None, 1}
    assert sorted(trial.params["x"] for trial in study.trials[5:]) == [0.01, 0.02]
    with pytest.raises(StudyError, match="only a pruned one"):
        study.continue_trial(0)
    following = optimize(
        studied.rising, space, "auc", n_trials=1, name="follows", workspace=place, fidelity=rungs, progress=False,
        from_study="climbs",
    )  # fmt: skip
    assert following.trials[0].origin == "trial 0 of climbs"
    assert len(following.trials) == 8


def test_a_run_is_tuned_and_its_study_goes_on(place: Workspace) -> None:
    base = bodies.simple.run(x=1, y=5, workspace=place)
    first = optimize(base, {"x": [1, 2, 3, 4, 5, 6]}, n_trials=2, seed=1, name="of a run", n_jobs=2, progress=False)
    assert {run.task.cloned_from for run in first.runs} == {base.id}
    assert first.runs[0].params == {"x": 1, "y": 5}
    again = resume(place, first.task, n_trials=4)
    assert (len(again.trials), again.reason) == (4, "4 of 4 trials")
    with pytest.raises(StudyError, match="nothing to resume"):
        resume(place, first.task)


def test_with_a_queue_its_agents_drive_the_trials(place: Workspace, tmp_path: Path) -> None:
    study = optimize(
        queueing.quick, {"n": [1, 2, 3], "folder": str(tmp_path)}, "last.score", n_trials=3, sampler="grid",
        queue="services", name="queued", workspace=place, progress=False,
    )  # fmt: skip
    assert {run.task.queue for run in study.runs} == {"services"}
    assert study.best_value == 3.0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"space": {"z": [1]}}, SpaceError, "no parameter 'z'"),
        ({"sampler": optuna.samplers.RandomSampler()}, StudyError, "RandomSampler.*does not travel"),
        ({"pruner": optuna.pruners.MedianPruner()}, StudyError, "MedianPruner.*does not travel"),
        ({"sampler": "trees"}, StudyError, "trees"),
        ({"storage": "sqlite:///x.db"}, StudyError, "leave it out"),
        ({"n_trials": None}, StudyError, "needs an end"),
        ({"name": "xs", "space": {"y": [1, 2]}}, StudyError, "begun with another space"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_runs(
    place: Workspace, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    if options.get("name") == "xs":
        optimize(bodies.simple, {"x": [1, 2, 3]}, n_trials=3, seed=0, name="xs", workspace=place, progress=False)
    before = len(place.runs(limit=500))
    with pytest.raises(error, match=said):
        optimize(
            bodies.simple, **{"space": {"x": [1]}, "n_trials": 1, "workspace": place, "progress": False, **options}
        )
    assert len(place.runs(limit=500)) == before


@pytest.mark.integration
def test_the_first_interrupt_lets_trials_end_the_second_stops_them(place: Workspace, tmp_path: Path) -> None:
    pressed: list[str] = []

    def pressing(said: Progress) -> None:
        if not pressed and any(run.status == "running" for run in climbs(place)):
            pressed.append("once")
            raise KeyboardInterrupt
        if pressed == ["once"] and "finishing what runs" in said.note:
            pressed.append("twice")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize(
            queueing.climbing, {"slope": Float(0, 1), "folder": str(tmp_path)}, "climb.height", n_trials=5,
            name="stopped", executor="local", workspace=place, progress=pressing,
        )  # fmt: skip
    study = Study.called(place, "stopped")
    wait_until(lambda: study.status.finished, "the study to end")
    assert (study.status, study.reason) == ("aborted", "interrupted; the same name resumes it")
    assert [run.status for run in study.runs] == ["aborted"]
    (tmp_path / "open").touch()
    again = resume(place, study.task, n_trials=2)
    assert (again.status, len(again.runs)) == (Status.COMPLETED, 2)


def climbs(place: Workspace) -> list[Any]:
    return [run for run in place.runs(limit=50) if run.task.pipeline == "climbing"]


@pytest.mark.integration
def test_a_server_that_ends_leaves_its_studies_to_be_resumed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    space = {"slope": Float(0, 1), "folder": str(tmp_path)}
    options: dict[str, Any] = {"n_trials": 3, "name": "cut", "executor": "local"}
    with serving(home) as server, Workspace(server.url) as place:
        wanted = {**place.brought(queueing.climbing), "space": space_of(space), **options}  # type: ignore[attr-defined]
        place.server.post("/records/studies", {**wanted, "objective": "climb.height"})  # type: ignore[attr-defined]
        wait_until(lambda: any(run.status == "running" for run in climbs(place)), "a trial to begin")
        with pytest.raises(StudyError, match="is being run by"):
            optimize(queueing.climbing, space, "climb.height", workspace=place, progress=False, **options)
    (tmp_path / "open").touch()
    with Workspace(home=home) as place:
        assert Study.called(place, "cut").status == "aborted"
        study = resume(place, Study.called(place, "cut").task, n_trials=2)
        assert [run.status for run in study.runs] == ["completed", "completed"]


def space_of(space: dict[str, Any]) -> dict[str, Any]:
    from search_spaces import Space

    return dict(Space(space).as_dict())


def test_a_studys_best_is_promoted_there(place: Workspace, served: Serving) -> None:
    study = optimize(
        bodies.simple, {"x": [1, 2]}, n_trials=2, seed=0, name="promoted", workspace=place, progress=False
    )  # fmt: skip
    run = study.promote()
    assert (run.status, run.tags, run.params) == ("completed", ("promoted",), study.best_run.params)
    assert all(step.reused_from for step in run.steps.values())
    assert served.workspace.store.tasks.get(run.id).cloned_from == study.best_run.id
    with pytest.raises(StudyError, match=r"MLflow is where .* runs"):
        study.promote(register="churn", output="add")


@pytest.mark.integration
def test_figures_are_drawn_of_what_the_server_has(place: Workspace, served: Serving) -> None:
    study = optimize(
        bodies.simple, {"x": [1, 2, 3]}, n_trials=3, seed=0, name="drawn", workspace=place, progress=False
    )  # fmt: skip
    there = Study.called(served.workspace, "drawn")
    assert study.figure("history").data[0].y == there.figure("history").data[0].y
    assert figures.shared_seconds(study) == figures.shared_seconds(there)
    assert study.figure("sharing").data
