"""From whatever is at the URL to a store of this release: create, accept, migrate or refuse."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, select

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store import schema
from hpo_pipelines.store.database import Database

FOLDER = Path(__file__).parent / "migrations"

# As alembic makes it, so that it finds the version of a store that it did not create.
version_table = Table(
    schema.VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{schema.VERSION_TABLE}_pkc"),
)


def prepare(database: Database, url: str, *, create: bool) -> None:
    """Make the database behind ``database`` a store of this release. Several processes may do so at once.

    Raises StoreError, with the cure, for a store of a newer release and for somebody else's database.
    """
    with database.read() as connection:
        version = _version(connection, url)
        if version == schema.REVISIONS[-1]:
            return
        if version is None and not create:
            raise StoreError(f"There is no store at {url}. Check the URL, or run something first.")
        database.dialect.prepare(connection)
    with database.transaction() as transaction:
        connection = transaction.connection
        database.dialect.order(connection)
        # Another process may have been quicker.
        version = _version(connection, url)
        if version == schema.REVISIONS[-1]:
            return
        if version is None:
            schema.metadata.create_all(connection, checkfirst=False)
            version_table.create(connection)
            connection.execute(version_table.insert(), {"version_num": schema.REVISIONS[-1]})
        else:
            upgrade(connection)


def _version(connection: Connection, url: str) -> str | None:
    """The schema revision, ``None`` where there is nothing yet."""
    names = inspect(connection).get_table_names()
    if schema.VERSION_TABLE not in names:
        # A PostgreSQL database may be shared with MLflow and Optuna; a SQLite file may not.
        foreign = [name for name in names if connection.dialect.name == "sqlite" or name.startswith("hpo_")]
        if foreign:
            raise StoreError(
                f"{url} is not a store of hpo_pipelines: it holds {', '.join(sorted(foreign)[:3])}. Name another."
            )
        return None
    version: str | None = connection.execute(select(version_table.c.version_num)).scalar_one_or_none()
    if version not in schema.REVISIONS:
        raise StoreError(
            f"The store {url} has schema {version}, which this release does not know "
            f"(it knows up to {schema.REVISIONS[-1]}). Upgrade hpo-pipelines: pip install -U hpo-pipelines."
        )
    return version


def upgrade(connection: Connection) -> None:
    """Run the migrations that ``connection``'s database lacks, in its open transaction."""
    # Half a second of imports that only an old store needs.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")
