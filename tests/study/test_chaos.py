"""A study whose driver is killed at any time, and at every commit, loses no finished trial and duplicates none."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from engine.test_chaos import Drivers
from optuna.trial import TrialState
from study.chaos import ROUNDS, TRIALS, value_of

from hpo_pipelines import Status, Workspace
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import Study
from hpo_pipelines.study.handle import find
from hpo_pipelines.tracking import MirrorProcess
from hpo_pipelines.types import Kind

pytestmark = pytest.mark.integration

RANDOM_KILLS = 40
STEPS = ("prepare", "fit", "score")


@dataclass
class Search:
    """One study from its first driver to its last: what must hold after each death, and at the end."""

    drivers: Drivers
    workspace: Workspace
    folder: Path
    n_jobs: int = 1
    executor: str = "inline"
    over: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """What is recorded of each run that was over, by its id."""
    marks: Counter[str] = field(default_factory=Counter)
    """How often what is over had been executed then."""
    killed: int = 0
    said: dict[str, Any] = field(default_factory=dict)
    """What was said of the last driver."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def study(self) -> Study | None:
        """The study, if a driver came so far as to record it."""
        task = find(self.workspace, self.name)
        return None if task is None else Study(self.workspace, task)

    def live(self, **death: Any) -> bool:
        """Drive the study until its end, or until the driver dies as told; whether it is over."""
        words = {"call": "study.chaos:search", "study": self.name, "n_jobs": self.n_jobs, **death}
        self.said = self.drivers.drive(self.folder, executor=self.executor, **words)
        assert self.said.get("error") is None, self.said["error"]
        self.killed += self.said["killed"]
        study = self.study
        if study is not None:
            self.check(study)
        return not self.said["killed"]

    def survive(self, *deaths: dict[str, Any]) -> None:
        for death in deaths:
            if self.live(**death):
                break
        else:
            assert self.live()
        self.check_end()

    # -- after each death

    def check(self, study: Study) -> None:
        """What was over is as it was, in the store and in what the steps themselves have noted."""
        ran = self.executions()
        assert {name: ran[name] for name in self.marks} == self.marks
        runs = study.runs
        numbers = [run.task.trial or 0 for run in runs]
        assert numbers == sorted(set(numbers))
        assert len(numbers) <= TRIALS
        done = {run.id: recorded(run) for run in runs if run.status is Status.COMPLETED}
        assert {id: done.get(id) for id in self.over} == self.over
        self.over = done
        self.marks = Counter({name: ran[name] for run in runs for name in finished(run)})
        told = {trial.number: trial.value for trial in trials(study) if trial.state is TrialState.COMPLETE}
        assert told.items() <= {run.task.trial: run.value["found"] for run in runs if run.id in done}.items()

    def executions(self) -> Counter[str]:
        file = self.folder / "ran"
        return Counter(file.read_text().split() if file.exists() else [])

    # -- at the end

    def check_end(self) -> None:
        study = self.study
        assert study is not None
        assert (study.status, study.reason) == ("completed", f"{TRIALS} of {TRIALS} trials")
        runs = study.runs
        assert [run.task.trial for run in runs] == list(range(TRIALS))
        assert {run.status for run in runs} == {Status.COMPLETED}
        values = [run.value["found"] for run in runs]
        assert values == [value_of(run.params["x"]) for run in runs]
        told = trials(study)
        assert [trial.number for trial in told] == list(range(TRIALS))
        assert [trial.state for trial in told] == [TrialState.COMPLETE] * TRIALS
        assert [trial.value for trial in told] == values
        assert [trial.params["x"] for trial in told] == [run.params["x"] for run in runs]
        for run in runs:
            self.check_run(run)
        self.check_executions(runs)

    def check_run(self, run: Run) -> None:
        assert tuple(run.steps) == STEPS
        assert [step.task.position for step in run.steps.values()] == [0, 1, 2]
        reports = self.workspace.store.metrics.of([run.id, run.steps["fit"].id])
        assert Counter((metric.name, metric.step) for metric in reports if metric.task == run.id) == {("found", 0): 1}
        gains = [metric.step for metric in reports if metric.name == "gain"]
        # A report is recorded when it is made: one of an attempt that a kill cut short stays.
        assert set(gains) == set(range(ROUNDS))
        if self.killed == 0:
            assert len(gains) == ROUNDS

    def check_executions(self, runs: list[Run]) -> None:
        ran, xs = self.executions(), [run.params["x"] for run in runs]
        wanted = Counter(["prepare", *(f"{step}:{x!r}" for x in xs for step in ("fit", "score"))])
        assert set(ran) == set(wanted)
        # A death costs what was under way: one step in each run in flight; the shared step is under way in one.
        assert (ran - wanted).total() <= self.killed * self.n_jobs
        assert ran["prepare"] <= 1 + self.killed
        executed = [step for run in runs for step in run.steps.values() if step.reused_from is None]
        assert Counter(step.component for step in executed) == {"prepare": 1, "fit": TRIALS, "score": TRIALS}


def recorded(run: Run) -> tuple[Any, ...]:
    """All that must not change of a run that is over."""
    steps = [(step.id, step.status, len(step.attempts), step.reused_from) for step in run.steps.values()]
    return run.task.trial, run.task.finished_at, run.value["found"], steps


def finished(run: Run) -> list[str]:
    """The notes of those of its steps that are recorded as completed: nobody executes them again."""
    done = [step.name for step in run.steps.values() if step.status is Status.COMPLETED]
    return [name if name == "prepare" else f"{name}:{run.params['x']!r}" for name in done]


def trials(study: Study) -> list[optuna.trial.FrozenTrial]:
    """What Optuna's own storage has; nothing while the study is not in it yet."""
    try:
        return list(study.optuna_study.get_trials(deepcopy=False))
    except KeyError:
        return []


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
def undisturbed(drivers: Drivers, workspace: Workspace, home: Path) -> dict[int, tuple[int, float]]:
    """The commits and the seconds of a study that nobody disturbs, by ``n_jobs``."""
    measured = {}
    for n_jobs in (1, 3):
        Search(drivers, workspace, home / f"first-{n_jobs}", n_jobs).survive()  # some things happen only once in a home
        search = Search(drivers, workspace, home / f"undisturbed-{n_jobs}", n_jobs)
        search.survive()
        measured[n_jobs] = search.said["commits"], search.said["seconds"]
    return measured


@pytest.mark.parametrize(("n_jobs", "when"), [(1, "after"), (3, "before")])
def test_at_every_commit(
    drivers: Drivers, workspace: Workspace, home: Path, undisturbed: Any, n_jobs: int, when: str
) -> None:
    commits, _ = undisturbed[n_jobs]
    assert commits > 20
    killed = 0
    for commit in range(1, commits + 1):
        search = Search(drivers, workspace, home / f"{when}-{n_jobs}-{commit}", n_jobs)
        search.survive({"commit": commit, "when": when})
        killed += search.killed
    # With several trials at once the last commits may fall together into fewer.
    assert killed >= commits - 5
    assert workspace.store.check() == []


def test_at_random_times(drivers: Drivers, workspace: Workspace, home: Path, undisturbed: Any) -> None:
    killed = seed = 0
    while killed < RANDOM_KILLS:
        print(f"seed {seed}")
        chance, n_jobs = random.Random(seed), (1, 3)[seed % 2]
        _, seconds = undisturbed[n_jobs]
        search = Search(drivers, workspace, home / f"random-{seed}", n_jobs)
        search.survive(*({"after": chance.uniform(0, seconds)} for _ in range(3)))
        killed += search.killed
        seed += 1
    assert workspace.store.check() == []


@pytest.mark.parametrize("seed", range(2))
def test_with_worker_processes(drivers: Drivers, workspace: Workspace, home: Path, seed: int) -> None:
    chance = random.Random(seed)
    search = Search(drivers, workspace, home / f"local-{seed}", 3, "local")
    search.survive(*({"after": chance.uniform(0.3, 1.5)} for _ in range(2)))


def test_no_driver_left_a_run_that_is_no_trial(workspace: Workspace) -> None:
    """All that the tests above left in the one home."""
    tasks = workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE), limit=None)
    trials = Counter((task.params["folder"], task.study) for task in tasks)
    assert set(trials.values()) == {TRIALS}
    assert len({folder for folder, _ in trials}) == len(trials)


def test_mlflow_has_every_run_exactly_once(workspace: Workspace, home: Path) -> None:
    """The same, mirrored now."""
    settings = replace(workspace.settings, tracking_uri=f"sqlite:///{home}/mlflow.db")
    mirror = MirrorProcess(settings)
    mirror.start()
    assert mirror.drain(120)
    mirror.stop()
    tasks = workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE), limit=None)
    assert len(tasks) >= TRIALS
    assert mirrored(settings.tracking_uri) == Counter((task.id, str(task.status)) for task in tasks)


def mirrored(uri: str) -> Counter[tuple[str, str]]:
    """The task and the status of every top-level run that MLflow shows."""
    # MLflow uses what its own dependencies deprecate.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        found: Counter[tuple[str, str]] = Counter()
        experiments = [each.experiment_id for each in client.search_experiments()]
        token: str | None = None
        while token != "":
            page = client.search_runs(experiments, max_results=500, page_token=token)
            found.update((run.data.tags["hpo.task"], run.data.tags["hpo.status"]) for run in page)
            assert {run.info.status for run in page} <= {"FINISHED"}
            token = page.token or ""
        return found
