"""A follower takes every event, in order, whatever fails, and only one process at a time does."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_pipelines.errors import StoreError, TrackingError
from hpo_pipelines.owner import is_gone, machine, process_name
from hpo_pipelines.store import Store
from hpo_pipelines.task import Event
from hpo_pipelines.tracking.base import Follower, Pace, one_line

SOON = 10.0
EAGER = Pace(batch=3, linger=0.01, lease=30.0, backoff=0.001, longest=0.01)


class Taken:
    """A target that keeps what it gets, and fails when it is told to."""

    def __init__(self, failures: Sequence[bool] = ()) -> None:
        self.batches: list[list[int]] = []
        self._failures = list(failures)

    def __call__(self, events: Sequence[Event]) -> None:
        if self._failures and self._failures.pop(0):
            raise OSError("target is down")
        self.batches.append([event.id for event in events])

    @property
    def ids(self) -> list[int]:
        return [id for batch in self.batches for id in batch]


def fill(store: Store, count: int) -> None:
    for number in range(count):
        store.events.append(f"task{number}", "ping")


def running(follower: Follower) -> Callable[[], None]:
    """Run it in a thread; returns what stops it and waits."""
    thread = threading.Thread(target=follower.run)
    thread.start()

    def end() -> None:
        follower.stop()
        thread.join(SOON)
        assert not thread.is_alive()

    return end


def test_takes_all_in_order_in_batches(store: Store) -> None:
    fill(store, 8)
    taken = Taken()
    follower = Follower(store, "test", taken, pace=EAGER)
    rests = [follower.turn() for _ in range(3)]
    assert taken.batches == [[1, 2, 3], [4, 5, 6], [7, 8]]
    # More is there after a full batch, so there is no rest.
    assert rests == [0.0, 0.0, EAGER.linger]
    assert follower.cursor == 8


def test_goes_on_where_the_last_one_stopped(store: Store) -> None:
    fill(store, 2)
    first = Follower(store, "test", Taken(), pace=EAGER)
    first.turn()
    first._release()
    fill(store, 2)
    taken = Taken()
    Follower(store, "test", taken, pace=EAGER, owner="next").turn()
    assert taken.ids == [3, 4]


def test_followers_of_other_names_have_cursors_of_their_own(store: Store) -> None:
    fill(store, 2)
    one, two = Taken(), Taken()
    Follower(store, "one", one, pace=EAGER).turn()
    Follower(store, "two", two, pace=EAGER).turn()
    assert one.ids == two.ids == [1, 2]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.lists(st.booleans(), max_size=12), st.integers(1, 5))
def test_nothing_is_lost_or_out_of_order_whatever_fails(count: int, failures: list[bool], batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{Path(folder, 'store.db')}")
        fill(store, count)
        taken = Taken(failures)
        follower = Follower(store, "test", taken, pace=Pace(batch=batch, linger=0.001, backoff=0.0))
        for _ in range(count + len(failures) + 1):
            follower.turn()
        store.close()
    assert taken.ids == list(range(1, count + 1))


def test_a_failure_is_told_and_tried_again_later_and_later(store: Store) -> None:
    fill(store, 1)
    told: list[str | None] = []
    taken = Taken([True, True, True, False])
    follower = Follower(store, "test", taken, pace=Pace(backoff=0.5, longest=1.5), heard=told.append)
    assert [follower.turn() for _ in range(3)] == [0.5, 1.0, 1.5]
    assert follower.problem == "OSError: target is down"
    follower.turn()
    assert taken.ids == [1]
    assert follower.problem is None
    assert told == ["OSError: target is down", None]


def test_a_store_that_is_down_is_a_failure_like_any_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 1)
    taken = Taken()
    follower = Follower(store, "test", taken, pace=EAGER)
    follower.turn()
    fill(store, 1)

    def refuse(cursor: int, limit: int) -> list[Event]:
        raise StoreError("The server went away. Start it.")

    with monkeypatch.context() as patch:
        patch.setattr(store.events, "after", refuse)
        follower.turn()
    assert follower.problem == "The server went away. Start it."
    follower.turn()
    assert taken.ids == [1, 2]


def test_only_the_holder_of_the_lease_takes(store: Store) -> None:
    fill(store, 1)
    first, second = Taken(), Taken()
    # Both are this process, which is alive, so neither may take the lease from the other.
    one = Follower(store, "test", first, pace=EAGER, owner=process_name())
    two = Follower(store, "test", second, pace=EAGER, owner="another-host:1:0.00")
    one.turn()
    two.turn()
    assert (first.ids, second.ids) == ([1], [])
    assert two.cursor is None
    assert not two.drain(SOON)
    one._release()
    fill(store, 1)
    two.turn()
    assert second.ids == [2]


def test_a_lease_that_was_lost_is_noticed(store: Store) -> None:
    fill(store, 1)
    follower = Follower(store, "test", Taken(), pace=EAGER)
    follower.turn()
    assert follower.holds()
    store.followers.release("test", follower.owner)
    assert store.followers.claim("test", "somebody", 30.0) == 1
    fill(store, 1)
    follower.turn()
    assert not follower.holds()
    assert follower.cursor is None


def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(store: Store) -> None:
    fill(store, 1)
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = f"{machine()}:{ended.pid}:{psutil.Process(ended.pid).create_time():.2f}"
    assert not is_gone(owner)
    store.followers.claim("test", owner, 3600.0)
    ended.communicate(b"\n")
    assert is_gone(owner)
    taken = Taken()
    Follower(store, "test", taken, pace=EAGER).turn()
    assert taken.ids == [1]


def test_follows_what_is_written_while_it_runs(store: Store) -> None:
    taken = Taken()
    follower = Follower(store, "test", taken, pace=EAGER)
    end = running(follower)
    fill(store, 7)
    assert follower.drain(SOON)
    assert taken.ids == list(range(1, 8))
    end()
    # Its lease is free again.
    assert store.followers.claim("test", "next", 1.0) == 7


def test_a_drain_does_not_wait_for_the_rest_between_batches(store: Store) -> None:
    taken = Taken()
    follower = Follower(store, "test", taken, pace=Pace(linger=3600.0))
    fill(store, 1)
    end = running(follower)
    assert follower.drain(SOON)
    assert taken.ids == [1]
    end()


def test_without_a_rest_each_event_is_taken_as_it_comes(store: Store) -> None:
    arrived = threading.Event()
    follower = Follower(store, "test", lambda events: arrived.set(), pace=Pace(linger=0.0))
    end = running(follower)
    assert follower.drain(SOON)
    fill(store, 1)
    assert arrived.wait(SOON)
    end()


def test_a_drain_gives_up_after_its_time(store: Store) -> None:
    fill(store, 1)
    follower = Follower(store, "test", Taken([True] * 1000), pace=EAGER)
    end = running(follower)
    assert not follower.drain(0.05)
    end()


def test_the_lease_is_prolonged_while_one_batch_takes_long(store: Store) -> None:
    fill(store, 1)
    taken = Taken()
    renewed = threading.Event()
    claims = []
    original = store.followers.claim

    def claim(name: str, owner: str, seconds: float) -> int | None:
        claims.append(owner)
        if len(claims) > 2:
            renewed.set()
        return original(name, owner, seconds)

    store.followers.claim = claim  # type: ignore[method-assign]

    def slow(events: Sequence[Event]) -> None:
        assert renewed.wait(SOON)
        taken(events)

    follower = Follower(store, "test", slow, pace=Pace(lease=0.3, linger=0.01))
    end = running(follower)
    assert follower.drain(SOON)
    end()
    assert taken.ids == [1]


def test_one_line_keeps_our_words_and_names_the_class_of_others() -> None:
    assert one_line(TrackingError("MLflow is down.\nmore")) == "MLflow is down."
    assert one_line(OSError("refused\nmore")) == "OSError: refused"
    assert one_line(KeyError()) == "KeyError: "
