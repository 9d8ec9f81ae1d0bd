"""How far a study goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When a study stops asking: total trials, seconds from now, failed trials; and how many are in flight."""

    n_trials: int | None
    timeout: float | None
    n_jobs: int
    max_failures: int | None
