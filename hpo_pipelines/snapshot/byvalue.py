"""What has no module to be found in (a script's or a notebook's ``__main__``, functions inside functions), by value."""

from __future__ import annotations

import ast
import functools
import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from hpo_pipelines.firstparty import module_source
from hpo_pipelines.snapshot import codec
from hpo_pipelines.snapshot.closure import BY_VALUE
from hpo_pipelines.snapshot.code import Code
from hpo_pipelines.snapshot.imports import imports_in_code
from hpo_pipelines.snapshot.loaded import read_file, text_of

_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Taken:
    """A pickled ``(pipeline, names)``, the functions inside it, and the names of the modules that those need."""

    payload: bytes
    functions: frozenset[FunctionType]
    modules: frozenset[str]


def take(pipeline: Any, code: Code) -> Taken:
    """``pipeline`` by value, with the names of ``__main__`` that its classes and annotations mention as text."""
    collector = _Collector(code)
    collector.take(pipeline)
    names = _names(collector)
    payload = collector.take((pipeline, names))
    return Taken(payload, frozenset(collector.functions), frozenset(collector.all_modules()))


def main_of(function: Any) -> dict[str, str]:
    """Where the ``__main__`` that ``function`` is from came from: its file, and its name under ``python -m``."""
    space = getattr(sys.modules.get(function.__module__), "__dict__", {})
    if function.__module__ not in BY_VALUE:
        return {}
    found = {"file": space.get("__file__"), "module": getattr(space.get("__spec__"), "name", None)}
    return {name: value for name, value in found.items() if isinstance(value, str)}


class _Collector:
    """Pickles, and notes what the pickles name and hold."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.modules: set[str] = set()
        self.functions: set[FunctionType] = set()
        self.classes: set[type] = set()

    def take(self, value: object) -> bytes:
        with io.BytesIO() as file:
            _Pickler(self, file).dump(value)
            return file.getvalue()

    def all_modules(self) -> set[str]:
        """The modules named in the pickles, and those that the functions in them import when they run."""
        found = {name for name in self.modules if isinstance(name, str)}
        for function in self.functions:
            imports = imports_in_code(function.__code__, str(function.__globals__.get("__package__") or ""))
            found |= imports.names | imports.stars
        return found


class _Pickler(codec.Pickler):
    def __init__(self, collector: _Collector, file: io.BytesIO) -> None:
        super().__init__(collector.code, file)
        self._collector = collector

    def reducer_override(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        notes = self._collector
        if isinstance(obj, ModuleType):
            notes.modules.add(obj.__name__)
        elif reduced is NotImplemented or reduced[0] is codec.reference:
            notes.modules.add(getattr(obj, "__module__", None) or type(obj).__module__)
        elif isinstance(obj, FunctionType):
            notes.functions.add(obj)
            notes.modules.add(obj.__globals__.get("__name__", "__main__"))
        elif isinstance(obj, type):
            notes.classes.add(obj)
        return reduced


def _names(collector: _Collector) -> dict[str, Any]:
    """What ``__main__`` holds under the names that decorators, annotations and class statements mention.

    Pickled functions come with the names that they use when they run; these are used before that, or by who reads them.
    """
    found: dict[str, Any] = {}
    seen: set[object] = set()
    while fresh := (collector.functions | collector.classes) - seen:
        seen |= fresh
        for space, name in _mentioned(fresh):
            if name in space and name not in found and not name.startswith("__"):
                try:
                    collector.take(space[name])
                except Exception:  # noqa: BLE001 - a namespace may hold anything, and this name is wanted only to be read
                    continue
                found[name] = space[name]
    return found


def _mentioned(items: Iterable[Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    for item in items:
        module = sys.modules.get(item.__module__)
        if item.__module__ in BY_VALUE and module is not None:
            names = {name for text in _annotations(item) for name in _IDENTIFIER.findall(text)}
            for statement in _statements(item):
                names |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            yield from ((vars(module), name) for name in sorted(names))


def _annotations(item: Any) -> list[str]:
    """The annotations that are text."""
    found = vars(item).get("__annotations__") if isinstance(item, type) else item.__annotations__
    return [text for text in (found or {}).values() if isinstance(text, str)]


def _statements(item: Any) -> list[ast.stmt]:
    """The ``def`` or ``class`` statements that may have made ``item``, decorators included."""
    kinds = ast.ClassDef if isinstance(item, type) else ast.FunctionDef | ast.AsyncFunctionDef
    module = sys.modules[item.__module__]
    # A class says nothing of the notebook's cell that it comes from; its methods do, and those of its neighbours.
    members = vars(item).values() if isinstance(item, type) else (item,)
    functions = [member for member in members if isinstance(member, FunctionType)]
    whole = text_of(module) if getattr(module, "__file__", None) else module_source(module)
    texts = {whole, *(text_of_function(function) for function in functions)}
    nodes = (node for text in texts if text for node in _tree(text))
    return [node for node in nodes if isinstance(node, kinds) and node.name == item.__name__]


@functools.lru_cache(maxsize=64)
def _tree(text: str) -> tuple[ast.AST, ...]:
    try:
        return tuple(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):  # a notebook's cell may hold what is no Python
        return ()


def text_of_function(function: FunctionType | None) -> str | None:
    """The text that ``function`` was compiled from: of its module as loaded, of a cell, of a file."""
    if function is None:
        return None
    filename = function.__code__.co_filename
    module = sys.modules.get(function.__globals__.get("__name__", ""))
    if module is not None and getattr(module, "__file__", None) == filename:
        return text_of(module)
    return read_file(filename)
