"""Plans of chains: what is known before they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import chained

from hpo_pipelines import Pipeline, Workspace
from hpo_pipelines.assembly import Assembly


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Assembly]:
    with Workspace(home=tmp_path / "home") as place:
        chained.churn.run(workspace=place, executor="inline")
        made = Pipeline.from_tasks("nightly", parameters={"size": 10, "lr": 0.1}, workspace=place)
        made.add("prepare", task="churn#1/prep", params={"size": "${pipeline.size}"})
        made.add(
            "train", task="churn#1/fit", inputs={"train": "${prepare.outputs.train}"}, params={"lr": "${pipeline.lr}"},
            when="${prepare.metrics.rows} > 5",
        )  # fmt: skip
        made.add("score", task="churn#1/evaluate", inputs={"model": "${train.output}"})
        made.add("noted", task="churn#1/fit", params={"note": "${prepare.id}"})
        yield made.add("inside", task="churn#1", params={"lr": "${pipeline.lr}"})


def verdicts(chain: Assembly, **params: object) -> dict[str, tuple[str, str]]:
    plan = chain.plan(workspace=chain.workspace, **params)
    assert plan.stop is None
    return {step.name: (step.verdict, step.reason) for step in plan.steps}


def test_what_is_recorded_is_known_and_looked_at(chain: Assembly) -> None:
    found = verdicts(chain)
    assert found["prepare"] == ("reuse", "reused from churn#1/prep")
    assert found["train"] == ("reuse", "reused from churn#1/fit")
    assert found["score"] == ("reuse", "reused from churn#1/evaluate")
    assert found["noted"] == ("unknown", "depends on the run itself")
    assert found["inside/fit"] == ("reuse", "reused from churn#1/fit")


def test_what_has_to_run_is_unknown_to_those_that_look_at_it(chain: Assembly) -> None:
    found = verdicts(chain, size=7)
    assert found["prepare"][0] == "run"
    assert found["train"] == ("unknown", "depends on prepare")
    assert found["score"] == ("unknown", "depends on train")


def test_a_step_whose_condition_is_false_is_not_in_the_plan(chain: Assembly) -> None:
    chain.run(workspace=chain.workspace, executor="inline", size=3)
    found = verdicts(chain, size=3)
    assert "train" not in found
    assert "score" not in found


def test_as_many_steps_run_as_the_plan_says(chain: Assembly) -> None:
    found = [verdict for verdict, _ in verdicts(chain, lr=0.5).values()]
    ended = chain.run(workspace=chain.workspace, executor="inline", lr=0.5)
    steps = [*ended.steps.values(), *chain.workspace.run_called(f"{ended.label}/inside").steps.values()]
    executed = sum(step.reused_from is None for step in steps)
    assert found.count("run") <= executed <= found.count("run") + found.count("unknown")
    assert len(found) == len(steps)
