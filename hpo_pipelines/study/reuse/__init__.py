"""Samplers for pipelines whose stages are kept: usable with plain Optuna, and by studies over recorded pipelines.

Nothing in here knows of pipelines, stores or runs: what was computed and what it took comes through :class:`Records`.
"""

from hpo_pipelines.study.reuse.memo import MemoGPSampler
from hpo_pipelines.study.reuse.prefix import PrefixReuseSampler
from hpo_pipelines.study.reuse.records import SECONDS, Records, Standing, TrialRecords
from hpo_pipelines.study.reuse.stages import Stage, Stages

__all__ = [
    "SECONDS",
    "MemoGPSampler",
    "PrefixReuseSampler",
    "Records",
    "Stage",
    "Stages",
    "Standing",
    "TrialRecords",
]
