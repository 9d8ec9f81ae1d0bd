"""Which modules a source text imports, read without running it."""

from __future__ import annotations

import ast
import dis
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

_COMPUTING = frozenset({"import_module", "__import__", "iter_modules", "walk_packages"})


@dataclass(frozen=True)
class Imports:
    """What a text imports, anywhere in it.

    ``names`` are absolute dotted names, each a module or an attribute of one: ``from a import b`` gives ``a`` and
    ``a.b``. ``stars`` are the modules of ``from a import *``. ``computed`` says that only running it tells some names.
    """

    names: frozenset[str] = frozenset()
    stars: frozenset[str] = frozenset()
    computed: bool = False


@dataclass
class _Found:
    package: str
    names: set[str] = field(default_factory=set)
    stars: set[str] = field(default_factory=set)
    computed: bool = False

    def add(self, module: str, level: int, members: tuple[str, ...]) -> None:
        base = absolute(module, level, self.package)
        if base is None:
            return
        self.names.add(base)
        self.names.update(f"{base}.{member}" for member in members if member != "*")
        if "*" in members:
            self.stars.add(base)

    def freeze(self) -> Imports:
        return Imports(frozenset(self.names), frozenset(self.stars), self.computed)


def absolute(name: str, level: int, package: str) -> str | None:
    """The dotted name that ``from <level dots><name>`` means inside ``package``; None beyond its top."""
    if level == 0:
        return name or None
    parents = package.split(".") if package else []
    if level > len(parents):
        return None
    base = ".".join(parents[: len(parents) - level + 1])
    return f"{base}.{name}" if name else base


@functools.lru_cache(maxsize=1024)
def imports_of(source: str, package: str) -> Imports:
    """What ``source`` imports, as a module inside ``package`` (itself, if it is one; "" at the top).

    ``import_module("a.b")`` with a literal counts as an import statement. A text that cannot be parsed imports nothing.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return Imports()
    found = _Found(package)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.add(alias.name, 0, ())
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "", node.level, tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.Call):
            _call(node, found)
    return found.freeze()


def _call(node: ast.Call, found: _Found) -> None:
    name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
    if name not in _COMPUTING:
        return
    literal = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    if name in ("iter_modules", "walk_packages") or not isinstance(literal, str):
        found.computed = True
    else:
        stem = literal.lstrip(".")
        found.add(stem, len(literal) - len(stem), ())


def exported(source: str) -> tuple[str, ...]:
    """The names in a literal ``__all__`` at the top of ``source``: submodules that ``import *`` brings along."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    names: list[str] = []
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            value = getattr(node, "value", None)
            values = [item.value for item in getattr(value, "elts", ()) if isinstance(item, ast.Constant)]
            names += [name for name in values if isinstance(name, str)]
    return tuple(names)


def imports_in_code(code: CodeType, package: str) -> Imports:
    """What the body of a function without a module's source imports when it runs, read from its bytecode."""
    found = _Found(package)
    for part in nested_code(code):
        before: list[Any] = [None, None]
        for instruction in dis.get_instructions(part):
            if instruction.opname == "IMPORT_NAME":
                level, members = before
                found.add(instruction.argval, level or 0, tuple(members or ()))
            before = [before[1], instruction.argval]
    return found.freeze()


def nested_code(code: CodeType) -> Iterator[CodeType]:
    """``code`` and the code of every function, class and comprehension inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_code(constant)
