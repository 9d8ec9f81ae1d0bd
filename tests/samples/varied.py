"""A pipeline that gives another number for each seed, for studies that repeat their trials."""

from __future__ import annotations

from hpo_pipelines import component, pipeline, report


@component
def measured(x: float, seed: int) -> float:
    report("score", x + 0.01 * (seed * 7 % 5))
    report("cost", x)
    return x


@pipeline(project="samples")
def noisy(x: float = 0.75, seed: int = 0) -> float:
    return float(measured(x, seed))
