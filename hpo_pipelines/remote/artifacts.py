"""Stored outputs behind a server: fetched when they are read, and kept for as long as the workspace is open."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.artifacts.location import Location, StoredFile
from hpo_pipelines.errors import ArtifactMissing, TaskNotFound
from hpo_pipelines.remote.connection import Connection, quoted
from hpo_pipelines.remote.store import refusal


class ServedArtifacts(ArtifactStore):
    """The artifacts of a server; ``folder`` holds those that were read."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        super().__init__(connection.url)
        self._served = Served(connection, folder)

    @property
    def _location(self) -> Location:
        return self._served


class Served:
    """A :class:`hpo_pipelines.artifacts.location.Location` that is read, and not written: steps do that elsewhere."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._server = connection
        self._folder = folder

    def size(self, name: str) -> int | None:
        try:
            found = self._server.get(f"/artifacts/{quoted(name)}")
        except TaskNotFound:
            return None
        return int(found["size"]) if found["there"] else None

    def open(self, name: str) -> BinaryIO:
        path = self._folder / name
        if not path.exists():
            self._fetch(name, path)
        return path.open("rb")

    def _fetch(self, name: str, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f"{name}.{secrets.token_hex(6)}.tmp")
        try:
            with half.open("wb") as file:
                self._server.download(f"/artifacts/{quoted(name)}/content", file)
            half.replace(path)
        except (TaskNotFound, ArtifactMissing) as error:
            raise FileNotFoundError(str(error)) from error
        finally:
            half.unlink(missing_ok=True)

    def keep(self, name: str, size: int) -> bool:
        return False

    def write(self, name: str, content: Callable[[BinaryIO], None]) -> None:
        raise refusal("storing a value", self._server.url)

    def delete(self, name: str) -> None:
        raise refusal("deleting an artifact", self._server.url)

    def files(self) -> Iterator[StoredFile]:
        raise refusal("listing the files of artifacts", self._server.url)

    def sweep(self, file: StoredFile, before: float) -> bool:
        raise refusal("deleting an artifact", self._server.url)
