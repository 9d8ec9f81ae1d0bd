"""Pipelines that ask for further attempts of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from samples.bodies import add, interpret, number, refuse, waits

from hpo_pipelines import AttemptsExhausted, component, pipeline, report, retrigger


@component
def load(rows: int) -> list[int]:
    return list(range(rows))


@component
def fit(data: list[int], lr: float) -> float:
    for epoch in range(2):
        report("auc", 1 - lr + epoch / 100)
    return 1 - lr


@pipeline(project="samples")
def tuned(lr: float = 0.9, rows: int = 3, most: int = 4, target: float = 0.8) -> dict[str, Any]:
    auc = fit(load(rows), lr)
    if auc < target:
        retrigger(lr=lr / 3, max_attempts=most, reason=f"auc {auc:.2f} < {target:.2f}")
    return {"auc": auc, "lr": lr}


@pipeline(project="samples")
def twice(lr: float = 0.9) -> float:
    """Runs inside a run, each of which is retriggered."""
    return float(tuned(lr=lr)["auc"] + tuned(lr=lr / 3, rows=2)["auc"])


@pipeline(project="samples")
def again(program: list[Any], done: list[int], start: int = 1, most: int = 3) -> Any:
    """The instructions up to the first that is ``again``; the rest in a further attempt, if there may be one."""
    names = [instruction[0] for instruction in program]
    at = names.index("again") if "again" in names else len(program)
    done.append(at)  # not seen by the next attempt, which has what it is given
    values = interpret(program[:at], start)
    if at < len(program):
        more = {"done": [*done, start]} if start % 2 else {}  # else it is as it was when this attempt began
        try:
            retrigger(program=program[at + 1 :], start=number(len(values)), max_attempts=most, **more)
        except AttemptsExhausted as error:
            return [*values, str(error)]
    return [*values, list(done)]


@pipeline(project="samples")
def around(program: list[Any], start: int = 1, most: int = 3) -> list[Any]:
    first = again(program=program, done=[], start=start, most=most)
    return [*first, *again(program=program, done=[5], start=add(start, 1), most=most + 1)]


@pipeline(project="samples")
def breaking(folder: str, lr: int = 1) -> int:
    """Three attempts; each fails as long as there is a file called ``break.`` and its number."""
    found = guarded(folder, lr)
    if found < 3:
        retrigger(lr=found + 1, max_attempts=3, reason=f"only {found}")
    return found


@component
def guarded(folder: str, lr: int) -> int:
    with (Path(folder) / "ran").open("a") as file:
        file.write(f"{lr}\n")
    if (Path(folder) / f"break.{lr}").exists():
        raise ValueError(f"{lr} is broken")
    return lr


@pipeline(project="samples")
def breaking_inside(folder: str) -> int:
    return add(breaking(folder=folder), 1) + add(breaking(folder=folder, lr=2), 1)


@pipeline(project="samples")
def gated(gate: str, tries: int = 1) -> int:
    """The second attempt waits for the file ``gate``."""
    if tries == 1:
        retrigger(tries=add(tries), max_attempts=2)
    return waits(gate, tries)


@pipeline(project="samples")
def careless(x: int = 1) -> int:
    """Asks for another attempt while a step has failed that nobody has looked at."""
    refuse(x)
    retrigger(x=2)


@pipeline(project="samples")
def kept_back(x: int = 1) -> int:
    """Takes it back."""
    try:
        retrigger(x=2)
    except BaseException:  # noqa: BLE001 - what a careless body does
        x += 10
    return add(x, 1)
