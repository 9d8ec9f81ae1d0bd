"""More edits from the text of the rules alone: packages laid out as real repositories are, imports, options, inputs."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

from mutations.case import Case

Edit = tuple[str, str] | str | None
Changed = tuple[str, str] | None


def text(source: str) -> str:
    return dedent(source).lstrip("\n")


def swapped(source: str, edit: tuple[str, str]) -> str:
    old, new = edit
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in:\n{source}"
    return source.replace(old, new)


def case(
    name: str, files: Mapping[str, str], edits: Mapping[str, Edit], changed: Changed, why: str, **rest: Any
) -> Case:
    """No ``changed`` means a hit; an edit is an (old, new) pair, a whole new text, or None to delete."""
    before = {path: text(source) for path, source in files.items()}
    after: dict[str, str | None] = {}
    for path, edit in edits.items():
        after[path] = swapped(before[path], edit) if isinstance(edit, tuple) else edit and text(edit)
    return Case(f"blind-{name}", before, after, "miss" if changed else "hit", changed, why=why, **rest)


# A data-science template's folders: a package with subpackages beside flow.py, re-exports, a registry, a config.
CHURN = {
    "flow.py": """
        from hpo_pipelines import component, pipeline
        import churn
        import churn.models.train as training
        from churn.plots import draw

        @component
        def features(rows):
            return churn.build_features(rows)

        @component
        def fit(rows, lr):
            return training.train(rows, lr)

        @component
        def card(model, title):
            return draw(model, title)

        @pipeline
        def flow(lr: float = 0.5, title: str = "churn"):
            model = fit(features([3, 1, 12]), lr)
            card(model, title)
            return model
        """,
    "churn/__init__.py": """
        '''Who leaves?'''
        from .config import SEED, Settings
        from .features import build_features

        __version__ = "0.1"
        """,
    "churn/config.py": """
        from dataclasses import dataclass
        from pathlib import Path

        ROOT = Path(__file__).resolve().parents[1]
        DATA = ROOT / "data" / "raw"
        SEED = 42

        @dataclass(frozen=True)
        class Settings:
            window: int = 3
            clip: float = 10.0

        DEFAULTS = Settings()
        """,
    "churn/features/__init__.py": """
        from .build import build_features
        from .encode import *
        """,
    "churn/features/build.py": """
        from churn.config import DEFAULTS
        from . import encode
        from .clean import CLEANING

        def build_features(rows):
            for clean in CLEANING.values():
                rows = [clean(row) for row in rows]
            return [encode.bucket(row, DEFAULTS.window) for row in rows]

        def build_fast(rows):
            return rows
        """,
    "churn/features/clean.py": """
        from functools import partial
        from ..config import Settings

        def clip(row, settings=Settings()):
            return min(row, settings.clip)

        def shift(row, by):
            return row + by

        CLEANING = {"clip": clip, "shift": partial(shift, by=1)}
        """,
    "churn/features/encode.py": """
        __all__ = ["bucket", "one_hot"]

        def bucket(row, window):
            return row // window + row % window

        def one_hot(row):
            return [row]
        """,
    "churn/models/__init__.py": "",
    "churn/models/base.py": """
        from .metrics import loss

        REGISTRY = {}

        def register(name):
            def add(model):
                REGISTRY[name] = model
                return model
            return add

        class Model:
            def train(self, rows, lr):
                return loss(self.steps(rows, lr))
        """,
    "churn/models/linear.py": """
        from .base import Model, register

        @register("linear")
        class Linear(Model):
            def steps(self, rows, lr):
                return [row * lr for row in rows]
        """,
    "churn/models/metrics.py": """
        from __future__ import annotations
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from churn.shapes import Rows

        def loss(rows: Rows) -> float:
            return sum(rows)
        """,
    "churn/models/train.py": """
        from ..config import SEED
        from . import linear  # registers itself
        from .base import REGISTRY

        def train(rows, lr, kind="linear"):
            return REGISTRY[kind]().train(rows, lr) + SEED
        """,
    "churn/shapes.py": "class Rows(list):\n    limit = 1\n",
    "churn/plots.py": "def draw(model, title):\n    return f'{title}: {model}'\n",
}


def churn(name: str, path: str, edit: Edit, changed: Changed, why: str, **rest: Any) -> Case:
    return case(f"churn-{name}", CHURN, {f"churn/{path}": edit}, changed, why, **rest)


SAME = ("row // window + row % window", "row % window + row // window")
OTHER = ("row // window + row % window", "row // window - row % window")
WINDOW = ("window: int = 3", "window: int = 4")
SEED = ("SEED = 42", "SEED = 43")

REPOSITORY = (
    churn(
        "encoder", "features/encode.py", OTHER, ("code", "bucket"), "two modules away, by attribute", step="features"
    ),
    churn("upstream-same-value", "features/encode.py", SAME, None, "features runs again and gives the same: content"),
    churn("upstream-other-value", "features/encode.py", OTHER, ("inputs", "rows"), "what features gives is an input"),
    churn("config-default", "config.py", WINDOW, ("code", "Settings"), "a dataclass default", step="features"),
    churn("config-constant", "config.py", SEED, ("code", "SEED"), "a relative import two folders up"),
    churn("config-constant-unreached", "config.py", SEED, None, "a neighbour in config.py is", step="features"),
    churn("path-of-data", "config.py", ('/ "raw"', '/ "interim"'), None, "nobody reaches the folders"),
    churn(
        "cleaning-partial", "features/clean.py", ("by=1", "by=2"), ("code", "CLEANING"), "in a dict", step="features"
    ),
    churn("cleaning-step", "features/clean.py", ("min(", "max("), ("code", "clip"), "in a dict too", step="features"),
    churn(
        "exported-neighbour", "features/encode.py", ("[row]", "[row, 0]"), None, "exported, not used", step="features"
    ),
    churn(
        "base-model", "models/base.py", ("return loss(", "return -loss("), ("code", "Model"), "a base class elsewhere"
    ),
    churn("registered-model", "models/linear.py", ("row * lr", "row - lr"), ("code", "Linear"), "held by a registry"),
    churn("metric", "models/metrics.py", ("sum(", "max("), ("code", "loss"), "reached from a base class's method"),
    churn("type-checking-import", "shapes.py", ("limit = 1", "limit = 2"), None, "only type checkers import it"),
    churn("plots", "plots.py", ("{title}: ", "{title} = "), None, "another step reaches it"),
    churn(
        "version-of-the-package", "__init__.py", ('"0.1"', '"0.2"'), None, "first-party code counts by what is reached"
    ),
    churn("module-added", "models/trees.py", "class Tree:\n    pass\n", None, "nobody imports it"),
    churn(
        "re-export-of-another",
        "features/__init__.py",
        ("import build_features", "import build_fast as build_features"),
        ("code", "build_"),
        "the name that flow.py uses leads to another function",
        step="features",
    ),
    churn(
        "relative-import-made-absolute",
        "features/build.py",
        ("from . import encode", "from churn.features import encode"),
        None,
        "the same module under the same name",
        step="features",
    ),
)

# The other usual layout: the components themselves stand deep in the package, flow.py only composes them.
NODES = {
    "flow.py": """
        from hpo_pipelines import pipeline
        from src.pipelines.training import evaluate, fit, split

        @pipeline
        def flow(lr: float = 0.5):
            train, test = split([5, 1, 9, 4])
            return evaluate(fit(train, lr), test)
        """,
    "src/__init__.py": "",
    "src/settings.py": 'PARAMETERS = {"fit": {"weight": 2}}\nCUT = 3\n',
    "src/pipelines/__init__.py": "",
    "src/pipelines/training/__init__.py": "from .nodes import evaluate, fit, split\n",
    "src/pipelines/training/nodes.py": """
        from hpo_pipelines import component
        from ... import settings
        from src.tools import maths

        @component(outputs=("train", "test"))
        def split(rows):
            return rows[: settings.CUT], rows[settings.CUT :]

        @component
        def prepare(rows):
            return [maths.clip(row) for row in rows]

        @component
        def fit(rows, lr):
            return sum(prepare(rows)) * lr * settings.PARAMETERS["fit"]["weight"]

        @component
        def evaluate(model, rows):
            return model - sum(rows)
        """,
    "src/tools/__init__.py": "",
    "src/tools/maths.py": "from .bounds import HIGH\n\ndef clip(row):\n    return min(row, HIGH)\n",
    "src/tools/bounds.py": "HIGH = 6\n",
}
NODES_PY = "src/pipelines/training/nodes.py"


def nodes(name: str, path: str, edit: Edit, changed: Changed, why: str, **rest: Any) -> Case:
    return case(f"nodes-{name}", NODES, {path: edit}, changed, why, **rest)


COMPONENTS = (
    nodes("parameters", "src/settings.py", ('"weight": 2', '"weight": 3'), ("code", "PARAMETERS"), "a module's dict"),
    nodes("bound", "src/tools/bounds.py", ("6", "4"), ("code", "HIGH"), "through a component, a module and a constant"),
    nodes("called-component", NODES_PY, ("[maths.clip(row)", "[-maths.clip(row)"), ("code", "prepare"), "a plain call"),
    nodes(
        "options-of-a-called-component",
        NODES_PY,
        ("@component\ndef prepare", "@component(retry=2)\ndef prepare"),
        None,
        "our options do not count, of a component called in a component neither",
    ),
    nodes(
        "other-output-changed",
        NODES_PY,
        ("rows[settings.CUT :]", "rows[settings.CUT :] + [7]"),
        None,
        "split runs again; of its two artifacts fit uses the one that is as it was",
    ),
    nodes(
        "own-output-changed",
        NODES_PY,
        ("rows[settings.CUT :]", "rows[settings.CUT :] + [7]"),
        ("inputs", "rows"),
        "and evaluate uses the other",
        step="evaluate",
    ),
)

LIBRARY = {
    "lib/__init__.py": "from .deep.maths import scale\n",
    "lib/public.py": '__all__ = ["scale"]\nfrom .deep import maths\n\nscale = maths.scale\n',
    "lib/deep/__init__.py": "",
    "lib/deep/maths.py": "from .more import twice\n\ndef scale(row):\n    return twice(row) + 1\n",
    "lib/deep/more.py": "def twice(row):\n    return row * 2\n\ndef thrice(row):\n    return row + row + row\n",
}


def one_step(imports: str, body: str, options: str = "", argument: str = "3") -> str:
    """A flow.py with the one step ``fit(row)``."""
    return (
        f"from hpo_pipelines import Cache, Environment, Resources, Retry, component, pipeline\n{imports}\n\n"
        f"@component{options}\ndef fit(row, lr=1):\n    {body}\n\n"
        f"@pipeline\ndef flow(lr: float = 0.5):\n    return fit({argument})\n"
    )


def way(name: str, imports: str, body: str, edit: Edit = ("row * 2", "row * 3"), piece: str | None = "twice") -> Case:
    """Ways to import: the edit is to what ``lib.deep.maths.scale`` calls from a third module."""
    files = {"flow.py": one_step(imports, body), **LIBRARY}
    changed = ("code", piece) if piece else None
    return case(
        f"import-{name}", files, {"lib/deep/more.py": edit}, changed, "by name or by attribute, however it came"
    )


FALLBACK = "try:\n    from quick import scale\nexcept ImportError:\n    from lib import scale"

IMPORTS = (
    way("as", "import lib.deep.maths as m", "return m.scale(row)"),
    way("dotted", "import lib.deep.maths", "return lib.deep.maths.scale(row)"),
    way("of-a-module", "from lib.deep import maths", "return maths.scale(row)"),
    way("re-exported", "from lib import scale as grow", "return grow(row)"),
    way("re-exported-attribute", "import lib", "return lib.scale(row)"),
    way("star", "from lib.public import *", "return scale(row)"),
    way("in-the-function", "", "from lib.deep.maths import scale; return scale(row)"),
    way("of-a-module-in-the-function", "", "import lib.deep.maths as m; return m.scale(row)"),
    way("fallback", FALLBACK, "return scale(row)"),
    way("of-the-package-sibling", "import lib", "return lib.scale(row)", ("row + row + row", "row - row"), None),
    case(
        "import-that-now-succeeds",
        {"flow.py": one_step(FALLBACK, "return scale(row)"), **LIBRARY},
        {"quick.py": "def scale(row):\n    return row * 9\n"},
        ("code", "scale"),
        "no text changed, yet the name leads elsewhere",
    ),
)

CALLED = "import importlib\nfrom pathlib import Path\nfrom doubling import fitted\n\nHERE = Path(__file__).parent"
DATA = {
    "words.txt": "a\nb\n",
    "other.txt": "c\n",
    "plugin.py": "def scale(row):\n    return row\n",
    "doubling.py": """
        import functools

        def fitted(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs) * 2
            return wrapper
        """,
}


def option(name: str, before: str, after: str, changed: Changed, why: str) -> Case:
    """The decorator of ``fit`` is written ``@component<before>``, then ``@component<after>``."""
    first, second = (one_step(CALLED, "return row, row", options) for options in (before, after))
    return case(f"option-{name}", {"flow.py": first, **DATA}, {"flow.py": second}, changed, why)


def fixed(name: str, options: str, edits: dict[str, Edit], changed: Changed, why: str, **rest: Any) -> Case:
    """The decorator of ``fit`` stays, something that it speaks of changes."""
    first = one_step(CALLED, 'return importlib.import_module("plugin").scale(row)', options, "3, lr")
    return case(f"option-{name}", {"flow.py": first, **DATA}, edits, changed, why, **rest)


COSTS = "our options other than outputs do not count"
IGNORE = '(cache=Cache(ignore=("lr",)))'
IGNORE_OTHER = '(cache=Cache(ignore=("row",)))'
WORDS = '(cache=Cache(depends=[HERE / "words.txt"]))'
PLUGIN = '(cache=Cache(depends=[HERE / "plugin.py"]))'

OPTIONS = (
    option("none", "", "()", None, "the same decorator"),
    option("retry", "", "(retry=Retry(2))", None, COSTS),
    option("timeout", "", '(timeout="10min")', None, COSTS),
    option("resources", "(resources=Resources(cpu=1))", '(resources=Resources(cpu=2, memory="2GB"))', None, COSTS),
    option("ttl", '(cache=Cache(ttl="7d"))', '(cache=Cache(ttl="9d"))', None, "an age, no part of a key"),
    option("outputs", '(outputs=("low", "high"))', '(outputs=("low", "top"))', ("outputs", ""), "outputs count"),
    option("version", '(cache=Cache(version="1"))', '(cache=Cache(version="2"))', ("version", ""), "asked for"),
    option("first-version", "", '(cache=Cache(version="1"))', ("version", ""), "asked for"),
    option(
        "environment",
        '(environment=Environment(packages=("numpy>=2.0",)))',
        '(environment=Environment(packages=("numpy>=1.26",)))',
        ("environment", "packages"),
        "declared packages are part of the environment",
    ),
    option("own-decorator", "", "\n@fitted", ("code", "fit"), "users' decorators count, of a component too"),
    fixed(
        "own-decorator-edited", "\n@fitted", {"doubling.py": ("* 2", "* 3")}, ("code", "fit"), "and so does its text"
    ),
    fixed("ignored", IGNORE, {}, None, "an ignored argument is no input", params={"lr": 0.25}),
    fixed("not-ignored", IGNORE_OTHER, {}, ("inputs", "lr"), "another argument is ignored", params={"lr": 0.25}),
    fixed("depends", WORDS, {"words.txt": "a\n"}, ("depends", "words.txt"), "a data file's content"),
    fixed("depends-rewritten", WORDS, {"words.txt": "a\nb\n"}, None, "its content, not its date"),
    fixed("depends-other", WORDS, {"other.txt": "d\n"}, None, "only the files it names"),
    fixed("depends-code", PLUGIN, {"plugin.py": ("row\n", "-row\n")}, ("depends", "plugin.py"), "a dynamic import"),
)


def package(name: str, backend: str, *, reached: bool = True) -> Case:
    """``fit`` → tools.scaling.scale → tools.backend.root; then the distribution fastmath gets another version."""
    files = {
        "flow.py": one_step("from tools import plots, scaling", "return scaling.scale(row)"),
        "tools/__init__.py": "",
        "tools/plots.py": "import fastmath\n\ndef draw(row):\n    return fastmath.keep(row)\n",
        "tools/scaling.py": "from . import backend\n\ndef scale(row):\n    return backend.root(row)\n",
        "tools/backend.py": backend,
    }
    versions = {"packages": {"fastmath": "1.0.0"}, "upgraded": {"fastmath": "1.1.0"}}
    changed = ("packages", "fastmath") if reached else None
    return case(f"package-{name}", files, {}, changed, "what the reached code imports, not its modules", **versions)


ROOT = "\n\ndef root(row):\n    return "
DRAW = "def draw(row):\n    import fastmath\n    return fastmath.keep(row)"

PACKAGES = (
    package("attribute", f"import fastmath as fast{ROOT}fast.keep(row)\n"),
    package("name", f"from fastmath import keep{ROOT}keep(row)\n"),
    package("in-the-function", "def root(row):\n    import fastmath\n    return fastmath.keep(row)\n"),
    package("name-in-the-function", "def root(row):\n    from fastmath import keep\n    return keep(row)\n"),
    package(
        "fallback", f"try:\n    import fastmath\nexcept ImportError:\n    fastmath = None{ROOT}fastmath.keep(row)\n"
    ),
    package("decorator", "import fastmath\n\n@fastmath.compiled\ndef root(row):\n    return row\n"),
    package("called-by-a-method", f"import fastmath\n\nclass Root:\n    go = fastmath.keep{ROOT}Root.go(row)\n"),
    package("of-another-module", f"import math{ROOT}math.floor(row)\n", reached=False),
    package("of-another-function", f"{DRAW}{ROOT}row\n", reached=False),
)

CASES = (*REPOSITORY, *COMPONENTS, *IMPORTS, *OPTIONS, *PACKAGES)
