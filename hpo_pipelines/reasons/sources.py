"""The source of a piece of code as a snapshot has it: found by its name in the text, without running any."""

from __future__ import annotations

import ast
import difflib
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

from hpo_pipelines.snapshot import Content

_NUMBERED = re.compile(r"#\d+$")
_DEFAULT = re.compile(r"(.*)\((\w+)=\)")
_CELL = re.compile(r"(.*)\[([^\W\d]\w*)\]")
_PLACE = re.compile(r"\[.*\]$")
"""Where in a container a function without a name is kept."""
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_LONG = 60


@dataclass(frozen=True)
class Piece:
    """A piece of code under a name of :attr:`hpo_pipelines.fingerprint.CodeFingerprint.parts`.

    ``kind`` is ``function``, ``class``, ``method``, ``constant``, ``default``, ``captured`` (a closure's cell),
    ``module`` or, where the text is not to be had, ``piece``. ``value`` is the expression behind a constant or default.
    """

    kind: str
    name: str
    file: str
    text: str | None = None
    value: str | None = None


def piece(content: Content | None, label: str) -> Piece:
    """The piece called ``label`` in a snapshot."""
    module, _, qualname = _NUMBERED.sub("", label).partition(":")
    file, texts = _texts(content, module)
    if qualname == "*":
        return Piece("module", module, file, texts[0] if texts else None)
    default, cell = _DEFAULT.fullmatch(qualname), _CELL.fullmatch(qualname)
    owner = default[1] if default else cell[1] if cell else _PLACE.sub("", qualname)
    found = next((found for text in texts if (found := _find(text, owner)) is not None), None)
    if found is None:
        kind = "default" if default else "captured" if cell else "piece"
        name = default[2] if default else cell[2] if cell else qualname
        return Piece(kind, name, file)
    text, nodes = found
    if cell:
        return Piece("captured", f"{cell[2]} in {owner}", file)
    if default:
        value = _default(nodes[-1], default[2])
        return Piece("default", f"{default[2]} of {owner}", file, None, value)
    return Piece(_kind(nodes[-1], qualname), qualname, file, _segment(text, nodes), _value(nodes))


def unified(old: Piece, new: Piece, *, old_label: str, new_label: str) -> str:
    """A unified diff of two pieces; empty where one has no text, or both have the same."""
    if old.text is None or new.text is None or old.text == new.text:
        return ""
    lines = difflib.unified_diff(
        old.text.splitlines(), new.text.splitlines(), f"{old.file} ({old_label})", f"{new.file} ({new_label})",
        lineterm="",
    )  # fmt: skip
    return "\n".join(lines)


def _texts(content: Content | None, module: str) -> tuple[str, list[str]]:
    """What people call the module's file, and its text; several texts for what was in no module (notebook cells)."""
    if content is None:
        return f"{module.rpartition('.')[2]}.py", []
    unit = content.modules.get(module)
    if unit is not None:
        return _shown(unit.origin or f"{module}.py"), [unit.source]
    # A script goes under its file's name, so that both ways of running it agree.
    named = {file: text for file, text in content.texts.items() if PurePath(file).stem == module}
    chosen = named or content.texts
    file = _shown(next(iter(chosen))) if len(chosen) == 1 else f"{module}.py"
    return file, [*chosen.values(), *content.components.values()]


def _shown(path: str) -> str:
    parts = PurePath(path).parts
    if "ipython-input" in path or any(part.startswith("ipykernel_") for part in parts):
        return "a notebook cell"
    return os.path.join(*parts[-2:]) if parts[-1] == "__init__.py" else parts[-1]


def _find(text: str, qualname: str) -> tuple[str, list[ast.stmt]] | None:
    """``text`` and the statements in it that define ``qualname``."""
    tree = _parsed(text)
    if tree is None:
        return None
    body: Sequence[ast.stmt] = tree.body
    *path, last = [name for name in qualname.split(".") if name != "<locals>"]
    for name in path:
        owner = next((node for node in reversed(_binding(body, name)) if isinstance(node, _Definition)), None)
        if owner is None:
            return None
        body = owner.body
    nodes = _with_lambda(body) if last == "<lambda>" else _binding(body, last)
    return (text, nodes) if nodes else None


@lru_cache(maxsize=64)
def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _binding(body: Sequence[ast.stmt], name: str) -> list[ast.stmt]:
    """The statements of ``body`` that bind ``name``: its definitions, or else its assignments and imports."""
    statements = list(_flat(body))
    definitions: list[ast.stmt] = [node for node in statements if isinstance(node, _Definition) and node.name == name]
    return definitions or [node for node in statements if name in _assigned(node)]


def _flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements in their order, those inside ``if``, ``try`` and ``with`` too, not those of another scope."""
    for node in body:
        yield node
        if not isinstance(node, _Definition):
            for field in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(node, field, ()):
                    yield from _flat(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _assigned(node: ast.stmt) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def _with_lambda(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    simple = (node for node in _flat(body) if not isinstance(node, _Definition) and not hasattr(node, "body"))
    return [node for node in simple if any(isinstance(inner, ast.Lambda) for inner in ast.walk(node))]


def _kind(node: ast.stmt, qualname: str) -> str:
    if isinstance(node, ast.ClassDef):
        return "class"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return "method" if "." in qualname.rpartition("<locals>.")[2] else "function"
    return "function" if qualname.endswith("<lambda>") else "constant"


def _segment(text: str, nodes: Sequence[ast.stmt]) -> str:
    lines = text.split("\n")
    wanted = nodes[-1:] if isinstance(nodes[-1], _Definition) else nodes
    return "\n".join(textwrap.dedent("\n".join(lines[_first(node) - 1 : node.end_lineno])) for node in wanted)


def _first(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, _Definition) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _value(nodes: Sequence[ast.stmt]) -> str | None:
    """The expression of a constant that is assigned once, if it is short."""
    node = nodes[0]
    if len(nodes) != 1 or not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return None
    return _brief(node.value)


def _default(node: ast.stmt, parameter: str) -> str | None:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    positional = [*node.args.posonlyargs, *node.args.args]
    given: Mapping[str, ast.expr | None] = {
        **{a.arg: d for a, d in zip(reversed(positional), reversed(node.args.defaults), strict=False)},
        **{a.arg: d for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)},
    }
    expression = given.get(parameter)
    return None if expression is None else _brief(expression)


def _brief(expression: ast.expr) -> str | None:
    text = ast.unparse(expression)
    return text if len(text) <= _LONG else None
