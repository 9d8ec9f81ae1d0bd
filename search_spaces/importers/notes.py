"""What a reading of a foreign space leaves behind, and the shapes that several tools share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.distributions import Categorical, Distribution, Float, Int
from search_spaces.errors import SpaceError
from search_spaces.place import Place
from search_spaces.values import canonical, plain

_MOST_CHOICES = 100
"""Uneven steps become choices up to so many."""


@dataclass
class Notes:
    """Warnings about what has no counterpart, each with the parameter it is about."""

    warnings: list[str] = field(default_factory=list)

    def warn(self, place: Place, message: str) -> None:
        key = ".".join(map(str, place.path))
        self.warnings.append(f"{key}: {message}" if key else message)


def required(value: Mapping[str, Any], key: str, place: Place) -> Any:
    """``value[key]``. Raises SpaceError, naming the keys there are, if it is missing."""
    if key in value:
        return value[key]
    raise place.error(f"{key} is missing; there are {', '.join(map(str, value)) or 'no keys'}.")


def number(value: Any, place: Place) -> float:
    """A finite number, written as one or (Katib, YAML 1.1) as text. Raises SpaceError."""
    try:
        found = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise place.error(f"a bound is a finite number; got {value!r}.")
    return found


def integer(value: Any, place: Place) -> int:
    """A whole number, written as ``8``, ``8.0`` or as text. Raises SpaceError."""
    found = number(value, place)
    if not found.is_integer():
        raise place.error(f"a bound of integers is a whole number; got {value!r}.")
    return int(found)


def exponential(exponent: float, place: Place) -> float:
    """``e ** exponent``. Raises SpaceError for what no float holds, so for bounds that are no exponents."""
    try:
        value = math.exp(exponent)
    except OverflowError:
        value = math.inf
    if not 0 < value < math.inf:
        raise place.error(f"bounds are exponents of e here; e ** {exponent:g} is no float: were the values meant?")
    return value


def choices(values: Iterable[Any], place: Place, notes: Notes) -> Categorical:
    """Choices, those that come twice dropped."""
    found: dict[str, Any] = {}
    for value in values:
        if canonical(plain(value)) in found:
            notes.warn(place, f"{value!r} comes twice, which made it likelier; here it comes once.")
        found[canonical(plain(value))] = value
    return Categorical(found.values())


def stepped(low: float, high: float, step: float) -> Distribution:
    """Every ``step`` from ``low`` to ``high``, as integers if all three are whole."""
    if all(float(part).is_integer() for part in (low, high, step)):
        return Int(int(low), int(high), step=int(step))
    return Float(low, high, step=step)


def multiples(low: float, high: float, q: float, place: Place) -> tuple[float, float]:
    """The first and last multiple of ``q`` within the bounds. Raises SpaceError if there is none."""
    if q <= 0:
        raise place.error(f"q is above 0; got {q:g}.")
    # By the decimals people write: 0.3 / 0.1 is 2.9999999999999996.
    first, last = math.ceil(round(low / q, 9)), math.floor(round(high / q, 9))
    if first > last:
        raise place.error(f"there is no multiple of {q:g} between {low:g} and {high:g}.")
    return round(first * q, 12), round(last * q, 12)


def clipped(low: float, high: float, q: float, place: Place) -> Distribution:
    """``clip(round(x / q) * q, low, high)``: the multiples of ``q`` between the bounds, and the bounds themselves."""
    first, last = multiples(low, high, q, place)
    inner = [round(first + index * q, 12) for index in range(round((last - first) / q) + 1)]
    values = sorted({low, *inner, high})
    if len(values) == len(inner):
        return stepped(first, last, q)
    if len(values) > _MOST_CHOICES:
        raise SpaceError(f"bounds that are no multiples of q={q:g} make {len(values)} uneven values: round the bounds.")
    whole = all(value.is_integer() for value in values)
    return Categorical([int(value) for value in values] if whole else values)


def rounded_log(low: float, high: float, q: float, place: Place, notes: Notes) -> Float | Int:
    """Log-uniform and rounded to multiples of ``q``: exact for q = 1, else integers or floats without the rounding."""
    if q <= 0:
        raise place.error(f"q is above 0; got {q:g}.")
    if q != 1:
        notes.warn(place, f"log has no step here: values are not rounded to multiples of {q:g}.")
    if float(q).is_integer() and high >= 1:
        first, last = multiples(max(low, 1.0), high, 1, place)
        return Int(int(first), int(last), log=True)
    return Float(low, high, log=True)


def normal(mu: float, sigma: float, place: Place, notes: Notes, *, log: bool = False) -> Float:
    """The range of ±3 sigma around ``mu``, of the exponents if ``log``: no distribution here is normal."""
    low, high = mu - 3 * sigma, mu + 3 * sigma
    if log:
        low, high = exponential(low, place), exponential(high, place)
    notes.warn(
        place,
        f"a {'log-' if log else ''}normal distribution has no counterpart: the range of ±3 sigma, "
        f"[{low:.6g}, {high:.6g}], is sampled evenly{' in the logarithm' if log else ''}.",
    )
    return Float(low, high, log=log)


def leftovers(value: Mapping[str, Any], known: Iterable[str], place: Place, notes: Notes) -> None:
    """Warn of what stands beside the parameters, which is no part of a space."""
    names = [str(key) for key in value if key not in known]
    if names:
        notes.warn(place, f"left out, since a space has only parameters: {', '.join(names)}.")
