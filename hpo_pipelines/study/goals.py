"""What a study is after: objectives with directions, constraints on what a trial gave, and which trials are best."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.errors import StudyError

DIRECTIONS = ("maximize", "minimize")

_CONSTRAINT = re.compile(r"\s*(?P<name>[^\s<>=]+(?: [^\s<>=]+)*)\s*(?P<relation><=|>=|<|>)\s*(?P<bound>[^\s<>=]+)\s*")
_KEY_LENGTH = 200
"""How much of a constraint's text is its key in Optuna: some of its storages hold short keys only."""


@dataclass(frozen=True)
class Constraint:
    """``fit.memory <= 8e9``: a bound on a metric of any step, or on a key of what the pipeline returns."""

    name: str
    relation: str
    bound: float
    written: str
    """The bound as it was written."""

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Raises StudyError for anything but ``NAME RELATION NUMBER`` with one of ``<=``, ``>=``, ``<`` and ``>``."""
        found = _CONSTRAINT.fullmatch(text) if isinstance(text, str) else None
        try:
            bound = float(found["bound"]) if found else math.nan
        except ValueError:
            bound = math.nan
        if found is None or math.isnan(bound):
            raise StudyError(f"constraint {text!r}: write STEP.METRIC <= NUMBER, or with >=, < or >.")
        return cls(found["name"], found["relation"], bound, found["bound"])

    def __str__(self) -> str:
        return f"{self.name} {self.relation} {self.written}"

    @property
    def key(self) -> str:
        """Its name in Optuna's storage."""
        return str(self)[:_KEY_LENGTH]

    def violation(self, value: float) -> float:
        """By how much ``value`` violates it, in its unit; 0 or less where it does not."""
        beyond = value - self.bound if self.relation in ("<=", "<") else self.bound - value
        if self.relation in ("<", ">") and beyond == 0.0:
            return math.ulp(self.bound)
        return beyond


@dataclass(frozen=True)
class Goals:
    """``objectives`` and ``directions`` are of one length, 1 or more; None is the returned number itself."""

    objectives: tuple[str | None, ...]
    directions: tuple[str, ...]
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(
        cls,
        objective: str | Sequence[str] | None,
        direction: str | Sequence[str],
        constraints: str | Sequence[str] = (),
    ) -> Goals:
        """As they are given to ``optimize``; one direction stands for all. Raises StudyError."""
        objectives = (objective,) if objective is None or isinstance(objective, str) else tuple(objective)
        directions = (direction,) if isinstance(direction, str) else tuple(direction)
        texts = [constraints] if isinstance(constraints, str) else list(constraints)
        for each in directions:
            if each not in DIRECTIONS:
                raise StudyError(f"direction={each!r}: it is maximize or minimize.")
        if not objectives or len(set(objectives)) < len(objectives):
            raise StudyError(f"objective={objective!r}: name one, or several that differ.")
        if len(directions) == 1:
            directions *= len(objectives)
        if len(directions) != len(objectives):
            raise StudyError(
                f"{len(objectives)} objectives and {len(directions)} directions: give one direction for each, or one "
                "for all."
            )
        return cls(objectives, directions, tuple(map(Constraint.parse, texts)))

    @classmethod
    def recorded(cls, params: Mapping[str, Any]) -> Goals:
        """Those of a study that is recorded with ``params``."""
        return cls.of(params["objective"], params["direction"], params.get("constraints", ()))

    def as_params(self) -> dict[str, Any]:
        """As they are recorded: of one objective its name, of several a list."""
        constraints = [str(constraint) for constraint in self.constraints]
        if self.several:
            listed = {"objective": list(self.objectives), "direction": list(self.directions)}
            return {**listed, "constraints": constraints}
        return {"objective": self.objectives[0], "direction": self.directions[0], "constraints": constraints}

    @property
    def several(self) -> bool:
        return len(self.objectives) > 1

    def __str__(self) -> str:
        """``maximize fit.auc, minimize fit.size; fit.memory <= 8e9``."""
        pairs = zip(self.directions, self.names, strict=True)
        wanted = ", ".join(f"{direction} {name}" for direction, name in pairs)
        return "; ".join([wanted, *map(str, self.constraints)])

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives as they are shown: ``value`` is the returned number itself."""
        return tuple(name or "value" for name in self.objectives)

    def direction_of(self, metric: str) -> str | None:
        """The direction of ``metric``: its own if it is an objective, else the one that all objectives have."""
        own = dict(zip(self.objectives, self.directions, strict=True)).get(metric)
        return own or (self.directions[0] if len(set(self.directions)) == 1 else None)

    # -- comparing

    def _losses(self, values: Sequence[float]) -> tuple[float, ...]:
        signs = (-1.0 if direction == "maximize" else 1.0 for direction in self.directions)
        return tuple(sign * value for sign, value in zip(signs, values, strict=True))

    def dominates(self, values: Sequence[float], others: Sequence[float]) -> bool:
        """Whether ``values`` are nowhere worse than ``others``, and somewhere better."""
        mine, theirs = self._losses(values), self._losses(others)
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    def front(self, values: Mapping[int, Sequence[float]]) -> list[int]:
        """The numbers of the trials that no other dominates, best first by the first objective.

        Of one objective that is the best alone, the earliest of equals. In n log n + n·(size of the front).
        """
        losses = {number: self._losses(each) for number, each in values.items()}
        ordered = sorted(losses, key=lambda number: (losses[number], number))
        if not self.several:
            return ordered[:1]
        found: list[int] = []
        for number in ordered:  # what comes later dominates nothing that came before
            if not any(self._is_behind(losses[number], losses[kept]) for kept in found):
                found.append(number)
        return found

    @staticmethod
    def _is_behind(mine: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
        return mine != theirs and all(b <= a for a, b in zip(mine, theirs, strict=True))


def feasible(violations: Mapping[str, float]) -> bool:
    """Whether no constraint is violated."""
    return all(amount <= 0.0 for amount in violations.values())


def least_violated(violations: Mapping[int, Mapping[str, float]]) -> int | None:
    """The trial that violates its constraints least, by the sum as Optuna's samplers count it."""

    def amount(number: int) -> tuple[float, int]:
        return sum(_positive(violations[number].values())), number

    return min(violations, key=amount, default=None)


def _positive(amounts: Iterable[float]) -> Iterable[float]:
    return (amount for amount in amounts if amount > 0.0)
