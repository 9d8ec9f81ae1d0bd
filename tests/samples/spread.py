"""Pipelines whose steps say where they run, start processes of their own, and stay until they are let go."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from hpo_pipelines import Resources, Retry, component, pipeline, report, result

FAMILY = "HPO_TEST_FAMILY"
"""Variable that marks the processes that a step has started."""

GRANDCHILD = "import time; time.sleep(600)"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GRANDCHILD!r}])"


def here() -> str:
    """The name of the node, and whether the home of its processes is its own."""
    return f"{os.environ.get('HPO_TEST_NODE')} {Path.home().name} {Path(os.environ['HPO_HOME']).parent.name}"


def visit(folder: str, kind: str) -> int:
    """Leave a file that says where this execution is; how many there were before."""
    before = len(list(Path(folder).glob(f"{kind}.*")))
    part = Path(folder, f".{kind}")
    part.write_text(here())
    part.rename(Path(folder, f"{kind}.{time.time_ns()}"))
    return before


def stay(folder: str) -> None:
    while not Path(folder, "go").exists():
        time.sleep(0.02)


@component(resources=Resources(queue="one"))
def on_one(folder: str) -> np.ndarray:
    visit(folder, "on_one")
    print("printed on", here())
    report("size", 3.0)
    return np.arange(300_000)


@component(resources=Resources(queue="two"))
def on_two(numbers: np.ndarray, folder: str) -> int:
    visit(folder, "on_two")
    print("printed on", here())
    report("total", float(numbers.sum()))
    return int(numbers.sum())


@component(cache=False)
def where() -> str:
    return here()


@pipeline(project="samples")
def anywhere(times: int) -> list[str]:
    """Where each of so many steps ran, one after the other."""
    return [result(where()) for _ in range(times)]


@pipeline(project="samples")
def across(folder: str) -> int:
    return on_two(on_one(folder), folder)


@component(resources=Resources(queue="two"))
def capped(number: int, folder: str) -> int:
    visit(folder, f"capped{number}")
    stay(folder)
    return number


@pipeline(project="samples")
def crowded(folder: str) -> list[int]:
    return [result(each) for each in [capped(number, folder) for number in range(3)]]


@component
def lasting(folder: str) -> str:
    visit(folder, "lasting")
    stay(folder)
    return here()


@component
def extended(where: str, x: float) -> str:
    return f"{where} {x:g}"


@pipeline(project="samples")
def shared(folder: str, x: float = 0.0) -> str:
    return extended(lasting(folder), x)


def family(folder: str, family: str) -> None:
    """Start a process that starts a process, both marked by ``family``; stays until it is let go."""
    environment = {**os.environ, FAMILY: family}
    with subprocess.Popen([sys.executable, "-c", CHILD], env=environment):
        visit(folder, "family")
        for epoch in range(6000):
            report("epoch", epoch)
            time.sleep(0.1)


@component(cache=False)
def parents(folder: str, mark: str) -> None:
    family(folder, mark)


@component(cache=False, timeout=3.0)
def hasty_parents(folder: str, mark: str) -> None:
    family(folder, mark)


@pipeline(project="samples")
def grown(folder: str, mark: str, hasty: bool = False) -> Any:
    return hasty_parents(folder, mark) if hasty else parents(folder, mark)


@component(cache=False, resources=Resources(memory="400MB"))
def greedy() -> int:
    block = bytearray(2 * 10**9)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(60)
    return len(block)


@pipeline(project="samples")
def overflowing() -> int:
    return greedy()


@component(resources=Resources(custom={"pair": 1}))
def first(folder: str) -> np.ndarray:
    visit(folder, "first")
    return np.arange(300_000)


@component(resources=Resources(custom={"pair": 1}), retry=Retry(1, backoff=0.1))
def second(numbers: np.ndarray, number: int, folder: str) -> int:
    before = visit(folder, f"second{number}")
    if not before:
        stay(folder)
    return int(numbers[number])


@pipeline(project="samples")
def surviving(folder: str) -> int:
    numbers = first(folder)
    return second(numbers, 1, folder) + second(numbers, 2, folder)


@component(resources=Resources(queue="later"))
def on_later() -> str:
    return here()


@pipeline(project="samples")
def patient() -> str:
    return on_later()


@component(resources=Resources(gpu=1, queue="gpu"))
def on_gpu() -> str:
    return f"on a node with GPU {os.environ['CUDA_VISIBLE_DEVICES']}"


@pipeline(project="samples")
def scaled() -> str:
    return on_gpu()


@component(resources=Resources(queue="tpu"))
def on_tpu() -> str:
    return here()


@pipeline(project="samples")
def unscalable() -> str:
    return on_tpu()
