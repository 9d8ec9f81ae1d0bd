"""What it gives to run first what most trials wait for, against the order of arrival.

    python -m benchmarks.order               # on a virtual clock
    python -m benchmarks.order --real        # one of the workloads with processes, whose steps sleep

Workloads, of ``trials`` trials with ``jobs`` in flight on ``workers`` workers:

``chain``   ``prepare(data) → tune(x) → score``, over six values of ``data``: what is shared comes first in every trial
``late``    what is shared comes after a step of the trial's own
``behind``  as ``late``, started while the forty calls of another run wait already

Printed is the median over the seeds of: seconds until all have ended, the share of the workers' time in which they had
nothing to do, and the mean time of a trial; by order of arrival and by urgency.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from hpo_pipelines import Categorical, Float, Workspace, component, optimize, pipeline
from hpo_pipelines.executors.line import Line
from hpo_pipelines.planning.simulation import Simulation, Work
from hpo_pipelines.study import Study

SIZES = ((8, 4), (16, 8), (32, 16))
"""Trials in flight, and workers."""


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


# -- on a virtual clock


def chain(seeded: random.Random, trials: int) -> list[list[Work]]:
    return [
        [Work(f"prepare{seeded.randrange(6)}", 6), Work(f"tune{trial}", 2, (0,)), Work(f"score{trial}", 1, (1,))]
        for trial in range(trials)
    ]


def late(seeded: random.Random, trials: int) -> list[list[Work]]:
    """``read(a) → own, other; features(a, b) → fit``: two values of ``a``, four of ``b``."""
    return [_late(trial, seeded.randrange(2), seeded.randrange(4)) for trial in range(trials)]


def _late(trial: int, a: int, b: int) -> list[Work]:
    own = [Work(f"own{trial}", 1, (0,)), Work(f"other{trial}", 1, (0,))]
    return [Work(f"read{a}", 2), *own, Work(f"features{a}.{b}", 8, (0,)), Work(f"fit{trial}", 2, (1, 2, 3))]


def behind(seeded: random.Random, trials: int) -> list[list[Work]]:
    return [[Work(f"another{call}", 2) for call in range(40)], *late(seeded, trials)]


WORKLOADS: dict[str, Callable[[random.Random, int], list[list[Work]]]] = {
    "chain": chain,
    "late": late,
    "behind": behind,
}


def simulated(workload: str, jobs: int, workers: int, trials: int, seeds: int) -> dict[str, list[float]]:
    """Each figure by order of arrival, and by urgency."""
    medians: dict[bool, list[float]] = {}
    for urgent in (False, True):
        rows = []
        for seed in range(seeds):
            made = WORKLOADS[workload](random.Random(seed), trials)
            found = Simulation(made, n_jobs=jobs, workers=workers, urgent=urgent).run()
            idle = 1 - found.compute / (found.wall * workers)
            rows.append((found.wall, idle, statistics.mean(found.trials)))
        medians[urgent] = [round(statistics.median(column), 3) for column in zip(*rows, strict=True)]
    names = ("seconds", "idle", "trial")
    return {name: [medians[False][place], medians[True][place]] for place, name in enumerate(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--unit", type=float, default=0.1, help="seconds; a real trial alone takes nine of them")
    given = parser.parse_args()
    if given.real:
        return _real(given.rounds, given.unit)
    for workload in WORKLOADS:
        for jobs, workers in SIZES:
            for trials in (jobs, 100):
                found = simulated(workload, jobs, workers, trials, given.seeds)
                sizes = {"workload": workload, "jobs": jobs, "workers": workers, "trials": trials}
                print(json.dumps({**sizes, **found}), flush=True)
    return None


def _real(rounds: int, unit: float) -> None:
    rows: dict[str, list[dict[str, float]]] = {"arrival": [], "urgency": []}
    for seed in range(rounds):
        for name, order in (("arrival", arrival), ("urgency", urgency)):
            with order():
                rows[name].append(run(48, 8, 3, unit, seed))
    for name, each in rows.items():
        medians = {key: round(statistics.median(row[key] for row in each), 3) for key in each[0]}
        print(json.dumps({"order": name, **medians}), flush=True)


if __name__ == "__main__":
    main()
