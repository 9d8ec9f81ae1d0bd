"""Every example is planned, run, and planned again."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from planning.conftest import held

from hpo_pipelines import Workspace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(path: str, name: str) -> Any:
    """An example's pipeline; its module under a name of its own, since two of them are called ``pipeline``."""
    module_name = f"planned_{name}"
    spec = importlib.util.spec_from_file_location(module_name, EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[module_name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "name", "other"),
    [
        ("quickstart.py", "curve", {"degree": 5}),
        pytest.param("digits/pipeline.py", "digits", {"model": "svm", "C": 1.0}, marks=pytest.mark.integration),
        pytest.param("penguins/pipeline.py", "penguins", {"max_depth": 2}, marks=pytest.mark.integration),
    ],
)
def test_an_example(workspace: Workspace, path: str, name: str, other: dict[str, Any]) -> None:
    pipeline = load(path, name)
    cold, run = held(workspace, pipeline)
    assert cold.steps[0].verdict == "run"
    assert run.error is None
    warm, _ = held(workspace, pipeline)
    assert warm.complete
    assert {step.verdict for step in warm.steps} == {"reuse"}
    assert warm.totals.at_most == 0.0
    changed, _ = held(workspace, pipeline, **other)
    assert {"reuse", "run"} <= {step.verdict for step in changed.steps}
    assert changed.totals.seconds > 0.0
    assert {step.verdict for step in held(workspace, pipeline, **other)[0].steps} == {"reuse"}
