"""Bodies with several parameters, for what reaches what."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from samples.bodies import _INSTRUCTIONS, _number, add, number, total

from hpo_pipelines import Cache, component, pipeline, result


class Mode(Enum):
    PLAIN = "plain"
    DOUBLE = "double"


@component
def take(value: Any, other: Any = None) -> int:
    return len(str(value))


@component(cache=Cache(ignore=("verbose",)))
def quiet(x: int, verbose: int = 0) -> int:
    return x


def _is_large(x: Any) -> bool:
    return bool(x > 4)


def _is_one(x: Any) -> bool:
    return x is ONE


ONE = 1


def _indexed(at: list[Any]) -> Any:
    return take([10, 20, 30][_number(at[0]) % 3], at[1])


def _ranged(at: list[Any]) -> Any:
    return total([number(i) for i in range(_number(at[0]) % 3)])


def _table(at: list[Any]) -> Any:
    return {0: number(_number(at[1])), 1: take("one"), 2: _number(at[1])}[_number(at[0]) % 3]


def _default(at: list[Any]) -> Any:
    return add(_number(at[0]) or _number(at[1]), 1)


def _least(at: list[Any]) -> Any:
    return take(min(_number(at[0]), 4), max([_number(at[1]), 3]))


def _mutated(at: list[Any]) -> Any:
    xs = [1]
    xs.append(_number(at[0]))
    if len(xs) * _number(at[1]) > 8:
        xs.append(2)
    return total(xs)


def _dictionary(at: list[Any]) -> Any:
    options = {"a": _number(at[0]), **({"b": 1} if _number(at[1]) % 2 else {})}
    return take(options)


MORE: dict[str, Callable[[list[Any]], Any]] = {
    "plain": lambda at: add(at[0] if isinstance(at[0], int) else 1, 2),
    "text_of": lambda at: take(f"x{_number(at[0]):>3}"),
    "format": lambda at: take("x{}".format(_number(at[0]))),  # noqa: UP032 - that is what it is for
    "percent": lambda at: take("%d" % _number(at[0])),  # noqa: UP031
    "json": lambda at: take(json.dumps([int(_number(at[0]))])),
    "root": lambda at: take(math.sqrt(abs(_number(at[0])))),
    "whole": lambda at: take(int(_number(at[0]) / 2), float(_number(at[1]))),
    "indexed": _indexed,
    "ranged": _ranged,
    "table": _table,
    "helper": lambda at: number(1) if _is_large(_number(at[0])) else take("small"),
    "identity": lambda at: number(1) if _is_one(_number(at[0])) else take("other"),
    "type": lambda at: take(type(result(at[0])).__name__),
    "or": _default,
    "least": _least,
    "mutated": _mutated,
    "dictionary": _dictionary,
    "quiet": lambda at: quiet(_number(at[0]), verbose=_number(at[1])),
    "hash": lambda at: take(len({_number(at[0]), 3})),
    "contains": lambda at: number(2) if _number(at[0]) in (1, 2, 3) else number(3),
    "kept": lambda at: _number(at[0]) + 1,
    "constant": lambda at: number(7),
    "array": lambda at: take(list(np.arange(3) * _number(at[0]) + np.float64(_number(at[1])))),
}
CALLS = (*_INSTRUCTIONS, *MORE)


@pipeline(project="samples")
def many(program: list[Any], a: int = 1, b: int = 2, c: int = 3, on: bool = True, mode: Mode = Mode.PLAIN) -> Any:
    """``program`` on a growing list of values that begins with the parameters."""
    values: list[Any] = [a, b, c]
    if mode is Mode.DOUBLE:
        values[2] = values[2] * 2
    for name, *places in program:
        at = [values[place % len(values)] for place in places]
        values.append(MORE[name](at) if name in MORE else _INSTRUCTIONS[name](at, places))
    if on:
        values.append(take(f"{a}-{b}", 2))
    return len(values)


@dataclass
class Options:
    depth: int = 2
    rate: float = 0.5


@component
def load(rows: int, name: str = "") -> int:
    return rows


@component
def shrink(data: int, k: int) -> int:
    return min(data, k)


@component
def fit(data: int, lr: float, options: Any = None) -> float:
    return data * lr


@component
def evaluate(model: float) -> float:
    return round(model, 6)


@component
def fetch(rows: int) -> int:
    time.sleep(0.05)  # what a sampler that weighs seconds finds worth keeping
    return rows


@pipeline(project="samples")
def chain(rows: int = 10, k: int = 3, lr: float = 0.5, pca: bool = True, tag: str = "a") -> float:
    print("rows", rows, f"and {lr}")
    data = load(rows * 2)
    if pca:
        data = shrink(data, k + 1)
    model = fit(data, math.sqrt(lr), {"name": f"run-{tag}"})
    return float(evaluate(model))


@pipeline(project="samples")
def costly(rows: int = 10, k: int = 3, lr: float = 0.5) -> float:
    return float(fit(shrink(fetch(rows), k), lr))


@pipeline(project="samples")
def stubborn(lr: float = 0.5, rows: int = 3) -> Any:
    """Refuses a value that is no float, and catches that."""
    try:
        text = json.JSONEncoder().encode({"lr": lr})
    except TypeError:
        text = "none"
    return fit(load(rows), 0.5, text)


@pipeline(project="samples")
def configured(options: Options = Options(), layers: list[int] | None = None, rows: int = 3) -> Any:  # noqa: B008
    data = load(rows)
    for size in layers or []:
        data = shrink(data, size)
    return fit(data, options.rate, options)


@pipeline(project="samples")
def inner(rows: int = 3) -> int:
    return shrink(load(rows), 2)


@pipeline(project="samples")
def outer(a: int = 1, b: int = 2) -> int:
    return shrink(inner(rows=a + 1), b)


@pipeline(project="samples")
def looping(goal: int = 5, step: int = 1, rows: int = 2) -> int:
    data = load(rows)
    reached_so_far = 0
    while data < goal:
        reached_so_far += step
        data = shrink(data, reached_so_far)
    return data


@pipeline(project="samples")
def catching(rows: int = 2) -> int:
    data = load(rows)
    try:
        return [10, 20, 30][data]
    except:  # noqa: E722 - that is what it is for
        return shrink(data, 1)


@pipeline(project="samples")
def checked(rows: int = 2, k: int = 3) -> int:
    if rows < 1:
        raise ValueError(f"{rows} rows are too few")
    data = load(rows)
    assert k < 1000
    return shrink(data, k)


@pipeline(project="samples")
def numeric(n: int = 3, lr: float = 0.1, name: str = "a") -> int:
    grid = np.arange(n) * lr
    data = load(n, "%s-%s" % (name, "x"))  # noqa: UP031 - that is what it is for
    return fit(shrink(data, int(np.log10(lr) * -10)), 0.5, (grid, "{}".format(name), "-".join([name, "y"])))  # noqa: UP032
