"""Search spaces of other tools, recognised by their shape: ``import_space(config)``, ``hpo space import FILE``.

Each module knows one tool: ``matches(value)`` tells its shape, ``read(value, place, notes)`` gives parameters.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from search_spaces.documents import Document, Format, read
from search_spaces.errors import SpaceError
from search_spaces.importers.notes import Notes
from search_spaces.place import Place
from search_spaces.space import Space
from search_spaces.values import nearest

FORMATS = ("katib", "wandb", "nni", "optuna", "ray", "hydra")
"""In the order in which they are tried: Hydra's shape, text with a call in it, is the least certain."""
_SUFFIXES: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


@dataclass(frozen=True)
class Imported:
    """A space that came from ``format``, and what of it has no counterpart here."""

    space: Space
    format: str
    warnings: tuple[str, ...]


def import_space(value: Any, format: str | None = None, *, place: Place | None = None) -> Imported:
    """The space that ``value``, an object or the content of a file, is in the words of another tool.

    ``format`` is one of :data:`FORMATS`; without it the shape decides. Raises SpaceError for an unknown shape or
    format, and for what is wrong with it, naming ``place``.
    """
    place = place or Place()
    if format is not None and format not in FORMATS:
        raise SpaceError(f"a format is one of {', '.join(FORMATS)}; got {format!r}.{nearest(format, FORMATS)}")
    found = format or next((name for name in FORMATS if _module(name).matches(value)), None)
    if found is None:
        shapes = ", ".join(FORMATS)
        raise place.error(
            f"this has the shape of none of {shapes}. A space in our own words needs no import: use it as it is."
        )
    if not _module(found).matches(value):
        raise place.error(f"this has not the shape of {found}.")
    notes = Notes()
    params: Mapping[str, Any] = _module(found).read(value, place, notes)
    return Imported(Space(params, place=place), found, tuple(notes.warnings))


def import_file(path: str | os.PathLike[str], format: str | None = None) -> Imported:
    """The space in a YAML, TOML or JSON file, or in lines of Hydra's overrides under any other suffix.

    Raises SpaceError as :func:`import_space` does, with file and line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceError(f"{path}: the file cannot be read: {error}.", file=str(path)) from error
    suffix = Path(path).suffix.lower()
    document = (
        read(text, _SUFFIXES[suffix], str(path)) if suffix in _SUFFIXES else Document(text, Place((), str(path), {}))
    )
    return import_space(document.value, format, place=document.place)


def _module(name: str) -> Any:
    return import_module(f"search_spaces.importers.{name}")
