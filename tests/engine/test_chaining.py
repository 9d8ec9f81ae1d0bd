"""Chains of recorded tasks, run: what they reuse, what holds a step up, and what becomes of failures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import chained

from hpo_pipelines import Float, Pipeline, Run, Status, StepFailed, Workspace, optimize
from hpo_pipelines.assembly import Assembly


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def base(place: Workspace) -> Run:
    return chained.churn.run(workspace=place, executor="inline")


def empty(place: Workspace, name: str = "nightly", **parameters: Any) -> Assembly:
    return Pipeline.from_tasks(name, "retention", parameters=parameters, workspace=place)


def whole(place: Workspace) -> Assembly:
    chain = empty(place, size=10, lr=0.1)
    chain.add("prepare", task="churn#1/prep", params={"size": "${pipeline.size}"})
    chain.add(
        "train", task="churn#1/fit", inputs={"train": "${prepare.outputs.train}"}, params={"lr": "${pipeline.lr}"}
    )
    chain.add("score", task="churn#1/evaluate", inputs={"model": "${train.output}", "test": "${prepare.outputs.test}"})
    return chain.returns(auc="${score.output}", rows="${prepare.metrics.rows}")


def run(chain: Assembly, **params: Any) -> Run:
    return chain.run(workspace=chain.workspace, executor="inline", **params)


def reasons(ended: Run) -> dict[str, tuple[str, str]]:
    return {name: (str(step.status), str(step.reason)) for name, step in ended.steps.items()}


def test_the_same_work_is_reused_from_where_it_was_recorded(place: Workspace, base: Run) -> None:
    ended = run(whole(place))
    assert ended.status is Status.COMPLETED, ended.error
    assert {name: step.reused_from for name, step in ended.steps.items()} == {
        "prepare": base.steps["prep"].id,
        "train": base.steps["fit"].id,
        "score": base.steps["evaluate"].id,
    }
    assert ended.value == {"auc": base.value["auc"], "rows": 10.0}
    assert ended.metrics == {"prepare.rows": 10.0, "train.auc": 1.0}


def test_a_step_of_a_chain_is_reused_by_the_pipeline_it_was_recorded_in(place: Workspace, base: Run) -> None:
    ended = run(whole(place), size=7)
    again = base.clone(size=7).run(executor="inline")
    assert again.steps["fit"].reused_from == ended.steps["train"].id


def test_a_clone_needs_nothing_but_the_store(place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    module = folder / "chain_then.py"
    module.write_text(
        "from hpo_pipelines import component, pipeline\nK = 2\n"
        "class Box:\n    def __init__(self, x): self.x = x\n"
        "@component\ndef double(x: int):\n    return Box(K * x)\n"
        "@component\ndef unbox(box) -> int:\n    return box.x\n"
        "@pipeline\ndef then(x: int = 1):\n    return unbox(double(x))\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    import chain_then  # type: ignore[import-not-found]

    chain_then.then.run(workspace=place, executor="inline")
    # The same names, another code: both in one chain.
    module.write_text(module.read_text().replace("K = 2", "K = 1000"))
    del sys.modules["chain_then"]
    import chain_then as chain_now

    chain_now.then.run(workspace=place, executor="inline")
    chain = empty(place, "mixed", x=3)
    chain.add("old", task="then#1/double", params={"x": "${pipeline.x}"}).add("new", task="then#2/double")
    chain.add("shown", task="then#2/unbox", inputs={"box": "${old.output}"}).add("other", task="then#2/unbox")
    chain.returns(old="${shown.output}", new="${other.output}")
    first = run(chain)
    assert first.value == {"old": 6, "new": 1000}
    module.unlink()
    del sys.modules["chain_then"]
    with Workspace(home=place.home) as later:
        clone = later.get(first.id).clone(x=5).run(executor="inline")
        assert clone.value == {"old": 10, "new": 1000}
        assert clone.steps["old"].outputs["value"].x == 10
        assert clone.steps["new"].task.snapshot == later.get("then#2").task.snapshot


def test_conditions_skip_steps_and_those_that_use_them(place: Workspace, base: Run) -> None:
    chain = empty(place, least=5)
    chain.add("prepare", task="churn#1/prep")
    chain.add("train", task="churn#1/fit", when="${prepare.metrics.rows} > ${pipeline.least}")
    chain.add("score", task="churn#1/evaluate", inputs={"model": "${train.output}"})
    chain.add("instead", task="churn#1/fit", when="${train.status} == 'skipped'", params={"lr": 0.2})
    chain.add("later", task="churn#1/fit", after=["train"], params={"lr": 0.3})
    chain.returns(auc="${score.output}", other="${instead.metrics.auc}", status="${train.status}")
    ran = run(chain)
    assert ran.value == {"auc": 0.5, "status": "completed"}
    assert ran.steps["instead"].status is Status.SKIPPED
    passed = run(chain, least=10)
    assert passed.status is Status.COMPLETED
    assert passed.value == {"other": 2.0, "status": "skipped"}
    said = reasons(passed)
    assert said["train"] == (
        "skipped",
        "when ${prepare.metrics.rows} > ${pipeline.least} is false: ${prepare.metrics.rows} is 10.0, "
        "${pipeline.least} is 10",
    )
    assert said["score"] == ("skipped", "uses train, which was skipped")
    assert said["later"][0] == "completed"
    edges = {(edge.source, edge.target, edge.kind) for edge in place.store.tasks.edges(passed.id)}
    steps = passed.steps
    assert (steps["train"].id, steps["later"].id, "control") in edges
    assert (steps["prepare"].id, steps["train"].id, "control") in edges


def test_texts_hold_what_references_name(place: Workspace, base: Run) -> None:
    chain = empty(place, size=10)
    chain.add("prepare", task="churn#1/prep", params={"size": "${pipeline.size}"})
    text = "${prepare.id} ${prepare.name} ${prepare.status} ${prepare.params.size} ${prepare.metrics.rows} $${x}"
    chain.add("train", task="churn#1/fit", params={"note": text})
    chain.add(
        "told", task="churn#1/fit", params={"note": "${pipeline.label} ${pipeline.url} ${train.output} ${prepare.url}"}
    )
    ended = run(chain)
    prepare = ended.steps["prepare"].id
    assert ended.steps["train"].task.params["note"] == f"{prepare} prepare completed 10 10.0 ${{x}}"
    at = f"http://127.0.0.1:8264/runs/{ended.id}"
    assert ended.steps["told"].task.params["note"] == f"nightly#1 {at} 1.0 {at}?step=prepare"


def test_a_whole_run_is_a_run_inside(place: Workspace, base: Run) -> None:
    chain = empty(place, lr=0.5)
    chain.add("inside", task="churn#1", params={"lr": "${pipeline.lr}"})
    chain.add(
        "train", task="churn#1/fit", params={"note": "${inside.metrics.fit.auc}", "lr": "${inside.outputs.model}"}
    )
    chain.returns(auc="${inside.outputs.auc}", model="${train.output}")
    ended = run(chain)
    assert ended.value == {"auc": 2.5, "model": 50.0}
    assert ended.steps["train"].task.params["note"] == 5.0
    inner = next(task for task in place.store.tasks.children(ended.id) if task.component is None)
    assert (inner.name, inner.pipeline, inner.params) == ("inside", "churn", {"size": 10, "lr": 0.5})
    assert place.get(f"{ended.label}/inside/fit").status is Status.COMPLETED


def test_a_chain_is_a_block_itself(place: Workspace, base: Run) -> None:
    run(whole(place))
    chain = empty(place, "outer")
    chain.add("all", task="nightly#1", params={"lr": 0.4}).add("one", task="nightly#1/train", params={"lr": 0.4})
    ended = run(chain.returns(auc="${all.outputs.auc}", one="${one.output}"))
    assert ended.value == {"auc": 2.0, "one": 4.0}


def test_a_failure_is_that_of_the_run_and_skips_what_depends_on_it(place: Workspace, base: Run, tmp_path: Path) -> None:
    chained.others.run(workspace=place, executor="inline", folder=str(tmp_path))
    chain = empty(place)
    chain.add("wrong", task="others#1/stumbles").add("told", task="others#1/tell", after="wrong")
    chain.add("train", task="churn#1/fit", params={"lr": "${wrong.output}"})
    chain.add("inside", task="churn#1", params={"lr": "${wrong.output}"})
    chain.add("free", task="churn#1/prep", params={"size": 4})
    chain.add("sweep", task="churn#1/prep", params={"size": 5}, when="${wrong.status} == 'failed'")
    ended = run(chain)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert ended.error["type"] == "ValueError"
    said = reasons(ended)
    assert said["told"] == said["train"] == ("skipped", "upstream wrong failed")
    assert (said["free"][0], said["sweep"][0]) == ("completed", "completed")
    with pytest.raises(StepFailed, match="not mended"):
        _ = ended.value
    inner = [task for task in place.store.tasks.children(ended.id) if task.name == "inside"]
    assert [(task.status, task.reason) for task in inner] == [(Status.SKIPPED, "upstream wrong failed")]
    (tmp_path / "mended").touch()
    resumed = ended.resume()
    assert resumed.status is Status.COMPLETED, resumed.error
    said = reasons(resumed)
    assert [said[name][0] for name in ("wrong", "told", "train", "free")] == ["completed"] * 4
    assert resumed.steps["train"].outputs == {"value": 70.0}
    inner = [task for task in place.store.tasks.children(ended.id) if task.name == "inside"]
    assert [task.status for task in inner] == [Status.SKIPPED, Status.COMPLETED]


def test_a_failed_run_inside_fails_the_chain(place: Workspace, base: Run, tmp_path: Path) -> None:
    chained.others.run(workspace=place, executor="inline", folder=str(tmp_path))
    chain = empty(place)
    chain.add("inside", task="others#1").add("train", task="churn#1/fit", after=["inside"])
    ended = run(chain)
    assert (ended.status, reasons(ended)["train"]) == (Status.FAILED, ("skipped", "upstream inside failed"))
    (tmp_path / "mended").touch()
    resumed = ended.resume()
    assert (resumed.status, reasons(resumed)["train"][0]) == (Status.COMPLETED, "completed")


def test_a_condition_that_cannot_be_computed_fails_the_run(place: Workspace, base: Run) -> None:
    chain = empty(place)
    chain.add("prepare", task="churn#1/prep").add("train", task="churn#1/fit", when="${prepare.id} < 3")
    ended = run(chain)
    assert ended.status is Status.FAILED
    assert ended.error is not None
    assert "cannot be computed" in ended.error["message"]


def test_a_recorded_output_that_was_deleted_is_said(place: Workspace, base: Run) -> None:
    chain = empty(place).add("train", task="churn#1/fit")
    assert run(chain).status is Status.COMPLETED
    place.store.tasks.delete(base.id)
    ended = run(chain)
    assert ended.error is not None
    assert "churn#1/prep.train was deleted" in ended.error["message"]


def test_a_chain_is_optimised(place: Workspace, base: Run) -> None:
    study = optimize(
        whole(place), space={"lr": Float(0.1, 1.0)}, objective="train.auc", direction="maximize", n_trials=3,
        workspace=place, executor="inline", name="chained", progress=False,
    )  # fmt: skip
    assert study.best_run.metrics["train.auc"] == study.best_value
    assert all(step.reused_from for step in (study.best_run.steps["prepare"],))


@pytest.mark.integration
def test_what_nothing_orders_runs_in_parallel(place: Workspace, tmp_path: Path) -> None:
    """A run inside and a step, each of which ends only when the other one has begun."""
    chained.meeting.run(workspace=place, executor="inline", folder=str(tmp_path))
    chained.met.run(workspace=place, executor="inline", folder=str(tmp_path), mine="a", other="a")
    for name in "ab":
        (tmp_path / name).unlink()
    chain = empty(place, folder=str(tmp_path))

    def meets(mine: str, other: str) -> dict[str, str]:
        return {"folder": "${pipeline.folder}", "mine": mine, "other": other}

    chain.add("inside", task="met#1", params=meets("a", "b"))
    chain.add("first", task="meeting#1/meets", params=meets("b", "a"))
    chain.add("last", task="meeting#1/meets", params=meets("d", "d"), after=["inside", "first"])
    ended = chain.run(workspace=place, executor="local")
    assert ended.status is Status.COMPLETED, ended.error
    assert ended.steps["last"].task.started_at is not None
    assert ended.steps["first"].task.finished_at is not None
    assert ended.steps["last"].task.started_at >= ended.steps["first"].task.finished_at


@pytest.mark.integration
def test_workers_serve_each_step_its_own_snapshot(place: Workspace, base: Run) -> None:
    chain = whole(place)
    ended = chain.run(workspace=place, executor="local", size=4, lr=0.7)
    assert ended.value == {"auc": pytest.approx(1.4), "rows": 4.0}
