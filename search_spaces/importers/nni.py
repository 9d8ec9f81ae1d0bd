"""Search spaces of Microsoft's NNI.

Source: ``docs/source/hpo/search_space.rst`` of https://github.com/microsoft/nni. The traps: the upper bound of
``randint`` is excluded; ``quniform`` clips, so that bounds which are no multiples of q are values as well; an option
of ``choice`` may be a space of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from search_spaces.conditions import Condition
from search_spaces.distributions import Distribution, Fixed, Float, Int
from search_spaces.importers.notes import Notes, choices, clipped, integer, leftovers, normal, number, rounded_log
from search_spaces.place import Place
from search_spaces.values import nearest

_NAME = "_name"
"""The key by which a nested option is chosen, in NNI's spaces and in its samples."""


def matches(value: Any) -> bool:
    """Whether ``value``, or its ``searchSpace``, maps names to ``_type`` and ``_value``."""
    return isinstance(value, Mapping) and (_is_space(value) or _is_space(value.get("searchSpace")))


def _is_space(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(found, Mapping) and "_type" in found and "_value" in found for found in value.values())
    )


def read(value: Mapping[str, Any], place: Place, notes: Notes) -> dict[str, Any]:
    """The parameters of a space, or of an experiment's ``searchSpace``. Raises SpaceError."""
    if not _is_space(value):
        leftovers(value, ("searchSpace",), place, notes)
        value, place = value["searchSpace"], place.at("searchSpace")
    return {name: _parameter(found, place.at(name), notes) for name, found in value.items()}


def _parameter(value: Mapping[str, Any], place: Place, notes: Notes) -> Any:
    kind, arguments = value["_type"], value["_value"]
    if not isinstance(arguments, list):
        raise place.at("_value").error(f"_value is a list; got {arguments!r}.")
    if kind == "choice":
        if any(isinstance(option, Mapping) and _NAME in option for option in arguments):
            return {"params": _nested(arguments, place, notes)}
        return choices(arguments, place, notes)
    if kind not in _READERS:
        raise place.at("_type").error(f"NNI has no type {kind!r}.{nearest(str(kind), _READERS)}")
    count, reader = _READERS[kind]
    if kind == "randint" and len(arguments) == 1:
        arguments = [0, *arguments]  # as NNI wrote it until 0.8
    if len(arguments) != count:
        raise place.at("_value").error(f"{kind} has {count} values; got {arguments!r}.")
    with place.locating():
        return reader([number(item, place.at("_value")) for item in arguments], place, notes)


def _nested(options: list[Any], place: Place, notes: Notes) -> dict[str, Any]:
    """The option's name under ``_name``, as in NNI's samples, and the parameters of each while it is chosen."""
    found: dict[str, Any] = {}
    names = [option[_NAME] if isinstance(option, Mapping) and _NAME in option else option for option in options]
    for name, option in zip(names, options, strict=True):
        for key, value in option.items() if isinstance(option, Mapping) else ():
            if key == _NAME:
                continue
            parameter = _parameter(value, place.at(key), notes) if isinstance(value, Mapping) else Fixed(value)
            if not isinstance(parameter, Distribution):
                raise place.at(key).error(
                    "an option of an option is nested too deep here: write the conditions by hand."
                )
            _lay(found, key, replace(parameter, when=Condition({_NAME: [name]})), place, notes)
    return {_NAME: choices(names, place, notes), **found}


def _lay(found: dict[str, Any], key: str, parameter: Distribution, place: Place, notes: Notes) -> None:
    """Put ``parameter`` under ``key``; one that two options share exists for both, if it is the same in both."""
    known = found.get(key)
    if known is None:
        found[key] = parameter
    elif replace(known, when=Condition()) == replace(parameter, when=Condition()):
        found[key] = replace(known, when=Condition({_NAME: [*known.when[_NAME], *parameter.when[_NAME]]}))
    else:
        renamed = f"{parameter.when[_NAME][0]}_{key}"
        notes.warn(place, f"{key} differs between options: that of {parameter.when[_NAME][0]} is called {renamed}.")
        found[renamed] = parameter


def _randint(values: list[float], place: Place, notes: Notes) -> Distribution:
    low, upper = (integer(value, place) for value in values)
    if upper <= low:
        raise place.error(f"the upper bound of randint is excluded, so it is above the lower; got [{low}, {upper}].")
    return Int(low, upper - 1)


def _normal(log: bool) -> Callable[[list[float], Place, Notes], Distribution]:
    return lambda values, place, notes: normal(values[0], values[1], place, notes, log=log)


_READERS: dict[str, tuple[int, Callable[[list[float], Place, Notes], Distribution]]] = {
    "randint": (2, _randint),
    "uniform": (2, lambda values, place, notes: Float(values[0], values[1])),
    "quniform": (3, lambda values, place, notes: clipped(values[0], values[1], values[2], place)),
    "loguniform": (2, lambda values, place, notes: Float(values[0], values[1], log=True)),
    "qloguniform": (3, lambda values, place, notes: rounded_log(values[0], values[1], values[2], place, notes)),
    "normal": (2, _normal(False)),
    "qnormal": (3, _normal(False)),
    "lognormal": (2, _normal(True)),
    "qlognormal": (3, _normal(True)),
}
