"""A driver that is killed at any time, and at every commit of the store, loses nothing and does nothing twice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples.resuming import ran

from hpo_pipelines import Status, Workspace
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.types import Kind

pytestmark = pytest.mark.integration

TESTS = Path(__file__).parent.parent
PATH = os.pathsep.join([str(TESTS.parent), str(TESTS)])
RANDOM_KILLS = 200


class Drivers:
    """Drivers of runs in one home, one after the other."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "engine" / "chaos.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": PATH, "HPO_HOME": str(home), "MLFLOW_TRACKING_URI": ""},
        )

    def drive(self, folder: Path, run: str | None = None, executor: str = "inline", **death: Any) -> dict[str, Any]:
        order = {"home": str(self.home), "folder": str(folder), "run": run, "executor": executor, **death}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def close(self) -> None:
        self.process.communicate()


class Lives:
    """One run from its first driver to its last: what must hold after each death, and at the end."""

    def __init__(self, drivers: Drivers, workspace: Workspace, folder: Path, executor: str = "inline") -> None:
        folder.mkdir(parents=True)
        (folder / "break.fragile").touch()
        self.drivers = drivers
        self.workspace = workspace
        self.folder = folder
        self.executor = executor
        self.over: dict[str, tuple[Status, int]] = {}
        self.killed = 0

    def find(self) -> Run | None:
        """The run, if its first driver came so far as to record it."""
        tasks = self.workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE), limit=5)
        found = next((task for task in tasks if task.params.get("folder") == str(self.folder)), None)
        return Run(self.workspace, found) if found else None

    def live(self, **death: Any) -> bool:
        """Drive the run until its end, or until it dies as told; whether it is over."""
        run = self.find()
        if run is not None and run.status == "draft":
            run.run()  # nothing was begun
        elif run is None or not run.status.finished:
            said = self.drivers.drive(self.folder, run and run.id, self.executor, **death)
            assert said.get("error") is None, said["error"]
            self.killed += said["killed"]
        found = self.find()
        if found is None:
            return False
        self.check(found)
        return found.status.finished

    def check(self, run: Run) -> None:
        """What was over is as it was, and was not done again."""
        steps = {step.task.id: step for step in run.steps.values()}
        for id, (status, attempts) in self.over.items():
            assert (steps[id].status, len(steps[id].attempts)) == (status, attempts)
        for step in steps.values():
            if step.status in (Status.COMPLETED, Status.FAILED):
                self.over[step.id] = step.status, len(step.attempts)
        assert run.status is not Status.FAILED, run.error

    def check_end(self, value: Any, executions: Counter[str], deaths: int) -> None:
        run = self.find()
        assert run is not None
        assert run.status is Status.COMPLETED
        assert run.value == value
        steps = list(run.steps.values())
        assert [step.task.position for step in steps] == list(range(len(steps)))
        # Inline one step runs at a time: a death costs one execution whose end was not recorded, at most.
        assert Counter(ran(self.folder)) >= executions
        assert (Counter(ran(self.folder)) - executions).total() <= deaths * (1 if self.executor == "inline" else 4)
        assert run.metrics["caught"] == 1.0
        reports = self.workspace.store.metrics.of([run.id])
        assert Counter((metric.name, metric.step) for metric in reports) == Counter(
            {("caught", 0): 1, **{("score", index): 1 for index in range(int(value["rounds"]))}}
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="module")
def drivers(home: Path) -> Iterator[Drivers]:
    made = Drivers(home / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def workspace(home: Path) -> Iterator[Workspace]:
    with Workspace(home=home / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def undisturbed(drivers: Drivers, workspace: Workspace, home: Path) -> tuple[Any, Counter[str], int, float]:
    """The value, the executions, the commits and the seconds of a run that nobody disturbs."""
    lives = Lives(drivers, workspace, home / "undisturbed")
    said = drivers.drive(lives.folder)
    run = lives.find()
    assert run is not None
    assert run.status is Status.COMPLETED
    assert len(run.steps) >= 12
    return run.value, Counter(ran(lives.folder)), said["commits"], said["seconds"]


def survive(lives: Lives, deaths: list[dict[str, Any]], value: Any, executions: Counter[str]) -> None:
    for death in deaths:
        if lives.live(**death):
            break
    else:
        assert lives.live()
    lives.check_end(value, executions, len(deaths))


@pytest.mark.parametrize("when", ["before", "after"])
def test_at_every_commit(drivers: Drivers, workspace: Workspace, home: Path, undisturbed: Any, when: str) -> None:
    value, executions, commits, _ = undisturbed
    assert commits > 20
    for commit in range(1, commits + 1):
        lives = Lives(drivers, workspace, home / f"{when}{commit}")
        survive(lives, [{"commit": commit, "when": when}], value, executions)
    assert workspace.store.check() == []


@pytest.mark.parametrize("part", range(4))
def test_at_random_times(drivers: Drivers, workspace: Workspace, home: Path, undisturbed: Any, part: int) -> None:
    value, executions, _, seconds = undisturbed
    kills, number = 0, 1000 * part
    while kills < RANDOM_KILLS // 4:
        number += 1
        print(f"seed {number}")
        chance = random.Random(number)
        deaths = [{"after": chance.uniform(0, seconds)} for _ in range(chance.randint(1, 4))]
        lives = Lives(drivers, workspace, home / f"random{number}")
        survive(lives, deaths, value, executions)
        kills += lives.killed
    assert workspace.store.check() == []


@pytest.mark.parametrize("seed", range(3))
def test_with_worker_processes(drivers: Drivers, workspace: Workspace, home: Path, undisturbed: Any, seed: int) -> None:
    value, executions, _, _ = undisturbed
    chance = random.Random(seed)
    deaths = [{"after": chance.uniform(0.3, 2.0)} for _ in range(3)]
    survive(Lives(drivers, workspace, home / f"local{seed}", "local"), deaths, value, executions)
