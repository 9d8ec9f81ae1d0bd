from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.types import Status


class EventsContract:
    def test_events_are_read_from_a_cursor(self, store: Store) -> None:
        assert store.events.last() == 0
        assert store.events.after(0) == []
        for i in range(5):
            store.events.append("t", "tick", {"i": i, "x": float("inf")})
        events = store.events.after(0)
        assert [event.data["i"] for event in events] == [0, 1, 2, 3, 4]
        assert [event.id for event in events] == sorted({event.id for event in events})
        assert store.events.after(events[1].id, limit=2) == events[2:4]
        assert store.events.last() == events[-1].id
        assert store.events.after(store.events.last()) == []
        assert abs(events[0].at - store.now()) < 60

    def test_a_story_is_one_tasks_events(self, store: Store, build) -> None:
        run, other = build.run(), build.run()
        store.tasks.transition(run.id, Status.RUNNING, reason="why")
        store.tasks.update(other.id, notes="n")
        store.events.append(run.id, "custom")
        story = store.events.story(run.id)
        assert [(event.kind, event.data) for event in story] == [
            ("created", {"kind": "pipeline", "name": "churn", "parent": None, "status": "draft"}),
            ("status", {"from": "draft", "to": "running", "reason": "why"}),
            ("custom", {}),
        ]
        assert store.events.story("nobody") == []

    def test_nothing_is_told_of_what_is_not_kept(self, store: Store, build) -> None:
        with pytest.raises(RuntimeError), store.transaction():
            run = build.run()
            store.events.append(run.id, "x")
            assert store.events.last() > 0  # the transaction sees its own
            raise RuntimeError
        assert store.events.after(0) == []

    @pytest.mark.parametrize("early", [False, True], ids=["ids at the end", "ids before the end"])
    def test_two_open_transactions_cannot_make_a_cursor_skip(self, store: Store, early) -> None:
        """The first to begin is the last to end: what it writes must not appear below what a reader has passed."""
        begun, finish, second_done = threading.Event(), threading.Event(), threading.Event()

        def first() -> None:
            with store.transaction():
                store.events.append("t", "first")
                if early:
                    store.events.last()  # has its ids given now
                begun.set()
                assert finish.wait(30)

        def second() -> None:
            with store.transaction():
                store.events.append("t", "second")
            second_done.set()

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        threads[0].start()
        assert begun.wait(30)
        threads[1].start()
        # Where writers do not exclude each other anyway, the second is through before the first ends.
        free = not early and store.url.startswith("postgresql")
        assert second_done.wait(30 if free else 0.2) is free
        seen = store.events.after(0)
        assert [event.kind for event in seen] == (["second"] if free else [])
        finish.set()
        for thread in threads:
            thread.join()
        seen += store.events.after(seen[-1].id if seen else 0)
        assert seen == store.events.after(0)
        assert sorted(event.kind for event in seen) == ["first", "second"]

    def test_a_reader_beside_many_writers_misses_nothing(self, store: Store) -> None:
        writers, rounds = 4, 12

        def write(seed: int) -> None:
            chance = random.Random(seed)
            for i in range(rounds):
                with store.transaction():
                    for j in range(chance.randint(1, 3)):
                        store.events.append(f"{seed}", "tick", {"i": i, "j": j})
                    if chance.random() < 0.5:
                        store.events.last()

        threads = [threading.Thread(target=write, args=(seed,)) for seed in range(writers)]
        for thread in threads:
            thread.start()
        seen = []
        while any(thread.is_alive() for thread in threads) or store.events.last() > (seen[-1].id if seen else 0):
            cursor = seen[-1].id if seen else 0
            if store.events.wait(cursor, 0.1):
                seen += store.events.after(cursor, limit=3)
        assert seen == store.events.after(0)
        for seed in range(writers):
            mine = [(event.data["i"], event.data["j"]) for event in seen if event.task == f"{seed}"]
            assert mine == sorted(mine)
            assert {i for i, _ in mine} == set(range(rounds))

    def test_wait_returns_at_once_for_what_is_there_and_in_time_for_what_is_not(self, store: Store) -> None:
        store.events.append("t", "x")
        begun = time.monotonic()
        assert store.events.wait(0, 60) is True
        assert time.monotonic() - begun < 30
        assert store.events.wait(store.events.last(), 0.05) is False
        assert store.events.wait(store.events.last(), 0) is False

    def test_every_waiting_thread_wakes(self, store: Store) -> None:
        results: list[tuple[bool, float]] = []
        written = threading.Event()

        def wait() -> None:
            woken = store.events.wait(0, 60)
            assert written.is_set()
            results.append((woken, time.monotonic()))

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        written.set()
        store.events.append("t", "x")
        begun = time.monotonic()
        for thread in threads:
            thread.join()
        assert [woken for woken, _ in results] == [True] * 3
        assert max(at for _, at in results) - begun < 20

    def test_wait_hears_another_process(self, store: Store, script: Callable[[str, str], str]) -> None:
        woken: list[bool] = []
        thread = threading.Thread(target=lambda: woken.append(store.events.wait(0, 60)))
        thread.start()
        script("Store.open(url).events.append('t', 'from afar')", store.url)
        thread.join()
        assert woken == [True]
        assert [event.kind for event in store.events.after(0)] == ["from afar"]

    def test_many_stories_at_once(self, store: Store, build) -> None:
        one, other = build.run(), build.run()
        store.events.append(one.id, "ping", {"n": 1})
        stories = store.events.stories([one.id, other.id, "missing"])
        assert stories == {one.id: store.events.story(one.id), other.id: store.events.story(other.id), "missing": []}
        assert stories[one.id][-1].data == {"n": 1}


class TestSqlite(EventsContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(EventsContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
