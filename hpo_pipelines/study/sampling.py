"""Optuna's side of a study: samplers and pruners by name, its storage, and drawing a sample from a search space."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage

from hpo_pipelines.errors import StudyError
from hpo_pipelines.study.journal import StudyJournal
from search_spaces import Categorical, Distribution, Fixed, Float, Int, Space

SAMPLERS = ("tpe", "random", "qmc", "nsgaii", "gp", "cmaes")
PRUNERS = ("none", "median", "percentile", "successive-halving", "hyperband")

_EXTRAS = {"gp": ("torch", "gp"), "cmaes": ("cmaes", "cmaes")}
"""What a sampler needs beyond this project's own requirements, and the extra that installs it."""


def sampler(choice: str | optuna.samplers.BaseSampler | None, seed: int | None) -> optuna.samplers.BaseSampler:
    """The sampler called ``choice`` (default TPE), or the given one. Raises StudyError when it is unknown or not
    installed."""
    if isinstance(choice, optuna.samplers.BaseSampler):
        return choice
    name = choice or "tpe"
    if name not in SAMPLERS:
        raise StudyError(f"sampler={choice!r}: there are {', '.join(SAMPLERS)}, or any Optuna sampler object.")
    if name in _EXTRAS:
        module, extra = _EXTRAS[name]
        if importlib.util.find_spec(module) is None:
            raise StudyError(
                f"sampler={name!r} needs {module}, which is not installed: pip install 'hpo-pipelines[{extra}]'."
            )
    made: dict[str, Any] = {
        "tpe": optuna.samplers.TPESampler,
        "random": optuna.samplers.RandomSampler,
        "qmc": optuna.samplers.QMCSampler,
        "nsgaii": optuna.samplers.NSGAIISampler,
        "gp": optuna.samplers.GPSampler,
        "cmaes": optuna.samplers.CmaEsSampler,
    }
    return made[name](seed=seed)


def pruner(choice: str | optuna.pruners.BasePruner | None) -> optuna.pruners.BasePruner:
    """The pruner called ``choice`` (default none), or the given one. Raises StudyError when it is unknown."""
    if isinstance(choice, optuna.pruners.BasePruner):
        return choice
    made: dict[str, Any] = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "percentile": lambda: optuna.pruners.PercentilePruner(25.0),
        "successive-halving": optuna.pruners.SuccessiveHalvingPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
    }
    name = choice or "none"
    if name not in made:
        raise StudyError(f"pruner={choice!r}: there are {', '.join(PRUNERS)}, or any Optuna pruner object.")
    return made[name]()


def storage(url: str | None, home: Path, study: str) -> BaseStorage:
    """Optuna's storage of the study with id ``study``: a journal file of its own under ``home``, or that at ``url``."""
    return JournalStorage(journal(home, study)) if url is None else optuna.storages.get_storage(url)


def journal(home: Path, study: str) -> StudyJournal:
    """The journal of the study with id ``study``."""
    return StudyJournal(home / "optuna" / f"{study}.journal")


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Draw the active parameters of ``space``, each after those that decide whether it exists."""
    values: dict[str, Any] = {}
    for name in space.order():
        if space.is_active(name, values):
            values[name] = _draw(trial, name, space[name])
    return values


def _draw(trial: optuna.Trial, name: str, distribution: Distribution) -> Any:
    if isinstance(distribution, Fixed):
        return distribution.value
    if isinstance(distribution, Float):
        low, high = float(distribution.low), float(distribution.high)
        return trial.suggest_float(name, low, high, log=distribution.log, step=distribution.step)
    if isinstance(distribution, Int):
        return trial.suggest_int(
            name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
        )
    if isinstance(distribution, Categorical):
        return distribution.choice_of(trial.suggest_categorical(name, list(distribution.labels)))
    raise TypeError(f"{name}: no way to draw from {type(distribution).__name__}")


def enqueued(space: Space, base: Mapping[str, Any]) -> dict[str, Any] | None:
    """The ``base`` parameters as a trial to be run first; None when they lie outside the space."""
    values: dict[str, Any] = {}
    drawn: dict[str, Any] = {}
    for name in space.order():
        if not space.is_active(name, values):
            continue
        if isinstance(space[name], Fixed):
            values[name] = space[name].value  # type: ignore[attr-defined]
            continue
        if name not in base:
            return None
        value = base[name]
        plain = value.value if hasattr(value, "value") and not space[name].contains(value) else value
        if not space[name].contains(plain):
            return None
        values[name] = plain
        drawn[name] = _label(space[name], plain)
    return drawn


def _label(distribution: Distribution, value: Any) -> Any:
    return distribution.label_of(value) if isinstance(distribution, Categorical) else value
