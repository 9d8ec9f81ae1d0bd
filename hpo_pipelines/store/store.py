"""The store: one truth in SQL, as a set of small collaborators over one database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store import check, migrate
from hpo_pipelines.store.artifacts import Artifacts
from hpo_pipelines.store.cache import Cache
from hpo_pipelines.store.consoles import Consoles
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.events import Events
from hpo_pipelines.store.followers import Followers
from hpo_pipelines.store.holdings import Holdings
from hpo_pipelines.store.leases import Leases
from hpo_pipelines.store.metrics import Metrics
from hpo_pipelines.store.overview import Overview
from hpo_pipelines.store.postgresql import Postgresql
from hpo_pipelines.store.queues import Queues
from hpo_pipelines.store.schedules import Schedules
from hpo_pipelines.store.snapshots import Snapshots
from hpo_pipelines.store.sqlite import Sqlite
from hpo_pipelines.store.studies import Studies
from hpo_pipelines.store.tasks import Tasks


class Store:
    """Everything that is remembered, in SQLite or PostgreSQL; one per process and database is enough.

    Safe to use from many threads; a forked child goes on with connections of its own. Every method raises StoreError,
    with the cure, for whatever the database refuses.
    """

    def __init__(self, url: str, database: Database) -> None:
        self.url = url
        self.tasks = Tasks(database)
        self.events = Events(database)
        self.artifacts = Artifacts(database)
        self.metrics = Metrics(database)
        self.overview = Overview(database)
        self.cache = Cache(database)
        self.consoles = Consoles(database)
        self.holdings = Holdings(database)
        self.followers = Followers(database)
        self.leases = Leases(database)
        self.queues = Queues(database)
        self.schedules = Schedules(database)
        self.snapshots = Snapshots(database)
        self.studies = Studies(database)
        self._database = database

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Store:
        """Open the store at ``url``: ``sqlite:////folder/hpo.db`` or ``postgresql://user@host/name``.

        What is not there yet is created (unless ``create`` is false), an older store is migrated. Raises StoreError
        for a store of a newer release, for a database that is not ours, and for one that cannot be reached.
        """
        dialect = _dialect(url)
        database = Database(dialect.engine(create=create), dialect)
        try:
            migrate.prepare(database, shown(url), create=create)
        except BaseException:
            database.connections.close()
            raise
        return cls(url, database)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all that this thread writes inside the block one atomic write. A block within a block joins it.

        Events and metrics get their ids at its end. If a write inside is refused, or the block raises, nothing of it
        is kept. Keep it short: on SQLite nobody else writes meanwhile.
        """
        with self._database.transaction():
            yield

    def now(self) -> float:
        """The database's time, in seconds since the epoch: what leases end by."""
        with self._database.read() as connection:
            return self._database.dialect.now(connection)

    def check(self) -> list[str]:
        """What is wrong with the store, one line each; empty if it is whole. Reads everything."""
        with self._database.read(ordered=True) as connection:
            return check.problems(connection)

    def backup(self, target: str | os.PathLike[str]) -> None:
        """Write a consistent copy of a SQLite store to a new file, while others go on writing.

        Raises StoreError if the file exists, and for PostgreSQL, whose own pg_dump does this.
        """
        path = Path(target)
        if self._database.dialect.name != "sqlite":
            raise StoreError("A store in PostgreSQL is copied by its own tools: pg_dump --table='hpo_*'.")
        if path.exists():
            raise StoreError(f"A backup goes to a new file, and {path} exists. Name another.")
        with self._database.read() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(path),))

    def close(self) -> None:
        """Close the connections; those in use by other threads as soon as they are done."""
        self._database.connections.close()

    def __repr__(self) -> str:
        return f"<Store {shown(self.url)}>"


def _dialect(url: str) -> Sqlite | Postgresql:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(f"{url!r} is no database URL. Write sqlite:////folder/hpo.db or postgresql://…") from error
    name = parsed.get_backend_name()
    if name == "sqlite":
        return Sqlite(parsed)
    if name == "postgresql":
        return Postgresql(parsed)
    raise StoreError(f"The store is kept in SQLite or PostgreSQL, not {name}: {shown(url)}.")


def shown(url: str) -> str:
    """``url`` without its password."""
    return make_url(url).render_as_string(hide_password=True)
