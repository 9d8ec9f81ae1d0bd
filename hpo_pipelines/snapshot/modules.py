"""How the modules of a snapshot come to life: their loader, what tracebacks show of them, what lies beside them."""

from __future__ import annotations

import importlib.abc
import linecache
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import CodeType
from typing import TYPE_CHECKING

from hpo_pipelines.snapshot.content import Unit

if TYPE_CHECKING:
    from importlib.resources.readers import FileReader

_COMPILED = (ExtensionFileLoader, EXTENSION_SUFFIXES)
_ORDINARY = (_COMPILED, (SourceFileLoader, SOURCE_SUFFIXES), (SourcelessFileLoader, BYTECODE_SUFFIXES))


class UnitLoader(importlib.abc.InspectLoader):
    """Executes one carried module. ``filename`` is what tracebacks call it; ``path`` is where it came from."""

    def __init__(self, unit: Unit, filename: str | None = None) -> None:
        self.unit = unit
        self.path = unit.origin or ""
        self.filename = filename or unit.origin or "<namespace>"

    def get_source(self, fullname: str) -> str:
        return self.unit.source

    def is_package(self, fullname: str) -> bool:
        return self.unit.is_package

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.unit.source, self.filename, "exec", dont_inherit=True)
        return code

    def get_filename(self, fullname: str) -> str:
        if not self.path:
            raise ImportError(f"{fullname} is a namespace package and has no file.")
        return self.path

    def get_data(self, path: str) -> bytes:
        """A data file beside the module: not part of the snapshot, read where it lies."""
        with open(path, "rb") as file:
            return file.read()

    def get_resource_reader(self, fullname: str) -> FileReader:
        """Data files of the package for :mod:`importlib.resources`, read where they lie."""
        from importlib.resources.readers import FileReader  # slow to import, and seldom asked for

        return FileReader(self)  # type: ignore[arg-type]  # it asks for a path alone


def spec_of(name: str, unit: Unit, loader: UnitLoader, folder: str | None) -> ModuleSpec:
    """The import spec of a carried module; ``folder`` is the search path of its submodules, if it is a package."""
    spec = ModuleSpec(name, loader, origin=unit.origin, is_package=unit.is_package)
    if unit.origin is not None:
        spec.has_location = True
    if unit.is_package:
        spec.submodule_search_locations = [] if folder is None else [folder]
    return spec


class Shelf:
    """What an import finds in the folder of a carried package: compiled modules from disk, no source but the carried.

    A source file that is there now need not have been there then, and importing it would mix two versions. Names that
    are not inside the package are those of a folder that is also on ``sys.path``: for them it is an ordinary folder.
    """

    def __init__(self, package: str, folder: str, modules: Mapping[str, Unit]) -> None:
        self._package = package
        self._modules = modules
        self._compiled = FileFinder(folder, _COMPILED)
        self._ordinary = FileFinder(folder, *_ORDINARY)

    def find_spec(self, fullname: str, target: object = None) -> ModuleSpec | None:
        inside = fullname.rpartition(".")[0] == self._package
        return (self._compiled if inside else self._ordinary).find_spec(fullname)

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """The carried submodules, for :func:`pkgutil.iter_modules`."""
        for name, unit in sorted(self._modules.items()):
            package, _, last = name.rpartition(".")
            if package == self._package:
                yield prefix + last, unit.is_package

    def invalidate_caches(self) -> None:
        self._compiled.invalidate_caches()
        self._ordinary.invalidate_caches()


class Shelves:
    """The shelves of one snapshot, as a hook of ``sys.path_hooks``; ``mark`` is appended to every folder's name."""

    def __init__(self, modules: Mapping[str, Unit], mark: str = "") -> None:
        self._mark = mark
        self._shelves = {
            os.path.dirname(unit.origin) + mark: Shelf(name, os.path.dirname(unit.origin), modules)
            for name, unit in modules.items()
            if unit.is_package and unit.origin is not None
        }

    def folder(self, unit: Unit) -> str | None:
        """The search path of the package ``unit``; None for a namespace."""
        return None if unit.origin is None else os.path.dirname(unit.origin) + self._mark

    def put_up(self) -> None:
        sys.path_hooks.insert(0, self)
        self._forget()

    def take_down(self) -> None:
        if self in sys.path_hooks:
            sys.path_hooks.remove(self)
        self._forget()

    def _forget(self) -> None:
        for folder in self._shelves:
            sys.path_importer_cache.pop(folder, None)

    def __call__(self, folder: str) -> Shelf:
        if folder not in self._shelves:
            raise ImportError(f"{folder} is not a folder of the snapshot")
        return self._shelves[folder]


def show_lines(texts: Iterable[tuple[str, str]]) -> None:
    """Let tracebacks and ``inspect.getsource`` find the text of each (file name, text)."""
    for name, text in texts:
        # Without a modification time an entry is never checked against the disk.
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def hide_lines(names: Iterable[str]) -> None:
    """Undo :func:`show_lines`."""
    for name in names:
        linecache.cache.pop(name, None)
