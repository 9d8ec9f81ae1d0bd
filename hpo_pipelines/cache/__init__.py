"""What is kept for reuse, in hand: look at it, shrink it, check it, and delete the runs behind it."""

from __future__ import annotations

from hpo_pipelines.cache.choice import choose
from hpo_pipelines.cache.collection import GRACE, Collected, Limits, collect
from hpo_pipelines.cache.deletion import delete_runs
from hpo_pipelines.cache.usage import ComponentUsage, outcome_called, outcomes, usage
from hpo_pipelines.cache.verification import Damage, Verified, repair, verify

__all__ = [
    "GRACE", "Collected", "ComponentUsage", "Damage", "Limits", "Verified", "choose", "collect", "delete_runs",
    "outcome_called", "outcomes", "repair", "usage", "verify",
]  # fmt: skip
