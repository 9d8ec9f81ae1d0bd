"""Pipelines whose steps are run more than once: how often each was, is counted in files of ``folder``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpo_pipelines import component, pipeline, report


def _times(folder: str, name: str) -> int:
    file = Path(folder) / name
    with file.open("a") as lines:
        lines.write("x\n")
    return len(file.read_text().split())


@component(cache=False, retry=2)
def learns(folder: str) -> float:
    """Reports five epochs; the first times it breaks off after two."""
    times = _times(folder, "learns")
    for epoch in range(5):
        if epoch == 2 and (Path(folder) / f"break.{times}").exists():
            raise OSError("broken off")
        report("loss", 10.0 * times + epoch)
    return float(times)


@component
def kept(folder: str, x: int) -> int:
    return x + _times(folder, f"kept.{x}")


@component(cache=False)
def ends(folder: str, x: float) -> float:
    if (Path(folder) / "break").exists():
        raise OSError("not yet")
    return x


@pipeline(project="samples")
def learning(folder: str) -> float:
    score = learns(folder)
    report("score", float(score))
    return ends(folder, score)


@pipeline(project="samples")
def twice(folder: str) -> float:
    """One step before what may break, and one after."""
    one = kept(folder, 1)
    two = ends(folder, one)
    return two + kept(folder, int(two) * 0 + 2)


@component
def length(table: Any) -> int:
    return len(table)


@pipeline(project="samples")
def big(folder: str, n: int = 30_000) -> float:
    """Passes a literal that is too big to travel in a message."""
    return ends(folder, length(np.arange(n)))


@dataclass(frozen=True)
class Choice:
    depth: Any
    names: tuple[Any, ...] = ()


@component
def three() -> int:
    return 3


@component
def text(value: Any) -> str:
    return repr(value)


def contained(shape: str, x: Any) -> Any:
    return {
        "list": [x, 1],
        "tuple": (x,),
        "dict": {"a": {"b": x}},
        "dataclass": Choice(x, (x, "n")),
        "set": {x, 7},
    }[shape]


@pipeline(project="samples")
def holding(shape: str, literal: bool) -> str:
    return text(contained(shape, 3 if literal else three()))


@component
def sleeps(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pipeline(project="samples")
def timed(folder: str) -> float:
    return sleeps(0.2) + learns(folder)
