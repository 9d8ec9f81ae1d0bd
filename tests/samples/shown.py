"""A pipeline whose runs the pages show: its steps print, report, wait for files and fail when told to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Literal

from hpo_pipelines import component, pipeline, report


def _mark(folder: str, name: str) -> None:
    if folder:
        with open(os.path.join(folder, "ran"), "a") as file:
            file.write(f"{name}\n")


def ran(folder: Path) -> list[str]:
    """The executions so far, in their order."""
    file = folder / "ran"
    return file.read_text().split() if file.exists() else []


def _wait(folder: str, gate: str) -> None:
    """Until the file ``gate`` of ``folder`` exists, if one is asked for."""
    if gate:
        Path(folder, f"{gate}.began").touch()
        while not Path(folder, gate).exists():
            time.sleep(0.01)


@component
def load(rows: int, folder: str) -> list[list[int]]:
    _mark(folder, "load")
    print(f"loading {rows} rows")
    return [[i, i * i] for i in range(rows)]


@component(outputs=("train", "test"))
def split(data: list[list[int]], share: float, folder: str) -> Any:
    """Two parts."""
    _mark(folder, "split")
    cut = int(len(data) * (1 - share))
    return data[:cut], data[cut:]


@component
def fit(train: list[list[int]], lr: float, model: str, folder: str, gate: str, broken: bool) -> dict[str, float]:
    _mark(folder, f"fit:{lr}")
    print(f"fitting {model} with lr={lr}")
    _wait(folder, gate)
    if broken:
        raise ValueError(f"lr={lr} diverges")
    for epoch in range(4):
        report("auc", 0.9 - (lr - 0.3) ** 2 + epoch * 0.01, step=epoch)
        print(f"epoch {epoch} done")
    return {"lr": lr}


@component
def audit(train: list[list[int]], folder: str) -> int:
    """Depends on nothing that ``fit`` does."""
    _mark(folder, "audit")
    return len(train)


@component
def evaluate(model: dict[str, float], test: list[list[int]], folder: str) -> float:
    _mark(folder, "evaluate")
    return model["lr"] * len(test)


@pipeline(project="shop")
def churn(
    folder: str = "",
    rows: int = 40,
    share: float = 0.25,
    lr: float = 0.1,
    model: Literal["tree", "linear"] = "tree",
    gate: str = "",
    broken: bool = False,
) -> dict[str, Any]:
    print(f"controller says lr={lr}")
    train, test = split(load(rows, folder), share, folder)
    fitted = fit(train, lr, model, folder, gate, broken)
    checked = audit(train, folder)
    score = evaluate(fitted, test, folder)
    print("controller has called everything")
    return {"score": score, "rows": checked}


MARKUP = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@component
def spelled(text: str) -> str:
    print(f"\x1b[31mred\x1b[0m plain {text}")
    for i in range(5):
        print(f"{i * 25}%", end="\r" if i < 4 else "\n")
    report("<b>bold</b>", 1.0)
    return text


@pipeline(project="shop")
def markup(text: str = MARKUP) -> str:
    print(text)
    return spelled(text)


@component
def lines(count: int) -> int:
    for i in range(count):
        print(f"line {i:06d}")
    return count


@pipeline(project="shop")
def talkative(count: int = 5000) -> int:
    return lines(count)


@component
def measured(model: dict[str, float]) -> float:
    report("score", model["x"] * 2)
    return model["x"]


@pipeline(project="shop")
def grouped(model: dict[str, float]) -> float:
    return measured(model)
