"""Which parameters hang on which: the rules of conditions, the order of sampling, the number of combinations."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from search_spaces.conditions import Condition
from search_spaces.distributions import Categorical, Distribution
from search_spaces.errors import SpaceError
from search_spaces.place import Place
from search_spaces.values import nearest

Distributions = Mapping[str, Distribution]


def selectors(distributions: Distributions) -> frozenset[str]:
    """The names that some condition mentions."""
    return frozenset(parent for distribution in distributions.values() for parent in distribution.when)


def order(distributions: Distributions) -> tuple[str, ...]:
    """Every name after those its condition mentions; all selectors first, and by name where nothing else decides.

    Depends on what the parameters are, not on the order in which they were written. Raises graphlib.CycleError.
    """
    chosen = selectors(distributions)
    sorter = TopologicalSorter({name: tuple(found.when) for name, found in sorted(distributions.items())})
    sorter.prepare()
    waiting: list[tuple[bool, str]] = []
    names: list[str] = []
    while sorter.is_active():
        for ready in sorter.get_ready():
            heapq.heappush(waiting, (ready not in chosen, ready))
        names.append(heapq.heappop(waiting)[1])
        sorter.done(names[-1])
    return tuple(names)


def check(distributions: Distributions, places: Mapping[str, Place]) -> None:
    """Raises SpaceError for a name that is a group too, an unknown parent, a value that it never takes, a cycle, or a
    contradiction."""
    for name, distribution in distributions.items():
        _check_name(name, places[name], distributions)
        for parent, allowed in distribution.when.items():
            _check_parent(places[name].at("when", parent), parent, allowed, distributions)
    try:
        ordered = order(distributions)
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        raise (
            places[circle[0]]
            .at("when")
            .error(f"conditions form no circle; got {' → '.join(circle)}: drop one of these conditions.")
        ) from None
    _check_contradictions(ordered, distributions, places)


def _check_name(name: str, place: Place, distributions: Distributions) -> None:
    group, dot, _ = name.rpartition(".")
    while dot:
        if group in distributions:
            raise place.error(f"a name is a parameter or a group; {group!r} is both ({name}): rename one of them.")
        group, dot, _ = group.rpartition(".")


def _check_parent(place: Place, parent: str, allowed: tuple[Any, ...], distributions: Distributions) -> None:
    if parent not in distributions:
        raise place.error(
            f"a condition names a parameter of the space; {parent!r} is none.{nearest(parent, distributions)} "
            f"Parameters: {', '.join(distributions)}."
        )
    distribution = distributions[parent]
    if distribution.size() is None:
        raise place.error(
            f"{parent} is a continuous range, {distribution!r}, that never takes exactly {allowed[0]!r}: "
            "give it a step or choices."
        )
    for value in allowed:
        if not distribution.contains(value):
            words = [choice for choice in distribution.examples() if isinstance(choice, str)]
            meant = nearest(value, words) if isinstance(value, str) else ""
            if distribution.contains(list(allowed)):
                meant = f" A list is several values; for the one value that is a list write [{list(allowed)!r}]."
            raise place.error(f"{parent} never takes {value!r}, it is {distribution!r}.{meant}")


def _check_contradictions(ordered: tuple[str, ...], distributions: Distributions, places: Mapping[str, Place]) -> None:
    """A parameter inherits its parents' conditions, since it cannot exist without them."""
    needs: dict[str, dict[str, set[str]]] = {}
    for name in ordered:
        need = _cells(name, distributions)
        for parent in distributions[name].when:
            for ancestor, allowed in needs[parent].items():
                need[ancestor] = need.get(ancestor, allowed) & allowed
                if not need[ancestor]:
                    place = places[name].at("when")
                    raise place.error(
                        f"a condition can hold; {name} needs another {ancestor} than its parents have: "
                        f"change this condition or that of {parent}."
                    )
        needs[name] = need


def restrict(distributions: Distributions, chosen: frozenset[str]) -> dict[str, Distribution]:
    """``distributions`` without the parameters, outside ``chosen``, whose conditions can no longer hold."""
    kept = dict(distributions)
    changed = True
    while changed:
        changed = False
        for name, distribution in list(kept.items()):
            if name in chosen or not distribution.when:
                continue
            when = {
                parent: [value for value in allowed if parent in kept and kept[parent].contains(value)]
                for parent, allowed in distribution.when.items()
            }
            if not all(when.values()):
                del kept[name]
                changed = True
            elif when != {parent: list(allowed) for parent, allowed in distribution.when.items()}:
                kept[name] = replace(distribution, when=Condition(when))
    return kept


def is_active(name: str, values: Mapping[str, Any], distributions: Distributions) -> bool:
    """Whether ``name`` exists, given the ``values`` so far. Raises SpaceError if a value that decides is missing."""
    for parent in distributions[name].when:
        if not is_active(parent, values, distributions):
            return False
        if parent not in values and distributions[parent].size() != 1:
            raise SpaceError(f"{name} depends on {parent}, which has no value yet: sample in the order of order().")
        value = values[parent] if parent in values else distributions[parent].examples()[0]
        if distributions[parent].cell(value) not in _cells(name, distributions)[parent]:
            return False
    return True


def _cells(name: str, distributions: Distributions) -> dict[str, set[str]]:
    """The condition of ``name``, each allowed value as its parent sees it."""
    when = distributions[name].when
    return {parent: set(map(distributions[parent].cell, allowed)) for parent, allowed in when.items()}


def combinations(distributions: Distributions) -> int | None:
    """How many different samples there are, inactive parameters not counted apart; ``None`` for infinitely many."""
    if any(distribution.size() is None for distribution in distributions.values()):
        return None
    ordered = order(distributions)
    conditions = {name: _cells(name, distributions) for name in ordered}
    mentioned: dict[str, set[str]] = {name: set() for name in selectors(distributions)}
    for condition in conditions.values():
        for parent, values in condition.items():
            mentioned[parent] |= values

    def count(index: int, values: Mapping[str, str]) -> int:
        """Samples of the parameters from ``index`` on, given the ``values`` of the selectors before."""
        if index == len(ordered):
            return 1
        name = ordered[index]
        if not _holds(conditions[name], values):
            return count(index + 1, values)
        size = distributions[name].size() or 0
        if name not in mentioned:
            return size * count(index + 1, values)
        shares = {value: _share(distributions[name], value) for value in sorted(mentioned[name])}
        # All values that no condition mentions have the same consequences, so they are counted at once.
        shares[""] = size - sum(shares.values())
        return sum(share * count(index + 1, {**values, name: value}) for value, share in shares.items() if share)

    return count(0, {})


def _holds(condition: Mapping[str, set[str]], values: Mapping[str, str]) -> bool:
    return all(values.get(parent) in allowed for parent, allowed in condition.items())


def _share(distribution: Distribution, value: str) -> int:
    """How many of the distribution's values are in the cell ``value``: two for choices 1 and 1.0."""
    if isinstance(distribution, Categorical):
        return [distribution.cell(choice) for choice in distribution.choices].count(value)
    return 1
