"""A pipeline whose steps give files, for tests of what is kept."""

from __future__ import annotations

from typing import Any

from hpo_pipelines import component, pipeline


@component
def load(n: int) -> bytes:
    return bytes(n)


@component
def size(data: bytes, lr: float) -> float:
    return len(data) * lr


@pipeline(project="kept")
def churn(n: int = 50_000, lr: float = 0.5, model: int = 9_000) -> dict[str, Any]:
    return {"score": size(load(n), lr), "model": load(model)}
