from __future__ import annotations

import threading

import pytest

from hpo_pipelines.store import Lease, Store

_OVER = -1.0
"""A lease for less than no time is over when it is made: no test waits for one to end."""


class LeasesContract:
    def test_a_lease_has_one_owner(self, store: Store) -> None:
        before = store.now()
        assert store.leases.claim("key", "a", 100)
        assert not store.leases.claim("key", "b", 100)
        assert store.leases.claim("other", "b", 100)
        lease = store.leases.holder("key")
        assert lease == Lease("key", "a", lease.expires_at)
        assert before + 100 <= lease.expires_at <= store.now() + 100
        assert store.leases.holder("unknown") is None

    def test_claiming_again_prolongs(self, store: Store) -> None:
        store.leases.claim("key", "a", 10)
        assert store.leases.claim("key", "a", 1000)
        assert store.leases.holder("key").expires_at > store.now() + 500

    def test_a_lease_that_is_over_can_be_taken(self, store: Store) -> None:
        store.leases.claim("key", "a", _OVER)
        assert store.leases.holder("key") is None
        assert store.leases.claim("key", "b", 100)
        assert not store.leases.claim("key", "a", 100)
        assert store.leases.holder("key").owner == "b"

    def test_one_heartbeat_renews_all_of_an_owner(self, store: Store) -> None:
        for name in ("x", "y", "z"):
            store.leases.claim(name, "a", 1)
        store.leases.claim("other", "b", 1)
        assert store.leases.renew("a", 1000) == {"x", "y", "z"}
        assert store.leases.renew("a", 2000, ["x", "other", "unknown"]) == {"x"}
        far = {name for name in ("x", "y", "z", "other") if store.leases.holder(name).expires_at > store.now() + 500}
        assert far == {"x", "y", "z"}

    def test_a_late_heartbeat_learns_what_was_taken_over(self, store: Store) -> None:
        for name in ("taken", "free"):
            store.leases.claim(name, "a", _OVER)
        store.leases.claim("taken", "b", 100)
        assert store.leases.renew("a", 100) == {"free"}
        assert store.leases.holder("taken").owner == "b"

    def test_only_the_owner_gives_a_lease_back(self, store: Store) -> None:
        store.leases.claim("key", "a", 100)
        assert store.leases.release("key", "b") is False
        assert store.leases.holder("key").owner == "a"
        assert store.leases.release("key", "a") is True
        assert store.leases.release("key", "a") is False
        assert store.leases.claim("key", "b", 100)

    def test_of_many_who_claim_at_once_one_gets_it(self, store: Store) -> None:
        store.leases.claim("key", "dead", _OVER)
        barrier, owners = threading.Barrier(6), []

        def claim(owner: str) -> None:
            barrier.wait()
            if store.leases.claim("key", owner, 100):
                owners.append(owner)

        threads = [threading.Thread(target=claim, args=(str(i),)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert owners == [store.leases.holder("key").owner]


class TestSqlite(LeasesContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(LeasesContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
