"""Which samples satisfy the constraints of a space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from search_spaces import dependencies
from search_spaces.constraints import Constraint
from search_spaces.dependencies import Distributions
from search_spaces.distributions import Distribution, Fixed, Float, Int
from search_spaces.errors import SpaceError
from search_spaces.place import Place
from search_spaces.values import nearest

_MOST_EXAMPLES = 1000


def check_constraints(constraints: Mapping[Constraint, Place], distributions: Distributions) -> None:
    """Raises SpaceError for a constraint on an unknown parameter, and for one whose types do not fit together."""
    for constraint, place in constraints.items():
        for name in constraint.names:
            if name not in distributions:
                raise place.error(
                    f"a constraint names parameters of the space; {name!r} in {constraint.text!r} is none."
                    f"{nearest(name, distributions)} Parameters: {', '.join(distributions)}."
                )
        with place.locating():
            for values in _examples(constraint, distributions):
                constraint.holds(values)


def _examples(constraint: Constraint, distributions: Distributions) -> Iterator[dict[str, Any]]:
    """Combinations of the bounds and choices of its parameters, those that their conditions among them allow."""
    names = constraint.names
    found = [distributions[name].examples() for name in names]
    for combination in itertools.islice(itertools.product(*found), _MOST_EXAMPLES):
        values = dict(zip(names, combination, strict=True))
        if all(_allowed(distributions[name], values, distributions) for name in names):
            yield values


def _allowed(distribution: Distribution, values: Mapping[str, Any], distributions: Distributions) -> bool:
    for parent, allowed in distribution.when.items():
        cell = distributions[parent].cell
        if parent in values and cell(values[parent]) not in map(cell, allowed):
            return False
    return True


def violated(
    constraints: Mapping[Constraint, Place], distributions: Distributions, params: Mapping[str, Any]
) -> list[str]:
    """The texts of the constraints, those about inactive parameters left out, that ``params`` does not satisfy."""
    found = []
    for constraint in constraints:
        if all(dependencies.is_active(name, params, distributions) for name in constraint.names):
            values = {name: _value(name, params, distributions) for name in constraint.names}
            if not constraint.holds(values):
                found.append(constraint.text)
    return found


def _value(name: str, params: Mapping[str, Any], distributions: Distributions) -> Any:
    if name in params:
        return params[name]
    distribution = distributions[name]
    if isinstance(distribution, Fixed):
        return distribution.value
    raise SpaceError(f"{name} is active and has no value: a constraint is about it.", path=(name,))


def samples(
    constraints: Mapping[Constraint, Place], distributions: Distributions, points: int | None = None
) -> Iterator[dict[str, Any]]:
    """Every feasible sample of active parameters, the last in the order of sampling changing fastest.

    A continuous range has ``points`` values. Raises SpaceError for one if that is ``None``.
    """
    for name, distribution in distributions.items():
        if distribution.size() is None and points is None:
            raise SpaceError(f"{name} is continuous, {distribution!r}: give it a step or choices.", path=(name,))
    ordered = dependencies.order(distributions)

    def extended(index: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if index == len(ordered):
            if not violated(constraints, distributions, values):
                yield values
            return
        name = ordered[index]
        if not dependencies.is_active(name, values, distributions):
            yield from extended(index + 1, values)
            return
        for value in values_of(distributions[name], points or 1):
            yield from extended(index + 1, {**values, name: value})

    return extended(0, {})


def values_of(distribution: Distribution, points: int) -> Iterator[Any]:
    """Every value of a finite distribution in its order; of a continuous range ``points``, evenly, with its ends."""
    if isinstance(distribution, Int):
        yield from range(distribution.low, distribution.high + 1, distribution.step)
    elif isinstance(distribution, Float) and distribution.size() is None:
        yield from _even(distribution, points)
    elif isinstance(distribution, Float):
        for index in range(distribution.size() or 0):
            value = distribution.low + index * (distribution.step or 0.0)
            yield distribution.high if math.isclose(value, distribution.high) else value
    else:
        yield from distribution.examples()


def _even(distribution: Float, points: int) -> Iterator[float]:
    low, high = distribution.low, distribution.high
    if distribution.log:
        low, high = math.log(low), math.log(high)
    for index in range(points):
        share = index / (points - 1) if points > 1 else 0.5
        value = low + share * (high - low)
        # The ends bit for bit: exp(log(x)) is not x.
        ends = {0.0: distribution.low, 1.0: distribution.high}
        yield ends[share] if share in ends else math.exp(value) if distribution.log else value


def draw(distributions: Distributions, random: Random) -> dict[str, Any]:
    """One sample of active parameters, whatever the constraints, each value drawn as its distribution says."""
    values: dict[str, Any] = {}
    for name in dependencies.order(distributions):
        if dependencies.is_active(name, values, distributions):
            values[name] = _drawn(distributions[name], random)
    return values


def _drawn(distribution: Distribution, random: Random) -> Any:
    if not isinstance(distribution, Float | Int):
        return random.choice(distribution.examples())
    if distribution.log:
        # An integer owns half a unit on each side.
        margin = 0.5 if isinstance(distribution, Int) else 0.0
        low, high = distribution.low - margin, distribution.high + margin
        value = math.exp(random.uniform(math.log(low), math.log(high)))
        value = min(max(value, distribution.low), distribution.high)
        return round(value) if isinstance(distribution, Int) else value
    if isinstance(distribution, Int):
        return random.randrange(distribution.low, distribution.high + 1, distribution.step)
    if distribution.step is None:
        return random.uniform(distribution.low, distribution.high)
    step = random.randrange(distribution.size() or 1)
    return min(distribution.low + step * distribution.step, distribution.high)
