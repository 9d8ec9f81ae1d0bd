"""A search space: names and what each may be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from search_spaces import dependencies
from search_spaces.distributions import Distribution
from search_spaces.errors import SpaceError
from search_spaces.inference import distribution_of
from search_spaces.place import Place
from search_spaces.values import canonical, nearest

_IDENTITY = "search_spaces/1"
"""Part of every digest; changes if what a digest covers ever does."""


class Space(Mapping[str, Distribution]):
    """An immutable mapping from parameter names to distributions, in the order written.

    Two spaces are equal when they hold the same distributions under the same names, in whatever order.
    """

    __slots__ = ("_distributions", "_places")
    _distributions: dict[str, Distribution]
    _places: dict[str, Place]

    def __init__(self, params: Mapping[str, Any], *, place: Place | None = None) -> None:
        """``params`` maps names to distributions or to plain values (:func:`search_spaces.distribution_of`).

        ``place`` is where they are written, for messages. Raises SpaceError for a wrong value, and for a condition
        on an unknown parameter, on a value that it never takes, in a circle, or in contradiction to another.
        """
        places = _places(params, place or Place())
        self._fill({name: distribution_of(value, places[name]) for name, value in params.items()}, places)

    def _fill(self, distributions: dict[str, Distribution], places: Mapping[str, Place]) -> None:
        dependencies.check(distributions, places)
        self._distributions = distributions
        self._places = {name: places[name] for name in distributions}

    def __getitem__(self, name: str) -> Distribution:
        return self._distributions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._distributions)

    def __len__(self) -> int:
        return len(self._distributions)

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return f"Space({self._distributions!r})"

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

    def override(self, params: Mapping[str, Any]) -> Space:
        """This space with ``params`` laid over it, as ``-P`` is over a file.

        A parameter keeps its condition unless given another. One not named in ``params`` whose condition can then no
        longer hold is dropped: with the encoder fixed to ``onehot``, nothing is left of ``hash_bits``. Raises
        SpaceError as the constructor does.
        """
        places = _places(params, Place())
        laid = {name: self._under(name, distribution_of(value, places[name])) for name, value in params.items()}
        space = Space.__new__(Space)
        merged = dependencies.restrict({**self._distributions, **laid}, frozenset(laid))
        space._fill(merged, {**self._places, **places})
        return space

    def _under(self, name: str, distribution: Distribution) -> Distribution:
        if name in self and self[name].when and not distribution.when:
            return replace(distribution, when=self[name].when)
        return distribution

    def check(self, parameters: Iterable[str], *, accepts: Callable[[str, Any], str | None] | None = None) -> None:
        """Raises one SpaceError, a line each, for the names that are not among a pipeline's ``parameters``.

        ``accepts(name, value)`` tells why the pipeline refuses a value, ``None`` if it does not; it is asked for the
        bounds of every range, every choice and every fixed value.
        """
        known = tuple(parameters)
        errors = [self._unknown(name, known) for name in self if name not in known]
        if accepts is not None:
            errors += [error for name in self if name in known for error in self._refused(name, accepts)]
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

    def as_dict(self) -> dict[str, Any]:
        """The form written in files, plain JSON; ``Space(space.as_dict())`` is equal."""
        return {name: distribution.as_dict() for name, distribution in self.items()}

    def digest(self) -> str:
        """64 hexadecimal digits of BLAKE2b that are equal for equal spaces, in any order, from any kind of file."""
        identity = {name: distribution.identity() for name, distribution in self.items()}
        return hashlib.blake2b(canonical([_IDENTITY, identity]).encode(), digest_size=32).hexdigest()

    def grid_size(self) -> int | None:
        """How many different samples there are, conditions counted in; ``None`` if a range is continuous."""
        return dependencies.combinations(self._distributions)


def _places(params: Mapping[str, Any], place: Place) -> Mapping[str, Place]:
    """Where each parameter is written: as a space remembers, else inside ``place``. Raises SpaceError for bad names."""
    if not isinstance(params, Mapping):
        raise place.error(f"a space maps names to what they may be; got {params!r}: write name: value pairs.")
    if isinstance(params, Space):
        return params._places
    for name in params:
        if not isinstance(name, str) or not name:
            raise place.error(f"a parameter's name is text; got {name!r}: use the pipeline's own names.")
    return {name: place.at(name) for name in params}
