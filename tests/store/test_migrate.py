from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store import Store, migrate, schema
from hpo_pipelines.store.database import Database
from hpo_pipelines.store.postgresql import Postgresql
from hpo_pipelines.store.sqlite import Sqlite
from hpo_pipelines.store.store import _dialect
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, new_id

_NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{last}"


def upgrade():
    with op.batch_alter_table("hpo_snapshots") as table:
        table.add_column(sa.Column("colour", sa.Text))
        table.alter_column("python", new_column_name="interpreter")
"""


RELEASED = schema.REVISIONS


def _next() -> str:
    return _NEXT.replace("{last}", RELEASED[-1])


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose schema has one revision more."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.FOLDER, folder)
    (folder / "versions" / "9999_next.py").write_text(_next())
    monkeypatch.setattr(migrate, "FOLDER", folder)
    monkeypatch.setattr(schema, "REVISIONS", (*RELEASED, "9999"))


def test_the_known_revisions_are_those_that_are_there() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(revisions)) == schema.REVISIONS


def _migrated(url: str) -> Database:
    """A database that got its tables from the migrations alone."""
    dialect: Sqlite | Postgresql = _dialect(url)
    database = Database(dialect.engine(create=True), dialect)
    with database.read() as connection:
        dialect.prepare(connection)
    with database.transaction() as transaction:
        migrate.upgrade(transaction.connection)
    return database


class MigrateContract:
    def description(self, connection: Connection) -> object:
        raise NotImplementedError

    def empty(self, url: str) -> None:
        raise NotImplementedError

    def test_migrating_from_nothing_gives_the_tables_that_creating_gives(self, url: str) -> None:
        migrated = _migrated(url)
        with migrated.read() as connection:
            described = self.description(connection)
        Store.open(url).close()  # accepts it
        migrated.connections.close()
        self.empty(url)
        created = Store.open(url)
        with created._database.read() as connection:
            assert self.description(connection) == described
        created.close()

    def test_an_older_store_is_migrated_and_keeps_what_it_holds(self, url: str, run, next_release) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "REVISIONS", RELEASED)
            older = Store.open(url)
            older.tasks.create(run)
            older.close()
        for _ in range(2):
            store = Store.open(url, create=False)
            assert store.tasks.get(run.id).params == {"lr": 0.1}
            with store._database.read() as connection:
                assert connection.exec_driver_sql("SELECT colour, interpreter FROM hpo_snapshots").all() == []
                assert connection.exec_driver_sql("SELECT version_num FROM hpo_schema").all() == [("9999",)]
            store.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "REVISIONS", RELEASED)
            with pytest.raises(StoreError, match="has schema 9999, which this release does not know"):
                Store.open(url)

    def test_a_migration_that_fails_leaves_the_older_store(self, url: str, run, next_release) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "REVISIONS", RELEASED)
            older = Store.open(url)
            older.tasks.create(run)
        file = migrate.FOLDER / "versions" / "9999_next.py"
        file.write_text(_next() + '    op.execute("INSERT INTO nowhere VALUES (1)")\n')
        with pytest.raises(StoreError, match="nowhere"):
            Store.open(url)
        assert older.tasks.get(run.id).id == run.id
        assert older.check() == []
        older.close()


@pytest.fixture
def run() -> Task:
    return Task(new_id(), Kind.PIPELINE, "churn", "retention", pipeline="churn", params={"lr": 0.1})


class TestSqlite(MigrateContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url

    def empty(self, url: str) -> None:
        path = Path(url.removeprefix("sqlite:///"))
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()

    def description(self, connection: Connection) -> object:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        # Column options after the name may come in another order; the statements say the same.
        return {name: sorted(sql.replace("(", "( ").replace(",", " , ").split()) for name, sql in rows}


@pytest.mark.integration
class TestPostgresql(MigrateContract):
    @pytest.fixture
    def url(self, postgresql_database: str) -> str:
        return postgresql_database

    def empty(self, url: str) -> None:
        name = url.rpartition("%3D")[2]
        store = Store.open(url)
        with store._database.transaction() as transaction:
            transaction.connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE; CREATE SCHEMA {name}")
        store.close()

    def description(self, connection: Connection) -> object:
        statements = (
            "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name "
            "FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 2",
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = current_schema()::regnamespace ORDER BY 1, 2",
        )
        return [connection.exec_driver_sql(statement).all() for statement in statements]
