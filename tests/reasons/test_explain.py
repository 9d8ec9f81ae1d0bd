"""Why steps were reused, or ran: read from what runs recorded."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from reasons.conftest import FEATURES, TRAIN, Project

from hpo_pipelines import Workspace
from hpo_pipelines.engine import keys
from hpo_pipelines.errors import TaskNotFound
from hpo_pipelines.reasons import Why, why, why_run
from hpo_pipelines.run import Run
from hpo_pipelines.types import Status, new_id


def run(workspace: Workspace, module: Any, *, refresh: Any = False, **params: Any) -> Run:
    return workspace.run(module.churn, params, executor="inline", refresh=refresh)


def of(run: Run, step: str = "fit") -> Why:
    return why(run.workspace, run.steps[step].task)


def test_a_first_run_was_never_seen_before(workspace: Workspace, project: Project) -> None:
    found = of(run(workspace, project()))
    assert (found.verdict, found.cause, found.line) == ("ran", "new", "ran: never seen before")
    assert found.origin is None
    assert found.changes == ()


def test_reuse_names_the_run_and_the_time(workspace: Workspace, project: Project) -> None:
    first = run(workspace, project())
    found = of(run(workspace, project()))
    assert (found.verdict, found.cause) == ("reused", "recorded")
    assert found.line == "reused from churn#1/fit"
    assert found.origin is not None
    assert found.origin.task == first.steps["fit"].id
    assert found.origin.at == first.steps["fit"].task.finished_at
    assert "from churn#1/fit, completed at 20" in str(found)


def test_a_parameter_old_and_new(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    found = of(run(workspace, project(), lr=0.03))
    assert found.line == "ran: lr 0.1 → 0.03"
    (change,) = found.changes
    assert (change.kind, change.name, change.old, change.new) == ("inputs", "lr", 0.1, 0.03)


def test_an_input_says_which_step_produced_it_and_why(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    found = of(run(workspace, project(), path="bb"))
    assert found.line == "ran: input data from load [1, 2, 1] → [1, 2, 2] (load ran: path 'a' → 'bb')"
    assert found.changes[0].source == "churn#2/load"


def test_an_input_that_is_too_long_to_be_shown_changed(workspace: Workspace, project: Project) -> None:
    longer = TRAIN.replace("[1, 2, len(path)]", "[len(path)] * 100")
    run(workspace, project({"train.py": longer}))
    found = of(run(workspace, project({"train.py": longer}), path="bb"))
    assert found.line == "ran: input data from load changed (load ran: path 'a' → 'bb')"


def test_a_helper_elsewhere_changed_with_its_diff(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    found = of(run(workspace, project({"features.py": FEATURES.replace("x * RATE", "x + RATE")})))
    assert found.line == "ran: helper scale in features.py changed"
    lines = found.changes[0].diff.splitlines()
    assert lines[:2] == ["--- features.py (churn#1/fit)", "+++ features.py (churn#2/fit)"]
    assert "-    return [x * RATE for x in xs]" in lines
    assert "+    return [x + RATE for x in xs]" in lines
    assert "    +    return [x + RATE for x in xs]" in str(found).splitlines()


def test_the_component_a_constant_and_a_default(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    itself = of(run(workspace, project({"train.py": TRAIN.replace("* lr + shift", "* lr - shift")})))
    assert itself.line == "ran: component fit in train.py changed"
    constant = of(run(workspace, project({"features.py": FEATURES.replace("= 2", "= 3")})))
    assert constant.line == "ran: constant RATE in features.py 2 → 3"
    default = of(run(workspace, project({"train.py": TRAIN.replace("shift: int = 2", "shift: int = 4")})))
    assert default.line == "ran: default shift of fit in train.py 2 → 4; shift 2 → 4"


def test_a_helper_that_is_new(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    grown = FEATURES.replace("[x * RATE", "[clip(x) * RATE") + "\ndef clip(x):\n    return min(x, 3)\n"
    found = of(run(workspace, project({"features.py": grown})))
    assert found.line == "ran: helper clip in features.py is new; helper scale in features.py changed"


def test_the_nearest_earlier_execution_is_compared_with(workspace: Workspace, project: Project) -> None:
    run(workspace, project(), path="bb", lr=1.0)
    run(workspace, project(), path="bb", lr=0.5)
    run(workspace, project(), path="c", lr=3.0)
    found = of(run(workspace, project(), path="bb", lr=2.0))
    assert found.origin is not None
    assert found.origin.label == "churn#2/fit"  # churn#1 differs as little, and is older
    assert found.line == "ran: lr 0.5 → 2.0"


def test_refresh_reuse_off_and_ttl(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    again = run(workspace, project(), refresh=["fit"])
    assert (of(again).cause, of(again).line) == ("refresh", "ran: refresh")
    assert of(again, "judge").line == "ran: reuse is off for this component"
    assert of(again, "judge").cause == "off"
    aging = TRAIN.replace(
        "@component\ndef load", '@component(cache=__import__("hpo_pipelines").Cache(ttl=0))\ndef load'
    )
    run(workspace, project({"train.py": aging}))
    assert of(run(workspace, project({"train.py": aging})), "load").cause == "ttl"


def test_what_cannot_be_hashed_is_named(workspace: Workspace, project: Project) -> None:
    odd = TRAIN.replace("fit(load(path), lr)", "fit(load(path), lr, shift=iter([1]))").replace("+ shift", "")
    found = of(run(workspace, project({"train.py": odd})))
    assert found.cause == "not reusable"
    assert "shift" in found.reason


def test_a_missing_artifact(workspace: Workspace, project: Project) -> None:
    big = TRAIN.replace("[1, 2, len(path)]", "[float(x) for x in range(9000)]")
    first = run(workspace, project({"train.py": big}))
    workspace.artifacts.delete(workspace.store.tasks.outputs(first.steps["load"].id)["value"])
    found = of(run(workspace, project({"train.py": big})), "load")
    assert found.cause == "missing artifact"
    assert found.line == "ran: missing artifact: value of churn#1/load"


def test_a_failed_execution_counts(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    failed = run(workspace, project(), lr=7.0)
    assert of(failed).line == "ran: lr 0.1 → 7.0; failed: ValueError: lr 7.0 is too big"
    assert of(failed, "judge").line == "skipped: upstream fit failed"
    again = of(run(workspace, project(), lr=7.0))
    assert again.cause == "repeated"
    assert again.reason == "never completed: churn#2/fit did the same work and failed"
    fixed = of(run(workspace, project({"train.py": TRAIN.replace("lr > 5", "lr > 9")}), lr=7.0))
    assert fixed.origin is not None
    assert fixed.origin.label == "churn#3/fit"
    assert fixed.line == "ran: component fit in train.py changed"
    assert "-    if lr > 5:" in fixed.changes[0].diff


def test_two_failed_executions_differ_by_their_arguments(workspace: Workspace, project: Project) -> None:
    run(workspace, project(), lr=7.0)
    found = of(run(workspace, project(), lr=8.0))
    assert found.reason == "lr 7.0 → 8.0"
    assert "only the component's own source was compared" in str(found.note)


def test_old_source_that_is_not_to_be_had_is_said(workspace: Workspace, project: Project) -> None:
    big = FEATURES + "\n" + "# padding so that the snapshot is a file of its own\n" * 400
    first = run(workspace, project({"features.py": big}))
    snapshot = workspace.store.snapshots.get(str(first.task.snapshot))
    assert snapshot is not None
    workspace.artifacts.delete(snapshot.content)
    found = of(run(workspace, project({"features.py": big.replace("x * RATE", "x + RATE")})))
    assert found.changes[0].text == "helper scale in features.py changed (its old source is not to be had)"
    assert found.changes[0].diff == ""
    assert "churn#1/fit: its code cannot be read" in str(found.note)


def test_a_package(workspace: Workspace, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run(workspace, project())
    real = keys.step_key

    def upgraded(component: Any, code: Any, inputs: Any, problems: Any) -> Any:
        return real(component, dataclasses.replace(code, packages={"pandas": "3.1.1"}), inputs, problems)

    monkeypatch.setattr("hpo_pipelines.engine.engine.step_key", upgraded)
    assert of(run(workspace, project())).line == "ran: package pandas 3.1.1 is used now"


def test_another_pipelines_execution_is_compared_with_where_there_is_no_own(
    workspace: Workspace, project: Project
) -> None:
    other = TRAIN + '\n@pipeline(project="samples")\ndef other(lr: float = 0.1):\n    return fit(load("a"), lr)\n'
    module = project({"train.py": other})
    workspace.run(module.other, {"lr": 0.4}, executor="inline")
    found = of(run(workspace, module, lr=0.2))
    assert found.line == "ran: lr 0.4 → 0.2"
    assert found.origin is not None
    assert found.origin.label == "other#1/fit"


def test_outputs_inside_a_container(workspace: Workspace, project: Project) -> None:
    nested = TRAIN.replace("fit(load(path), lr)", "fit([load(path), 3], lr)").replace("scale(data)", "scale(data[0])")
    run(workspace, project({"train.py": nested}))
    found = of(run(workspace, project({"train.py": nested}), path="bb"))
    assert found.line == "ran: input data from load changed (load ran: path 'a' → 'bb')"


def test_values_that_read_alike(workspace: Workspace, project: Project) -> None:
    text = TRAIN.replace("lr: float = 0.1):\n    return judge(fit(load(path), lr))", "n: int = 0):\n"
        "    return judge(fit(load(path), __import__('numpy').float64(0.5) if n else 0.5))")  # fmt: skip
    run(workspace, project({"train.py": text}))
    found = of(run(workspace, project({"train.py": text}), n=1))
    assert found.line == "ran: lr changed (both read 0.5; its type, or what is not shown of it, differs)"


def test_a_run_and_the_runs_inside_it(workspace: Workspace, project: Project) -> None:
    outer = TRAIN + '\n@pipeline(project="samples")\ndef outer(lr: float = 0.1):\n    return churn(lr=lr)\n'
    module = project({"train.py": outer})
    recorded = workspace.run(module.outer, {}, executor="inline")
    found = why_run(workspace, recorded.task)
    assert [one.label for one in found] == ["churn#1/load", "churn#1/fit", "churn#1/judge"]


def test_the_origins_of_a_wide_run_are_read_at_once(
    workspace: Workspace, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = """
@pipeline(project="samples")
def fan(width: int = 1):
    return [load("a" * x) for x in range(width)]
"""
    module = project({"train.py": TRAIN + wide})
    for width in (2, 4, 8):  # the last takes outcomes of both before it
        recorded = workspace.run(module.fan, {"width": width}, executor="inline")
    one_by_one: list[str] = []
    get = workspace.store.tasks.get
    monkeypatch.setattr(workspace.store.tasks, "get", lambda task: one_by_one.append(task) or get(task))
    found = why_run(workspace, recorded.task)
    assert [each.verdict for each in found] == ["reused"] * 4 + ["ran"] * 4
    assert {each.origin.label.partition("/")[0] for each in found[:4] if each.origin} == {"fan#1", "fan#2"}
    assert len(one_by_one) <= 1  # the run that the executed ones are compared with


def test_a_waiting_step_says_what_for(workspace: Workspace, project: Project) -> None:
    recorded = run(workspace, project())
    step = recorded.steps["fit"].task
    waiting = dataclasses.replace(step, id=new_id(), status=Status.QUEUED, reason="computing in churn#7/fit", key=None)
    workspace.store.tasks.create(waiting)
    found = why(workspace, waiting)
    assert (found.verdict, found.line) == ("waits", "waits: computing in churn#7/fit")


def test_an_outcome_that_was_dropped_is_noted(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    second = run(workspace, project(), lr=0.2)
    said = "never seen before; dropped: another step's outcome was recorded first"
    workspace.store.tasks.update(second.steps["fit"].id, reason=said)
    found = of(second)
    assert found.line == "ran: lr 0.1 → 0.2"
    assert found.note == "its own outcome was dropped: another step's outcome was recorded first"


def test_the_record_is_json(workspace: Workspace, project: Project) -> None:
    run(workspace, project())
    found = json.loads(json.dumps(of(run(workspace, project(), path="bb", lr=0.2)).record()))
    assert found["cause"] == "changed"
    assert {change["name"] for change in found["changes"]} == {"data", "lr"}
    assert found["origin"]["label"] == "churn#1/fit"


def test_a_step_that_is_not_there(workspace: Workspace, project: Project) -> None:
    step = run(workspace, project()).steps["fit"].task
    with pytest.raises(TaskNotFound):
        why(workspace, dataclasses.replace(step, id="01ZZZZZZZZZZZZZZZZZZZZZZZZ"))
