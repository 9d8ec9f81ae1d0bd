"""The options of ``optimize``, as a value that every door to it passes on: Python, the command line, a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna


@dataclass(frozen=True)
class Options:
    """What ``optimize`` is asked, by the names and with the defaults of its own signature, which explains them."""

    objective: str | Sequence[str] | None = None
    direction: str | Sequence[str] = "maximize"
    constraints: str | Sequence[str] = ()
    n_trials: int | None = None
    timeout: float | str | None = None
    max_compute: float | str | None = None
    target: float | None = None
    plateau: int | None = None
    max_failures: int | None = None
    n_jobs: int = 1
    sampler: str | Mapping[str, Any] | optuna.samplers.BaseSampler | None = None
    pruner: str | optuna.pruners.BasePruner | None = None
    prune_on: str | Sequence[str] | None = None
    seed: int | None = None
    repeats: Mapping[str, int | Sequence[Any]] | None = None
    fidelity: Mapping[str, Any] | None = None
    enqueue: Sequence[Mapping[str, Any]] = ()
    from_study: str | Sequence[str] | None = None
    from_runs: str | Sequence[str] | None = None
    name: str | None = None
    executor: str | None = None
    queue: str | None = None
    storage: str | None = None
    allow_changes: bool = False
    reuse: bool = True
    notify: str | Sequence[str] | None = None

    @classmethod
    def among(cls, given: Mapping[str, Any]) -> Options:
        """Those that ``given`` holds besides other things, such as all arguments of a call."""
        return cls(**{name: given[name] for name in cls.__dataclass_fields__ if name in given})
