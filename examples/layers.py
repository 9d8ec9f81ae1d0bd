"""A component under a decorator of one's own, which stays a part of it: hpo run examples/layers.py:layered

What ClearML's decorated_pipeline_step_*.py show. A change of the inner decorator changes the key of the step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from hpo_pipelines import component, pipeline


def plus(number: int) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A decorator with an argument: what it decorates gives ``number`` more."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def more(*args: int, **kwargs: int) -> int:
            return function(*args, **kwargs) + number

        return more

    return decorate


@component
@plus(1)
def one() -> int:
    return 1


@component
@plus(10)
@plus(1)
def doubled(number: int) -> int:
    return 2 * number


@component
def check(number: int, expected: int) -> None:
    assert number == expected, f"{number} is not {expected}"


@pipeline(project="examples")
def layered() -> int:
    first = one()
    assert first == 2  # in the body, which waits for it
    second = doubled(first)
    check(second, expected=15)  # in a step, for which nothing waits here
    return second


if __name__ == "__main__":
    run = layered.run()
    run.raise_for_status()
    print(run.label, run.value)
