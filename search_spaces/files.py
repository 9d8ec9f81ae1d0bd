"""Search spaces in files: YAML, TOML and JSON, read with line numbers and written back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.distributions import Fixed
from search_spaces.documents import RESERVED, TOP, Format, gallery_document, params_of, read
from search_spaces.errors import SpaceError
from search_spaces.inference import distribution_of
from search_spaces.space import Space
from search_spaces.values import nearest
from search_spaces.writers import write

_SUFFIXES: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


def load(path: str | os.PathLike[str]) -> Space:
    """The space in a ``.yaml``, ``.yml``, ``.toml`` or ``.json`` file; a name without a suffix is one of the gallery.

    The top of the file maps names to what they may be, or holds that mapping under ``params``; ``constraints`` is a
    list of expressions. Raises SpaceError, with file, line and key, for whatever is wrong with it.
    """
    if not Path(path).suffix and not os.path.isfile(path):
        return gallery(str(path))
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
    value, place = params_of(read(text, format, name))
    return Space(value, place=place)


def gallery(name: str, overrides: Mapping[str, Any] | None = None) -> Space:
    """The reviewed space called ``name`` (``xgboost``), with ``overrides`` laid over it as :meth:`Space.override` does.

    Raises SpaceError for an unknown name, naming the nearest.
    """
    value, place = params_of(gallery_document(name))
    space = Space(value, place=place)
    return space if overrides is None else space.override(overrides)


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
    constraints = [found.text for found in space.constraints]
    return write(
        params, format, under=TOP if TOP in params else None, beside={RESERVED: constraints} if constraints else {}
    )


def _format(path: str | os.PathLike[str]) -> Format:
    suffix = Path(path).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise SpaceError(f"{path}: a space is kept in {', '.join(_SUFFIXES)}; got {suffix!r}.{nearest(suffix, _SUFFIXES)}")


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
