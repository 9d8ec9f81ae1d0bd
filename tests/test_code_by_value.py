"""A recorded run keeps the code it had, whatever becomes of its files."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_pipelines import Pipeline, Workspace, optimize
from hpo_pipelines.cli.targets import pipeline_called
from hpo_pipelines.errors import CodeUnavailable

HELPER = "FACTOR = {factor}\n\n\ndef scale(x):\n    return FACTOR * x\n"
PIPELINE = """
import travelling_helper
from dataclasses import dataclass
from hpo_pipelines import component, pipeline


@dataclass
class Scaled:
    value: int


@component
def scaled(x: int) -> Scaled:
    return Scaled(travelling_helper.scale(x))


@component
def plus(s: Scaled, y: int) -> Scaled:
    assert isinstance(s, Scaled)
    return Scaled(s.value + y)


@pipeline
def travelling(x: int = 1, y: int = 0) -> int:
    made = plus(scaled(x), y)
    from travelling_helper import FACTOR
    return made.value + 1000 * FACTOR
"""

AROUND = """
import importlib
from hpo_pipelines import pipeline
from travelling import travelling


@pipeline
def around(n: int = 1) -> int:
    return travelling(x=n)


@pipeline
def secretive(n: int = 1) -> int:
    return importlib.import_module("travelling").__dict__["travelling"](x=n)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, 2)
    yield tmp_path
    forget()


def write(folder: Path, factor: int) -> None:
    (folder / "travelling_helper.py").write_text(HELPER.format(factor=factor))
    (folder / "travelling.py").write_text(PIPELINE)
    (folder / "around.py").write_text(AROUND)


def forget() -> None:
    for name in ("around", "travelling", "travelling_helper"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


@pytest.mark.parametrize("executor", ["inline", "local"])
@pytest.mark.parametrize("fate", ["edited", "deleted"])
def test_a_clone_runs_the_old_code(folder: Path, executor: str, fate: str) -> None:
    home = folder / "home"
    with Workspace(home=home) as workspace:
        base = workspace.run(
            pipeline_called(str(folder / "travelling.py") + ":travelling"), {"x": 3}, executor=executor
        )
        assert base.value == 2006
    forget()
    if fate == "edited":
        write(folder, 500)
    else:
        (folder / "travelling.py").unlink()
        (folder / "travelling_helper.py").unlink()
    with Workspace(home=home) as workspace:
        clone = workspace.get(base.id).clone(x=4, y=1)  # type: ignore[union-attr]
        run = clone.run()
        assert run.error is None
        assert run.value == 2009
        if fate == "edited":
            today = workspace.run(pipeline_called(str(folder / "travelling.py") + ":travelling"), {"x": 4})
            assert today.value == 502000
            assert today.steps["scaled"].reused_from is None  # its helper is another now
            again = workspace.get(base.id).clone(x=5).run()  # type: ignore[union-attr]
            assert again.value == 2010


def test_a_run_inside_another_is_cloned_by_itself(folder: Path) -> None:
    with Workspace(home=folder / "home") as workspace:
        workspace.run(pipeline_called(f"{folder}/around.py:around"), {"n": 3}, executor="inline")
    forget()
    write(folder, 500)
    with Workspace(home=folder / "home") as workspace:
        inside = workspace.run_called("around#1/travelling")
        assert inside.params == {"x": 3, "y": 0}
        clone = inside.clone(y=1).run()
        assert (clone.label, clone.task.parent, clone.value) == ("travelling#2", None, 2007)
        assert clone.steps["scaled"].reused_from == inside.steps["scaled"].id
        assert clone.clone(x=4).run().value == 2009
        assert inside.rerun().steps["plus"].reused_from == inside.steps["plus"].id
        study = optimize(inside, {"x": [3, 5]}, "value", n_trials=1, progress=False, workspace=workspace)
        assert [run.value for run in study.runs] == [2006]


def test_a_run_inside_another_is_chained_by_itself(folder: Path) -> None:
    with Workspace(home=folder / "home") as workspace:
        workspace.run(pipeline_called(f"{folder}/around.py:around"), {"n": 3}, executor="inline")
    forget()
    write(folder, 500)
    with Workspace(home=folder / "home") as workspace:
        chain = Pipeline.from_tasks("chain", parameters={"n": 4}, workspace=workspace)
        chain.add("first", task="around#1/travelling", params={"x": "${pipeline.n}"})
        chain.add("whole", task="around#1", after=["first"]).returns(first="${first.output}", whole="${whole.output}")
        ended = chain.run(workspace=workspace, executor="inline")
        assert ended.value == {"first": 2008, "whole": 2006}
        assert ended.clone(n=5).run().value == {"first": 2010, "whole": 2006}
        assert workspace.run_called("chain#1/first").clone(y=1).run().value == 2009


def test_a_pipeline_that_the_code_around_it_does_not_name_is_not_found(folder: Path) -> None:
    with Workspace(home=folder / "home") as workspace:
        workspace.run(pipeline_called(f"{folder}/around.py:secretive"), {"n": 3}, executor="inline")
        inside = workspace.run_called("secretive#1/travelling")
        with pytest.raises(CodeUnavailable, match="the code of secretive, whose body does not name travelling"):
            inside.clone(y=1)
