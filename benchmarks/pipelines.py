"""The pipelines that are measured, and the same work as plain functions."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

from hpo_pipelines import component, pipeline, report

ROWS = 2_500_000
"""Rows of ten float columns: 200 MB."""


@component(cache=False)
def noop(x: float) -> float:
    return x + 1


@pipeline(project="benchmarks")
def chain(x: float = 0.0) -> float:
    for _ in range(5):
        x = noop(x)
    return x


@pipeline(project="benchmarks")
def fan_out(width: int = 100) -> int:
    return len([noop(float(index)) for index in range(width)])


@component
def kept(x: float) -> float:
    return x + 1


@pipeline(project="benchmarks")
def reused(x: float = 0.0) -> float:
    for _ in range(5):
        x = kept(x)
    return x


@component(cache=False)
def first(x: float) -> float:
    return x


@component(cache=False)
def second(x: float) -> float:
    return x


@component(cache=False)
def third(x: float) -> float:
    report("loss", (x - 0.3) ** 2)
    return (x - 0.3) ** 2


@pipeline(project="benchmarks")
def trial(x: float = 0.0) -> float:
    return third(second(first(x)))


LOAD, PREPARE, TRAIN = 1.0, 0.5, 0.1
"""Seconds that the steps of ``sharing`` take."""


@component
def load(salt: int) -> int:
    time.sleep(LOAD)
    return salt


@component
def prepare(data: int, way: str) -> str:
    time.sleep(PREPARE)
    return f"{data} {way}"


@component
def train(prepared: str, x: float) -> float:
    time.sleep(TRAIN)
    report("loss", (x - 0.3) ** 2)
    return x


@pipeline(project="benchmarks")
def sharing(salt: int = 0, way: str = "a", x: float = 0.0) -> float:
    return train(prepare(load(salt), way), x)


def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame({f"c{index}": generator.standard_normal(ROWS) for index in range(10)})


@component(cache=False)
def make() -> pd.DataFrame:
    return frame()


@component(cache=False)
def touch(data: pd.DataFrame) -> pd.DataFrame:
    data["c0"] += 1
    return data


@pipeline(project="benchmarks")
def big() -> pd.DataFrame:
    return touch(touch(touch(make())))


@component(cache=False)
def wait_for(gate: str) -> float:
    while not Path(gate).exists():
        time.sleep(0.05)
    return 0.0


@pipeline(project="benchmarks")
def held(gate: str) -> float:
    """Its body waits for a value until the file ``gate`` is there."""
    return float(wait_for(gate)) + 1.0
