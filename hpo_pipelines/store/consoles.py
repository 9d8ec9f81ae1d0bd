"""``store.consoles``: what runs printed, for machines that do not share the files it was written to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import bindparam, func, select
from sqlalchemy.sql.dml import Insert

from hpo_pipelines.store.database import Database
from hpo_pipelines.store.schema import consoles, insert_or

_end = consoles.c.start + func.length(consoles.c.data)
_SIZES = select(consoles.c.name, func.max(_end)).where(consoles.c.run == bindparam("of")).group_by(consoles.c.name)
_NEXT = (
    select(consoles.c.start, consoles.c.data)
    .where(consoles.c.run == bindparam("of"), consoles.c.name == bindparam("named"), _end > bindparam("after"))
    .order_by(consoles.c.start)
    .limit(1)
)


@dataclass(frozen=True)
class Piece:
    """The bytes of console ``name`` from ``start`` on."""

    name: str
    start: int
    data: bytes


@cache
def _add(dialect: str) -> Insert:
    return insert_or(dialect, consoles).on_conflict_do_nothing()


class Consoles:
    """The consoles of a store's runs, in pieces. Every method may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run: str, pieces: Sequence[Piece]) -> None:
        """Record pieces of consoles of ``run``; one that is recorded already stays as it is."""
        rows = [{"run": run, "name": piece.name, "start": piece.start, "data": piece.data} for piece in pieces]
        if rows:
            with self._database.transaction() as transaction:
                transaction.write(_add(transaction.connection.dialect.name), rows)

    def sizes(self, run: str) -> dict[str, int]:
        """How many bytes of each console of ``run`` are recorded, by its name."""
        return {name: int(size) for name, size in self._database.rows(_SIZES, {"of": run})}

    def read(self, run: str, name: str, start: int = 0) -> Iterator[Piece]:
        """What is recorded of one console, from its byte ``start`` on."""
        while rows := self._database.rows(_NEXT, {"of": run, "named": name, "after": start}):
            begun, data = rows[0]
            rest = bytes(data)[start - begun :]
            yield Piece(name, start, rest)
            start += len(rest)
