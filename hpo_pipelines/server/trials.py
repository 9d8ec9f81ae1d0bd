"""A study's trials as columns: read on as the study goes on, filtered, sorted, and made small for charts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeGuard

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.server.templating import value_text
from hpo_pipelines.store.studies import TrialRow
from hpo_pipelines.study.goals import feasible
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status
from search_spaces import Categorical, Distribution, Space
from search_spaces.groups import flattened

DIGITS = 5
"""Charts get so many digits of the range that is shown: one in 100,000 is far below a pixel."""
_BRUSH = re.compile(r"(.+):(-?[\d.eE+-]+)\.\.(-?[\d.eE+-]+)")
_LATEST = 100
_FINISHED = frozenset(str(status) for status in Status if status.finished)
Brushes = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Goal:
    """One objective: what it is called, and which ``direction`` is better."""

    name: str
    direction: str

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.direction == "maximize" else -1


def goals(task: Task) -> tuple[Goal, ...]:
    """The objectives of the study ``task``, the main one first."""
    objectives, directions = task.params["objective"], task.params["direction"]
    names = objectives if isinstance(objectives, list | tuple) else [objectives]
    ways = directions if isinstance(directions, list | tuple) else [directions] * len(names)
    return tuple(Goal(name or "value", str(way)) for name, way in zip(names, ways, strict=True))


@dataclass(frozen=True)
class Column:
    """One parameter over all trials, None where a trial has none: numbers, or texts of a category."""

    name: str
    values: Sequence[Any]
    log: bool = False
    choices: Sequence[str] | None = None
    """Every text of a category, in order; None for numbers."""

    def at(self, index: int) -> float | None:
        """Where the value stands on the parameter's axis: of a category the place among the choices."""
        value = self.values[index]
        if value is None or self.choices is None:
            return value  # type: ignore[no-any-return]
        return float(self._places[value])

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {text: place for place, text in enumerate(self.choices or ())}


@dataclass(frozen=True)
class Trials:
    """Every trial of a study, in the order of their numbers, with ``values`` of those that completed, by number."""

    goals: tuple[Goal, ...]
    space: Space
    rows: Sequence[TrialRow]
    values: Mapping[int, tuple[float, ...]]
    violations: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """By how much these violate each constraint of the study; 0 or less where they do not. Empty without any."""

    @cached_property
    def infeasible(self) -> frozenset[int]:
        """Those, by number, that violate a constraint: they are never best."""
        return frozenset(number for number, each in self.violations.items() if not feasible(each))

    @cached_property
    def settled(self) -> int:
        """How many at the beginning cannot change any more."""
        return next((index for index in range(len(self.rows)) if self._may_change(index)), len(self.rows))

    def _may_change(self, index: int) -> bool:
        row = self.rows[index]
        if row.status == "completed":
            # Its value is told a moment after its end; one that has none later never had.
            return row.trial not in self.values and index >= len(self.rows) - _LATEST
        return row.status not in _FINISHED or row.status == "aborted"

    def read_on(
        self,
        rows: Sequence[TrialRow],
        values: Mapping[int, tuple[float, ...]],
        violations: Mapping[int, Mapping[str, float]],
    ) -> Trials:
        """With ``rows`` in place of those that were not settled."""
        return replace(self, rows=[*self.rows[: self.settled], *rows], values=values, violations=violations)

    def broken(self, trial: int) -> dict[str, float]:
        """The constraints that trial number ``trial`` violates, each with by how much."""
        return {name: amount for name, amount in self.violations.get(trial, {}).items() if amount > 0}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many have which status."""
        found: dict[str, int] = {}
        for row in self.rows:
            found[row.status] = found.get(row.status, 0) + 1
        return found

    @property
    def finished(self) -> int:
        """How many have ended."""
        return sum(count for status, count in self.counts.items() if status in _FINISHED)

    @cached_property
    def by_number(self) -> dict[int, TrialRow]:
        return {row.trial: row for row in self.rows}

    @cached_property
    def ranked(self) -> list[TrialRow]:
        """The feasible ones with a value, the best first, the earlier of equals first; by the main objective."""
        sign = self.goals[0].sign
        done = [row for row in self.rows if row.trial in self.values and row.trial not in self.infeasible]
        return sorted(done, key=lambda row: (-sign * self.values[row.trial][0], row.trial))

    @property
    def best(self) -> TrialRow | None:
        """The best by the main objective."""
        return self.ranked[0] if self.ranked else None

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The sampled parameters by name; what the space fixes is left out. None where a condition had a trial have
        none: its run got what it would have got without the study."""
        varied = [name for name in self._names if len(self.space[name].examples()) > 1]
        sampled = [self.given(row) for row in self.rows]
        return {name: _column(name, [params.get(name) for params in sampled], self.space[name]) for name in varied}

    def given(self, row: TrialRow) -> Mapping[str, Any]:
        """What the space gave the trial, by its own names."""
        params = flattened(self._names, row.params)
        if not self._is_conditional or not params.keys() >= set(self._names):
            return params
        found: dict[str, Any] = {}
        for name in self._names:
            if self.space.is_active(name, found):
                found[name] = params[name]
        return found

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return self.space.order()

    @cached_property
    def _is_conditional(self) -> bool:
        return any(self.space[name].when for name in self.space)

    # -- filtered and sorted

    def at(self, name: str, index: int) -> float | None:
        """Where trial ``index`` stands on the axis ``name``: a parameter or an objective."""
        for place, goal in enumerate(self.goals):
            if goal.name == name:
                values = self.values.get(self.rows[index].trial)
                return None if values is None else values[place]
        return self.columns[name].at(index) if name in self.columns else None

    def kept(self, brushes: Brushes) -> list[int]:
        """Which trials (by their place) lie in every range of ``brushes``."""
        found = range(len(self.rows))
        for name, (low, high) in brushes.items():
            inside = [self._is_inside(name, index, low, high) for index in found]
            found = [index for index, is_inside in zip(found, inside, strict=True) if is_inside]  # type: ignore[assignment]
        return list(found)

    def _is_inside(self, name: str, index: int, low: float, high: float) -> bool:
        value = self.at(name, index)
        return value is not None and low - 1e-12 <= value <= high + 1e-12

    def ordered(self, kept: Sequence[int], sort: str) -> list[int]:
        """The trials ``kept`` by ``sort``; with ``-`` the highest first. Those that have none come last.

        ``sort`` is ``number``, ``value``, ``seconds``, ``violation`` (of all constraints together), ``p.NAME``, or an
        objective's name. Raises ParameterError for another.
        """
        everything = self._orders.get(sort)
        if everything is None:
            everything = self._orders[sort] = self._ordered(sort)
        if len(kept) == len(self.rows):
            return everything
        wanted = set(kept)
        return [index for index in everything if index in wanted]

    @cached_property
    def _orders(self) -> dict[str, list[int]]:
        """Every trial by each order that was asked for: the page of a study asks for the same again and again."""
        return {}

    def _ordered(self, sort: str) -> list[int]:
        key, descending = sort.removeprefix("-"), sort.startswith("-")
        places = range(len(self.rows))
        found = {index: value for index in places if (value := self._sorted_by(key, index)) is not None}
        known = sorted(found, key=lambda index: found[index], reverse=descending)
        return [*known, *(index for index in places if index not in found)]

    def _sorted_by(self, key: str, index: int) -> float | None:
        row = self.rows[index]
        if key == "number":
            return row.trial
        if key == "seconds":
            return row.seconds
        if key == "violation":
            return sum(self.broken(row.trial).values()) if row.trial in self.values else None
        name = self.goals[0].name if key == "value" else key.removeprefix("p.")
        if key.startswith("p.") and name in self.columns:
            return self.columns[name].at(index)
        if any(goal.name == name for goal in self.goals):
            return self.at(name, index)
        known = ["number", "value", "seconds", "violation", *(f"p.{name}" for name in self.columns)]
        raise ParameterError(f"trials cannot be sorted by {key!r}; {closest(key, known)}")

    # -- for charts

    def chart(self, first: int = 0) -> dict[str, Any]:
        """Columns of the trials from number ``first`` on, as exact as a screen can show, for the page of the study.

        ``settled`` is the number from which on they may change yet, ``total`` how many there are in all.
        """
        begin = next((index for index, row in enumerate(self.rows) if row.trial >= first), len(self.rows))
        rows, settled = self.rows[begin:], self.settled
        words = list(dict.fromkeys(row.status for row in rows))
        place = {word: index for index, word in enumerate(words)}
        return {
            "settled": self.rows[settled].trial if settled < len(self.rows) else self._next,
            "total": len(self.rows),
            "number": [row.trial for row in rows],
            "statuses": words,
            "status": [place[row.status] for row in rows],
            "objectives": [
                {"name": goal.name, "direction": goal.direction, "values": self._shown(place, rows)}
                for place, goal in enumerate(self.goals)
            ],
            "infeasible": [row.trial for row in rows if row.trial in self.infeasible],
            "params": {name: _chart(column, begin) for name, column in self.columns.items()},
        }

    def chart_json(self, first: int = 0) -> bytes:
        """:meth:`chart` as it is sent; the whole of it is made once."""
        if first > 0:
            return _json(self.chart(first))
        return self._whole

    @cached_property
    def _whole(self) -> bytes:
        return _json(self.chart())

    @property
    def _next(self) -> int:
        return self.rows[-1].trial + 1 if self.rows else 0

    def _shown(self, goal: int, rows: Sequence[TrialRow]) -> list[float | None]:
        everything = [values[goal] for values in self.values.values()]
        chosen = (self.values.get(row.trial) for row in rows)
        return rounded([None if values is None else values[goal] for values in chosen], everything)


def brushes(text: str) -> dict[str, tuple[float, float]]:
    """``lr:0.01..0.4;fit.auc:0.8..1`` from an address; what is not of this form is left out."""
    found = {}
    for part in text.split(";"):
        match = _BRUSH.fullmatch(part)
        if match:
            try:
                found[match[1]] = float(match[2]), float(match[3])
            except ValueError:
                continue
    return found


def rounded(values: Sequence[float | None], everything: Sequence[float] | None = None) -> list[float | None]:
    """``values`` to :data:`DIGITS` digits of the range of ``everything`` and of themselves; infinities are left out."""
    known = [value for value in (values if everything is None else everything) if _is_number(value)]
    spread = max(known) - min(known) if known else 0.0
    most = max(map(abs, known), default=0.0)
    digits = (
        DIGITS if most == 0.0 or not 0.0 < spread < math.inf else max(0, math.ceil(math.log10(most / spread))) + DIGITS
    )
    form = f"%.{min(17, digits)}g"
    return [_short(value, form) if _is_number(value) else None for value in values]


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _short(value: float, form: str) -> float:
    if isinstance(value, int):
        return value
    short = float(form % value)
    return short if math.isfinite(short) else value  # the largest numbers round up to none


def _json(chart: Mapping[str, Any]) -> bytes:
    return json.dumps(chart, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _chart(column: Column, begin: int) -> dict[str, Any]:
    if column.choices is None:
        whole = column.values if not column.log else None
        return {"log": column.log, "values": rounded(column.values[begin:], None if whole is None else _numbers(whole))}
    places = (column.at(index) for index in range(begin, len(column.values)))
    return {"choices": list(column.choices), "values": [None if place is None else int(place) for place in places]}


def _numbers(values: Sequence[Any]) -> list[float]:
    return [value for value in values if value is not None]


def _column(name: str, values: Sequence[Any], item: Distribution) -> Column:
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return Column(name, values, log=bool(item.as_dict().get("log", False)))
    texts = [None if value is None else value_text(value) for value in values]
    declared = list(map(value_text, item.choices)) if isinstance(item, Categorical) else []
    others = sorted({text for text in texts if text is not None} - set(declared))
    return Column(name, texts, choices=tuple(dict.fromkeys([*declared, *others])))


def front(trials: Trials) -> Iterator[TrialRow]:
    """The feasible trials that no other is better than in every objective (Pareto); of two objectives in n log n."""
    losses = {
        number: tuple(-goal.sign * value for goal, value in zip(trials.goals, values, strict=True))
        for number, values in trials.values.items()
        if number in trials.by_number and number not in trials.infeasible
    }
    kept: list[tuple[float, ...]] = []
    for number in sorted(losses, key=lambda number: (losses[number], number)):
        mine = losses[number]
        # What comes later is nowhere better than what came before in the first; of two, the last kept is the lowest.
        against = kept[-1:] if len(mine) == 2 else kept
        if not any(mine != other and all(b <= a for a, b in zip(mine, other, strict=True)) for other in against):
            kept.append(mine)
            yield trials.by_number[number]
