"""Source as its meaning: a digest of a syntax tree that formatting, comments and docstrings do not enter.

Everything else counts, the names of local variables included: ``locals()``, ``eval`` and pandas'
``query("x > @cut")`` read them. The same walk notes which names the code looks at, and its import statements.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

Chain = tuple[str, ...]
"""A name and the attributes taken of it: ``("features", "scale")`` for ``features.scale``."""


@dataclass(frozen=True)
class Import:
    """One name bound by an import statement: ``from {dots}module import name as alias``; no ``name`` for ``import``."""

    module: str
    level: int
    name: str
    alias: str


@dataclass(frozen=True)
class Decorator:
    """One decorator of a definition; ``outputs`` is the normal form of its ``outputs=`` option, if it has one."""

    chain: Chain
    normal: Normal
    outputs: Normal | None


@dataclass(frozen=True)
class Normal:
    """What one piece of code says (``digest``) and what it looks at (``chains``, ``imports``), in order of appearance.

    For a function, ``signature`` holds the chains of its annotations, and neither default values (which have a value of
    their own) nor decorators enter the digest.
    """

    digest: str
    chains: tuple[Chain, ...] = ()
    imports: tuple[Import, ...] = ()
    signature: tuple[Chain, ...] = ()
    decorators: tuple[Decorator, ...] = ()


Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def normal_function(node: Function) -> Normal:
    """The normal form of a function's definition. Raises RecursionError for absurdly deep expressions."""
    walk = _Walk()
    signature = _Walk()
    signature.arguments(node.args, defaults=False)
    if isinstance(node, ast.Lambda):
        walk.visit(node.body)
        return walk.normal(signature)
    signature.put(type(node).__name__)
    signature.put(node.name)
    signature.annotation(node.returns)
    signature.visit_all(getattr(node, "type_params", ()))
    walk.body(node.body)
    return walk.normal(signature, tuple(map(_decorator, node.decorator_list)))


def normal_class(node: ast.ClassDef, without: Collection[ast.AST]) -> Normal:
    """The normal form of a class statement, decorators included, leaving out the methods in ``without``."""
    walk = _Walk(without)
    walk.visit(node)
    return walk.normal()


def normal_module(tree: ast.Module) -> Normal:
    """The normal form of a whole module."""
    walk = _Walk()
    walk.body(tree.body)
    return walk.normal()


def _normal_expression(node: ast.AST) -> Normal:
    walk = _Walk()
    walk.visit(node)
    return walk.normal()


def _decorator(node: ast.expr) -> Decorator:
    called, outputs = node, None
    if isinstance(node, ast.Call):
        called = node.func
        outputs = next((word.value for word in node.keywords if word.arg == "outputs"), None)
    normal = None if outputs is None else _normal_expression(outputs)
    return Decorator(_chain(called) or (), _normal_expression(node), normal)


def _chain(node: ast.AST) -> Chain | None:
    """``a.b.c`` as a chain, None for any other expression."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


# Context follows from where a name stands, `u""` from style, and type comments are comments.
_SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


class _Walk:
    """Writes a tree as text: node names with their fields in a fixed order, so that no two trees have one text."""

    def __init__(self, without: Collection[ast.AST] = ()) -> None:
        self._out: list[str] = []
        self._chains: dict[Chain, None] = {}
        self._imports: dict[Import, None] = {}
        self._without = frozenset(map(id, without))

    def normal(self, signature: _Walk | None = None, decorators: tuple[Decorator, ...] = ()) -> Normal:
        text = "\n".join([*(signature._out if signature else ()), "=", *self._out])
        digest = blake3(text.encode("utf-8", "surrogatepass")).hexdigest()
        named = tuple(signature._chains) if signature else ()
        return Normal(digest, tuple(self._chains), tuple(self._imports), named, decorators)

    def put(self, word: str) -> None:
        self._out.append(word)

    def visit(self, node: ast.AST) -> None:
        _WRITERS[node.__class__](self, node)

    def visit_all(self, nodes: Iterable[object]) -> None:
        out = self._out
        out.append("[")
        for node in nodes:
            write = _WRITERS.get(node.__class__)
            if write is None:
                out.append(repr(node))
            else:
                write(self, node)
        out.append("]")

    def visit_or_none(self, node: ast.AST | None) -> None:
        if node is None:
            self._out.append("~")
        else:
            self.visit(node)

    def name(self, node: ast.Name) -> None:
        self._out += ("Name", node.id)
        # A name that is only assigned to is not looked at. Local names are for the reader of the chains to drop.
        if node.ctx.__class__ is ast.Load:
            self._chains[(node.id,)] = None

    def attribute(self, node: ast.Attribute) -> None:
        chain = _chain(node)
        if chain is None:
            self._out += ("Attribute", node.attr)
            self.visit(node.value)
        else:
            self._out += ("Chain", ".".join(chain))
            self._chains[chain] = None

    def constant(self, node: ast.Constant) -> None:
        self._out += ("Constant", repr(node.value))

    def assign_in_place(self, node: ast.AugAssign) -> None:
        self._out += ("AugAssign", node.op.__class__.__name__)
        if isinstance(node.target, ast.Name):
            self._chains[(node.target.id,)] = None
        self.visit(node.target)
        self.visit(node.value)

    def imported(self, node: ast.Import) -> None:
        for item in node.names:
            self._out += ("Import", item.name, item.asname or "~")
            alias = item.asname or item.name.partition(".")[0]
            self._imports[Import(item.name, 0, "", alias)] = None

    def imported_from(self, node: ast.ImportFrom) -> None:
        for item in node.names:
            self._out += ("ImportFrom", "." * node.level, node.module or "~", item.name, item.asname or "~")
            self._imports[Import(node.module or "", node.level, item.name, item.asname or item.name)] = None

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if id(node) in self._without:
            return
        self._out += (node.__class__.__name__, node.name)
        self.visit_all(node.decorator_list)
        self.arguments(node.args, defaults=True)
        self.visit_or_none(node.returns)
        self.visit_all(getattr(node, "type_params", ()))
        self.body(node.body)

    def class_(self, node: ast.ClassDef) -> None:
        self._out += ("ClassDef", node.name)
        for nodes in (node.decorator_list, node.bases, node.keywords, getattr(node, "type_params", ())):
            self.visit_all(nodes)
        self.body(node.body)

    def arguments(self, node: ast.arguments, *, defaults: bool) -> None:
        for arguments in (node.posonlyargs, node.args, [node.vararg], node.kwonlyargs, [node.kwarg]):
            self._out.append("[")
            for argument in arguments:
                if argument is not None:
                    self._out.append(argument.arg)
                    self.annotation(argument.annotation)
            self._out.append("]")
        if defaults:
            self.visit_all(node.defaults)
            self.visit_all([default or ast.Pass() for default in node.kw_defaults])

    def annotation(self, node: ast.expr | None) -> None:
        self.visit_or_none(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inner = ast.parse(node.value, mode="eval")
            except SyntaxError:
                return
            self._chains.update(dict.fromkeys(_normal_expression(inner.body).chains))

    def body(self, statements: list[ast.stmt]) -> None:
        """Statements without the docstring, and without ``pass``, which may stand for it."""
        first = statements[0] if statements else None
        documented = (
            isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
        )
        self.visit_all(node for node in statements[documented:] if not isinstance(node, ast.Pass))


def _writer(cls: type[ast.AST]) -> Callable[[_Walk, Any], None]:
    """Writes nodes of a class: its name, then its fields in order."""
    name, fields = cls.__name__, [name for name in cls._fields if name not in _SILENT]
    if not fields:
        return lambda walk, node: walk.put(name)
    read, single = operator.attrgetter(*fields), len(fields) == 1

    def write(walk: _Walk, node: ast.AST) -> None:
        walk.put(name)
        for value in (read(node),) if single else read(node):
            inner = _WRITERS.get(value.__class__)
            if inner is not None:
                inner(walk, value)
            elif value.__class__ is list:
                walk.visit_all(value)
            else:
                walk.put(repr(value))

    return write


_WRITERS: dict[type, Callable[[_Walk, Any], None]] = {
    **{cls: _writer(cls) for cls in vars(ast).values() if isinstance(cls, type) and issubclass(cls, ast.AST)},
    ast.Name: _Walk.name,
    ast.Attribute: _Walk.attribute,
    ast.Constant: _Walk.constant,
    ast.AugAssign: _Walk.assign_in_place,
    ast.Import: _Walk.imported,
    ast.ImportFrom: _Walk.imported_from,
    ast.FunctionDef: _Walk.function,
    ast.AsyncFunctionDef: _Walk.function,
    ast.ClassDef: _Walk.class_,
}
