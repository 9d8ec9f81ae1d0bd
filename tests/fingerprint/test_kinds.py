"""Every kind of thing that code can reach, each in one cell: unchanged code agrees, the edit shows, nothing is lost."""

from __future__ import annotations

import textwrap

import pytest

from hpo_pipelines.fingerprint import code_fingerprint

KINDS = {
    "a context manager": (
        """
        import contextlib
        @contextlib.contextmanager
        def scope(x):
            yield x + 1
        def fit(x):
            with scope(x) as y:
                return y
        """,
        ("x + 1", "x + 2"),
    ),
    "a registry filled by decorators": (
        """
        REGISTRY = {}
        def register(function):
            REGISTRY[function.__name__] = function
            return function
        @register
        def linear(x):
            return x
        def fit(name, x):
            return REGISTRY[name](x)
        """,
        ("return x", "return -x"),
    ),
    "objects in a list": (
        """
        class Scale:
            def __init__(self, by):
                self.by = by
            def __call__(self, x):
                return x * self.by
        STEPS = [Scale(2), Scale(3)]
        def fit(x):
            for step in STEPS:
                x = step(x)
            return x
        """,
        ("Scale(3)", "Scale(4)"),
        ("x * self.by", "x + self.by"),
    ),
    "a nested class": (
        """
        class Settings:
            class Inner:
                RATE = 0.1
        def fit():
            return Settings.Inner.RATE
        """,
        ("0.1", "0.2"),
    ),
    "a metaclass": (
        """
        class Meta(type):
            def __call__(cls):
                return 1
        class Model(metaclass=Meta):
            pass
        def fit():
            return Model()
        """,
        ("return 1", "return 2"),
    ),
    "an init_subclass hook": (
        """
        class Base:
            def __init_subclass__(cls, rate=1):
                cls.rate = rate
        class Model(Base, rate=2):
            pass
        def fit():
            return Model.rate
        """,
        ("rate=2", "rate=3"),
        ("cls.rate = rate", "cls.rate = -rate"),
    ),
    "a mixin": (
        """
        class Mixin:
            def extra(self):
                return 1
        class Base: pass
        class Model(Mixin, Base): pass
        def fit():
            return Model().extra()
        """,
        ("return 1", "return 2"),
        ("Model(Mixin, Base)", "Model(Base, Mixin)"),
    ),
    "a class method, a cached property, a cached method, a dispatched method": (
        """
        import functools
        class Model:
            @classmethod
            def make(cls):
                return cls()
            @functools.cached_property
            def size(self):
                return 10
            @functools.lru_cache
            def heavy(self):
                return 20
            @functools.singledispatchmethod
            def kind(self, x):
                return 30
            @kind.register
            def _(self, x: int):
                return 40
            def half(self, x, by):
                return 50
            third = functools.partialmethod(half, by=3)
        def fit():
            return Model.make().size
        """,
        ("return cls()", "return None"),
        ("return 10", "return 11"),
        ("return 20", "return 21"),
        ("return 30", "return 31"),
        ("return 40", "return 41"),
        ("return 50", "return 51"),
        ("by=3", "by=4"),
    ),
    "a descriptor of one's own": (
        """
        class Field:
            def __init__(self, default):
                self.default = default
            def __get__(self, instance, owner):
                return self.default
        class Model:
            rate = Field(0.1)
        def fit():
            return Model.rate
        """,
        ("0.1", "0.2"),
        ("return self.default", "return -self.default"),
    ),
    "named tuples and dataclasses": (
        """
        from collections import namedtuple
        from dataclasses import dataclass, field
        from typing import NamedTuple
        class Point(NamedTuple):
            x: int = 1
            def norm(self):
                return self.x
        Pair = namedtuple("Pair", "a b", defaults=[5])
        @dataclass(slots=True)
        class Config:
            rate: float = 0.1
            names: list = field(default_factory=lambda: ["n"])
            def __post_init__(self):
                self.rate *= 1.5
        HERE = Point(3)
        CONFIG = Config(0.7)
        def fit():
            return Point(), Pair(1), Config(), HERE, CONFIG
        """,
        ("x: int = 1", "x: int = 2"),
        ("return self.x", "return -self.x"),
        ('"a b"', '"a c"'),
        ("[5]", "[6]"),
        ("= 0.1", "= 0.2"),
        ('["n"]', '["m"]'),
        ("*= 1.5", "*= 2.5"),
        ("Point(3)", "Point(4)"),
        ("Config(0.7)", "Config(0.8)"),
    ),
    "a class without methods": (
        """
        class Constants:
            RATE = 0.1
            LIMITS = {"a": [1]}
        def fit():
            return Constants.RATE, Constants.LIMITS
        """,
        ("0.1", "0.2"),
        ("[1]", "[2]"),
    ),
    "an enum with behaviour": (
        """
        from enum import Enum, auto
        class Kind(Enum):
            A = auto()
            B = (2, 3)
            def area(self):
                return self.value
        BEST = Kind.A
        def fit(x):
            return Kind.B.area(), BEST
        """,
        ("(2, 3)", "(2, 4)"),
        ("return self.value", "return None"),
        ("BEST = Kind.A", "BEST = Kind.B"),
    ),
    "many kinds of constants": (
        """
        import re, datetime, decimal, pathlib, types, argparse, operator
        import numpy as np, pandas as pd
        PATTERN = re.compile("a+")
        WHEN = datetime.date(2024, 1, 1)
        PRICE = decimal.Decimal("1.50")
        FILE = pathlib.Path("a/b")
        ARRAY = np.arange(4)
        FRAME = pd.DataFrame({"a": [7]})
        SPACE = types.SimpleNamespace(lr=0.1, names=["x"])
        OPTIONS = argparse.Namespace(depth=8)
        FIRST = operator.itemgetter(60)
        NAMES = frozenset({"p", "q"})
        Vector = list[float]
        def fit():
            return PATTERN, WHEN, PRICE, FILE, ARRAY, FRAME, SPACE, OPTIONS, FIRST, NAMES, Vector
        """,
        ("a+", "b+"),
        ("2024", "2025"),
        ("1.50", "1.5"),
        ("a/b", "a/c"),
        ("arange(4)", "arange(5)"),
        ("[7]", "[8]"),
        ("lr=0.1", "lr=0.2"),
        ('["x"]', '["y"]'),
        ("depth=8", "depth=9"),
        ("(60)", "(61)"),
        ('"q"', '"r"'),
        ("list[float]", "list[int]"),
    ),
    "inner functions, comprehensions, generators and match": (
        """
        def one(x): return x + 1
        def two(x): return x + 2
        def three(x): return x + 3
        def four(x): return x + 4
        class Failed(Exception):
            code = 5
        def fit(xs):
            def inner(y):
                return [one(z) for z in y]
            try:
                match xs:
                    case [first, *_]:
                        return inner(xs), (lambda v: two(v))(first), sum(three(x) for x in xs)
            except Failed:
                return f"{four(xs)!r:>10}"
        """,
        ("x + 1", "x - 1"),
        ("x + 2", "x - 2"),
        ("x + 3", "x - 3"),
        ("x + 4", "x - 4"),
        ("code = 5", "code = 6"),
        (":>10", ":>11"),
    ),
    "a local class, whose methods see the enclosing function": (
        """
        def make(rate):
            class Model:
                def run(self, x):
                    return x * rate
            return Model
        Model = make(0.1)
        def fit(x):
            return Model().run(x)
        """,
        ("0.1", "0.2"),
        ("x * rate", "x + rate"),
    ),
    "super and an override": (
        """
        class Base:
            def run(self):
                return 1
        class Model(Base):
            def run(self):
                return super().run() + 2
        def fit():
            return Model().run()
        """,
        ("return 1", "return 3"),
        ("+ 2", "+ 3"),
    ),
    "a bound method and a partial of one": (
        """
        import functools
        class Model:
            def __init__(self, rate):
                self.rate = rate
            def run(self, x, k):
                return x * self.rate
        run = Model(0.1).run
        part = functools.partial(Model(0.3).run, k=7)
        def fit(x):
            return run(x, 1) + part(x)
        """,
        ("0.1", "0.2"),
        ("0.3", "0.4"),
        ("k=7", "k=8"),
        ("x * self.rate", "x"),
    ),
    "a global that is assigned by the function": (
        """
        COUNT = 1
        def fit():
            global COUNT
            COUNT += 1
        """,
        ("COUNT = 1", "COUNT = 2"),
    ),
    "a class decorator": (
        """
        def tagged(tag):
            def decorate(cls):
                cls.tag = tag
                return cls
            return decorate
        @tagged("a")
        class Model:
            pass
        def fit():
            return Model.tag
        """,
        ('"a"', '"b"'),
        ("cls.tag = tag", "cls.tag = tag * 2"),
    ),
    "an async helper": (
        """
        import asyncio
        async def fetch(x):
            return x + 1
        def fit(x):
            return asyncio.run(fetch(x))
        """,
        ("x + 1", "x + 2"),
    ),
    "one of two definitions": (
        """
        if len("ab") == 2:
            def helper(x):
                return x + 1
        else:
            def helper(x):
                return x + 2
        def fit(x):
            return helper(x)
        """,
        ("x + 1", "x + 3"),
    ),
}  # fmt: skip

CASES = [(kind, *edit) for kind, (_, *edits) in KINDS.items() for edit in edits]


@pytest.mark.parametrize(("kind", "old", "new"), CASES, ids=lambda value: value)
def test_an_edit_shows(cell, kind, old, new):
    code = KINDS[kind][0]
    assert code.count(old) == 1, "the edit must be clear"
    before = code_fingerprint(cell(code, "<before>").fit)
    again = code_fingerprint(cell(code, "<again>").fit)
    after = code_fingerprint(cell(code.replace(old, new), "<after>").fit)
    assert before.problems == after.problems == ()
    assert before.digest == again.digest
    assert before.digest != after.digest


@pytest.mark.parametrize("kind", KINDS)
def test_without_source_unchanged_code_agrees_too(kind):
    found = []
    for _ in range(2):
        space = {"__name__": "__main__"}
        exec(textwrap.dedent(KINDS[kind][0]), space)
        found.append(code_fingerprint(space["fit"]))
    assert found[0].digest == found[1].digest
    assert found[0].problems == ()


@pytest.mark.parametrize(("kind", "old", "new"), CASES, ids=lambda value: value)
def test_without_source_an_edit_shows_too(kind, old, new):
    found = []
    for code in (KINDS[kind][0], KINDS[kind][0].replace(old, new)):
        space = {"__name__": "__main__"}
        exec(textwrap.dedent(code), space)
        found.append(code_fingerprint(space["fit"]).digest)
    assert found[0] != found[1]


@pytest.mark.integration
def test_an_estimator_is_what_it_was_made_with(cell):
    code = """
        from sklearn.linear_model import LogisticRegression
        MODEL = LogisticRegression(C=1.5)
        def fit(x):
            return MODEL
        """
    found = code_fingerprint(cell(code, "<before>").fit)
    assert (found.problems, list(found.packages)) == ((), ["scikit-learn"])
    assert found.digest == code_fingerprint(cell(code, "<again>").fit).digest
    assert found.digest != code_fingerprint(cell(code.replace("1.5", "2.5"), "<after>").fit).digest
