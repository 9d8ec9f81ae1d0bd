"""The floor: what a person would write by hand, with nothing recorded; and the same with MLflow logged by hand."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray

from benchmarks.pipelines import frame


@ray.remote(max_retries=0)
def step(x: float) -> float:
    return x + 1


@ray.remote(max_retries=0)
def loss(x: float) -> float:
    return (x - 0.3) ** 2


def chain(count: int = 5) -> float:
    x = 0.0
    for _ in range(count):
        x = ray.get(step.remote(x))
    return x


def fan_out(width: int = 100) -> int:
    return len(ray.get([step.remote(float(index)) for index in range(width)]))


def study(trials: int, jobs: int, finished: Callable[[optuna.Trial, float], None] | None = None) -> None:
    """Ask, three tasks, tell: TPE in memory."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    lock = threading.Lock()

    def one(_: int) -> None:
        with lock:
            asked = made.ask()
            x = asked.suggest_float("x", 0.0, 1.0)
        value = ray.get(loss.remote(ray.get(step.remote(ray.get(step.remote(x))))))
        if finished is not None:
            finished(asked, value)
        with lock:
            made.tell(asked, value)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, range(trials)))


class LoggedByHand:
    """What a study's trial costs when each run and its three steps are logged to MLflow where they happen."""

    def __init__(self, folder: Path) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(f"sqlite:///{folder / 'by_hand.db'}")
        self.experiment = self.client.create_experiment("by hand", artifact_location=str(folder / "by_hand"))

    def __call__(self, asked: optuna.Trial, value: float) -> None:
        parent = self._run("trial", {}, value, asked.params)
        for name in ("first", "second", "third"):
            self._run(name, {"mlflow.parentRunId": parent}, value, {})

    def _run(self, name: str, tags: dict[str, str], value: float, params: dict[str, Any]) -> str:
        from mlflow.entities import Metric, Param

        run = self.client.create_run(self.experiment, run_name=name, tags=tags)
        pairs = [Param(key, str(item)) for key, item in params.items()]
        self.client.log_batch(run.info.run_id, [Metric("loss", value, 0, 0)], pairs, [])
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)


def write_and_read() -> None:
    """The bytes of four steps' outputs written and read by numpy, each value read back before the next is made."""
    values = frame().to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        for index in range(4):
            path = Path(folder) / f"{index}.npy"
            np.save(path, values)
            values = np.load(path)
            values[:, 0] += 1
