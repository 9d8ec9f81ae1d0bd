"""PostgreSQL: one store for many machines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store.bell import Bell
from hpo_pipelines.store.connections import WAIT, Connections
from hpo_pipelines.store.driver import refused

# The advisory lock of all that must happen in one order: any number that nobody else in the database uses.
_ORDER = 0x68706F_0001
_CHANNEL = "hpo_events"
_SLICE = 0.5

_CURES = {
    "08": "It cannot be reached. Check that the server runs and that the URL is right.",
    "23": "What a record names must be there before it, and what identifies it must be new.",
    "25006": "It is read-only. Connect to the primary server, as a user who may write.",
    "25P03": "The transaction stood still too long. Keep `with store.transaction()` blocks short.",
    "28": "It does not let this user in. Check user and password in the URL.",
    "3D000": "There is no such database. Create it (createdb), or correct the URL.",
    "40": "Two transactions waited for each other, and this one gave way. Try again.",
    "42501": "This user lacks the right. Make it the owner of the hpo_ tables.",
    "53100": "Its disk is full. Free some space, then resume: nothing recorded was lost.",
    "53300": "It has no connection left. Raise max_connections, or run fewer processes.",
    "55P03": "Another process has held its lock too long. Wait for it or stop it, then try again.",
    "57P": "The server is stopping or starting. Try again.",
}

_PASSING = ("08", "25P03", "40", "53300", "55P03", "57P")
"""Those of them that nobody has to do anything about."""


class Postgresql:
    """How PostgreSQL does what :class:`hpo_pipelines.store.database.Dialect` asks for."""

    name = "postgresql"
    begin = "BEGIN"
    one_writer = False
    survives_fork = True

    def __init__(self, url: URL) -> None:
        self.bell: Bell = ListeningBell()
        self._url = url.set(drivername="postgresql+psycopg")

    def engine(self, *, create: bool) -> Engine:
        """An engine for the database, which must exist."""
        limits = f"-c lock_timeout={WAIT:.0f}s -c idle_in_transaction_session_timeout={2 * WAIT:.0f}s"
        # Compiling a statement, or starting workers for it, takes longer than any of ours; guessing wrong, PostgreSQL
        # did so for lists of a few hundred rows.
        plain = "-c jit=off -c max_parallel_workers_per_gather=0"
        options = " ".join([*_texts(self._url.query.get("options")), limits, plain])
        try:
            return create_engine(
                self._url,
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args={"options": options, "application_name": "hpo_pipelines", "connect_timeout": 10},
            )
        except ModuleNotFoundError as error:
            raise StoreError("PostgreSQL needs psycopg: pip install 'hpo-pipelines[postgresql]'.") from error

    def prepare(self, connection: Connection) -> None:
        """Nothing to do."""

    def confirm(self) -> None:
        """Nothing to do: what a server has lost it says itself."""

    def order(self, connection: Connection) -> None:
        # A notification is sent at the commit, which is where it belongs; one round trip for both.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ORDER}), pg_notify('{_CHANNEL}', '')")

    def now(self, connection: Connection) -> float:
        row = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(row.scalar_one())

    def passes(self, error: DBAPIError) -> bool:
        state = getattr(error.orig, "sqlstate", None)
        if state is None:  # said by the driver, not by the server
            return error.connection_invalidated or isinstance(error, OperationalError)
        return str(state).startswith(_PASSING)

    def explain(self, error: DBAPIError) -> str:
        state = getattr(error.orig, "sqlstate", None) or "08"
        cure = next((cure for prefix, cure in _CURES.items() if state.startswith(prefix)), "")
        said = " ".join(str(error.orig).split()).rstrip(".")
        return f"The store {self._url.render_as_string()} refused: {said}. {cure}".rstrip()


class ListeningBell(Bell):
    """One of the waiting threads listens for notifications, and rings for the others."""

    def reset(self) -> None:
        super().reset()
        self._listening = threading.Lock()

    def wait(self, connections: Connections, arrived: Callable[[], bool], seconds: float) -> None:
        times, listening = self._times, self._listening
        # In slices, so that a fork, or the end of the listener's own wait, is not held up for long.
        slice_ = min(seconds, _SLICE)
        if not listening.acquire(blocking=False):
            if not arrived():
                self._await_ring(times, slice_)
            return
        try:
            with connections.lend() as connection:
                _listen(connection, arrived, slice_)
        finally:
            listening.release()
            self.ring()


def _listen(connection: Connection, arrived: Callable[[], bool], seconds: float) -> None:
    driver: Any = connection.connection.driver_connection
    try:
        connection.exec_driver_sql(f"LISTEN {_CHANNEL}")
        # Looked at after LISTEN: what is committed from here on is notified.
        if not arrived():
            try:
                next(driver.notifies(timeout=seconds, stop_after=1), None)
            except Exception as error:  # noqa: BLE001 - raised again, as SQLAlchemy raises it
                refused(connection, error, f"LISTEN {_CHANNEL}")
        connection.exec_driver_sql(f"UNLISTEN {_CHANNEL}")
    except BaseException:
        connection.invalidate()  # it may still listen, or not know yet that its server is gone
        raise


def _texts(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else value
