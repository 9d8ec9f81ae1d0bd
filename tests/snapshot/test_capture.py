"""What a snapshot holds, and what names it."""

from __future__ import annotations

import importlib
import json
import linecache
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from hpo_pipelines.errors import CodeUnavailable
from hpo_pipelines.snapshot import Content, capture, load_private

if TYPE_CHECKING:
    from conftest import Project

FLOW = """
class Pipeline:
    def __init__(self, function):
        self.function, self.name = function, function.__name__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)
"""


def captured(project: Project, name: str = "churn:churn", **options: Any) -> Content:
    module, _, attribute = name.partition(":")
    return Content.decode(capture(getattr(project.module(module), attribute), **options).content)


def test_every_first_party_module_that_is_imported_somewhere_travels(project: Project) -> None:
    project.write(
        flow=FLOW,
        churn="""
            import os, json
            import numpy as np
            import pkg.deep.leaf as leaf
            from flow import Pipeline
            from pkg import first, CONSTANT
            try:
                import absent_accelerator
            except ImportError:
                pass

            @Pipeline
            def churn():
                from lazy import k
                return k
        """,
        lazy="k = 1",
        unused="",
        pkg__init="CONSTANT = 1",
        pkg__first="from . import second\nfrom .starred import *",
        pkg__second="from .deep.other import x",
        pkg__unused="",
        pkg__starred__init="__all__ = ['inner']",
        pkg__starred__inner="",
        pkg__starred__unused="",
        pkg__deep__init="",
        pkg__deep__leaf="",
        pkg__deep__other="import churn\nx = 1",
    )
    content = captured(project)
    assert set(content.modules) == {
        "churn", "flow", "lazy", "pkg", "pkg.first", "pkg.second", "pkg.starred", "pkg.starred.inner",
        "pkg.deep", "pkg.deep.leaf", "pkg.deep.other",
    }  # fmt: skip
    assert content.packages == {"numpy": version("numpy")}
    assert content.payload is None
    assert content.entry == "churn:churn"
    assert {name for name, unit in content.modules.items() if unit.is_package} == {"pkg", "pkg.starred", "pkg.deep"}


def test_modules_that_only_running_would_name_travel_with_their_package(project: Project) -> None:
    project.write(
        flow=FLOW,
        churn="from flow import Pipeline\nfrom models import find\n@Pipeline\ndef churn(): return find('tree')",
        models__init="""
            import importlib
            def find(name):
                return importlib.import_module(f"{__name__}.{name}").Model
        """,
        models__tree="class Model: pass",
        models__forest="from models.parts.bag import bag",
        models__parts__init="",
        models__parts__bag="bag = 1",
        elsewhere="",
    )
    assert {name for name in captured(project).modules if name.startswith("models")} == {
        "models", "models.tree", "models.forest", "models.parts", "models.parts.bag",
    }  # fmt: skip


def test_a_namespace_package_travels(project: Project) -> None:
    project.write(
        flow=FLOW, churn="from flow import Pipeline\nfrom team.tools import k\n@Pipeline\ndef churn(): return k()"
    )
    project.write(team__tools="def k(): return 1")
    content = captured(project)
    assert content.modules["team"].is_namespace
    assert not content.modules["team.tools"].is_namespace


def test_an_installed_module_travels_when_it_is_named(project: Project) -> None:
    project.write(flow=FLOW, churn="import click\nfrom flow import Pipeline\n@Pipeline\ndef churn(): return click")
    assert "click" not in captured(project).modules
    named = captured(project, first_party={"click"})
    assert "click.core" in named.modules
    assert "click" not in named.packages


def test_the_source_of_each_component_can_be_read(project: Project) -> None:
    project.write(
        parts="""
            from hpo_pipelines.component import component

            @component(outputs=("a", "b"))
            def split(x):
                # in two
                return x, x

            @component
            def unused(x):
                return x

            def helper(x):
                return late(x)

            @component
            def late(x): return x
        """,
        flow=FLOW,
        churn="""
            import parts
            from flow import Pipeline
            from hpo_pipelines.component import component

            @component
            def split(x):
                return x

            @Pipeline
            def churn(x=1):
                parts.split(x)
                return [parts.helper(y) for y in split(x)]
        """,
    )
    assert captured(project).components == {
        "split": '@component(outputs=("a", "b"))\ndef split(x):\n    # in two\n    return x, x\n',
        "churn.split": "@component\ndef split(x):\n    return x\n",
        "late": "@component\ndef late(x): return x\n",
    }


def test_what_travels_is_the_text_that_was_loaded(project: Project) -> None:
    project.write(flow=FLOW, churn="from flow import Pipeline\nfrom helper import k\n@Pipeline\ndef churn(): return k")
    project.write(helper="k = 'old'")
    before = captured(project)
    project.write(helper="k = 'new'")
    assert captured(project).digest == before.digest
    importlib.reload(project.module("helper"))
    after = captured(project)
    assert after.modules["helper"].source == "k = 'new'"
    assert after.digest != before.digest


def test_decoration_remembers_the_text_and_that_of_what_was_imported(project: Project) -> None:
    project.write(
        flow=f"from hpo_pipelines.snapshot import remember\n{FLOW}",
        churn="""
            import flow
            from pkg.helper import k
            class Pipeline(flow.Pipeline):
                def __init__(self, function):
                    flow.remember(function.__module__)
                    super().__init__(function)
            @Pipeline
            def churn(): return k, "old"
        """,
        pkg__init="",
        pkg__helper="from .deeper import k",
        pkg__deeper="k = 'old'",
    )
    churn = project.module("churn").churn
    (project.folder / "churn.py").unlink()
    project.write(pkg__deeper="k = 'new'")
    content = Content.decode(capture(churn).content)
    assert "old" in content.modules["churn"].source
    assert content.modules["pkg.deeper"].source == "k = 'old'"


@pytest.mark.parametrize("edit", ["x = 2", "# a comment"])
def test_other_sources_are_another_snapshot(project: Project, edit: str) -> None:
    project.write(flow=FLOW, churn="from flow import Pipeline\n@Pipeline\ndef churn(): return 1\n")
    before = captured(project)
    project.forget()
    project.write(churn=f"from flow import Pipeline\n@Pipeline\ndef churn(): return 1\n{edit}\n")
    assert captured(project).digest != before.digest


def test_a_folder_and_a_hash_seed_change_nothing(project: Project, tmp_path: Path) -> None:
    flow = f"""
import json, sys
from hpo_pipelines.snapshot import capture
{FLOW}
def show(pipeline):
    captured = capture(pipeline)
    print(json.dumps([captured.digest, captured.entry]))
"""
    script = """
        import flow, steps
        from flow import Pipeline

        def scale(x):
            return {"a", "b", x}

        def build(words):
            @Pipeline
            def inner(x=1):
                return scale(words), steps.fit(x)
            return inner

        flow.show(build({"one", "two", "three"}))
        flow.show(steps.churn)
    """
    steps = """
        from flow import Pipeline
        from leaves import a, b, c
        def fit(x): return x
        @Pipeline
        def churn(): return fit(1)
    """
    printed = []
    for seed in ("1", "2"):
        project.folder = tmp_path / seed
        project.write(flow=flow, steps=steps, leaves__init="", leaves__a="", leaves__b="", leaves__c="")
        printed.append([json.loads(line) for line in project.python(script, seed=seed).splitlines()])
    assert printed[0] == printed[1]
    assert [entry for _, entry in printed[0]] == ["__main__:build.<locals>.inner", "steps:churn"]


def test_what_a_pipeline_closes_over_is_part_of_it(project: Project, pipeline_of: Any) -> None:
    project.write(
        maker="""
            from tools import k
            def make(factor):
                def churn(x=1.0):
                    return k(x) * factor
                return churn
        """,
        tools="def k(x): return x",
    )
    make = project.module("maker").make
    two, three, again = (capture(pipeline_of(make(factor))) for factor in (2, 3, 2))
    assert two.digest != three.digest
    assert two.digest == again.digest
    content = Content.decode(two.content)
    assert content.payload is not None
    assert {"maker", "tools"} <= set(content.modules)


def test_the_options_of_components_without_a_module_count(project: Project) -> None:
    script = """
        from hpo_pipelines.component import component
        from hpo_pipelines.snapshot import capture
        from hpo_pipelines.types import Resources

        @component(resources=Resources(cpu=%d))
        def fit(x): return x

        class Pipeline:
            def __init__(self, function): self.function, self.name = function, function.__name__

        @Pipeline
        def churn(x=1): return fit(x)
        print(capture(churn).digest)
    """
    digests = [project.python(script % cpu) for cpu in (1, 2, 1)]
    assert digests[0] == digests[2] != digests[1]


def test_options_that_were_computed_count_by_what_they_came_to(project: Project, pipeline_of: Any) -> None:
    project.write(
        maker="""
            from hpo_pipelines.component import component
            def make(version):
                @component(environment={"packages": [f"torch=={version}"]})
                def fit(x): return x
                def churn(x=1): return fit(x)
                return churn
        """,
    )
    make = project.module("maker").make
    one, two, again = (capture(pipeline_of(make(version))) for version in ("2.1", "2.2", "2.1"))
    assert one.digest == again.digest != two.digest


def test_a_pipeline_out_of_a_snapshot_has_its_digest_already(project: Project) -> None:
    project.write(flow=FLOW, churn="from flow import Pipeline\n@Pipeline\ndef churn(): return 1")
    loaded = load_private(capture(project.module("churn").churn).content)
    with pytest.raises(CodeUnavailable, match="use that snapshot's digest"):
        capture(loaded.entry())


def test_content_survives_its_bytes(project: Project, pipeline_of: Any) -> None:
    project.write(maker="def make(n):\n    def churn(): return n\n    return churn")
    content = Content.decode(capture(pipeline_of(project.module("maker").make(1))).content)
    assert Content.decode(content.encode()) == content
    assert content.encode() == Content.decode(content.encode()).encode()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\x80\x05N.", b"nonsense"])
def test_bytes_that_are_no_snapshot_are_refused(data: bytes) -> None:
    with pytest.raises(CodeUnavailable, match="not a code snapshot"):
        Content.decode(data)


def test_a_later_format_is_refused(project: Project) -> None:
    project.write(flow=FLOW, churn="from flow import Pipeline\n@Pipeline\ndef churn(): return 1")
    record = json.loads(captured(project).encode())
    with pytest.raises(CodeUnavailable, match="Upgrade hpo_pipelines"):
        Content.decode(json.dumps({**record, "format": 99}).encode())


NOTEBOOK = [
    """
from __future__ import annotations
import threading
from dataclasses import dataclass
from tools import scale
lock = threading.Lock()
class Pipeline:
    def __init__(self, function): self.function, self.name = function, function.__name__
    def __call__(self, *args): return self.function(*args)
""",
    """
@dataclass
class Config:
    leaf: Leaf | None = None
    guard: lock = None
class Leaf: pass
class Model:
    def fit(self): raise ValueError(helper(1))
""",
    "def helper(x): return f'first {scale(x)}'",
    """
@Pipeline
def churn(config: Config = None):
    return Model().fit()
""",
]


@pytest.fixture
def cell(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Runs a cell of a notebook, which is what ``__main__`` is meanwhile."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    project.write(tools="def scale(x): return x")

    def run(text: str) -> dict[str, Any]:
        name = f"<ipython-input-{len(linecache.cache)}>"
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(True), name))
        exec(compile(text, name, "exec"), vars(main))
        return vars(main)

    return run


def test_the_cells_of_a_notebook_travel(project: Project, cell: Callable[[str], dict[str, Any]]) -> None:
    for text in NOTEBOOK:
        cell(text)
    churn = cell("")["churn"]
    before = capture(churn)
    assert capture(churn).digest == before.digest
    cell("def helper(x): return f'second {scale(x)}'")
    after = capture(churn)
    assert after.digest != before.digest
    script = """
        import traceback
        try:
            code.entry()()
        except ValueError as error:
            outputs["text"] = traceback.format_exc()
    """
    for content, said in ((before.content, "first 1"), (after.content, "second 1")):
        assert list(Content.decode(content).modules) == ["tools"]
        text = project.worker(content, script)["text"]
        assert f"ValueError: {said}" in text
        assert "def fit(self): raise ValueError(helper(1))" in text


def test_names_that_annotations_mention_travel_and_what_cannot_is_left_out(
    cell: Callable[[str], dict[str, Any]],
) -> None:
    for text in NOTEBOOK:
        cell(text)
    code = load_private(capture(cell("")["churn"]).content)
    space = code.entry().function.__globals__
    assert space is not vars(sys.modules["__main__"])
    assert {"Config", "Leaf", "dataclass", "Pipeline"} <= set(space)
    assert "lock" not in space
    assert space["Leaf"].__module__ == "__main__"


def test_a_script_under_python_m_keeps_its_name(project: Project) -> None:
    project.write(
        pkg__init="",
        pkg__helper="k = 1",
        pkg__flow=f"""{FLOW}
import sys
from hpo_pipelines.snapshot import capture
@Pipeline
def churn():
    from .helper import k
    return k
if __name__ == "__main__":
    sys.stdout.write(capture(churn).content.hex())
""",
    )
    script = "import runpy\nrunpy.run_module('pkg.flow', run_name='__main__', alter_sys=True)"
    content = bytes.fromhex(project.python(script))
    assert Content.decode(content).main == {"file": str(project.folder / "pkg" / "flow.py"), "module": "pkg.flow"}
    project.write(pkg__helper="k = 2")
    entry = load_private(content).entry()
    assert entry() == 1
    assert entry.function.__globals__["__spec__"].name == "pkg.flow"
