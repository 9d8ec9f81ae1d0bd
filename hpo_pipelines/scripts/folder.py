"""The working directory of a command: its files and inputs are put there, and what it leaves is taken from there."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo_pipelines.errors import CommandFailed

_LISTED = 30


class _Held(type(Path())):  # type: ignore[misc]  # the class of paths of this system
    """A path inside a temporary folder, which stays for as long as the path does."""

    folder: Any = None

    def __reduce__(self) -> Any:
        return Path, (str(self),)


# To be read as what it is for everybody else.
_Held.__module__, _Held.__qualname__, _Held.__name__ = Path.__module__, "Path", "Path"


class _Temporary:
    """A temporary folder, removed when nobody holds this any more."""

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="hpo-command-")
        weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


class WorkingFolder:
    """A temporary folder; gone when neither this nor a path that it gave is used any more."""

    def __init__(self) -> None:
        self._folder = _Temporary()
        self.path = Path(self._folder.name)

    def put_file(self, name: str, content: bytes) -> None:
        """Write one of the command's own files; one that begins like a script can be run."""
        target = self._target(name)
        target.write_bytes(content)
        if content.startswith(b"#!"):
            target.chmod(0o755)

    def put_input(self, argument: str, name: str, value: Any) -> None:
        """Put the argument ``value`` at ``name``: a Path is copied, bytes are written; tables and plain values by the
        suffix of ``name``. Raises CommandFailed for what cannot be put there."""
        target = self._target(name)
        suffix = target.suffix.lower()
        if isinstance(value, Path):
            if value.is_dir():
                shutil.copytree(value, target, dirs_exist_ok=True)
            elif value.is_file():
                shutil.copy(value, target)
            else:
                raise CommandFailed(f"{argument} is a path to no file or folder: {value}.")
        elif isinstance(value, bytes | bytearray | memoryview):
            target.write_bytes(value)
        elif hasattr(value, "to_csv") and suffix == ".csv":
            value.to_csv(target, index=False)
        elif hasattr(value, "to_parquet") and suffix in (".parquet", ".pq"):
            value.to_parquet(target)
        elif suffix == ".json":
            target.write_text(_json(argument, name, value), "utf-8")
        else:
            raise CommandFailed(
                f"{argument}={value!r:.100} ({type(value).__name__}) cannot be put at {name}: give a Path or bytes, a "
                "table for a name that ends with .csv or .parquet, plain values for one that ends with .json."
            )

    def make_room(self, name: str) -> None:
        """Make the folder that ``name`` is to be left in."""
        self._target(name)

    def take(self, outputs: Mapping[str, str], command: str) -> dict[str, Path]:
        """What the command left, by name. Raises CommandFailed naming what is missing, and what is there."""
        missing = [f"{name} ({where})" for name, where in outputs.items() if not (self.path / where).exists()]
        if missing:
            raise CommandFailed(f"{command} left no {', no '.join(missing)}. {self._listing()}")
        return {name: self._held(where) for name, where in outputs.items()}

    def read_json(self, name: str, command: str) -> Any:
        """The content of a JSON file that the command left. Raises CommandFailed."""
        path = self.path / name
        if not path.is_file():
            raise CommandFailed(f"{command} left no {name} with metrics. {self._listing()}")
        try:
            return json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise CommandFailed(f"{command} left metrics in {name} that are no JSON: {error}.") from None

    def _target(self, name: str) -> Path:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _held(self, where: str) -> Path:
        path = _Held(self.path / where)
        path.folder = self._folder
        return path

    def _listing(self) -> str:
        found = sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file())
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        return f"There are: {', '.join(found[:_LISTED]) or 'no files'}{more}."


def _json(argument: str, name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise CommandFailed(f"{argument} cannot be put at {name}: {error}.") from None
