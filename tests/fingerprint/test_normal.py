"""Laws of the normal form: layout does not enter it, everything else does."""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import inspect
import random
import textwrap

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_pipelines.fingerprint.normal import normal_function

CORPUS = [
    textwrap.dedent(inspect.getsource(function))
    for module in (argparse, functools, textwrap, random, copy)
    for owner in [module, *(value for value in vars(module).values() if isinstance(value, type))]
    for function in vars(owner).values()
    if inspect.isfunction(function)
    and function.__name__ != "<lambda>"
    and function.__code__.co_filename == module.__file__
]


def function_in(text: str) -> ast.FunctionDef:
    (node,) = ast.parse(text).body
    assert isinstance(node, ast.FunctionDef)
    return node


def digest(text: str) -> str:
    return normal_function(function_in(text)).digest


def test_the_corpus_is_real():
    assert len(CORPUS) > 150


def test_code_written_anew_from_its_tree_has_the_same_digest():
    for text in CORPUS:
        assert digest(text) == digest(ast.unparse(ast.parse(text))), text


def test_different_functions_have_different_digests():
    trees = {ast.dump(_without_decoration(function_in(text))) for text in CORPUS}
    assert len({digest(text) for text in CORPUS}) == len(trees)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CORPUS), st.data())
def test_comments_and_blank_lines_do_not_count(text, data):
    tree = ast.parse(text)
    starts = sorted({node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)})
    lines = text.split("\n")
    for line in sorted(data.draw(st.sets(st.sampled_from(starts), max_size=5)), reverse=True):
        lines.insert(line - 1, data.draw(st.sampled_from(["", "# a comment", "    # another: x = 1"])))
    assert digest("\n".join(lines)) == digest(text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(CORPUS), st.data())
def test_every_other_change_counts(text, data):
    node = function_in(text)
    changes = [change for inner in ast.walk(_without_decoration(node)) for change in _changes(inner)]
    owner, name, value = changes[data.draw(st.integers(0, len(changes) - 1))]
    before = normal_function(node).digest
    setattr(owner, name, value)
    assert normal_function(node).digest != before


def _changes(node: ast.AST):
    match node:
        case ast.Name():
            yield node, "id", f"{node.id}_"
        case ast.Attribute():
            yield node, "attr", f"{node.attr}_"
        case ast.Constant():
            yield node, "value", not node.value if isinstance(node.value, bool) else (node.value, "changed")
        case ast.arg():
            yield node, "arg", f"{node.arg}_"
        case ast.BinOp():
            yield node, "op", ast.Mult() if isinstance(node.op, ast.Add) else ast.Add()
        case ast.Compare():
            yield node, "ops", [ast.IsNot() if isinstance(op, ast.Eq) else ast.Eq() for op in node.ops]
        case ast.keyword():
            yield node, "arg", f"{node.arg}_"
        case ast.Return() if node.value is not None:
            yield node, "value", None
        case ast.If() | ast.While() | ast.For():
            yield node, "orelse", [*node.orelse, ast.Continue()]


def _without_decoration(node: ast.FunctionDef) -> ast.FunctionDef:
    """What the digest of a function covers: no docstring, no decorators, no defaults (those count by value)."""
    node.decorator_list, node.args.defaults, node.args.kw_defaults = [], [], []
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner, clean=False) is not None:
            del inner.body[0]
    return node
