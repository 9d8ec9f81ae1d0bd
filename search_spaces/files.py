"""Search spaces in files: YAML, TOML and JSON, read with line numbers and written back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.distributions import Fixed
from search_spaces.documents import Document, Format, read
from search_spaces.errors import SpaceError
from search_spaces.inference import KEYS, distribution_of
from search_spaces.place import Place
from search_spaces.space import Space
from search_spaces.values import nearest
from search_spaces.writers import write

_SUFFIXES: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}
_TOP = "params"
"""The key under which a file may keep its parameters; then it stands alone at the top."""


def load(path: str | os.PathLike[str]) -> Space:
    """The space in a ``.yaml``, ``.yml``, ``.toml`` or ``.json`` file.

    The top of the file maps names to what they may be, or holds that mapping under ``params``. Raises SpaceError, with
    file, line and key, for whatever is wrong with it.
    """
    format = _format(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpaceError(f"{path}: the file cannot be read: {error.strerror}.", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise SpaceError(
            f"{path}: the file is not UTF-8 ({error.reason} at byte {error.start}).", file=str(path)
        ) from None
    return loads(text, format, name=str(path))


def loads(text: str, format: Format, *, name: str = "<text>") -> Space:
    """The space in ``text``, which messages call ``name``. Raises SpaceError as :func:`load` does."""
    document = read(text, format, name)
    value, place = _params(document)
    return Space(value, place=place)


def dump(space: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes ``space`` where :func:`load` reads it back; the suffix decides the format. Raises SpaceError as dumps."""
    text = dumps(space, _format(path))
    Path(path).write_text(text, encoding="utf-8", newline="\n")


def dumps(space: Mapping[str, Any], format: Format) -> str:
    """``space`` as text, one line per parameter, that :func:`loads` reads back to an equal space.

    Raises SpaceError for an unknown format, and for TOML if there is a ``null`` or an integer beyond 64 bits in it.
    """
    space = space if isinstance(space, Space) else Space(space)
    params = {name: _short(space, name) for name in space}
    return write(params, format, under=_TOP if _TOP in params else None)


def _format(path: str | os.PathLike[str]) -> Format:
    suffix = Path(path).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise SpaceError(f"{path}: a space is kept in {', '.join(_SUFFIXES)}; got {suffix!r}.{nearest(suffix, _SUFFIXES)}")


def _params(document: Document) -> tuple[Mapping[str, Any], Place]:
    """The mapping of parameters in ``document``, and its place."""
    value, place = document.value, document.place
    if not isinstance(value, dict):
        got = "nothing" if value is None else f"a {type(value).__name__}"
        raise place.error(f"a space maps names to what they may be; got {got}: write name: value pairs.")
    if _TOP in value:
        for key in value:
            if key != _TOP:
                raise place.at(key).error(
                    f"beside {_TOP!r} stands no other key; got {key!r}.{nearest(key, (_TOP,))} "
                    f"A parameter belongs under {_TOP!r}."
                )
        return value[_TOP], place.at(_TOP)
    for key, content in value.items():
        if len(value) == 1 and nearest(key, (_TOP,)) and isinstance(content, dict) and not KEYS & content.keys():
            raise place.at(key).error(f"unknown key {key!r}.{nearest(key, (_TOP,))}")
    return value, place


def _short(space: Space, name: str) -> Any:
    """A fixed scalar as itself, where reading it gives the same distribution; else the mapping."""
    distribution = space[name]
    if isinstance(distribution, Fixed) and not isinstance(distribution.value, list | dict):
        try:
            if distribution_of(distribution.value) == distribution:
                return distribution.value
        except SpaceError:
            return distribution.as_dict()
    return distribution.as_dict()
