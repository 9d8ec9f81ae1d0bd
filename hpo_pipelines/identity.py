"""The one question a stand-in cannot answer, ``x is None``, refused when the pipeline is defined."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from hpo_pipelines.component import Component
from hpo_pipelines.errors import DefinitionError

_MISSING = object()


def refuse_identity_tests(function: Callable[..., Any]) -> None:
    """Raise DefinitionError when the body of a pipeline tests by ``is`` a name bound from a component call.

    ``is`` compares objects without asking them, so a step's output is never ``None``, whatever its value. A body whose
    source is not to be had, and names bound in ways that only running would tell, are let through.
    """
    plain = inspect.unwrap(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(plain)))
    except (OSError, TypeError, SyntaxError):
        return
    try:
        scope = inspect.getclosurevars(plain)
    except (TypeError, ValueError):  # not a Python function, or a closure cell that is still empty
        return
    known = {**scope.builtins, **scope.globals, **scope.nonlocals}
    outputs = set(_names_bound_from_components(tree, known))
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(test, ast.Is | ast.IsNot) for test in node.ops):
            for operand in (node.left, *node.comparators):
                if (isinstance(operand, ast.Name) and operand.id in outputs) or _is_component_call(operand, known):
                    raise _refusal(plain, node, ast.unparse(operand))


def _refusal(function: Callable[..., Any], test: ast.Compare, operand: str) -> DefinitionError:
    line = function.__code__.co_firstlineno + test.lineno - 1
    written = ast.unparse(test)
    return DefinitionError(
        f"{function.__code__.co_filename}:{line}: {written!r} in pipeline {function.__name__} asks an output for its "
        f"identity, which only its value has; write {written.replace(operand, f'result({operand})', 1)!r}."
    )


def _names_bound_from_components(tree: ast.AST, known: dict[str, Any]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _is_component_call(node.value, known):
            for target in node.targets:
                yield from _names_in(target)
        elif isinstance(node, ast.NamedExpr | ast.AnnAssign) and _is_component_call(node.value, known):
            yield from _names_in(node.target)


def _names_in(target: ast.AST) -> Iterator[str]:
    for node in ast.walk(target):
        if isinstance(node, ast.Name):
            yield node.id


def _is_component_call(node: ast.AST | None, known: dict[str, Any]) -> bool:
    return isinstance(node, ast.Call) and isinstance(_lookup(node.func, known), Component)


def _lookup(node: ast.AST, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known.get(node.id, _MISSING)
    if isinstance(node, ast.Attribute):
        owner = _lookup(node.value, known)
        return _MISSING if owner is _MISSING else inspect.getattr_static(owner, node.attr, _MISSING)
    return _MISSING
