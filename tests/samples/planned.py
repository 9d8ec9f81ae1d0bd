"""Bodies for plans: few looks, equal values by many ways, everything that a verdict depends on."""

from __future__ import annotations

from typing import Any

import numpy as np

from hpo_pipelines import Cache, component, pipeline, result


@component
def number(x: int) -> int:
    return x % 3


@component
def add(x: int, y: int = 1) -> int:
    return (x + y) % 4


@component(cache=False)
def unkept(x: int) -> int:
    return x % 2


@component
def listed(x: int) -> list[int]:
    return list(range(x % 3))


@component
def total(xs: Any) -> int:
    return sum(sum(x) if isinstance(x, list) else x for x in xs)


@component(outputs=("low", "high"))
def halves(x: int) -> tuple[int, int]:
    return x // 2, x - x // 2


@component
def refuse(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


@component
def odd(x: Any) -> int:
    return len(list(x))


@component(cache=Cache(ignore=("verbose",)))
def talkative(x: int, verbose: bool = False) -> int:
    return x % 3


@pipeline(project="samples")
def inside(x: int = 1) -> int:
    return add(number(x), 2)


CALLS = {
    "number": lambda a, b: number(a),
    "add": lambda a, b: add(a, b),
    "unkept": lambda a, b: unkept(a),
    "listed": lambda a, b: total([listed(a), b]),
    "total": lambda a, b: total([a, b, 1]),
    "halves": lambda a, b: add(*halves(a)),
    "refuse": lambda a, b: refuse(a),
    "odd": lambda a, b: odd(iter([1, 2])),
    "talkative": lambda a, b: talkative(a, verbose=isinstance(b, int)),
    "look": lambda a, b: int(result(a)) % 3,
    "branch": lambda a, b: add(a, 1) if a > b else number(b),
    "inside": lambda a, b: inside(x=a),
    "map": lambda a, b: total(add.map([0, 1, b], y=a)),
}


@pipeline(project="samples")
def program(lines: list[Any], start: int = 1) -> Any:
    """Each line is a call and the places of its two arguments among the values so far."""
    values: list[Any] = [start, 0]
    for call, first, second in lines:
        values.append(CALLS[call](values[first % len(values)], values[second % len(values)]))
    return values[-1]


@component
def weigh(table: Any, x: int) -> float:
    return float(np.sum(table)) + x


@pipeline(project="samples")
def heavy(x: int = 1) -> float:
    return weigh(np.arange(20_000.0), x)


@pipeline(project="samples")
def raising(x: int = 1) -> int:
    print("the body says something")
    y = number(x)
    if x == 2:
        raise LookupError("two is too many")
    return y


@pipeline(project="samples")
def stubborn(x: int = 1) -> int:
    y = number(x)
    try:
        return int(y)
    except:  # noqa: E722 - that is what it is for
        return add(x, 1)


@pipeline(project="samples")
def twice(x: int = 1) -> int:
    return total([number(x), number(x), add(x)])
