"""Bodies that hypothesis writes: a program is a list of instructions on a growing list of values.

Every execution of a component leaves a line in the file ``log``; the execution that the file ``<log>.fuse`` names by
its number raises :class:`Blown`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hypothesis import Phase
from hypothesis import strategies as st

from hpo_pipelines import component, pipeline, report, result


class Refused(ValueError):
    """What programs catch."""

    def __init__(self, value: int) -> None:
        super().__init__(f"refused {value}")
        self.value = value


class Blown(Exception):
    """What programs do not catch."""


def mark(log: str, line: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)
    fuse = Path(f"{log}.fuse")
    if fuse.exists() and int(fuse.read_text()) == len(Path(log).read_text().splitlines()):
        raise Blown(line)


class Log:
    """The executions of some runs, by the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = 0

    def __str__(self) -> str:
        return str(self.path)

    def new(self) -> list[str]:
        """The executions since the last look, in their order."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        new, self._seen = lines[self._seen :], len(lines)
        return new

    def blow(self, number: int | None) -> None:
        """Let execution ``number``, counted from 1, raise; None: let all succeed."""
        fuse = Path(f"{self.path}.fuse")
        fuse.unlink(missing_ok=True)
        if number is not None:
            fuse.write_text(str(number))


def is_kept(line: str) -> bool:
    """Whether the outcome of this execution is recorded under its key."""
    name, _, argument = line.removesuffix(")").partition("(")
    return name != "own" and not (name == "refuse" and int(argument) % 2)


def once(lines: list[str]) -> list[str]:
    """``lines`` as reuse leaves them inside one run: what is kept, once."""
    return [line for index, line in enumerate(lines) if not (is_kept(line) and line in lines[:index])]


# -- components


@component
def plus(x: int, y: int, log: str) -> int:
    mark(log, f"plus({x}, {y})")
    return x + y


@component
def total(xs: Any, log: str) -> int:
    mark(log, f"total({xs})")
    return sum(flat(xs))


def flat(xs: Any) -> list[int]:
    if isinstance(xs, dict):
        return [item for value in xs.values() for item in flat(value)]
    if isinstance(xs, list | tuple):
        return [item for value in xs for item in flat(value)]
    if isinstance(xs, Pair):
        return [*flat(xs.left), *flat(xs.right)]
    return [int(xs)]


@component(outputs=("low", "high"))
def halves(x: int, log: str) -> tuple[int, int]:
    mark(log, f"halves({x})")
    return x // 2, x - x // 2 + 100


@component
def listed(x: int, log: str) -> list[int]:
    mark(log, f"listed({x})")
    return list(range(abs(x) % 5))


@component
def measured(x: int, log: str) -> int:
    mark(log, f"measured({x})")
    for epoch in range(abs(x) % 3):
        report("loss", x + epoch / 10)
    report("size", abs(x), step=7)
    return x + 1


@component(cache=False)
def own(x: int, log: str) -> int:
    """Computed anew whatever is known."""
    mark(log, f"own({x})")
    report("own", x)
    return x - 1


@component
def refuse(x: int, log: str) -> int:
    mark(log, f"refuse({x})")
    if x % 2:
        raise Refused(x)
    return x


@component
def wide(x: int, log: str) -> bytes:
    """Too long to be kept inside the store."""
    mark(log, f"wide({x})")
    return f"{x:4}".encode() * 5000


@component
def sized(data: bytes, log: str) -> int:
    mark(log, f"sized({len(data)})")
    return len(data)


@component
def described(value: Any, log: str) -> str:
    """The value with its type, so that ``1`` and ``1.0`` give two texts."""
    mark(log, f"described({value!r})")
    return f"{type(value).__name__} {value!r}"


@dataclass(frozen=True)
class Pair:
    left: Any
    right: Any


# -- instructions


def number(value: Any) -> int:
    """``value`` if it is a number, looked at; its size otherwise."""
    return value if isinstance(value, int) else len(value)


def branch(x: Any, y: Any, log: str) -> Any:
    return plus(number(x), 10, log) if number(x) > number(y) else own(number(y), log)


def loop(x: Any, y: Any, log: str) -> Any:
    value, rounds = own(number(x) % 7, log), 0
    while value < 5 and rounds < 4:
        value = plus(value, 2, log)
        rounds += 1
        report("rounds", rounds)
    return value


def caught(x: Any, y: Any, log: str) -> Any:
    try:
        return refuse(number(x), log) + 0
    except Refused as error:
        return f"{error}/{error.value}"


def caught_downstream(x: Any, y: Any, log: str) -> Any:
    try:
        return int(plus(refuse(number(x), log), number(y), log))
    except Refused as error:
        return f"downstream of {error}, an {ValueError.__name__ if isinstance(error, ValueError) else 'error'}"


def nested_containers(x: Any, y: Any, log: str) -> Any:
    one, two = own(number(x), log), plus(number(y), 0, log)
    return total({"a": [one, (two,)], "b": 3, "c": Pair(one, [{"d": two}])}, log)


def swapped(x: Any, y: Any, log: str) -> Any:
    low, high = halves(number(x), log)
    return plus(high, total([low, low], log), log)


def grown(x: Any, y: Any, log: str) -> Any:
    xs = listed(number(x), log)
    xs.append(4)
    return total(xs, log)


def fanned(x: Any, y: Any, log: str) -> Any:
    return total([plus(i, number(x) % 5, log) for i in (1, 2, 1)], log)


def within(x: Any, y: Any, log: str) -> Any:
    return plus(inner(x=number(x) % 6, log=log), 1, log)


def said(x: Any, y: Any, log: str) -> Any:
    report("said", number(x))
    return measured(number(x), log) + number(y)


INSTRUCTIONS: dict[str, Callable[[Any, Any, str], Any]] = {
    "arithmetic": lambda x, y, log: (number(x) * 2 - number(y)) % 17,
    "chain": lambda x, y, log: plus(measured(plus(number(x) % 11, 1, log), log), number(y), log),
    "text": lambda x, y, log: f"{own(number(x), log):04d}",
    "fan": fanned,
    "swap": swapped,
    "branch": branch,
    "loop": loop,
    "caught": caught,
    "downstream": caught_downstream,
    "containers": nested_containers,
    "grow": grown,
    "within": within,
    "said": said,
    "wide": lambda x, y, log: plus(len(wide(number(x) % 9, log)), number(y), log),
}

_instruction = st.tuples(st.sampled_from(sorted(INSTRUCTIONS)), st.integers(0, 9), st.integers(0, 9)).map(list)
programs = st.lists(_instruction, min_size=1, max_size=5)

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Of hypothesis; examples are small as they are, and shrinking takes minutes where each is a handful of runs."""


def interpret(program: list[Any], start: int, log: str) -> list[Any]:
    values: list[Any] = [start]
    for name, i, j in program:
        values.append(INSTRUCTIONS[name](values[i % len(values)], values[j % len(values)], log))
    return [value if isinstance(value, str) else result(value) for value in values]


@pipeline(project="laws")
def inner(x: int, log: str) -> int:
    report("entered", x)
    first = own(x, log)
    return plus(first, measured(x, log), log) if first > 2 else measured(first, log)


@pipeline(project="laws")
def generated(program: list[Any], log: str, start: int = 1) -> list[Any]:
    return interpret(program, start, log)


@pipeline(project="laws")
def passed_on(x: int, log: str, looked: bool = False) -> list[int]:
    """Passes what steps gave on as it is, or as the values that it is: numbers, and bytes in a file."""
    y, (low, high), long = own(x, log), halves(x, log), wide(x, log)
    if looked:
        y, low, high, long = result(y), result(low), result(high), result(long)
    return [result(value) for value in (plus(y, low, log), total(high, log), sized(long, log))]


class Mode(Enum):
    PLAIN = "plain"
    DOUBLE = "double"


@dataclass(frozen=True)
class Config:
    depth: int = 1
    rate: float = 0.5


@pipeline(project="laws")
def typed(
    program: list[Any],
    log: str,
    start: int = 1,
    rate: float = 1.0,
    on: bool = False,
    mode: Mode = Mode.PLAIN,
    name: str = "1",
    limit: int | None = None,
    weights: dict[str, float] | None = None,
    config: Config = Config(),
) -> list[Any]:
    """Every kind of parameter, each told with its type."""
    told = [described(value, log) for value in (rate, on, mode, name, limit, weights, config)]
    return [*interpret(program, start * (2 if mode is Mode.DOUBLE else 1), log), *map(str, told)]
