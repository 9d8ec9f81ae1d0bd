"""Components with callbacks before and after their calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hpo_pipelines import Call, Callbacks, StepSkipped, component, pipeline, skip

LOG = "CALLED_LOG"
"""The variable with the file that the callbacks write to."""


def note(line: str) -> None:
    with Path(os.environ[LOG]).open("a") as file:
        file.write(f"{line}\n")


def gate(call: Call) -> Any:
    note(f"before {call.component} x={call.arguments['x']} y={call.arguments['y']}")
    if call.arguments["x"] > 10:
        return skip("x is large")
    return skip if call.arguments["x"] < 0 else None


def watch(call: Call) -> None:
    found = dict(call.outputs) if not call.error else call.error
    note(f"after {call.component} {call.status} {found}")


def trip(call: Call) -> None:
    raise OSError("the callback is broken")


@component(callbacks=Callbacks(before=gate, after=watch))
def fit(x: int, y: int = 2) -> int:
    if y == 0:
        raise ZeroDivisionError(f"{x} / 0")
    return x * y


@component
def use(value: Any, more: int = 0) -> int:
    return int(value) + more


@component(outputs=("low", "high"), callbacks=Callbacks(after=trip))
def split(x: int) -> tuple[int, int]:
    return x // 2, x - x // 2


@component(callbacks=Callbacks(before=trip))
def tripping(x: int) -> int:
    return x


@component(callbacks=Callbacks(before=lambda call: False))  # type: ignore[arg-type,return-value]
def unclear(x: int) -> int:
    return x


@pipeline(project="samples")
def calling(x: int = 1, y: int = 2, look: str = "") -> dict[str, Any]:
    """Looks at the values, or at all that depends on a skipped one."""
    first = fit(x, y)
    second = use({"deep": [first]}["deep"][0], 1)
    third = use(5)
    if look == "caught":
        try:
            return {"got": [int(second), int(third)]}
        except StepSkipped as error:
            return {"caught": str(error).partition(";")[0], "third": third}
    return {"third": third} if look == "nothing" else {"second": second, "third": third}


@pipeline(project="samples")
def chained(x: int = 1) -> int:
    """The second callback looks at what the first step gave."""
    return fit(fit(x, 2), 1)


@pipeline(project="samples")
def tripped(x: int = 5) -> int:
    low, high = split(x)
    return use(low, 0) + use(high, 0)


@pipeline(project="samples")
def refused(x: int = 1) -> int:
    return tripping(x)


@pipeline(project="samples")
def answered(x: int = 1) -> int:
    return unclear(x)
