"""``hpo cache gc``: what goes, what stays, and what happens to who is at work meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cache.conftest import DAY, Place

from hpo_pipelines.cache import Limits, collect
from hpo_pipelines.errors import StoreError, TaskNotFound
from hpo_pipelines.store import Store
from hpo_pipelines.task import CacheEntry, Snapshot
from hpo_pipelines.types import Status


@pytest.mark.usefixtures("impatient")
class CollectionContract:
    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    def test_without_limits_only_what_nobody_needs_goes(self, place: Place) -> None:
        run = place.run()
        place.step(run, "k", ago=900 * DAY)
        loose = place.put("loose")
        place.store.artifacts.add([loose, place.artifacts.put(b"small")])
        unknown = place.put("unknown")
        done = place.collect()
        assert (done.outcomes, done.removed.tasks) == ([], ())
        assert (done.swept.files, done.swept.size, done.records) == (1, 20_000, 2)
        assert (done.unknown.files, done.left.files) == (1, 2)
        assert loose.digest not in place.names()
        assert place.collect(unknown=True).swept.files == 1
        assert unknown.digest not in place.names()
        assert place.keys() == {"k"}

    def test_what_was_not_used_for_long_goes(self, place: Place) -> None:
        run = place.run()
        place.step(run, "old", ago=40 * DAY)
        place.step(run, "new", ago=20 * DAY)
        hit = place.step(run, "hit", ago=40 * DAY)
        place.store.cache.hit("hit")
        # The reuse that was the hit.
        place.step(run, "hit", place.store.tasks.outputs(hit.id)["value"], reused_from=hit.id)
        done = place.collect(older=30 * DAY)
        assert [outcome.id for outcome in done.outcomes] == ["old"]
        assert place.keys() == {"new", "hit"}
        assert (done.swept.files, done.left.size) == (1, 40_000)
        assert place.collect(older=30 * DAY).swept.files == 0, "and once is enough"

    def test_until_the_size_is_kept_the_least_recently_used_go(self, place: Place) -> None:
        run = place.run()
        for number in range(5):
            place.step(run, f"k{number}", ago=number * DAY)
        done = place.collect(keep_size=45_000)
        assert [outcome.id for outcome in done.outcomes] == ["k4", "k3", "k2"]
        assert (done.left.files, done.left.size) == (2, 40_000)
        assert place.collect(keep_size=45_000).outcomes == []

    def test_what_a_run_returned_stays_as_long_as_the_run(self, place: Place) -> None:
        run = place.run()
        returned = place.put("returned")
        inside = place.put("inside")
        place.store.tasks.set_outputs(run.id, {"value.model": returned, "value.score": place.artifacts.put(0.5)})
        place.step(run, "k", returned, ago=900 * DAY)
        place.step(run, "inside", inside, ago=900 * DAY)
        done = place.collect(older=0.0, keep_size=0)
        assert {outcome.id for outcome in done.outcomes} == {"k", "inside"}
        assert place.names() == {returned.digest}
        assert done.needed == done.left.size == 20_000
        assert len(place.artifacts.get(returned)) == 20_000
        # What a step's output was is still shown, though its bytes are gone.
        step = next(task for task in place.store.tasks.children(run.id) if task.key == "inside")
        assert place.store.tasks.outputs(step.id) == {"value": inside}
        place.store.tasks.delete(run.id)
        assert place.collect().swept.files == 1
        assert place.store.artifacts.page() == []

    @pytest.mark.parametrize("nested", [False, True])
    def test_a_run_that_is_not_over_keeps_what_its_steps_gave(self, place: Place, nested: bool) -> None:
        run = place.run(Status.RUNNING)
        inner = place.run(parent=run.id) if nested else run
        place.store.leases.claim(f"run:{run.id}", "driver", 60.0)
        step = place.step(inner, "k", ago=900 * DAY)
        ref = place.store.tasks.outputs(step.id)["value"]
        done = place.collect(older=0.0, keep_size=0)
        assert [outcome.id for outcome in done.outcomes] == ["k"], "an outcome may go, its bytes may not"
        assert place.artifacts.exists(ref)
        assert done.under_way_since == place.store.tasks.get(run.id).started_at
        place.store.tasks.transition(run.id, Status.FAILED)
        assert place.collect(older=0.0).swept.files == 1

    def test_code_always_stays(self, place: Place) -> None:
        code = place.put("code")
        place.store.snapshots.add(Snapshot("s", "m:churn", code, "3.11", {}))
        assert place.collect(older=0.0, keep_size=0, unknown=True).swept.files == 0
        assert place.names() == {code.digest}

    def test_steps_whose_outcome_is_another_ones_go_by_their_own_age(self, place: Place) -> None:
        """Two executions under one key that gave different bytes: the second's are no outcome's."""
        run = place.run()
        place.step(run, "k", place.put("first"), ago=50 * DAY)
        place.step(run, "k", place.put("second"), ago=10 * DAY)
        assert place.collect(older=30 * DAY).swept.files == 1
        assert place.names() == {place.put("second").digest}
        assert place.collect(older=5 * DAY).swept.files == 1

    def test_old_runs_are_deleted_only_when_asked_to(self, place: Place) -> None:
        now = place.store.now()
        old = place.run(finished_at=now - 100 * DAY)
        young = place.run(finished_at=now - 10 * DAY)
        returned = place.put("returned")
        for run in (old, young):
            place.store.tasks.set_outputs(run.id, {"value": returned if run is old else place.put("young")})
        step = place.step(old, "passed on", ago=100 * DAY)
        place.step(young, "passed on", place.store.tasks.outputs(step.id)["value"], reused_from=step.id)
        place.step(old, "alone", ago=100 * DAY)
        (place.home / "consoles" / old.id).mkdir(parents=True)
        assert place.collect(older=90 * DAY, keep_size=0, dry_run=True).removed.runs == ()
        planned = place.collect(runs_older=90 * DAY, dry_run=True)
        assert place.store.tasks.get(old.id) == old
        done = place.collect(runs_older=90 * DAY)
        assert [run.id for run in done.removed.runs] == [run.id for run in planned.removed.runs] == [old.id]
        assert done.swept == planned.swept
        assert (done.swept.files, done.removed.outcomes) == (2, ("alone",))
        assert place.keys() == {"passed on"}
        assert not (place.home / "consoles" / old.id).exists()
        with pytest.raises(TaskNotFound):
            place.store.tasks.get(old.id)
        assert place.store.artifacts.get(returned.digest) is None

    def test_a_dry_run_says_what_would_be_and_changes_nothing(self, place: Place) -> None:
        run = place.run()
        for number in range(4):
            place.step(run, f"k{number}", ago=number * DAY)
        place.store.artifacts.add([place.put("loose")])
        limits = {"older": 2.5 * DAY, "keep_size": 45_000}
        planned = place.collect(dry_run=True, **limits)
        assert (place.keys(), len(place.names())) == ({"k0", "k1", "k2", "k3"}, 5)
        done = place.collect(**limits)
        assert planned.outcomes == done.outcomes
        assert (planned.swept, planned.left, planned.needed) == (done.swept, done.left, done.needed)
        assert place.keys() == {"k0", "k1"}

    def test_bytes_that_are_in_no_file_are_never_given_up_for_their_size(self, place: Place) -> None:
        run = place.run()
        place.step(run, "small", place.put("small", 10), ago=40 * DAY)
        assert place.collect(keep_size=0).outcomes == []
        assert [outcome.id for outcome in place.collect(older=30 * DAY).outcomes] == ["small"]
        assert place.store.artifacts.page() != [], "the step still shows it"

    def test_one_at_a_time(self, place: Place) -> None:
        assert place.store.leases.claim("cache gc", "elsewhere:1:x", 30.0)
        with pytest.raises(StoreError, match="process elsewhere:1 is collecting already"):
            place.collect()
        assert place.collect(dry_run=True).swept.files == 0, "looking is free"
        place.store.leases.release("cache gc", "elsewhere:1:x")
        place.collect()
        assert place.store.leases.holder("cache gc") is None

    def test_the_lease_ends_with_a_collection_that_fails(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> int:
            raise StoreError("the disk is full")

        monkeypatch.setattr(place.store.artifacts, "drop", fail)
        with pytest.raises(StoreError, match="full"):
            place.collect()
        assert place.store.leases.holder("cache gc") is None

    def test_a_run_that_takes_up_an_outcome_while_it_is_forgotten_keeps_its_bytes(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        origin = place.step(place.run(), "k", ago=40 * DAY)
        run = place.run(Status.RUNNING)
        ref = place.store.tasks.outputs(origin.id)["value"]

        def reuse(seconds: float) -> None:
            assert place.keys() == set(), "it was looked up before"
            place.step(run, "k", ref, reused_from=origin.id)

        monkeypatch.setattr("hpo_pipelines.cache.collection.time.sleep", reuse)
        assert len(place.collect(older=30 * DAY).outcomes) == 1
        place.artifacts.verify(ref)


class TestLocal(CollectionContract):
    @pytest.fixture
    def place(self, local: Place) -> Place:
        return local


@pytest.mark.integration
class TestPostgresqlAndS3(CollectionContract):
    @pytest.fixture
    def place(self, remote: Place) -> Place:
        return remote


# -- the ages of files


def test_young_files_are_left_alone(local: Place) -> None:
    old, young = local.put("old"), local.put("young")
    local.age(2 * 3600)
    local.artifacts.put(local.artifacts.get(young))
    done = local.collect(unknown=True)
    assert (done.swept.files, done.young.files, done.young.size) == (1, 1, 20_000)
    assert local.names() == {young.digest} != {old.digest}
    assert local.collect(unknown=True, dry_run=True).young.files == 1
    local.age(3601)
    assert local.collect(unknown=True, dry_run=True).swept.files == 1


def test_what_was_written_since_a_run_under_way_began_is_left_alone(local: Place) -> None:
    """A large literal of a step that still waits is named by nothing that is recorded."""
    now = local.store.now()
    run = local.run(Status.RUNNING, started_at=now - 5 * 3600)
    local.store.leases.claim(f"run:{run.id}", "driver", 60.0)
    literal = local.put("a literal")
    local.age(4 * 3600)
    done = local.collect(unknown=True)
    assert (done.swept.files, done.young.files, done.under_way_since) == (0, 1, now - 5 * 3600)
    local.artifacts.verify(literal)
    local.store.tasks.transition(run.id, Status.COMPLETED)
    assert local.collect(unknown=True).swept.files == 1


def test_leftovers_of_writers_go_after_a_day(local: Place) -> None:
    ref = local.put("k")
    left = local.path(ref).with_name(f".{ref.digest[2:]}.0123456789ab.tmp")
    left.write_bytes(b"half of it")
    local.age(20 * 3600)
    done = local.collect()
    assert (done.swept.files, done.young.files, left.exists()) == (0, 0, True)
    local.age(25 * 3600)
    assert local.collect(dry_run=True).swept.files == 1
    assert (local.collect().swept.size, left.exists()) == (10, False)


def test_a_record_stays_as_long_as_its_file(local: Place) -> None:
    young, gone = local.put("young"), local.put("gone")
    local.store.artifacts.add([young, gone])
    local.path(gone).unlink()
    assert local.collect().records == 1
    assert local.store.artifacts.page() == [young]


def test_an_empty_place(local: Place) -> None:
    done = local.collect(older=0.0, keep_size=0, runs_older=0.0, unknown=True)
    assert (done.swept.files, done.left.files, done.records) == (0, 0, 0)


def test_the_lease_is_renewed_while_it_takes(local: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_pipelines.cache.collection._LEASE_SECONDS", 0.3)
    ended = threading.Event()

    def slow(seconds: float) -> None:
        began = time.monotonic()
        while time.monotonic() - began < 0.9:
            assert not local.store.leases.claim("cache gc", "another", 1.0)
            ended.wait(0.05)

    monkeypatch.setattr("hpo_pipelines.cache.collection.time.sleep", slow)
    local.collect()


# -- old runs and studies


def test_a_study_goes_as_a_whole_or_not_at_all(local: Place) -> None:
    now = local.store.now()
    long_ago, lately = now - 100 * DAY, now - DAY
    base, lone = (local.run(finished_at=long_ago) for _ in range(2))
    old = local.study("old", finished_at=long_ago, params={})
    young = local.study("young", finished_at=long_ago, params={})
    trials = [local.run(finished_at=long_ago, study=old.id, trial=n) for n in range(2)]
    local.run(finished_at=long_ago, study=young.id, trial=0, cloned_from=base.id)
    local.run(finished_at=lately, study=young.id, trial=1, cloned_from=base.id)
    under_way = local.run(Status.RUNNING)
    done = local.collect(runs_older=90 * DAY)
    assert [study.id for study in done.removed.studies] == [old.id]
    assert {run.id for run in done.removed.runs} == {lone.id, *(run.id for run in trials)}
    assert local.store.tasks.statuses([base.id, under_way.id]).keys() == {base.id, under_way.id}


def test_a_run_that_goes_on_meanwhile_stays_and_keeps_nobody(local: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpo_pipelines.cache import collection

    long_ago = local.store.now() - 100 * DAY
    runs = [local.run(Status.FAILED, finished_at=long_ago) for _ in range(3)]
    old_runs = collection.old_runs

    def then_one_goes_on(store: Store, before: float) -> list[str]:
        found = old_runs(store, before)
        store.tasks.transition(runs[1].id, Status.RUNNING)
        return found

    monkeypatch.setattr(collection, "old_runs", then_one_goes_on)
    done = local.collect(runs_older=90 * DAY)
    assert {run.id for run in done.removed.runs} == {runs[0].id, runs[2].id}
    assert local.store.tasks.get(runs[1].id).status is Status.RUNNING


# -- at once


@pytest.mark.integration
def test_runs_and_collections_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that put, record, reuse and read while everything goes as soon as it may: nobody misses anything.

    Work comes up, is left for a few seconds, and comes up again, when it was swept, or is being swept just then. The
    sweeper's grace of an hour is one second here, which is far longer than a step takes.
    """
    monkeypatch.setattr("hpo_pipelines.cache.collection.GRACE", 1.0)
    url = f"sqlite:///{tmp_path}/hpo.db"
    Store.open(url).close()
    ended = threading.Event()
    swept: list[int] = []

    def drive(number: int) -> int:
        store = Store.open(url)
        place = Place(store, collect_store, tmp_path)
        reused = 0
        while not ended.is_set():
            run = place.run(Status.RUNNING)
            now = int(time.monotonic() * 2) % 8
            for key in (f"shared {now}", f"own {number} {now}"):
                entry = store.cache.lookup(key)
                if entry is not None and place.artifacts.exists(entry.outputs["value"]):
                    step = place.step(run, key, entry.outputs["value"], reused_from=entry.task)
                    reused += 1
                else:
                    store.cache.delete(key)
                    step = place.step(run, key)
                place.artifacts.verify(store.tasks.outputs(step.id)["value"])
            store.tasks.transition(run.id, Status.COMPLETED)
        store.close()
        return reused

    from hpo_pipelines.artifacts import ArtifactStore

    collect_store = ArtifactStore(tmp_path / "artifacts")
    with ThreadPoolExecutor(3) as pool:
        drivers = [pool.submit(drive, number) for number in range(3)]
        store = Store.open(url)
        try:
            deadline = time.monotonic() + 60
            while sum(swept) < 40 and time.monotonic() < deadline:
                done = collect(store, collect_store, tmp_path, Limits(older=0.5, unknown=True), settle=1.0)
                swept.append(done.swept.files)
        finally:
            ended.set()
        assert sum(driver.result() for driver in drivers) > 0
    assert sum(swept) >= 40
    assert store.check() == []
    entry: CacheEntry
    for entry in store.cache.list():
        collect_store.verify(entry.outputs["value"])
    store.close()
