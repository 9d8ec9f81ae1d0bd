"""``hpo cache verify``: what is damaged, who has it, and what becomes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cache.conftest import DAY, Place

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.cache import repair, verify
from hpo_pipelines.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing
from hpo_pipelines.task import Snapshot
from hpo_pipelines.types import ArtifactRef, Status


def spoil(place: Place, ref: ArtifactRef) -> None:
    """Change one byte of the artifact's file."""
    files = getattr(place.artifacts._location, "_files", None)
    data = bytearray(place.artifacts.read_bytes(ref))
    data[100] ^= 1
    if files is None:
        place.path(ref).chmod(0o644)
        place.path(ref).write_bytes(data)
    else:
        files.pipe_file(place.artifacts._location._path(ref.digest), bytes(data))


class VerificationContract:
    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError

    def test_what_is_as_written_is_read_and_counted_once(self, place: Place) -> None:
        run = place.run()
        place.step(run, "k")
        place.step(run, "small", place.put("small", 10))
        place.store.tasks.set_outputs(run.id, {"value": place.put("k")})
        seen: list[ArtifactRef] = []
        found = verify(place.store, place.artifacts, seen=seen.append)
        assert (found.artifacts, found.size, found.gone, found.damages) == (2, 20_010, 0, [])
        assert [ref.size for ref in seen] == [ref.size for ref in place.store.artifacts.page()]

    def test_damage_is_named_with_who_has_it(self, place: Place) -> None:
        run = place.run()
        step = place.step(run, "k")
        ref = place.put("k")
        place.step(run, "other", ref, component="load")
        place.store.tasks.set_outputs(run.id, {"value.model": ref})
        spoil(place, ref)
        (damage,) = verify(place.store, place.artifacts).damages
        assert isinstance(damage.error, ArtifactCorrupt)
        assert (damage.ref, damage.missing, damage.lasting, damage.held) == (ref, False, True, 3)
        assert sorted(damage.outcomes) == ["k", "other"]
        assert set(damage.holders) == {"churn#1/fit.value", "churn#1/load.value", "churn#1.value.model"}
        assert step.id not in damage.holders

    def test_repair_makes_misses_of_damaged_outcomes(self, place: Place) -> None:
        run = place.run()
        for key in ("corrupt", "missing", "whole"):
            place.step(run, key)
        spoil(place, place.put("corrupt"))
        place.artifacts.delete(place.put("missing"))
        found = verify(place.store, place.artifacts)
        assert {(damage.outcomes, damage.missing) for damage in found.damages} == {
            (("corrupt",), False),
            (("missing",), True),
        }
        assert not any(damage.lasting for damage in found.damages)
        assert repair(place.store, place.artifacts, found.damages) == (2, 1)
        assert place.keys() == {"whole"}
        assert place.names() == {place.put("whole").digest}
        again = verify(place.store, place.artifacts)
        assert (again.damages, again.gone, again.artifacts) == ([], 2, 1)
        # The step runs again, and gives the same: its bytes are whole.
        place.step(run, "corrupt")
        place.artifacts.verify(place.put("corrupt"))

    def test_what_is_whole_again_is_not_repaired(self, place: Place) -> None:
        place.step(place.run(), "k")
        place.artifacts.delete(place.put("k"))
        found = verify(place.store, place.artifacts)
        place.put("k")
        assert repair(place.store, place.artifacts, found.damages) == (0, 0)
        assert place.keys() == {"k"}

    @pytest.mark.usefixtures("impatient")
    def test_what_was_swept_is_no_damage(self, place: Place) -> None:
        place.step(place.run(), "k", ago=40 * DAY)
        place.collect(older=30 * DAY)
        found = verify(place.store, place.artifacts)
        assert (found.artifacts, found.gone, found.damages) == (0, 1, [])

    @pytest.mark.parametrize("whose", ["run", "step", "code"])
    def test_what_something_else_needs_is_lasting_damage(self, place: Place, whose: str) -> None:
        ref = place.put("needed")
        if whose == "run":
            place.store.tasks.set_outputs(place.run().id, {"value": ref})
        elif whose == "step":
            place.step(place.run(Status.RUNNING), "k", ref)
            place.store.cache.delete("k")
        else:
            place.store.snapshots.add(Snapshot("s", "m:churn", ref, "3.11", {}))
        place.artifacts.delete(ref)
        (damage,) = verify(place.store, place.artifacts).damages
        assert (damage.lasting, damage.missing, damage.outcomes) == (True, True, ())
        assert isinstance(damage.error, ArtifactMissing)
        assert repair(place.store, place.artifacts, [damage]) == (0, 0)
        assert verify(place.store, place.artifacts).damages[0].ref == ref


class TestLocal(VerificationContract):
    @pytest.fixture
    def place(self, local: Place) -> Place:
        return local


@pytest.mark.integration
class TestPostgresqlAndS3(VerificationContract):
    @pytest.fixture
    def place(self, remote: Place) -> Place:
        return remote


def test_bytes_inside_the_store_are_read_too(local: Place) -> None:
    local.step(local.run(), "k", local.put("small", 10))
    with local.store._database.transaction() as transaction:
        transaction.connection.exec_driver_sql("UPDATE hpo_artifacts SET inline = X'00'")
    (damage,) = verify(local.store, local.artifacts).damages
    assert (damage.missing, damage.outcomes, damage.lasting) == (False, ("k",), True)
    assert repair(local.store, local.artifacts, [damage]) == (1, 0)


def test_only_some_of_many_holders_are_named(local: Place) -> None:
    run, ref = local.run(), local.put("k")
    for _ in range(15):
        local.step(run, "k", ref)
    local.path(ref).unlink()
    (damage,) = verify(local.store, local.artifacts).damages
    assert (len(damage.holders), damage.held) == (10, 15)


def test_more_than_a_page_of_them(local: Place) -> None:
    refs = [ArtifactRef(f"{n:064}", f"v{value}", "bytes", 1, {}, b"x") for n in range(300) for value in range(4)]
    local.store.artifacts.add(refs)
    seen: list[ArtifactRef] = []
    assert len(verify(local.store, local.artifacts, seen=seen.append).damages) == 300
    assert [ref.digest for ref in seen] == [f"{n:064}" for n in range(300)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_place_that_cannot_be_read_is_no_damage(local: Place) -> None:
    local.step(local.run(), "k")
    Path(local.artifacts.url).chmod(0)
    with pytest.raises(ArtifactError, match="cannot be used"):
        verify(local.store, local.artifacts)
    Path(local.artifacts.url).chmod(0o755)


def test_a_place_that_is_no_folder(local: Place, tmp_path: Path) -> None:
    local.step(local.run(), "k")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="cannot be used"):
        verify(local.store, ArtifactStore(tmp_path / "file"))
