"""What several parts of a run's page show is read once for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_pipelines import Workspace
from hpo_pipelines.server import create_app
from hpo_pipelines.store import details, overview, removal, tasks
from hpo_pipelines.store.database import Database
from hpo_pipelines.task import Metric, Task
from hpo_pipelines.types import Kind, Status, new_id


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def recorded(workspace: Workspace, count: int) -> Task:
    """A run of ``count`` steps ``fit``, ``fit.2``, …, each with two metrics."""
    run = Task(new_id(), Kind.PIPELINE, "churn", "retention", status=Status.COMPLETED, pipeline="churn")
    steps = [
        Task(
            new_id(), Kind.STEP, "fit" if place == 0 else f"fit.{place + 1}", "retention", status=Status.COMPLETED,
            parent=run.id, pipeline="churn", component="fit", position=place, key=f"{place} of {run.id}",
        )
        for place in range(count)
    ]  # fmt: skip
    made = workspace.store.tasks.create_many([run, *steps])[0]
    for place, step in enumerate(steps):
        workspace.store.metrics.add([Metric(step.id, name, place + 0.25, 0, 1.0) for name in ("auc", "loss")])
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each statement, by its identity, was asked."""
    counts: Counter[int] = Counter()
    rows = Database.rows

    def counted(self: Database, statement: Any, *values: Any, **options: Any) -> Any:
        counts[id(statement)] += 1
        return rows(self, statement, *values, **options)

    monkeypatch.setattr(Database, "rows", counted)
    return counts


def test_the_page_of_a_step_reads_the_steps_and_the_reason_once(workspace: Workspace, asked: Counter[int]) -> None:
    recorded(workspace, 2)
    run = recorded(workspace, 3)
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as opened:
        asked.clear()
        page = opened.get(f"/runs/{run.id}?step=fit&tab=why")
        assert page.status_code == 200
        assert asked[id(tasks._CHILDREN)] == 1
        assert asked[id(overview._EXECUTIONS)] == 2, "two runs, and that there are no more"
        assert not asked[id(removal._INSIDE)], "nothing runs inside, so its steps are all that it cost"


@pytest.mark.parametrize(("view", "times"), [("steps", 0), ("timeline", 0), ("graph", 1)])
def test_attempts_are_read_once_and_edges_where_they_are_drawn(
    workspace: Workspace, asked: Counter[int], view: str, times: int
) -> None:
    run = recorded(workspace, 3)
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as opened:
        asked.clear()
        assert opened.get(f"/runs/{run.id}?view={view}").status_code == 200
        assert asked[id(details._ATTEMPTS_OF)] == 1
        assert asked[id(details._EDGES_OF_RUN)] == times


@pytest.mark.parametrize("view", ["steps", "graph"])
def test_each_step_is_shown_with_its_own_metrics(workspace: Workspace, view: str) -> None:
    run = recorded(workspace, 12)
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as opened:
        page = opened.get(f"/runs/{run.id}?view={view}").text
        for place in range(12):
            value = f"{place + 0.25:.5g}"
            assert (f"auc {value}, loss {value}<" if view == "steps" else f"auc {value}") in page, (view, place)


def test_the_page_of_pipelines_counts_all_cards_at_once(workspace: Workspace, asked: Counter[int]) -> None:
    for name in ("churn", "upsell", "audit"):
        run = Task(new_id(), Kind.PIPELINE, name, "retention", status=Status.COMPLETED, pipeline=name)
        workspace.store.tasks.create(run)
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as opened:
        asked.clear()
        page = opened.get("/pipelines").text
        assert asked[id(overview._STEPS)] == asked[id(overview._METRICS)] == 1
    assert all(f"{name}#1" in page for name in ("churn", "upsell", "audit"))
