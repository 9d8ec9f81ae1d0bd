# ruff: noqa: E501 (a table: one edit to a line)
"""Edits, one each, with what they do to the digest: before and after lie in two folders, as two checkouts would."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hpo_pipelines.fingerprint import CodeFingerprint, code_fingerprint

PROJECT = {
    "pyproject.toml": "[project]\n",
    "settings.py": """
import os
from pathlib import Path
HERE = Path(__file__).parent
DATA = os.path.join(os.path.dirname(__file__), "data")
RATE = 0.5
WEIGHTS = {"a": [1.0, 2.0], "b": [3.0]}
UNUSED = 1
""",
    "pkg/__init__.py": "from .deep import deepest\n",
    "pkg/deep.py": '''
import math

def deepest(x):
    """Two modules away."""
    return math.floor(x) + OFFSET

OFFSET = 3
''',
    "pkg/shapes.py": '''
from dataclasses import dataclass, field
from enum import Enum
from abc import ABC, abstractmethod

class Color(Enum):
    RED = 1
    BLUE = 2

def empty():
    return [0]

@dataclass(frozen=True)
class Config:
    """A config."""
    width: int = 4
    names: list = field(default_factory=empty)

class Base(ABC):
    bias = 1

    @abstractmethod
    def run(self, x): ...

    def shared(self, x):
        return x + self.bias

class Model(Base):
    def __init__(self, config):
        self.config = config

    def run(self, x):
        return self.shared(x) * self.scale

    @property
    def scale(self):
        return self.config.width

    @staticmethod
    def make():
        return Model(Config())

    def unused_by_anyone(self):
        return "unused"
''',
    "features.py": """
import functools
import settings
from pkg import deepest
from settings import RATE as rate

def logged(label):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)
        return wrapper
    return decorate

@logged("scale")
def scale(x, by=rate):
    # A comment.
    total = x * by
    return deepest(total) * settings.RATE

def power(x, exponent):
    return x ** exponent

square = functools.partial(power, exponent=2)

def double(x):
    return 2 * x

STEPS = {"double": double, "negate": lambda x: -x, "twice": [double, abs]}

def even(n):
    return True if n == 0 else odd(n - 1)

def odd(n):
    return False if n == 0 else even(n - 1)

def adder(amount):
    def add(x):
        return x + amount
    return add

add_five = adder(5)

@functools.lru_cache(maxsize=8)
def cached(x):
    return x + 1

def unused(x):
    return x
""",
    "lazy.py": """
def later(x):
    return x + 100
""",
    "train.py": '''
from hpo_pipelines import Cache, component
import numpy as np
import features
from pkg.shapes import Color, Model
from settings import WEIGHTS, HERE, DATA

LIMIT = 10

@component(outputs=("a", "b"), timeout=60)
def fit(data, lr=0.1, *, mode="fast"):
    """The docstring."""
    from lazy import later
    model = Model.make()
    values = [features.scale(value) for value in data]
    first = features.STEPS[mode](model.run(values[0]))
    if features.even(len(values)) and Color.RED.value < LIMIT:
        first = features.square(features.add_five(first)) + features.cached(1)
    return later(first), np.sqrt(lr) + WEIGHTS["a"][0], (HERE, DATA)
''',
}

MISS, HIT = False, True

EDITS: list[tuple[str, str, str, str, bool, str]] = [
    # name, file, old, new, verdict, the part that differs
    ("comment in a helper", "features.py", "# A comment.", "# Another.", HIT, ""),
    ("comment removed", "features.py", "    # A comment.\n", "", HIT, ""),
    ("docstring of the component", "train.py", '"""The docstring."""', '"""Other."""', HIT, ""),
    ("docstring removed", "train.py", '    """The docstring."""\n', "", HIT, ""),
    ("docstring two modules away", "pkg/deep.py", "Two modules away", "Far away", HIT, ""),
    ("docstring of a class", "pkg/shapes.py", '    """A config."""\n', "", HIT, ""),
    ("reformat", "features.py", "total = x * by", "total = (x\n             * by)", HIT, ""),
    ("quotes", "train.py", 'mode="fast"', "mode='fast'", HIT, ""),
    ("one line made two", "features.py", "def double(x):\n    return 2 * x", "def double(x): return 2 * x", HIT, ""),
    ("blank lines above", "features.py", "def power", "\n\n\ndef power", HIT, ""),
    ("our option changed", "train.py", "timeout=60", 'timeout=90, retry=3', HIT, ""),
    ("our option removed", "train.py", ", timeout=60", "", HIT, ""),
    ("our cache option", "train.py", "timeout=60", 'cache=Cache(version="2")', HIT, ""),
    ("an unused constant", "settings.py", "UNUSED = 1", "UNUSED = 2", HIT, ""),
    ("an unused function", "features.py", "def unused(x):\n    return x", "def unused(x):\n    return -x", HIT, ""),
    ("an unused function removed", "features.py", "def unused(x):\n    return x", "", HIT, ""),
    ("an unused import", "features.py", "import settings\n", "import settings\nimport json\n", HIT, ""),
    ("functions in another order", "pkg/deep.py", "OFFSET = 3", "OFFSET = 3\ndef unrelated():\n    pass", HIT, ""),
    ("constant written otherwise", "settings.py", "RATE = 0.5", "RATE = 1 / 2", HIT, ""),
    ("default written otherwise", "train.py", "lr=0.1", "lr=1 / 10", HIT, ""),
    ("dict in another order", "settings.py", '"a": [1.0, 2.0], "b": [3.0]', '"b": [3.0], "a": [1.0, 2.0]', HIT, ""),
    ("outputs of the component", "train.py", '("a", "b")', '("a", "c")', MISS, "train:fit"),
    ("body of the component", "train.py", "values[0]", "values[-1]", MISS, "train:fit"),
    ("a string literal", "train.py", 'WEIGHTS["a"]', 'WEIGHTS["b"]', MISS, "train:fit"),
    ("rename of a local", "train.py", "values", "amounts", MISS, "train:fit"),
    ("rename of a parameter", "features.py", "def double(x):\n    return 2 * x", "def double(y):\n    return 2 * y", MISS, "features:double"),
    ("default of the component", "train.py", "lr=0.1", "lr=0.2", MISS, "train:fit(lr=)"),
    ("keyword-only default", "train.py", 'mode="fast"', 'mode="slow"', MISS, "train:fit(mode=)"),
    ("default's type", "features.py", "exponent=2", "exponent=2.0", MISS, "features:square"),
    ("constant of this module", "train.py", "LIMIT = 10", "LIMIT = 11", MISS, "train:LIMIT"),
    ("constant by attribute and by default", "settings.py", "RATE = 0.5", "RATE = 0.6", MISS, "settings:RATE"),
    ("constant's type", "train.py", "LIMIT = 10", "LIMIT = 10.0", MISS, "train:LIMIT"),
    ("deep inside a constant", "settings.py", '"b": [3.0]', '"b": [4.0]', MISS, "settings:WEIGHTS"),
    ("constant two modules away", "pkg/deep.py", "OFFSET = 3", "OFFSET = 4", MISS, "pkg.deep:OFFSET"),
    ("helper", "features.py", "total = x * by", "total = x + by", MISS, "features:scale"),
    ("helper two modules away", "pkg/deep.py", "math.floor(x)", "math.ceil(x)", MISS, "pkg.deep:deepest"),
    ("what a helper imports", "pkg/deep.py", "import math", "import cmath as math", MISS, "pkg.deep:deepest"),
    ("helper imported in the body", "lazy.py", "x + 100", "x + 101", MISS, "lazy:later"),
    ("users' decorator", "features.py", "return function(*args, **kwargs)", "return -function(*args, **kwargs)", MISS, "features:logged"),
    ("users' decorator's option", "features.py", '@logged("scale")', '@logged("other")', MISS, "features:scale"),
    ("users' decorator removed", "features.py", '@logged("scale")\n', "", MISS, "features:scale"),
    ("method", "pkg/shapes.py", "return self.shared(x) * self.scale", "return self.shared(x) + self.scale", MISS, "pkg.shapes:Model.run"),
    ("property", "pkg/shapes.py", "return self.config.width", "return 2 * self.config.width", MISS, "pkg.shapes:Model.scale"),
    ("static method", "pkg/shapes.py", "return Model(Config())", "return Model(Config(5))", MISS, "pkg.shapes:Model.make"),
    ("method of a base class", "pkg/shapes.py", "return x + self.bias", "return x - self.bias", MISS, "pkg.shapes:Base.shared"),
    ("attribute of a base class", "pkg/shapes.py", "bias = 1", "bias = 2", MISS, "pkg.shapes:Base.bias"),
    ("another base class", "pkg/shapes.py", "class Model(Base)", "class Model(Base, dict)", MISS, "pkg.shapes:Model"),
    ("dataclass default", "pkg/shapes.py", "width: int = 4", "width: int = 5", MISS, "pkg.shapes:Config"),
    ("dataclass field's type", "pkg/shapes.py", "width: int = 4", "width: float = 4", MISS, "pkg.shapes:Config"),
    ("dataclass option", "pkg/shapes.py", "frozen=True", "frozen=True, order=True", MISS, "pkg.shapes:Config"),
    ("dataclass default factory", "pkg/shapes.py", "return [0]", "return [1]", MISS, "pkg.shapes:empty"),
    ("value of an enum", "pkg/shapes.py", "RED = 1", "RED = 3", MISS, "pkg.shapes:Color"),
    ("another method of a class in use", "pkg/shapes.py", 'return "unused"', 'return "used"', MISS, "pkg.shapes:Model.unused_by_anyone"),
    ("function in a dict", "features.py", "return 2 * x", "return 3 * x", MISS, "features:double"),
    ("lambda in a dict", "features.py", "lambda x: -x", "lambda x: +x", MISS, "features:STEPS['negate']"),
    ("another function in a dict", "features.py", '"twice": [double, abs]', '"twice": [double, round]', MISS, "features:STEPS"),
    ("function in a partial", "features.py", "return x ** exponent", "return x * exponent", MISS, "features:power"),
    ("argument of a partial", "features.py", "exponent=2", "exponent=3", MISS, "features:square"),
    ("closure cell", "features.py", "adder(5)", "adder(6)", MISS, "features:adder.<locals>.add[amount]"),
    ("function in a closure", "features.py", "return x + amount", "return x - amount", MISS, "features:adder.<locals>.add"),
    ("cached function", "features.py", "def cached(x):\n    return x + 1", "def cached(x):\n    return x + 2", MISS, "features:cached"),
    ("mutual recursion, far side", "features.py", "return False if n == 0", "return None if n == 0", MISS, "features:odd"),
    ("import alias", "features.py", "from pkg import deepest", "from pkg.deep import deepest", HIT, ""),
    ("import alias in use", "train.py", "np", "numpy_", MISS, "train:fit"),
    ("annotation added", "features.py", "def double(x):", "def double(x: float):", MISS, "features:double"),
]  # fmt: skip


def edited(file: str, old: str, new: str) -> dict[str, str]:
    assert old in PROJECT[file], f"{old!r} is not in {file}"
    return {**PROJECT, file: PROJECT[file].replace(old, new)}


def differing(one: CodeFingerprint, other: CodeFingerprint) -> set[str]:
    return {name for name in {*one.parts, *other.parts} if one.parts.get(name) != other.parts.get(name)}


@pytest.fixture
def fingerprint(write, load):
    def fingerprint(folder: str, files: Mapping[str, str], entry: str = "fit", **options) -> CodeFingerprint:
        module = load(write(folder, files))
        return code_fingerprint(getattr(module, entry), **options)

    return fingerprint


@pytest.mark.parametrize(("name", "file", "old", "new", "same", "part"), EDITS, ids=[edit[0] for edit in EDITS])
def test_an_edit_changes_the_digest_or_not(fingerprint, name, file, old, new, same, part):
    before = fingerprint("before", PROJECT)
    after = fingerprint("after", edited(file, old, new))
    changed = differing(before, after)
    assert before.problems == after.problems == ()
    assert (before.digest == after.digest) is same, changed
    assert (not changed) is same
    if not same:
        assert part in changed


def test_there_are_enough_edits():
    verdicts = [edit[4] for edit in EDITS]
    assert len(EDITS) >= 60
    assert verdicts.count(HIT) >= 15


def test_the_parts_of_the_project(fingerprint):
    found = fingerprint("project", PROJECT)
    assert {"train:fit", "features:scale", "pkg.deep:deepest", "settings:RATE", "pkg.shapes:Base.shared"} <= set(
        found.parts
    )
    assert not {name for name in found.parts if "unused" in name and "unused_by_anyone" not in name}
    assert set(found.packages) == {"numpy"}
    assert found.sources["pkg.deep:deepest"].startswith("def deepest(x):")
    assert found.sources["settings:RATE"] == "RATE = 0.5"
    assert found.sources["features:scale"].startswith('@logged("scale")')


def test_package_versions_are_not_in_the_digest(fingerprint, monkeypatch):
    before = fingerprint("before", PROJECT)
    monkeypatch.setattr("hpo_pipelines.fingerprint.distributions_of", lambda modules: {"numpy": "0.0.1"})
    after = fingerprint("after", PROJECT)
    assert before.digest == after.digest
    assert after.packages == {"numpy": "0.0.1"} != before.packages
