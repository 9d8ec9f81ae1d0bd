"""How far a study goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.types import duration


@dataclass(frozen=True)
class Limits:
    """When a study stops asking, and how many trials are in flight; None is no such limit.

    ``n_trials`` is the total. ``timeout`` counts seconds from now, ``max_compute`` seconds of steps' executions from
    the study's first trial on. ``target`` is the value that is good enough, ``plateau`` how many trials in a row may
    end without a better one.
    """

    n_trials: int | None = None
    timeout: float | None = None
    n_jobs: int = 1
    max_failures: int | None = None
    max_compute: float | None = None
    target: float | None = None
    plateau: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Limits:
        """As they are ``given``, times such as ``"2h"`` among them. Raises ParameterError for what is no time."""
        timed = {name: duration(given[name]) for name in ("timeout", "max_compute") if given.get(name) is not None}
        return cls(**{**given, **timed})

    @property
    def ends(self) -> bool:
        """Whether one of them is certain to come."""
        return any(limit is not None for limit in (self.n_trials, self.timeout, self.plateau))
