"""SQLite: the store in one file, for one machine."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store.bell import Bell
from hpo_pipelines.store.connections import ONCE, WAIT

_CURES = {
    "BUSY": "Another process has held its lock too long. Wait for it or stop it, then try again.",
    "FULL": "The disk is full. Free some space, then resume: nothing recorded was lost.",
    "READONLY": "It can be read, not written. Give this user the right to write the file and its folder.",
    "CANTOPEN": "It cannot be opened. Check that its folder exists and that this user may write there; what has a "
    "store.db-wal beside it is opened once where that may be written, then it can be read anywhere.",
    "IOERR": "Its disk gives errors. Check the disk and its free space, then resume.",
    "CORRUPT": "The file is damaged. Restore it from a backup, or name another file.",
    "NOTADB": "The file is no SQLite database. Name another file.",
    "CONSTRAINT": "What a record names must be there before it, and what identifies it must be new.",
}


class Sqlite:
    """How SQLite does what :class:`hpo_pipelines.store.database.Dialect` asks for."""

    name = "sqlite"
    # Not deferred: a transaction that reads first and writes later can be refused in its middle.
    begin = "BEGIN IMMEDIATE"
    one_writer = True
    survives_fork = False

    def __init__(self, url: URL) -> None:
        if url.database in (None, "", ":memory:") or url.query.get("mode") == "memory":
            raise StoreError(
                f"The store needs a file that several threads and processes can open; {url} has none. "
                "Write sqlite:////folder/hpo.db."
            )
        self.path = str(url.database)
        self.bell = Bell()
        self._url = url
        self._file = Path(self.path).absolute()  # wherever this process goes later
        self._found = False
        """The file has been there."""

    def engine(self, *, create: bool) -> Engine:
        """An engine for the file. Raises StoreError if it is not there and may not be made."""
        if "uri" not in self._url.query and not Path(self.path).exists():
            if not create:
                raise StoreError(f"There is no store at {self.path}. Check the path, or run something first.")
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"check_same_thread": False}
        if "timeout" not in self._url.query:
            options["timeout"] = WAIT
        engine = create_engine(
            self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT", paramstyle="named", connect_args=options
        )
        event.listen(engine, "do_connect", self._connecting)
        event.listen(engine, "connect", self._connected)
        return engine

    def _connecting(self, _dialect: object, record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
        self.confirm()  # else SQLite would make an empty file in its place
        if self._is_read_only():
            settled = self._is_settled()
            arguments[0] = f"file:{quote(str(self._file))}?mode=ro{'&immutable=1' if settled else ''}"
            options["uri"] = True
            record.info[ONCE] = settled

    def _is_read_only(self) -> bool:
        """Whether the file is there for us to be read only; what others write into it is seen all the same."""
        if "uri" in self._url.query or not self._file.exists():
            return False
        return not (os.access(self._file, os.W_OK) and os.access(self._file.parent, os.W_OK))

    def _is_settled(self) -> bool:
        """Whether all is in the file itself. SQLite would make two more beside it to read even that, unless told."""
        try:
            return self._file.with_name(f"{self._file.name}-wal").stat().st_size == 0
        except FileNotFoundError:
            return True

    def _connected(self, connection: Any, _record: object) -> None:
        _set_up(connection)
        self._found = "uri" not in self._url.query

    def confirm(self) -> None:
        # SQLite writes on into a file that was deleted, for nobody to read.
        if self._found and not os.path.exists(self._file):
            raise StoreError(
                f"The store {self._file} is no longer there: it was moved or deleted, or its disk was taken away. "
                "Put it back with the files beside it, then resume: nothing recorded in it was lost.",
                passing=True,
            )

    def prepare(self, connection: Connection) -> None:
        """Write-ahead logging: readers and the writer do not wait for each other. A property of the file."""
        deadline = time.monotonic() + WAIT
        while True:
            try:
                mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one()
                break
            except OperationalError as error:
                # SQLite does not wait here, as it does everywhere else, while another process does the same.
                if not _is(error, "BUSY") or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        if mode != "wal":
            raise StoreError(
                f"SQLite cannot keep a write-ahead log beside {self.path} (a network file system?). "
                "Put the store on a local disk, or use PostgreSQL."
            )

    def order(self, connection: Connection) -> None:
        """Nothing to do: BEGIN IMMEDIATE lets one transaction write at a time."""

    def now(self, connection: Connection) -> float:
        # SQLite runs in this process, and only processes of this machine open the file: one clock.
        return time.time()

    def passes(self, error: DBAPIError) -> bool:
        return _is(error, "BUSY")

    def explain(self, error: DBAPIError) -> str:
        cure = next((cure for name, cure in _CURES.items() if _is(error, name)), "")
        return f"The store {self.path} refused: {error.orig}. {cure}".rstrip()


def _set_up(connection: Any) -> None:
    # With a write-ahead log, NORMAL loses nothing when a process dies, and a power cut at most the last moments.
    # The log is moved into the file every 16 MB, not 4: whoever commits then waits for the disk.
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY", "wal_autocheckpoint=4000"):
        connection.execute(f"PRAGMA {pragma}")


def _is(error: DBAPIError, name: str) -> bool:
    code = getattr(error.orig, "sqlite_errorname", "") if isinstance(error.orig, sqlite3.Error) else ""
    return code.startswith(f"SQLITE_{name}")
