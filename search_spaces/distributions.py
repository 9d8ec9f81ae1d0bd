"""What one parameter may be: a range of floats or integers, one of several choices, or one value.

The names of the fields (low, high, log, step, choices) and their meaning are those of Optuna's distributions, bounds
included on both sides.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import EnumMeta
from fractions import Fraction
from numbers import Integral, Real
from typing import Any, ClassVar

from search_spaces.conditions import Condition
from search_spaces.errors import SpaceError
from search_spaces.values import canonical, comparable, plain

Scalar = bool | int | float | str | None

_EXACT = 2**53
"""Samplers compute in double precision, which holds every integer up to this one."""


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Distribution(ABC):
    """Base of the four; immutable, hashable, equal when all fields are (types included: ``1`` is not ``1.0``).

    ``when`` is the condition under which the parameter exists, empty for always.
    """

    kind: ClassVar[str]
    when: Condition

    def _set(self, when: Mapping[str, Any] | None, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        try:
            object.__setattr__(self, "when", Condition(when))
        except SpaceError as error:
            raise SpaceError(str(error), path=("when", *error.path)) from None

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """The fields without ``when``, those at their default left out; plain JSON."""

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether ``value`` can be drawn, whatever the condition says. Whole floats count as integers, bools do not."""

    @abstractmethod
    def size(self) -> int | None:
        """How many values there are; ``None`` for a continuous range."""

    @abstractmethod
    def examples(self) -> tuple[Any, ...]:
        """Values which, if they suit a parameter's type, show that all do: the bounds, or every choice."""

    def cell(self, value: Any) -> str:
        """A text that is equal for values which are one to this distribution: ``3`` and ``3.0``; never for a bool."""
        return comparable(value)

    def as_dict(self) -> dict[str, Any]:
        """The form written in files, plain JSON; ``Space`` reads it back to an equal distribution."""
        return self.fields() | ({"when": self.when.as_dict()} if self.when else {})

    def identity(self) -> dict[str, Any]:
        """What makes two distributions one, as plain JSON: the part of a space's digest that stands for this."""
        return {"type": self.kind, **self.fields(), "when": self.when.identity()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Distribution):
            return NotImplemented
        return canonical(self.identity()) == canonical(other.identity())

    def __hash__(self) -> int:
        return hash(canonical(self.identity()))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.as_dict().items())
        return f"{type(self).__name__}({arguments})"


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Float(Distribution):
    """Floats from ``low`` to ``high``: evenly, evenly in the logarithm (``log``), or every ``step``.

    With a ``step``, ``high`` is lowered to the last value reached from ``low``, as Optuna does. ``log`` and ``step``
    exclude each other. Raises SpaceError for bounds that are inverted or not finite, and for what contradicts them.
    """

    kind: ClassVar[str] = "float"
    low: float
    high: float
    log: bool
    step: float | None

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        step: float | None = None,
        when: Mapping[str, Any] | None = None,
    ) -> None:
        low, high = _real("low", low), _real("high", high)
        _check_range(low, high, log)
        if step is not None:
            step = _real("step", step)
            if log:
                raise SpaceError(
                    f"log and step exclude each other; got log with step={step}: drop one.", path=("step",)
                )
            _check_step(low, high, step)
            high = _last(low, high, step)
        self._set(when, low=low, high=high, log=log, step=step)

    def fields(self) -> dict[str, Any]:
        log = {"log": True} if self.log else {}
        step = {} if self.step is None else {"step": self.step}
        return {"low": self.low, "high": self.high, **log, **step}

    def contains(self, value: Any) -> bool:
        number = _number(value)
        if number is None or not self.low <= number <= self.high:
            return False
        if self.step is None:
            return True
        reached = self.low + self._step_of(number, self.step) * self.step
        return abs(reached - number) <= max(1e-8 * self.step, 4 * _rounding(self.low, self.high))

    def cell(self, value: Any) -> str:
        # A sampler's third step of 0.1 is 0.30000000000000004, a person's is 0.3.
        number = _number(value)
        if number is None or self.step is None:
            return comparable(value)
        return str(self._step_of(number, self.step))

    def _step_of(self, number: float, step: float) -> int:
        return round((number - self.low) / step)

    def size(self) -> int | None:
        if self.low == self.high:
            return 1
        return None if self.step is None else _steps(self.low, self.high, self.step) + 1

    def examples(self) -> tuple[float, ...]:
        return (self.low, self.high)


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Int(Distribution):
    """Integers from ``low`` to ``high``: evenly, evenly in the logarithm (``log``), or every ``step``.

    ``high`` is lowered to the last value reached from ``low``. Raises SpaceError as :class:`Float` does, and for
    bounds beyond ±2**53, which samplers cannot tell apart.
    """

    kind: ClassVar[str] = "int"
    low: int
    high: int
    log: bool
    step: int

    def __init__(
        self, low: int, high: int, *, log: bool = False, step: int = 1, when: Mapping[str, Any] | None = None
    ) -> None:
        low, high, step = _integer("low", low), _integer("high", high), _integer("step", step)
        _check_range(low, high, log)
        if log and step != 1:
            raise SpaceError(f"log and step exclude each other; got log with step={step}: drop one.", path=("step",))
        _check_step(low, high, step)
        self._set(when, low=low, high=low + (high - low) // step * step, log=log, step=step)

    def fields(self) -> dict[str, Any]:
        log = {"log": True} if self.log else {}
        step = {} if self.step == 1 else {"step": self.step}
        return {"low": self.low, "high": self.high, **log, **step}

    def contains(self, value: Any) -> bool:
        number = _number(value)
        return number is not None and self.low <= number <= self.high and (number - self.low) % self.step == 0

    def size(self) -> int:
        return (self.high - self.low) // self.step + 1

    def examples(self) -> tuple[int, ...]:
        return (self.low, self.high)


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Categorical(Distribution):
    """One of ``choices``, which are plain JSON (scalars, lists, dicts); their order matters to samplers.

    An Enum class gives its members' values. Raises SpaceError for no choice, and for one written twice.
    """

    kind: ClassVar[str] = "categorical"
    choices: tuple[Any, ...]

    def __init__(self, choices: Iterable[Any] | EnumMeta, *, when: Mapping[str, Any] | None = None) -> None:
        if isinstance(choices, str | bytes | Mapping | set | frozenset) or not isinstance(choices, Iterable):
            raise SpaceError(f"choices is a list; got {choices!r}: write [a, b, c].", path=("choices",))
        self._set(when, choices=_distinct(choices))

    def fields(self) -> dict[str, Any]:
        return {"choices": list(self.choices)}

    def contains(self, value: Any) -> bool:
        return comparable(value) in map(comparable, self.choices)

    def size(self) -> int:
        return len(self.choices)

    def examples(self) -> tuple[Any, ...]:
        return self.choices

    @property
    def labels(self) -> tuple[Scalar, ...]:
        """One scalar per choice, for samplers that take nothing else and compare by ``==``.

        The choices themselves where that is enough, else the canonical JSON of each.
        """
        scalars = not any(isinstance(choice, list | dict) for choice in self.choices)
        if scalars and len(set(self.choices)) == len(self.choices):
            return self.choices
        return tuple(canonical(choice) for choice in self.choices)

    def label_of(self, choice: Any) -> Scalar:
        """The label of ``choice``, of its own type if there are ``1`` and ``1.0``. Raises SpaceError if it is none."""
        for write in (canonical, comparable):
            texts = [write(known) for known in self.choices]
            if write(plain(choice)) in texts:
                return self.labels[texts.index(write(plain(choice)))]
        raise SpaceError(f"{choice!r} is not a choice; the choices are {', '.join(map(repr, self.choices))}.")

    def choice_of(self, label: Scalar) -> Any:
        """A copy of the choice that ``label`` stands for. Raises SpaceError for an unknown label."""
        if label in self.labels:
            return plain(self.choices[self.labels.index(label)])
        raise SpaceError(f"{label!r} is not a label; the labels are {', '.join(map(repr, self.labels))}.")


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Fixed(Distribution):
    """Always ``value``, which is plain JSON; an Enum's member stands for its value."""

    kind: ClassVar[str] = "fixed"
    value: Any

    def __init__(self, value: Any, *, when: Mapping[str, Any] | None = None) -> None:
        self._set(when, value=plain(value, ("value",)))

    def fields(self) -> dict[str, Any]:
        return {"value": self.value}

    def contains(self, value: Any) -> bool:
        return comparable(value) == comparable(self.value)

    def size(self) -> int:
        return 1

    def examples(self) -> tuple[Any, ...]:
        return (self.value,)


def _number(value: Any) -> float | None:
    """A finite number as a float, ``None`` for anything else; a bool is no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value) + 0.0  # -0.0 and 0.0 are one
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _real(key: str, value: Any) -> float:
    number = _number(value)
    if number is None:
        cure = "remove the quotes" if isinstance(value, str) else "write for instance 0.1"
        raise SpaceError(
            f"{key} is a finite number; got {value!r} of type {type(value).__name__}: {cure}.", path=(key,)
        )
    return number


def _integer(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        cure = "use Float (type: float)" if isinstance(value, float) else f"write for instance {key}: 8"
        raise SpaceError(
            f"{key} of an integer range is an integer; got {value!r} of type {type(value).__name__}: {cure}.",
            path=(key,),
        )
    if abs(int(value)) > _EXACT:
        raise SpaceError(f"{key} lies within ±2**53; got {value}: use Float, or choices.", path=(key,))
    return int(value)


def _check_range(low: float, high: float, log: object) -> None:
    if not isinstance(log, bool):
        raise SpaceError(f"log is true or false; got {log!r}: write log: true.", path=("log",))
    if low > high:
        raise SpaceError(f"low must not exceed high; got low={low}, high={high}: swap them.", path=("low",))
    if log and low <= 0:
        raise SpaceError(
            f"low must be above 0 with log; got low={low}: raise it (1e-6, say), or drop log.", path=("low",)
        )
    if math.isinf(high - low):
        raise SpaceError(f"high - low must be finite; got low={low}, high={high}: narrow the range.", path=("high",))


def _check_step(low: float, high: float, step: float) -> None:
    if step <= 0:
        raise SpaceError(f"step must be above 0; got step={step}: leave it out for none.", path=("step",))
    if low < high and _steps(low, high, step) == 0:
        raise SpaceError(f"step must fit between low={low} and high={high}; got step={step}: lower it.", path=("step",))
    if step < 4 * _rounding(low, high) or (high - low) / step > _EXACT:
        raise SpaceError(
            f"step must not be lost in rounding; got step={step} between {low} and {high}: raise it.", path=("step",)
        )


def _rounding(low: float, high: float) -> float:
    """The distance between neighbouring floats at the larger end of a range; 0 for integers, which are exact."""
    return 0.0 if isinstance(low, int) else math.ulp(max(abs(low), abs(high)))


def _steps(low: float, high: float, step: float) -> int:
    """How many steps lead from ``low`` up to ``high``, counting one that passes it by rounding alone."""
    # In fractions of the decimals people write: (0.3 - 0.0) / 0.1 is 2.9999999999999996 in binary.
    steps = (_decimal(high) - _decimal(low)) / _decimal(step)
    near = round(steps)
    return near if abs(near - steps) * _decimal(step) <= _rounding(low, high) else math.floor(steps)


def _last(low: float, high: float, step: float) -> float:
    return float(_decimal(low) + _steps(low, high, step) * _decimal(step))


def _decimal(number: float) -> Fraction:
    return Fraction(str(number))


def _distinct(choices: Iterable[Any]) -> tuple[Any, ...]:
    found: dict[str, Any] = {}
    for index, choice in enumerate(choices):
        value = plain(choice, ("choices", index))
        if canonical(value) in found:
            raise SpaceError(
                f"choices differ from each other; {value!r} comes twice: drop one.", path=("choices", index)
            )
        found[canonical(value)] = value
    if not found:
        raise SpaceError("choices needs at least one choice; got none: list the values.", path=("choices",))
    return tuple(found.values())
