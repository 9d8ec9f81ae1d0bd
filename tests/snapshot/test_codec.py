"""Values that hold first-party code travel between a live process, a worker and a controller, in any direction."""

from __future__ import annotations

import io
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hpo_pipelines.errors import CodeUnavailable
from hpo_pipelines.snapshot import Code, capture, live, load_private

if TYPE_CHECKING:
    from conftest import Project

SHAPES = """
from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import typing

import leaves

class Plain:
    instances = []
    def __init__(self, x): self.x = x
    def method(self): return self.x + 1
    @classmethod
    def build(cls): return cls(5)
    @property
    def double(self): return self.x * 2
    class Inner:
        pass

class Slotted:
    __slots__ = ("a",)

@dataclasses.dataclass(frozen=True)
class Record:
    x: int
    kind: typing.ClassVar[str] = "record"
    next: "Record | None" = None

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Flags(enum.Flag):
    A = 1
    B = 2

class Point(typing.NamedTuple):
    x: int
    color: Color

Pair = collections.namedtuple("Pair", "a b")
T = typing.TypeVar("T")

class Box(typing.Generic[T]):
    pass

class Base(abc.ABC):
    @abc.abstractmethod
    def run(self): ...

class Child(Base):
    def run(self): return "child"

class Broken(ValueError):
    def __init__(self, code, detail):
        super().__init__(code, detail)
        self.code = code

class Keyword:
    def __init__(self, *, x): self.x = x
    def __reduce__(self): return functools.partial(Keyword, x=self.x), ()

def double(x): return x * 2

@functools.lru_cache
def cached(x): return x

class Wrapper:
    def __init__(self, function):
        functools.update_wrapper(self, function)
    def __call__(self, *args): return self.__wrapped__(*args)

@Wrapper
def wrapped(x): return x + 1

STATE = {"calls": 0}

def counter(start):
    def count(step=1, *, factor=1):
        from leaves import leaf
        STATE["calls"] += 1
        return start + step * factor * leaf(1)
    count.note = "kept"
    return count

def local_class():
    class Local:
        def value(self): return double(21)
    return Local

def make():
    local = local_class()
    loop = []
    loop.append(loop)
    return {
        "classes": [Plain, Plain.Inner, Record, Color, Point, Pair, Child, Broken, Box],
        "plain": Plain(1), "inner": Plain.Inner(), "record": Record(1, Record(2)), "point": Point(1, Color.RED),
        "pair": Pair(1, 2), "enum": [Color.BLUE, Flags.A | Flags.B], "child": Child(), "error": Broken(7, "x"),
        "keyword": Keyword(x=3), "functions": [double, cached, wrapped, leaves.leaf], "method": Plain(4).method,
        "unbound": Plain.method, "classmethod": Plain.build, "partial": functools.partial(double, 3),
        "local": local(), "local_class": local, "closure": counter(10), "lambda": lambda x: double(x) + 1,
        "module": leaves, "set": {Color.RED}, "keys": {Record(1): "one"}, "typevar": T, "generic": Box[int](),
        "loop": loop, "shared": [Plain(1)] * 2,
    }

def check(v):
    assert v["classes"] == [Plain, Plain.Inner, Record, Color, Point, Pair, Child, Broken, Box]
    assert type(v["plain"]) is Plain and v["plain"].double == 2
    assert type(v["inner"]) is Plain.Inner
    assert v["record"] == Record(1, Record(2)) and isinstance(v["record"], Record)
    assert v["point"] == Point(1, Color.RED) and type(v["point"]) is Point and v["point"].color is Color.RED
    assert type(v["pair"]) is Pair
    assert v["enum"][0] is Color.BLUE and v["enum"][1] == Flags.A | Flags.B
    assert isinstance(v["child"], Base) and v["child"].run() == "child"
    try:
        raise v["error"]
    except Broken as error:
        assert error.code == 7
    assert type(v["keyword"]) is Keyword and v["keyword"].x == 3
    assert v["functions"] == [double, cached, wrapped, leaves.leaf]
    assert v["method"]() == 5 and v["unbound"] is Plain.method
    assert type(v["classmethod"]()) is Plain and v["partial"]() == 6
    assert type(v["local"]) is v["local_class"] and v["local"].value() == 42
    calls = STATE["calls"]
    assert v["closure"]() == 11 and v["closure"](factor=3) == 13 and v["closure"].note == "kept"
    assert STATE["calls"] == calls + 2
    assert v["lambda"](3) == 7 and v["module"] is leaves
    assert v["set"] == {Color.RED} and v["keys"][Record(1)] == "one"
    assert v["typevar"] is T and type(v["generic"]) is Box
    assert v["loop"][0] is v["loop"] and v["shared"][0] is v["shared"][1]
    return "checked"
"""

SERVED = """
for name, data in inputs.items():
    outputs[name] = code.resolve("shapes", "check")(code.load(data))
outputs["made"] = code.dumps(code.resolve("shapes", "make")())
"""


@pytest.fixture
def content(project: Project) -> bytes:
    project.write(
        leaves="def leaf(x): return x",
        shapes=SHAPES,
        churn="""
            import shapes
            class Pipeline:
                def __init__(self, function):
                    self.function, self.name = function, function.__name__
                    self.__module__, self.__qualname__ = function.__module__, function.__qualname__
            @Pipeline
            def churn(): return shapes.make()
        """,
    )
    return capture(project.module("churn").churn).content


def made(code: Code) -> bytes:
    return code.dumps(code.resolve("shapes", "make")())


def checked(code: Code, data: bytes) -> Any:
    return code.resolve("shapes", "check")(code.load(data))


def test_every_writer_can_be_read_by_every_reader(project: Project, content: bytes) -> None:
    private = load_private(content)
    assert private.resolve("shapes", "Plain") is not live().resolve("shapes", "Plain")
    answers = project.worker(content, SERVED, live=made(live()), private=made(private))
    served = answers.pop("made")
    assert answers == {"live": "checked", "private": "checked"}
    for reader in (live(), private):
        for writer in (made(live()), made(private), served):
            assert checked(reader, writer) == "checked"


def test_a_pickle_can_be_read_without_a_snapshot_where_the_modules_are(content: bytes) -> None:
    assert checked(live(), made(load_private(content))) == "checked"
    assert live().resolve("shapes", "check")(pickle.loads(made(live()))) == "checked"


def test_equal_values_give_equal_bytes_whoever_writes_them(project: Project, content: bytes) -> None:
    value = '{"a": [shapes.Record(1), shapes.Color.RED, shapes.double], "b": shapes.Point(1, None)}'
    here = [code.dumps(eval(value, {"shapes": code.module("shapes")})) for code in (live(), load_private(content))]
    there = project.worker(content, f'import shapes\noutputs["x"] = code.dumps({value})')["x"]
    assert here == [there, there]


def test_big_buffers_stay_out_of_the_pickle(content: bytes) -> None:
    array = np.arange(100_000.0)
    for code in (live(), load_private(content)):
        file, buffers = io.BytesIO(), []
        code.dump({"x": array}, file, buffers.append)
        assert len(file.getvalue()) < 1000
        assert buffers[0].raw().nbytes == array.nbytes
        file.seek(0)
        back = code.load(file, buffers)["x"]
        assert np.shares_memory(back, array)


def test_what_has_no_module_here_says_so(content: bytes, project: Project) -> None:
    data = made(load_private(content))
    project.forget()
    (project.folder / "shapes.py").unlink()
    with pytest.raises(CodeUnavailable, match=r"shapes:\S+ cannot be imported in the code of this process"):
        live().load(data)


def test_a_name_that_is_gone_says_so(content: bytes, project: Project) -> None:
    data = load_private(content).dumps(load_private(content).resolve("shapes", "double"))
    del project.module("shapes").double
    with pytest.raises(CodeUnavailable, match="has no double in the code of this process"):
        live().load(data)


def test_what_cannot_be_pickled_raises_what_pickle_raises(content: bytes) -> None:
    for code in (live(), load_private(content)):
        with pytest.raises(TypeError, match="cannot pickle"):
            code.dumps(sys._getframe())


SCRIPT = """
import pickle, sys
from hpo_pipelines.snapshot import capture, component_locator, live, load_private

class Model:
    alpha = 1
    def __init__(self, x): self.x = x
    def __eq__(self, other): return isinstance(other, Model) and self.x == other.x

def fit(x): return Model(x)

class Component:
    def __init__(self, function):
        self.function, self.name = function, function.__name__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
    def __call__(self, *args): return self.function(*args)

fit = Component(fit)

@Component
def churn(x=1): return fit(x)

captured = capture(churn)
locator = component_locator(fit, live())
"""


def test_a_class_of_main_keeps_its_identity_from_worker_to_driver(project: Project, tmp_path: Any) -> None:
    told, answer = tmp_path / "script-told", tmp_path / "script-answer"
    # One driver process that hands its code to a worker process of its own and reads the worker's artifact.
    script = f"""
{SCRIPT}
import subprocess
worker = '''
import pickle, sys
from hpo_pipelines.snapshot import install
with open({str(told)!r}, "rb") as file:
    content, locator, value = pickle.load(file)
code = install(content)
first = code.load(value)
made = code.locate(locator)(3)
assert type(first) is type(made), "two classes in the worker"
assert code.locate(locator)(3) == made
assert code.entry()(3) == made
with open({str(answer)!r}, "wb") as file:
    file.write(code.dumps(made))
'''
from pathlib import Path
Path({str(told)!r}).write_bytes(pickle.dumps((captured.content, locator, live().dumps(Model(2)))))
subprocess.run([sys.executable, "-c", worker], check=True, cwd="/")
data = Path({str(answer)!r}).read_bytes()
made = live().load(data)
assert type(made) is Model and made == Model(3)
private = load_private(captured.content)
assert private.load(data) == private.entry()(3)
print("same")
    """
    assert project.python(script).strip() == "same"


def test_reading_a_value_never_turns_back_a_class_of_main(project: Project) -> None:
    script = f"""
{SCRIPT}
old = live().dumps(Model(1))
Model.alpha = 2
assert live().load(old).alpha == 2
print("kept")
    """
    assert project.python(script).strip() == "kept"


def test_a_worker_takes_newer_code_of_a_class_of_main_and_never_older(project: Project) -> None:
    script = f"""
{SCRIPT}
old = live().dumps(Model(1))
before = component_locator(fit, live())
Model.alpha = 2
after = component_locator(fit, live())
sys.stdout.write(pickle.dumps((captured.content, old, before, after)).hex())
    """
    content, old, before, after = pickle.loads(bytes.fromhex(project.python(script)))
    worker = """
        outputs["before"] = code.locate(inputs["before"])(1).alpha
        outputs["after"] = code.locate(inputs["after"])(1).alpha
        value = code.load(inputs["old"])
        outputs["value"] = value.alpha
        outputs["same"] = value == code.locate(inputs["after"])(1)
    """
    answers = project.worker(content, worker, old=old, before=before, after=after)
    assert answers == {"before": 1, "after": 2, "value": 2, "same": True}


def test_a_script_runs_again_when_its_file_is_gone(project: Project) -> None:
    script = f"""
{SCRIPT}
sys.stdout.write(captured.content.hex())
    """
    content = bytes.fromhex(project.python(script))
    (project.folder / "script.py").unlink()
    worker = """
import inspect, traceback
made = code.entry()(5)
outputs["x"] = made.x
outputs["source"] = inspect.getsource(type(made).__eq__)
"""
    answers = project.worker(content, worker)
    assert answers["x"] == 5
    assert "isinstance(other, Model)" in answers["source"]
    assert load_private(content).entry()(6).x == 6
