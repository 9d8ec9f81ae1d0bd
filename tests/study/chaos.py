"""A study whose drivers are killed: what one of them does (called by ``engine/chaos.py``), and its pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hpo_pipelines import Float, Workspace, component, optimize, pipeline, report
from hpo_pipelines.study import Study

TRIALS = 6
BASE = 2.0
ROUNDS = 2


def _mark(folder: str, name: str) -> None:
    descriptor = os.open(Path(folder) / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{name}\n".encode())
    os.close(descriptor)


@component
def prepare(folder: str) -> float:
    """The same in every trial: run once in all."""
    _mark(folder, "prepare")
    return BASE


@component
def fit(base: float, x: float, folder: str) -> float:
    _mark(folder, f"fit:{x!r}")
    for number in range(ROUNDS):
        report("gain", base * x + number)
    return base * x


@component(cache=False)
def score(fitted: float, x: float, folder: str) -> float:
    _mark(folder, f"score:{x!r}")
    return fitted + 1


@pipeline(project="samples")
def searched(folder: str, x: float = 0.5) -> dict[str, float]:
    fitted = fit(prepare(folder), x, folder)
    found = float(score(fitted, x, folder))
    report("found", found)
    return {"found": found}


def value_of(x: float) -> float:
    """What the trial with this ``x`` gives."""
    return BASE * x + 1


def search(workspace: Workspace, order: dict[str, Any]) -> Study:
    """Begin the study ``order["study"]``, or go on with it. Unseeded: no two trials have the same ``x``."""
    return optimize(
        searched,
        {"x": Float(0.0, 1.0), "folder": order["folder"]},
        "found",
        name=order["study"],
        n_trials=TRIALS,
        n_jobs=order["n_jobs"],
        sampler="random",
        executor=order["executor"],
        progress=False,
        workspace=workspace,
    )
