"""The attempts of one call, found from any of them."""

from __future__ import annotations

import pytest
from store.conftest import Build

from hpo_pipelines.store import Store
from hpo_pipelines.store.chain import chain, counting, first, following, last
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status


def attempts(build: Build, count: int) -> list[Task]:
    made: list[Task] = []
    for number in range(1, count + 1):
        before = made[-1].id if made else None
        status = Status.COMPLETED if number < count else Status.RUNNING
        made.append(build.run(attempt=number, attempt_of=before, status=status))
    return made


class ChainContract:
    def test_every_attempt_finds_all(self, store: Store, build: Build) -> None:
        made = attempts(build, 3)
        alone = build.run(status=Status.COMPLETED)
        for task in made:
            assert chain(store.tasks, task) == made
            assert first(store.tasks, task) == made[0]
            assert last(store.tasks, task) == made[2]
        assert following(store.tasks, made[0]) == made[1]
        assert following(store.tasks, made[2]) is None
        assert chain(store.tasks, alone) == [alone]
        assert store.tasks.get(made[2].id) == made[2]
        assert [task.id for task in store.tasks.ancestry(made[2].id)] == [made[1].id, made[0].id]
        assert store.check() == []

    def test_one_that_was_deleted_ends_it(self, store: Store, build: Build) -> None:
        made = attempts(build, 3)
        store.tasks.delete(made[1].id)
        assert chain(store.tasks, made[2]) == [made[2]]
        assert chain(store.tasks, made[0]) == [made[0]]
        assert store.check() == []

    def test_the_last_attempt_of_each_call_counts(self, build: Build) -> None:
        one, other = attempts(build, 3), attempts(build, 1)
        assert counting([*one, *other]) == [one[2], *other]


class TestSqlite(ChainContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(ChainContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
