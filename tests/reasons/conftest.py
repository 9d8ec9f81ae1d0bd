"""Small projects on disk, edited between runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from hpo_pipelines import Workspace

TRAIN = """
from hpo_pipelines import component, pipeline
from features import scale

@component
def load(path: str):
    return [1, 2, len(path)]

@component
def fit(data, lr: float, shift: int = 2):
    if lr > 5:
        raise ValueError(f"lr {lr} is too big")
    return sum(scale(data)) * lr + shift

@component(cache=False)
def judge(model, strict: bool = False):
    return model > 0

@pipeline(project="samples")
def churn(path: str = "a", lr: float = 0.1):
    return judge(fit(load(path), lr))
"""
FEATURES = """
RATE = 2

def scale(xs):
    return [x * RATE for x in xs]
"""

Project = Callable[..., ModuleType]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """``project({"features.py": text})`` imports ``train`` with these files in place of those above, as edited."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))

    def forget() -> None:
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]

    def load(files: Mapping[str, str] | None = None) -> ModuleType:
        for name, text in {"train.py": TRAIN, "features.py": FEATURES, **(files or {})}.items():
            (tmp_path / name).write_text(text)
        forget()
        importlib.invalidate_caches()
        return importlib.import_module("train")

    yield load
    forget()


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened
