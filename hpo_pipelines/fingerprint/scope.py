"""Where the names in a piece of code are looked up, and where what they stand for was defined."""

from __future__ import annotations

import builtins
import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CellType, FunctionType, ModuleType
from typing import Any

from hpo_pipelines.fingerprint.guards import MISSING, Guards, content_of_cell
from hpo_pipelines.fingerprint.normal import Import
from hpo_pipelines.fingerprint.source import SourceText

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_MAIN = ("__main__", "__mp_main__")


@dataclass
class Scope:
    """The names that one function or class body sees. ``name`` is that of its part, ``text`` its source if known."""

    name: str
    namespace: Mapping[str, Any]
    text: SourceText | None = None
    cells: Mapping[str, CellType] = field(default_factory=dict)
    imports: dict[str, tuple[Any, str]] = field(default_factory=dict)
    """What import statements inside the code bind: a value and its label."""

    @property
    def module(self) -> str:
        return module_label(self.namespace)

    def find(self, name: str, guards: Guards) -> tuple[Any, str]:
        """What ``name`` stands for and a label for it; MISSING for a name that is not bound now, or is a built-in's."""
        if name in self.imports:
            return self.imports[name]
        if name in self.cells:
            return content_of_cell(self.cells[name]), f"{self.name}[{name}]"
        found = self.namespace.get(name, MISSING)
        guards.name(self.namespace, name, found)
        return found, f"{self.module}:{name}"

    def imported(self, name: str) -> Any:
        """What the module's own import statement binds to a ``name`` that is not there, MISSING if there is none.

        A function that travelled by value has only the names that its body uses, not those of its annotations.
        """
        statement = None if self.text is None else self.text.imports.get(name)
        if statement is None:
            return MISSING
        module, level, attribute = statement
        try:
            return bound_by(self.namespace, Import(module, level, attribute, name))[1]
        except Exception:  # noqa: BLE001 - the module itself did without, or the name would be there
            return MISSING

    def has_builtin(self, name: str) -> bool:
        return hasattr(builtins, name)


def scope_of(function: FunctionType, name: str, text: SourceText | None) -> Scope:
    """The scope of a function's body."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return Scope(name, function.__globals__, text, cells)


def module_label(namespace: Mapping[str, Any]) -> str:
    """A module's name; for a script the one that others would import it by, so that both ways of running it agree."""
    name = str(namespace.get("__name__", "?"))
    if name not in _MAIN:
        return name
    spec = getattr(namespace.get("__spec__"), "name", None)
    if spec and spec not in _MAIN:
        return str(spec).removesuffix(".__main__")
    file = namespace.get("__file__")
    return Path(file).stem if isinstance(file, str) else "__main__"


def import_from(namespace: Mapping[str, Any], statement: Import) -> ModuleType:
    """The module that an import statement in code with these globals names. Raises what importing raises.

    By the code's own ``__import__``, since the code of a snapshot has modules of its own.
    """
    own = namespace.get("__builtins__", builtins)
    load = own["__import__"] if isinstance(own, dict) else own.__import__
    # With a list of names the innermost module comes back; an empty name asks it for nothing.
    module = load(statement.module, namespace, None, (statement.name or "",), statement.level)
    assert isinstance(module, ModuleType)
    return module


def bound_by(namespace: Mapping[str, Any], statement: Import) -> tuple[ModuleType, Any]:
    """The module that an import statement names, and what it binds: that, its top-level package, or a member.

    MISSING for a member that is not there. Raises what importing raises.
    """
    module = import_from(namespace, statement)
    if statement.name:
        return module, vars(module).get(statement.name, MISSING)
    top = statement.module.partition(".")[0]
    if statement.alias == top != statement.module:
        module = import_from(namespace, Import(top, 0, "", top))
    return module, module


def absolute_name(namespace: Mapping[str, Any], statement: Import) -> str:
    """The name of the module that an import statement names, dots resolved."""
    if not statement.level:
        return statement.module
    name = str(namespace.get("__name__", ""))
    package = str(namespace.get("__package__") or (name if "__path__" in namespace else name.rpartition(".")[0]))
    base = package.rsplit(".", statement.level - 1)[0] if statement.level > 1 else package
    return f"{base}.{statement.module}" if statement.module else base


def file_of_module(namespace: Mapping[str, Any]) -> str | None:
    """Where the text of the module with these globals is found."""
    # A snapshot's module names itself by where it was captured, and the entry in sys.modules by where its text is now.
    entry = sys.modules.get(namespace.get("__name__", ""))
    file = getattr(entry, "__file__", None) or namespace.get("__file__")
    return file if isinstance(file, str) else None


def project_of(namespace: Mapping[str, Any]) -> str:
    """The folder of the project that the module with these globals belongs to, empty if there is none."""
    file = file_of_module(namespace)
    depth = str(namespace.get("__name__", "")).count(".") + ("__path__" in namespace)
    return _project(os.path.dirname(file), depth) if file is not None and os.path.isabs(file) else ""


@functools.lru_cache(maxsize=1024)
def _project(folder: str, depth: int) -> str:
    """The nearest folder that says it is a project, else the one that holds the top-level package."""
    candidates = (folder, *map(str, Path(folder).parents))
    for candidate in candidates[:-1]:  # The last is the root of the file system, in which everything lies.
        if any(os.path.exists(os.path.join(candidate, mark)) for mark in _PROJECT):
            return candidate
    return candidates[min(depth, len(candidates) - 1)] if len(candidates) > depth + 1 else ""
