from __future__ import annotations

import threading

import pytest

from hpo_pipelines.store import Store, bell


def test_a_commit_of_this_process_wakes_at_once(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for the next look, which stands a minute off here."""
    monkeypatch.setattr(bell, "_LOOK", 60.0)
    looked, woken = threading.Event(), []
    last = sqlite_store.events.last

    def last_and_tell() -> int:
        found = last()
        looked.set()
        return found

    monkeypatch.setattr(sqlite_store.events, "last", last_and_tell)
    thread = threading.Thread(target=lambda: woken.append(sqlite_store.events.wait(0, 55)))
    thread.start()
    assert looked.wait(30)
    sqlite_store.events.append("t", "x")
    thread.join(30)
    assert woken == [True]


def test_what_rang_between_the_look_and_the_wait_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "_LOOK", 60.0)
    one = bell.Bell()
    looks: list[int] = []

    def arrived() -> bool:
        looks.append(1)
        one.ring()  # just after this look
        return False

    one.wait(None, arrived, 60)  # type: ignore[arg-type]
    assert looks == [1]


def test_a_wait_ends_with_its_time() -> None:
    bell.Bell().wait(None, lambda: False, 0.01)  # type: ignore[arg-type]
