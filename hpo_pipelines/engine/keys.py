"""A step's key: the digest of named parts that say what it computes, from what, and with what."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from hpo_pipelines.canonical import NotCanonical, value_digest
from hpo_pipelines.component import Component
from hpo_pipelines.fingerprint import (
    CodeFingerprint,
    file_digest,
    package_digests,
    project_of,
    unwrap,
    value_fingerprint,
)
from hpo_pipelines.fingerprint.files import requirement_digests
from hpo_pipelines.types import KeyPart


@dataclass(frozen=True)
class Key:
    """``digest`` identifies the work; None when a part of it cannot be hashed, which ``problem`` then names."""

    digest: str | None
    parts: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Difference:
    """One piece that two keys do not share; ``old`` or ``new`` is None where a key has no such piece.

    ``kind`` and what ``name`` says with it, and what ``old`` and ``new`` hold:

    ===============  ==================================================  ==================================
    ``code``         a piece of :attr:`CodeFingerprint.parts`            its digest
    ``packages``     a distribution                                      its version
    ``inputs``       an argument                                         its digest
    ``environment``  ``python``, ``image``, ``packages``, ``env.NAME``   what is declared, as it is; for ``files``, what
                     and ``files``                                       packages named by ``file:`` hold, as digests
    ``version``      ``version``                                         the text given to ``Cache(version=)``
    ``depends``      a dependency given to ``Cache(depends=)``           its digest
    ``outputs``      ``outputs``                                         the names, in order
    ===============  ==================================================  ==================================
    """

    kind: str
    name: str
    old: Any
    new: Any


def differences(old_parts: Mapping[str, Any], new_parts: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What differs between the stored parts of two keys, in the order of the table of :class:`Difference`.

    Two keys of one component differ if and only if this is not empty.
    """
    found: list[Difference] = []
    for kind in _KINDS:
        if old_parts.get(kind) != new_parts.get(kind):  # most are the same; two are made comparable only where not
            old, new = _pieces(kind, old_parts), _pieces(kind, new_parts)
            names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            found += [Difference(kind, name, old.get(name), new.get(name)) for name in names]
    return tuple(found)


_KINDS = ("code", "packages", "inputs", "environment", "version", "depends", "outputs")


def _pieces(kind: str, parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of a key of one kind, by name."""
    if kind in ("version", "outputs"):
        return {kind: parts.get(kind)}
    pieces = parts.get(kind, {})
    if kind == "code":
        return {name: digest for name, digest in pieces.items() if name != "digest"}
    if kind == "environment":
        plain = {name: value for name, value in pieces.items() if name != "env"}
        return plain | {f"env.{name}": value for name, value in pieces.get("env", {}).items()}
    return dict(pieces)


@dataclass(frozen=True)
class Stored:
    """Stands, inside an argument, for a stored input: its identity without its value."""

    value_digest: str


def argument_digest(name: str, value: Any) -> tuple[str, str | None]:
    """The identity of one argument, and what is wrong with it if it has none."""
    try:
        return value_digest(value), None
    except NotCanonical as error:
        return "", f"{_about(name)} {error.said}"


def _about(name: str) -> str:
    return f"argument {name}"


def step_key(
    component: Component[..., Any], code: CodeFingerprint, inputs: Mapping[str, str], problems: tuple[str, ...]
) -> Key:
    """The key of one call of ``component``, whose arguments have the identities ``inputs`` and these ``problems``.

    The code of dependencies is followed into what ``code`` was followed into.
    """
    cache = component.options.cache
    depends = dependencies(component, first_party=code.first_party)
    ignored = {name for name in inputs if name.partition("[")[0] in cache.ignore}
    fixed, digest = _fixed(component, code)
    parts: dict[str, Any] = {**fixed, "inputs": {name: value for name, value in inputs.items() if name not in ignored}}
    if cache.depends:
        parts["packages"] = dict(sorted({**depends.packages, **code.packages}.items()))
        parts["depends"] = dict(depends.digests)
    unignored = (problem for problem in problems if not problem.startswith(tuple(f"{_about(n)} " for n in ignored)))
    found = [*code.problems, *depends.problems, *unignored]
    if found:
        return Key(None, parts, found[0])
    called: dict[str, Any] = {name: parts[name] for name in ("inputs", "depends", "packages") if name in parts}
    return Key(value_digest({**called, "fixed": digest}), parts)


_known: WeakKeyDictionary[Component[..., Any], tuple[CodeFingerprint, Mapping[str, Any], str]] = WeakKeyDictionary()


def _fixed(component: Component[..., Any], code: CodeFingerprint) -> tuple[Mapping[str, Any], str]:
    """The parts that all calls of ``component`` share as long as its code stays, and their digest."""
    cache, environment = component.options.cache, component.options.environment
    files = requirement_digests(environment.packages)
    known = _known.get(component)
    if known is not None and known[0] is code and known[1]["environment"].get("files", {}) == files:
        return known[1:]
    parts: dict[str, Any] = {
        "component": f"{component.__module__}:{component.__qualname__}",
        "code": {"digest": code.digest, **code.parts},
        "packages": dict(sorted(code.packages.items())),
        "environment": {
            "python": environment.python or "{}.{}".format(*sys.version_info),
            "packages": list(environment.packages),
            "env": dict(environment.env),
            "image": environment.image,
            **({"files": files} if files else {}),
        },
        "outputs": list(component.form.names),
    }
    if cache.version is not None:
        parts["version"] = cache.version
    identity = {name: value for name, value in parts.items() if name not in ("code", "component", "packages")}
    digest = value_digest({**identity, "code": code.digest})
    _known[component] = code, parts, digest
    return parts, digest


@dataclass(frozen=True)
class Dependencies:
    """What ``Cache(depends=)`` comes to: digests by name, versions of distributions, and what has no identity."""

    digests: Mapping[str, str]
    packages: Mapping[str, str]
    problems: tuple[str, ...]


def dependencies(component: Component[..., Any], *, first_party: Collection[str] = frozenset()) -> Dependencies:
    """The identity of everything in ``Cache(depends=)``, lists and tuples in there item by item.

    A path counts by what the file or folder holds now, and is called by where it lies in the component's project; a
    first-party function, class or module by all the code that it reaches, piece by piece, a package with the text of
    every module below it, imported or not; anything else by its value, as ``depends[0]``.
    """
    cache = component.options.cache
    digests: dict[str, str] = {}
    packages: dict[str, str] = {}
    problems: list[str] = []
    root = project_of(getattr(unwrap(component.function), "__globals__", {})) if cache.depends else ""
    for label, item in _flat(cache.depends, "depends"):
        pieces: Mapping[str, str]
        if isinstance(item, KeyPart):
            pieces = {item.name: item.digest}
        elif isinstance(item, Path):
            try:
                pieces = {_inside(item, root): file_digest(item)}
            except OSError as error:
                pieces = {}
                problems.append(f"{label} cannot be read: {item}: {error.strerror or error}")
        else:
            found = value_fingerprint(item, label, first_party=first_party)
            pieces = _pieces_of(unwrap(item) if callable(item) else item, found, label)
            packages.update(found.packages)
            problems += found.problems
        for name, digest in pieces.items():
            digests[_free(name, digest, digests)] = digest
    return Dependencies(digests, packages, tuple(problems))


def _pieces_of(item: object, found: CodeFingerprint, label: str) -> Mapping[str, str]:
    if isinstance(item, ModuleType) and found.parts:
        return {**found.parts, **package_digests(item)}
    if isinstance(item, FunctionType | type) and found.parts:
        return found.parts
    return {label: found.digest, **found.parts}


def _flat(items: Iterable[Any], label: str) -> Iterator[tuple[str, Any]]:
    for index, item in enumerate(items):
        if type(item) in (list, tuple):
            yield from _flat(item, f"{label}[{index}]")
        else:
            yield f"{label}[{index}]", item


def _inside(path: Path, root: str) -> str:
    """``path`` without the folder of the project; of any other, the last name: two hosts keep data in two places."""
    try:
        return path.absolute().relative_to(root).as_posix() if root else path.name
    except ValueError:
        return path.name


def _free(name: str, digest: str, taken: Mapping[str, str]) -> str:
    """``name``, or what to call another piece that has the same."""
    count, free = 1, name
    while taken.get(free, digest) != digest:
        count += 1
        free = f"{name}#{count}"
    return free
