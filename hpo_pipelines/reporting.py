"""``report``: a component or a pipeline body tells a number, whoever is listening."""

from __future__ import annotations

import operator

from hpo_pipelines import context
from hpo_pipelines.output import result


def report(name: str, value: float, step: int | None = None) -> None:
    """Record the metric ``name`` of the running step (in a pipeline body: of the run), at ``step`` (an epoch, say).

    ``value`` is anything that ``float`` takes, NaN and infinities included; without ``step`` it counts on from the
    last value of that name, from 0. Outside a run it is checked and goes nowhere. In a study it may stop the trial.

    Raises TypeError when ``name`` is not text or ``value`` not a number.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"report(name, value): name is text, not {name!r}.")
    plain: object = result(value)
    if plain is None or isinstance(plain, str | bytes):
        raise TypeError(f"report({name!r}, {plain!r}): a metric is a number.")
    step = None if step is None else _whole(name, step)
    # Numpy's and torch's scalars too: whatever float takes.
    number = float(plain)  # type: ignore[arg-type]
    listening = context.reporter.get() or context.tracer.get()
    if listening is not None:
        listening.report(name, number, step)


def _whole(name: str, step: object) -> int:
    """``step`` as an int, also one of numpy's. Raises TypeError for anything else."""
    plain = result(step)
    if hasattr(plain, "__index__") and not isinstance(plain, bool) and operator.index(plain) >= 0:
        return operator.index(plain)
    raise TypeError(f"report({name!r}, step={step!r}): step is a whole number, 0 or more, or None.")
