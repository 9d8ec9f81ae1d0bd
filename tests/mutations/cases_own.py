# ruff: noqa: E501 (a table: one edit to a line)
"""Edits and their verdicts, by those who know the code: where code hides, in a repository of many files and elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from textwrap import dedent

from mutations.case import Case
from mutations.edits import Changed, case

# A repository as templates of data-science projects lay it out: a package with a folder for each concern.

REPOSITORY = {
    "pyproject.toml": "[project]\nname = 'retention'\n",
    "flow.py": """
        from hpo_pipelines import component, pipeline
        from retention.models.train_model import train

        @component
        def fit(rows):
            return train(rows)

        @pipeline
        def flow():
            return fit([1, 2, 3])
    """,
    "retention/__init__.py": "from retention.config import *\n",
    "retention/config.py": """
        from pathlib import Path
        PROJ_ROOT = Path(__file__).resolve().parents[1]
        DATA_DIR = PROJ_ROOT / "data"
        SEED, FOLDS = 7, {"k": 5}
        __all__ = ["PROJ_ROOT", "DATA_DIR", "SEED", "FOLDS"]
    """,
    "retention/features/__init__.py": "from .build_features import build, registry\n",
    "retention/features/build_features.py": """
        from __future__ import annotations
        from ..config import DATA_DIR, SEED
        from . import text as _text

        registry = {}

        def register(name):
            def keep(function):
                registry[name] = function
                return function
            return keep

        @register("size")
        def size(row):
            return row + SEED + len(DATA_DIR.name)

        @register("words")
        def words(row):
            return _text.count(str(row))

        def build(rows, *names):
            return [[registry[name](row) for name in names] for row in rows]
    """,
    "retention/features/text.py": """
        import re
        WORD = re.compile(r"[a-z]+")
        def count(text):
            return len(WORD.findall(text))
    """,
    "retention/models/__init__.py": "",
    "retention/models/base.py": """
        import abc
        class Estimator(abc.ABC):
            rounds = 3
            def fit(self, table):
                for _ in range(self.rounds):
                    self.step(table)
                return self
            @abc.abstractmethod
            def step(self, table): ...
    """,
    "retention/models/train_model.py": """
        from retention import FOLDS, features
        from retention.models.base import Estimator
        try:
            from fast_retention import mean
        except ImportError:
            from retention.models._mean import mean

        class Mean(Estimator):
            def __init__(self):
                self.total = 0.0
            def step(self, table):
                self.total += sum(map(mean, table))

        def train(rows):
            table = features.build(rows, "size", "words")
            return Mean().fit(table).total / FOLDS["k"]
    """,
    "retention/models/_mean.py": "def mean(row):\n    return sum(row) / len(row)\n",
}
repository = partial(case, files=REPOSITORY)

LAYOUT = (
    repository("package-method-of-a-base", path="retention/models/base.py", edit=("rounds = 3", "rounds = 4"),
               changed=("code", "Estimator")),
    repository("package-constant-by-star-import", path="retention/config.py", edit=('"k": 5', '"k": 6'),
               changed=("code", "FOLDS")),
    repository("package-constant-by-relative-import", path="retention/config.py", edit=("= 7,", "= 8,"),
               changed=("code", "SEED")),
    repository("package-function-in-a-registry", path="retention/features/build_features.py",
               edit=("count(str(row))", "count(repr(row))"), changed=("code", "words")),
    repository("package-helper-of-a-helper", path="retention/features/text.py", edit=("len(WORD", "2 * len(WORD"),
               changed=("code", "count")),
    repository("package-pattern", path="retention/features/text.py", edit=("[a-z]+", "[a-z0-9]+"),
               changed=("code", "WORD")),
    repository("package-fallback-of-an-import", path="retention/models/_mean.py", edit=("/ len(row)", "// len(row)"),
               changed=("code", "mean")),
    repository("package-path-of-a-constant", path="retention/config.py", edit=('"data"', '"raw"'),
               changed=("code", "DATA_DIR")),
    repository("package-docstring", path="retention/models/base.py", edit=("import abc\n", '"""Bases."""\nimport abc\n')),
    repository("package-alias-of-a-module", path="retention/features/build_features.py",
               edit=("registry = {}", "registry = dict()")),
    repository("package-function-nobody-calls", path="retention/features/text.py",
               edit=("import re\n", "import re\ndef unused(text):\n    return text\n")),
    repository("package-project-file", path="pyproject.toml", edit=("retention", "churn")),
    Case("package-module-made-a-package", {path: dedent(text).lstrip("\n") for path, text in REPOSITORY.items()},
         {"retention/models/_mean.py": None, "retention/models/_mean/__init__.py": REPOSITORY["retention/models/_mean.py"]},
         "hit"),
)  # fmt: skip

# Distributions.

PACKAGED = {
    "flow.py": """
        from hpo_pipelines import component, pipeline
        import features

        @component
        def fit(rows):
            return features.scale(rows)

        @pipeline
        def flow():
            return fit([1, 2])
    """,
    "features.py": """
        import helpers, unrelated
        def scale(rows):
            from lazily import later
            return later(helpers.scale(rows))
        def unused(rows):
            return unrelated.use(rows)
    """,
    "helpers.py": "from deep_learning import relu as activation\ndef scale(rows):\n    return activation(rows)\n",
    "local_lib.py": "def relu(rows):\n    return rows[:1]\n",
}
INSTALLED = {"deep_learning": "1.0", "lazily": "2.0", "unrelated": "3.0", "absent": "4.0"}


def upgrade(name: str, versions: Mapping[str, str], changed: str | None) -> Case:
    files = {path: dedent(text).lstrip("\n") for path, text in PACKAGED.items()}
    verdict, reason = ("miss", ("packages", changed)) if changed else ("hit", None)
    return Case(f"upgrade-{name}", files, {}, verdict, reason, packages=INSTALLED, upgraded=versions)


def vendored(origin: str | None, changed: Changed) -> Case:
    """A module that belongs to an installed distribution, edited in place."""
    metadata = "local_lib-1.0.dist-info"
    files = {
        **PACKAGED,
        "helpers.py": PACKAGED["helpers.py"].replace("deep_learning", "local_lib"),
        f"{metadata}/RECORD": f"local_lib.py,,\n{metadata}/RECORD,,\n",
        f"{metadata}/METADATA": "Metadata-Version: 2.1\nName: local-lib\nVersion: 1.0\n",
        **({f"{metadata}/direct_url.json": origin} if origin else {}),
    }
    name = "edit-of-a-distribution-from-an-index"
    if origin:
        name = "edit-of-a-distribution-from-a-" + ("repository" if "vcs" in origin else "folder")
    return case(name, files, "local_lib.py", ("rows[:1]", "rows[1:]"), changed, packages=INSTALLED)


PACKAGES = (
    upgrade("of-what-a-helper-uses", {"deep_learning": "1.1"}, "deep-learning"),
    upgrade("of-what-a-body-imports", {"lazily": "2.0.post1"}, "lazily"),
    upgrade("of-what-no-reached-function-uses", {"unrelated": "3.1"}, None),
    upgrade("of-what-nobody-imports", {"absent": "5.0"}, None),
    case("package-replaced-by-another", PACKAGED, "helpers.py", ("deep_learning", "unrelated"),
         ("packages", "unrelated"), packages=INSTALLED),
    case("package-function-by-alias", PACKAGED, "helpers.py", ("relu as", "selu as"), ("code", "scale"),
         packages=INSTALLED),
    vendored(None, None),
    vendored('{"url": "file:///src", "dir_info": {}}', ("code", "relu")),
    vendored('{"url": "https://example.org/l.git", "vcs_info": {"vcs": "git", "commit_id": "ab"}}', ("code", "relu")),
)  # fmt: skip

# Where code hides.

HIDDEN = {
    "flow.py": """
        from __future__ import annotations
        import functools
        from hpo_pipelines import component, pipeline
        import features as f, plugins
        from features import *

        class Model:
            def __init__(self, by):
                self.by = by
            def predict(self, x):
                return x * self.by

        def made(amount):
            @component
            def fit(x, model: Model | None = None):
                total = f.ops["scale"](x) + amount + bound(x) + counter(x)
                return total + sum(f.LOOKUP[x]) + model.predict(x) if model else total + f.wrapped(x)
            return fit

        fit = made(3)

        @pipeline
        def flow():
            return fit(2)
    """,
    "features.py": """
        import functools

        class Counter:
            def __init__(self, start):
                self.start = start
            def __call__(self, x):
                return x + self.start
            def plus(self, x):
                return x - self.start

        counter = Counter(1)
        bound = counter.plus
        ops = {}
        LOOKUP = {n: [n, n * 2] for n in range(4)}

        def scale(x):
            return x * 2

        def timed(function):
            function.calls = 0
            @functools.wraps(function)
            def inner(*args):
                return function(*args)
            return inner

        @timed
        def wrapped(x):
            return x + 50
    """,
    "plugins.py": "import features\nfeatures.ops['scale'] = features.scale\n",
}
hidden = partial(case, files=HIDDEN)
PLACES = (
    hidden("closure-of-a-component", path="flow.py", edit=("made(3)", "made(4)"), changed=("code", "amount")),
    hidden("class-named-by-an-annotation", path="flow.py", edit=("x * self.by", "x / self.by"),
           changed=("code", "Model.predict")),
    hidden("object-with-a-call", path="features.py", edit=("x + self.start", "x + 2 * self.start"),
           changed=("code", "Counter.__call__")),
    hidden("bound-method", path="features.py", edit=("x - self.start", "x / self.start"),
           changed=("code", "Counter.plus")),
    hidden("state-behind-a-bound-method", path="features.py", edit=("Counter(1)", "Counter(2)"),
           changed=("code", "counter")),
    hidden("constant-by-comprehension", path="features.py", edit=("n * 2]", "n * 3]"), changed=("code", "LOOKUP")),
    hidden("filled-in-by-another-module", path="plugins.py", edit=("= features.scale", "= features.bound"),
           changed=("code", "ops")),
    hidden("decorator-around-its-wrapper", path="features.py", edit=("calls = 0", "calls = 1"), changed=("code", "timed")),
    hidden("built-in-shadowed", path="features.py", edit=("import functools", "import functools\ndef sum(x):\n    return 0"),
           changed=("code", "sum")),
    hidden("local-renamed", path="flow.py", edit=("total = f.ops", "tota1 = total = f.ops"), changed=("code", "fit"),
           why="locals() and eval read the names of locals"),
    hidden("import-alias", path="flow.py", edit=("import functools\n", "import functools as ft\n")),
    hidden("annotation-of-a-local", path="features.py", edit=("return x * 2", "y: int = x * 2\n    return y"),
           changed=("code", "scale")),
    hidden("value-that-cannot-be-hashed", path="features.py", edit=("ops = {}", "ops = {'log': iter([])}"),
           changed=("code", "ops"), why="the reason names it, the step is not reused"),
)  # fmt: skip

CASES = (*LAYOUT, *PACKAGES, *PLACES)
