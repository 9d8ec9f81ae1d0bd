"""Chains: pipelines made of recorded tasks. What they are, as data; :mod:`hpo_pipelines.assembly` makes them.

A chain is recorded as a module that holds it as data, with the digest of the snapshot of each task that it repeats.
"""

from hpo_pipelines.chain.condition import Condition
from hpo_pipelines.chain.definition import (
    REQUIRED,
    RUN,
    STEP,
    TYPES,
    ChainParameter,
    ChainStep,
    Definition,
    Recorded,
)
from hpo_pipelines.chain.pipeline import Chain
from hpo_pipelines.chain.references import (
    OF_RUN,
    OF_STEP,
    PIPELINE,
    Reference,
    escaped,
    filled,
    looked_at,
    references,
)

__all__ = [
    "OF_RUN",
    "OF_STEP",
    "PIPELINE",
    "REQUIRED",
    "RUN",
    "STEP",
    "TYPES",
    "Chain",
    "ChainParameter",
    "ChainStep",
    "Condition",
    "Definition",
    "Recorded",
    "Reference",
    "escaped",
    "filled",
    "looked_at",
    "references",
]
