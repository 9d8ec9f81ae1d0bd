"""Files beside a module that belong to its code, such as the script that a component runs: they travel with it."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hpo_pipelines.errors import DefinitionError
from hpo_pipelines.snapshot.modules import UnitLoader

MOST_BYTES = 20_000_000
"""Of all files of one module: they are part of its code."""

_LEFT_OUT = ("__pycache__", ".git", ".ipynb_checkpoints")


@dataclass(frozen=True)
class Beside:
    """The files beside one module: those that its snapshot carries, or, of a live module, those in its folder."""

    module: str
    folder: Path
    carried: Mapping[str, bytes] | None = None

    @classmethod
    def of(cls, namespace: Mapping[str, Any]) -> Beside:
        """Those of the module with ``namespace``, which may still be under way; of a notebook the current folder's."""
        loader = getattr(namespace.get("__spec__"), "loader", None)
        file = namespace.get("__file__")
        folder = Path(file).parent if isinstance(file, str) else Path.cwd()
        module = namespace.get("__name__", "__main__")  # of a private snapshot one that is equal, and another key
        return cls(module, folder, loader.unit.files if isinstance(loader, UnitLoader) else None)

    def find(self, name: str) -> dict[str, bytes]:
        """The file called ``name``, the files in a folder of that name, or those that fit a pattern; perhaps none.

        Names are relative to the module's folder, with slashes. Raises DefinitionError for one that leads out of it.
        """
        wanted = inside(name)
        if self.carried is not None:
            return {path: content for path, content in self.carried.items() if _fits(path, wanted)}
        return {path: (self.folder / path).read_bytes() for path in self._there(wanted)}

    def _there(self, wanted: str) -> Iterator[str]:
        place = self.folder / wanted
        if place.is_file():
            yield wanted
            return
        found = place.rglob("*") if place.is_dir() else self.folder.glob(wanted) if _is_pattern(wanted) else ()
        for path in sorted(found):
            relative = path.relative_to(self.folder)
            if path.is_file() and not set(relative.parts) & set(_LEFT_OUT):
                yield relative.as_posix()

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Have ``files`` travel with the module. Raises DefinitionError when they are too large to be code."""
        known = _kept.setdefault(self.module, {})
        known.update(files)
        size = sum(map(len, known.values()))
        if size > MOST_BYTES:
            raise DefinitionError(
                f"the files of {self.module} have {size / 1e6:.0f} MB, and files that travel with code have at most "
                f"{MOST_BYTES / 1e6:.0f} MB: data is given as an input."
            )

    def names(self) -> list[str]:
        """What there is, for messages."""
        if self.carried is not None:
            return sorted(self.carried)
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))


_kept: dict[str, dict[str, bytes]] = {}


def kept(module: str) -> Mapping[str, bytes]:
    """The files that travel with the live module called ``module``."""
    return dict(sorted(_kept.get(module, {}).items()))


def inside(name: str) -> str:
    """``name`` as a relative path in its plainest form. Raises DefinitionError for one that is not below its folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise DefinitionError(
            f"{name!r}: a file is named as seen from its folder, and lies below that; not absolutely."
        )
    return path.as_posix()


def _is_pattern(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def _fits(path: str, wanted: str) -> bool:
    return path == wanted or path.startswith(f"{wanted}/") or (_is_pattern(wanted) and fnmatch.fnmatch(path, wanted))
