"""Pipelines that are interrupted and resumed: every execution of a step leaves a line in ``folder/ran``."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hpo_pipelines import Cache, component, pipeline, report


class Broken(Exception):
    """What a step raises whose file ``break.NAME`` is there."""

    def __init__(self, name: str, *, often: int) -> None:
        super().__init__(f"{name} is broken")
        self.name = name
        self.often = often


def _mark(folder: str, name: str) -> None:
    descriptor = os.open(Path(folder) / "ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{name}\n".encode())
    os.close(descriptor)
    if (Path(folder) / f"break.{name}").exists():
        raise Broken(name, often=3)


def ran(folder: Path) -> list[str]:
    """The executions so far, in their order."""
    file = folder / "ran"
    return file.read_text().split() if file.exists() else []


@component(cache=False)
def work(name: str, value: float, folder: str) -> float:
    _mark(folder, name)
    report("value", value)
    return value


@component
def shared(name: str, value: float, folder: str) -> float:
    _mark(folder, name)
    return value


@component(cache=False, outputs=("low", "high"))
def halves(name: str, value: float, folder: str) -> tuple[float, float]:
    _mark(folder, name)
    return value - 1, value + 1


@component(cache=False)
def clock() -> float:
    return time.time()


@pipeline(project="samples")
def chain(folder: str) -> float:
    """Three steps, none reused, and a caught failure between them."""
    a = work("a", 1.0, folder)
    try:
        float(work("b", a, folder))
        bonus = 0.0
    except Broken as error:
        bonus = float(error.often)
    report("bonus", bonus)
    return work("c", a + bonus, folder)


@pipeline(project="samples")
def unseen(folder: str) -> float:
    """A failure that nobody looks at."""
    work("lost", 1.0, folder)
    return work("kept", 2.0, folder)


@pipeline(project="samples")
def outer(folder: str) -> float:
    first = chain(folder)
    return work("last", first, folder)


@pipeline(project="samples")
def wandering(folder: str) -> float:
    """A body that asks the world outside which way to go."""
    a = work("a", 1.0, folder)
    b = work("left" if (Path(folder) / "left").exists() else "right", a, folder)
    if (Path(folder) / "short").exists():
        return b
    return work("c", b, folder)


@pipeline(project="samples")
def twelve(folder: str, target: float = 5.0) -> dict[str, float]:
    """Twelve steps and more: a fan-out, two outputs, shared ones, a caught failure, training until it is good."""
    base = shared("load", 1.0, folder)
    low, high = halves("split", base, folder)
    parts = [work(f"part{index}", low + index, folder) for index in range(3)]
    total = work("sum", sum(parts), folder)
    try:
        float(work("fragile", high, folder))
    except Broken:
        report("caught", 1.0)
    score, rounds = 0.0, 0
    while score < target:
        rounds += 1
        model = shared(f"fit{rounds}", total * rounds / 3, folder)
        score = float(work(f"score{rounds}", model + rounds, folder))
        report("score", score)
    return {"score": score, "rounds": float(rounds)}


@pipeline(project="samples")
def below(folder: str) -> float:
    return shared("b", work("a", 1.0, folder), folder)


@pipeline(project="samples")
def hiccuping(folder: str) -> float:
    """A body that fails by itself."""
    a = float(work("a", 1.0, folder))
    if (Path(folder) / "hiccup").exists():
        raise OSError("a hiccup of the disk")
    return a


@pipeline(project="samples")
def around(folder: str) -> float:
    return hiccuping(folder)


@component(cache=False)
def hold(folder: str) -> float:
    """Ends when it is stopped, at its next report."""
    _mark(folder, "hold")
    while True:
        report("held", 1.0)
        time.sleep(0.01)


@component(cache=False)
def beside(folder: str) -> float:
    """Ends once ``hold`` is under way."""
    while "hold" not in ran(Path(folder)):
        time.sleep(0.01)
    _mark(folder, "beside")
    return 1.0


@pipeline(project="samples")
def leaving(folder: str) -> float:
    """Fails while a step of it is under way."""
    hold(folder)
    float(beside(folder))
    raise OSError("left alone")


@pipeline(project="samples")
def caught(folder: str) -> float:
    try:
        return leaving(folder)
    except OSError:
        return work("after", 3.0, folder)


@pipeline(project="samples")
def handling(folder: str) -> float:
    try:
        return float(work("first", 1.0, folder))
    except Broken:
        return float(work("second", 2.0, folder))


@pipeline(project="samples")
def cached_off(folder: str) -> float:
    return component_off(shared("a", 1.0, folder), folder)


@component(cache=Cache(enabled=False))
def component_off(value: float, folder: str) -> float:
    _mark(folder, "off")
    return value
