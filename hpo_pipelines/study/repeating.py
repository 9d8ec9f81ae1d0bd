"""The seeds of a study whose trials run their pipeline several times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.errors import ParameterError, StudyError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.task import Task
from search_spaces import Space

Given = Mapping[str, int | Sequence[Any]]
"""``{"seed": 5}``, five seeds from the base run's on; or ``{"seed": [1, 7, 42]}``."""


def repeats_of(given: Given | None, pipeline: Pipeline[..., Any], base: Task, space: Space) -> Repeats | None:
    """What each trial repeats; None for nothing. Raises StudyError for what is no parameter to repeat over."""
    return repeats_over(given, pipeline, base.params, space)


def repeats_over(
    given: Given | None, pipeline: Pipeline[..., Any], params: Mapping[str, Any], space: Space
) -> Repeats | None:
    """:func:`repeats_of` a base with these encoded ``params``."""
    if given is None:
        return None
    cure = 'name one parameter and how many values it takes, or which: repeats={"seed": 5} or {"seed": [1, 7, 42]}'
    if not isinstance(given, Mapping) or len(given) != 1:
        raise StudyError(f"repeats={given!r}: {cure}.")
    ((name, wanted),) = given.items()
    if name in space:
        raise StudyError(f"repeats={dict(given)!r}: {name} is in the space, so that trials differ in it; take it out.")
    values = _counted(wanted, params.get(name)) if isinstance(wanted, int) else wanted
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) < 2:
        raise StudyError(f"repeats={dict(given)!r}: two values at least; {cure}.")
    try:
        taken = [pipeline.parameters.check(name, value) for value in values]
    except ParameterError as error:
        raise StudyError(f"repeats={dict(given)!r}: {error}") from None
    encoded = [pipeline.parameters.encode({name: value})[name] for value in taken]
    if any(value in encoded[:place] for place, value in enumerate(encoded)):
        raise StudyError(f"repeats={dict(given)!r}: each value once; the same again would only be reused.")
    return Repeats(name, tuple(encoded))


def _counted(count: int, base: Any) -> list[int]:
    """``count`` whole numbers from the base run's own on, so that what it has computed is reused."""
    first = base if isinstance(base, int) and not isinstance(base, bool) else 0
    return list(range(first, first + count))
