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
from hpo_pipelines.fingerprint.source import BLOCKS, Sources, SourceText, text_of_file

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

_NOWHERE = ("<string>", "<attrs generated")
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
    source: Callable[[], str] | None
    assigned: frozenset[str] | None

    def attributes(self, owns: Callable[[type], bool], is_data: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
        """The attributes that count, by name: what the statement bound, and what somebody set later.

        Left out is what a metaclass or a decorator of a library keeps in the class, and what is made from the fields.
        """
        cls = self.cls
        fields = vars(cls).get("__dataclass_fields__", {})
        for name, value in sorted(vars(cls).items()):
            if name not in _MACHINERY and name not in fields and self._counts(name, value, owns, is_data):
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

    def _counts(self, name: str, value: Any, owns: Callable[[type], bool], is_data: Callable[[Any], bool]) -> bool:
        functions = functions_in(value)
        if functions:
            generated = name in _WRITTEN and any(hasattr(self.cls, mark) for mark in _WRITERS)
            return not (generated and all(function.__code__.co_filename.startswith(_NOWHERE) for function in functions))
        if name.startswith("__") and name.endswith("__"):
            return False
        if is_data(value) or owns(type(value)):
            return True
        if isinstance(value, type):
            return owns(value)
        return self.assigned is not None and name in self.assigned and not hasattr(type(value), "__get__")


def functions_in(value: Any) -> list[FunctionType]:
    """The Python functions that an attribute of a class is made of."""
    found: dict[FunctionType, None] = {}
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, FunctionType):
            if item not in found:
                found[item] = None
                pending.append(item.__dict__.get("__wrapped__"))
        elif isinstance(item, property):
            pending += [item.fset, item.fdel, item.fget]
        elif isinstance(item, _HOLDERS):
            pending.append(getattr(item, "__func__", None) or getattr(item, "func", None))
        elif type(item) is type(_cached):
            pending.append(item.__wrapped__)
    return list(found)


@functools.lru_cache(maxsize=1)
def _cached() -> None:
    """For its type."""


def namespace_of(cls: type) -> Mapping[str, Any]:
    """The globals of the module that ``cls`` was defined in."""
    module = sys.modules.get(cls.__module__)
    own = next(_own_functions(cls), None)
    # Several modules may have had one name: that of a script, or of a module loaded again.
    if module is not None and (own is None or vars(module).get(cls.__qualname__.partition(".")[0]) is cls):
        return vars(module)
    return {"__name__": cls.__module__} if own is None else own.__globals__


def class_body(cls: type, sources: Sources) -> ClassBody:
    """The body of ``cls``; without source, what the class holds has to speak for it."""
    namespace = namespace_of(cls)
    own = list(_own_functions(cls))
    found = [pair for function in own if (pair := sources.definition(function.__code__, function.__globals__))]
    text = found[0][0] if found else _text_without_methods(own, namespace)
    statements = text.classes.get(cls.__qualname__, []) if text is not None else []
    nodes = frozenset(node for origin, node in found if origin is text)
    holding = [statement for statement in statements if not nodes.isdisjoint(_children(statement))]
    if text is None or not statements:
        return ClassBody(cls, namespace, None, Normal(cls.__qualname__), None, None)
    statement = (holding or statements)[-1]
    normal = text.normal_class(statement, nodes & _children(statement))
    source = functools.partial(text.segment, statement)
    return ClassBody(cls, namespace, text, normal, source, frozenset(_assigned(statement.body)))


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
