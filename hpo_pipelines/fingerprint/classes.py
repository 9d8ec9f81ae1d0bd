"""What makes a class: its statement's source, and the attributes that it has now."""

from __future__ import annotations

import ast
import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import FunctionType
from typing import Any

from hpo_pipelines.fingerprint.normal import Normal
from hpo_pipelines.fingerprint.scope import file_of_module
from hpo_pipelines.fingerprint.source import BLOCKS, SourceText, definition, text_of_file

_MACHINERY = frozenset(
    {
        *("__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__annotations__", "__annotate__"),
        *("__annotate_func__", "__annotations_cache__", "__dataclass_fields__", "__dataclass_params__"),
        *("__firstlineno__", "__static_attributes__", "__abstractmethods__", "__parameters__", "__orig_bases__"),
        *("__classcell__", "_abc_impl"),
    }
)
_WRITTEN = frozenset(
    {
        *("__init__", "__new__", "__repr__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__"),
        *("__setattr__", "__delattr__", "__replace__", "__getstate__", "__setstate__"),
    }
)
"""What dataclasses, attrs and named tuples write from the fields, which are counted themselves."""

_HOLDERS = (
    staticmethod,
    classmethod,
    functools.cached_property,
    functools.partialmethod,
    functools.singledispatchmethod,
    types.MethodType,
)
_WRITERS = ("__dataclass_fields__", "__attrs_attrs__", "_fields")


@dataclass(frozen=True)
class ClassBody:
    """A class statement (``normal`` without the methods that live on as functions) and where it stands.

    ``assigned`` are the names that the statement binds, None if its source is not to be had.
    """

    cls: type
    namespace: Mapping[str, Any]
    text: SourceText | None
    normal: Normal
    source: str
    assigned: frozenset[str] | None

    def attributes(self, is_ours: Callable[[str], bool], is_data: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
        """The attributes that count, by name: what the statement bound, and what somebody set later.

        Left out is what a metaclass or a decorator of a library keeps in the class, and what is made from the fields.
        """
        cls = self.cls
        fields = vars(cls).get("__dataclass_fields__", {})
        for name, value in sorted(vars(cls).items()):
            if name not in _MACHINERY and name not in fields and self._counts(name, value, is_ours, is_data):
                yield name, value
        for field in fields.values():
            for value in (field.default, field.default_factory):
                if value is not dataclasses.MISSING:
                    yield field.name, value
        if "__dataclass_params__" in vars(cls):
            yield "dataclass", repr(vars(cls)["__dataclass_params__"])
        if self.assigned is None:
            yield "annotations", {name: str(kind) for name, kind in vars(cls).get("__annotations__", {}).items()}
        if issubclass(cls, Enum):
            yield "members", {name: member.value for name, member in cls.__members__.items()}

    def _counts(self, name: str, value: Any, is_ours: Callable[[str], bool], is_data: Callable[[Any], bool]) -> bool:
        functions = list(functions_in(value))
        if functions:
            generated = name in _WRITTEN and any(hasattr(self.cls, mark) for mark in _WRITERS)
            return not (generated and all(function.__code__.co_filename.startswith("<") for function in functions))
        if name.startswith("__") and name.endswith("__"):
            return False
        if is_data(value) or is_ours(str(type(value).__module__)):
            return True
        if isinstance(value, type):
            return is_ours(str(value.__module__))
        return self.assigned is not None and name in self.assigned and not hasattr(type(value), "__get__")


def functions_in(value: Any) -> Iterator[FunctionType]:
    """The Python functions that an attribute of a class is made of."""
    if isinstance(value, FunctionType):
        yield value
        yield from functions_in(value.__dict__.get("__wrapped__"))
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from functions_in(part)
    elif isinstance(value, _HOLDERS):
        yield from functions_in(getattr(value, "__func__", None) or getattr(value, "func", None))
    elif type(value) is type(_cached):
        yield from functions_in(value.__wrapped__)


@functools.lru_cache(maxsize=1)
def _cached() -> None:
    """For its type."""


def namespace_of(cls: type) -> Mapping[str, Any]:
    """The globals of the module that ``cls`` was defined in."""
    module = sys.modules.get(cls.__module__)
    if module is not None:
        return vars(module)
    own = next(_own_functions(cls), None)
    return {"__name__": cls.__module__} if own is None else own.__globals__


def class_body(cls: type) -> ClassBody:
    """The body of ``cls``; without source, what the class holds has to speak for it."""
    namespace = namespace_of(cls)
    own = list(_own_functions(cls))
    found = [pair for function in own if (pair := definition(function.__code__, function.__globals__))]
    text = found[0][0] if found else _text_without_methods(own, namespace)
    statements = text.classes.get(cls.__qualname__, []) if text is not None else []
    nodes = frozenset(node for origin, node in found if origin is text)
    holding = [statement for statement in statements if not nodes.isdisjoint(_children(statement))]
    if text is None or not statements:
        return ClassBody(cls, namespace, None, Normal(cls.__qualname__), "", None)
    statement = (holding or statements)[-1]
    normal = text.normal_class(statement, nodes & _children(statement))
    return ClassBody(cls, namespace, text, normal, text.segment(statement), frozenset(_assigned(statement.body)))


def _own_functions(cls: type) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        for function in functions_in(value):
            if function.__code__.co_qualname.startswith(f"{cls.__qualname__}."):
                yield function


def _text_without_methods(functions: list[FunctionType], namespace: Mapping[str, Any]) -> SourceText | None:
    """The file of a class none of whose methods can prove where it comes from."""
    file = file_of_module(namespace)
    # Methods that are there and have no source: the class itself comes from no file either, or from an edited one.
    if file is None or any(function.__code__.co_filename == file for function in functions):
        return None
    return text_of_file(file, namespace)


def _children(statement: ast.ClassDef) -> set[ast.AST]:
    """The statements of a class's body, those under ``if`` and ``try`` included."""
    found: set[ast.AST] = set()
    pending: list[ast.AST] = list(statement.body)
    while pending:
        node = pending.pop()
        found.add(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for block in BLOCKS.get(type(node), ()):
                pending += getattr(node, block)
    return found


def _assigned(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        else:
            yield from (
                inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            )
