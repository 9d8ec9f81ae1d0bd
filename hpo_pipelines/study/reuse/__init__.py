"""Samplers for pipelines whose stages are kept: usable with plain Optuna, and by studies over recorded pipelines.

Nothing in here knows of pipelines, stores or runs: what was computed and what it took comes through :class:`Records`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpo_pipelines.study.reuse.prefix import PrefixReuseSampler
from hpo_pipelines.study.reuse.records import SECONDS, Attachable, Records, Standing, TrialRecords
from hpo_pipelines.study.reuse.stages import Stage, Stages

if TYPE_CHECKING:
    from hpo_pipelines.study.reuse.memo import MemoGPSampler

__all__ = [
    "SECONDS",
    "Attachable",
    "MemoGPSampler",
    "PrefixReuseSampler",
    "Records",
    "Stage",
    "Stages",
    "Standing",
    "TrialRecords",
]


def __getattr__(name: str) -> Any:
    # With scipy it takes half a second to import, which who uses another sampler need not wait for.
    if name != "MemoGPSampler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hpo_pipelines.study.reuse.memo import MemoGPSampler

    return MemoGPSampler
