"""Experiments of Kubeflow's Katib.

Source: ``experiment_types.go`` of https://github.com/kubeflow/katib (v1beta1), and for what the distributions mean
``pkg/suggestion/v1beta1/hyperopt/base_service.py`` there. The traps: every bound is text; a categorical ``"8"`` stays
text while a discrete one is a number; bounds of ``logUniform`` are values, not exponents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.distributions import Categorical, Distribution, Float, Int
from search_spaces.importers.notes import Notes, choices, integer, leftovers, number, required, stepped
from search_spaces.place import Place
from search_spaces.values import nearest

_TYPES = ("int", "double", "discrete", "categorical")
_EVEN = ("uniform", "normal")


def matches(value: Any) -> bool:
    """Whether ``value`` is an Experiment, or a list of parameters with ``parameterType``."""
    if isinstance(value, Mapping):
        spec = value.get("spec")
        return isinstance(spec, Mapping) and isinstance(spec.get("parameters"), list)
    return (
        isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) and "parameterType" in v for v in value)
    )


def read(value: Any, place: Place, notes: Notes) -> dict[str, Any]:
    """The parameters of an experiment. Raises SpaceError."""
    if isinstance(value, Mapping):
        leftovers(value["spec"], ("parameters",), place.at("spec"), notes)
        value, place = value["spec"]["parameters"], place.at("spec", "parameters")
    found: dict[str, Any] = {}
    for index, parameter in enumerate(value):
        here = place.at(index)
        name = str(required(parameter, "name", here))
        if name in found:
            raise here.error(f"a parameter is written once; {name!r} comes twice.")
        found[name] = _distribution(name, parameter, here, notes)
    return found


def _distribution(name: str, value: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    kind, space = required(value, "parameterType", place), required(value, "feasibleSpace", place)
    here = place.at("feasibleSpace")
    with here.locating():
        if kind == "categorical":
            return _categorical(name, [str(item) for item in required(space, "list", here)], place, notes)
        if kind == "discrete":
            numbers = [number(item, here.at("list")) for item in required(space, "list", here)]
            whole = all(item.is_integer() for item in numbers)
            return choices([int(item) for item in numbers] if whole else numbers, here, notes)
        if kind in ("int", "double"):
            return _range(space, kind == "int", here, notes)
    raise place.at("parameterType").error(
        f"Katib has no type {kind!r}.{nearest(str(kind), _TYPES)} It has {', '.join(_TYPES)}."
    )


def _categorical(name: str, texts: list[str], place: Place, notes: Notes) -> Categorical:
    if all(text.lstrip("-").replace(".", "", 1).isdigit() for text in texts):
        notes.warn(place, f"the choices of {name} look like numbers, but a categorical is text in Katib, and here.")
    return choices(texts, place, notes)


def _range(space: Mapping[str, Any], whole: bool, place: Place, notes: Notes) -> Distribution:
    low, high = (number(required(space, key, place), place.at(key)) for key in ("min", "max"))
    if whole:
        low, high = (integer(bound, place) for bound in (low, high))
    distribution = space.get("distribution") or "uniform"
    log = distribution in ("logUniform", "logNormal")
    if not log and distribution not in _EVEN:
        known = ("uniform", "logUniform", "normal", "logNormal")
        raise place.at("distribution").error(
            f"Katib has no distribution {distribution!r}.{nearest(distribution, known)}"
        )
    if "ormal" in distribution:
        notes.warn(
            place, f"{distribution} has no counterpart: its range is sampled evenly{' in the log' if log else ''}."
        )
    step = space.get("step")
    if log:
        if step is not None:
            notes.warn(place, f"log has no step here: step {step} is left out.")
        return Int(int(low), int(high), log=True) if whole else Float(low, high, log=True)
    if step is not None:
        size = number(step, place.at("step"))
        return stepped(low, high, size) if whole else Float(low, high, step=size)
    return Int(int(low), int(high)) if whole else Float(low, high)
