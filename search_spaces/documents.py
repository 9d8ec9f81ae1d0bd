"""Texts in YAML 1.2, TOML or JSON, read into plain values that know their lines."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from search_spaces.errors import SpaceError
from search_spaces.lines import Lines, json_lines, toml_lines
from search_spaces.place import Place
from search_spaces.values import nearest

Format = Literal["yaml", "toml", "json"]

TOP = "params"
"""The key under which a file may keep its parameters; then only constraints stand beside it."""
RESERVED = "constraints"
"""The key beside the parameters under which their constraints stand; no parameter has this name."""
KEYS = ("low", "high", "log", "step", "choices", "value", "type", "when")
"""The keys of a distribution written as a mapping."""
_GALLERY = "gallery"


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


def params_of(document: Document) -> tuple[dict[str, Any], Place]:
    """The mapping of parameters, and constraints, in ``document``, and its place. Raises SpaceError if it has none."""
    value, place = document.value, document.place
    if not isinstance(value, dict):
        got = "nothing" if value is None else f"a {type(value).__name__}"
        raise place.error(f"a space maps names to what they may be; got {got}: write name: value pairs.")
    if TOP in value:
        return _under_top(value, place)
    for key, content in value.items():
        if len(value) == 1 and nearest(key, (TOP,)) and isinstance(content, dict) and content.keys().isdisjoint(KEYS):
            raise place.at(key).error(f"unknown key {key!r}.{nearest(key, (TOP,))}")
    return value, place


def _under_top(value: dict[str, Any], place: Place) -> tuple[dict[str, Any], Place]:
    for key in value:
        if key not in (TOP, RESERVED):
            raise place.at(key).error(
                f"beside {TOP!r} stands only {RESERVED!r}; got {key!r}.{nearest(key, (TOP, RESERVED))} "
                f"A parameter belongs under {TOP!r}."
            )
    params, here = value[TOP], place.at(TOP)
    if RESERVED not in value or not isinstance(params, dict):
        return params, here
    if RESERVED in params:
        raise here.at(RESERVED).error(f"{RESERVED} stand once; got them under {TOP!r} and beside it: drop one.")
    lines = {(TOP, *path) if path[:1] == (RESERVED,) else path: line for path, line in place.lines.items()}
    return {**params, RESERVED: value[RESERVED]}, replace(here, lines=lines)


def gallery_names() -> list[str]:
    """The names of the reviewed spaces that come with this package."""
    found = (Path(__file__).parent / _GALLERY).glob("*.yaml")
    return sorted(path.stem for path in found)


def gallery_text(name: str) -> str:
    """The file of a reviewed space, with its comments. Raises SpaceError for an unknown name, naming the nearest."""
    names = gallery_names()
    if name not in names:
        raise SpaceError(
            f"there is no space called {name!r} in the gallery.{nearest(str(name), names)} "
            f"It has {', '.join(names)}; a file has a suffix, such as {name}.yaml."
        )
    return (Path(__file__).parent / _GALLERY / f"{name}.yaml").read_text("utf-8")


@dataclass(frozen=True)
class Entry:
    """A space of the gallery as a list shows it: what it is for, and its sources (references, each one line)."""

    name: str
    title: str
    sources: tuple[str, ...]


def gallery_entry(name: str) -> Entry:
    """What the comments at the head of a space in the gallery say. Raises SpaceError for an unknown name."""
    head = list(takewhile(lambda line: line.startswith("#"), gallery_text(name).splitlines()))
    lines = [line.removeprefix("#") for line in head]
    sources: list[str] = []
    for line in lines:
        if line.startswith(" Source"):
            sources.append(line.partition(":")[2].strip())
        elif line.startswith("   ") and sources:
            sources[-1] += f" {line.strip()}"
    return Entry(name, lines[0].strip(), tuple(sources))


def gallery_document(name: str) -> Document:
    """What the file of a reviewed space says. Raises SpaceError for an unknown name."""
    return read(gallery_text(name), "yaml", f"{name}.yaml")


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
