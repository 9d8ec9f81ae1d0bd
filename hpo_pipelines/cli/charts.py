"""Small charts of a study, from block characters, for a terminal: what is piped, or asked for as JSON, has none."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpo_pipelines.progress import is_terminal

if TYPE_CHECKING:
    from hpo_pipelines.study import Study
    from hpo_pipelines.study.trial import Trial
    from search_spaces import Distribution, Space

BLOCKS = " ▁▂▃▄▅▆▇█"
_LEFT = "▏▎▍▌▋▊▉█"
_EIGHTHS = len(BLOCKS) - 1
HEIGHT = 4
"""Lines of a history."""
_WORST = 0.1
"""This part of the values, the worst, is drawn at the edge: one that diverged would else flatten all others."""
_LABEL, _RANGE = 10, 24


def wanted() -> bool:
    """Whether standard output is a terminal that has the letters for charts."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return is_terminal(sys.stdout) and encoding.startswith("utf")


def history(study: Study, trials: Sequence[Trial]) -> list[str]:
    """For each objective a chart of what trials gave, in the order of their numbers, under a line that says so.

    A column is one trial or, where there are more than columns, the best of a few; empty where none has a value.
    """
    goals, lines = study.goals, list[str]()
    width = max(10, min(len(trials), shutil.get_terminal_size().columns - _LABEL - 4))
    for place, (name, direction) in enumerate(zip(goals.names, goals.directions, strict=True)):
        feasible = [None if trial.values is None or not trial.is_feasible else trial.values[place] for trial in trials]
        columns = binned(feasible, width, highest=direction == "maximize")
        if any(column is not None for column in columns):
            each = "" if len(trials) <= width else f", the best of each {math.ceil(len(trials) / width)}"
            lines += [f"  {name} by trial{each}", *_chart(columns, direction)]
    return lines


def binned(values: Sequence[float | None], width: int, *, highest: bool) -> list[float | None]:
    """``values`` in at most ``width`` groups of one size, in their order: of each group the best, None for none."""
    size = max(1, math.ceil(len(values) / width))
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    best = max if highest else min
    return [best((each for each in group if each is not None), default=None) for group in groups]


def _chart(columns: Sequence[float | None], direction: str) -> list[str]:
    low, high, is_cut = _range([column for column in columns if column is not None], direction)
    top, bottom = f"{high:.4g}", f"{low:.4g}"
    if is_cut:
        top, bottom = (f"≥ {top}", bottom) if direction == "minimize" else (top, f"≤ {bottom}")
    heights = [None if column is None else _height(column, low, high) for column in columns]
    lines = []
    for line in reversed(range(HEIGHT)):
        label = top if line == HEIGHT - 1 else bottom if line == 0 else ""
        cells = [BLOCKS[min(_EIGHTHS, max(0, (height or 0) - _EIGHTHS * line))] for height in heights]
        lines.append(f"  {label:>{_LABEL}} {''.join(cells)}".rstrip())
    return lines


def _range(values: Sequence[float], direction: str) -> tuple[float, float, bool]:
    """The lowest and the highest value that are told apart, and whether some are beyond."""
    finite = sorted(value for value in values if math.isfinite(value)) or [0.0]
    cut = int(_WORST * len(finite))
    low, high = (finite[cut], finite[-1]) if direction == "maximize" else (finite[0], finite[len(finite) - 1 - cut])
    return low, high, min(values) < low or max(values) > high


def _height(value: float, low: float, high: float) -> int:
    """In eighths of a line, 1 or more, so that the lowest value is seen too."""
    whole = HEIGHT * _EIGHTHS
    if high <= low:
        return whole // 2
    part = min(1.0, max(0.0, (value - low) / (high - low)))
    return 1 + round(part * (whole - 1))


def bar(part: float, width: int) -> str:
    """A bar of ``part`` (0 to 1) of ``width`` characters, to an eighth of one; something for all above 0."""
    eighths = round(min(1.0, max(0.0, part)) * width * _EIGHTHS) or (1 if part > 0 else 0)
    whole, rest = divmod(eighths, _EIGHTHS)
    return "█" * whole + (_LEFT[rest - 1] if rest else "")


def value_bars(study: Study, trials: Sequence[Trial], width: int = 10) -> list[str]:
    """For each trial a bar of its first objective, between the least and the greatest of them; empty without value."""
    values = [None if trial.value is None or not math.isfinite(trial.value) else trial.value for trial in trials]
    known = [value for value in values if value is not None]
    if not known:
        return ["" for _ in trials]
    low, high, _ = _range(known, study.direction)
    span = high - low
    return [
        "" if value is None else bar(max(1 / (_EIGHTHS * width), (value - low) / span if span else 0.5), width)
        for value in values
    ]


def ranges(space: Space, params: dict[str, object]) -> dict[str, str]:
    """For each number of ``params`` that the space has a range for, where in it: ``1e-05 ───●──── 0.1``."""
    found = {}
    for name, value in params.items():
        place = _place_in(space[name], value) if name in space else None
        if place is not None:
            distribution = space[name]
            dot = round(place * (_RANGE - 1))
            line = "─" * dot + "●" + "─" * (_RANGE - 1 - dot)
            found[name] = f"{distribution.low:g} {line} {distribution.high:g}"  # type: ignore[attr-defined]
    return found


def _place_in(distribution: Distribution, value: object) -> float | None:
    """Where ``value`` is between the bounds, 0 to 1, by the logarithm if the distribution goes by that."""
    from search_spaces import Float, Int

    if not isinstance(distribution, Float | Int) or not isinstance(value, int | float) or isinstance(value, bool):
        return None
    low, high, number = float(distribution.low), float(distribution.high), float(value)
    if high <= low:
        return None
    if distribution.log:
        low, high, number = math.log(low), math.log(high), math.log(number)
    return min(1.0, max(0.0, (number - low) / (high - low)))
