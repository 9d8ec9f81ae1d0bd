"""Old code runs beside newer code of the same names, in one process."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import linecache
import sys
import sysconfig
import threading
import traceback
import typing
import weakref
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.snapshot import capture, component_locator, live, load_private
from hpo_pipelines.snapshot.names import PrivateName

if TYPE_CHECKING:
    from conftest import Project

FLOW = """
class Pipeline:
    def __init__(self, function):
        self.function, self.name = function, function.__name__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
    def __call__(self, *args): return self.function(*args)
"""


def snapshot(project: Project, body: str = "return None", **modules: str) -> bytes:
    """A snapshot of a pipeline with ``body`` in module ``churn``, then forgotten by this process."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    project.write(flow=FLOW, churn=f"from flow import Pipeline\n@Pipeline\ndef churn(*args):\n{lines}", **modules)
    content = capture(project.module("churn").churn).content
    project.forget()
    return content


def private_names() -> list[str]:
    return [name for name in list(sys.modules) if type(name) is PrivateName]


def test_old_code_runs_after_its_files_were_edited_and_deleted(project: Project) -> None:
    content = snapshot(project, "import helper\nfrom late import x\nreturn helper.k + x", helper="k = 1", late="x = 10")
    project.write(helper="k = 2")
    (project.folder / "late.py").unlink()
    (project.folder / "churn.py").unlink()
    code = load_private(content)
    assert code.entry()() == 11
    assert project.module("helper").k == 2
    assert not {"churn", "late"} & {name for name in sys.modules if type(name) is str}


def test_two_versions_live_in_one_process(project: Project) -> None:
    body = "from features import Scaler\nreturn Scaler(args[0])"
    source = """
class Scaler:
    version = {}
    def __init__(self, x): self.x = x
    def out(self): return self.x * self.version
"""
    contents = [snapshot(project, body, features=source.format(version)) for version in (1, 2, 3)]
    codes = [load_private(content) for content in contents]
    made = [code.entry()(10) for code in [*codes, live_code(project)]]
    assert [scaler.out() for scaler in made] == [10, 20, 30, 30]
    assert len({type(scaler) for scaler in made}) == 4
    # What the worker of one wrote, each reads as its own.
    data = codes[0].dumps(made[0])
    assert [code.load(data).out() for code in codes] == [10, 20, 30]
    assert [type(code.load(data)) for code in codes] == [type(scaler) for scaler in made[:3]]


def live_code(project: Project) -> Any:
    class Live:
        def entry(self) -> Any:
            return project.module("churn").churn

    return Live()


def test_a_snapshot_is_loaded_once(project: Project) -> None:
    content = snapshot(project)
    assert load_private(content) is load_private(content)


IMPORTS = {
    "plain": "import pkg.sub.leaf\nreturn pkg.sub.leaf.x",
    "renamed": "import pkg.sub.leaf as leaf\nreturn leaf.x",
    "submodule": "from pkg.sub import leaf\nreturn leaf.x",
    "name": "from pkg.sub.leaf import x\nreturn x",
    "relative": "from pkg import relative\nreturn relative.x",
    "relative at call time": "from pkg import relative\nreturn relative.late()",
    "circle": "from pkg import ring\nreturn ring.a()",
    "circle renamed": "import pkg.left as left\nreturn left.look()",
    "star": "import pkg.starred as starred\nreturn starred.leaf.x",
    "import_module": "import importlib\nreturn importlib.import_module('pkg.sub.leaf').x",
    "import_module relative": "from pkg import relative\nreturn relative.dynamic()",
    "import_module imported": "from importlib import import_module\nreturn import_module('pkg.sub.leaf').x",
    "importlib stays whole": "import importlib.util as u, json\nimport importlib\n"
    "return 'old' if u.find_spec('json') and importlib.import_module('json') is json else 'shadowed'",
    "__import__": "return __import__('pkg.sub.leaf').sub.leaf.x",
    "own module": "import sys\nimport pkg\nreturn getattr(sys.modules[pkg.__name__], 'sub').leaf.x if pkg.sub else 0",
    "exec": "import pkg.sub.leaf\nnames = {}\nexec('from pkg.sub.leaf import x', names)\nreturn names['x']",
    "namespace": "import team.ours\nreturn team.ours.x",
    "plug-ins": "import plugins\nreturn plugins.all()[0].x",
    "inside a class": "class Local:\n    from pkg.sub.leaf import x\nreturn Local.x",
    "installed": "import json, os.path as p\nfrom xml import dom\nreturn p.basename('a/old') if json and dom else 0",
}


@pytest.mark.parametrize("kind", IMPORTS)
def test_imports_find_the_snapshots_modules(project: Project, kind: str) -> None:
    modules = {
        "pkg__init": "from pkg.sub import leaf as _leaf\nimport pkg.sub",
        "pkg__sub__init": "",
        "pkg__sub__leaf": "x = 'old'",
        "pkg__relative": """
            import importlib
            from .sub.leaf import x
            from . import sub
            def late():
                from .sub import leaf
                from .sub.leaf import x
                return leaf.x
            def dynamic():
                return importlib.import_module(".sub.leaf", __package__).x
        """,
        "pkg__ring": "from pkg import round\ndef a(): return round.b()\nfrom pkg.sub.leaf import x",
        "pkg__round": "from . import ring\ndef b(): return ring.x",
        "pkg__left": "import pkg.right as right\nx = 'old'\ndef look(): return right.look()",
        "pkg__right": "import pkg.left as left\ndef look(): return left.x",
        "pkg__starred": "from pkg.sub import *",
        "team__ours": "x = 'old'",
        "plugins__init": """
            import importlib, pkgutil
            def all():
                return [importlib.import_module(f"plugins.{m.name}") for m in pkgutil.iter_modules(__path__)]
        """,
        "plugins__one": "x = 'old'",
    }
    modules["pkg__sub__init"] = "__all__ = ['leaf']"
    content = snapshot(project, IMPORTS[kind], **modules)
    for name, text in modules.items():
        project.write(**{name: text.replace("'old'", "'new'")})
    project.write(plugins__added="x = 'added'")
    assert load_private(content).entry()() == "old"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("import pkg.absent", ModuleNotFoundError, "No module named 'pkg.absent'"),
        ("from pkg import absent", ImportError, "cannot import name 'absent' from 'pkg'"),
        ("import pkg; pkg.dynamic('added')", ModuleNotFoundError, "No module named 'pkg.added'"),
        ("import nowhere_to_be_found", ModuleNotFoundError, "No module named 'nowhere_to_be_found'"),
        ("from ...beyond import x", ImportError, "relative import"),
    ],
)
def test_imports_that_fail(project: Project, body: str, error: type[Exception], message: str) -> None:
    content = snapshot(project, body, pkg__init="def dynamic(name):\n    __import__('pkg.' + name)")
    project.write(pkg__added="")
    with pytest.raises(error, match=message):
        load_private(content).entry()()


def test_a_module_that_fails_can_be_tried_again(project: Project) -> None:
    content = snapshot(
        project,
        "import pkg.fragile as fragile\nreturn fragile.x",
        pkg__init="",
        pkg__fragile="import os\nx = os.environ['FRAGILE']",
    )
    code = load_private(content)
    with pytest.raises(KeyError, match="FRAGILE"):
        code.entry()()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAGILE", "1")
        assert code.entry()() == "1"


TYPES = """
from __future__ import annotations
import collections, dataclasses, enum, sys, typing
from dataclasses import InitVar, KW_ONLY, dataclass, field
from typing import ClassVar, NamedTuple, TypedDict

@dataclass
class Record:
    x: int
    shared: ClassVar[int] = 3
    start: InitVar[int] = 0
    _: KW_ONLY
    next: Record | None = None
    dotted: typing.ClassVar[list] = []
    init: dataclasses.InitVar[int] = 0
    def __post_init__(self, start, init): self.x += start + init

@dataclass(frozen=True, slots=True)
class Slotted:
    x: Color

class Color(enum.Enum):
    RED = enum.auto()

Functional = enum.Enum("Functional", "A B")

class Point(NamedTuple):
    x: Color
    y: int = 0

class Row(TypedDict):
    a: Point

Pair = collections.namedtuple("Pair", "a b")

def annotated(a: Record, b: "Color") -> Row: ...

def late():
    @dataclass
    class Late:
        x: ClassVar[int] = 1
        y: int = 2
    return Late
"""


def test_classes_that_ask_for_their_module_get_it(project: Project) -> None:
    content = snapshot(project, "import shapes", shapes=TYPES)
    project.write(shapes="class Record: pass\nclass Color: pass")
    project.module("shapes")
    code = load_private(content)
    shapes = code.module("shapes")
    assert shapes.Record(1, 10, init=100).x == 111
    assert [field.name for field in dataclasses.fields(shapes.Record)] == ["x", "next"]
    assert typing.get_type_hints(shapes.Record)["next"] == shapes.Record | None
    assert typing.get_type_hints(shapes.Point) == {"x": shapes.Color, "y": int}
    assert typing.get_type_hints(shapes.Row) == {"a": shapes.Point}
    assert typing.get_type_hints(shapes.annotated) == {"a": shapes.Record, "b": shapes.Color, "return": shapes.Row}
    assert shapes.Slotted(shapes.Color.RED).x is shapes.Color.RED
    assert shapes.late()().y == 2
    values = [
        shapes.Record(1),
        shapes.Slotted(1),
        shapes.Functional.A,
        shapes.Point(shapes.Color.RED),
        shapes.Pair(1, 2),
    ]
    back = code.load(code.dumps(values))
    assert back == values
    assert [type(value) for value in back] == [type(value) for value in values]


def test_names_read_like_the_plain_ones(project: Project) -> None:
    content = snapshot(
        project, "import shapes", shapes="class Model: pass\ndef f(): return __name__, __package__, __file__"
    )
    shapes = load_private(content).module("shapes")
    assert shapes.Model.__module__ == "shapes"
    assert f"{shapes.Model.__module__}.{shapes.Model.__qualname__}" == "shapes.Model"
    assert repr(shapes.Model) == "<class 'shapes.Model'>"
    assert shapes.f() == ("shapes", "", str(project.folder / "shapes.py"))
    assert "shapes" not in sys.modules


def test_a_module_reaches_itself_through_sys_modules(project: Project) -> None:
    content = snapshot(
        project,
        "import settings\nreturn settings.change(), settings.value",
        settings="""
            import sys
            value = 1
            other = 1
            this = sys.modules[__name__]
            def change():
                this.value = 2
                setattr(sys.modules[__name__], "added", 3)
                del this.other
                return this.added, "other" in globals(), this.__name__
        """,
    )
    assert load_private(content).entry()() == ((3, False, "settings"), 2)


def test_a_module_may_put_something_else_in_its_place(project: Project) -> None:
    content = snapshot(
        project,
        "import settings\nfrom settings import other\nreturn settings.value, other",
        settings="""
            import sys
            class Settings:
                value = 1
                other = 2
            sys.modules[__name__] = Settings()
        """,
    )
    assert load_private(content).entry()() == (1, 2)
    assert "settings" not in sys.modules
    assert project.worker(content, 'outputs["got"] = code.entry()()')["got"] == (1, 2)


def test_tracebacks_and_sources_are_those_of_their_version(project: Project) -> None:
    source = "class Model:\n    def fit(self):\n        raise ValueError('version {}')\n"
    contents = [snapshot(project, "import model\nmodel.Model().fit()", model=source.format(n)) for n in (1, 2)]
    codes = [load_private(content) for content in contents]
    project.write(model="# gone")
    for number, code in enumerate(codes, 1):
        with pytest.raises(ValueError, match=f"version {number}") as caught:
            code.entry()()
        assert f"raise ValueError('version {number}')" in "".join(traceback.format_exception(caught.value))
        model = code.module("model").Model
        assert f"version {number}" in inspect.getsource(model)
        assert f"version {number}" in inspect.getsource(model.fit)


def test_functions_by_value_import_from_their_snapshot(project: Project) -> None:
    inner = """
        k = 'old inner'
        def make():
            def f():
                from helper import k as other
                return k, other
            return f
    """
    project.write(helper="k = 'old'", inner=inner)
    script = f"""
import sys
from hpo_pipelines.snapshot import capture
import inner
{FLOW}
class Base:
    def deep(self):
        from helper import k
        def deeper():
            import helper
            return k, helper.k
        return deeper()

built = inner.make()

@Pipeline
def churn():
    import helper
    import importlib
    return helper.k, Base().deep(), built(), importlib.import_module("helper").k
sys.stdout.write(capture(churn).content.hex())
"""
    content = bytes.fromhex(project.python(script))
    project.write(helper="k = 'new'", inner="k = 'new inner'")
    project.module("helper")
    project.module("inner")
    assert load_private(content).entry()() == ("old", ("old", "old"), ("old inner", "old"), "old")


def test_locators_made_of_private_code_lead_a_worker(project: Project) -> None:
    content = snapshot(
        project,
        "import parts\nreturn [parts.fit, parts.make(3)]",
        parts="""
            from flow import Pipeline as Component
            @Component
            def fit(x): return x
            def make(n):
                @Component
                def inner(x):
                    import parts
                    return parts.fit(x) * n
                return inner
        """,
    )
    code = load_private(content)
    named, nameless = (component_locator(component, code) for component in code.entry()())
    assert (named.module, named.qualname, named.payload) == ("parts", "fit", None)
    assert nameless.payload is not None
    assert len({named.digest, nameless.digest}) == 2
    assert code.locate(named) is code.module("parts").fit
    assert code.locate(nameless)(2) == 6
    script = 'outputs["got"] = [code.locate(locator)(2) for locator in inputs["locators"]]'
    assert project.worker(content, script, locators=[named, nameless])["got"] == [2, 6]


def test_code_goes_when_nobody_runs_it(project: Project) -> None:
    other = snapshot(project, "return 2")
    content = snapshot(project, "import pkg.leaf\nreturn 1", pkg__init="", pkg__leaf="class Model: pass")
    gc.collect()
    load_private(other)
    gc.collect()
    before, hooks, lines = private_names(), len(sys.path_hooks), len(linecache.cache)
    entry = load_private(content).entry()
    assert entry() == 1
    gc.collect()
    assert entry() == 1
    leaf = next(name for name in private_names() if name == "pkg.leaf")
    alive = weakref.ref(vars(sys.modules[leaf])["Model"])
    del entry
    gc.collect()
    assert alive() is None
    assert not hasattr(sys.modules[leaf], "Model")
    # What is left in the process goes when the next snapshot comes.
    load_private(other)
    assert "pkg.leaf" not in private_names()
    assert len(private_names()) == len(before)
    assert (len(sys.path_hooks), len(linecache.cache)) == (hooks, lines)


def test_collecting_old_code_never_changes_what_somebody_walks_over(project: Project) -> None:
    contents = [snapshot(project, f"import helper\nreturn {n}", helper="") for n in range(3)]
    for content in contents:
        load_private(content).entry()()
        for _ in sys.modules:
            gc.collect(0)
    for _ in sys.modules:
        gc.collect()
        break


def test_no_thread_sees_a_module_half_loaded(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    gate: Any = ModuleType("gate_of_the_test")
    gate.entered, gate.go = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, gate.__name__, gate)
    content = snapshot(
        project,
        "from slow import x\nreturn x",
        slow=f"import {gate.__name__} as gate\ngate.entered.set()\nassert gate.go.wait(20)\nx = 1",
    )
    entry = load_private(content).entry()
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(entry())) for _ in range(2)]
    threads[0].start()
    assert gate.entered.wait(20)
    threads[1].start()
    threads[1].join(0.05)
    assert seen == []
    gate.go.set()
    for thread in threads:
        thread.join(20)
    assert seen == [1, 1]


def test_a_compiled_module_of_the_project_is_found_beside_its_package(project: Project) -> None:
    folder = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    suffix, compiled = next(
        (suffix, found) for suffix in EXTENSION_SUFFIXES for found in folder.glob(f"_heapq{suffix}")
    )
    (project.folder / "pkg").mkdir()
    (project.folder / "pkg" / f"_heapq{suffix}").write_bytes(compiled.read_bytes())
    content = snapshot(
        project, "from pkg import _heapq\nreturn _heapq.heappop([1, 2])", pkg__init="from . import _heapq"
    )
    assert load_private(content).entry()() == 1
    assert project.worker(content, 'outputs["got"] = code.entry()()')["got"] == 1


def test_the_real_decorators_work_in_private_modules(project: Project) -> None:
    project.write(
        churn="""
            from hpo_pipelines.component import component
            from hpo_pipelines.pipeline import pipeline

            @component
            def fit(x: float) -> float:
                return x * 2

            @pipeline(project="test")
            def churn(x: float = 1.0):
                return fit(x)
        """
    )
    churn = project.module("churn").churn
    content = capture(churn).content
    code = load_private(content)
    old = code.entry()
    assert type(old) is type(churn)
    assert old is not churn
    assert (old(4.0), old.name, old.project) == (8.0, "churn", "test")
    fit = code.module("churn").fit
    assert component_locator(fit, code) == component_locator(project.module("churn").fit, live())
    assert live().load(code.dumps(fit)) is project.module("churn").fit


FINGERPRINTED = """
from dataclasses import dataclass
from hpo_pipelines.component import component
import helper

@dataclass
class Config:
    depth: int = helper.DEPTH

@component
def fit(x: float, config: Config = Config()) -> float:
    from late import scale
    return scale(helper.double(x)) * config.depth
"""


def test_old_code_has_the_fingerprint_that_it_had_when_it_was_live(project: Project) -> None:
    project.write(helper="DEPTH = 3\ndef double(x): return x * 2", late="def scale(x): return x", parts=FINGERPRINTED)
    content = snapshot(project, "import parts\nreturn parts.fit(*args)")
    live_digest = code_fingerprint(project.module("parts").fit).digest
    project.forget()
    project.write(late="def scale(x): return -x")
    assert code_fingerprint(project.module("parts").fit).digest != live_digest
    code = load_private(content)
    found = code_fingerprint(code.module("parts").fit)
    assert found.problems == ()
    assert found.digest == live_digest
    assert code.module("parts").fit(2.0) == 12.0


def test_a_script_has_the_fingerprint_that_it_had_when_it_ran(project: Project) -> None:
    project.write(helper="DEPTH = 3\ndef double(x): return x * 2", late="def scale(x): return x")
    script = f"""{FINGERPRINTED}
import sys
from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.pipeline import pipeline
from hpo_pipelines.snapshot import capture

@pipeline
def churn(x: float = 1.0):
    return fit(x)

sys.stdout.write(code_fingerprint(fit).digest + " " + capture(churn).content.hex())
"""
    digest, content = project.python(script).split()
    project.write(late="def scale(x): return -x")
    later = f"""
from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.snapshot import load_private
churn = load_private(bytes.fromhex({content!r})).entry()
found = code_fingerprint(churn.function.__globals__["fit"])
print(found.digest, found.problems, churn(2.0))
"""
    assert project.python(later) == f"{digest} () 12.0\n"


def test_what_annotations_of_a_script_mention_is_there(project: Project) -> None:
    script = f"""
from __future__ import annotations
import dataclasses, sys, threading
from dataclasses import dataclass, field
from hpo_pipelines.snapshot import capture
{FLOW}
@dataclass
class Leaf:
    x: int = 0

@dataclass
class Config:
    leaf: Leaf | None = None
    event: threading.Event | None = None
    words: list[str] = field(default_factory=list)

lock = threading.Lock()

@Pipeline
def churn(config: Config | None = None, unpicklable: lock = None) -> Leaf:
    return dataclasses.replace(config or Config(), words=["a"])
sys.stdout.write(capture(churn).content.hex())
"""
    code = load_private(bytes.fromhex(project.python(script)))
    churn = code.entry()
    config = type(churn())
    assert churn() == config(words=["a"])
    leaf = churn.function.__globals__["Leaf"]
    assert typing.get_type_hints(config) == {
        "leaf": leaf | None, "event": threading.Event | None, "words": list[str],
    }  # fmt: skip
    assert churn.function.__annotations__["return"] == "Leaf"
    assert dataclasses.is_dataclass(churn.function.__globals__["Leaf"])
    assert [f.default_factory is dataclasses.MISSING for f in dataclasses.fields(config)] == [True, True, False]
    # Not this process's own.
    assert not hasattr(sys.modules["__main__"], "Leaf")
