from __future__ import annotations

import importlib
import json
import linecache
import subprocess
import sys
import types
from importlib.metadata import version

import pytest

from hpo_pipelines.firstparty import (
    distribution_of,
    distributions_of,
    is_first_party,
    is_standard,
    module_source,
)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """``installed("my-pkg", "my_pkg/__init__.py", origin={…})``: a distribution in a folder that is on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(name, *files, origin=None, installer="pip", record=True):
        metadata = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        metadata.mkdir()
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("x = 1\n")
        if record:
            (metadata / "RECORD").write_text("".join(f"{file},sha256=abc,6\n" for file in files))
        else:
            (metadata / "top_level.txt").write_text("".join(f"{file.partition('/')[0]}\n" for file in files))
        (metadata / "INSTALLER").write_text(installer + "\n")
        if origin is not None:
            (metadata / "direct_url.json").write_text(json.dumps(origin))

    yield install
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name", ["json", "os.path", "sys", "builtins", "_ctypes", "xml.etree.ElementTree", "zipimport"]
)
def test_the_standard_library_is_not(name):
    assert is_standard(name)
    assert not is_first_party(name)
    assert distribution_of(name) is None


@pytest.mark.parametrize(
    ("module", "distribution"),
    [("numpy", "numpy"), ("pandas.core.frame", "pandas"), ("ruamel.yaml", "ruamel-yaml"), ("_pytest.mark", "pytest")],
)
def test_installed_distributions_are_not(module, distribution):
    assert not is_first_party(module)
    assert not is_standard(module)
    assert distributions_of([module]) == {distribution: version(distribution)}


@pytest.mark.parametrize("name", ["hpo_pipelines", "hpo_pipelines.task", "search_spaces"])
def test_this_project_never_is(name):
    assert not is_first_party(name)
    assert not is_first_party(name, {"hpo_pipelines", "search_spaces"})
    assert distributions_of([name]) == {}


@pytest.mark.parametrize("name", ["__main__", "__mp_main__", "nothing_of_this_name", "nothing.of.this.name"])
def test_scripts_and_modules_made_by_hand_are(name):
    assert is_first_party(name)


def test_a_module_beside_the_script_is(tmp_path, monkeypatch):
    (tmp_path / "features_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert is_first_party("features_of_mine")
    assert "features_of_mine" not in sys.modules
    module = importlib.import_module("features_of_mine")
    monkeypatch.delitem(sys.modules, "features_of_mine")
    assert is_first_party(module)


def test_a_module_that_shadows_the_standard_library_is(tmp_path, monkeypatch):
    module = types.ModuleType("test")
    module.__file__ = str(tmp_path / "test.py")
    monkeypatch.setitem(sys.modules, "test", module)
    assert is_first_party("test")
    assert not is_standard("test")


def test_an_installed_distribution_is_not_wherever_it_lies(installed):
    installed("plain-pkg", "plain_pkg/__init__.py", "plain_pkg/deep/__init__.py")
    assert not is_first_party("plain_pkg.deep")
    assert distributions_of(["plain_pkg.deep", "plain_pkg"]) == {"plain-pkg": "1.2"}


def test_a_distribution_is_known_by_what_it_holds_not_by_its_name(installed):
    installed("other-name", "renamed/__init__.py")
    assert distributions_of(["renamed"]) == {"other-name": "1.2"}
    assert distribution_of("unrelated_name") is None


def test_a_distribution_without_a_record_is_known_by_its_top_level_names(installed):
    installed("stripped", "stripped_mod/__init__.py", record=False)
    assert distributions_of(["stripped_mod"]) == {"stripped": "1.2"}


@pytest.mark.parametrize(
    ("origin", "installer", "expected"),
    [
        ({"url": "file:///src/mine", "dir_info": {}}, "pip", True),
        ({"url": "file:///src/mine", "dir_info": {"editable": True}}, "uv", True),
        ({"url": "https://example.org/mine.git", "vcs_info": {"vcs": "git", "commit_id": "ab"}}, "pip", True),
        ({"url": "file:///wheels/mine-1.2-py3-none-any.whl", "archive_info": {}}, "pip", False),
        ({"url": "https://example.org/mine-1.2.whl", "archive_info": {}}, "pip", False),
        ({"url": "file:///feedstock/work", "dir_info": {}}, "conda", False),
        (None, "pip", False),
    ],
)
def test_a_folder_or_a_repository_makes_a_distribution_first_party(installed, request, origin, installer, expected):
    name = f"case_{request.node.callspec.indices['origin']}"
    installed(name, f"{name}/__init__.py", origin=origin, installer=installer)
    assert is_first_party(name) is expected
    assert distributions_of([name]) == {name.replace("_", "-"): "1.2"}


def test_a_namespace_package_may_hold_both(installed, tmp_path):
    installed("ns-lib", "shared_ns/lib/__init__.py")
    installed("ns-mine", "shared_ns/mine/__init__.py", origin={"url": "file:///x", "dir_info": {}})
    assert not is_first_party("shared_ns.lib")
    assert is_first_party("shared_ns.mine")
    assert "shared_ns" not in sys.modules
    importlib.import_module("shared_ns.mine")
    assert not is_first_party("shared_ns.lib")
    assert is_first_party("shared_ns.mine")


@pytest.mark.parametrize("extra", ["named_pkg", "named_pkg.deep", "Named.Dist", "named-dist"])
def test_what_is_named_is(installed, extra):
    installed("named-dist", "named_pkg/__init__.py", "named_pkg/deep.py")
    assert not is_first_party("named_pkg.deep")
    assert is_first_party("named_pkg.deep", {extra})
    assert not is_first_party("numpy", {extra})


def test_an_answer_is_quick():
    import timeit

    is_first_party("pandas.core.frame")
    each = min(timeit.repeat(lambda: is_first_party("pandas.core.frame"), number=200, repeat=5)) / 200
    assert each < 1e-4, f"{each * 1e6:.0f} µs"


def test_the_source_of_a_file(tmp_path, monkeypatch):
    (tmp_path / "has_source.py").write_text("VALUE = 'é'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("has_source")
    monkeypatch.delitem(sys.modules, "has_source")
    assert module_source(module) == "VALUE = 'é'\n"


def test_the_source_of_a_module_that_only_linecache_knows():
    module = types.ModuleType("made_by_hand")
    module.__file__ = "<made by hand>"
    linecache.cache["<made by hand>"] = (6, None, ["x = 1\n"], "<made by hand>")
    assert module_source(module) == "x = 1\n"


def test_the_source_of_a_notebook_is_its_cells_in_order():
    notebook = types.ModuleType("__main__")
    cells = ["class A:\n    def f(self):\n        pass\n", "import json\n", "def g():\n    pass\n"]
    for number, text in enumerate(cells):
        name = f"<order {number}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), vars(notebook))
    assert module_source(notebook) == cells[0] + "\n" + cells[2]


def test_there_is_no_source_of_compiled_and_handmade_modules():
    assert module_source(sys) is None
    assert module_source(types.ModuleType("empty")) is None


@pytest.mark.integration
def test_nothing_heavy_is_imported():
    code = (
        "import sys; before = set(sys.modules); import hpo_pipelines.firstparty as f; "
        "f.is_first_party('numpy'); assert 'numpy' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_put_on_the_path_later_is_seen(tmp_path, monkeypatch):
    name = "put_on_the_path_later"
    (tmp_path / f"{name}-2.0.dist-info").mkdir()
    (tmp_path / f"{name}-2.0.dist-info/RECORD").write_text(f"{name}.py,,\n")
    (tmp_path / f"{name}.py").write_text("")
    assert distributions_of([name]) == {}
    monkeypatch.syspath_prepend(str(tmp_path))
    assert distributions_of([name]) == {"put-on-the-path-later": "2.0"}
    assert name not in sys.modules
