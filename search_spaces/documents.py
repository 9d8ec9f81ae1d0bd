"""Texts in YAML 1.2, TOML or JSON, read into plain values that know their lines."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces.errors import SpaceError
from search_spaces.lines import Lines, json_lines, toml_lines
from search_spaces.place import Place
from search_spaces.values import nearest

Format = Literal["yaml", "toml", "json"]


@dataclass(frozen=True)
class Document:
    """What a text says, and the place of its top, from which the place of every key is found by ``place.at(…)``."""

    value: Any
    place: Place


def read(text: str, format: Format, file: str) -> Document:
    """The document that ``text`` is; ``file`` is what messages call it.

    Raises SpaceError, with file and line, for wrong syntax, duplicate keys, and keys that are not text.
    """
    if format not in _READERS:
        raise SpaceError(f"a format is yaml, toml or json; got {format!r}.{nearest(str(format), _READERS)}")
    try:
        value, lines = _READERS[format](text, file)
    except SpaceError:
        raise
    except RecursionError:
        raise SpaceError(f"{file}: values nest too deeply to be read: flatten them.", file=file) from None
    except ValueError as error:  # Python refuses integers of more than 4300 digits
        raise SpaceError(f"{file}: a number cannot be read: {error}.", file=file) from None
    return Document(value, Place((), file, lines))


def _syntax(file: str, line: int, problem: str, language: str) -> SpaceError:
    return Place((), file, {(): line}).error(f"this is not {language}: {problem}.")


def _read_json(text: str, file: str) -> tuple[Any, Lines]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise _syntax(file, error.lineno, f"{error.msg} (column {error.colno})", "JSON") from None
    return value, json_lines(text, file)


def _read_toml(text: str, file: str) -> tuple[Any, Lines]:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at_line = re.search(r" \(at line (\d+), (column \d+)\)$", str(error))
        last = text.count("\n") + 1
        line, problem = (
            (int(at_line[1]), f"{str(error)[: at_line.start()]} ({at_line[2]})") if at_line else (last, str(error))
        )
        raise _syntax(file, line, problem, "TOML") from None
    return value, toml_lines(text)


def _read_yaml(text: str, file: str) -> tuple[Any, Lines]:
    from search_spaces.yaml12 import read_yaml  # ruamel.yaml takes 0.2 s to import

    return read_yaml(text, file)


_READERS: dict[str, Callable[[str, str], tuple[Any, Lines]]] = {
    "yaml": _read_yaml,
    "toml": _read_toml,
    "json": _read_json,
}
