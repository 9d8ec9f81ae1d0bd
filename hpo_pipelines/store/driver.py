"""Running SQLAlchemy's statements on the driver itself.

A step is a few dozen statements, always the same ones. SQLAlchemy writes their SQL, once; what it does around each
execution, and again around each row, costs more than SQLite takes to do the work, so we go past it. No statement run
here needs a value converted but lists (:mod:`.within`): all columns hold text, numbers and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ClauseElement

from hpo_pipelines.store.within import Texts, encoded

Values = Mapping[str, Any]
Rows = Callable[[Executable, Values], Sequence[Sequence[Any]]]
"""How the rows of a statement are read: in a transaction, or outside one."""


@dataclass(frozen=True)
class Compiled:
    """A statement as the driver takes it: its SQL, the values that it brings itself, and which are lists."""

    sql: str
    own: Mapping[str, Any]
    lists: Mapping[str, Callable[[Iterable[str]], Any]]

    def values(self, given: Values) -> Values:
        """``given`` with its own, lists as this driver takes them."""
        if not (self.own or self.lists):
            return given
        return {**self.own, **given, **{name: encode(given[name]) for name, encode in self.lists.items()}}


class Statements:
    """The SQL of each statement, and the values that are part of it, in the words of one database."""

    @classmethod
    @cache
    def of(cls, dialect: str) -> Statements:
        """Those of ``dialect``, shared by all stores of this process."""
        return cls()

    def __init__(self) -> None:
        self._known: dict[tuple[Executable, tuple[str, ...]], Compiled] = {}

    def compiled(self, statement: Executable, connection: Connection, values: Values) -> Compiled:
        """The SQL of ``statement`` for values of these names."""
        key = (statement, tuple(values))
        known = self._known.get(key)
        if known is None:
            assert isinstance(statement, ClauseElement)
            compiled = statement.compile(dialect=connection.dialect, column_keys=list(values))
            own = {name: value for name, value in compiled.params.items() if name not in values}
            lists = [name for name, bound in compiled.binds.items() if isinstance(bound.type, Texts)]  # type: ignore[attr-defined]
            known = self._known[key] = Compiled(str(compiled), own, dict.fromkeys(lists, encoded(connection.dialect)))
        return known


class Driver:
    """One connection's driver, for the length of a transaction. Raises SQLAlchemy's DBAPIError."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements
        try:
            self._cursor = connection.connection.cursor()
        except Exception as error:  # noqa: BLE001 - raised again, as SQLAlchemy raises it
            refused(connection, error, "")

    def sql(self, sql: str) -> None:
        """Execute plain ``sql``."""
        try:
            self._cursor.execute(sql)
        except Exception as error:  # noqa: BLE001 - raised again, as SQLAlchemy raises it
            refused(self._connection, error, sql)

    def rows(self, statement: Executable, values: Values) -> Sequence[Sequence[Any]]:
        """Execute ``statement``; the rows that it returns."""
        self._execute(statement, values)
        return self._cursor.fetchall()

    def count(self, statement: Executable, values: Values) -> int:
        """Execute ``statement``; the number of rows that it wrote."""
        self._execute(statement, values)
        return self._cursor.rowcount

    def write(self, statement: Executable, rows: Sequence[Values]) -> None:
        """Execute ``statement`` for each of ``rows``, all of the same names."""
        if len(rows) == 1:
            # Many at once takes psycopg a pipeline, which one row does not pay back.
            self._execute(statement, rows[0])
        elif rows:
            compiled = self._statements.compiled(statement, self._connection, rows[0])
            try:
                self._cursor.executemany(compiled.sql, [compiled.values(row) for row in rows])
            except Exception as error:  # noqa: BLE001 - raised again, as SQLAlchemy raises it
                refused(self._connection, error, compiled.sql)

    def _execute(self, statement: Executable, values: Values) -> None:
        compiled = self._statements.compiled(statement, self._connection, values)
        try:
            self._cursor.execute(compiled.sql, compiled.values(values))
        except Exception as error:  # noqa: BLE001 - raised again, as SQLAlchemy raises it
            refused(self._connection, error, compiled.sql)


def refused(connection: Connection, error: Exception, sql: str) -> NoReturn:
    """Raise what the driver of ``connection`` said to ``sql`` as SQLAlchemy does; a lost connection is lent no more."""
    dialect = connection.dialect
    if not isinstance(error, dialect.loaded_dbapi.Error):
        raise error
    lost = dialect.is_disconnect(error, connection.connection.driver_connection, None)
    if lost:
        connection.invalidate(error)
    raise DBAPIError.instance(
        sql, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
    ) from error
