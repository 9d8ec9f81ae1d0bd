"""Two versions of a user's modules, for one executor."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from executors.bench import Bench

from hpo_pipelines.snapshot import Locator

HELPER = """
VERSION = {number}

class Thing:
    version = {number}
"""

MODULE = """
from hpo_pipelines import component, pipeline
from executors_helper_of_test import VERSION, Thing

def own():
    return {number}

@component
def ask(x):
    import executors_helper_of_test
    assert isinstance(Thing(), executors_helper_of_test.Thing)
    return [own(), VERSION, Thing().version]

@pipeline
def p():
    ask(0)
"""


def version(bench: Bench, folder: Path, number: int) -> tuple[Bench, ModuleType]:
    """A bench for version ``number`` of a pair of modules, which the test process then forgets."""
    folder.mkdir()
    names = ["executors_helper_of_test", "executors_module_of_test"]
    for name, text in zip(names, (HELPER, MODULE)):
        (folder / f"{name}.py").write_text(text.format(number=number))
    for name in names:
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    try:
        return _Named(bench.executor, folder, module.p), module
    finally:
        for name in names:
            del sys.modules[name]


class _Named(Bench):
    """Finds components by name also when their module has been forgotten here."""

    def locator(self, component: Any) -> Locator:
        return Locator(component.__module__, component.__qualname__)
