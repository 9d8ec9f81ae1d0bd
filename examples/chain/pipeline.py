"""Two pipelines of two teams, each with steps that somebody else may want."""

from __future__ import annotations

from hpo_pipelines import component, pipeline, report


@component(outputs=("train", "test"))
def prepare(size: int = 200, holdout: float = 0.25) -> tuple[list[float], list[float]]:
    values = [(7919 * index % 1000) / 1000 for index in range(size)]
    cut = int(size * (1 - holdout))
    report("rows", cut)
    return values[:cut], values[cut:]


@component
def fit(train: list[float], shrink: float = 0.0, note: str = "") -> float:
    model = sum(train) / (len(train) + shrink)
    report("mean", model)
    return model


@component
def judge(model: float, test: list[float]) -> float:
    error = sum(abs(value - model) for value in test) / len(test)
    report("error", error)
    return error


@pipeline(project="examples")
def prepare_data(size: int = 200) -> list[float]:
    train, _ = prepare(size)
    return train


@pipeline(project="examples")
def first_try(size: int = 40, shrink: float = 1.0) -> float:
    train, test = prepare(size)
    return judge(fit(train, shrink), test)
