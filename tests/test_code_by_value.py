"""A recorded run keeps the code it had, whatever becomes of its files."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_pipelines import Workspace
from hpo_pipelines.cli.targets import pipeline_called

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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, 2)
    yield tmp_path
    forget()


def write(folder: Path, factor: int) -> None:
    (folder / "travelling_helper.py").write_text(HELPER.format(factor=factor))
    (folder / "travelling.py").write_text(PIPELINE)


def forget() -> None:
    for name in ("travelling", "travelling_helper"):
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
