"""Decorated bodies that mypy --strict and pyright must accept as they stand; checked by tests/test_typing.py."""

from __future__ import annotations

from dataclasses import dataclass

from hpo_pipelines import Cache, Resources, Retry, component, pipeline, report, result


@dataclass
class Model:
    weight: float


@component
def load(path: str) -> list[float]:
    return [float(len(path))]


@component(outputs=("train", "test"))
def split(data: list[float], seed: int) -> tuple[list[float], list[float]]:
    return data, data


@component(resources=Resources(cpu=2), retry=Retry(2), timeout="10min", cache=Cache(ttl="7d"))
def fit(train: list[float], lr: float, *, epochs: int = 1) -> Model:
    for epoch in range(epochs):
        report("auc", lr * epoch, step=epoch)
    return Model(lr)


@component
def evaluate(model: Model, test: list[float]) -> float:
    return model.weight + sum(test)


@pipeline(project="typed")
def trained(path: str = "data.csv", lr: float = 0.1, target: float = 0.9) -> dict[str, float]:
    train, test = split(load(path), seed=7)
    model = fit(train, lr, epochs=2)
    auc = evaluate(model, test)
    while auc < target:
        lr *= 2
        auc = evaluate(fit(train, lr), test)
    several: list[Model] = fit.map([train, test], lr=0.1)
    best = max(several, key=lambda one: one.weight)
    return {"auc": auc, "weight": result(best).weight}


value: dict[str, float] = trained(lr=0.2)
