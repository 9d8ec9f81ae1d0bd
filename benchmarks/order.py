"""What it gives to run first what most trials wait for: a study with few workers, by turns in order of arrival and so.

    python -m benchmarks.order --rounds 3

Each trial is ``prepare(data) → tune(prepared, x) → score``, over few values of ``data``, with more trials in flight
than workers. Steps sleep, so that the figures do not depend on what else the machine does. Printed is, for each order,
the median over the rounds of: seconds for all trials, the share of the workers' time in which they had nothing to do,
and the median and the longest time of a trial.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from hpo_pipelines import Categorical, Float, Workspace, component, optimize, pipeline
from hpo_pipelines.executors.line import Line
from hpo_pipelines.study import Study


@component
def prepare(data: int, salt: str, seconds: float) -> int:
    time.sleep(seconds)
    return data


@component
def tune(prepared: int, x: float, seconds: float) -> float:
    time.sleep(seconds)
    return prepared * x


@component
def score(tuned: float, seconds: float) -> float:
    time.sleep(seconds)
    return tuned


@pipeline(project="benchmarks")
def tuned(data: int = 0, x: float = 0.5, salt: str = "", unit: float = 0.1) -> float:
    return score(tune(prepare(data, salt, 6 * unit), x, 2 * unit), unit)


@contextmanager
def arrival() -> Iterator[None]:
    """The order of arrival, as it is without hearing who waits."""
    with mock.patch.object(Line, "urge", return_value=None):
        yield


@contextmanager
def urgency() -> Iterator[None]:
    yield


def run(trials: int, jobs: int, workers: int, unit: float, seed: int) -> dict[str, float]:
    os.environ["HPO_LOCAL_CPUS"] = str(workers)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, Workspace(home=Path(home)) as workspace:
        workspace.run(tuned, {"salt": "warm", "unit": 0.0}, executor="local")  # the workers are up
        begun = time.monotonic()
        study = optimize(
            tuned,
            {"data": Categorical(list(range(6))), "x": Float(0, 1), "unit": unit},
            n_trials=trials,
            n_jobs=jobs,
            sampler="random",
            seed=seed,
            executor="local",
            workspace=workspace,
        )
        wall = time.monotonic() - begun
        return {"seconds": wall, **_figures(study, wall * workers)}


def _figures(study: Study, capacity: float) -> dict[str, float]:
    took = [run.task.seconds or 0.0 for run in study.runs]
    busy = study.accounting.spent
    return {"idle": 1 - busy / capacity, "trial": statistics.median(took), "longest": max(took)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--unit", type=float, default=0.1, help="seconds; a trial alone takes nine of them")
    given = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {"arrival": [], "urgency": []}
    for seed in range(given.rounds):
        for name, order in (("arrival", arrival), ("urgency", urgency)):
            with order():
                rows[name].append(run(given.trials, given.jobs, given.workers, given.unit, seed))
    for name, each in rows.items():
        medians = {key: round(statistics.median(row[key] for row in each), 3) for key in each[0]}
        print(json.dumps({"order": name, **medians}), flush=True)


if __name__ == "__main__":
    main()
