"""Transactions and reads: what every table's module needs of a database.

A thread has at most one transaction; blocks opened inside it join it. Outside one, each statement reads the latest
committed state.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import local
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Executable, func, insert, select
from sqlalchemy.exc import DBAPIError

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store.bell import Bell
from hpo_pipelines.store.connections import Connections
from hpo_pipelines.store.driver import Driver, Statements
from hpo_pipelines.store.records import to_json
from hpo_pipelines.store.schema import events, metrics


class Dialect(Protocol):
    """What differs between the databases."""

    name: str
    """SQLAlchemy's name of it."""
    begin: str
    """The statement that opens a write transaction."""
    one_writer: bool
    survives_fork: bool

    bell: Bell
    """Rung after each commit that wrote events."""

    def prepare(self, connection: Connection) -> None:
        """Set up a database that may be new, before its tables are made."""

    def confirm(self) -> None:
        """Raise StoreError if what is open is no longer what the URL names. Called before each transaction."""

    def order(self, connection: Connection) -> None:
        """From here to the end of the transaction nobody else writes events, and at its end listeners are told."""

    def now(self, connection: Connection) -> float:
        """The database's time, in seconds since the epoch."""

    def explain(self, error: DBAPIError) -> str:
        """What the database refused, and the cure."""

    def passes(self, error: DBAPIError) -> bool:
        """Whether the same may be granted later, with nothing changed: a lost connection, a lock."""


_INSERT_METRICS = insert(metrics)
_INSERT_EVENTS = insert(events)
_LAST_METRIC = select(func.max(metrics.c.id))


class Transaction:
    """One atomic write.

    Events and metrics are kept back and written last, under the lock that orders them (:meth:`Dialect.order`): their
    ids become visible in order, and that lock is held for a moment only, always after every row's lock.
    """

    def __init__(self, connection: Connection, driver: Driver, dialect: Dialect, generation: int) -> None:
        self.connection = connection
        self.rows, self.count, self.write = driver.rows, driver.count, driver.write
        self.generation = generation
        self.failed = False
        """A statement was refused. The databases differ on what is left then, so nothing of the whole is kept."""
        self.told = False
        """Events were written."""
        self.artifacts: set[tuple[str, str]] = set()
        """Artifacts that this transaction has written already."""
        self._dialect = dialect
        self._now: float | None = None
        self._events: list[dict[str, Any]] = []
        self._metrics: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []

    @property
    def now(self) -> float:
        """The transaction's time on the database's clock: that of the first look at it."""
        if self._now is None:
            self._now = self._dialect.now(self.connection)
        return self._now

    def event(self, task: str, kind: str, data: Mapping[str, Any]) -> None:
        self._events.append({"at": self.now, "task": task, "kind": kind, "data": to_json(data)})

    def metrics(self, task: str, rows: list[dict[str, Any]]) -> None:
        """Keep ``rows``, all of ``task``, and the one event that will name their ids."""
        event = {"at": self.now, "task": task, "kind": "metrics", "data": ""}
        self._metrics.append((event, rows))
        self._events.append(event)

    def flush(self) -> None:
        """Write what was kept back: before the end, and before events or metrics are read."""
        if not self._events:
            return
        self._dialect.order(self.connection)
        if self._metrics:
            self.write(_INSERT_METRICS, [row for _, rows in self._metrics for row in rows])
            # Nobody else inserts metrics now, so the last ones are ours, without a gap.
            ((last,),) = self.rows(_LAST_METRIC, {})
            for event, rows in reversed(self._metrics):
                event["data"] = to_json({"first": last - len(rows) + 1, "last": last})
                last -= len(rows)
        self.write(_INSERT_EVENTS, self._events)
        self._events, self._metrics, self.told = [], [], True


class _Mine(local):
    transaction: Transaction | None = None


class Database:
    """One database as this process sees it; safe to use from many threads, and in a forked child.

    ``transaction`` and ``read`` raise StoreError, with the cure, for whatever the database refuses.
    """

    def __init__(self, engine: Engine, dialect: Dialect) -> None:
        self.engine = engine
        self.dialect = dialect
        self.connections = Connections(
            engine,
            one_writer=dialect.one_writer,
            forgiving=dialect.survives_fork,
            forked=dialect.bell.reset,
        )
        self._statements = Statements.of(dialect.name)
        self._mine = _Mine()
        # A store that nobody closed, nor uses any more, leaves no connection behind.
        weakref.finalize(self, self.connections.close)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One atomic write, or a part of the one that this thread has open."""
        outer = self._open()
        if outer is None:
            with self._outermost() as transaction:
                yield transaction
            return
        _refuse_failed(outer)
        try:
            yield outer
        except DBAPIError as error:
            outer.failed = True
            raise self._refusal(error) from error

    @contextmanager
    def read(self, *, ordered: bool = False) -> Iterator[Connection]:
        """A connection to read from: that of this thread's transaction if it has one open.

        ``ordered`` says that events or metrics are read, which a transaction keeps back.
        """
        outer = self._open()
        try:
            if outer is None:
                with self.connections.lend() as connection:
                    yield connection
            else:
                _refuse_failed(outer)
                if ordered:
                    outer.flush()
                yield outer.connection
        except DBAPIError as error:
            if outer is not None:
                outer.failed = True
            raise self._refusal(error) from error

    def rows(
        self, statement: Executable, values: Mapping[str, Any], *, ordered: bool = False
    ) -> Sequence[Sequence[Any]]:
        """What a query that is built once returns; the quick way to read (:mod:`.driver`)."""
        with self.read(ordered=ordered) as connection:
            return Driver(connection, self._statements).rows(statement, values)

    def wait(self, arrived: Callable[[], bool], seconds: float) -> None:
        """Return when it is time to look whether something has ``arrived``, after ``seconds`` at the latest."""
        try:
            self.dialect.bell.wait(self.connections, arrived, seconds)
        except DBAPIError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: DBAPIError) -> StoreError:
        return StoreError(self.dialect.explain(error), passing=self.dialect.passes(error))

    def _open(self) -> Transaction | None:
        mine = self._mine.transaction
        # A forked child has its parent's thread-local values, but the transaction stays the parent's.
        return mine if mine is not None and mine.generation == self.connections.generation else None

    @contextmanager
    def _outermost(self) -> Iterator[Transaction]:
        try:
            with self.connections.lend(writing=True) as connection, self._begun(connection) as transaction:
                yield transaction
                if self._open() is not transaction:
                    raise StoreError("A transaction ends in the process that began it; this one was forked inside it.")
                _refuse_failed(transaction)
                transaction.flush()
        except DBAPIError as error:
            raise self._refusal(error) from error
        if transaction.told:
            self.dialect.bell.ring()

    @contextmanager
    def _begun(self, connection: Connection) -> Iterator[Transaction]:
        self.dialect.confirm()
        driver = Driver(connection, self._statements)
        driver.sql(self.dialect.begin)
        generation = self.connections.generation
        transaction = self._mine.transaction = Transaction(connection, driver, self.dialect, generation)
        try:
            yield transaction
            driver.sql("COMMIT")
        except BaseException:
            if generation == self.connections.generation:
                _roll_back(connection)
            raise
        finally:
            self._mine.transaction = None


def _refuse_failed(transaction: Transaction) -> None:
    if transaction.failed:
        raise StoreError(
            "A write inside this transaction was refused, so nothing of it is kept. "
            "Let the error leave the `with store.transaction()` block, then start again."
        )


def _roll_back(connection: Connection) -> None:
    """End the transaction, or give the connection up. Some errors, a full disk for one, have ended it already."""
    if connection.invalidated:
        return
    try:
        connection.exec_driver_sql("ROLLBACK")
    except DBAPIError:
        connection.invalidate()
