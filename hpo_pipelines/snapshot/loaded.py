"""The text of modules as they were loaded, whatever has become of their files since."""

from __future__ import annotations

import linecache
import os
import sys
import weakref
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from hpo_pipelines.snapshot.imports import imports_of


@dataclass(frozen=True)
class _Memory:
    module: weakref.ref[ModuleType]
    spec: Any
    text: str | None


_STANDARD = os.path.dirname(os.__file__)
_INSTALLED = ("site-packages", "dist-packages")
_memories: dict[str, _Memory] = {}
_serving = False


def remember(module_name: str) -> None:
    """Keep the source of the module that is being executed, and of what it has imported; called by the decorators.

    Reads and parses files the first time and after a reload, costs about a microsecond otherwise. Does nothing for
    modules of a loaded snapshot, which carry their own text.
    """
    # A private snapshot's modules have names that are not plain text (snapshot.private).
    if _serving or type(module_name) is not str:
        return
    pending = [module_name]
    while pending:
        module = sys.modules.get(pending.pop())
        if not isinstance(module, ModuleType) or _known(module) is not None:
            continue
        text = read(module)
        _memories[module.__name__] = _Memory(weakref.ref(module), getattr(module, "__spec__", None), text)
        names = imports_of(text or "", getattr(module, "__package__", None) or "").names
        pending += [name for name in names if _may_be_edited(sys.modules.get(name))]


_OURS = frozenset({"hpo_pipelines", "search_spaces"})


def _known(module: ModuleType) -> _Memory | None:
    """What is remembered of ``module`` as it was last executed."""
    known = _memories.get(module.__name__)
    # A reload keeps the module and gives it a new spec; a fresh import, or a script run again, makes a new module.
    if known is None or known.module() is not module or known.spec is not getattr(module, "__spec__", None):
        return None
    return known


def _may_be_edited(module: object) -> bool:
    """Whether ``module`` may be the user's own: a quick guess, since remembering too much does no harm."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or file.startswith(_STANDARD):
        return False
    if getattr(module, "__name__", "").partition(".")[0] in _OURS:
        return False
    return not any(folder in file for folder in _INSTALLED)


def text_of(module: ModuleType) -> str | None:
    """The source that ``module`` was loaded from: as remembered, else as it is now; None where there is none."""
    remember(module.__name__)
    known = _known(module)
    return read(module) if known is None else known.text


def read(module: ModuleType) -> str | None:
    """The source of ``module`` as its file is now."""
    spec = getattr(module, "__spec__", None)
    if spec is not None:
        return source_of(spec)
    # A script has a file and no spec.
    file = getattr(module, "__file__", None)
    return read_file(file) if file else None


def source_of(spec: ModuleSpec) -> str | None:
    """The source that the module of ``spec`` would be loaded from now; None where there is none."""
    get_source = getattr(spec.loader, "get_source", None)
    if get_source is None:
        return read_file(spec.origin) if spec.has_location and spec.origin else None
    try:
        text: str | None = get_source(spec.name)
    except (ImportError, OSError, SyntaxError):
        return None
    return text


def read_file(name: str) -> str | None:
    """The source behind a code object's file name: a file, or a cell of a notebook; None where there is none."""
    return "".join(linecache.getlines(name)) or None


def stop_remembering() -> None:
    """From now on this process runs a snapshot's code, whose text is known."""
    global _serving
    _serving = True
    _memories.clear()
