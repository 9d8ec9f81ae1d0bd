"""A worker process runs the code of a snapshot under its own module names, and nothing else."""

from __future__ import annotations

import importlib.resources
import inspect
import json
import linecache
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hpo_pipelines.errors import CodeUnavailable
from hpo_pipelines.snapshot import Content, capture, install, load_private, loaded, serving

if TYPE_CHECKING:
    from conftest import Project

CHURN = """
class Pipeline:
    def __init__(self, function):
        self.function, self.name = function, function.__name__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
    def __call__(self, *args): return self.function(*args)

@Pipeline
def churn(*args):
"""


def content_of(project: Project, body: str, **modules: str) -> bytes:
    project.write(churn=CHURN + "".join(f"    {line}\n" for line in body.splitlines()), **modules)
    return capture(project.module("churn").churn).content


@pytest.fixture
def _worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes this process a worker, and an ordinary process again."""
    monkeypatch.setattr(serving, "_served", None)
    monkeypatch.setattr(loaded, "_serving", False)
    monkeypatch.setattr(loaded, "_memories", {})
    yield
    if serving._served is not None:
        serving._served.stop()


@pytest.mark.usefixtures("_worker")
def test_a_process_takes_one_snapshot_after_another(project: Project) -> None:
    body = "from team import ours\nimport pkg.leaf\nreturn pkg.leaf.k, ours.k"
    contents = []
    for k in (1, 2):
        contents.append(content_of(project, body, team__ours=f"k = {k}", pkg__init="", pkg__leaf=f"k = {k}"))
        project.forget()
    before = (len(sys.meta_path), len(sys.path_hooks), len(linecache.cache))
    codes = [install(contents[0])]
    assert codes[0].entry()() == (1, 1)
    assert install(contents[0]) is codes[0]
    code = install(contents[1])
    assert code is not codes[0]
    assert code.digest != codes[0].digest
    assert code.entry()() == (2, 2)
    # A pickle of the code that is served; what else there is comes from the process.
    value = code.load(code.dumps([code.resolve("pkg.leaf", "k"), code.module("json"), code.entry()]))
    assert value == [2, json, code.entry()]
    assert code.owns("pkg")
    assert not code.owns("json")
    assert inspect.getsource(sys.modules["pkg.leaf"]) == "k = 2"
    assert "snapshot" in str(code)
    assert serving._served is not None
    serving._served.stop()
    serving._served = None
    assert (len(sys.meta_path), len(sys.path_hooks), len(linecache.cache)) == before
    assert not {"churn", "pkg", "pkg.leaf", "team", "team.ours"} & set(sys.modules)


@pytest.mark.usefixtures("_worker")
def test_the_loader_answers_what_tools_ask(project: Project) -> None:
    content = content_of(project, "import pkg.leaf, team.ours", pkg__init="x = 1", pkg__leaf="", team__ours="")
    (project.folder / "pkg" / "data.txt").write_text("data")
    install(content).entry()()
    pkg, team = sys.modules["pkg"], sys.modules["team"]
    assert pkg.__loader__.get_source("pkg") == "x = 1"
    assert pkg.__loader__.get_filename("pkg") == str(project.folder / "pkg" / "__init__.py")
    assert pkg.__loader__.is_package("pkg")
    assert pkgutil.get_data("pkg", "data.txt") == b"data"
    assert importlib.resources.files("pkg").joinpath("data.txt").read_text() == "data"
    assert [info.name for info in pkgutil.iter_modules(pkg.__path__, "pkg.")] == ["pkg.leaf"]
    assert not hasattr(team, "__file__") or team.__file__ is None
    importlib.invalidate_caches()


def test_a_worker_runs_modules_that_exist_nowhere_else(project: Project) -> None:
    content = content_of(
        project,
        "import pkg.inner.leaf as leaf\nfrom pkg import ring\nfrom helper import k\nreturn [leaf.x, ring.a(), k]",
        helper="k = 'late'",
        pkg__init="from .inner import leaf",
        pkg__inner__init="",
        pkg__inner__leaf="x = 'leaf'",
        pkg__ring="from . import round\ndef a(): return round.b()",
        pkg__round="from pkg import ring\ndef b(): return ring.__name__",
    )
    for file in project.folder.rglob("*.py"):
        file.unlink()
    assert project.worker(content, 'outputs["got"] = code.entry()()')["got"] == ["leaf", "pkg.ring", "late"]


def test_errors_show_the_lines_that_ran(project: Project) -> None:
    content = content_of(project, "import helper\nhelper.fail()", helper="def fail():\n    raise ValueError('ran')\n")
    project.write(helper="# edited\n\n\n")
    script = """
        import inspect, traceback
        try:
            code.entry()()
        except ValueError:
            outputs["text"] = traceback.format_exc()
        import helper
        outputs["source"] = inspect.getsource(helper.fail)
        outputs["file"] = helper.__file__
    """
    answers = project.worker(content, script)
    assert "raise ValueError('ran')" in answers["text"]
    assert answers["source"] == "def fail():\n    raise ValueError('ran')\n"
    assert answers["file"] == str(project.folder / "helper.py")


def test_a_worker_serves_one_snapshot_at_a_time(project: Project) -> None:
    first = content_of(project, "import helper\nreturn helper.k", helper="k = 1", only="")
    project.forget()
    second = content_of(project, "import helper\nreturn helper.k", helper="k = 2")
    script = """
        import sys
        from hpo_pipelines.snapshot import install
        outputs["first"] = code.entry()()
        outputs["same"] = install(inputs["first"]) is code
        other = install(inputs["second"])
        outputs["loaded"] = [name for name in sys.modules if name in ("churn", "helper")]
        outputs["second"] = other.entry()()
        outputs["again"] = install(inputs["first"]).entry()()
        outputs["finders"] = sum(type(finder).__name__ == "ServedCode" for finder in sys.meta_path)
        outputs["hooks"] = sum(type(hook).__name__ == "Shelves" for hook in sys.path_hooks)
    """
    assert project.worker(first, script, first=first, second=second) == {
        "first": 1, "same": True, "loaded": [], "second": 2, "again": 1, "finders": 1, "hooks": 1,
    }  # fmt: skip


def test_modules_that_the_worker_imported_itself_give_way(project: Project) -> None:
    content = content_of(project, "import helper, pkg\nreturn helper.k, pkg.k", helper="k = 1", pkg__init="k = 1")
    project.write(helper="k = 2", pkg__init="k = 2", pkg__more="")
    script = """
        import sys
        sys.path.insert(0, inputs["folder"])
        import helper, pkg.more
        assert helper.k == 2
        from hpo_pipelines.snapshot import install
        code = install(inputs["taken"])
        outputs["got"] = code.entry()()
        outputs["left"] = "pkg.more" in sys.modules
    """
    answers = project.worker(None, script, taken=content, folder=str(project.folder))
    assert answers == {"got": (1, 1), "left": False}


def test_a_package_is_what_was_captured_and_data_beside_it(project: Project) -> None:
    content = content_of(
        project,
        "import models\nreturn models.names(), models.data(), models.resource()",
        models__init="""
            import importlib, importlib.resources, pkgutil
            from pathlib import Path
            def names():
                found = [info.name for info in pkgutil.iter_modules(__path__)]
                return [importlib.import_module(f"models.{name}").k for name in found]
            def data():
                return pkgutil.get_data("models", "data.txt"), (Path(__file__).parent / "data.txt").read_text()
            def resource():
                return importlib.resources.files("models").joinpath("data.txt").read_text()
        """,
        models__tree="k = 'tree'",
    )
    (project.folder / "models" / "data.txt").write_text("data")
    project.write(models__tree="k = 'newer'", models__added="k = 'added'")
    script = """
        import sys
        sys.path.insert(0, inputs["folder"])
        outputs["got"] = code.entry()()
        try:
            import models.added
        except ModuleNotFoundError as error:
            outputs["refused"] = error.name
    """
    answers = project.worker(content, script, folder=str(project.folder))
    assert answers == {"got": (["tree"], (b"data", "data"), "data"), "refused": "models.added"}


def test_a_namespace_is_shared_with_what_is_installed_there(project: Project) -> None:
    content = content_of(
        project, "from team import ours\nimport team.theirs\nreturn ours.k, team.theirs.k", team__ours="k = 1"
    )
    installed = project.folder.parent / "installed"
    (installed / "team").mkdir(parents=True)
    (installed / "team" / "theirs.py").write_text("k = 2")
    script = """
        import sys
        sys.path.append(inputs["folder"])
        outputs["got"] = code.entry()()
    """
    assert project.worker(content, script, folder=str(installed))["got"] == (1, 2)


def test_decorating_in_a_worker_remembers_nothing(project: Project) -> None:
    content = content_of(
        project, "from hpo_pipelines.snapshot import loaded\nloaded.remember('churn')\nreturn len(loaded._memories)"
    )
    assert project.worker(content, 'outputs["got"] = code.entry()()')["got"] == 0


def test_an_inner_function_shares_the_names_of_its_module(project: Project) -> None:
    content = content_of(
        project,
        "from tools import make\nreturn make()",
        tools="""
            calls = []
            def make():
                def count():
                    calls.append(1)
                    return len(calls)
                return count
        """,
    )
    script = """
        count = code.load(code.dumps(code.entry()()))
        count()
        import tools
        tools.make()()
        outputs["calls"] = count()
    """
    assert project.worker(content, script)["calls"] == 3


@pytest.mark.parametrize("python", ["3.9.1", "3.10.4"])
def test_bytecode_of_another_python_is_refused(project: Project, python: str) -> None:
    content = Content.decode(content_of(project, "return 1"))
    other = replace(content, digest=python, payload=b"N.", python=python)
    with pytest.raises(CodeUnavailable, match=rf"bytecode of Python {python.rpartition('.')[0]},"):
        load_private(other.encode()).entry()
