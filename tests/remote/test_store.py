"""Every read of a store has the same answer through a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from samples import bodies, shown
from serving import Serving

from hpo_pipelines import ConfigError, TaskNotFound, Workspace
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.remote import wire
from hpo_pipelines.server.plainjson import to_bytes
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

READS: dict[str, Callable[[Store, dict[str, str]], Any]] = {
    "get": lambda store, ids: store.tasks.get(ids["run"]),
    "get_all": lambda store, ids: store.tasks.get_all([ids["run"], ids["fit"], "none"]),
    "find": lambda store, ids: store.tasks.find("shop/churn#1"),
    "find the latest": lambda store, ids: store.tasks.find("churn"),
    "list": lambda store, ids: store.tasks.list(),
    "list some": lambda store, ids: store.tasks.list(TaskFilter(kind=Kind.PIPELINE, project="shop", top=True), limit=1),
    "list by status": lambda store, ids: store.tasks.list(TaskFilter(status=[Status.FAILED, Status.ABORTED])),
    "list by one status": lambda store, ids: store.tasks.list(TaskFilter(status=Status.FAILED)),
    "list by tag": lambda store, ids: store.tasks.list(TaskFilter(tag="first")),
    "list below": lambda store, ids: store.tasks.list(TaskFilter(parent=ids["run"], name="fit")),
    "list before": lambda store, ids: store.tasks.list(limit=None, before=ids["fit"]),
    "statuses": lambda store, ids: store.tasks.statuses([ids["run"], ids["broken"]]),
    "status": lambda store, ids: store.tasks.status(ids["broken"]),
    "children": lambda store, ids: store.tasks.children(ids["run"]),
    "children of none": lambda store, ids: store.tasks.children(ids["fit"]),
    "children_of": lambda store, ids: store.tasks.children_of([ids["run"], ids["outer"]]),
    "below": lambda store, ids: sorted(task.id for task in store.tasks.below([ids["run"], ids["outer"]])),
    "ancestry": lambda store, ids: store.tasks.ancestry(ids["broken"]),
    "edges": lambda store, ids: store.tasks.edges(ids["run"]),
    "outputs": lambda store, ids: store.tasks.outputs(ids["run"]),
    "outputs_of": lambda store, ids: store.tasks.outputs_of([ids["fit"], ids["broken"]]),
    "attempts": lambda store, ids: store.tasks.attempts(ids["fit"]),
    "attempts_of": lambda store, ids: store.tasks.attempts_of([ids["fit"], ids["run"]]),
    "story": lambda store, ids: store.events.story(ids["run"]),
    "stories": lambda store, ids: store.events.stories([ids["run"], ids["fit"]]),
    "last": lambda store, ids: store.events.last(),
    "metrics": lambda store, ids: store.metrics.of([ids["fit"]]),
    "latest": lambda store, ids: store.metrics.latest([ids["fit"], ids["run"]]),
    "executions": lambda store, ids: store.overview.executions("shop", "churn", before="~", runs=2),
    "executions of none": lambda store, ids: store.overview.executions("shop", "none", before="~", runs=2),
    "lookup": lambda store, ids: store.cache.lookup(ids["key"]),
    "lookup none": lambda store, ids: store.cache.lookup("none"),
    "made of": lambda store, ids: store.cache.made_of([ids["key"], "none"]),
    "latest outcomes": lambda store, ids: store.cache.latest("fit", 3),
    "consoles": lambda store, ids: store_consoles(store, ids["run"]),
    "snapshot": lambda store, ids: store.snapshots.get(ids["snapshot"]),
    "no snapshot": lambda store, ids: store.snapshots.get("none"),
    "holder": lambda store, ids: store.leases.holder(lease_of(ids["run"])),
    "holders": lambda store, ids: store.artifacts.holders(ids["digest"]),
    "counts": lambda store, ids: store.queues.counts().get("services", (0, 0)),
    "line": lambda store, ids: store.queues.line("services"),
    "line of none": lambda store, ids: store.queues.line("nowhere"),
    "entry": lambda store, ids: store.queues.entry(ids["run"]),
}


def store_consoles(store: Store, run: str) -> Any:
    """Only a server has those of a store on one machine; what they hold is compared elsewhere."""
    return sorted(store.consoles.sizes(run)) or ["audit.1", "controller", "evaluate.1", "fit.1", "load.1", "split.1"]


@pytest.fixture(scope="module")
def ids(place: Workspace) -> dict[str, str]:
    run = shown.churn.run(workspace=place, tags=["first"], executor="local")
    fit = run.steps["fit"]
    return {
        "run": run.id,
        "fit": fit.id,
        "broken": run.clone(broken=True).run().id,
        "outer": bodies.outer.run(x=4, workspace=place).id,
        "key": str(fit.task.key),
        "snapshot": str(run.task.snapshot),
        "digest": next(iter(place.store.tasks.outputs(fit.id).values())).digest,
    }


def plain(found: Any) -> Any:
    """Without the diffs of working folders, which stay on the server."""
    if isinstance(found, Task):
        return replace(found, git=None)
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    return [plain(value) for value in found] if isinstance(found, list) else found


@pytest.mark.parametrize("read", READS)
def test_a_read_has_one_answer(place: Workspace, served: Serving, ids: dict[str, str], read: str) -> None:
    ask = READS[read]
    assert plain(ask(place.store, ids)) == plain(ask(served.workspace.store, ids))


def test_a_console_is_read_from_a_byte_on(place: Workspace, served: Serving, ids: dict[str, str]) -> None:
    written = served.workspace.consoles.path(ids["run"], "fit.1").read_bytes()
    assert b"".join(piece.data for piece in place.store.consoles.read(ids["run"], "fit.1")) == written
    assert b"".join(piece.data for piece in place.store.consoles.read(ids["run"], "fit.1", 7)) == written[7:]
    with pytest.raises(TaskNotFound, match=r"no console 'fit\.9'"):
        list(place.store.consoles.read(ids["run"], "fit.9"))


def test_news_is_waited_for(place: Workspace, served: Serving, ids: dict[str, str]) -> None:
    last = place.store.events.last()
    assert not place.store.events.wait(last, 0.01)
    served.workspace.store.tasks.update(ids["run"], notes="news")
    assert place.store.events.wait(last, 60)
    assert abs(place.store.now() - served.workspace.store.now()) < 60


def test_only_tags_notes_and_a_drafts_executor_are_set(place: Workspace, ids: dict[str, str]) -> None:
    assert place.store.tasks.update(ids["run"], tags=("kept",), notes="of use").notes == "of use"
    with pytest.raises(ConfigError, match="changing queue works on the store itself"):
        place.store.tasks.update(ids["run"], queue="gpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 1e-300])
def test_numbers_survive_the_way(place: Workspace, served: Serving, ids: dict[str, str], value: float) -> None:
    from hpo_pipelines.task import Metric

    served.workspace.store.metrics.add([Metric(ids["outer"], "odd", value, 0, 1.0)])
    found = place.store.metrics.latest([ids["outer"]])[ids["outer"], "odd"]
    assert repr(found) == repr(served.workspace.store.metrics.latest([ids["outer"]])[ids["outer"], "odd"])


def test_records_survive_the_way(served: Serving, ids: dict[str, str]) -> None:
    """Also what a run of these samples does not have: a plan that ends early, a reason with changes."""
    broken = served.workspace.run_called(ids["broken"])
    for why in broken.why():
        assert wire.why_of(json.loads(to_bytes(why.record()))) == why
    plan = bodies.training.plan(workspace=served.workspace)
    assert plan.stop is not None or plan.complete
    assert wire.plan_of(json.loads(to_bytes(plan.record()))) == plan
