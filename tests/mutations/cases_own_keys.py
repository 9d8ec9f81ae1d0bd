# ruff: noqa: E501 (a table: one edit to a line)
"""Edits and their verdicts, by those who know the code: what keys are made of besides reached code."""

from __future__ import annotations

from functools import partial
from textwrap import dedent

from mutations.case import Case
from mutations.edits import case

# What else keys are made of.

FLOW = """
    import enum, math
    from dataclasses import dataclass
    from datetime import date, datetime, timedelta, timezone
    from decimal import Decimal
    from pathlib import Path
    import numpy as np
    import pandas as pd
    from hpo_pipelines import Cache, Environment, Resources, component, pipeline

    class Size(enum.Enum):
        SMALL = 1
        BIG = 2

    @dataclass
    class Options:
        depth: int = 3

    @component
    def load():
        return 3

    @component(cache=Cache(version="1", ignore=("verbose",)), environment=Environment(env={"THREADS": "1"}))
    def fit(value, verbose=False):
        return str(value)

    @pipeline
    def flow(lr: float = 0.5):
        return fit(LITERAL)
"""


def literal(name: str, old: str, new: str, changed: str | None) -> Case:
    """The literal that the body hands to ``fit`` changes."""
    files = {"flow.py": FLOW.replace("LITERAL", old)}
    return case(f"literal-{name}", files, "flow.py", (f"fit({old})", f"fit({new})"), changed and ("inputs", changed))


LITERALS = (
    literal("int-to-float", "1", "1.0", "value"),
    literal("int-to-bool", "1", "True", "value"),
    literal("int-to-text", "1", '"1"', "value"),
    literal("minus-zero", "0.0", "-0.0", "value"),
    literal("nan-of-another-kind", "math.nan", "-float('nan')", None),
    literal("list-to-tuple", "[1]", "(1,)", "value"),
    literal("order-of-a-dict", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}", None),
    literal("order-of-a-set", "{'a', 'b', 'c'}", "{'c', 'b', 'a'}", None),
    literal("enum-member", "Size.SMALL", "Size.BIG", "value"),
    literal("enum-member-by-value", "Size.SMALL", "Size(1)", None),
    literal("field-of-a-dataclass", "Options(3)", "Options(4)", "value"),
    literal("default-of-a-dataclass", "Options(3)", "Options()", None),
    literal("zone-of-a-time", "datetime(2024, 1, 1)", "datetime(2024, 1, 1, tzinfo=timezone.utc)", "value"),
    literal("date-to-time", "date(2024, 1, 1)", "datetime(2024, 1, 1)", "value"),
    literal("time-span-otherwise-said", "timedelta(hours=24)", "timedelta(days=1)", None),
    literal("digits-of-a-decimal", "Decimal('1.0')", "Decimal('1.00')", "value"),
    literal("numpy-scalar", "1.0", "np.float64(1)", "value"),
    literal("dtype-of-a-scalar", "np.float64(1)", "np.float32(1)", "value"),
    literal("order-of-an-array", "np.ones((2, 3))", "np.ones((2, 3), order='F')", None),
    literal("byte-order-of-an-array", "np.arange(3, dtype='<i8')", "np.arange(3, dtype='>i8')", None),
    literal("shape-of-an-array", "np.ones((2, 3))", "np.ones((3, 2))", "value"),
    literal("order-of-columns", "pd.DataFrame({'a': [1], 'b': [2]})", "pd.DataFrame({'b': [2], 'a': [1]})", "value"),
    literal("missing-values", "pd.Series([1.0, None])", "pd.Series([1.0, np.nan])", None),
    literal("kinds-of-missing", "pd.NA", "None", "value"),
    literal("output-of-a-step", "3", "load()", None),
    literal("output-inside-a-list", "[3]", "[load()]", None),
    literal("ignored-argument", "3", "3, verbose=True", None),
)

options = partial(case, files={"flow.py": FLOW.replace("LITERAL", "load()")}, path="flow.py")
OPTIONS = (
    options("version", edit=('version="1"', 'version="2"'), changed=("version", "version")),
    options("version-removed", edit=('version="1", ', ""), changed=("version", "version")),
    options("variable-of-the-environment", edit=('"THREADS": "1"', '"THREADS": "2"'), changed=("environment", "THREADS")),
    # That packages and an image count is tested where keys are made: steps with such would be run here.
    options("time-to-live", edit=('version="1"', 'version="1", ttl="7d"')),
    options("resources-and-retries", edit=('@component(cache', '@component(resources=Resources(cpu=1), retry=2, cache')),
    options("secrets-of-the-environment", edit=('Environment(env', 'Environment(secrets=["TOKEN"], env')),
    options("upstream-computes-the-same", edit=("return 3", "return 2 + 1")),
    options("upstream-computes-another", edit=("return 3", "return 4"), changed=("inputs", "value")),
    options("parameter-nobody-uses", edit=("lr: float = 0.5", "lr: float = 0.7")),
)  # fmt: skip

OUTPUTS = """
    from hpo_pipelines import component, pipeline

    @component(outputs=("a", "b"))
    def fit():
        return 1, 2

    @pipeline
    def flow():
        return fit()
"""
OUTPUT_NAMES = (
    case("outputs-renamed", {"flow.py": OUTPUTS}, "flow.py", ('"a", "b"', '"a", "c"'), ("outputs", "outputs")),
    case("outputs-swapped", {"flow.py": OUTPUTS}, "flow.py", ('"a", "b"', '"b", "a"'), ("outputs", "outputs")),
)

# What static reach cannot see, and the escape hatch.

DEPENDS = {
    "pyproject.toml": "",
    "flow.py": """
        import importlib
        from pathlib import Path
        from hpo_pipelines import Cache, component, pipeline
        import rules, steps, tables

        HERE = Path(__file__).parent

        @component(cache=Cache(depends=[rules.limit, tables, steps, [HERE / "data.csv"], HERE / "lexicon", {"round": 1}]))
        def fit(name):
            data = (HERE / "data.csv").read_text()
            module = importlib.import_module(name)
            return module.step(len(data)), getattr(rules, "li" + "mit")(1), getattr(tables, "ROWS")

        @pipeline
        def flow():
            return fit("steps." + "first")
    """,
    "rules.py": "CUT = 5\ndef limit(x):\n    return min(x, CUT)\ndef other(x):\n    return x\n",
    "tables.py": "# Rows.\nROWS = [1, 2]\ndef rows():\n    return ROWS\n",
    "steps/__init__.py": "",
    "steps/first.py": "def step(x):\n    '''One step.'''\n    return x + 1\n",
    "data.csv": "a,b\n1,2\n",
    "lexicon/words/en.txt": "one\ntwo\n",
    "lexicon/words/fr.txt": "un\ndeux\n",
}
depends = partial(case, files=DEPENDS)
HATCHES = (
    depends("depends-file", path="data.csv", edit=("1,2", "1,3"), changed=("depends", "data.csv")),
    depends("depends-folder", path="lexicon/words/fr.txt", edit=("deux", "trois"), changed=("depends", "lexicon")),
    depends("depends-constant-of-a-function", path="rules.py", edit=("CUT = 5", "CUT = 6"), changed=("depends", "CUT")),
    depends("depends-module", path="tables.py", edit=("[1, 2]", "[1, 3]"), changed=("depends", "tables")),
    depends("depends-module-of-a-package", path="steps/first.py", edit=("x + 1", "x + 2"),
            changed=("depends", "steps.first")),
    depends("depends-value", path="flow.py", edit=('"round": 1', '"round": 2'), changed=("depends", "depends[5]")),
    depends("depends-comment", path="tables.py", edit=("# Rows.", "# Some rows.")),
    depends("depends-docstring", path="steps/first.py", edit=("One step.", "A step.")),
    depends("depends-function-beside", path="rules.py", edit=("return x\n", "return -x\n"),
            changed=("code", "rules")),
    Case("depends-file-written-again", {name: dedent(text).lstrip("\n") for name, text in DEPENDS.items()},
         {"data.csv": DEPENDS["data.csv"]}, "hit"),
    Case("depends-file-added", {name: dedent(text).lstrip("\n") for name, text in DEPENDS.items()},
         {"lexicon/de.txt": "eins\n"}, "miss", ("depends", "lexicon")),
    Case("depends-file-gone", {name: dedent(text).lstrip("\n") for name, text in DEPENDS.items()},
         {"lexicon/words/en.txt": None}, "miss", ("depends", "lexicon")),
)  # fmt: skip

BLIND = {
    "flow.py": """
        import importlib
        from hpo_pipelines import component, pipeline

        @component
        def fit(name):
            return importlib.import_module(name).step(1)

        @pipeline
        def flow():
            return fit("first")
    """,
    "first.py": "def step(x):\n    return x + 1\n",
}
UNSEEN = (
    case("dynamic-import-without-depends", BLIND, "first.py", ("x + 1", "x + 2"), None,
         why="documented: what is imported by a text cannot be seen"),
)  # fmt: skip

CASES = (*LITERALS, *OPTIONS, *OUTPUT_NAMES, *HATCHES, *UNSEEN)
