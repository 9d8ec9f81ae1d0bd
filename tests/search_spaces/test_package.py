from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import search_spaces

PACKAGE = Path(search_spaces.__file__).parent


def in_a_fresh_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_all_is_what_is_public() -> None:
    assert search_spaces.__all__ == sorted(search_spaces.__all__)
    assert all(getattr(search_spaces, name).__name__ == name for name in search_spaces.__all__)
    assert set(search_spaces.__all__) == set(search_spaces._HOMES)
    assert set(search_spaces.__all__) <= set(dir(search_spaces))
    for name in search_spaces.__all__:
        assert getattr(search_spaces, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Flaot'"):
        search_spaces.Flaot


def test_a_star_import_gives_everything() -> None:
    names = json.loads(in_a_fresh_process("import json\nfrom search_spaces import *\nprint(json.dumps(dir()))"))
    assert set(search_spaces.__all__) <= set(names)


def test_it_imports_nothing_but_the_standard_library_and_yaml() -> None:
    roots = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots |= {name.partition(".")[0] for name in names}
    assert roots - sys.stdlib_module_names == {"search_spaces", "ruamel"}


def test_using_it_loads_no_sampler_no_pipeline_and_yaml_only_for_yaml() -> None:
    code = """if True:
        import json, sys
        from search_spaces import *
        space = Space({"lr": "loguniform(1e-5, 1e-1)", "encoder": ["a", "b"], "bits": Int(1, 2, when={"encoder": "a"})})
        space.digest(), space.order(), parse_assignment("a=choice(1,2)")
        for format in ("json", "toml"):
            assert loads(dumps(space, format), format) == space
        dumps(space, "yaml")
        print(json.dumps(sorted(sys.modules)))
    """
    roots = {name.partition(".")[0] for name in json.loads(in_a_fresh_process(code))}
    assert roots.isdisjoint({"hpo_pipelines", "optuna", "ray", "mlflow", "numpy", "ruamel", "yaml"})


def test_it_imports_fast() -> None:
    code = "import time\nstart = time.process_time()\n{}\nprint(time.process_time() - start)\n"
    everything = min(float(in_a_fresh_process(code.format("from search_spaces import *"))) for _ in range(3))
    error = min(float(in_a_fresh_process(code.format("from search_spaces.errors import SpaceError"))) for _ in range(3))
    assert error < 0.1
    assert everything < 0.3
