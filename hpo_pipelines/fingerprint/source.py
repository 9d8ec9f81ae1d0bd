"""The source that code was compiled from, found again and proved: it compiles to the very code object that runs.

A file may have been edited since it was imported, and text that did not make the running code must not stand for it.
What no text can be proved for (``exec``'d strings, rewritten code, a file edited before it was first looked at) is
identified by its code object instead, see :mod:`hpo_pipelines.fingerprint.bytecode`.
"""

from __future__ import annotations
import __future__

import ast
import importlib.util
import linecache
import marshal
import os
import textwrap
import threading
import time
import tokenize
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import CodeType
from typing import Any

from hpo_pipelines.fingerprint.normal import Function, Normal, normal_class, normal_function, normal_module

_FUTURES = 0
for _name in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _name).compiler_flag

_SETTLED = 2.0
"""Seconds after which a file's time of change tells two versions of it apart."""

_lock = threading.RLock()
_texts: defaultdict[str, deque[SourceText]] = defaultdict(lambda: deque(maxlen=4))
_current: dict[str, tuple[object, SourceText | None]] = {}


BLOCKS: dict[type, tuple[str, ...]] = {
    cls: tuple(name for name in cls._fields if name in ("body", "orelse", "handlers", "finalbody", "cases"))
    for cls in vars(ast).values()
    if isinstance(cls, type) and issubclass(cls, ast.stmt | ast.excepthandler | ast.match_case)
}
"""The fields of each kind of statement that hold statements."""


class SourceText:
    """One version of one file's text (or a notebook cell's), parsed. Raises SyntaxError."""

    def __init__(self, filename: str, text: str, flags: int = 0) -> None:
        self.filename, self.text = filename, text
        self.tree = ast.parse(text)
        self.functions: dict[tuple[int, str], Function] = {}
        self.classes: defaultdict[str, list[ast.ClassDef]] = defaultdict(list)
        self.imports: dict[str, tuple[str, int, str]] = {}
        """What imports at the top level bound: alias to (module, dots, name), without a name for ``import module``."""
        self._flags = flags
        self._normals: dict[Any, Normal] = {}
        self._index(self.tree.body, "")

    def _index(self, statements: Sequence[ast.AST], scope: str) -> None:
        for node in statements:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
                self.functions[first, node.name] = node
                self._index(node.body, f"{scope}{node.name}.<locals>.")
            elif isinstance(node, ast.ClassDef):
                self.classes[scope + node.name].append(node)
                self._index(node.body, f"{scope}{node.name}.")
            elif isinstance(node, ast.Import) and not scope:
                for item in node.names:
                    self.imports[item.asname or item.name.partition(".")[0]] = (item.name, 0, "")
            elif isinstance(node, ast.ImportFrom) and not scope:
                for item in node.names:
                    self.imports[item.asname or item.name] = (node.module or "", node.level, item.name)
            elif isinstance(node, ast.If) and not scope and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                self._index(node.orelse, scope)
            else:
                for block in BLOCKS.get(type(node), ()):
                    self._index(getattr(node, block), scope)

    @cached_property
    def codes(self) -> Mapping[tuple[int, str], list[CodeType]]:
        """Every code object that this text compiles to, by first line and name."""
        found = defaultdict(list)
        pending = [_compiled_beside(self.filename) or self._compiled()]
        while pending:
            code = pending.pop()
            found[code.co_firstlineno, code.co_name].append(code)
            pending += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
        return found

    def _compiled(self) -> CodeType:
        try:
            # From the tree, not the text: it is parsed already.
            code: CodeType = compile(self.tree, self.filename, "exec", self._flags, dont_inherit=True)
        except SyntaxError:  # A notebook's cell may await at its top level.
            flags = self._flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            code = compile(self.tree, self.filename, "exec", flags, dont_inherit=True)
        return code

    def made(self, code: CodeType) -> bool:
        """Whether ``code`` was compiled from this text."""
        return code in self.codes.get((code.co_firstlineno, code.co_name), ())

    def function(self, code: CodeType) -> Function | None:
        """The definition that ``code`` is the body of, if this text made it."""
        if not self.made(code):
            return None
        if code.co_name == "<lambda>":
            return self._lambda(code)
        return self.functions.get((code.co_firstlineno, code.co_name))

    def _lambda(self, code: CodeType) -> ast.Lambda | None:
        """The one lambda whose body stands where ``code`` says its instructions come from."""
        places = set(code.co_positions())
        found = [node for node in _lambdas_at(self.tree, code.co_firstlineno) if _place(node.body) in places]
        return found[0] if len(found) == 1 else None

    def normal(self, node: Function) -> Normal | None:
        """The normal form of a function of this text; None for one too deep to be walked."""
        if node not in self._normals:
            try:
                self._normals[node] = normal_function(node)
            except RecursionError:
                return None
        return self._normals[node]

    def normal_class(self, node: ast.ClassDef, without: frozenset[ast.AST]) -> Normal:
        """The normal form of a class of this text, leaving out the methods in ``without``."""
        if (node, without) not in self._normals:
            self._normals[node, without] = normal_class(node, without)
        return self._normals[node, without]

    @cached_property
    def whole(self) -> Normal:
        """The normal form of all of this text."""
        return normal_module(self.tree)

    def segment(self, node: Function | ast.ClassDef) -> str:
        """The lines of a definition as they were written, decorators included."""
        decorators = getattr(node, "decorator_list", ())
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        return textwrap.dedent("\n".join(self._lines[first - 1 : node.end_lineno])).strip("\n")

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")  # Not str.splitlines, which also splits at form feeds.


class Texts(Mapping[str, str]):
    """Texts by name, each made when it is asked for."""

    def __init__(self, made: Mapping[str, Callable[[], str]]) -> None:
        self._made = made

    def __getitem__(self, name: str) -> str:
        return self._made[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class Sources:
    """The texts of files, each looked for once: what changes meanwhile is for the next fingerprint to see."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], list[SourceText]] = {}

    def definition(self, code: CodeType, namespace: Mapping[str, Any]) -> tuple[SourceText, Function] | None:
        """The text that ``code``, whose globals are ``namespace``, was compiled from, and its definition in there."""
        key = code.co_filename, code.co_flags & _FUTURES
        with _lock:
            known = self._seen.get(key)
            if known is None:
                known = self._seen[key] = list(_versions(*key, namespace))
            for text in known:
                node = text.function(code)
                if node is not None:
                    return text, node
        return None


def text_of_file(filename: str, namespace: Mapping[str, Any]) -> SourceText | None:
    """The present text of ``filename``; for code without functions, whose origin cannot be proved."""
    with _lock:
        return next(_present(filename, namespace, 0), None)


def _versions(filename: str, flags: int, namespace: Mapping[str, Any]) -> Iterator[SourceText]:
    """The present texts of a file, then those that earlier fingerprints saw in its place."""
    seen = []
    for text in _present(filename, namespace, flags):
        seen.append(text)
        yield text
    for text in reversed(_texts[filename]):
        if text not in seen:
            yield text


def _present(filename: str, namespace: Mapping[str, Any], flags: int) -> Iterator[SourceText]:
    registered = linecache.cache.get(filename)
    if registered is not None and len(registered) == 4 and registered[1] is None:  # A cell, or a snapshot's module.
        yield from _known(filename, registered[2], lambda: "".join(registered[2]), flags)
        return
    try:
        status = os.stat(filename)
    except (OSError, ValueError):
        loader = namespace.get("__loader__")
        get_source = getattr(loader, "get_source", None)
        if get_source is not None and not filename.startswith("<"):  # A zip file, for instance.
            yield from _known(filename, loader, lambda: get_source(namespace["__name__"]), flags)
        return
    version = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
    yield from _known(filename, version, lambda: _read(filename), flags)


def _known(filename: str, version: object, read: Any, flags: int) -> Iterator[SourceText]:
    known = _current.get(filename)
    if known is None or not (known[0] is version or known[0] == version):
        try:
            text = SourceText(filename, read() or "", flags)
        except (OSError, ImportError, SyntaxError, ValueError, RecursionError):
            text = None
        known = _current[filename] = (version, text)
        if text is not None:
            _texts[filename].append(text)
    if known[1] is not None:
        yield known[1]


def _read(filename: str) -> str:
    with tokenize.open(filename) as file:
        return file.read()


def _compiled_beside(filename: str) -> CodeType | None:
    """The bytecode that Python keeps of a file, if it is that of its present text; reading it spares compiling."""
    try:
        status = os.stat(filename)
        with open(importlib.util.cache_from_source(filename), "rb") as file:
            content = file.read()
    except (OSError, NotImplementedError, ValueError):
        return None
    made_from = b"".join(
        (int(number) & 0xFFFFFFFF).to_bytes(4, "little") for number in (status.st_mtime, status.st_size)
    )
    if time.time() - status.st_mtime < _SETTLED or content[:16] != importlib.util.MAGIC_NUMBER + bytes(4) + made_from:
        return None
    code = marshal.loads(content[16:])
    return code if isinstance(code, CodeType) else None


def _place(node: ast.expr) -> tuple[int | None, ...]:
    return (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)


def _lambdas_at(node: ast.AST, line: int) -> Iterator[ast.Lambda]:
    if isinstance(node, ast.Lambda) and node.lineno == line:
        yield node
    for child in ast.iter_child_nodes(node):
        # A decorated definition begins above its own first line.
        decorated = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if decorated or getattr(child, "lineno", line) <= line <= (getattr(child, "end_lineno", None) or line):
            yield from _lambdas_at(child, line)
