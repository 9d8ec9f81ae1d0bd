"""Pipelines whose bodies do everything that a body may do, for tests on every executor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_pipelines import Cache, Resources, Retry, StepFailed, component, pipeline, report, result


class Refused(Exception):
    """The user's own exception class."""

    def __init__(self, value: int) -> None:
        super().__init__(f"refused {value}")
        self.value = value


@component
def number(x: int) -> int:
    return x


@component
def add(x: int, y: int = 1) -> int:
    return x + y


@component
def total(xs: Any) -> int:
    return sum(flat(xs))


def flat(xs: Any) -> list[int]:
    if isinstance(xs, dict):
        return [item for value in xs.values() for item in flat(value)]
    if isinstance(xs, list | tuple):
        return [item for value in xs for item in flat(value)]
    return [int(xs)]


@component(outputs=("low", "high"))
def split(xs: list[int], at: int) -> tuple[list[int], list[int]]:
    return [x for x in xs if x < at], [x for x in xs if x >= at]


@component
def listed(x: int) -> list[int]:
    return list(range(abs(x) % 5))


@component
def refuse(x: int) -> int:
    if x % 2:
        raise Refused(x)
    return x


@dataclass(frozen=True)
class Held:
    left: Any
    right: Any


@component
def held_sum(held: Held) -> int:
    return int(held.left) + sum(flat(held.right))


@component
def fit(data: int, epochs: int) -> int:
    for epoch in range(epochs):
        report("auc", data * 0.1 + epoch / 10)
    return data + epochs


@pipeline(project="samples")
def simple(x: int = 1, y: int = 2) -> int:
    return add(number(x), y)


@pipeline(project="samples")
def training(x: int = 1, epochs: int = 2) -> dict[str, Any]:
    model = fit(number(x), epochs)
    while model < 5 and epochs < 10:
        epochs += 2
        model = fit(number(x), epochs)
    print("the body says", model)
    return {"model": model, "epochs": epochs}


@pipeline(project="samples")
def interpreted(program: list[Any], start: int = 1) -> Any:
    """Runs ``program``, a list of instructions on a growing list of values; see tests/engine/test_law.py."""
    return interpret(program, start)


def interpret(program: list[Any], start: int) -> Any:
    values: list[Any] = [start]
    for instruction in program:
        name, *arguments = instruction
        at = [values[index % len(values)] for index in arguments if isinstance(index, int)]
        values.append(_INSTRUCTIONS[name](at, arguments))
    return [value if isinstance(value, str) else result(value) for value in values]


def _number(value: Any) -> Any:
    """``value`` if it is a number, looked at; its size otherwise."""
    return value if isinstance(value, int) else len(value)


def _branch(at: list[Any], arguments: list[Any]) -> Any:
    return add(_number(at[0]), 10) if _number(at[0]) > _number(at[1]) else number(_number(at[1]))


def _loop(at: list[Any], arguments: list[Any]) -> Any:
    x = number(_number(at[0]) % 7)
    rounds = 0
    while x < 5 and rounds < 4:
        x = add(x, 2)
        rounds += 1
    return x


def _caught(at: list[Any], arguments: list[Any]) -> Any:
    try:
        return refuse(_number(at[0])) + 0
    except Refused as error:
        return f"{error}/{error.value}"


def _caught_downstream(at: list[Any], arguments: list[Any]) -> Any:
    try:
        return int(add(refuse(_number(at[0])), 1))
    except Refused as error:
        return f"downstream of {error}"


def _nested(at: list[Any], arguments: list[Any]) -> Any:
    one, two = number(_number(at[0])), number(_number(at[1]))
    return total({"a": [one, (two,)], "b": 3, "c": [{"d": one}]})


def _grow(at: list[Any], arguments: list[Any]) -> Any:
    xs = listed(_number(at[0]))
    xs.append(4)
    xs += [5]
    return total(xs)


_INSTRUCTIONS: dict[str, Any] = {
    "add": lambda at, _: add(_number(at[0]), 3),
    "chain": lambda at, _: add(add(number(_number(at[0]) % 11), 1), 2),
    "arith": lambda at, _: (_number(at[0]) * 2 - _number(at[1])) % 17,
    "fan": lambda at, _: total(add.map([1, 2, _number(at[0])], y=2)),
    "split": lambda at, _: [*split([1, 2, 3, 4], at=_number(at[0]) % 5)],
    "swap": lambda at, _: list(reversed(split([_number(at[0]), 2, 3], at=2))),
    "held": lambda at, _: held_sum(Held(number(_number(at[0])), [number(_number(at[1])), 1])),
    "text": lambda at, _: f"{number(_number(at[0])):04d}",
    "branch": _branch,
    "loop": _loop,
    "caught": _caught,
    "downstream": _caught_downstream,
    "nested": _nested,
    "grow": _grow,
}
INSTRUCTIONS = tuple(_INSTRUCTIONS)


# -- steps that end in every way a step can end


@component(cache=False)
def waits(gate: str, x: int = 0) -> int:
    """Runs until the file ``gate`` exists."""
    Path(gate + ".began").touch()
    while not Path(gate).exists():
        time.sleep(0.01)
    return x


@component(cache=False)
def marks(path: str, after: Any = None) -> str:
    Path(path).touch()
    return path


@component(cache=False)
def use(x: int) -> int:
    return x


@component(cache=False, retry=Retry(2, backoff=0.01))
def flaky(counter: str) -> int:
    """Fails twice, then succeeds."""
    count = int(Path(counter).read_text()) if Path(counter).exists() else 0
    Path(counter).write_text(str(count + 1))
    print("attempt", count + 1)
    if count < 2:
        raise OSError(f"not yet ({count})")
    return count


@component(cache=False)
def killed(counter: str, times: int) -> int:
    """Its worker is killed the first ``times`` times."""
    count = int(Path(counter).read_text()) if Path(counter).exists() else 0
    Path(counter).write_text(str(count + 1))
    print("about to die" if count < times else "survived", flush=True)
    if count < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return count


@component(cache=False, timeout="300ms")
def endless(pids: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pids).write_text(f"{os.getpid()} {child.pid}")
    while True:
        time.sleep(0.05)


@component(cache=False)
def forever(pids: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pids).write_text(f"{os.getpid()} {child.pid}")
    child.wait()


@component(cache=False, resources=Resources(memory="400MB"))
def hungry() -> int:
    held = []
    while True:
        held.append(bytearray(20_000_000))
        time.sleep(0.01)


@component(cache=Cache(version="2"))
def noisy(x: int) -> int:
    print("out", x)
    print("err", x, file=sys.stderr)
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
    os.write(1, b"raw\n")
    return x


@pipeline(project="samples")
def early(gate: str, mark: str) -> int:
    a = waits(gate, 1)
    b = use(a)
    marks(mark)
    return b


@pipeline(project="samples")
def flaking(counter: str) -> int:
    return flaky(counter)


@pipeline(project="samples")
def dying(counter: str, times: int = 1) -> int:
    return killed(counter, times)


@pipeline(project="samples")
def overdue(pids: str) -> str:
    endless(pids)
    return "done"


@pipeline(project="samples")
def hanging(pids: str) -> None:
    forever(pids)


@pipeline(project="samples")
def starving() -> int:
    return hungry()


@pipeline(project="samples")
def loud(x: int = 1) -> int:
    print("controller", x)
    return noisy(x)


@pipeline(project="samples")
def refusing(x: int = 1, catch: bool = False) -> Any:
    y = refuse(x)
    if catch:
        try:
            return y + 1
        except Refused as error:
            return f"caught {error.value}"
    return add(y, 1)


@pipeline(project="samples")
def unseen(x: int = 1) -> str:
    refuse(x)
    return "the body saw nothing"


@pipeline(project="samples")
def outer(x: int = 1) -> int:
    inner = simple(x=x, y=10)
    return add(inner, 100)


@component(outputs={"left": "parquet", "right": "arrow"})
def tables() -> Any:
    import pandas as pd

    return pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3]})


@component(outputs={"value": "parquet"})
def table(left: Any, right: Any) -> Any:
    import pandas as pd

    return pd.concat([left, right], ignore_index=True)


@component(outputs={"value": "papyrus"})
def scroll() -> int:
    return 1


@pipeline(project="samples")
def formatted() -> int:
    left, right = tables()
    return int(table(left, right)["x"].sum())


@pipeline(project="samples")
def misformatted() -> int:
    return scroll()


@pipeline(project="samples")
def catching() -> str:
    try:
        return f"{refuse(1)}"
    except StepFailed as error:
        return f"StepFailed: {error}"


# -- for studies


@component
def prepared(kind: str) -> int:
    return len(kind)


@component
def scored(base: int, x: float, depth: int | None) -> float:
    score = base - (x - 0.3) ** 2 + (depth or 0)
    for epoch in range(3):
        report("score", score * (epoch + 1) / 3, step=epoch)
    return score


@pipeline(project="samples")
def tuned(kind: str = "a", x: float = 0.9, depth: int | None = None) -> dict[str, float]:
    return {"score": scored(prepared(kind), x, depth)}


@pipeline(project="samples")
def sometimes(x: int = 0) -> int:
    return refuse(x)


@component(cache=False)
def counted(folder: str, x: float) -> float:
    """Leaves a file for each time it ran."""
    Path(folder, f"{time.time_ns()}").touch()
    time.sleep(0.05)
    return x


@pipeline(project="samples")
def slowly(folder: str, x: float = 0.0) -> float:
    return counted(folder, x)


@component(cache=False)
def learning(x: float, gate: str) -> float:
    for epoch in range(5):
        report("score", x * (epoch + 1), step=epoch)
        while epoch == 1 and x < 0.5 and not Path(gate).exists():
            time.sleep(0.01)
    return x


@pipeline(project="samples")
def learned(gate: str, x: float = 0.9) -> float:
    return learning(x, gate)
