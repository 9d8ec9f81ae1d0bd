"""Pipelines for studies with several objectives, constraints, stop rules, pruning and repeats."""

from __future__ import annotations

from pathlib import Path

from hpo_pipelines import component, pipeline, report


@component
def fitted(x: float, y: float) -> float:
    """The greater ``x``, the better and the larger; ``y`` only makes it larger."""
    report("auc", x)
    report("size", 10 * x + y)
    return x


@pipeline(project="samples")
def weighed(x: float = 0.5, y: float = 0.0) -> dict[str, float]:
    return {"kept": float(fitted(x, y)), "excess": y}


@pipeline(project="samples")
def around(x: float = 0.5, y: float = 0.0) -> float:
    """Runs :func:`weighed` twice inside."""
    weighed(x, 1.0)
    return weighed(x / 2, y)["kept"]


@component
def half(x: float) -> float:
    if x < 0:
        raise ValueError(f"{x} is below 0")
    return x / 2


@pipeline(project="samples")
def halved(x: float = 1.0) -> float:
    return half(x)


@component
def prepared(folder: str) -> int:
    with Path(folder, "prepared").open("a") as file:
        file.write("once\n")
    return 1


@component(cache=False)
def checked(base: int, x: float) -> float:
    """A cheap look, whose result tells what the expensive one will."""
    report("auc", x)
    return x


@component(cache=False)
def trained(checked: float, folder: str) -> float:
    with Path(folder, "trained").open("a") as file:
        file.write(f"{checked}\n")
    for epoch in range(3):
        report("score", checked * (epoch + 1), step=epoch)
    report("cost", 1 - checked)
    return checked


@pipeline(project="samples")
def staged(folder: str, x: float = 0.5) -> float:
    return trained(checked(prepared(folder), x), folder)


@component(cache=False)
def drawn(base: int, x: float, seed: int, folder: str) -> float:
    if x < 0 and seed == 2:
        raise ValueError(f"seed {seed} fails")
    with Path(folder, "drawn").open("a") as file:
        file.write(f"{x} {seed}\n")
    report("auc", x + 0.1 * seed)
    report("seed", seed)
    return x + 0.1 * seed


@pipeline(project="samples")
def seeded(folder: str, x: float = 0.5, seed: int = 0) -> dict[str, float]:
    return {"auc": drawn(prepared(folder), x, seed, folder), "x": x}


@component(cache=False)
def grown(base: int, x: float, rows: int, folder: str) -> float:
    """The more ``rows``, the better, and the greater ``x``, the better."""
    if x >= 13 and rows > 10 and not Path(folder, "cured").exists():
        raise ValueError("too many rows for 13") if x == 13 else KeyboardInterrupt
    with Path(folder, "grown").open("a") as file:
        file.write(f"{x:g} {rows}\n")
    report("auc", x * rows)
    return x * rows


@pipeline(project="samples")
def rising(folder: str, x: float = 0.5, rows: int = 7) -> dict[str, float]:
    return {"auc": grown(prepared(folder), x, rows, folder), "x": x}


@pipeline(project="samples")
def shares(share: float, x: float = 0.5) -> float:
    return half(half(x * share))
