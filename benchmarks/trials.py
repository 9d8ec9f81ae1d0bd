"""A study of many trials that nobody ran, recorded through the store: what pages and lists are measured with.

``python -m benchmarks.trials`` measures one that is run: :mod:`benchmarks.overhead`.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from hpo_pipelines import Categorical, Float, Int, Study, Workspace, component, pipeline, report
from hpo_pipelines.study import sampling
from hpo_pipelines.task import Attempt, Metric, Task
from hpo_pipelines.types import Kind, Status, new_id
from search_spaces import Space

BATCH = 500
SPACE = Space(
    {
        "lr": Float(1e-4, 1.0, log=True),
        "depth": Int(2, 16),
        "dropout": Float(0.0, 0.6),
        "decay": Float(1e-6, 1e-1, log=True),
        "features": Int(8, 512, log=True),
        "model": Categorical(["linear", "tree", "boosted"]),
    }
)
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "depth": IntDistribution(2, 16),
    "dropout": FloatDistribution(0.0, 0.6),
    "decay": FloatDistribution(1e-6, 1e-1, log=True),
    "features": IntDistribution(8, 512, log=True),
    "model": CategoricalDistribution(["linear", "tree", "boosted"]),
}
"""The same for Optuna."""
STEPS = ("load", "prepare", "fit", "evaluate")


@component
def load(rows: int) -> list[float]:
    return [float(row) for row in range(rows)]


@component
def prepare(data: list[float], features: int) -> list[float]:
    return data[:features]


@component
def fit(data: list[float], lr: float, depth: int, dropout: float, decay: float, model: str) -> float:
    return score(lr, depth, dropout, decay, model)


@component
def evaluate(fitted: float) -> float:
    report("auc", fitted)
    return fitted


def score(lr: float, depth: int, dropout: float, decay: float, model: str) -> float:
    """A smooth peak, and one model better than the others."""
    off = (
        (math.log10(lr) + 2) ** 2 / 6
        + (depth - 9) ** 2 / 200
        + (dropout - 0.2) ** 2
        + (math.log10(decay) + 4) ** 2 / 90
    )
    return 0.95 - 0.1 * off - {"linear": 0.08, "tree": 0.03, "boosted": 0.0}[model]


@pipeline(project="benchmarks")
def crowd(
    lr: float = 0.01, depth: int = 6, dropout: float = 0.1, decay: float = 1e-4, features: int = 64,
    model: str = "boosted", rows: int = 1000,
) -> float:  # fmt: skip
    return evaluate(fit(prepare(load(rows), features), lr, depth, dropout, decay, model))


def many_trials(workspace: Workspace, count: int, *, name: str = "crowd", seed: int = 0) -> Study:
    """A completed study of ``count`` trials of four steps: one in 25 failed, one in 25 was pruned."""
    draw = random.Random(seed)
    base = workspace.record_of(crowd, {})
    study = workspace.store.tasks.create(_study(base, count, name))
    made = list(_trials(base, study, count, draw))
    for begin in range(0, count, BATCH):
        some = made[begin : begin + BATCH]
        with workspace.store.transaction():
            workspace.store.tasks.create_many([task for trial in some for task in trial.tasks])
            for trial in some:
                for attempt in trial.attempts:
                    workspace.store.tasks.finish_attempt(attempt)
            workspace.store.metrics.add([trial.metric for trial in some if trial.metric is not None])
    _tell_optuna(workspace, study, made)
    workspace.store.tasks.transition(study.id, Status.COMPLETED, reason=f"{count} of {count} trials")
    return Study(workspace, workspace.store.tasks.get(study.id))


class _Trial:
    """One trial: its run with its steps, what they took, and what Optuna is told."""

    def __init__(self, run: Task, steps: list[Task], value: float | None, params: dict[str, Any]) -> None:
        self.tasks = [run, *steps]
        self.attempts = [_attempt(step) for step in steps if step.reused_from is None]
        self.metric = None if value is None else Metric(steps[-1].id, "auc", value, 0, run.finished_at or 0.0)
        self.status, self.value, self.params = run.status, value, params


def _study(base: Task, count: int, name: str) -> Task:
    params = {
        "objective": "evaluate.auc",
        "direction": "maximize",
        "storage": None,
        "space": SPACE.as_dict(),
        "space_digest": SPACE.digest(),
        "base": dict(base.params),
        "asked": {"n_trials": count, "timeout": None, "n_jobs": 1, "max_failures": None, "sampler": "random"},
    }
    return replace(base, id=new_id(), kind=Kind.STUDY, name=name, status=Status.RUNNING, params=params)


def _trials(base: Task, study: Task, count: int, draw: random.Random) -> Iterator[_Trial]:
    began, kept = 1_700_000_000.0, dict[tuple[str, Any], str]()
    for number in range(count):
        params = SPACE.draw(draw)
        luck = draw.random()
        status = Status.FAILED if luck < 0.04 else Status.PRUNED if luck < 0.08 else Status.COMPLETED
        given = {key: params[key] for key in ("lr", "depth", "dropout", "decay", "model")}
        value = score(**given) + draw.gauss(0.0, 0.01) if status is Status.COMPLETED else None
        at = began + 2.0 * number
        run = replace(
            base, id=new_id(), status=status, params={**base.params, **params}, study=study.id, trial=number,
            created_at=at, started_at=at, finished_at=at + 1.0 + draw.random(),
        )  # fmt: skip
        yield _Trial(run, list(_steps(run, kept)), value, params)


def _steps(run: Task, kept: dict[tuple[str, Any], str]) -> Iterator[Task]:
    for position, component_ in enumerate(STEPS):
        ended = run.status if component_ == "fit" else Status.COMPLETED
        shared = {"load": ("load", 0), "prepare": ("prepare", run.params["features"])}.get(component_)
        at = (run.started_at or 0.0) + 0.2 * position
        step = Task(
            new_id(), Kind.STEP, component_, run.project, status=ended, parent=run.id, component=component_,
            position=position, key=f"key of {shared or run.id}", reused_from=kept.get(shared) if shared else None,
            created_at=at, started_at=at, finished_at=at + 0.15,
        )  # fmt: skip
        if shared:
            kept.setdefault(shared, step.id)
        yield step
        if ended is not Status.COMPLETED:
            return


def _attempt(step: Task) -> Attempt:
    error = {"type": "ValueError", "message": "it diverged"} if step.status is Status.FAILED else None
    return Attempt(step.id, 1, step.status, step.started_at or 0.0, step.finished_at, error)


def _tell_optuna(workspace: Workspace, study: Task, trials: list[_Trial]) -> None:
    """As a driver does it: each parameter and each result an entry of the journal of its own."""
    storage = sampling.storage(None, workspace.home, study.id)
    ident = storage.create_new_study([StudyDirection.MAXIMIZE], study.name)
    states = {
        Status.COMPLETED: TrialState.COMPLETE, Status.FAILED: TrialState.FAIL, Status.PRUNED: TrialState.PRUNED,
    }  # fmt: skip
    for trial in trials:
        told = storage.create_new_trial(ident)
        for name, distribution in DISTRIBUTIONS.items():
            storage.set_trial_param(told, name, distribution.to_internal_repr(trial.params[name]), distribution)
        values = None if trial.value is None else [trial.value]
        storage.set_trial_state_values(told, states[trial.status], values)


if __name__ == "__main__":
    from benchmarks.overhead import main

    sys.exit(main())
