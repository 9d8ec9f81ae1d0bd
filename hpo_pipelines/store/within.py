"""Conditions over a list of texts that is one bound value.

A statement then has the same SQL for a list of any length: it is compiled once, and PostgreSQL prepares and plans it
once. With a value for each id, writing and reading the SQL of fifty takes longer than finding them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import ARRAY, Boolean, ColumnElement, Dialect, Text, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from hpo_pipelines.store.records import to_json


class Texts(TypeDecorator[Iterable[str]]):
    """A list of texts as a value: an array for PostgreSQL, JSON for SQLite, which has no arrays."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> Any:
        return encoded(dialect)([] if value is None else value)


def encoded(dialect: Dialect) -> Callable[[Iterable[str]], Any]:
    """How the driver of ``dialect`` takes a list."""
    return list if dialect.name == "postgresql" else lambda values: to_json(list(values))


class _Within(FunctionElement[bool]):
    inherit_cache = True
    type = Boolean()

    def self_group(self, against: Any = None) -> Any:
        # Else SQLite is asked whether the condition is 1, of which it does not see that an index answers it.
        return self


@compiles(_Within, "postgresql")
def _in_array(element: _Within, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_Within)
def _in_json(element: _Within, compiler: SQLCompiler, **options: Any) -> str:
    column, values = element.clauses
    return (
        f"{compiler.process(column, **options)} IN (SELECT value FROM json_each({compiler.process(values, **options)}))"
    )


def within(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """``column`` is one of the texts that are bound as ``name``."""
    return _Within(column, bindparam(name, type_=Texts()))
