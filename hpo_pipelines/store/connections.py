"""The connections of one process to one database: few, long-lived, lent to one thread at a time.

Opening a connection for each statement, or going through a pool that resets it, costs more than the statement. All
are in autocommit mode; transactions are begun and ended in SQL.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from hpo_pipelines.errors import StoreError

WAIT = 30.0
"""Seconds to wait for a lock or a free connection before giving up."""
LIMIT = 10
"""How many connections one process holds at most."""
_DOUBTFUL = 5.0
"""Seconds of rest after which a connection is tried before it is lent: its server may have restarted."""
_FORK_WAIT = 1.0

ONCE = "hpo_pipelines.once"
"""Set in the info of a connection that sees nothing of what others write later: the next reader gets a new one."""


class _Holding(threading.local):
    count = 0


class Connections:
    """Lends connections of ``engine``, which pools nothing itself.

    ``one_writer``: at most one is lent for writing at a time; threads queue for it here, which is quicker and fairer
    than SQLite's own sleep and retry. ``forgiving``: see :meth:`after_fork_in_child`, which calls ``forked``.
    """

    def __init__(self, engine: Engine, *, one_writer: bool, forgiving: bool, forked: Callable[[], None]) -> None:
        self._engine = engine
        self._one_writer = one_writer
        self._forgiving = forgiving
        self._forked = forked
        self.generation = 0
        """How many forks lie between this process and the one that opened the store."""
        self._inherited: list[set[Connection]] = []
        self._refusal = ""
        self._start()
        with _all_lock:
            _all.add(self)

    def _start(self) -> None:
        lock = threading.Lock()
        self._free = threading.Condition(lock)
        self._quiet = threading.Condition(lock)
        self._writer = threading.Lock()
        self._holding = _Holding()
        self._resting: list[tuple[Connection, float]] = []
        self._lent: set[Connection] = set()
        self._count = 0
        self._paused = False

    @contextmanager
    def lend(self, *, writing: bool = False) -> Iterator[Connection]:
        """A connection for this thread alone; one that broke meanwhile is not lent again.

        Raises StoreError if none becomes free within ``WAIT`` seconds or the store is closed, and SQLAlchemy's
        DBAPIError if the database cannot be reached.
        """
        writer = self._writer
        alone = writing and self._one_writer
        if alone and not writer.acquire(timeout=WAIT):
            raise StoreError(
                f"Another thread of this process has been writing to the store for {WAIT:.0f} s. "
                "Keep `with store.transaction()` blocks short.",
                passing=True,
            )
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            if alone:
                writer.release()

    def _take(self) -> Connection:
        with self._free:
            if not self._free.wait_for(lambda: not self._paused and self._count < LIMIT, WAIT):
                raise StoreError(
                    f"All {LIMIT} connections of this process to the store stayed in use for {WAIT:.0f} s. "
                    "Keep `with store.transaction()` blocks short.",
                    passing=True,
                )
            if self._refusal:
                raise StoreError(self._refusal)
            self._count += 1
            self._holding.count += 1
        try:
            connection = self._sound() or self._engine.connect()
        except BaseException:
            self._settle()
            raise
        self._lent.add(connection)
        return connection

    def _sound(self) -> Connection | None:
        """The resting connection that was used last, if it still works."""
        while self._resting:
            try:
                connection, since = self._resting.pop()
            except IndexError:  # another thread was quicker
                return None
            if time.monotonic() - since < _DOUBTFUL:
                return connection
            try:
                connection.exec_driver_sql("SELECT 1").close()
            except DBAPIError:
                _close(connection)
            else:
                return connection
        return None

    def _give_back(self, connection: Connection) -> None:
        if connection not in self._lent:  # lent before a fork, in whose child we are
            return
        self._lent.discard(connection)
        lost = connection.invalidated  # which one that is closed says of itself no more
        if lost or self._refusal or connection.info.get(ONCE):
            _close(connection)
            if lost:
                self._drop_resting()
        else:
            self._resting.append((connection, time.monotonic()))
        self._settle()

    def _settle(self) -> None:
        self._holding.count -= 1
        with self._free:
            self._count -= 1
            self._free.notify()
            if self._paused:
                self._quiet.notify_all()

    def _drop_resting(self) -> None:
        while self._resting:
            _close(self._resting.pop()[0])

    def close(self) -> None:
        """Close every connection, those in use when they are given back. Nothing is lent from then on."""
        self._refusal = "This store is closed. Open it again with Store.open(url)."
        self._drop_resting()

    # Forks. SQLite's locks belong to the process: with an inherited connection open, a child takes its parent's locks
    # for its own, and may write to a log that its parent has deleted. So a child inherits no connection.

    def before_fork(self) -> None:
        """Lend nothing more, wait a moment for what is lent, and close what rests."""
        with self._quiet:
            self._paused = True
            if self._holding.count == 0:
                self._quiet.wait_for(lambda: self._count == 0, _FORK_WAIT)
        self._drop_resting()

    def after_fork_in_parent(self) -> None:
        with self._free:
            self._paused = False
            self._free.notify_all()

    def after_fork_in_child(self) -> None:
        """Start anew. What was lent at the fork is kept, never used or closed: it is the parent's.

        With such a connection about, SQLite is refused (``forgiving`` is false); a server does not mind.
        """
        busy, inherited = self._count, self._lent
        self.generation += 1
        self._inherited.append(inherited)
        self._start()
        self._forked()
        if busy and not self._forgiving and not self._refusal:
            self._refusal = (
                "This process was forked while the store was in use, which SQLite does not survive. "
                'Start it with multiprocessing\'s "spawn" method, or fork outside store.transaction().'
            )


def _close(connection: Connection) -> None:
    try:
        connection.close()
    except DBAPIError:  # its server is gone, and with it what there was to be rolled back
        connection.invalidate()
        connection.close()


_all: weakref.WeakSet[Connections] = weakref.WeakSet()
_all_lock = threading.Lock()


def _before() -> None:
    _all_lock.acquire()
    for connections in _all:
        connections.before_fork()


def _in_parent() -> None:
    for connections in _all:
        connections.after_fork_in_parent()
    _all_lock.release()


def _in_child() -> None:
    for connections in _all:
        connections.after_fork_in_child()
    _all_lock.release()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
