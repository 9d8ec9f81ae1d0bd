"""A run that is its pipeline several times, with one parameter (a seed) varied: one number for all, with its spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipelines.output import result
from hpo_pipelines.store.chain import counting
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.engine.controller import Controller

STD, CI95 = "std", "ci95"
"""What is appended to a metric's name for its spread: ``fit.auc.std``, ``fit.auc.ci95``."""


@dataclass(frozen=True)
class Repeats:
    """``values`` of ``parameter``, encoded as a run's parameters are: one run inside the run for each, in order."""

    parameter: str
    values: tuple[Any, ...]

    def as_option(self) -> dict[str, list[Any]]:
        """``{"seed": [0, 1, 2]}``, as it is recorded."""
        return {self.parameter: list(self.values)}

    @classmethod
    def of_option(cls, option: Mapping[str, Sequence[Any]] | None) -> Repeats | None:
        """What :meth:`as_option` made; None for nothing."""
        return next((cls(name, tuple(values)) for name, values in (option or {}).items()), None)


@dataclass(frozen=True)
class Spread:
    """Of some numbers: their mean, their sample standard deviation, and half the width of its 95 % interval.

    The interval is Student's for the mean of independent normal values (Student 1908): ``mean ± ci95``. Of one number
    both are NaN.
    """

    mean: float
    std: float
    ci95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError for no values."""
        if not values:
            raise ValueError("no values have no mean")
        mean = math.fsum(values) / len(values)
        if len(values) == 1:
            return cls(mean, math.nan, math.nan)
        from scipy.special import stdtrit  # takes a while to load, and few runs have repeats

        freedom = len(values) - 1
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / freedom)
        return cls(mean, std, float(stdtrit(freedom, 0.975)) * std / math.sqrt(len(values)))


def repeated(outer: Controller, repeats: Repeats, params: Mapping[str, Any]) -> Any:
    """Run the pipeline of ``outer`` inside it, once for each value; what the run is to return, and reports.

    Returned is the mean of the returned numbers, or of each key of the returned dicts that has a number in all. The
    run reports the mean of every metric that all repeats have under the metric's own name, and its spread. The first
    repeat that fails raises, and no later one begins: the mean of those that were left would be another number.
    """
    decode = outer.pipeline.parameters.decode
    values = [
        numbers_in(outer.nested(outer.pipeline, {**params, **decode({repeats.parameter: value})}))
        for value in repeats.values
    ]
    _report(outer, [*_metrics(outer), *_keyed(values)])
    means = {name: Spread.of(each).mean for name, each in _shared(values).items()}
    return means.get("") if "" in means else means or None


def numbers_in(value: Any) -> dict[str, float]:
    """The numbers in what a repeat returned: by key of a dict, the number itself under an empty name."""
    if type(value) is not dict:
        value = {"": value}
    found = {}
    for name, item in value.items():
        plain = result(item)
        if isinstance(name, str) and plain is not None and not isinstance(plain, str | bytes):
            try:
                found[name] = float(plain)
            except (TypeError, ValueError):
                continue
    return found


def _shared(values: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The numbers that all repeats have, by name."""
    names = [name for name in values[0] if all(name in each for each in values)]
    return {name: [each[name] for each in values] for name in names}


def _keyed(values: Sequence[Mapping[str, float]]) -> list[tuple[str, float]]:
    """The spreads of what was returned; the means are the run's own outputs."""
    spreads = {name or "value": Spread.of(each) for name, each in _shared(values).items()}
    return [item for name, spread in spreads.items() for item in _named(name, spread)[1:]]


def _metrics(outer: Controller) -> list[tuple[str, float]]:
    """The mean and the spread of every metric of the repeats."""
    store = outer.engine.store
    inner = [task for task in store.tasks.children(outer.run.id) if task.kind is Kind.PIPELINE]
    repeats = [task.id for task in counting(inner) if task.status is Status.COMPLETED]
    steps = store.tasks.children_of(repeats)
    shared = _shared([store.metrics.named(run, steps[run]) for run in repeats])
    return [item for name, values in shared.items() for item in _named(name, Spread.of(values))]


def _named(name: str, spread: Spread) -> list[tuple[str, float]]:
    return [(name, spread.mean), (f"{name}.{STD}", spread.std), (f"{name}.{CI95}", spread.ci95)]


def _report(outer: Controller, values: Sequence[tuple[str, float]]) -> None:
    outer.report_all([(name, value, 0) for name, value in dict(values).items()])
