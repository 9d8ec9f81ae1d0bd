"""Constraints between parameters: expressions such as ``hidden >= 2 * heads`` that a sample has to satisfy.

Read with Python's own parser, and walked here: nothing is ever compiled or called.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.errors import SpaceError
from search_spaces.values import canonical, comparable

_GRAMMAR = (
    "comparisons (< <= == != >= >, in), arithmetic (+ - * / // % **), and, or, not, parameters, numbers, text, "
    "true, false, null, and lists of these"
)
_LONGEST = 1000
_LARGEST = 2.0**1000
"""Where arithmetic ends: 10 ** 10 ** 10 would take the machine with it."""

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_EQUALITY = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)
_MEMBERSHIP = (ast.In, ast.NotIn)
_WORDS = {"true": True, "false": False, "null": None}
"""As YAML and JSON write them; Python's True, False and None are read as well."""


@dataclass(frozen=True)
class Constraint:
    """An expression over parameters, written as ``text``; two are equal when their texts are.

    A parameter of a group is named with its dot: ``fit.hidden >= 2 * fit.heads``.
    """

    text: str

    def __init__(self, text: str) -> None:
        """Raises SpaceError for what is not such an expression."""
        if not isinstance(text, str) or not text.strip():
            raise SpaceError(f"a constraint is text, for instance 'hidden >= 2 * heads'; got {text!r}.")
        object.__setattr__(self, "text", " ".join(line.strip() for line in text.strip().splitlines()))
        for node in _walk(self._tree()):
            _check(node, self.text)
        if not self.names:
            raise SpaceError(f"a constraint names a parameter; {self.text!r} names none: drop it.")

    def _tree(self) -> ast.expr:
        if len(self.text) > _LONGEST:
            raise SpaceError(f"a constraint has at most {_LONGEST} characters; got {len(self.text)}: write several.")
        try:
            return ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            problem = error.msg if isinstance(error, SyntaxError) else type(error).__name__
            raise SpaceError(f"{self.text!r} is no expression: {problem}. There are {_GRAMMAR}.") from None

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that it is about, each once, in the order of the text."""
        return tuple(dict.fromkeys(name for node in _walk(self._tree()) if (name := _name(node)) is not None))

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether ``values``, which has every one of :attr:`names`, satisfies it.

        What cannot be computed (a division by zero, a number beyond 2**1000) does not. Raises SpaceError where the
        values are of types that cannot be compared or computed with.
        """
        try:
            return bool(_value(self._tree(), values))
        except TypeError as error:
            given = ", ".join(f"{name}={values[name]!r}" for name in self.names)
            raise SpaceError(f"{self.text!r} has no meaning for {given}: {error}.") from None
        except ArithmeticError:
            return False

    def renamed(self, rename: Callable[[str], str]) -> Constraint:
        """The same constraint with every parameter called ``rename(name)``."""
        text = self.text.encode()
        found = [node for node in _walk(self._tree()) if _name(node) is not None]
        for node in sorted(found, key=lambda node: -node.col_offset):
            name = _name(node) or ""
            end = node.end_col_offset or len(text)
            text = text[: node.col_offset] + rename(name).encode() + text[end:]
        return Constraint(text.decode())

    def __str__(self) -> str:
        return self.text


def _walk(node: ast.expr) -> Iterator[ast.expr]:
    """The expressions that matter: of a dotted name the whole, not its parts."""
    yield node
    if _name(node) is None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from _walk(child)


def _name(node: ast.expr) -> str | None:
    """The parameter that ``node`` names, ``None`` for anything else."""
    if isinstance(node, ast.Name):
        return None if node.id in _WORDS else node.id
    if isinstance(node, ast.Attribute):
        inner = _name(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


def _check(node: ast.expr, text: str) -> None:
    """Raises SpaceError unless ``node`` itself is in the grammar."""
    operators: Iterable[ast.AST] = ()
    known: tuple[type, ...] = ()
    if isinstance(node, ast.BinOp):
        operators, known = [node.op], tuple(_ARITHMETIC)
    elif isinstance(node, ast.UnaryOp):
        operators, known = [node.op], (ast.Not, ast.USub, ast.UAdd)
    elif isinstance(node, ast.Compare):
        operators, known = node.ops, (*_ORDER, *_EQUALITY, *_MEMBERSHIP)
    fits = isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare | ast.BoolOp | ast.List | ast.Tuple)
    fits = fits or isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _name(node) is not None)
    fits = fits or (isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None))
    if not fits or not all(isinstance(found, known) for found in operators):
        part = ast.get_source_segment(text, node) or text
        raise SpaceError(f"a constraint is made of {_GRAMMAR}; {part!r} in {text!r} is none of these.")


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    name = _name(node)
    if name is not None:
        return values[name]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _WORDS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, values) for item in node.elts]
    if isinstance(node, ast.BoolOp):
        parts = (bool(_value(part, values)) for part in node.values)
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if isinstance(node, ast.UnaryOp):
        return _unary(node, values)
    if isinstance(node, ast.BinOp):
        return _computed(node.op, _value(node.left, values), _value(node.right, values))
    assert isinstance(node, ast.Compare), "the constructor lets nothing else through"
    return _compared(node, values)


def _unary(node: ast.UnaryOp, values: Mapping[str, Any]) -> Any:
    value = _value(node.operand, values)
    if isinstance(node.op, ast.Not):
        return not value
    return _number(-_number(value) if isinstance(node.op, ast.USub) else value)


def _computed(operation: ast.operator, left: Any, right: Any) -> Any:
    left, right = _number(left), _number(right)
    if isinstance(operation, ast.Pow):
        # A float overflows at once where an integer would fill the memory; a root of a negative number is no number.
        estimate = float(left) ** right
        if isinstance(estimate, complex) or abs(estimate) > _LARGEST:
            raise OverflowError
    return _number(_ARITHMETIC[type(operation)](left, right))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"arithmetic is of numbers, {value!r} is none")
    if abs(value) > _LARGEST:
        raise OverflowError
    return value


def _compared(node: ast.Compare, values: Mapping[str, Any]) -> bool:
    left = _value(node.left, values)
    for operation, side in zip(node.ops, node.comparators, strict=True):
        right = _value(side, values)
        if not _related(operation, left, right):
            return False
        left = right
    return True


def _related(operation: ast.cmpop, left: Any, right: Any) -> bool:
    if isinstance(operation, _EQUALITY):
        return (comparable(left) == comparable(right)) is isinstance(operation, ast.Eq | ast.Is)
    if isinstance(operation, _MEMBERSHIP):
        if not isinstance(right, list):
            raise TypeError(f"in is followed by a list, {canonical(right)} is none")
        return (comparable(left) in map(comparable, right)) is isinstance(operation, ast.In)
    if not (isinstance(left, str) and isinstance(right, str)):
        left, right = _number(left), _number(right)
    return _ORDER[type(operation)](left, right)
