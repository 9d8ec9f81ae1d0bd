from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import studied

from hpo_pipelines import Categorical, Float, Study, StudyError, Workspace, optimize
from hpo_pipelines.study import Analysis, figures

pytestmark = pytest.mark.integration  # Plotly takes seconds to import
GOALS = ["fitted.auc", "fitted.size"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("figures") / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def one(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Study:
    space = {"x": Categorical([0.25, 0.75]), "folder": str(tmp_path_factory.mktemp("steps"))}
    return optimize(
        studied.staged, space, sampler="grid", executor="inline", progress=False, workspace=workspace, name="one"
    )


@pytest.fixture(scope="module")
def both(workspace: Workspace) -> Study:
    space = {"x": Float(0.0, 1.0), "y": Categorical([1, 2.5])}
    return optimize(
        studied.weighed, space, GOALS, ["maximize", "minimize"], constraints=["fitted.size <= 9"], n_trials=12,
        sampler="random", seed=1, executor="inline", progress=False, workspace=workspace, name="both",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["history", "parallel", "importance", "slice", "sharing"])
def test_each_kind_is_drawn_of_each_study(one: Study, both: Study, kind: str) -> None:
    for study in (one, both):
        made = study.figure(kind)
        assert made.data
        assert made.layout.title.text.startswith(f"{study.name}: ")


def test_a_history_has_the_values_and_the_best_so_far(one: Study, both: Study) -> None:
    values, best, _ = one.figure("history").data
    assert (list(values.x), list(values.y), list(best.y)) == ([0, 1], [0.25, 0.75], [0.25, 0.75])
    sizes = both.figure("history", objective="fitted.size")
    least = [trial.values[1] for trial in both.trials if trial.values and trial.is_feasible]
    assert sizes.data[1].y[-1] == min(least)
    assert sizes.layout.yaxis.title.text == "fitted.size"


@pytest.mark.parametrize("place", [0, 1])
def test_the_weight_of_parameters_is_the_one_that_is_told(both: Study, place: int) -> None:
    (bars,) = both.figure("importance", objective=GOALS[place]).data
    told = Analysis(both).importances_of(place)
    assert dict(zip(bars.y, bars.x, strict=True)) == pytest.approx(told)


def test_a_front_has_each_trial_once(both: Study) -> None:
    infeasible, others, front = (list(zip(each.x, each.y, strict=True)) for each in both.figure("pareto").data)
    assert front == [trial.values for trial in sorted(both.best_trials, key=lambda trial: trial.number)]
    assert sorted(infeasible + others + front) == sorted(trial.values for trial in both.trials if trial.values)
    turned = both.figure("pareto", objective=GOALS[::-1])
    assert turned.layout.xaxis.title.text == "fitted.size"


def test_sharing_shows_what_was_executed_and_what_was_taken(one: Study) -> None:
    numbers, executed, reused = figures.shared_seconds(one)
    assert numbers == [0, 1]
    assert list(executed) == ["prepared", "checked", "trained"]
    took = executed["prepared"][0]
    assert took > 0
    assert (executed["prepared"], reused["prepared"]) == ([took, 0.0], [0.0, took])
    assert reused["trained"] == [0.0, 0.0]
    bars = {bar.name: list(bar.y) for bar in one.figure("sharing").data}
    assert bars["prepared, reused"] == [0.0, took]
    assert set(bars) == {"prepared, executed", "prepared, reused", "checked, executed", "trained, executed"}
    assert one.figure("sharing").layout.barmode == "stack"


@pytest.mark.parametrize(
    ("kind", "objective", "said"),
    [
        ("histroy", None, "Did you mean 'history'?"),
        (3, None, "there are history, parallel"),
        ("slice", "fited.size", "Did you mean 'fitted.size'?"),
        ("slice", GOALS, "name one of"),
        ("pareto", "fitted.size", "2 or 3 objectives, not 1"),
        ("pareto", [*GOALS, "fitted.size"], "2 or 3 objectives, not 3"),
        ("pareto", ["fitted.size"] * 2, "2 or 3 objectives"),
        ("sharing", "fitted.size", "leave objective= out"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_cure(both: Study, kind: str, objective: object, said: str) -> None:
    with pytest.raises(StudyError, match=said.replace("?", r"\?")):
        both.figure(kind, objective=objective)  # type: ignore[arg-type]


def test_what_is_not_there_yet_is_said(workspace: Workspace, one: Study) -> None:
    empty = optimize(studied.halved, {"x": [1.0]}, timeout=0.0, progress=False, workspace=workspace)
    for kind, said in (("history", "no completed trial"), ("sharing", "no trial yet"), ("pareto", "history instead")):
        with pytest.raises(StudyError, match=said):
            empty.figure(kind)
    alone = optimize(
        studied.halved, {"x": [1.0]}, n_trials=1, executor="inline", progress=False, workspace=workspace
    )  # fmt: skip
    with pytest.raises(StudyError, match="cannot say yet which parameters matter"):
        alone.figure("importance")


def test_without_plotly_the_cure_is_named(one: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(StudyError, match=r"pip install 'hpo-pipelines\[plots\]'"):
        one.figure("history")


def test_a_page_needs_nothing_from_elsewhere(one: Study, tmp_path: Path) -> None:
    path = tmp_path / "sharing.html"
    one.figure("sharing").write_html(path)
    text = path.read_text("utf-8")
    assert "prepared, reused" in text
    assert '<script src="' not in text
