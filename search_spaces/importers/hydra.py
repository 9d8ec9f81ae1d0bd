"""Overrides of Hydra's Optuna sweeper: ``lr=tag(log, interval(1e-5, 1e-1))``.

Source: https://hydra.cc/docs/advanced/override_grammar/extended and the plugin's ``_impl.py`` in
https://github.com/facebookresearch/hydra. The traps: ``range(1, 8)`` includes 8 here, though Hydra's basic sweeper
excludes it; ``interval(1, 5)`` is of floats, ``int(interval(1, 5))`` of integers; ``a,b`` without brackets is a choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces.distributions import Distribution, Fixed, Float, Int
from search_spaces.documents import read as read_document
from search_spaces.errors import SpaceError
from search_spaces.importers.notes import Notes, choices, leftovers
from search_spaces.inference import distribution_of
from search_spaces.place import Place
from search_spaces.values import nearest, scalar

_CALL = re.compile(r"([a-z_]\w*)\((.*)\)", re.DOTALL)
_OVERRIDE = re.compile(r"(\+\+|\+|~)?([\w./@:-]+?)=(.*)", re.DOTALL)
_SWEEPS = re.compile(r"^\s*(choice|range|interval|tag|int|float|str|bool|shuffle|sort|glob|extend_list)\(")


def matches(value: Any) -> bool:
    """Whether ``value`` has ``hydra.sweeper``, or is a list (or lines) of overrides of which one sweeps."""
    if isinstance(value, Mapping):
        return bool(_sweeper(value)) or any(_is_sweep(found) for found in value.values())
    if isinstance(value, str):
        value = _lines(value)
    if not isinstance(value, list) or not value or not all(isinstance(found, str) for found in value):
        return False
    found = [_OVERRIDE.fullmatch(text.strip()) for text in value]
    return all(found) and any(match is not None and _is_sweep(match[3]) for match in found)


def _is_sweep(value: Any) -> bool:
    return isinstance(value, str) and bool(_SWEEPS.match(value) or (len(_split(value)) > 1))


def _sweeper(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The sweeper's section: under ``hydra.sweeper``, nested or with a dot, or with its own package."""
    hydra = value.get("hydra")
    found = (
        hydra.get("sweeper") if isinstance(hydra, Mapping) else value.get("hydra.sweeper", value.get("hydra/sweeper"))
    )
    return found if isinstance(found, Mapping) and ("params" in found or "search_space" in found) else {}


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def read(value: Any, place: Place, notes: Notes) -> dict[str, Any]:
    """The parameters of the overrides, of ``params``, or of the ``search_space`` of Hydra 1.1. Raises SpaceError."""
    if isinstance(value, str):
        value = _lines(value)
    if isinstance(value, list):
        return _overrides(value, place, notes)
    sweeper = _sweeper(value)
    if not sweeper:
        return {name: _parameter(found, place.at(name), notes) for name, found in value.items()}
    leftovers(sweeper, ("params", "search_space"), place, notes)
    here = place.at("hydra", "sweeper")
    if sweeper.get("params"):
        params = sweeper["params"]
        return {name: _parameter(found, here.at("params", name), notes) for name, found in params.items()}
    old = sweeper["search_space"]
    return {name: distribution_of(found, here.at("search_space", name)) for name, found in old.items()}


def _overrides(texts: list[str], place: Place, notes: Notes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, text in enumerate(texts):
        match = _OVERRIDE.fullmatch(text.strip())
        if match is None:
            raise place.at(index).error(f"an override is name=value; got {text!r}.")
        sign, name, value = match.groups()
        if sign == "~" or name.startswith("hydra"):
            notes.warn(place, f"{text}: left out, since it is no parameter.")
        else:
            found[name.partition("@")[0].replace("/", ".")] = _parameter(value, place.at(name), notes)
    return found


def _parameter(value: Any, place: Place, notes: Notes) -> Distribution:
    if not isinstance(value, str):
        return Fixed(value)
    with place.locating():
        sweep = _read(value.strip(), place, notes)
        return sweep.made(place, notes) if isinstance(sweep, _Sweep) else Fixed(sweep)


@dataclass(frozen=True)
class _Sweep:
    """A sweep that casts and tags may still change: its kind, the numbers or values in it."""

    kind: str
    values: tuple[Any, ...]
    step: float = 1
    tags: frozenset[str] = field(default_factory=frozenset)
    cast: str = ""

    def made(self, place: Place, notes: Notes) -> Distribution:
        if self.tags - {"log"}:
            notes.warn(place, f"tags other than log mean nothing here: {', '.join(sorted(self.tags - {'log'}))}.")
        if self.kind == "choice":
            return choices(map(_CASTS.get(self.cast, lambda value: value), self.values), place, notes)
        low, high = self.values
        whole = self.cast == "int" or (self.kind == "range" and not self.cast and _whole(low, high, self.step))
        if self.cast in ("str", "bool"):
            raise SpaceError(f"{self.cast} of a {self.kind} has no counterpart: write a choice.")
        if self.kind == "range":
            notes.warn(
                place, f"range includes its end {high} in the Optuna sweeper, and here; Hydra's own excludes it."
            )
            if not self.step > 0:
                raise SpaceError(f"a range has a step above 0; got {self.step}.")
            return Int(int(low), int(high), step=int(self.step)) if whole else Float(low, high, step=self.step)
        log = "log" in self.tags
        return Int(int(low), int(high), log=log) if whole else Float(low, high, log=log)


def _whole(*numbers: Any) -> bool:
    return all(isinstance(number, int) for number in numbers)


_CASTS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": str, "bool": bool}


def _read(text: str, place: Place, notes: Notes) -> Any:
    """A sweep, or the plain value that ``text`` is."""
    parts = _split(text)
    if len(parts) > 1:
        return _Sweep("choice", tuple(_plain(part) for part in parts))
    call = _CALL.fullmatch(text)
    if call is None:
        return _plain(text)
    name, arguments = call[1], [part for part in _split(call[2]) if part]
    if name in _CASTS:
        inner = _read(arguments[0], place, notes) if len(arguments) == 1 else None
        if inner is None:
            raise SpaceError(f"{name} casts one value; got {text!r}.")
        return replace(inner, cast=name) if isinstance(inner, _Sweep) else _CASTS[name](inner)
    if name not in _FUNCTIONS:
        raise SpaceError(f"{name!r} of {text!r} has no counterpart.{nearest(name, (*_FUNCTIONS, *_CASTS))}")
    return _FUNCTIONS[name](arguments, place, notes)


def _choice(arguments: list[str], place: Place, notes: Notes) -> _Sweep:
    return _Sweep("choice", tuple(_plain(part) for part in arguments))


def _interval(arguments: list[str], place: Place, notes: Notes) -> _Sweep:
    named = _named(arguments, ("start", "end"))
    if len(named) != 2:
        raise SpaceError(f"an interval has start and end; got ({', '.join(arguments)}).")
    return _Sweep("interval", (named["start"], named["end"]))


def _range(arguments: list[str], place: Place, notes: Notes) -> _Sweep:
    named = _named(arguments, ("start", "stop", "step"))
    if not {"start", "stop"} & named.keys():
        raise SpaceError(f"a range has start and stop; got ({', '.join(arguments)}).")
    if "stop" not in named:
        named = {"start": 0, "stop": named["start"]}
    return _Sweep("range", (named.get("start", 0), named["stop"]), step=named.get("step", 1))


def _named(arguments: list[str], names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, part in enumerate(arguments):
        name, equals, value = part.partition("=")
        key = name.strip() if equals else (*names, "")[min(index, len(names))]
        number = scalar((value if equals else part).strip())
        if key not in names or isinstance(number, bool) or not isinstance(number, int | float):
            raise SpaceError(f"numbers called {', '.join(names)} are wanted; got {part!r}.")
        found[key] = number
    return found


def _tag(arguments: list[str], place: Place, notes: Notes) -> Any:
    *tags, last = arguments
    inner = _read(last, place, notes)
    if not isinstance(inner, _Sweep):
        raise SpaceError(f"tag is about a sweep; got {last!r}.")
    return replace(inner, tags=inner.tags | {tag.strip() for tag in tags})


def _ordered(arguments: list[str], place: Place, notes: Notes) -> _Sweep:
    """``shuffle(…)`` and ``sort(…)`` change an order that no sampler looks at; a shuffled range is a choice."""
    given = [part for part in arguments if not re.match(r"(reverse|list|sweep)\s*=", part)]
    inner = _read(given[0], place, notes) if len(given) == 1 else _choice(given, place, notes)
    if isinstance(inner, list):
        inner = _Sweep("choice", tuple(inner))
    if not isinstance(inner, _Sweep) or inner.kind == "interval":
        raise SpaceError(f"a choice or a range is wanted; got ({', '.join(arguments)}).")
    if inner.kind == "range":
        low, high = inner.values
        # Listed as Python does, so here the end is excluded.
        count = max(0, -int((low - high) // inner.step))
        inner = _Sweep("choice", tuple(low + index * inner.step for index in range(count)), cast=inner.cast)
    return inner


_FUNCTIONS: dict[str, Callable[[list[str], Place, Notes], Any]] = {
    "choice": _choice,
    "interval": _interval,
    "range": _range,
    "tag": _tag,
    "shuffle": _ordered,
    "sort": _ordered,
}


def _plain(text: str) -> Any:
    """A value of Hydra's: quoted text, a list, a mapping, or a scalar."""
    text = text.strip()
    if text[:1] in ("[", "{", '"', "'"):
        return read_document(text, "yaml", text).value
    return None if text.lower() == "null" else scalar(text)


def _split(text: str) -> list[str]:
    """``text`` at the commas that stand in no brackets and no quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += letter
    return [part.strip() for part in parts]
