from __future__ import annotations

import dataclasses
import threading

import pytest

from hpo_pipelines.store import Store
from hpo_pipelines.task import Snapshot


class ArtifactsContract:
    def test_an_artifact_comes_back(self, store: Store, build) -> None:
        ref = build.ref(size=2**40, preview={"shape": [3, 2], "head": {"a": [1, None]}}, inline=bytes(range(256)))
        store.artifacts.add([ref, ref])
        assert store.artifacts.get(ref.digest) == ref
        assert store.artifacts.get(ref.digest, ref.value_digest) == ref
        assert store.artifacts.get(ref.digest, "another value") is None
        assert store.artifacts.get("unknown") is None

    def test_what_is_known_stays_as_it_is(self, store: Store, build) -> None:
        ref = build.ref(inline=b"")
        store.artifacts.add([ref])
        store.artifacts.add([dataclasses.replace(ref, preview={"new": 1})])
        assert store.artifacts.get(ref.digest) == ref

    def test_an_artifact_of_a_transaction_that_failed_is_written_by_the_next(self, store: Store, build) -> None:
        ref = build.ref()
        with pytest.raises(RuntimeError), store.transaction():
            store.artifacts.add([ref])
            raise RuntimeError
        assert store.artifacts.get(ref.digest) is None
        store.artifacts.add([ref])
        assert store.artifacts.get(ref.digest) == ref

    def test_pages_hold_every_artifact_once_in_order(self, store: Store, build) -> None:
        refs = [build.ref(f"p{n}", value_digest=f"v{value}") for n in range(4) for value in range(2)]
        store.artifacts.add(refs)
        pages, page = [], store.artifacts.page(limit=3)
        while page:
            pages.append(page)
            page = store.artifacts.page(page[-1], limit=3)
        assert [len(page) for page in pages] == [3, 3, 2]
        assert [ref for page in pages for ref in page] == refs

    def test_only_what_nobody_names_is_dropped(self, store: Store, build) -> None:
        run = build.run()
        step = build.step(run)
        named = {name: build.ref(name) for name in ("output", "outcome", "code", "kept")}
        loose = [build.ref(f"loose{n}") for n in range(1200)]
        store.artifacts.add([*named.values(), *loose])
        store.tasks.set_outputs(run.id, {"value": named["output"]})
        store.cache.record(build.entry("k", step, value=named["outcome"]))
        store.snapshots.add(Snapshot("s", "m:churn", named["code"], "3.11", {}))
        # The same bytes as an output's, as another value, are named by nobody.
        store.artifacts.add([build.ref("output", value_digest="another")])
        assert store.artifacts.drop(keep={"bytes-kept"}) == 1201
        assert {ref.digest for ref in store.artifacts.page()} == {ref.digest for ref in named.values()}
        assert store.artifacts.get("bytes-output", "another") is None
        assert store.artifacts.drop() == 1

    def test_what_is_named_while_it_is_looked_at_stays(self, store: Store, build, monkeypatch) -> None:
        """Outcomes and outputs recorded after the first look, before anything is deleted."""
        step = build.step(build.run())
        first, second, third = build.ref("first"), build.ref("second"), build.ref("third")
        store.cache.record(build.entry("known", step))
        store.artifacts.add([first, second, third])
        drop = store.artifacts._drop

        def late(*arguments) -> int:
            store.cache.record(build.entry("new", step, value=first))
            store.tasks.set_outputs(step.id, {"value": second})
            store.cache.delete("known")
            store.cache.record(build.entry("known", step, value=third))
            return drop(*arguments)

        monkeypatch.setattr(store.artifacts, "_drop", late)
        assert store.artifacts.drop() == 0
        assert store.cache.lookup("known").outputs == {"value": third}


class TestSqlite(ArtifactsContract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store


@pytest.mark.integration
class TestPostgresql(ArtifactsContract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store

    def test_who_records_waits_for_who_drops(self, store: Store, build, postgresql_database: str) -> None:
        """And then records what was dropped once more."""
        step, ref = build.step(build.run()), build.ref("dropped")
        store.artifacts.add([ref])
        other = Store.open(postgresql_database)
        recorded = threading.Event()

        def record() -> None:
            other.tasks.set_outputs(step.id, {"value": ref})
            recorded.set()

        thread = threading.Thread(target=record)
        with store.transaction():
            assert store.artifacts.drop() == 1
            thread.start()
            assert not recorded.wait(0.3)
        thread.join(10)
        other.close()
        assert store.tasks.outputs(step.id) == {"value": ref}
