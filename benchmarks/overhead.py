"""What a study adds to its trials as it grows: no-op trials by the thousand, beside Optuna alone on such a storage."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
import psutil

from benchmarks import pipelines
from hpo_pipelines import Float, Workspace, optimize
from hpo_pipelines.study import sampling
from hpo_pipelines.study.progress import Progress

Row = dict[str, Any]
WINDOW = 100
"""Trials whose median is taken, at each place that is looked at."""
ENOUGH = 1.2
"""How much dearer the last trials may be than those around the hundredth."""


def main(arguments: list[str] | None = None) -> int:
    """Print one line for each place in the study; 1 if the last trials cost more than they may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trials", description=__doc__)
    parser.add_argument("-n", "--trials", type=int, default=10_000, help="trials of the study (default 10000)")
    parser.add_argument("--sampler", default="random", help="of the study (default random)")
    parser.add_argument("--executor", default="inline", choices=["inline", "local", "ray"])
    parser.add_argument("--without", action="store_true", help="without the mirror into MLflow")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    options = parser.parse_args(arguments)
    if options.trials < 3 * WINDOW:
        parser.error(
            f"-n {options.trials}: at least {3 * WINDOW}, for a window at the hundredth trial and one at the end"
        )
    with tempfile.TemporaryDirectory(prefix="hpo-bench-", ignore_cleanup_errors=True) as folder:
        if options.without:
            os.environ["MLFLOW_TRACKING_URI"] = ""
        home = Path(folder) / "home"
        places = _places(options.trials)
        study = Clock()
        with Workspace(home=home) as workspace:
            optimize(
                pipelines.trial, {"x": Float(0.0, 1.0)}, "third.loss", "minimize", n_trials=options.trials,
                sampler=options.sampler, seed=0, executor=options.executor, progress=study, workspace=workspace,
                name="noop",
            )  # fmt: skip
            sizes = _sizes(home)
        alone = {name: _alone(home, name, places) for name in ("random", "tpe")}
    rows = [_row(place, study, alone) for place in places]
    for row in rows:
        print(json.dumps(row) if options.json else _line(row), flush=True)
    last, early = rows[-1], rows[0]
    verdict = {
        "cpu_ratio": last["cpu_ms"] / early["cpu_ms"],
        "wall_ratio": last["wall_ms"] / early["wall_ms"],
        "allowed": ENOUGH,
        **sizes,
    }
    print(json.dumps(verdict) if options.json else _line(verdict), flush=True)
    return 0 if verdict["cpu_ratio"] <= ENOUGH else 1


class Clock:
    """Wall and CPU seconds of this process, and its memory, whenever one more trial is done."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.at: list[tuple[float, float]] = []
        self.memory: dict[int, int] = {}
        """Resident bytes, by how many trials were done."""

    def __call__(self, progress: Progress) -> None:
        if progress.done > len(self.at):
            self.tick()

    def tick(self) -> None:
        self.at.append((time.perf_counter(), time.process_time()))
        if len(self.at) % WINDOW == 0:
            self.memory[len(self.at)] = self._process.memory_info().rss

    def median(self, place: int) -> tuple[float, float]:
        """Milliseconds of a trial, wall and CPU: medians over the window that ends at ``place``."""
        pairs = list(itertools.pairwise(self.at[place - WINDOW : place]))
        wall, cpu = (statistics.median(after[which] - before[which] for before, after in pairs) for which in (0, 1))
        return 1e3 * wall, 1e3 * cpu


def _places(trials: int) -> list[int]:
    """Where is looked: windows that end at 150, at each further doubling of 500, and at the end."""
    places = [WINDOW + WINDOW // 2]
    while (following := max(500, 2 * places[-1]) if places[-1] < 500 else 2 * places[-1]) < trials:
        places.append(following)
    return [*places, trials]


def _alone(home: Path, sampler: str, places: list[int]) -> Clock:
    """The same asks and tells of Optuna, on the same kind of storage, with nothing of ours between them.

    What is not looked at is sampled at random, so that TPE does not take half an hour to come there.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    random, tpe = optuna.samplers.RandomSampler(0), optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(storage=sampling.storage(None, home, f"alone-{sampler}"), sampler=random)
    clock = Clock()
    for number in range(places[-1]):
        looked_at = any(place - WINDOW <= number < place for place in places)
        study.sampler = tpe if looked_at and sampler == "tpe" else random
        trial = study.ask()
        study.tell(trial, (trial.suggest_float("x", 0.0, 1.0) - 0.3) ** 2)
        clock.tick()
    return clock


def _row(place: int, study: Clock, alone: dict[str, Clock]) -> Row:
    wall, cpu = study.median(place)
    optunas = {f"{name}_ms": clock.median(place)[1] for name, clock in alone.items()}
    memory = study.memory.get(place - place % WINDOW, 0) / 1e6
    return {"trials": place, "wall_ms": wall, "cpu_ms": cpu, **optunas, "memory_mb": memory}


def _sizes(home: Path) -> Row:
    """Megabytes on disk when the study has ended."""
    files = [path for path in home.rglob("*") if path.is_file()]
    parts = {"store": "store.db", "optuna": "optuna", "artifacts": "artifacts", "mlflow": "mlflow"}
    found = dict.fromkeys(parts, 0)
    for path in files:
        top = path.relative_to(home).parts[0]
        for name, start in parts.items():
            if top.startswith(start):
                found[name] += path.stat().st_size
    return {f"{name}_mb": size / 1e6 for name, size in found.items()}


def _line(row: Row) -> str:
    cells = [f"{name}={value:.3f}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()]
    return "  ".join(f"{cell:<18}" for cell in cells).rstrip()
