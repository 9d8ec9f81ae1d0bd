"""Consoles of one home as another home has them, through the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from store.conftest import Build

from hpo_pipelines import consoles
from hpo_pipelines.consoles import Consoles
from hpo_pipelines.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"sqlite:///{tmp_path}/store.db")


@pytest.fixture
def run(store: Store) -> str:
    return Build(store).run().id


def write(place: Consoles, run: str, name: str, data: bytes) -> None:
    path = place.path(run, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


def test_what_is_printed_here_is_read_there_also_while_it_grows(
    store: Store, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consoles, "PIECE_BYTES", 4)
    here, there = (Consoles(store, tmp_path / name, shared=True) for name in ("here", "there"))
    write(here, run, "controller", b"hello, world")
    write(here, run, "fit.1", b"epoch")
    here.tell(run)
    there.fetch(run)
    assert there.path(run, "controller").read_bytes() == b"hello, world"
    write(here, run, "fit.1", b" 1\nepoch 2\n")
    here.tell(run)
    here.tell(run)
    there.fetch(run)
    there.fetch(run)
    assert there.path(run, "fit.1").read_bytes() == b"epoch 1\nepoch 2\n"


def test_who_takes_over_goes_on_where_the_other_stopped(store: Store, run: str, tmp_path: Path) -> None:
    first, second, reader = (Consoles(store, tmp_path / name, shared=True) for name in ("first", "second", "reader"))
    write(first, run, "controller", b"one\n")
    first.tell(run)
    second.fetch(run)
    write(second, run, "controller", b"two\n")
    second.forget(run)
    reader.fetch(run)
    assert reader.path(run, "controller").read_bytes() == b"one\ntwo\n"


def test_consoles_that_are_not_shared_stay_where_they_are(store: Store, run: str, tmp_path: Path) -> None:
    place = Consoles(store, tmp_path, shared=False)
    write(place, run, "controller", b"one\n")
    place.forget(run)
    place.fetch(run)
    assert store.consoles.sizes(run) == {}
    assert place.path(run, "controller").read_bytes() == b"one\n"
