"""Plain values written as YAML 1.2, TOML 1.0 or JSON, one line per entry of the top mapping.

Flow collections and quoted text are so nearly the same in the three that they are written here, not by three libraries:
there is no TOML writer in the standard library, and ruamel.yaml takes 0.2 s to import.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from search_spaces.errors import SpaceError
from search_spaces.values import nearest, scalar


def write(
    mapping: Mapping[str, Any], format: str, *, under: str | None = None, beside: Mapping[str, Any] | None = None
) -> str:
    """The text of ``mapping``, itself the value of the key ``under`` if that is given; ``beside`` stands at the top.

    Raises SpaceError for an unknown format, and for TOML if there is a ``null`` or an integer beyond 64 bits in it.
    """
    if format not in _WRITERS:
        raise SpaceError(f"a format is yaml, toml or json; got {format!r}.{nearest(str(format), _WRITERS)}")
    if under is None:
        return _WRITERS[format]({**mapping, **(beside or {})}, None)
    return _WRITERS[format](mapping, under) if not beside else _WRITERS[format]({**beside, under: dict(mapping)}, None)


def _write_json(mapping: Mapping[str, Any], under: str | None) -> str:
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in mapping.items()]
    body = "{\n" + ",\n".join(lines) + "\n}"
    return f"{body}\n" if under is None else f"{{{json.dumps(under)}: {body}}}\n"


def _write_yaml(mapping: Mapping[str, Any], under: str | None) -> str:
    if not mapping:
        return "{}\n" if under is None else f"{_yaml(under)}: {{}}\n"
    heading, indent = ("", "") if under is None else (f"{_yaml(under)}:\n", "  ")
    return heading + "".join(f"{indent}{_yaml(name)}: {_yaml(value)}\n" for name, value in mapping.items())


def _write_toml(mapping: Mapping[str, Any], under: str | None) -> str:
    heading = "" if under is None else f"[{_toml_key(under)}]\n"
    return heading + "".join(f"{_toml_key(name)} = {_toml(value, name)}\n" for name, value in mapping.items())


_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_OLD_BOOLS = {"y", "n", "yes", "no", "on", "off"}
"""Text in YAML 1.2, but other tools may read the file by YAML 1.1."""


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str):
        bare = _PLAIN_TEXT.fullmatch(value) and scalar(value) == value and value.lower() not in _OLD_BOOLS
        return value if bare else _quoted(value)
    text = json.dumps(value)
    # YAML 1.1 readers take 1e-05 for text.
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _toml(value: Any, name: str) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml(item, name)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item, name) for item in value) + "]"
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        raise SpaceError(f"{name}: TOML has no null: write the space as YAML or JSON.", path=(name,))
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise SpaceError(f"{name}: TOML holds integers of 64 bits; got {value}: write YAML or JSON.", path=(name,))
    return json.dumps(value)


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def _quoted(text: str) -> str:
    """``text`` between double quotes, with escapes that YAML and TOML share (JSON's surrogate pairs are in neither)."""
    return '"' + "".join(_ESCAPES.get(letter) or _escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


_WRITERS: dict[str, Callable[[Mapping[str, Any], str | None], str]] = {
    "yaml": _write_yaml,
    "toml": _write_toml,
    "json": _write_json,
}
