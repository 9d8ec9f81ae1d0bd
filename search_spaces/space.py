"""A search space: names and what each may be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from search_spaces import dependencies
from search_spaces.constraints import Constraint
from search_spaces.distributions import Distribution
from search_spaces.documents import RESERVED
from search_spaces.errors import SpaceError
from search_spaces.feasibility import check_constraints, draw, samples, violated
from search_spaces.groups import Parts, constraints_of, nested, parts_of, prefixed, renamed
from search_spaces.place import Place
from search_spaces.values import canonical, nearest

_IDENTITY = "search_spaces/1"
"""Part of every digest; changes if what a digest covers ever does."""


class Space(Mapping[str, Distribution]):
    """An immutable mapping from parameter names to distributions, in the order written, with constraints on them.

    Two spaces are equal when they hold the same distributions under the same names, and the same constraints, in
    whatever order. A parameter in a group has the name ``group.member``, and reaches the pipeline as the key ``member``
    of its parameter ``group``, a dict.
    """

    __slots__ = ("_constraints", "_distributions", "_places")
    _constraints: dict[Constraint, Place]
    _distributions: dict[str, Distribution]
    _places: dict[str, Place]

    def __init__(
        self,
        params: Mapping[str, Any],
        *,
        constraints: Iterable[str | Constraint] = (),
        place: Place | None = None,
    ) -> None:
        """``params`` maps names to distributions or to plain values (:func:`search_spaces.distribution_of`).

        A Space, or a mapping with ``space`` or ``params``, is a group. ``constraints`` are expressions such as
        ``hidden >= 2 * heads`` that every sample satisfies; those under the key ``constraints`` count as well.
        ``place`` is where ``params`` are written, for messages.

        Raises SpaceError for a wrong value or expression, and for a condition on an unknown parameter, on a value that
        it never takes, in a circle, or in contradiction to another.
        """
        parts = _parts(params, place or Place())
        parts.constraints |= constraints_of(constraints, (place or Place()).at(RESERVED))
        self._fill(parts)

    def _fill(self, parts: Parts) -> None:
        dependencies.check(parts.distributions, parts.places)
        check_constraints(parts.constraints, parts.distributions)
        self._distributions = parts.distributions
        self._constraints = parts.constraints
        self._places = {name: parts.places[name] for name in parts.distributions}

    def __getitem__(self, name: str) -> Distribution:
        return self._distributions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._distributions)

    def __len__(self) -> int:
        return len(self._distributions)

    def __hash__(self) -> int:
        return hash(self.digest())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Space):
            return self._distributions == other._distributions and set(self._constraints) == set(other._constraints)
        return self._distributions == other if isinstance(other, Mapping) and not self._constraints else NotImplemented

    def __repr__(self) -> str:
        constraints = f", constraints={[found.text for found in self._constraints]!r}" if self._constraints else ""
        return f"Space({self._distributions!r}{constraints})"

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What every sample satisfies, in the order written."""
        return tuple(self._constraints)

    def violated(self, params: Mapping[str, Any]) -> list[str]:
        """The constraints that the sample ``params`` does not satisfy, as they are written; none for a feasible one.

        One about a parameter that is inactive by its condition is skipped. Raises SpaceError for a missing value.
        """
        return violated(self._constraints, self._distributions, params)

    def samples(self, points: int | None = None) -> Iterator[dict[str, Any]]:
        """Every feasible sample, active parameters only, with ``points`` values for each continuous range.

        Raises SpaceError for a continuous range without ``points``.
        """
        return samples(self._constraints, self._distributions, points)

    def draw(self, random: Random) -> dict[str, Any]:
        """One sample, active parameters only, whether feasible or not."""
        return draw(self._distributions, random)

    def prefixed(self, prefix: str) -> Space:
        """This space with ``prefix`` before every name, in conditions and constraints as well."""
        renamed = [constraint.renamed(lambda name: prefix + name) for constraint in self._constraints]
        return Space(prefixed(self, prefix), constraints=renamed)

    def merged(self, other: Mapping[str, Any]) -> Space:
        """The parameters and constraints of both. Raises SpaceError for a name that both have."""
        other = other if isinstance(other, Space) else Space(other)
        twice = sorted(self.keys() & other.keys())
        if twice:
            raise SpaceError(f"both spaces have {', '.join(twice)}: give one a prefix, or use override.")
        return Space({**self, **other}, constraints=(*self._constraints, *other._constraints))

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups at the top, in the order written."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self if "." in name))

    def group(self, name: str) -> Space:
        """The group ``name`` as a space of its own. Raises SpaceError if there is none, or its conditions lead out."""
        lead = f"{name}."
        members = {key: self[key] for key in self if key.startswith(lead)}
        if not members:
            raise SpaceError(f"there is no group {name!r}.{nearest(name, self.groups)}")
        for key, member in members.items():
            for parent in member.when:
                if parent not in members:
                    raise SpaceError(f"{key} depends on {parent}, which is outside the group {name}.")
        inner = {name.removeprefix(lead): renamed(member, _without(lead)) for name, member in members.items()}
        own = [found for found in self._constraints if all(one in members for one in found.names)]
        return Space(inner, constraints=[found.renamed(_without(lead)) for found in own])

    def place_of(self, name: str) -> Place:
        """Where ``name`` is written."""
        return self._places[name]

    def order(self) -> tuple[str, ...]:
        """All names, each after those that decide whether it exists: first selectors, then the rest, each by name.

        Does not depend on the order in which the parameters were written, so neither does what a seed draws.
        """
        return dependencies.order(self._distributions)

    def is_active(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether ``name`` exists in a sample whose ``values``, drawn in the order of :meth:`order`, are known so far.

        Raises SpaceError for an unknown name, and if an active parameter that decides has no value yet.
        """
        if name not in self:
            raise SpaceError(f"{name!r} is no parameter of this space.{nearest(name, self)}")
        return dependencies.is_active(name, values, self._distributions)

    def active(self, values: Mapping[str, Any]) -> dict[str, bool]:
        """:meth:`is_active` of every name. ``values`` must hold every selector that is active and not fixed."""
        return {name: self.is_active(name, values) for name in self}

    def override(self, params: Mapping[str, Any], *, place: Place | None = None) -> Space:
        """This space with ``params`` laid over it, as ``-P`` is over a file.

        A parameter keeps its condition unless given another. One not named in ``params`` whose condition can then no
        longer hold is dropped: with the encoder fixed to ``onehot``, nothing is left of ``hash_bits``, nor of the
        constraints on it. Constraints in ``params`` are added. ``place`` is where ``params`` are written. Raises
        SpaceError as the constructor does.
        """
        over = _parts(params, place or Place())
        laid = {name: self._under(name, distribution) for name, distribution in over.distributions.items()}
        merged = dependencies.restrict({**self._distributions, **laid}, frozenset(laid))
        kept = {
            constraint: place
            for constraint, place in self._constraints.items()
            if all(name in merged for name in constraint.names)
        }
        space = Space.__new__(Space)
        space._fill(Parts(merged, {**kept, **over.constraints}, {**self._places, **over.places}))
        return space

    def _under(self, name: str, distribution: Distribution) -> Distribution:
        if name in self and self[name].when and not distribution.when:
            return replace(distribution, when=self[name].when)
        return distribution

    def check(self, parameters: Iterable[str], *, accepts: Callable[[str, Any], str | None] | None = None) -> None:
        """Raises one SpaceError, a line each, for the names that are not among a pipeline's ``parameters``.

        ``accepts(name, value)`` tells why the pipeline refuses a value, ``None`` if it does not; it is asked for the
        bounds of every range, every choice and every fixed value; of a group, for a dict of the first and of the last
        of these.
        """
        known = tuple(parameters)
        errors = [self._unknown(name, known) for name in self if name.partition(".")[0] not in known]
        if accepts is not None:
            errors += [error for name in self if name in known for error in self._refused(name, accepts)]
            errors += [error for name in self.groups if name in known for error in self._refused_group(name, accepts)]
        if errors:
            first = errors[0]
            raise SpaceError("\n".join(map(str, errors)), path=first.path, file=first.file, line=first.line)

    def _unknown(self, name: str, known: tuple[str, ...]) -> SpaceError:
        return self._places[name].error(
            f"the pipeline has no parameter {name!r}.{nearest(name, known)} "
            f"Its parameters: {', '.join(known) or 'none'}."
        )

    def _refused(self, name: str, accepts: Callable[[str, Any], str | None]) -> Iterator[SpaceError]:
        for value in self[name].examples():
            refusal = accepts(name, value)
            if refusal is not None:
                yield self._places[name].error(f"the pipeline refuses {value!r}: {refusal}")
                return

    def _refused_group(self, group: str, accepts: Callable[[str, Any], str | None]) -> Iterator[SpaceError]:
        members = {name: self[name] for name in self if name.partition(".")[0] == group}
        for last in (0, -1):
            refusal = accepts(group, nested({name: found.examples()[last] for name, found in members.items()})[group])
            if refusal is not None:
                yield self._places[next(iter(members))].error(
                    f"the members of a group reach the pipeline as a dict, its parameter {group!r}: {refusal}"
                )
                return

    def as_dict(self) -> dict[str, Any]:
        """The form written in files, plain JSON, constraints under their key; ``Space(space.as_dict())`` is equal."""
        params: dict[str, Any] = {name: distribution.as_dict() for name, distribution in self.items()}
        return params | ({RESERVED: [found.text for found in self._constraints]} if self._constraints else {})

    def digest(self) -> str:
        """64 hexadecimal digits of BLAKE2b that are equal for equal spaces, in any order, from any kind of file."""
        identity = {name: distribution.identity() for name, distribution in self.items()}
        constraints = [sorted(found.text for found in self._constraints)] if self._constraints else []
        return hashlib.blake2b(canonical([_IDENTITY, identity, *constraints]).encode(), digest_size=32).hexdigest()

    def grid_size(self) -> int | None:
        """How many different samples there are, conditions counted in, constraints not; ``None`` if infinitely many."""
        return dependencies.combinations(self._distributions)


def _parts(params: Mapping[str, Any], place: Place) -> Parts:
    """The parts of ``params``, each with the place that a space remembers, else inside ``place``."""
    if isinstance(params, Space):
        return Parts(dict(params._distributions), dict(params._constraints), dict(params._places))
    return parts_of(params, place, Space)


def _without(lead: str) -> Callable[[str], str]:
    return lambda name: name.removeprefix(lead)
