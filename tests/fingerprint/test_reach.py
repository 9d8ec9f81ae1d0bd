"""What is reached, from where the code stands, and what has no identity."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import types

import cloudpickle
import numpy as np
import pytest
import wrapt

from hpo_pipelines import component, pipeline
from hpo_pipelines.fingerprint import code_fingerprint, unwrap

SCALE = {
    "helpers.py": "FACTOR = 3\n\ndef scale(x):\n    return x * FACTOR\n",
    "train.py": """
from typing import TYPE_CHECKING
import helpers
import numpy as np
from helpers import scale
from hpo_pipelines import component
if TYPE_CHECKING:
    from nowhere import Thing

WORDS = {"b", "a", "c"}

@component(outputs=("one", "two"))
def fit(x: np.ndarray, thing: "Thing" = None, names=frozenset({"x", "y"})):
    return scale(x), [name for name in names if name in {"p", "q"} and name in WORDS]
""",
}

ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from hpo_pipelines.fingerprint import code_fingerprint
import train
found = code_fingerprint(train.fit)
assert not found.problems
print(found.digest)
"""


def ask(folder, code: str, *arguments: str, seed: str = "0") -> str:
    root = os.path.dirname(os.path.dirname(sys.modules["hpo_pipelines"].__file__))
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *arguments],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(code: str, **names):
    """Run ``code`` without leaving its source anywhere."""
    space = {"__name__": "somewhere", **names}
    exec(textwrap.dedent(code), space)
    return types.SimpleNamespace(**space)


@pytest.mark.integration
def test_processes_hash_seeds_and_folders_agree(write, load):
    one, other = write("one", SCALE), write("other", SCALE)
    here = code_fingerprint(load(one).fit).digest
    assert {ask(one, ASK, seed="1"), ask(one, ASK, seed="2"), ask(other, ASK, seed="3")} == {here}


@pytest.mark.integration
def test_a_script_and_a_module_agree(write, load):
    tail = "\nif __name__ == '__main__':\n    from hpo_pipelines.fingerprint import code_fingerprint as ask\n"
    files = {**SCALE, "train.py": f"{SCALE['train.py']}{tail}    print(ask(fit).digest)\n"}
    folder = write("one", files)
    as_script = ask(folder, "import runpy, sys; sys.path.insert(0, sys.argv[1]); "
                    "runpy.run_path(sys.argv[1] + '/train.py', run_name='__main__')")  # fmt: skip
    assert as_script == code_fingerprint(load(folder).fit).digest


@pytest.mark.integration
def test_by_value_and_by_reference_agree(write, load, tmp_path):
    folder = write("one", SCALE)
    module = load(folder)
    helpers = sys.modules["helpers"]
    cloudpickle.register_pickle_by_value(module)
    cloudpickle.register_pickle_by_value(helpers)
    try:
        (tmp_path / "payload").write_bytes(cloudpickle.dumps(unwrap(module.fit)))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        cloudpickle.unregister_pickle_by_value(helpers)
    there = ask(
        folder,
        "import pickle, sys\nfrom hpo_pipelines.fingerprint import code_fingerprint\n"
        "function = pickle.load(open(sys.argv[2], 'rb'))\nassert 'train' not in sys.modules\n"
        "print(code_fingerprint(function).digest)",
        str(tmp_path / "payload"),
    )
    assert there == code_fingerprint(module.fit).digest


def test_a_module_loaded_again_agrees(write, load):
    folder = write("one", SCALE)
    first = load(folder)
    second = load(folder)
    assert first.fit is not second.fit
    assert code_fingerprint(first.fit).digest == code_fingerprint(second.fit).digest


def test_a_notebook_cell_run_again_agrees(cell):
    code = """
        def helper(x):
            return x + 1

        def fit(x):
            return helper(x)
        """
    first = code_fingerprint(cell(code, "<cell 1>").fit)
    again = code_fingerprint(cell(code + "# changed\n", "<cell 2>").fit)
    edited = code_fingerprint(cell(code.replace("x + 1", "x + 2"), "<cell 3>").fit)
    assert first.digest == again.digest != edited.digest
    assert first.sources["__main__:helper"] == "def helper(x):\n    return x + 1"


def test_a_cell_under_the_name_of_an_earlier_one_is_not_confused_with_it(cell):
    first = code_fingerprint(cell("def fit(x):\n    return x + 1\n", "<cell 9>").fit)
    second = code_fingerprint(cell("def fit(x):\n    return x + 2\n", "<cell 9>").fit)
    assert first.digest != second.digest


def test_a_file_edited_after_it_was_imported_does_not_stand_for_the_running_code(write, load):
    folder = write("one", SCALE)
    module = load(folder)
    (folder / "helpers.py").write_text(SCALE["helpers.py"].replace("* FACTOR", "+ FACTOR"))
    stale = code_fingerprint(module.fit)
    assert "helpers:scale" not in stale.sources
    assert stale.digest != code_fingerprint(load(folder).fit).digest


def test_source_seen_before_an_edit_keeps_standing_for_the_running_code(write, load):
    folder = write("one", SCALE)
    module = load(folder)
    before = code_fingerprint(module.fit)
    (folder / "helpers.py").write_text(SCALE["helpers.py"].replace("* FACTOR", "+ FACTOR"))
    again = code_fingerprint(module.fit, first_party={"something"})  # Other options: not remembered.
    assert again.digest == before.digest
    assert again.sources["helpers:scale"] == "def scale(x):\n    return x * FACTOR"


def test_lambdas_on_one_line_are_told_apart(cell):
    made = cell("fits = [lambda x: x + 1, lambda x: x + 2, lambda x: x + 1, lambda x: lambda y: x]\n", "<lambdas>")
    digests = [code_fingerprint(fit).digest for fit in made.fits]
    assert digests[0] == digests[2]
    assert len(set(digests)) == 3
    assert code_fingerprint(made.fits[3]("x")).digest not in digests


def test_a_decorator_holding_lambdas_is_told_apart(cell):
    code = "def keep(key):\n    return lambda f: f\n\n@keep(lambda x: {})\ndef fit(x):\n    return x\n"
    one = code_fingerprint(cell(code.format("x"), "<d1>").fit)
    other = code_fingerprint(cell(code.format("-x"), "<d2>").fit)
    assert one.digest != other.digest


def test_code_without_source_has_an_identity_too():
    code = '''
        LIMIT = 3
        def helper(x, k=1):
            """Doc."""
            import math as m
            return m.floor(x) + LIMIT + sum(y for y in x if y in {1, 2})
        class Model:
            rate = 0.1
            def __init__(self): self.x = 1
            def run(self): return helper(self.rate)
        def fit(x):
            return helper(x) + Model().run()
        '''
    digest = code_fingerprint(run(code).fit).digest
    assert code_fingerprint(run(code).fit).digest == digest
    assert code_fingerprint(run(code.replace("Doc.", "Other.")).fit).digest == digest
    for old, new in [
        ("LIMIT = 3", "LIMIT = 4"),
        ("m.floor", "m.ceil"),
        ("k=1", "k=2"),
        ("{1, 2}", "{1, 3}"),
        ("rate = 0.1", "rate = 0.2"),
        ("self.x = 1", "self.x = 2"),
        ("helper(self.rate)", "helper(-self.rate)"),
    ]:
        assert old in code
        assert code_fingerprint(run(code.replace(old, new)).fit).digest != digest, old


def test_components_and_pipelines_are_reached_through_their_functions(cell):
    space = cell(
        """
        @component(timeout=3)
        def inner(x):
            return x + 1

        @component
        def outer(x):
            return inner(x)
        """,
        "<components>",
        component=component,
        pipeline=pipeline,
    )
    found = code_fingerprint(space.outer)
    assert set(found.parts) == {"__main__:outer", "__main__:inner"}
    assert found.digest == code_fingerprint(unwrap(space.outer)).digest
    assert found.packages == {}


def test_recursion_of_every_kind_ends(cell):
    space = cell(
        """
        class Node:
            child = None
            def walk(self):
                return even(self) or Node
        Node.child = Node()
        LOOP = []
        LOOP.append(LOOP)
        LOOP.append({"even": LOOP})
        def even(n):
            return LOOP, odd, Node
        def odd(n):
            return even, even.__wrapped__
        even.__wrapped__ = even
        fit = even
        """,
        "<loops>",
    )
    found = code_fingerprint(space.fit)
    assert found.problems == ()
    assert {"__main__:even", "__main__:odd", "__main__:Node", "__main__:Node.walk"} <= set(found.parts)


def test_values_without_identity_are_named_and_loggers_are_not(cell):
    space = cell(
        """
        import logging, threading, contextvars
        log = logging.getLogger("train")
        lock = threading.Lock()
        current = contextvars.ContextVar("current")
        MISSING = object()
        stream = (x for x in [])
        def helper(x, start=stream):
            with lock:
                log.info("x")
            return current.get(), MISSING
        def fit(x):
            return helper(x)
        """,
        "<problems>",
    )
    found = code_fingerprint(space.fit)
    (problem,) = found.problems
    assert problem.startswith("__main__:helper(start=) is of type generator, which has no identity: use plain values")


def test_what_a_library_defines_counts_by_name(cell):
    one = cell("from numpy import mean as average\ndef fit(x): return average(x)\n", "<lib1>")
    other = cell("from numpy import median as average\ndef fit(x): return average(x)\n", "<lib2>")
    assert code_fingerprint(one.fit).digest != code_fingerprint(other.fit).digest
    assert code_fingerprint(one.fit).packages == {"numpy": np.__version__}


def test_what_a_library_wraps_is_reached(cell):
    def made(amount):
        return cell(
            f"""
            import functools
            def helper(x):
                return x + {amount}
            fast = jit(helper)
            @functools.singledispatch
            def kind(x):
                return "any"
            @kind.register
            def _(x: int):
                return {amount}
            def fit(x):
                return fast(x)
            def fit_kind(x):
                return kind(x)
            """,
            f"<wrap {amount}>",
            jit=wrapt.decorator(lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs)),
        )

    for name in ("fit", "fit_kind"):
        one, other = (code_fingerprint(getattr(made(amount), name)) for amount in (1, 2))
        assert one.digest != other.digest, name
        assert one.problems == ()


def test_imports_of_a_function_that_are_absent_are_no_problem(cell):
    space = cell(
        """
        def fit(x):
            try:
                from nosuch_module_anywhere import speed
            except ImportError:
                speed = None
            import math, os.path as p
            return math.floor(x), p.join("a", "b")
        """,
        "<absent>",
    )
    found = code_fingerprint(space.fit)
    assert (found.problems, found.packages) == ((), {})


def test_a_module_whose_import_raises_is_a_problem(write, load):
    module = load(
        write("one", {"broken.py": "1 / 0\n", "train.py": "def fit():\n    import broken\n    return broken.x\n"})
    )
    (problem,) = code_fingerprint(module.fit).problems
    assert "imports broken, which raises ZeroDivisionError" in problem


def test_a_module_handed_around_counts_as_a_whole(write, load):
    files = {
        "parts.py": "A = 1\ndef f():\n    return A\n",
        "train.py": "import parts\ndef fit(n):\n    return getattr(parts, n)\n",
    }
    before = code_fingerprint(load(write("before", files)).fit)
    after = code_fingerprint(
        load(write("after", {**files, "parts.py": files["parts.py"].replace("A = 1", "A = 2")})).fit
    )
    assert before.digest != after.digest
    assert "parts:*" in before.parts


def test_first_party_extends_the_reach(write, load):
    module = load(
        write("one", {"train.py": "import textwrap\nimport six\ndef fit(x):\n    return six.ensure_str(x)\n"})
    )
    outside = code_fingerprint(module.fit)
    inside = code_fingerprint(module.fit, first_party={"six"})
    assert "six" in outside.packages
    assert not any(name.startswith("six:") for name in outside.parts)
    assert "six:ensure_str" in inside.parts
    assert "six" not in inside.packages


def test_constants_that_are_instances_count_with_their_classes(cell):
    def made(body, held):
        return cell(
            f"""
            class Scaler:
                __slots__ = ("mean", "again")
                def __init__(self, mean):
                    self.mean = mean
                    self.again = self
                def apply(self, x):
                    return {body}
            class Names(list):
                pass
            SCALER = Scaler({held})
            NAMES = Names([{held}])
            def fit(x):
                return SCALER.apply(x), NAMES
            """,
            f"<instance {body} {held}>",
        )

    digests = {code_fingerprint(made(body, held).fit).digest for body in ("x", "-x") for held in ("1", "[2]")}
    assert len(digests) == 4
    assert code_fingerprint(made("x", "1").fit).digest in digests


def test_monkeypatched_methods_count(cell):
    code = "class Model:\n    def run(self):\n        return 1\ndef fit():\n    return Model().run()\n"
    plain, patched = cell(code, "<plain>"), cell(code, "<patched>")
    patched.Model.run = lambda self: 2
    assert code_fingerprint(plain.fit).digest != code_fingerprint(patched.fit).digest


def test_annotated_classes_are_reached(cell):
    def made(result):
        return cell(
            f"""
            from __future__ import annotations
            class Model:
                def predict(self, x):
                    return {result}
            def evaluate(model: Model, other: "Unknown" = None):
                return model.predict(1)
            """,
            f"<annotated {result}>",
        )

    assert code_fingerprint(made("x").evaluate).digest != code_fingerprint(made("-x").evaluate).digest


def test_partials_and_methods_can_be_fingerprinted_themselves(cell):
    space = cell("class M:\n    def run(self, x):\n        return x\ndef f(a, b):\n    return a\n", "<partials>")
    one, other = functools.partial(space.f, 1), functools.partial(space.f, 2)
    assert code_fingerprint(one).digest != code_fingerprint(other).digest
    assert "__main__:M.run" in code_fingerprint(space.M().run).parts


def test_absurd_depth_is_survived(cell):
    space = cell(
        f"""
        class Node:
            def __init__(self, below):
                self.below = below
        TOP = None
        for _ in range(3000):
            TOP = Node(TOP)
        def fit(x):
            return TOP
        def long_sum(x):
            return {" + ".join(["x"] * 900)}
        """,
        "<deep>",
    )
    (problem,) = code_fingerprint(space.fit).problems
    assert "nested more than" in problem
    assert code_fingerprint(space.long_sum).problems == ()


def test_relative_imports_are_followed(write, load):
    files = {
        "app/__init__.py": "",
        "app/features.py": "from . import deep\nfrom .deep import *\ndef scale(x):\n    return deep.one(x) + two(x)\n",
        "app/deep.py": "def one(x):\n    return 1\ndef two(x):\n    return 2\ndef three(x):\n    return 3\n",
        "app/steps/__init__.py": "",
        "app/steps/train.py": "def fit(x):\n    from .. import features\n    from ..deep import three as k\n"
        "    import app.deep as d\n    import app.features\n"
        "    return features.scale(x) + k(x) + d.one(x) + app.features.scale(x)\n",
    }
    found = code_fingerprint(load(write("one", files), "app.steps.train").fit)
    expected = {"app.features:scale", "app.deep:one", "app.deep:two", "app.deep:three", "app.steps.train:fit"}
    assert set(found.parts) == expected
    for number in (1, 2, 3):
        changed = {**files, "app/deep.py": files["app/deep.py"].replace(f"return {number}", f"return -{number}")}
        other = code_fingerprint(load(write(f"edit {number}", changed), "app.steps.train").fit)
        assert other.digest != found.digest


def test_a_lazy_attribute_of_a_package_is_followed(write, load):
    files = {
        "lazy_app/__init__.py": "import importlib\ndef __getattr__(name):\n"
        "    return getattr(importlib.import_module('lazy_app.late'), name)\n",
        "lazy_app/late.py": "def scale(x):\n    return 1\n",
        "train.py": "import lazy_app\ndef fit(x):\n    return lazy_app.scale(x)\n",
    }
    found = code_fingerprint(load(write("one", files)).fit)
    assert "lazy_app.late:scale" in found.parts


def test_it_is_quick_again(write, load):
    """Issue 3 asks for 0.2 ms for 50 functions; ten times that is still a memo, and no noisy machine's fault."""
    import timeit

    text = "".join(f"def f{i}(x):\n    return f{(i + 1) % 50}(x) + {i}\n" for i in range(50))
    module = load(write("one", {"train.py": text}))
    assert len(code_fingerprint(module.f0).parts) == 50
    each = min(timeit.repeat(lambda: code_fingerprint(module.f0), number=20, repeat=5)) / 20
    assert each < 2e-3, f"{each * 1e3:.2f} ms"


def test_what_a_library_makes_for_its_user_counts_with_what_was_put_into_it(write, load):
    """A schedule made by a function of a library is a closure: its name says nothing of the rate in it."""
    library = """
        def schedule(rate):
            def at(step):
                return rate * step
            return at
        def logged(function):
            def wrapper(*arguments):
                return function(*arguments)
            wrapper.__name__, wrapper.__qualname__ = function.__name__, function.__qualname__
            return wrapper
        @logged
        def first(x):
            return x
        @logged
        def second(x):
            return -x
        """
    site = write("site-packages", {"rates.py": textwrap.dedent(library)})
    write("site-packages/rates-1.0.dist-info", {"RECORD": "rates.py,,\n"})

    def fingerprint(expression: str):
        module = load(site, "rates")
        namespace = {"__name__": "somewhere", "rates": module}
        exec(f"VALUE = {expression}\ndef fit(x):\n    return VALUE\n", namespace)
        return code_fingerprint(namespace["fit"])

    found = {
        text: fingerprint(text) for text in ("rates.schedule(1)", "rates.schedule(2)", "rates.first", "rates.second")
    }
    assert len({each.digest for each in found.values()}) == 4
    assert all(each.packages == {"rates": "1.0"} and not each.problems for each in found.values())
    assert fingerprint("rates.schedule(1)").digest == found["rates.schedule(1)"].digest
    (problem,) = fingerprint("rates.schedule(iter([]))").problems
    assert "VALUE" in problem


def test_functions_of_c_code_that_pickle_by_name_count_by_it():
    one, other = (run("TABLE = {'f': f}\ndef fit(x):\n    return TABLE\n", f=f).fit for f in (np.sqrt, np.square))
    assert code_fingerprint(one).problems == ()
    assert code_fingerprint(one).digest != code_fingerprint(other).digest


def test_lambdas_are_called_by_where_they_are_kept(cell):
    code = "STEPS = {'up': [lambda x: x + 1, lambda x: x + 2]}\ndef fit(x, key=lambda x: -x):\n    return STEPS\n"
    found = code_fingerprint(cell(code, "<kept>").fit)
    assert {"__main__:STEPS['up'][0]", "__main__:STEPS['up'][1]", "__main__:fit(key=)"} <= set(found.parts)
    assert found.sources["__main__:STEPS['up'][1]"].startswith("STEPS = ")


@pytest.mark.integration
def test_functions_in_a_set_agree_in_every_process(write):
    text = "def a(x): return x\ndef b(x): return -x\nALL = {a, b, len, 1, 'x', lambda x: 2, lambda x: 3}\n"
    folder = write("one", {"train.py": text + "def fit(x): return ALL\n"})
    assert len({ask(folder, ASK, seed=str(seed)) for seed in range(4)}) == 1


SCRIPT = """
from __future__ import annotations
import functools, sys
from dataclasses import dataclass
from hpo_pipelines import component, pipeline

FACTOR = 3

def named(label):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)
        return wrapper
    return decorate

@dataclass
class Options:
    width: int = FACTOR

@component
@named("fit")
def fit(x, options: Options | None = None):
    return x + FACTOR

@pipeline
def flow(x: int = 1):
    return fit(x)

if __name__ == "__main__":
    flow.run(executor="inline")
"""

CLONE = """
import sys
from hpo_pipelines import get
step = get("flow#1").clone().run(executor="inline").steps["fit"]
print(step.reason)
"""


@pytest.mark.integration
def test_a_script_and_a_clone_of_its_run_in_another_process_agree(write, home):
    """The script's own decorators, and classes that only annotations name, are there for both."""
    folder = write("one", {"train.py": SCRIPT})
    other = write("other", {"train.py": SCRIPT.replace("\nclass", "\n# A comment.\nclass")})
    script = "import runpy, sys; runpy.run_path(sys.argv[1] + '/train.py', run_name='__main__')"
    ask(folder, script, seed="1")
    assert ask(folder, CLONE, seed="2") == "reused from flow#1/fit"
    reason = "from hpo_pipelines import get; print(get('flow#3').steps['fit'].reason)"
    ask(other, script, seed="3")
    assert ask(folder, reason) == "reused from flow#1/fit"


@pytest.mark.parametrize("name", ["<ipython-input-{0}-3fa2>", "/tmp/ipykernel_7/{0}.py"])
def test_a_cell_of_either_kind_of_notebook_run_again_agrees(cell, name):
    code = """
        import functools
        def twice(function):
            @functools.wraps(function)
            def wrapper(x):
                return function(function(x))
            return wrapper
        @twice
        def fit(x):
            return x + 1
        """
    first = code_fingerprint(cell(code, name.format(1)).fit)
    again = code_fingerprint(cell(code, name.format(2)).fit)
    edited = code_fingerprint(cell(code.replace("x + 1", "x + 2"), name.format(3)).fit)
    assert first.digest == again.digest != edited.digest
    assert first.sources["__main__:fit"].startswith("@twice\ndef fit")
