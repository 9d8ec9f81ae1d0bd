"""``when``: whether a step of a chain is to run, said in a small language that computes and nothing else.

``${prep.metrics.rows} > 1000 and ${pipeline.mode} != 'fast'``: references, numbers, texts, ``True``, ``False``,
``None``, lists of those, comparisons (chained ones and ``in`` too), ``and``, ``or``, ``not``, ``+ - * / // %`` of
numbers, and parentheses. It is parsed by :mod:`ast`, checked node by node when the chain is made, and walked; never
``eval``.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from hpo_pipelines.chain.references import Reference, parsed
from hpo_pipelines.errors import DefinitionError, ParameterError

_LONGEST = 2000
_DEEPEST = 50
_STAND_IN = "reference_"

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, among: item in among,
    ast.NotIn: lambda item, among: item not in among,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_RULE = (
    "a condition holds references, numbers, texts, True, False, None, lists, comparisons, and, or, not, + - * / // % "
    "and parentheses"
)


@dataclass(frozen=True)
class Condition:
    """A condition, parsed: ``text`` as it was written, and the ``references`` in it. Made by :meth:`of`."""

    text: str
    references: tuple[Reference, ...]
    _tree: ast.expr = field(repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> Condition:
        """Parse ``text``. Raises DefinitionError for what is no condition."""
        if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
            raise DefinitionError(f"when={text!r:.100}: {_RULE}; in a text of at most {_LONGEST} characters.")
        references: list[Reference] = []
        written = ""
        for piece in parsed(text):
            if isinstance(piece, Reference):
                written += f"{_STAND_IN}{len(references)}"
                references.append(piece)
            else:
                written += piece
        try:
            tree = ast.parse(written.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            said = error.msg if isinstance(error, SyntaxError) else type(error).__name__
            raise DefinitionError(f"when={text!r}: this does not read as a condition ({said}); {_RULE}.") from None
        if not _is_shallow(tree):
            raise DefinitionError(
                f"when={text!r:.100}: it nests more than {_DEEPEST} deep; split it over several steps."
            )
        for node in ast.walk(tree):
            _check(node, text, len(references))
        return cls(text, tuple(references), tree)

    def holds(self, value_of: Callable[[Reference], Any]) -> bool:
        """Whether it is true of what its references name. Raises ParameterError for what cannot be computed."""
        try:
            return bool(self._value(self._tree, value_of))
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ParameterError(f"when={self.text!r} cannot be computed: {type(error).__name__}: {error}") from error

    def _value(self, node: ast.expr, value_of: Callable[[Reference], Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return value_of(self.references[int(node.id.removeprefix(_STAND_IN))])
        if isinstance(node, ast.List | ast.Tuple):
            return [self._value(item, value_of) for item in node.elts]
        if isinstance(node, ast.BoolOp):
            return self._combined(node, value_of)
        if isinstance(node, ast.Compare):
            return self._compared(node, value_of)
        if isinstance(node, ast.UnaryOp):
            return _SIGNS[type(node.op)](self._value(node.operand, value_of))
        assert isinstance(node, ast.BinOp), "checked when it was parsed"
        left, right = self._value(node.left, value_of), self._value(node.right, value_of)
        for operand in (left, right):
            # Of texts and lists a product can fill the memory.
            if not isinstance(operand, Real):
                raise TypeError(f"arithmetic is of numbers, and {operand!r:.60} is a {type(operand).__name__}")
        return _ARITHMETIC[type(node.op)](left, right)

    def _combined(self, node: ast.BoolOp, value_of: Callable[[Reference], Any]) -> Any:
        stops = isinstance(node.op, ast.Or)
        value: Any = not stops
        for operand in node.values:
            value = self._value(operand, value_of)
            if bool(value) is stops:
                return value
        return value

    def _compared(self, node: ast.Compare, value_of: Callable[[Reference], Any]) -> bool:
        left = self._value(node.left, value_of)
        for test, operand in zip(node.ops, node.comparators, strict=True):
            right = self._value(operand, value_of)
            if not _COMPARISONS[type(test)](left, right):
                return False
            left = right
        return True


_ALLOWED = (
    ast.Constant, ast.Name, ast.List, ast.Tuple, ast.BoolOp, ast.Compare, ast.UnaryOp, ast.BinOp,
    ast.And, ast.Or, ast.Load, *_COMPARISONS, *_ARITHMETIC, *_SIGNS,
)  # fmt: skip


def _is_shallow(tree: ast.AST) -> bool:
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return not level


def _check(node: ast.AST, text: str, count: int) -> None:
    """Raise DefinitionError for a node that has no place in a condition."""
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, str | int | float | bool | None):
            raise DefinitionError(f"when={text!r}: {ast.unparse(node)} is none of what it may hold; {_RULE}.")
        if isinstance(node.value, str) and _STAND_IN in node.value:
            raise DefinitionError(f"when={text!r}: a reference stands without quotes around it.")
    elif isinstance(node, ast.Name):
        number = node.id.removeprefix(_STAND_IN)
        if not (node.id.startswith(_STAND_IN) and number.isdigit() and int(number) < count):
            raise DefinitionError(f"when={text!r}: {node.id!r} is no name here; write a reference, or quote a text.")
    elif not isinstance(node, _ALLOWED):
        what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__.lower()
        raise DefinitionError(f"when={text!r}: {what!r} is not part of the language; {_RULE}.")
