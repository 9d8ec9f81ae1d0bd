"""Groups: a space under a name, or a prefix, within another; and how mappings are taken apart into parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from search_spaces.conditions import Condition
from search_spaces.constraints import Constraint
from search_spaces.distributions import Distribution
from search_spaces.documents import RESERVED, gallery_document, params_of
from search_spaces.errors import SpaceError
from search_spaces.inference import distribution_of
from search_spaces.place import Place
from search_spaces.values import nearest

if TYPE_CHECKING:
    from search_spaces.space import Space

_GROUP_KEYS = ("space", "params", "overrides", "prefix", "when", RESERVED)


@dataclass
class Parts:
    """What a space is made of, and where each part is written."""

    distributions: dict[str, Distribution] = field(default_factory=dict)
    constraints: dict[Constraint, Place] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    def add(self, name: str, distribution: Distribution, place: Place) -> None:
        """Raises SpaceError for a name that is taken."""
        if name in self.distributions:
            raise place.error(f"a parameter is written once; {name!r} is in two groups: give one of them a prefix.")
        self.distributions[name] = distribution
        self.places[name] = place


def parts_of(params: Mapping[str, Any], place: Place, space: type[Space]) -> Parts:
    """The parts of ``params``, groups, which are made as a ``space``, taken apart.

    Raises SpaceError naming ``place`` and the key.
    """
    if not isinstance(params, Mapping):
        raise place.error(f"a space maps names to what they may be; got {params!r}: write name: value pairs.")
    parts = Parts()
    for name, value in params.items():
        if not isinstance(name, str) or not name:
            raise place.error(f"a parameter's name is text; got {name!r}: use the pipeline's own names.")
        here = place.at(name)
        if name == RESERVED:
            parts.constraints |= constraints_of(value, here)
        elif isinstance(value, space):
            _add(parts, value, f"{name}.", Condition(), here)
        elif isinstance(value, Mapping) and {"space", "params"} & value.keys():
            _add_group(parts, name, value, here, space)
        else:
            parts.add(name, distribution_of(value, here), here)
    return parts


def constraints_of(texts: Any, place: Place) -> dict[Constraint, Place]:
    """The constraints that a list of texts (or a single one) stands for, each with its place."""
    found: dict[Constraint, Place] = {}
    if isinstance(texts, str | Constraint):
        texts = [texts]
    if isinstance(texts, Mapping | Distribution) or not isinstance(texts, Iterable):
        raise place.error(
            f"{RESERVED} is a list of expressions, for instance ['hidden >= 2 * heads'], and no parameter's name; "
            f"got {texts!r}."
        )
    for index, text in enumerate(texts):
        here = place.at(index)
        with here.locating():
            found[text if isinstance(text, Constraint) else Constraint(text)] = here
    return found


def _add_group(parts: Parts, name: str, value: Mapping[str, Any], place: Place, space: type[Space]) -> None:
    """The members of the group ``name``, called ``name.member`` or, with a ``prefix``, that and ``member``."""
    for key in value:
        if key not in _GROUP_KEYS:
            raise place.at(str(key)).error(
                f"a group has {', '.join(_GROUP_KEYS)}; got {key!r}.{nearest(str(key), _GROUP_KEYS)}"
            )
    prefix = value.get("prefix", f"{name}.")
    if not isinstance(prefix, str):
        raise place.at("prefix").error(f"a prefix is text; got {prefix!r}: write prefix: {name}_, or ''.")
    with place.at("when").locating():
        when = Condition(value.get("when"))
    _add(parts, _space_of(value, place, space), prefix, when, place)


def _add(parts: Parts, members: Space, prefix: str, when: Condition, place: Place) -> None:
    for name, distribution in prefixed(members, prefix).items():
        member = name.removeprefix(prefix)
        where = members.place_of(member)
        parts.add(name, _under(distribution, when, place.at("when")), where if where.file else place.at(member))
    renamed = [constraint.renamed(lambda name: prefix + name) for constraint in members.constraints]
    parts.constraints |= dict.fromkeys(renamed, place)


def _space_of(value: Mapping[str, Any], place: Place, space: type[Space]) -> Space:
    """The space that the mapping ``value`` names or holds."""
    if "space" in value and "params" in value:
        raise place.error("a group has space or params, not both: lay params over a space as overrides.")
    if "params" in value:
        found = space(value["params"], constraints=value.get(RESERVED, ()), place=place.at("params"))
    elif RESERVED in value:
        raise place.at(RESERVED).error("constraints of a named space stand in its overrides: move them there.")
    elif isinstance(value["space"], space):
        found = value["space"]
    else:
        with place.at("space").locating():
            params, where = params_of(gallery_document(value["space"]))
        found = space(params, place=where)
    with place.at("overrides").locating():
        return found.override(value["overrides"]) if "overrides" in value else found


def _under(distribution: Distribution, when: Condition, place: Place) -> Distribution:
    """``distribution`` that exists, besides, only ``when`` its whole group does."""
    for parent in when:
        if parent in distribution.when:
            raise place.error(f"{parent} is in the condition of a member already: write the condition there.")
    return replace(distribution, when=Condition({**distribution.when, **when})) if when else distribution


def prefixed(space: Mapping[str, Distribution], prefix: str) -> dict[str, Distribution]:
    """The distributions of ``space`` with ``prefix`` before each name, also in conditions."""
    return {f"{prefix}{name}": renamed(found, lambda one: prefix + one) for name, found in space.items()}


def renamed(distribution: Distribution, rename: Callable[[str], str]) -> Distribution:
    """``distribution`` with every parameter of its condition called ``rename(name)``."""
    when = {rename(parent): list(allowed) for parent, allowed in distribution.when.items()}
    return replace(distribution, when=Condition(when)) if when else distribution


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as a pipeline takes them: ``{"fit.lr": 1, "seed": 7}`` → ``{"fit": {"lr": 1}, "seed": 7}``.

    Raises SpaceError where a name is both a value and a group.
    """
    made: dict[str, Any] = {}
    groups: set[str] = set()
    for name, value in values.items():
        *path, last = name.split(".")
        inner = made
        for depth, key in enumerate(path, start=1):
            group = ".".join(path[:depth])
            if key in inner and group not in groups:
                raise SpaceError(f"{group} is a parameter and a group ({name}): rename one of them.")
            groups.add(group)
            inner = inner.setdefault(key, {})
        if last in inner:
            raise SpaceError(f"{name} is a parameter and a group: rename one of them.")
        inner[last] = value
    return made


def flattened(names: Iterable[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`nested`: those of ``names`` that the pipeline's ``params`` hold, each with its value.

    A group may be a dict or a dataclass.
    """
    found = {}
    for name in names:
        *path, last = name.split(".")
        held: Any = params
        for key in path:
            held = _members(held).get(key)
        members = _members(held)
        if last in members:
            found[name] = members[last]
    return found


def _members(value: Any) -> Mapping[str, Any]:
    """The members of a group; none of what is no group."""
    if isinstance(value, Mapping):
        return value
    if not is_dataclass(value) or isinstance(value, type):
        return {}
    return {each.name: getattr(value, each.name) for each in fields(value)}
