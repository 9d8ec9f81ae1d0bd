"""Search spaces of Ray Tune, which are Python objects; Ray itself is not imported.

Source: https://docs.ray.io/en/latest/tune/api/search_space.html and ``ray/tune/search/sample.py``. The traps: the upper
bounds of ``randint`` and ``lograndint`` are excluded, those of ``qrandint`` and ``qlograndint`` included, except that
``q=1`` draws as if there were no q; quantised bounds are rounded inwards to multiples of q.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.distributions import Distribution, Fixed, Float, Int
from search_spaces.importers.notes import Notes, choices, multiples, normal, rounded_log, stepped
from search_spaces.place import Place

_DOMAINS = ("Float", "Integer", "Categorical", "Function")


def matches(value: Any) -> bool:
    """Whether ``value`` is a mapping with a domain of Ray's, or a ``grid_search``, somewhere in it."""
    return isinstance(value, Mapping) and any(_is_domain(found) or matches(found) for found in value.values())


def _is_domain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return set(value) == {"grid_search"}
    if type(value).__name__ not in _DOMAINS:
        return False
    return hasattr(value, "sampler") or hasattr(value, "func")


def read(value: Mapping[str, Any], place: Place, notes: Notes) -> dict[str, Any]:
    """The parameters; a mapping in the mapping is a group, any other value is fixed. Raises SpaceError."""
    found: dict[str, Any] = {}
    for name, item in value.items():
        here = place.at(name)
        if type(item).__name__ == "Function":
            notes.warn(here, "sample_from calls a function, which has no counterpart: left out.")
        elif _is_domain(item):
            with here.locating():
                found[name] = _distribution(item, here, notes)
        elif isinstance(item, Mapping) and matches(item):
            found[name] = {"params": read(item, here, notes)}
        else:
            found[name] = Fixed(item)
    return found


def _distribution(domain: Any, place: Place, notes: Notes) -> Distribution:
    if isinstance(domain, Mapping):
        notes.warn(place, "grid_search runs every value; here they are choices: sampler grid runs all of them.")
        return choices(domain["grid_search"], place, notes)
    if hasattr(domain, "categories"):
        return choices(domain.categories, place, notes)
    sampler, q = domain.sampler, None
    if hasattr(sampler, "q"):
        sampler, q = sampler.sampler, sampler.q
    kind = type(sampler).__name__
    if "Normal" in kind:
        return normal(sampler.mean, sampler.sd, place, notes)
    log = "LogUniform" in kind
    if type(domain).__name__ == "Integer":
        return _integers(domain.lower, domain.upper, q, log, place, notes)
    if q is None:
        return Float(domain.lower, domain.upper, log=log)
    low, high = multiples(domain.lower, domain.upper, q, place)
    return rounded_log(low, high, q, place, notes) if log else Float(low, high, step=q)


def _integers(lower: int, upper: int, q: int | None, log: bool, place: Place, notes: Notes) -> Distribution:
    if q == 1:
        notes.warn(place, f"with q=1 Ray never draws the upper bound {upper}, though its documentation includes it.")
    if q is None or q == 1:
        if upper <= lower:
            raise place.error(f"the upper bound is excluded, so it is above the lower; got [{lower}, {upper}].")
        return Int(lower, upper - 1, log=log)
    low, high = multiples(lower, upper, q, place)
    return rounded_log(low, high, q, place, notes) if log else stepped(low, high, q)
