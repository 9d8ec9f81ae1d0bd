"""A worker process of many steps, as the executors' is: each runs with its variables, inside `step_run`.

Reads a JSON list of (function, variables) and prints a JSON object of what each function returned or raised. All
functions run in this one process, one after another.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import mlflow
import numpy
from mlflow import log_param
from sklearn.linear_model import LinearRegression

from hpo_pipelines.tracking.inside import step_run

STEPS: dict[str, Callable[[], Any]] = {}


def step(function: Callable[[], Any]) -> Callable[[], Any]:
    STEPS[function.__name__] = function
    return function


def fit() -> None:
    LinearRegression().fit(numpy.arange(8.0).reshape(-1, 1), numpy.arange(8.0))


@step
def plain_calls() -> None:
    mlflow.log_metric("inside", 0.5)
    log_param("depth", 3)
    mlflow.log_text("hello", "hello.txt")
    mlflow.set_tag("mine", "yes")


@step
def a_run_of_its_own() -> str:
    with mlflow.start_run() as run:
        mlflow.log_metric("inside", 1.0)
    mlflow.log_metric("after", 2.0)
    return run.info.run_id


@step
def several_runs() -> list[str]:
    ids = []
    for lr in (0.1, 0.2, 0.3):
        with mlflow.start_run(run_name=f"lr {lr}") as run:
            mlflow.log_param("lr", lr)
            with mlflow.start_run(nested=True) as inner:
                mlflow.log_metric("deep", lr)
        ids += [run.info.run_id, inner.info.run_id]
    return ids


@step
def autologged() -> None:
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
    fit()
    mlflow.log_metric("between", 1.0)
    fit()
    mlflow.log_metric("after", 2.0)


@step
def autologged_by_everything() -> None:
    mlflow.autolog(log_models=False, log_datasets=False, silent=True)
    fit()


@step
def not_autologged() -> None:
    fit()
    mlflow.log_metric("alone", 1.0)


@step
def without_mlflow() -> dict[str, Any]:
    fit()
    return {"active": mlflow.active_run() is not None, "variables": sorted(k for k in os.environ if "MLFLOW" in k)}


@step
def models() -> list[str]:
    """The models that the step logs: with no run active, and in one that it starts."""
    from mlflow.pyfunc import PythonModel

    class Doubled(PythonModel):
        def predict(self, context, model_input, params=None):
            return [2 * each for each in model_input]

    first = mlflow.pyfunc.log_model(name="first", python_model=Doubled(), pip_requirements=[])
    with mlflow.start_run():
        second = mlflow.pyfunc.log_model(name="second", python_model=Doubled(), pip_requirements=[])
    return [first.model_id, second.model_id]


@step
def left_open() -> None:
    mlflow.start_run()
    mlflow.start_run(nested=True)
    mlflow.log_metric("deep", 1.0)


@step
def raises() -> None:
    mlflow.log_metric("inside", 1.0)
    raise ValueError("no")


@step
def in_threads() -> None:
    def work(number: int) -> None:
        mlflow.log_metric(f"thread{number}", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        thread.join()


@step
def elsewhere() -> str:
    mlflow.set_experiment("mine")
    with mlflow.start_run() as run:
        mlflow.log_metric("there", 1.0)
    return run.info.experiment_id


@step
def another_server() -> str:
    mlflow.set_tracking_uri(os.environ["THEIRS"])
    mlflow.set_experiment("theirs")
    with mlflow.start_run() as run:
        mlflow.log_metric("there", 1.0)
    return run.info.run_id


def main() -> None:
    found: dict[str, Any] = {}
    for name, variables in json.load(sys.stdin):
        before = dict(os.environ)
        os.environ.update(variables)
        try:
            with step_run():
                found[name] = STEPS[name]()
        except Exception as error:  # noqa: BLE001 - what a step raises is its result
            found[name] = f"{type(error).__name__}: {error}"
        finally:
            os.environ.clear()
            os.environ.update(before)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
