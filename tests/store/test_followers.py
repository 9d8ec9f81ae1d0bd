from __future__ import annotations

import pytest

from hpo_pipelines.store import Store


class FollowersContract:
    def test_a_follower_has_one_owner_and_goes_on_from_its_cursor(self, store: Store) -> None:
        assert store.followers.claim("mlflow", "a", 100) == 0
        assert store.followers.claim("mlflow", "b", 100) is None
        assert store.followers.claim("page", "b", 100) == 0
        assert store.followers.advance("mlflow", "a", 7) is True
        assert store.followers.claim("mlflow", "a", 100) == 7
        assert store.followers.release("mlflow", "b") is False
        assert store.followers.release("mlflow", "a") is True
        assert store.followers.claim("mlflow", "b", 100) == 7
        assert store.followers.claim("page", "b", 100) == 0

    def test_a_follower_may_begin_late_and_does_so_once(self, store: Store) -> None:
        assert store.followers.begin("hook", 12) is True
        assert store.followers.begin("hook", 40) is False
        assert store.followers.claim("hook", "a", 100) == 12

    def test_who_lost_the_lease_cannot_advance(self, store: Store) -> None:
        store.followers.claim("mlflow", "a", -1)
        assert store.followers.advance("mlflow", "a", 3) is True  # over, but nobody took it
        assert store.followers.claim("mlflow", "b", 100) == 3
        assert store.followers.advance("mlflow", "a", 9) is False
        assert store.followers.advance("mlflow", "b", 5) is True
        assert store.followers.advance("unknown", "b", 5) is False

    def test_cursor_and_mirrors_change_together(self, store: Store, build) -> None:
        run = build.run()
        store.followers.claim("mlflow", "a", 100)
        with pytest.raises(RuntimeError), store.transaction():
            store.followers.set_mirrored("mlflow", run.id, "r1")
            store.followers.advance("mlflow", "a", 4)
            raise RuntimeError
        assert store.followers.claim("mlflow", "a", 100) == 0
        assert store.followers.mirrored("mlflow", run.id) is None

    def test_mirrors_are_each_followers_own(self, store: Store, build) -> None:
        run, other = build.run(), build.run()
        store.followers.set_mirrored("mlflow", run.id, "r1")
        store.followers.set_mirrored("mlflow", run.id, "r2")
        assert store.followers.mirrored("mlflow", run.id) == "r2"
        assert store.followers.mirrored("page", run.id) is None
        assert store.followers.mirrored("mlflow", other.id) is None

    def test_many_mirrors_at_once(self, store: Store, build) -> None:
        runs = [build.run() for _ in range(3)]
        store.followers.set_mirrored("mlflow", runs[0].id, "old")
        store.followers.set_mirrored_all("mlflow", {run.id: f"r{n}" for n, run in enumerate(runs[:2])})
        store.followers.set_mirrored_all("mlflow", {})
        wanted = [run.id for run in runs]
        assert store.followers.mirrored_all("mlflow", wanted) == {runs[0].id: "r0", runs[1].id: "r1"}
        assert store.followers.mirrored_all("page", wanted) == store.followers.mirrored_all("mlflow", []) == {}


class TestSqlite(FollowersContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(FollowersContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
