"""A pipeline that stops where it is told to, so that a test can make trouble there and take it away again."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from hpo_pipelines import component, pipeline

LARGE = 300_000
"""Numbers in an array that is kept as a file: 2.4 MB."""


def mark(folder: str, name: str) -> None:
    """Note that ``name`` is executed."""
    descriptor = os.open(Path(folder) / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{name}\n".encode())
    os.close(descriptor)


def _break(folder: str, name: str) -> None:
    if (Path(folder) / f"break.{name}").exists():
        raise RuntimeError(f"{name} is broken")


def ran(folder: Path) -> list[str]:
    """The executions so far, in their order."""
    return (folder / "ran").read_text().split()


def meet(folder: str, name: str) -> None:
    """At the place that the file ``stop`` names: say that we are there, and wait for the file ``go``."""
    stop = Path(folder) / "stop"
    if not stop.exists() or stop.read_text() != name:
        return
    stop.unlink()
    (Path(folder) / "there").touch()
    while not (Path(folder) / "go").exists():
        threading.Event().wait(0.01)


@component(cache=False)
def begin(folder: str) -> float:
    mark(folder, "begin")
    print("begun")
    return 1.0


@component
def large(value: float, folder: str) -> np.ndarray:
    mark(folder, "large")
    made = np.full(LARGE, value)
    meet(folder, "large")
    print("made")
    return made


@component(cache=False)
def pause(value: float, folder: str) -> float:
    mark(folder, "pause")
    meet(folder, "pause")
    return value


@component(cache=False)
def total(numbers: np.ndarray, value: float, folder: str) -> float:
    mark(folder, "total")
    _break(folder, "total")
    return float(numbers.sum()) * value


@pipeline(project="samples")
def troubled(folder: str) -> dict[str, object]:
    """Four steps, one after the other; the output of the second lies in a file."""
    value = begin(folder)
    numbers = large(value, folder)
    factor = float(pause(numbers[0], folder))
    return {"total": total(numbers, factor, folder), "numbers": numbers}


def by_value(step: float) -> Any:
    """A pipeline that no module has: it travels as bytecode, another for each ``step``."""

    @component(cache=False)
    def fragile(value: float, folder: str) -> float:
        mark(folder, "fragile")
        _break(folder, "fragile")
        return value + step

    @pipeline(project="samples")
    def carried(folder: str) -> float:
        return fragile(begin(folder), folder)

    return carried
