"""Pipelines whose steps are chained anew, and what their steps leave behind."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_pipelines import Cache, component, pipeline, report, retrigger


@dataclass
class Table:
    rows: list[int]


@dataclass
class Config:
    depth: int = 3
    names: list[str] = field(default_factory=lambda: ["a"])


@component(outputs=("train", "test"))
def prep(size: int, columns: tuple[str, ...] = ("a", "b")) -> tuple[Table, Table]:
    report("rows", size)
    return Table(list(range(size))), Table([1, 2])


@component
def fit(train: Table, lr: float = 0.1, note: str = "") -> float:
    print("note", note)
    report("auc", len(train.rows) * lr)
    return len(train.rows) * lr


@component
def evaluate(model: float, test: Table) -> float:
    return model / len(test.rows)


@component
def tell(folder: str, text: str) -> None:
    Path(folder, f"told.{time.time_ns()}").write_text(text)


@component
def configured(config: Config, weights: dict[str, float], big: list[int]) -> int:
    return config.depth + len(weights) + len(big)


@component(cache=Cache(enabled=False))
def unkeyed(x: int, label: str = "l", anything: Any = None) -> int:
    return x


@component
def stumbles(folder: str) -> int:
    if not Path(folder, "mended").exists():
        raise ValueError("not mended")
    return 7


@component
def meets(folder: str, mine: str, other: str) -> str:
    """Ends when the other one has begun."""
    Path(folder, mine).touch()
    deadline = time.monotonic() + 60
    while not Path(folder, other).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(other)
        time.sleep(0.005)
    return mine


@pipeline(project="retention")
def churn(size: int = 10, lr: float = 0.1) -> dict[str, Any]:
    train, test = prep(size)
    model = fit(train, lr)
    return {"auc": evaluate(model, test), "model": model}


@pipeline(project="retention")
def others(folder: str) -> int:
    tell(folder, "first")
    configured(Config(5), {"a": 1.0}, [1, 2])
    unkeyed(1)
    return stumbles(folder)


@pipeline(project="retention")
def meeting(folder: str) -> list[str]:
    return [meets(folder, "a", "a"), meets(folder, "b", "b")]


@pipeline(project="retention")
def met(folder: str, mine: str, other: str) -> str:
    return meets(folder, mine, other)


@pipeline
def cooled(lr: float = 0.8) -> float:
    """Asks for another attempt once."""
    model = fit(Table([1]), lr)
    if lr > 0.5:
        retrigger(lr=lr / 2)
    return model
