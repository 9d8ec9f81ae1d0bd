from __future__ import annotations

import dataclasses
import threading

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.store.cache import MadeOf


class CacheContract:
    def test_an_outcome_comes_back_with_its_artifacts_and_parts(self, store: Store, build) -> None:
        step = build.step(build.run())
        entry = build.entry("k", step, created_at=5.5, z=build.ref(), a=build.ref(inline=None))
        entry = dataclasses.replace(entry, parts={"code": {"fit": "abc"}, "inputs": {"lr": [1, None]}})
        assert store.cache.record(entry)
        assert store.cache.lookup("k") == entry
        assert list(store.cache.lookup("k").outputs) == ["z", "a"]
        assert store.cache.lookup("other") is None

    def test_the_first_recorded_wins(self, store: Store, build) -> None:
        run = build.run()
        first = build.entry("k", build.step(run, position=0), created_at=1.0, out=build.ref())
        second = build.entry("k", build.step(run, position=1), created_at=2.0, out=build.ref())
        assert store.cache.record(first) is True
        assert store.cache.record(second) is False
        assert store.cache.lookup("k") == first

    def test_of_those_who_record_at_once_one_wins(self, store: Store, build) -> None:
        run = build.run()
        entries = [build.entry("k", build.step(run, position=i), created_at=1.0, out=build.ref("x")) for i in range(6)]
        barrier, won = threading.Barrier(len(entries)), []

        def record(entry) -> None:
            barrier.wait()
            if store.cache.record(entry):
                won.append(entry)

        threads = [threading.Thread(target=record, args=(entry,)) for entry in entries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [store.cache.lookup("k")]

    def test_an_outcome_without_outputs(self, store: Store, build) -> None:
        entry = build.entry("k", build.step(build.run()), created_at=1.0)
        store.cache.record(entry)
        assert store.cache.lookup("k") == entry

    def test_the_time_is_given_where_it_is_missing(self, store: Store, build) -> None:
        store.cache.record(build.entry("k", build.step(build.run())))
        assert abs(store.cache.lookup("k").created_at - store.now()) < 60

    def test_hits_are_counted(self, store: Store, build) -> None:
        store.cache.record(build.entry("k", build.step(build.run()), created_at=1.0))
        store.cache.hit("k")
        store.cache.hit("k")
        store.cache.record(build.entry("l", build.step(build.run()), created_at=1.0))
        store.cache.hit("k", "nothing", "l")
        store.cache.hit()
        found = store.cache.lookup("k")
        assert (found.hits, store.cache.lookup("l").hits) == (3, 1)
        assert abs(found.hit_at - store.now()) < 60

    def test_a_deleted_outcome_makes_way_for_another(self, store: Store, build) -> None:
        entry = build.entry("k", build.step(build.run()), created_at=1.0, out=build.ref("kept"))
        store.cache.record(entry)
        assert store.cache.delete("k") is True
        assert store.cache.delete("k") is False
        assert store.cache.lookup("k") is None
        assert store.artifacts.get("bytes-kept") is not None
        assert store.cache.record(entry) is True

    def test_outcomes_of_a_component_newest_first(self, store: Store, build) -> None:
        run = build.run()
        for i, name in enumerate(("fit", "load", "fit", "fit")):
            store.cache.record(
                build.entry(f"k{i}", build.step(run, name, position=i), created_at=i + 1, out=build.ref())
            )
        assert [entry.key for entry in store.cache.list("fit")] == ["k3", "k2", "k0"]
        assert [entry.key for entry in store.cache.list()] == ["k3", "k2", "k1", "k0"]
        assert [entry.key for entry in store.cache.latest("fit", 2)] == ["k3", "k2"]
        assert store.cache.latest("fit", 1) == [store.cache.lookup("k3")]
        assert store.cache.list("unknown") == []

    def test_what_outcomes_were_made_of(self, store: Store, build) -> None:
        step = build.step(build.run())
        store.cache.record(build.entry("k1", step, created_at=4.0, out=build.ref()))
        entry = store.cache.lookup("k1")
        assert store.cache.made_of(["k1", "unknown"]) == {"k1": MadeOf(entry.parts, 4.0)}
        assert store.cache.made_of([]) == {}

    def test_several_are_forgotten_at_once(self, store: Store, build) -> None:
        run = build.run()
        for n, name in enumerate(("fit", "load", "fit")):
            store.cache.record(build.entry(f"k{n}", build.step(run, name, position=n), created_at=1.0))
        assert store.cache.keys("fit") == ["k0", "k2"]
        assert store.cache.forget("k0", "unknown", "k2") == 2
        assert store.cache.forget() == 0
        assert [entry.key for entry in store.cache.list()] == ["k1"]

    def test_the_beginning_of_a_key_finds_it(self, store: Store, build) -> None:
        run = build.run()
        for n, key in enumerate(("abc1", "abc2", "abd", "ab")):
            store.cache.record(build.entry(key, build.step(run, position=n), created_at=n + 1))
        assert [entry.key for entry in store.cache.find("abc")] == ["abc2", "abc1"]
        assert [entry.key for entry in store.cache.find("abc1")] == ["abc1"]
        assert [entry.key for entry in store.cache.find("ab", 2)] == ["ab", "abd"]
        assert store.cache.find("abc3") == store.cache.find("") == store.cache.find("%") == []


class TestSqlite(CacheContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(CacheContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
