"""A study whose driver is killed, or interrupted, goes on under its name and loses nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from engine.contract import eventually
from samples import bodies

from hpo_pipelines import Float, Int, Status, StudyError, Workspace, optimize
from hpo_pipelines.owner import machine
from hpo_pipelines.study import Study, resume
from hpo_pipelines.study.handle import find
from hpo_pipelines.study.options import Options
from hpo_pipelines.study.start import begin

DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
from samples import bodies
from hpo_pipelines import Float, optimize
study = optimize(bodies.slowly, {"x": Float(0, 1), "folder": sys.argv[2]}, n_trials=12, n_jobs=3, seed=0,
                 name="crashing", executor="local", progress=False)
print(study.status, study.reason)
"""


REPEATING = """
import sys
sys.path.insert(0, sys.argv[1])
from samples import studied
from hpo_pipelines import Float, optimize
study = optimize(studied.seeded, {"x": Float(0, 1), "folder": sys.argv[2]},
                 ["drawn.auc", "x"], ["maximize", "minimize"],
                 n_trials=5, n_jobs=2, seed=0, name="crashing", executor="local", progress=False,
                 repeats={"seed": [0, 1, 3]}, constraints="drawn.auc <= 0.9", prune_on="drawn.seed:minimize")
print(study.status, study.reason)
"""


CLIMBING = """
import sys
sys.path.insert(0, sys.argv[1])
from samples import studied
from hpo_pipelines import Float, optimize
study = optimize(studied.rising, {"x": Float(0, 1), "folder": sys.argv[2]}, "auc",
                 n_trials=8, n_jobs=2, seed=0, name="crashing", executor="local", progress=False,
                 fidelity={"param": "rows", "min": 1, "max": 27}, enqueue=[{"x": 0.99}])
print(study.status, study.reason)
"""


def start(home: Path, folder: Path, driver: str = DRIVER) -> subprocess.Popen[str]:
    tests = str(Path(bodies.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", driver, tests, str(folder)],
        env={**os.environ, "HPO_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_after(driver: subprocess.Popen[str], folder: Path, steps: int) -> None:
    """SIGKILL the driver once ``steps`` steps have run, or its end, whichever comes first."""
    eventually(lambda: driver.poll() is not None or len(list(folder.iterdir())) >= steps, 60)
    driver.kill()
    driver.communicate()


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_driver_loses_no_finished_trial(tmp_path: Path, seed: int) -> None:
    home, folder = tmp_path / "home", tmp_path / "ran"
    folder.mkdir()
    chance = random.Random(seed)
    kept: set[str] = set()
    for _ in range(3):
        kill_after(start(home, folder), folder, chance.randint(1, 4) + len(kept))
        with Workspace(home=home) as workspace:
            task = find(workspace, "crashing")
            if task is not None:
                done = {run.id for run in Study(workspace, task).runs if run.status is Status.COMPLETED}
                assert kept <= done
                kept = done
    with Workspace(home=home) as workspace:
        space = {"x": Float(0, 1), "folder": str(folder)}
        study = optimize(
            bodies.slowly, space, n_trials=12, n_jobs=3, seed=0, name="crashing",
            executor="local", progress=False, workspace=workspace,
        )  # fmt: skip
        runs = study.runs
        assert kept <= {run.id for run in runs}
        assert [run.task.trial for run in runs] == list(range(12))
        assert all(run.status is Status.COMPLETED for run in runs)
        values = {trial.number: trial.value for trial in study.optuna_study.get_trials(deepcopy=False)}
        assert values == {run.task.trial: run.value for run in runs}
        assert workspace.store.check() == []


@pytest.mark.integration
def test_a_killed_driver_loses_no_repeat_and_no_value_of_several_objectives(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "ran"
    folder.mkdir()
    drawn = folder / "drawn"

    def lines() -> list[str]:
        return drawn.read_text().splitlines() if drawn.exists() else []

    killed = 0
    for wanted in (2, 6, 9):
        driver = start(home, folder, REPEATING)
        eventually(lambda: driver.poll() is not None or len(lines()) >= wanted, 60)  # noqa: B023 - called at once
        killed += driver.poll() is None
        driver.kill()
        driver.communicate()
    output, _ = start(home, folder, REPEATING).communicate(timeout=120)
    assert "completed 5 of 5 trials" in output
    with Workspace(home=home) as workspace:
        study = Study.called(workspace, "crashing")
        for trial in study.trials:
            x = trial.params["x"]
            assert trial.values == pytest.approx((x + 0.4 / 3, x))
            assert trial.violations == pytest.approx({"drawn.auc <= 0.9": x + 0.4 / 3 - 0.9})
            assert [run.value["auc"] for run in trial.repeats] == pytest.approx([x, x + 0.1, x + 0.3])
            assert {run.status for run in trial.repeats} == {Status.COMPLETED}
        # A kill costs at most the step under way in each of the two runs in flight.
        assert 15 <= len(lines()) <= 15 + 2 * killed
        assert (folder / "prepared").read_text().count("once") <= 1 + killed
        assert workspace.store.check() == []


@pytest.mark.integration
def test_a_killed_driver_loses_no_rung(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "ran"
    folder.mkdir()
    grown = folder / "grown"

    def lines() -> list[str]:
        return grown.read_text().splitlines() if grown.exists() else []

    killed = 0
    for wanted in (2, 5):
        driver = start(home, folder, CLIMBING)
        eventually(lambda: driver.poll() is not None or len(lines()) >= wanted, 60)  # noqa: B023 - called at once
        killed += driver.poll() is None
        driver.kill()
        driver.communicate()
    output, _ = start(home, folder, CLIMBING).communicate(timeout=120)
    assert "completed 8 of 8 trials" in output
    with Workspace(home=home) as workspace:
        study = Study.called(workspace, "crashing")
        rungs = 0
        for trial in study.trials:
            climbed = [rung.fidelity for rung in trial.rungs]
            assert climbed == [1, 3, 9, 27][: len(climbed)]
            assert [rung.value for rung in trial.rungs] == [trial.params["x"] * rows for rows in climbed]
            assert trial.status is (Status.COMPLETED if len(climbed) == 4 else Status.PRUNED)
            rungs += len(climbed)
        assert study.best_params["x"] == 0.99
        # A kill costs at most the step under way in each of the two runs in flight.
        assert rungs <= len(lines()) <= rungs + 2 * killed
        assert workspace.store.check() == []


@pytest.mark.integration
def test_ctrl_c_once_finishes_what_runs_and_leaves_it_resumable(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "ran"
    folder.mkdir()
    driver = start(home, folder)
    eventually(lambda: len(list(folder.iterdir())) >= 2, 60)
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 0, output
    assert "aborted interrupted; the same name resumes it" in output
    with Workspace(home=home) as workspace:
        study = Study.called(workspace, "crashing")
        assert all(run.status is Status.COMPLETED for run in study.runs)
        assert 2 <= len(study.runs) < 12
    again = start(home, folder)
    output, _ = again.communicate(timeout=120)
    assert "completed 12 of 12 trials" in output


def test_a_study_that_was_recorded_and_never_begun_can_be_resumed(tmp_path: Path) -> None:
    with Workspace(home=tmp_path) as workspace:
        options = Options(n_trials=2, name="recorded", executor="inline")
        begin(workspace, bodies.simple, {"x": Int(1, 9)}, options)
        task = find(workspace, "recorded")
        assert task is not None
        assert resume(workspace, task, progress=False).reason == "2 of 2 trials"


def test_a_study_that_another_living_process_runs_is_refused_and_a_dead_ones_is_taken_over(tmp_path: Path) -> None:
    with Workspace(home=tmp_path) as workspace:
        options = {"n_trials": 2, "name": "held", "executor": "inline", "progress": False, "workspace": workspace}
        study = optimize(bodies.simple, {"x": Int(1, 9)}, **options)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            created = f"{psutil.Process(other.pid).create_time():.2f}"
            owner = f"{machine()}:{other.pid}:{created}:x"
            assert workspace.store.leases.claim(f"study:{study.id}", owner, 60.0)
            with pytest.raises(StudyError, match="being run by the process"):
                optimize(bodies.simple, {"x": Int(1, 9)}, **{**options, "n_trials": 3})
            other.communicate(b"\n")
        assert len(optimize(bodies.simple, {"x": Int(1, 9)}, **{**options, "n_trials": 3}).runs) == 3
