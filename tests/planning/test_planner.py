"""What plans say, and that they change nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from planning.conftest import held
from samples import planned as samples

from hpo_pipelines import Workspace
from hpo_pipelines.engine import Refresh
from hpo_pipelines.engine.flights import lease_of
from hpo_pipelines.errors import ParameterError
from hpo_pipelines.planning import Plan, plan
from hpo_pipelines.planning.record import PlannedStep


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path) as opened:
        yield opened


def verdicts(made: Plan) -> dict[str, str]:
    return {step.name: step.verdict for step in made.steps}


def reasons(made: Plan) -> dict[str, str]:
    return {step.name: step.reason for step in made.steps}


def contents(workspace: Workspace) -> tuple[int, dict[str, str], list[str]]:
    """Everything that is stored: the events' cursor, each table as a digest, the names of the artifact files."""
    tables = {}
    with closing(sqlite3.connect(workspace.store.url.removeprefix("sqlite:///"))) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            rows = sorted(map(repr, database.execute(f"SELECT * FROM {name}")))
            tables[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    assert "hpo_events" in tables
    files = sorted(str(path) for path in Path(workspace.artifacts.url.removeprefix("file://")).rglob("*"))
    return workspace.store.events.last(), tables, files


def test_downstream_of_a_miss_is_unknown(workspace: Workspace) -> None:
    made = plan(workspace, samples.inside)
    assert verdicts(made) == {"number": "run", "add": "unknown"}
    assert reasons(made) == {"number": "never seen before", "add": "depends on number"}
    assert made.complete


def test_what_was_run_is_reused_and_values_are_there_to_be_looked_at(workspace: Workspace) -> None:
    run = workspace.run(samples.program, {"lines": [["number", 0, 0], ["look", 2, 2], ["add", 3, 3]]})
    made = plan(workspace, run)
    assert verdicts(made) == {"number": "reuse", "add": "reuse"}
    assert made.steps[0].origin == run.steps["number"].id
    assert reasons(made)["number"] == "reused from program#1/number"


def test_a_run_is_planned_with_other_parameters_and_its_own_code(workspace: Workspace) -> None:
    run = workspace.run(samples.inside, {"x": 2}, executor="inline")
    made = plan(workspace, run, {"x": 1})
    assert made.params == {"x": 1}
    assert verdicts(made) == {"number": "run", "add": "unknown"}
    with pytest.raises(ParameterError, match="depth"):
        plan(workspace, run, {"depth": 1})


def test_the_first_look_at_something_unknown_ends_the_plan_and_says_where(workspace: Workspace) -> None:
    made = plan(workspace, samples.stubborn)  # whose bare except does not keep it going
    assert verdicts(made) == {"number": "run"}
    assert made.stop is not None
    text = Path(samples.__file__).read_text().splitlines()
    line = next(at for at, line in enumerate(text, 1) if "return int(y)" in line)
    assert made.stop.place == f"planned.py:{line}"
    assert made.stop.reason == "the body looks at the value of number, which is not known before number has run"
    assert not made.complete
    assert verdicts(held(workspace, samples.stubborn)[0]) == {"number": "run"}
    assert held(workspace, samples.stubborn)[0].complete


def test_a_recorded_runs_place_is_that_of_its_own_file(workspace: Workspace) -> None:
    digest = workspace.run(samples.stubborn, {}, executor="inline")
    with Workspace(home=workspace.home) as other:  # which loads the code anew, from the snapshot
        made = plan(other, other.run_called(digest.label), {"x": 2})
    assert made.stop is not None
    assert str(made.stop.place).startswith("planned.py:")


def test_the_same_work_twice_is_computed_once(workspace: Workspace) -> None:
    made, run = held(workspace, samples.twice)
    assert verdicts(made) == {"number": "run", "number.2": "reuse", "add": "run", "total": "unknown"}
    assert reasons(made)["number.2"] == "computed by number"
    assert made.steps[1].uses == (0,)
    assert run.steps["number.2"].reused_from == run.steps["number"].id


def test_what_may_turn_out_to_be_the_same_work_is_unknown(workspace: Workspace) -> None:
    # add(number(1), 0) comes to add(1, 0): equal inputs are equal work, however they came about.
    made, run = held(workspace, samples.program, lines=[["number", 0, 0], ["add", 2, 1], ["add", 0, 1]])
    assert verdicts(made) == {"number": "run", "add": "unknown", "add.2": "unknown"}
    assert reasons(made)["add.2"] == "may be what add computes"
    assert run.steps["add.2"].reused_from == run.steps["add"].id


def test_some_steps_run_whatever_comes_before(workspace: Workspace) -> None:
    lines = [["number", 0, 0], ["unkept", 2, 2], ["add", 2, 2]]
    made, _ = held(workspace, samples.program, lines=lines)
    assert verdicts(made) == {"number": "run", "unkept": "run", "add": "unknown"}
    assert reasons(made)["unkept"] == "reuse is off for this component"
    made, _ = held(workspace, samples.program, lines=lines, refresh="add")
    assert verdicts(made) == {"number": "reuse", "unkept": "run", "add": "run"}
    made, _ = held(workspace, samples.program, lines=lines, refresh=["number", "add"])
    assert verdicts(made) == {"number": "run", "unkept": "run", "add": "run"}
    assert reasons(made)["add"] == "refresh"


def test_from_a_step_on(workspace: Workspace) -> None:
    workspace.run(samples.inside, {}, executor="inline")
    made = plan(workspace, samples.inside, refresh=Refresh.of(False, from_step="number"))
    assert verdicts(made) == {"number": "run", "add": "run"}


def test_what_cannot_be_hashed_runs(workspace: Workspace) -> None:
    made, _ = held(workspace, samples.program, lines=[["odd", 0, 0]])
    assert verdicts(made) == {"odd": "run"}
    assert reasons(made)["odd"].startswith("not reusable: argument x")


def test_runs_inside_are_planned_in_their_place(workspace: Workspace) -> None:
    lines = [["inside", 0, 0], ["inside", 1, 1], ["number", 1, 1]]
    made, _ = held(workspace, samples.program, lines=lines)
    assert list(verdicts(made)) == ["inside/number", "inside/add", "inside.2/number", "inside.2/add", "number"]
    assert verdicts(made)["number"] == "reuse"
    assert reasons(made)["number"] == "computed by inside.2/number"


def test_what_is_being_computed_elsewhere_is_waited_for(workspace: Workspace) -> None:
    key = plan(workspace, samples.inside).steps[0].key
    assert key is not None
    workspace.engine.liveness.claim(lease_of(key), "other#7/number")
    made = plan(workspace, samples.inside)
    assert verdicts(made) == {"number": "reuse", "add": "unknown"}
    assert reasons(made)["number"] == "computing in other#7/number"
    workspace.engine.liveness.release(lease_of(key))
    assert verdicts(plan(workspace, samples.inside))["number"] == "run"


def test_after_a_refresh_the_outcome_may_be_another(workspace: Workspace) -> None:
    lines = [["add", 0, 0], ["add", 0, 0], ["add", 0, 0]]
    workspace.run(samples.program, {"lines": lines}, executor="inline")
    made, _ = held(workspace, samples.program, lines=lines, refresh="add.2")
    assert verdicts(made) == {"add": "reuse", "add.2": "run", "add.3": "reuse"}
    assert made.steps[2].origin is None


def test_mapped_calls_are_steps(workspace: Workspace) -> None:
    made, _ = held(workspace, samples.program, lines=[["map", 0, 1]])
    assert verdicts(made) == {"add": "run", "add.2": "run", "add.3": "reuse", "total": "unknown"}


def test_a_raising_body_is_reported(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    made, _ = held(workspace, samples.raising, x=2)
    assert made.stop is not None
    assert (made.stop.reason, made.stop.error) == ("the body raises LookupError: two is too many", "LookupError")
    assert str(made.stop.place).startswith("planned.py:")
    assert verdicts(made) == {"number": "run"}
    capsys.readouterr()
    plan(workspace, samples.raising, {"x": 2})
    assert capsys.readouterr() == ("", "")


def test_a_call_that_does_not_fit_is_reported(workspace: Workspace) -> None:
    made = plan(workspace, samples.program, {"lines": [["nothing", 0, 0]]})
    assert made.stop is not None
    assert made.stop.error == "KeyError"


def test_parameters_that_do_not_fit_raise(workspace: Workspace) -> None:
    with pytest.raises(ParameterError):
        plan(workspace, samples.inside, {"x": "many"})


def test_a_missing_artifact_makes_a_step_run(workspace: Workspace) -> None:
    run = workspace.run(samples.heavy, {}, executor="inline")
    entry = workspace.store.cache.lookup(str(run.steps["weigh"].task.key))
    assert entry is not None
    gone = {name: type(ref)(**{**vars(ref), "inline": None}) for name, ref in entry.outputs.items()}
    before = contents(workspace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace.store.cache, "lookup", lambda key: type(entry)(**{**vars(entry), "outputs": gone}))
        made = plan(workspace, samples.heavy)
    assert reasons(made) == {"weigh": "missing artifact: value"}
    assert verdicts(made) == {"weigh": "run"}
    assert contents(workspace) == before


def test_nothing_is_written(workspace: Workspace) -> None:
    held(workspace, samples.heavy)
    before = contents(workspace)
    for x in (1, 2):  # one to be reused, one to be run; its big literal is in the first one's artifacts already
        plan(workspace, samples.heavy, {"x": x})
    plan(workspace, samples.program, {"lines": [["inside", 0, 0], ["unkept", 1, 1], ["odd", 1, 1]]})
    assert contents(workspace) == before


def test_a_big_literal_is_not_stored_and_has_the_key_that_it_will_have(workspace: Workspace) -> None:
    before = contents(workspace)
    made = plan(workspace, samples.heavy)
    assert contents(workspace) == before
    run = workspace.run(samples.heavy, {}, executor="inline")
    assert made.steps[0].key == run.steps["weigh"].task.key
    assert contents(workspace)[2] != before[2]


def test_durations_are_medians_of_what_is_recorded(workspace: Workspace) -> None:
    assert plan(workspace, samples.inside).steps[0].seconds is None
    for x in range(3):
        workspace.run(samples.inside, {"x": x}, executor="inline")
    seconds = sorted(entry.seconds for entry in workspace.store.cache.list("number"))
    assert plan(workspace, samples.inside, {"x": 9}).steps[0].seconds == seconds[1]
    workspace.run(samples.program, {"lines": [["odd", 0, 0]]}, executor="inline")
    timed = plan(workspace, samples.program, {"lines": [["odd", 0, 0]]}).steps[0].seconds
    assert timed is not None  # has no key, and so no outcome on record


def step(name: str, verdict: str, seconds: float | None, *uses: int) -> PlannedStep:
    return PlannedStep(name, name, verdict, "", seconds, uses=uses)


def test_totals() -> None:
    steps = (
        step("load", "reuse", 9.0),
        step("a", "run", 2.0, 0),
        step("b", "run", 3.0, 0),
        step("b.2", "reuse", 3.0, 2),
        step("c", "unknown", 4.0, 1, 3),
        step("d", "run", None),
    )
    totals = Plan("p", {}, steps).totals
    assert (totals.run, totals.reuse, totals.unknown) == (3, 2, 1)
    assert (totals.seconds, totals.critical_seconds) == (5.0, 3.0)
    assert (totals.at_most, totals.critical_at_most) == (9.0, 7.0)
    assert totals.untimed == 1
    assert Plan("p", {}, ()).totals.critical_seconds == 0.0


def test_the_record_is_json(workspace: Workspace) -> None:
    record = json.loads(json.dumps(plan(workspace, samples.stubborn).record()))
    assert record["complete"] is False
    assert record["stop"]["place"].startswith("planned.py:")
    assert [each["verdict"] for each in record["steps"]] == ["run"]
    assert record["totals"]["run"] == 1


@pytest.mark.parametrize("target", [None, print, 3])
def test_only_pipelines_and_runs_can_be_planned(workspace: Workspace, target: object) -> None:
    with pytest.raises(ParameterError, match=r"a pipeline or a run can be planned, not .*is it under @pipeline"):
        plan(workspace, target)  # type: ignore[arg-type]
