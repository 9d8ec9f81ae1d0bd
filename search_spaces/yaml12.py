"""YAML 1.2 text as plain values that know their lines. Imports ruamel.yaml, so it is itself imported late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from search_spaces.errors import SpaceError
from search_spaces.lines import Lines, duplicate
from search_spaces.place import Keys, Place
from search_spaces.values import scalar

_MOST_VALUES = 100_000
"""Aliases let a few lines of YAML stand for billions of values; reading stops here."""

_DEEPEST = 100
"""Far beyond any space; ruamel.yaml takes time that grows with the square of the depth."""


def read_yaml(text: str, file: str) -> tuple[Any, Lines]:
    """The value of ``text`` (``None`` if empty) and the line of every key and item in it.

    Types follow YAML 1.2's core schema: ``1e-5`` is a number, ``no`` and dates are text. Raises SpaceError for wrong
    syntax, a key that is not text or comes twice, tags other than that schema's and ``!space``, and aliases that grow
    beyond reason.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _PlainResolver
    yaml.max_depth = _DEEPEST
    yaml.composer.warn_double_anchors = False  # redefining an anchor is legal
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = (error.problem or error.context or "").partition(", if necessary")[0]  # a cure by ruamel.yaml's API
        raise _error(file, line, f"this is not YAML: {problem} (column {column}).") from None
    except YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise _error(file, line, f"this is not YAML: {getattr(error, 'reason', error)}.") from None
    builder = _Builder(file)
    return (None if node is None else builder.value(node, ())), builder.lines


def _error(file: str, line: int, message: str) -> SpaceError:
    return Place((), file, {(): line}).error(message)


_PLAIN = Tag(suffix="plain")
_CORE = "tag:yaml.org,2002:"
_SPACE = "!space"
"""``fit: !space xgboost`` is short for ``fit: {space: xgboost}``."""


class _PlainResolver(VersionedResolver):
    """Leaves the type of plain scalars open: ruamel.yaml would read ``1_000`` as a number and ``.5e1`` as text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0]:
            return _PLAIN
        return super().resolve(kind, value, implicit)


class _Builder:
    """Turns composed nodes into plain values, keeping the line of each."""

    def __init__(self, file: str) -> None:
        self.lines: Lines = {}
        self._file = file
        self._count = 0

    def value(self, node: Node, path: Keys) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > _MOST_VALUES:
            raise _error(self._file, line, f"a document has at most {_MOST_VALUES} values; aliases make more of this.")
        self.lines.setdefault(path, line)
        tag = str(node.tag)
        if isinstance(node, MappingNode) and tag == f"{_CORE}map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and tag == f"{_CORE}seq":
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and tag in _SCALARS:
            return _SCALARS[tag](node.value)
        if isinstance(node, ScalarNode) and tag == _SPACE:
            return {"space": node.value}
        raise Place(path, self._file, self.lines).error(
            f"the tag {tag.replace(_CORE, '!!')!r} has no meaning here: drop it."
        )

    def _mapping(self, node: MappingNode, path: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = _Builder(self._file).value(key_node, path)
            if not isinstance(key, str):
                raise Place(path, self._file, {path: line}).error(f"a key is text; got {key!r}: put it in quotes.")
            if key in found:
                raise duplicate((*path, key), self._file, self.lines[(*path, key)], line)
            self.lines[(*path, key)] = line
            found[key] = self.value(value_node, (*path, key))
        return found


def _float(text: str) -> Any:
    value = scalar(text)
    return float(value) if isinstance(value, int) else value


_SCALARS: dict[str, Callable[[str], Any]] = {
    str(_PLAIN): scalar,
    f"{_CORE}str": str,
    f"{_CORE}null": scalar,
    f"{_CORE}bool": scalar,
    f"{_CORE}int": scalar,
    f"{_CORE}float": _float,
}
