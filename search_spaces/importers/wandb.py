"""Sweeps of Weights & Biases.

Source: https://docs.wandb.ai/models/sweeps/sweep-config-keys (section "Distribution options"), and for rounding
``src/sweeps/params.py`` of https://github.com/wandb/sweeps. The traps: ``log_uniform`` and ``inv_log_uniform`` have
exponents of e for bounds, only their ``_values`` forms have values; ``q_…`` rounds to multiples of q, also beyond the
bounds; bounds alone are integers only if both are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.distributions import Distribution, Fixed, Float, Int
from search_spaces.importers.notes import (
    Notes,
    choices,
    exponential,
    integer,
    leftovers,
    normal,
    number,
    required,
    rounded_log,
    stepped,
)
from search_spaces.place import Place
from search_spaces.values import nearest


def matches(value: Any) -> bool:
    """Whether ``value`` has ``parameters``, each a mapping in W&B's words."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("parameters"), Mapping)
        and all(isinstance(found, Mapping) for found in value["parameters"].values())
    )


def read(value: Mapping[str, Any], place: Place, notes: Notes) -> dict[str, Any]:
    """The parameters of a sweep; nested ones are groups. Raises SpaceError."""
    leftovers(value, ("parameters",), place, notes)
    return _parameters(value["parameters"], place.at("parameters"), notes)


def _parameters(value: Mapping[str, Any], place: Place, notes: Notes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, parameter in value.items():
        here = place.at(name)
        if not isinstance(parameter, Mapping):
            raise here.error(f"a parameter of a sweep is a mapping; got {parameter!r}.")
        if "parameters" in parameter:
            found[name] = {"params": _parameters(parameter["parameters"], here.at("parameters"), notes)}
        else:
            found[name] = _distribution(parameter, here, notes)
    return found


def _distribution(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    kind = value.get("distribution") or _inferred(value, place)
    if kind not in _READERS:
        raise place.at("distribution").error(
            f"W&B has no distribution {kind!r}.{nearest(str(kind), _READERS)} It has {', '.join(_READERS)}."
        )
    with place.locating():
        return _READERS[kind](value, place, notes)


def _inferred(value: Mapping[str, Any], place: Place) -> str:
    if "values" in value:
        return "categorical"
    if "value" in value:
        return "constant"
    bounds = [required(value, key, place) for key in ("min", "max")]
    return "int_uniform" if all(isinstance(bound, int) for bound in bounds) else "uniform"


def _bounds(value: Mapping[str, Any], place: Place) -> tuple[float, float]:
    low, high = (number(required(value, key, place), place.at(key)) for key in ("min", "max"))
    return low, high


def _categorical(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    if "probabilities" in value:
        notes.warn(place, "probabilities have no counterpart: every choice is equally likely.")
    return choices(required(value, "values", place), place, notes)


def _int_uniform(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    low, high = (integer(required(value, key, place), place.at(key)) for key in ("min", "max"))
    return Int(low, high)


def _uniform(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    return Float(*_bounds(value, place))


def _q_uniform(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    (low, high), q = _bounds(value, place), number(value.get("q", 1), place.at("q"))
    if q <= 0:
        raise place.at("q").error(f"q is above 0; got {q:g}.")
    first, last = (round(round(bound / q) * q, 12) for bound in (low, high))
    if first < low or last > high:
        notes.warn(place, f"rounded to multiples of {q:g}, W&B's values reach from {first:g} to {last:g}; so do these.")
    if not isinstance(value.get("q", 1), int):
        return Float(first, last, step=q)
    return stepped(first, last, q)


def _exponents(value: Mapping[str, Any], place: Place, notes: Notes, *, inverse: bool = False) -> tuple[float, float]:
    low, high = _bounds(value, place)
    if low > 0 and not inverse:
        notes.warn(
            place,
            f"the bounds of {value['distribution']} are exponents of e, so this is [{exponential(low, place):.6g}, "
            f"{exponential(high, place):.6g}]; if values were meant, W&B's name is {value['distribution']}_values.",
        )
    return (exponential(-high, place), exponential(-low, place)) if inverse else (
        exponential(low, place), exponential(high, place),
    )  # fmt: skip


def _log_uniform(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    return Float(*_exponents(value, place, notes), log=True)


def _log_uniform_values(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    return Float(*_bounds(value, place), log=True)


def _inv_log_uniform(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    return Float(*_exponents(value, place, notes, inverse=True), log=True)


def _q_log_uniform(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    low, high = _exponents(value, place, notes)
    return rounded_log(low, high, number(value.get("q", 1), place.at("q")), place, notes)


def _q_log_uniform_values(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    low, high = _bounds(value, place)
    return rounded_log(low, high, number(value.get("q", 1), place.at("q")), place, notes)


def _normal(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    mu, sigma = (number(value.get(key, default), place.at(key)) for key, default in (("mu", 0), ("sigma", 1)))
    return normal(mu, sigma, place, notes, log="log" in value["distribution"])


def _beta(value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    notes.warn(place, "a beta distribution has no counterpart: 0 to 1 is sampled evenly.")
    return Float(0.0, 1.0)


_READERS: dict[str, Callable[[Mapping[str, Any], Place, Notes], Distribution]] = {
    "constant": lambda value, place, notes: Fixed(required(value, "value", place)),
    "categorical": _categorical,
    "categorical_w_probabilities": _categorical,
    "int_uniform": _int_uniform,
    "uniform": _uniform,
    "q_uniform": _q_uniform,
    "log_uniform": _log_uniform,
    "log_uniform_values": _log_uniform_values,
    "q_log_uniform": _q_log_uniform,
    "q_log_uniform_values": _q_log_uniform_values,
    "inv_log_uniform": _inv_log_uniform,
    "inv_log_uniform_values": _log_uniform_values,
    "normal": _normal,
    "q_normal": _normal,
    "log_normal": _normal,
    "q_log_normal": _normal,
    "beta": _beta,
    "q_beta": _beta,
}
