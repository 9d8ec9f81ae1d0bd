"""Consoles as files under the home, and the same in the store where several machines share that."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from hpo_pipelines.store import Store
from hpo_pipelines.store.consoles import Piece

PIECE_BYTES = 256 * 1024
"""The most of a console that one row holds."""


class Consoles:
    """The consoles under ``home``, one file for each attempt of a step and one for each body.

    ``shared``: what runs of this process print also goes into the store, and :meth:`fetch` brings here what runs of
    other processes printed. Safe to use from many threads.
    """

    def __init__(self, store: Store, home: Path, *, shared: bool) -> None:
        self._store = store
        self._home = home
        self.shared = shared
        self._told: dict[str, dict[str, int]] = {}
        """For each run of this process, how much of each console is in the store."""
        self._lock = threading.Lock()

    def folder(self, run: str) -> Path:
        """Where the consoles of ``run`` are."""
        return self._home / "consoles" / run

    def path(self, run: str, name: str) -> Path:
        """The file of one: ``controller`` of the body, ``fit.2`` of the step fit's second attempt."""
        return self.folder(run) / f"{name}.log"

    def tell(self, run: str) -> None:
        """Put what is new in the consoles of ``run``, which this process drives, into the store."""
        if not self.shared:
            return
        with self._lock:
            told = self._told.get(run)
            if told is None:
                told = self._told[run] = self._store.consoles.sizes(run)
            pieces = [piece for path in sorted(self.folder(run).glob("*.log")) for piece in _news(path, told)]
            self._store.consoles.add(run, pieces)
            for piece in pieces:
                told[piece.name] = piece.start + len(piece.data)

    def forget(self, run: str) -> None:
        """:meth:`tell` for the last time: the run has ended, or is another process's to drive."""
        try:
            self.tell(run)
        finally:
            self.drop(run)

    def drop(self, run: str) -> None:
        """:meth:`forget` without another word to the store."""
        with self._lock:
            self._told.pop(run, None)

    def fetch(self, run: str) -> None:
        """Bring the files of ``run`` up to what the store has of them."""
        if not self.shared:
            return
        for name, size in self._store.consoles.sizes(run).items():
            path = self.path(run, name)
            here = path.stat().st_size if path.exists() else 0
            if here < size:
                self._fetch(run, name, path, here)

    def _fetch(self, run: str, name: str, path: Path, here: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            for piece in self._store.consoles.read(run, name, here):
                os.pwrite(descriptor, piece.data, piece.start)
        finally:
            os.close(descriptor)


def _news(path: Path, told: dict[str, int]) -> list[Piece]:
    name, start = path.name.removesuffix(".log"), told.get(path.name.removesuffix(".log"), 0)
    pieces = []
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(PIECE_BYTES):
            pieces.append(Piece(name, start, data))
            start += len(data)
    return pieces
