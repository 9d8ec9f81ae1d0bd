"""The first-party modules that code reaches by import statements, with their sources; found without importing any."""

from __future__ import annotations

import functools
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from hpo_pipelines.firstparty import is_first_party
from hpo_pipelines.snapshot.beside import kept
from hpo_pipelines.snapshot.content import Unit
from hpo_pipelines.snapshot.imports import exported, imports_of
from hpo_pipelines.snapshot.loaded import source_of, text_of

BY_VALUE = frozenset({"__main__", "__mp_main__"})
"""Modules that no other process can import: what they define travels by value."""


@dataclass
class Closure:
    """The modules reached so far.

    ``units`` are carried; ``externals`` are top-level names of what is not first-party; ``sourceless`` are first-party
    modules that have no source to carry (compiled extensions): a worker must be able to import them.
    """

    first_party: frozenset[str]
    units: dict[str, Unit] = field(default_factory=dict)
    externals: set[str] = field(default_factory=set)
    sourceless: set[str] = field(default_factory=set)
    _paths: dict[str, Sequence[str] | None] = field(default_factory=dict)
    _absent: set[str] = field(default_factory=set)

    def reach(self, names: Iterable[str]) -> Closure:
        """Add the modules ``names`` (dotted; attributes of modules are passed over), and all that those import."""
        pending = list(names)
        while pending:
            name = pending.pop()
            for fresh in self._modules_on_the_way(name):
                pending += self._imports(fresh)
        return self

    def _modules_on_the_way(self, name: str) -> Iterable[str]:
        """The first-party modules among ``a``, ``a.b`` and ``a.b.c`` that were not reached before."""
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            prefix = ".".join(parts[:length])
            if prefix in self._absent or prefix in BY_VALUE:
                return
            if prefix not in self._paths:
                unit = self._find(prefix)
                if unit is not None:
                    self.units[prefix] = unit
                    self._carry_namespaces(parts[: length - 1])
                    yield prefix
                elif prefix not in self._paths:
                    self._absent.add(prefix)
                    return
            if self._paths[prefix] is None:
                return

    def _carry_namespaces(self, parents: list[str]) -> None:
        """A worker needs the namespace packages above a carried module, even those that others share."""
        for length in range(1, len(parents) + 1):
            parent = ".".join(parents[:length])
            if parent not in self.sourceless:
                self.units.setdefault(parent, Unit("", True, None))

    def _find(self, name: str) -> Unit | None:
        """The module ``name``, if it is first-party and has a source; notes in ``_paths`` where its submodules are."""
        found = _loaded(name) or _on_disk(name, self._paths.get(name.rpartition(".")[0]))
        if found is None:
            # An optional import that is absent here, or an attribute of the module before it.
            return None
        is_namespace = found.path is not None and found.origin is None
        if not is_first_party(name, self.first_party):
            self.externals.add(name.partition(".")[0])
            # A namespace may hold first-party packages beside installed ones.
            if is_namespace:
                self._paths[name] = found.path
            return None
        self._paths[name] = found.path
        if is_namespace:
            return Unit("", True, None)
        source = found.read()
        if source is None or found.origin is None:
            self.sourceless.add(name)
            return None
        return Unit(source, found.path is not None, found.origin, kept(name))

    def _imports(self, name: str) -> list[str]:
        unit = self.units[name]
        package = name if unit.is_package else name.rpartition(".")[0]
        imports = imports_of(unit.source, package)
        names = list(imports.names)
        for star in imports.stars:
            # Reached first, so that its `__all__` is at hand.
            for fresh in list(self._modules_on_the_way(star)):
                names += self._imports(fresh)
            if star in self.units and self.units[star].is_package:
                names += [f"{star}.{member}" for member in exported(self.units[star].source)]
        if imports.computed and package:
            names += self._below(package)
        return names

    def _below(self, package: str) -> list[str]:
        """Every submodule on disk: what code with computed imports (a registry of plug-ins) may ask for."""
        path = self._paths[package]
        return [] if path is None else [f"{package}.{info.name}" for info in pkgutil.iter_modules(path)]


@dataclass(frozen=True)
class _Module:
    origin: str | None
    path: Sequence[str] | None
    read: Callable[[], str | None]


def _loaded(name: str) -> _Module | None:
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType):
        return None
    path = getattr(module, "__path__", None)
    return _Module(
        getattr(module, "__file__", None), None if path is None else list(path), functools.partial(text_of, module)
    )


def _on_disk(name: str, path: Sequence[str] | None) -> _Module | None:
    """A module that is imported only later (inside a function, say), found as an import statement would find it."""
    if "." in name and path is None:
        return None
    # Not importlib.util.find_spec, which imports the parent packages.
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    spec = next((found for found in specs if found is not None), None)
    if spec is None:
        return None
    folders = spec.submodule_search_locations
    return _Module(
        spec.origin if spec.has_location else None,
        None if folders is None else list(folders),
        functools.partial(source_of, spec),
    )
