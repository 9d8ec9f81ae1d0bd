from __future__ import annotations

import pytest
from store.conftest import Build

from hpo_pipelines.store import Store
from hpo_pipelines.store.consoles import Piece


class ConsolesContract:
    def test_pieces_make_up_a_console(self, build: Build) -> None:
        run, consoles = build.run(), build.store.consoles
        consoles.add(run.id, [Piece("fit.1", 0, b"one\n"), Piece("fit.1", 4, b"two\n"), Piece("fit.2", 0, b"\0\xff")])
        assert consoles.sizes(run.id) == {"fit.1": 8, "fit.2": 2}
        assert [piece.data for piece in consoles.read(run.id, "fit.1")] == [b"one\n", b"two\n"]
        assert [*consoles.read(run.id, "fit.1", 2)] == [Piece("fit.1", 2, b"e\n"), Piece("fit.1", 4, b"two\n")]
        assert [*consoles.read(run.id, "fit.1", 8)] == []
        assert [piece.data for piece in consoles.read(run.id, "fit.2")] == [b"\0\xff"]

    def test_a_piece_that_is_there_stays(self, build: Build) -> None:
        run, consoles = build.run(), build.store.consoles
        consoles.add(run.id, [Piece("fit.1", 0, b"one")])
        consoles.add(run.id, [Piece("fit.1", 0, b"two"), Piece("fit.1", 3, b"!")])
        assert b"".join(piece.data for piece in consoles.read(run.id, "fit.1")) == b"one!"

    def test_what_nobody_printed(self, build: Build) -> None:
        assert build.store.consoles.sizes("unknown") == {}
        assert [*build.store.consoles.read("unknown", "fit.1")] == []
        build.store.consoles.add("unknown", [])

    def test_a_deleted_run_takes_its_consoles_along(self, build: Build) -> None:
        run = build.run()
        build.store.consoles.add(run.id, [Piece("fit.1", 0, b"one")])
        build.store.tasks.delete(run.id)
        assert build.store.consoles.sizes(run.id) == {}


class TestSqlite(ConsolesContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(ConsolesContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
