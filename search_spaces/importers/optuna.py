"""Optuna's distributions, as objects or as the JSON that its storages hold; Optuna itself is not imported.

Source: ``optuna/distributions.py`` (``distribution_to_json``) of https://github.com/optuna/optuna. Those that Optuna 3
deprecated (``UniformDistribution`` and its like) are read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from search_spaces.distributions import Distribution, Float, Int
from search_spaces.importers.notes import Notes, choices, required
from search_spaces.place import Place

_SUFFIX = "Distribution"


def matches(value: Any) -> bool:
    """Whether every value of a mapping is a distribution of Optuna's."""
    return isinstance(value, Mapping) and bool(value) and all(_parts(found) is not None for found in value.values())


def read(value: Mapping[str, Any], place: Place, notes: Notes) -> dict[str, Any]:
    """The parameters. Raises SpaceError."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        here = place.at(name)
        kind, attributes = _parts(item) or ("", {})
        with here.locating():
            found[name] = _distribution(kind, attributes, here, notes)
    return found


def _parts(value: Any) -> tuple[str, dict[str, Any]] | None:
    """The class's name and the attributes of a distribution, of whatever form; ``None`` for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if isinstance(value, Mapping):
        name, attributes = value.get("name"), value.get("attributes")
        fits = isinstance(name, str) and name.endswith(_SUFFIX) and isinstance(attributes, Mapping)
        return (str(name), dict(attributes or {})) if fits else None
    kind = type(value).__name__
    if not kind.endswith(_SUFFIX):
        return None
    keys = ("low", "high", "log", "step", "q", "choices")
    return kind, {key: getattr(value, key) for key in keys if hasattr(value, key)}


def _distribution(kind: str, attributes: Mapping[str, Any], place: Place, notes: Notes) -> Distribution:
    if kind == "CategoricalDistribution":
        return choices(required(attributes, "choices", place), place, notes)
    low, high = required(attributes, "low", place), required(attributes, "high", place)
    log = bool(attributes.get("log", "LogUniform" in kind))
    if kind.startswith("Int"):
        return Int(low, high, log=log, step=1 if log else attributes.get("step") or 1)
    return Float(low, high, log=log, step=None if log else attributes.get("q", attributes.get("step")))
