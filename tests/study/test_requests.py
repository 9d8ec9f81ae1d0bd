"""What is asked of a running study is done by its driver, whichever process that is."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import shown
from services import wait_until

from hpo_pipelines import Categorical, Float, Study, Workspace, optimize
from hpo_pipelines.errors import ParameterError, StudyError
from hpo_pipelines.run import Run
from hpo_pipelines.study import enqueue, extend, resume, stop
from hpo_pipelines.study.handle import find
from hpo_pipelines.types import Status


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


class Gated:
    """A study in a thread, whose every trial waits for the file ``go``."""

    def __init__(self, workspace: Workspace, folder: Path, n_trials: int, executor: str = "inline") -> None:
        self.folder = folder
        space = {"lr": Float(0.1, 1.0), "folder": Categorical([str(folder)]), "gate": Categorical(["go"])}
        self.ended: list[Study] = []

        def work() -> None:
            self.ended.append(
                optimize(
                    shown.churn, space, "fit.auc", n_trials=n_trials, name="gated", executor=executor, seed=1,
                    progress=False, workspace=workspace,
                )
            )  # fmt: skip

        self.thread = threading.Thread(target=work)
        self.thread.start()
        wait_until((folder / "go.began").exists, "the first trial to begin")
        task = find(workspace, "gated")
        assert task is not None
        self.study = Study(workspace, task)

    def go(self) -> Study:
        (self.folder / "go").touch()
        self.thread.join(60)
        return self.ended[0]


def test_a_stop_finishes_what_runs_and_the_study_can_be_resumed(workspace: Workspace, folder: Path) -> None:
    gated = Gated(workspace, folder, 5)
    stop(gated.study)
    wait_until(lambda: gated.study.task.params.get("stop") == "finish", "the request")
    study = gated.go()
    assert study.status is Status.ABORTED
    assert [run.status for run in study.runs] == [Status.COMPLETED]
    with pytest.raises(StudyError, match="is not running"):
        stop(study)
    again = resume(workspace, study.task, progress=False)
    assert (again.status, len(again.runs)) == (Status.COMPLETED, 5)


@pytest.mark.integration
def test_a_second_stop_aborts_what_runs(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "held"
    folder.mkdir()
    gated = Gated(workspace, folder, 5, executor="local")
    stop(gated.study)
    assert gated.study.task.params["stop"] == "finish"
    stop(gated.study)
    wait_until(lambda: all(run.status is Status.ABORTED for run in gated.study.runs), "the trial to be aborted")
    study = gated.go()
    assert study.status is Status.ABORTED


def test_a_running_study_is_extended_and_given_a_point(workspace: Workspace, folder: Path) -> None:
    gated = Gated(workspace, folder, 1)
    assert extend(gated.study, 2)
    assert enqueue(gated.study, {"lr": 0.625, "folder": str(folder), "gate": "go"})
    with pytest.raises(ParameterError, match="is not a point of the space"):
        enqueue(gated.study, {"lr": 7.0, "folder": str(folder), "gate": "go"})
    with pytest.raises(ParameterError, match="'size' is not in it"):
        enqueue(gated.study, {"lr": 0.5, "folder": str(folder), "gate": "go", "size": 1})
    study = gated.go()
    assert (study.status, study.task.params["asked"]["n_trials"]) == (Status.COMPLETED, 4)
    assert [run.params["lr"] for run in study.runs].count(0.625) == 1
    assert len(study.runs) == 4
    assert study.runs[1].params["lr"] == 0.625, "a point goes next"


def test_what_is_asked_of_a_study_that_nobody_drives_waits_for_who_resumes_it(
    workspace: Workspace, folder: Path
) -> None:
    space = {"lr": Float(0.1, 1.0), "folder": Categorical([str(folder)])}
    study = optimize(shown.churn, space, "fit.auc", n_trials=2, executor="inline", workspace=workspace, progress=False)
    assert not enqueue(study, {"lr": 0.375, "folder": str(folder)})
    again = resume(workspace, study.task, progress=False)
    assert [run.params["lr"] for run in again.runs][2] == 0.375
    assert not extend(again, 1)
    assert len(resume(workspace, again.task, progress=False).runs) == 4


def test_a_grid_has_no_more_trials(workspace: Workspace) -> None:
    space = {"lr": Categorical([0.1, 0.2])}
    study = optimize(
        shown.churn, space, "fit.auc", sampler="grid", executor="inline", workspace=workspace, progress=False
    )
    with pytest.raises(StudyError, match="takes every point"):
        extend(study, 1)


DRIVING = """
import sys
from samples import shown
from hpo_pipelines import Categorical, Float, Workspace, optimize

with Workspace(home=sys.argv[1]) as workspace:
    space = {"lr": Float(0.1, 1.0), "folder": Categorical([sys.argv[2]]), "gate": Categorical(["go"])}
    optimize(shown.churn, space, "fit.auc", n_trials=9, name="elsewhere", executor="local", progress=False,
             workspace=workspace)
"""


@pytest.mark.integration
def test_another_process_is_stopped(workspace: Workspace, folder: Path) -> None:
    command = [sys.executable, "-c", DRIVING, str(workspace.home), str(folder)]
    tests = str(Path(__file__).resolve().parents[1])
    other = subprocess.Popen(command, cwd=tests)
    try:
        wait_until((folder / "go.began").exists, "the first trial to begin")
        study = Study.called(workspace, "elsewhere")
        stop(study)
        stop(study)
        wait_until(lambda: study.status is Status.ABORTED, "the driver to end the study")
        assert [run.status for run in study.runs] == [Status.ABORTED]
    finally:
        (folder / "go").touch()
        assert other.wait(60) == 0
    left: list[Run] = study.runs
    assert len(left) == 1
