"""Lists as one value: every text is found as it is, and each is looked for through an index."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, select

from hpo_pipelines.store import Store, details, events, followers, metrics, overview, removal, schema, tasks
from hpo_pipelines.store import artifacts as artifacts_
from hpo_pipelines.store import cache as cache_
from hpo_pipelines.store.within import within

ODD = ["", " ", "a,b", 'say "so"', "{a}", "back\\slash", "NULL", "null", "it's", "ünï", "\n", "%s", ":ids", "[1]"]
NOTES = select(schema.tasks.c.id).where(within(schema.tasks.c.notes, "notes")).order_by(schema.tasks.c.id)
BY_LISTS: dict[str, Any] = {
    "tasks": tasks._BY_IDS,
    "children": tasks._CHILDREN_OF,
    "below": removal._INSIDE,
    "clones": removal._CLONES,
    "outputs": details._OUTPUTS,
    "attempts": details._ATTEMPTS_OF,
    "metrics": metrics._OF,
    "latest metrics": metrics._LATEST,
    "steps of runs": overview._STEPS,
    "totals of runs": overview._TOTALS,
    "metrics of runs": overview._METRICS,
    "outcomes": cache_._MADE_OF,
    "outcomes of tasks": removal._MADE,
    "artifacts": artifacts_._BY_DIGEST,
    "stories": events._STORIES,
    "mirrors": followers._MIRRORED_ALL,
}


class Contract:
    def test_each_text_is_found_as_it_is(self, store: Store, build: Any) -> None:
        ids = {text: build.run(notes=text).id for text in ODD}
        read = store._database.rows
        assert [row[0] for row in read(NOTES, {"notes": ODD})] == sorted(ids.values())
        for text, run in ids.items():
            assert [row[0] for row in read(NOTES, {"notes": [text]})] == [run], text
        assert read(NOTES, {"notes": []}) == []

    def test_any_collection_of_any_length_is_a_list(self, store: Store, build: Any) -> None:
        runs = [build.run() for _ in range(3)]
        wanted = [run.id for run in runs]
        absent = [f"{number:026}" for number in range(3000)]
        for ids in (wanted, tuple(wanted), set(wanted), dict.fromkeys(wanted), [*absent, *wanted], wanted * 2):
            assert store.tasks.get_all(ids).keys() == set(wanted)

    def test_sqlalchemy_runs_it_too(self, store: Store, build: Any) -> None:
        run = build.run(notes="here")
        with store._database.read() as connection:
            assert connection.execute(NOTES, {"notes": ("here", "there")}).scalars().all() == [run.id]
            other = select(schema.tasks.c.id).where(~within(schema.tasks.c.notes, "notes"))
            assert connection.execute(other, {"notes": ["here"]}).all() == []
            one = select(schema.tasks.c.id).where(
                within(schema.tasks.c.notes, "notes"), schema.tasks.c.id == bindparam("of")
            )
            assert connection.execute(one, {"notes": ["here"], "of": run.id}).scalar_one() == run.id


class TestSqlite(Contract):
    @pytest.fixture
    def store(self, sqlite_store: Store) -> Store:
        return sqlite_store

    @pytest.mark.parametrize("name", BY_LISTS)
    def test_an_index_is_used(self, store: Store, name: str) -> None:
        with store._database.read() as connection:
            compiled = BY_LISTS[name].compile(dialect=connection.dialect)
            values = dict.fromkeys(compiled.params, "[]")
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values)]
        assert not [line for line in plan if line.startswith("SCAN hpo_")], plan
        assert any(line.startswith("SEARCH hpo_") for line in plan), plan


@pytest.mark.integration
class TestPostgresql(Contract):
    @pytest.fixture
    def store(self, postgresql_store: Store) -> Store:
        return postgresql_store
