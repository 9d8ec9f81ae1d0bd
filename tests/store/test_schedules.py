from __future__ import annotations

import threading

import pytest

from hpo_pipelines.errors import ScheduleError
from hpo_pipelines.store import Store
from hpo_pipelines.store.schedules import Schedule

NIGHTLY = Schedule("nightly", {"cron": "0 3 * * *", "zone": "UTC"}, {"kind": "run"}, {"missed": "once"}, next_at=5.5)


class SchedulesContract:
    def test_a_schedule_comes_back_as_it_was_added(self, store: Store) -> None:
        kept = store.schedules.add(NIGHTLY)
        assert kept.created_at > 0
        assert store.schedules.get("nightly") == kept
        store.schedules.add(Schedule("after", {"after": "churn"}, {}, cursor=7, seen=("a",)))
        assert [each.name for each in store.schedules.all()] == ["after", "nightly"]
        assert store.schedules.get("after").seen == ("a",)

    def test_a_name_is_given_once(self, store: Store) -> None:
        store.schedules.add(NIGHTLY)
        with pytest.raises(ScheduleError, match=r"there is a schedule 'nightly' already.*hpo schedule rm nightly"):
            store.schedules.add(NIGHTLY)

    def test_changes_are_kept_and_told(self, store: Store) -> None:
        store.schedules.add(NIGHTLY)
        changed = store.schedules.update("nightly", paused=True, next_at=None, said="x\0y", fired=2)
        assert (changed.paused, changed.next_at, changed.fired) == (True, None, 2)
        assert store.schedules.get("nightly") == changed
        assert [event.kind for event in store.events.story("nightly")] == ["schedule", "schedule"]

    def test_what_is_removed_is_gone_and_what_is_not_there_is_said(self, store: Store) -> None:
        store.schedules.add(NIGHTLY)
        with pytest.raises(ScheduleError, match=r"no schedule 'daily'; there are: nightly\."):
            store.schedules.get("daily")
        store.schedules.remove("nightly")
        with pytest.raises(ScheduleError, match=r"there are: none"):
            store.schedules.remove("nightly")
        with pytest.raises(ScheduleError):
            store.schedules.update("nightly", paused=True)
        assert store.schedules.lock("nightly") is None

    def test_of_many_who_lock_at_once_each_counts(self, store: Store) -> None:
        store.schedules.add(NIGHTLY)

        def fire() -> None:
            counted = 0
            while counted < 5:
                with store.transaction():
                    locked = store.schedules.lock("nightly")
                    if locked is not None:  # another has it: tried again
                        store.schedules.update("nightly", fired=locked.fired + 1)
                        counted += 1

        threads = [threading.Thread(target=fire) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert store.schedules.get("nightly").fired == 20


class TestSqlite(SchedulesContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(SchedulesContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
