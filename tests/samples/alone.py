"""Components that are run alone."""

from __future__ import annotations

from typing import Any

from hpo_pipelines import component, pipeline, report


@component
def load(path: str, times: int = 1) -> str:
    print("loading", path)
    report("length", len(path))
    return path * times


@component(outputs=("first", "second"))
def split(n: int) -> tuple[list[int], list[int]]:
    return list(range(n // 2)), list(range(n // 2, n))


@component
def weigh(thing: Any) -> int:
    return len(str(thing))


@component
def tagged(tags: str) -> str:
    return tags


@pipeline
def loading(path: str) -> str:
    return load(path)
