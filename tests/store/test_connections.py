from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from hpo_pipelines.errors import StoreError
from hpo_pipelines.store import connections as module
from hpo_pipelines.store.connections import Connections


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[Connections]:
    engine = create_engine(
        f"sqlite:///{tmp_path}/x.db",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False},
    )
    connections = Connections(engine, one_writer=True, forgiving=False, forked=lambda: None)
    yield connections
    connections.close()


def test_the_connection_used_last_is_lent_next(connections: Connections) -> None:
    with connections.lend() as one, connections.lend() as two:
        assert one is not two
    with connections.lend() as again:
        assert again is one


def test_a_broken_connection_is_not_lent_again(connections: Connections) -> None:
    with connections.lend() as resting, connections.lend() as broken:
        pass
    with connections.lend() as first:
        assert first is resting
        with connections.lend() as second:
            second.invalidate()
    with connections.lend() as fresh:
        assert fresh not in (broken, second)
        assert fresh is first  # was in use meanwhile, so it is known to work


def test_a_connection_that_rested_for_long_is_tried_first(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DOUBTFUL", -1.0)
    with connections.lend() as one:
        pass
    with connections.lend() as again:
        assert again is one
    one.connection.driver_connection.close()  # type: ignore[union-attr]
    with connections.lend() as fresh:
        assert fresh is not one
        assert fresh.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_there_are_only_so_many(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 2)
    monkeypatch.setattr(module, "WAIT", 0.01)
    with connections.lend(), connections.lend(), pytest.raises(StoreError, match="All 2 connections"):
        connections.lend().__enter__()
    with connections.lend(), connections.lend():
        pass


def test_threads_wait_for_a_free_one(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 1)
    lent = threading.Event()

    def lend() -> None:
        with connections.lend():
            lent.set()

    thread = threading.Thread(target=lend)
    with connections.lend():
        thread.start()
        assert not lent.wait(0.05)
    thread.join()
    assert lent.is_set()


def test_there_is_one_writer(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.01)
    failures: list[str] = []

    def write() -> None:
        try:
            with connections.lend(writing=True):
                failures.append("nothing")
        except StoreError as error:
            failures.append(str(error))

    with connections.lend(writing=True), connections.lend():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert failures[0].startswith("Another thread of this process has been writing")
    with connections.lend(writing=True):
        pass


def test_what_cannot_be_reached_takes_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 1)
    engine = create_engine(f"sqlite:///{tmp_path}/no/folder/x.db", poolclass=NullPool)
    connections = Connections(engine, one_writer=False, forgiving=True, forked=lambda: None)
    for _ in range(3):
        with pytest.raises(OperationalError), connections.lend():
            pass


def test_closing_waits_for_nobody_and_lends_to_nobody(connections: Connections) -> None:
    with connections.lend() as one:
        connections.close()
        assert one.exec_driver_sql("SELECT 1").scalar_one() == 1
    assert one.closed
    with pytest.raises(StoreError, match="This store is closed"), connections.lend():
        pass


def test_a_fork_closes_what_rests_and_lends_nothing_meanwhile(connections: Connections) -> None:
    with connections.lend() as resting:
        pass
    lent = threading.Event()

    def lend() -> None:
        with connections.lend():
            lent.set()

    connections.before_fork()
    assert resting.closed
    thread = threading.Thread(target=lend)
    thread.start()
    assert not lent.wait(0.05)
    connections.after_fork_in_parent()
    thread.join()
    assert lent.is_set()


def test_a_fork_waits_for_what_other_threads_hold(connections: Connections) -> None:
    held, give_back = threading.Event(), threading.Event()

    def hold() -> None:
        with connections.lend():
            held.set()
            assert give_back.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    threading.Timer(0.05, give_back.set).start()
    connections.before_fork()
    connections.after_fork_in_child()  # nothing was in use, so the child may go on
    thread.join()
    with connections.lend() as one:
        assert one.exec_driver_sql("SELECT 1").scalar_one() == 1
    assert connections.generation == 1


@pytest.mark.parametrize("forgiving", [True, False])
def test_a_child_forked_in_the_middle_of_use_is_refused_unless_that_is_forgiven(
    connections: Connections, forgiving: bool
) -> None:
    connections._forgiving = forgiving
    with connections.lend() as parents:
        connections.before_fork()
        connections.after_fork_in_child()
        if forgiving:
            with connections.lend() as own:
                assert own is not parents
        else:
            with pytest.raises(StoreError, match="forked while the store was in use"):
                connections.lend().__enter__()
    assert not parents.closed  # it is the parent's
    parents.close()
