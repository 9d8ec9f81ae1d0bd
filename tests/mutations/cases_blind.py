"""Edits and their verdicts, from the text of the rules alone: one module of helpers, and the ways to reach into it."""

from __future__ import annotations

from functools import partial

from mutations import cases_blind_layout as layout
from mutations.case import Case
from mutations.cases_blind_layout import case, one_step, text

FLOW = one_step("import features", "return [features.scale(item) * lr for item in row]", argument="[1, 2], lr")


def helper(features: str, name: str, edit: tuple[str, str], piece: str | None, why: str) -> Case:
    """``fit`` calls ``features.scale``; features.py is edited, and on a miss ``piece`` of the code changed."""
    changed = ("code", piece) if piece else None
    return case(name, {"flow.py": FLOW, "features.py": features}, {"features.py": edit}, changed, why)


PLAIN = """
    # The helpers of one model.
    FACTOR = 2
    COLUMNS = ["age", "fare"]
    RULES = {"fit": {"weights": [1, (3, 4)]}, "predict": {}}

    def grow(row):
        return row + 5

    TABLE = {
        "grow": grow,
        "shrink": lambda row: (
            row
            - 6
        ),
    }
    PAIR = [lambda row: row + 7, lambda row: row + 8]

    def make_offset():
        return 9

    offset = make_offset()

    def patched(row):
        return row

    def patched_faster(row):
        return row * 10

    patched = patched_faster

    def local():
        return 11

    def scale(row):
        local = 12
        total = row * FACTOR + RULES["fit"]["weights"][1][0] + offset + patched(row) + local
        return total + TABLE["grow"](row) + TABLE["shrink"](row) + PAIR[1](row)

    def describe(row):
        return f"row {row}"
"""
plain = partial(helper, PLAIN)

NAMES = (
    plain("helper-by-attribute", ("row * FACTOR", "row - FACTOR"), "scale", "features.scale is reached"),
    plain("module-constant", ("FACTOR = 2", "FACTOR = 3"), "FACTOR", "a helper's constant is reached"),
    plain("nested-constant", ("(3, 4)", "(4, 4)"), "RULES", "a constant counts to its last leaf"),
    plain("function-in-a-dict", ("row + 5", "row + 6"), "grow", "a callable held in a dict constant is reached"),
    plain("lambda-over-several-lines", ("- 6", "- 7"), "TABLE", "not on the line where the lambda starts"),
    plain("second-lambda-of-a-line", ("row + 8", "row + 9"), "PAIR", "two lambdas on one line are two"),
    plain("constant-made-by-a-function", ("return 9", "return 10"), "offset", "it has another value"),
    plain("patched-at-import", ("row * 10", "row * 11"), "patched", "a name leads to what it is bound to"),
    plain("shadowed-by-a-local", ("return 11", "return 13"), None, "the local is used, the function is not reached"),
    plain("unrelated-function", ('f"row', 'f"line'), None, "the module is reached, that function is not"),
    plain("unrelated-constant", ('"fare"', '"class"'), None, "the module is reached, that constant is not"),
    plain(
        "unrelated-constant-of-this-moment",
        ('COLUMNS = ["age", "fare"]', "import time\n\nLOADED = time.time()\nHANDLE = object()"),
        None,
        "what cannot be hashed matters only when it is reached",
    ),
)

WRAPPED = """
    from contextlib import contextmanager
    from functools import lru_cache, partial, singledispatch, wraps

    usual_scale = 2

    def scaler(by):
        def scale(row):
            return row * by
        return scale

    def multiply(by, row):
        return by * row

    def power(row, by):
        return row**by

    def scaled(by):
        def decorate(function):
            @wraps(function)
            def wrapper(row):
                return function(row) * by
            return wrapper
        return decorate

    def rescaled(function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs) + 20
        return wrapper

    @rescaled
    def scale_once(row):
        return row + 1

    @scaled(by=3)
    def scale_twice(row):
        return row + 2

    @lru_cache(maxsize=None)
    def remembered(row):
        return row * 5

    @contextmanager
    def factor():
        yield 6

    @singledispatch
    def encode(row):
        return row

    @encode.register
    def encode_int(row: int):
        return row * 7

    @encode.register
    def encode_text(row: str):
        return len(row) * 70

    def scale_shifted(row, by=8, *, scale=usual_scale):
        return row + by * scale

    tenfold_scale = scaler(10)
    other = scaler(11)
    partial_scale = partial(multiply, 12)
    partial_power = partial(power, by=2)

    def scale(row):
        with factor() as by:
            row = tenfold_scale(row) + partial_scale(row) + partial_power(row) + by
        return encode(row) + remembered(row) + scale_shifted(row) + scale_once(row) + scale_twice(row)
"""
wrapped = partial(helper, WRAPPED)

WRAPPERS = (
    wrapped("partial-argument", ("multiply, 12", "multiply, 13"), "partial_scale", "what a partial holds is code"),
    wrapped("partial-keyword", ("by=2)", "by=3)"), "partial_power", "keywords that a partial holds as well"),
    wrapped("partial-function", ("by * row", "by - row"), "multiply", "a partial reaches its function"),
    wrapped("default-argument", ("by=8", "by=9"), "scale_shifted", "defaults count"),
    wrapped("default-by-name", ("scale = 2", "scale = 3"), "scale", "a default is its value; the def is as it was"),
    wrapped("closure-cell", ("scaler(10)", "scaler(14)"), "scale", "another value in the cell, the same text"),
    wrapped("closure-body", ("row * by\n    return s", "row - by\n    return s"), "scale", "it has its maker's text"),
    wrapped("closure-cell-of-a-sibling", ("scaler(11)", "scaler(15)"), None, "nobody reaches that one"),
    wrapped("own-decorator", (") + 20", ") + 21"), "scale", "users' decorators count, functools.wraps or not"),
    wrapped("own-decorator-argument", ("by=3", "by=4"), "scale", "options of users' decorators count"),
    wrapped("own-decorator-removed", ("@rescaled\n", ""), "scale", "users' decorators count"),
    wrapped("decorated-body", ("row + 2", "row + 22"), "scale_twice", "the function below a decorator is reached"),
    wrapped("lru-cache", ("row * 5", "row * 55"), "remembered", "a cached helper is reached through its wrapper"),
    wrapped("context-manager", ("yield 6", "yield 66"), "factor", "so is the generator of a context manager"),
    wrapped("singledispatch", ("row * 7\n", "row * 8\n"), "encode", "an implementation is reached from its generic"),
)

CONTROL = """
    import asyncio

    async def fetch(row):
        await asyncio.sleep(0)
        return row * 2

    def windows(row):
        for width in (1, 3):
            yield row * width

    def countdown(row, depth=3):
        return row if depth == 0 else countdown(row + 4, depth - 1)

    def even(row, depth):
        return row if depth == 0 else odd(row * 5, depth - 1)

    def odd(row, depth):
        return row if depth == 0 else even(row + 6, depth - 1)

    def factor():
        return 7

    def negative(row):
        return -row

    def chosen(row):
        match row:
            case 1:
                return 80
            case _:
                return row

    def scale(row):
        def inner():
            return [(lambda value: value * factor())(row) for _ in range(1)]

        total = asyncio.run(fetch(row)) + sum(windows(row)) + countdown(row) + even(row, 4)
        return inner()[0] + total + chosen(row) + sorted([row, 3], key=negative)[0]
"""
control = partial(helper, CONTROL)

CONTROLS = (
    control("async-helper", ("row * 2", "row * 3"), "fetch", "a coroutine function is a function"),
    control("generator-helper", ("(1, 3)", "(1, 4)"), "windows", "a generator function is a function"),
    control("recursion", ("row + 4", "row + 5"), "countdown", "a function that reaches itself has an end"),
    control("mutual-recursion", ("row + 6", "row + 7"), "odd", "a cycle ends, and its far half is seen"),
    control("reach-from-an-inner-function", ("return 7", "return 8"), "factor", "names used in inner functions count"),
    control("helper-passed-as-a-value", ("-row", "row"), "negative", "reached by name, though not called there"),
    control("match-pattern", ("case 1:", "case 2:"), "chosen", "a pattern is code"),
)

TEXT = """
    '''Helpers.'''
    import enum

    class Mode(enum.Enum):
        '''How to scale.'''
        FAST = 1

    RULES = {"up": lambda row: row + 1000}

    def up(row):
        '''Raise a row.'''
        return RULES["up"](row) if Mode.FAST.value == 1 else -row

    def scale(row):
        # A first try.
        size = len("#1")
        return up(row) - (row + size)
"""
PAIR = """
    def up(row):
        return row + 1

    def scale(row):
        return up(row) * 2
"""
written = partial(helper, TEXT)

FORMATTING = (
    written("comment", ("# A first try.", "# A second try:\n    # still slow."), None, "comments do not count"),
    written("trailing-comment", ("FAST = 1", "FAST = 1  # the usual"), None, "comments do not count"),
    written("docstring-of-a-function", ("Raise a row.", "Raise one row."), None, "docstrings do not count"),
    written("docstring-removed", ("'''Raise a row.'''\n    ", ""), None, "docstrings do not count"),
    written("docstring-of-a-class", ("How to scale.", "How to scale\n    a row."), None, "nor a class's"),
    written("docstring-of-the-module", ("Helpers.", "Helpers of fit."), None, "nor a module's"),
    written("number-spelled-otherwise", ("row + 1000", "row + 1_000"), None, "one number, one syntax tree"),
    written("quotes", ('len("#1")', "len('#1')"), None, "one string, one syntax tree"),
    written("hash-sign-in-a-string", ('"#1"', '"#12"'), "scale", "that is no comment"),
    written("parentheses", ("return up(row) - ", "return (up(\n        row,\n    )) - "), None, "formatting does not"),
    written("blank-lines-above", ("def up", "\n\n\n\ndef up"), None, "where a function stands does not count"),
    written("unused-import", ("import enum", "import enum\nimport math"), None, "nothing reaches it"),
    written(
        "name-of-a-local",
        ('size = len("#1")\n    return up(row) - (row + size)', 'wide = len("#1")\n    return up(row) - (row + wide)'),
        "scale",
        "the text does not say whether names of locals count; running again is always right",
    ),
    case(
        "functions-in-another-order",
        {"flow.py": FLOW, "features.py": PAIR},
        {"features.py": "def scale(row):\n    return up(row) * 2\n\ndef up(row):\n    return row + 1\n"},
        None,
        "where a function stands does not count",
    ),
    case(
        "windows-line-endings",
        {"flow.py": FLOW, "features.py": TEXT},
        {path: text(source).replace("\n", "\r\n") for path, source in (("flow.py", FLOW), ("features.py", TEXT))},
        None,
        "another checkout may end its lines otherwise",
    ),
)

CLASSED = """
    from dataclasses import dataclass, field
    import enum

    def usual():
        return [1, 2]

    class Meta(type):
        def __len__(cls):
            return 3

    class Mode(enum.Enum):
        FAST = 1

    class Root:
        step = 1

        def raised(self, row):
            return row + self.step

    class Mixin(Root):
        @property
        def half(self):
            return 0.5

    class Empty(Mixin):
        pass

    @dataclass(frozen=True)
    class Base:
        by: int = 2
        more: list = field(default_factory=lambda: [7])

    @dataclass(frozen=True)
    class Upscale(Empty, Base):
        @staticmethod
        def clipped(row):
            return min(row, 90)

        @classmethod
        def named(cls, row):
            return row + len(cls.__name__)

        def __add__(self, row):
            return row + 11

        def __call__(self, row):
            row = self.named(self.clipped(self.raised(row))) * self.by + sum(self.more) + self.half
            return (self + row) * Mode.FAST.value

    class Sized(metaclass=Meta):
        pass

    class Plain:
        def __init__(self, start):
            self.start = start

        def __call__(self, row):
            return row + self.start

    class Unused(Root):
        def raised(self, row):
            return row

    upscale = Upscale(2)
    fresh = Plain(5)

    def scale(row):
        return fresh(upscale(row)) + len(Sized) + Upscale().by
"""
classed = partial(helper, CLASSED)

CLASSES = (
    classed(
        "class-nobody-reaches", ("return row\n\nup", "return -row\n\nup"), None, "a base does not reach a subclass"
    ),
    classed("base-class-method", ("row + self.step", "row - self.step"), "Root", "a base three levels up is reached"),
    classed("base-class-attribute", ("step = 1", "step = 2"), "Root", "a class attribute is part of its class"),
    classed("mixin-property", ("return 0.5", "return 0.25"), "Mixin", "properties count; the class between is empty"),
    classed("dataclass-default", ("by: int = 2", "by: int = 3"), "Base", "an inherited dataclass default counts"),
    classed("default-factory", ("lambda: [7]", "lambda: [8]"), "Base", "so does what a default_factory makes"),
    classed("staticmethod", ("row, 90", "row, 1"), "Upscale", "static methods count"),
    classed("classmethod", ("row + len(cls", "row - len(cls"), "Upscale", "class methods count"),
    classed("dunder-method", ("row + 11", "row + 12"), "Upscale", "an operator reaches its method"),
    classed("call-of-an-instance", ("row + self.start", "row - self.start"), "Plain", "an instance reaches its class"),
    classed("state-of-an-instance", ("= Upscale(2)", "= Upscale(3)"), "upscale", "an instance that a module holds"),
    classed("state-of-a-plain-instance", ("Plain(5)", "Plain(6)"), "fresh", "not only of dataclasses"),
    classed("enum-member", ("FAST = 1", "FAST = 2"), "Mode", "an enum member's value is code"),
    classed("metaclass-method", ("return 3", "return 4"), "Meta", "a class reaches its metaclass"),
    classed(
        "unrelated-function-beside-classes", ("[1, 2]", "[1, 3]"), None, "all of these values can be hashed at all"
    ),
)

VALUES = """
import datetime, enum, math
from dataclasses import dataclass
import numpy

@dataclass(frozen=True)
class Grid:
    low: int = 1
    high: int = 2

class Kind(enum.Enum):
    A = 1
    B = 2
    FIRST = 1

@component
def three():
    return 3
"""


def value(name: str, before: str, after: str, why: str, *, same: bool = False, **params: object) -> Case:
    """flow.py calls ``fit(before)``, then ``fit(after)``."""
    first, second = (one_step(VALUES, "return len(str(row))", argument=written) for written in (before, after))
    changed = None if same else ("inputs", "lr" if params else "row")
    return case(f"value-{name}", {"flow.py": first}, {"flow.py": second}, changed, why, params=params)


INPUTS = (
    value("float", "1", "1.0", "1 and 1.0 are two values"),
    value("true", "1", "True", "1 and True are two values"),
    value("text", "1", '"1"', "1 and its text are two values"),
    value("minus-zero", "0.0", "-0.0", "equal, but 1 / x differs"),
    value("bytes", '"a"', 'b"a"', "text and bytes are two values"),
    value("deep", '{"a": [1, {"b": 2}]}', '{"a": [1, {"b": 2.0}]}', "types count at any depth"),
    value("keys-of-a-dict", '{1: "a"}', '{"1": "a"}', "JSON would make these one"),
    value("last-digit", "0.3", "0.1 + 0.2", "every bit of a float counts"),
    value("above-two-to-53", "2**53", "2**53 + 1", "integers are not floats"),
    value("accent", '"caf\\u00e9"', '"cafe\\u0301"', "two texts that look the same"),
    value("list-order", "[1, 2]", "[2, 1]", "lists have an order"),
    value("datetime", "datetime.date(2024, 1, 1)", "datetime.datetime(2024, 1, 1)", "a day is not its midnight"),
    value("enum", "Kind.A", "Kind.B", "members differ"),
    value("enum-alias", "Kind.A", "Kind.FIRST", "two names of one member", same=True),
    value("dataclass", "Grid(1, 2)", "Grid(1, 3)", "fields count"),
    value("dataclass-default", "Grid()", "Grid(1, high=2)", "written otherwise, the same value", same=True),
    value("array-type", "numpy.array([1, 2])", "numpy.array([1.0, 2.0])", "an array's dtype counts"),
    value("array-shape", "numpy.zeros((2, 3))", "numpy.zeros((3, 2))", "equal bytes of another shape"),
    value("nan", 'float("nan")', "math.nan", "nan is one value here", same=True),
    value("dict-order", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', "dicts have no order here", same=True),
    value("set-order", '{"a", "b", "c"}', '{"c", "b", "a"}', "sets have none", same=True),
    value("of-a-step", "3", "three()", "a scalar output and the same literal have one key", same=True),
    value("by-keyword", "3", "row=3", "the same value for the same argument", same=True),
    value("parameter", "3, lr", "3, lr", "a parameter of the run", lr=0.25),
    value("parameter-as-before", "3, lr", "3, lr=0.5", "the default, written out", same=True, lr=0.5),
    value("parameter-unused", "3", "3", "fit does not get it", same=True, lr=0.25),
)

CASES = (*NAMES, *WRAPPERS, *CONTROLS, *FORMATTING, *CLASSES, *INPUTS, *layout.CASES)
