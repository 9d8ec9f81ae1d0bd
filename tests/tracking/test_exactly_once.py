"""A mirror that is killed at any point, again and again, leaves each run exactly once, and each value exactly once."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_pipelines.settings import Settings
from hpo_pipelines.store import Store
from hpo_pipelines.store.followers import Followers
from hpo_pipelines.task import Task
from hpo_pipelines.tracking import schema
from hpo_pipelines.tracking.backend import Backend
from hpo_pipelines.tracking.bulk import BulkRuns
from hpo_pipelines.tracking.files import Files
from hpo_pipelines.tracking.mlflow import MlflowMirror
from hpo_pipelines.tracking.tables import Tables
from hpo_pipelines.types import Kind, Status

from .conftest import Call, Recorder, Shown

# MLflow uses what its own dependencies deprecate.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CALLS = (
    Call("load"),
    Call("fit", {"auc": [0.1, 0.5, 0.9], "loss": [3.0, 2.0]}, params={"lr": 0.1}),
    Call("fit", {"auc": [0.4, 0.6]}, params={"lr": 0.2}),
    Call("split", reused=True),
)


LIFETIME = {"client": 0.7, "tables": 0.12}
"""Seconds in which a mirror is well into its work: within them it is killed."""


class Zygote:
    """Starts mirrors and kills them."""

    def __init__(self, home: Path, tier: str) -> None:
        self.lifetime = LIFETIME[tier]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py")), str(home), tier],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def mirror(self, *mirrors: tuple[float, int]) -> list[int]:
        """Run mirrors at once, each (seconds until it is killed or 0, events in a batch); returns their exit codes."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(
            " ".join(f"{seconds:.3f} {batch}" if seconds else f"0 {batch}" for seconds, batch in mirrors)
        )
        process.stdin.write("\n")
        process.stdin.flush()
        return [int(code) for code in process.stdout.readline().split()]

    def close(self) -> None:
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0


@pytest.fixture(params=["client", "tables"])
def zygote(database: Path, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Zygote]:
    zygote = Zygote(settings.home, request.param)
    yield zygote
    zygote.close()


def check(store: Store, shown: Shown) -> None:
    """Compare all that MLflow shows with all that is in the store."""
    tasks: list[Task] = []
    for run in store.tasks.list(limit=1000):
        if run.kind is Kind.PIPELINE:
            tasks += [run, *(step for step in store.tasks.children(run.id) if step.reused_from is None)]
    found = shown.runs()
    assert Counter(run.data.tags["hpo.task"] for run in found) == Counter(task.id for task in tasks)
    by_task = {run.data.tags["hpo.task"]: run for run in found}
    for task in tasks:
        run = by_task[task.id]
        assert run.info.status == "FINISHED"
        assert run.data.tags["hpo.status"] == "completed"
        assert run.data.params == {name: str(value) for name, value in task.params.items()}
        if task.kind is Kind.STEP:
            assert run.data.tags["mlflow.parentRunId"] == by_task[task.parent].info.run_id
            check_series(shown, run, series(store, task.id))
        else:
            names = {child.id: child.name for child in store.tasks.children(task.id)}
            wanted = {f"{name}.{metric}": s for id, name in names.items() for metric, s in series(store, id).items()}
            # The last call's value closes the first call's series.
            wanted["fit.auc"] = [*wanted["fit.auc"], (2, 0.6)]
            check_series(shown, run, wanted)
            assert run.data.metrics["fit.auc"] == 0.6
            assert shown.files(run) == ["outputs.json"]


def series(store: Store, task: str) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for metric in store.metrics.of([task]):
        found.setdefault(metric.name, []).append((metric.step, metric.value))
    return found


def check_series(shown: Shown, run: Any, wanted: dict[str, list[tuple[int, float]]]) -> None:
    assert set(run.data.metrics) == set(wanted)
    for key, points in wanted.items():
        assert shown.history(run, key) == points, key


def test_killed_at_random_points(recorder: Recorder, store: Store, zygote: Zygote, shown: Shown) -> None:
    dice = random.Random(20)
    killed = 0
    for number in range(8):
        recorder.run(CALLS, params={"lr": 0.1, "trial": number})
        # Some are in the middle when the mirror dies, and go on before the next one comes.
        half = recorder.start(params={"lr": 0.2, "trial": number})
        step = recorder.begin_step(half, CALLS[1], 0, "fit")
        recorder.report(step.id, "auc", [0.1, 0.5])
        killed += zygote.mirror((dice.uniform(0.01, zygote.lifetime), dice.randint(1, 40))).count(-9)
        recorder.report(step.id, "auc", [0.9], start=2)
        recorder.end_step(step, CALLS[1])
        again = recorder.begin_step(half, CALLS[2], 1, "fit.2")
        recorder.report(again.id, "auc", [0.4, 0.6])
        recorder.end_step(again, CALLS[2])
        store.tasks.transition(half.id, Status.COMPLETED)
    for _ in range(30):
        codes = zygote.mirror((dice.uniform(0.02, 1.4 * zygote.lifetime), dice.randint(5, 200)))
        killed += codes.count(-9)
        if codes == [0]:
            break
    assert zygote.mirror((0, 1000)) == [0]
    assert killed >= 5
    check(store, shown)


def test_several_mirrors_at_once_some_of_them_killed(
    recorder: Recorder, store: Store, zygote: Zygote, shown: Shown
) -> None:
    for number in range(6):
        recorder.run(CALLS, params={"trial": number})
    killed = zygote.mirror(*[(share * zygote.lifetime, 2 + n) for n, share in enumerate((0.4, 0.8, 1.2))], (0, 50))
    assert killed[-1] == 0
    check(store, shown)


@pytest.mark.parametrize("next_tier", ["client", "tables"])
@pytest.mark.parametrize("tier", ["client", "tables"])
def test_cut_off_before_and_after_every_write(
    recorder: Recorder, store: Store, settings: Settings, shown: Shown, tier: str, next_tier: str
) -> None:
    """Whoever comes next may have to do it another way: somebody may have brought another release of MLflow."""
    store.followers.claim(Backend.of(settings).follower, "test", 3600.0)
    point, finished = 0, False
    while not finished:
        before = store.events.last()
        recorder.run(CALLS, params={"point": point})
        with pytest.MonkeyPatch.context() as patch:
            choose(patch, tier)
            finished = not crash(store, settings, before, point)
        with pytest.MonkeyPatch.context() as patch:
            choose(patch, next_tier)
            mirror = MlflowMirror(store, Backend.of(settings), step_runs="always")
            mirror.take(store.events.after(before))
            assert isinstance(mirror._runs, BulkRuns) == (next_tier == "tables")
        point += 1
    # Before and after each: the intents, the files of four runs, their rows, their ids.
    assert point >= (14 if tier == "tables" else 40)
    check(store, shown)


def choose(patch: pytest.MonkeyPatch, tier: str) -> None:
    if tier == "client":
        patch.setattr(schema, "RELEASES", ())


class Crash(BaseException):
    """Stands for a SIGKILL: nothing of ours catches it."""


def crash(store: Store, settings: Settings, before: int, point: int) -> bool:
    """Mirror up to write number ``point // 2``, end before it (even) or after it; returns whether it came so far."""
    from mlflow import MlflowClient

    mirror = MlflowMirror(store, Backend.of(settings), step_runs="always")
    writes = 0

    def watched(write: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes - 1 == point // 2 and point % 2 == 0:
                raise Crash
            result = write(*args, **options)
            if writes - 1 == point // 2:
                raise Crash
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (MlflowClient, "create_run"),
            (MlflowClient, "log_batch"),
            (MlflowClient, "set_terminated"),
            (Tables, "write"),
            (Followers, "set_mirrored_all"),
            (Files, "write"),
        ):
            patch.setattr(owner, name, watched(getattr(owner, name)))
        try:
            mirror.take(store.events.after(before))
        except Crash:
            return True
    return False
