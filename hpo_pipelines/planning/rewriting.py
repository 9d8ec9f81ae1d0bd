"""A body rewritten for tracking: what Python answers without asking the value, f-strings and ``is``, asks it there.

So do calls of functions that only make a value of others (``int``, ``len``, ``print``, those of ``math``). A body whose
source is not to be had, or that sets names outside of itself, stays as it is: then the origins of such texts are lost,
and known to be.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import operator
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from hpo_pipelines.output import is_output
from hpo_pipelines.planning.origins import applied, watch_of

_PURE = frozenset(
    getattr(builtins, name)
    for name in (
        "abs", "bool", "bytes", "complex", "dict", "divmod", "float", "format", "frozenset", "int", "isinstance",
        "len", "list", "max", "min", "pow", "repr", "round", "set", "sorted", "str", "sum", "tuple", "type",
    )
)  # fmt: skip
_PURE_MODULES = frozenset({"math", "cmath", "statistics", "json", "posixpath", "pathlib", "fractions", "decimal"})
_CALL, _IS, _TEXT, _MOD = "__hpo_call__", "__hpo_is__", "__hpo_text__", "__hpo_mod__"


_known: dict[CodeType, CodeType | None] = {}
"""What was rewritten, so that it is done once."""


def rewritten(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as it is traced; itself where it cannot be rewritten."""
    target = inspect.unwrap(function)
    if not isinstance(target, FunctionType):
        return function
    if target.__code__ not in _known:
        _known[target.__code__] = _rewritten_code(target)
    code = _known[target.__code__]
    if code is None:
        return function
    known = {**target.__globals__, _CALL: _call, _IS: _is, _TEXT: _text, _MOD: _mod}
    made = FunctionType(code, known, target.__name__, target.__defaults__, target.__closure__)
    made.__kwdefaults__ = target.__kwdefaults__
    return made


def _rewritten_code(target: FunctionType) -> CodeType | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(target)))
    except (OSError, TypeError, SyntaxError):
        return None
    definition = tree.body[0]
    outside = (ast.Global, ast.Nonlocal, ast.Await, ast.Yield, ast.YieldFrom)
    if not isinstance(definition, ast.FunctionDef) or any(isinstance(node, outside) for node in ast.walk(tree)):
        return None
    definition.decorator_list, definition.returns = [], None
    _Rewriting().visit(definition)
    ast.increment_lineno(ast.fix_missing_locations(tree), target.__code__.co_firstlineno - 1)
    free = target.__code__.co_freevars
    # Free names are those of a function around it.
    lines = [ast.parse(f"{name} = None").body[0] for name in free]
    around = ast.FunctionDef(
        name="around",
        args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]),
        body=[*lines, definition],
        decorator_list=[],
    )
    module = ast.fix_missing_locations(ast.Module(body=[around if free else definition], type_ignores=[]))
    code = _function_in(compile(module, target.__code__.co_filename, "exec"), target.__name__)
    return code if code is not None and code.co_freevars == free else None


def _function_in(code: CodeType, name: str) -> CodeType | None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found = constant if constant.co_name == name else _function_in(constant, name)
            if found is not None:
                return found
    return None


class _Rewriting(ast.NodeTransformer):
    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Call(_name(_TEXT), [self._part(value) for value in node.values], [])

    def _part(self, value: ast.expr) -> ast.expr:
        if not isinstance(value, ast.FormattedValue):
            return value
        spec: ast.expr = ast.Constant("") if value.format_spec is None else self.visit(value.format_spec)
        return ast.Tuple([self.visit(value.value), ast.Constant(value.conversion), spec], ast.Load())

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.Is | ast.IsNot):
            return node
        negated = ast.Constant(isinstance(node.ops[0], ast.IsNot))
        return ast.Call(_name(_IS), [node.left, node.comparators[0], negated], [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        literal = isinstance(node.left, ast.Constant) and isinstance(node.left.value, str | bytes)
        return ast.Call(_name(_MOD), [node.left, node.right], []) if literal and isinstance(node.op, ast.Mod) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in ("super", "locals", "vars", "eval", "exec"):
            return node
        return ast.Call(_name(_CALL), [node.func, *node.args], node.keywords)


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _call(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The call as it is written; of a function that only makes a value of others, with the origins of these."""
    if function is print and watch_of(args, kwargs) is not None:
        return None  # what a traced body prints is dropped anyhow
    if _is_pure(function) and not any(map(_is_code, (*args, *kwargs.values()))):
        return applied(function, *map(_seen, args), **{name: _seen(value) for name, value in kwargs.items()})
    return function(*args, **kwargs)


def _is_pure(function: Any) -> bool:
    try:
        known = function in _PURE
    except TypeError:  # it has no hash
        return False
    module = str(getattr(function, "__module__", None) or type(function).__module__)
    # Methods of texts, such as "{}".format and ", ".join; and what numpy makes of values, at random or not.
    return (
        known
        or module in _PURE_MODULES
        or type(getattr(function, "__self__", None)) in (str, bytes)
        or (module.partition(".")[0] == "numpy")
    )


def _is_code(value: Any) -> bool:
    """Whether ``value`` is a function that the body has written, which would see the plain values."""
    return issubclass(type(value), FunctionType)


def _is(one: Any, other: Any, negated: bool) -> Any:
    return applied(lambda a, b: (a is b) is not negated, _seen(one), _seen(other))


def _mod(text: Any, values: Any) -> Any:
    return applied(operator.mod, text, _seen(values))


def _text(*parts: Any) -> Any:
    """An f-string of literal texts, and of values with their conversion and format."""
    return applied(_joined, *((_seen(part[0]), *part[1:]) if type(part) is tuple else part for part in parts))


def _seen(value: Any) -> Any:
    """``value``, looked at if it is an output."""
    return value.__wrapped__ if is_output(value) else value


def _joined(*parts: Any) -> str:
    return "".join(part if isinstance(part, str) else _formatted(*part) for part in parts)


def _formatted(value: Any, conversion: int, spec: str) -> str:
    conversions: dict[int, Callable[[Any], str]] = {ord("r"): repr, ord("s"): str, ord("a"): ascii}
    return format(conversions[conversion](value) if conversion in conversions else value, spec)
