"""What ``MODULE:PIPELINE`` and ``FILE.py:PIPELINE`` find, and what is said when they do not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.conftest import Hpo

PIPELINE = """
from hpo_pipelines import component, pipeline

@component
def step(x): return x + {added}

@pipeline
def one(x: int = 1): return step(x)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder to stand in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(name: str, text: str = PIPELINE.format(added=1)) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


@pytest.mark.parametrize("target", ["target_file.py:one", "target_file.py", "target_file:one", "./target_file.py:one"])
def test_a_file_or_a_module_here(hpo: Hpo, target: str) -> None:
    write("target_file.py")
    ended = hpo("run", target, "-P", "x=4")
    assert (ended.code, ended.out) == (0, "5\n")


def test_a_file_elsewhere_finds_what_lies_beside_it(hpo: Hpo) -> None:
    write("folder/beside_it.py", "K = 10")
    write("folder/target_elsewhere.py", "import beside_it\n" + PIPELINE.format(added="beside_it.K"))
    assert hpo("run", "folder/target_elsewhere.py:one").out == "11\n"


def test_a_file_of_a_package_is_imported_as_that(hpo: Hpo) -> None:
    write("target_package/__init__.py", "")
    write("target_package/inner/__init__.py", PIPELINE.format(added=5))
    write("target_package/inner/pipe.py", "from .. import K\n" + PIPELINE.format(added="K"))
    write("target_package/__init__.py", "K = 20")
    by_file = hpo("run", "target_package/inner/pipe.py:one", "--json").document
    by_name = hpo("run", "target_package.inner.pipe:one", "--json").document
    assert by_file["outputs"]["value"]["preview"]["value"] == 21
    assert by_name["snapshot"] == by_file["snapshot"]
    assert by_name["steps"][0]["reused_from"] == by_file["steps"][0]["id"]
    assert hpo("run", "target_package/inner/__init__.py:one").out == "6\n"


def test_a_component_is_run_alone(hpo: Hpo) -> None:
    write("target_alone.py", PIPELINE.format(added=1).replace("(x):", "(x: int):"))
    ended = hpo("run", "target_alone.py:step", "-P", "x=4")
    assert (ended.code, ended.out) == (0, "5\n")
    assert "step#1  completed" in ended.err
    assert "step#1" in hpo("ls").out


WRONG = [
    ("target_wrong.py:onne", "did you mean 'one'?"),
    ("target_wrong.py:plain", "plain there is a function, not under @pipeline. Pipelines there: one, two."),
    ("target_wrong.py:zzz", "has no pipeline 'zzz'. Pipelines there: one, two."),
    ("target_wrong.py", "say which pipeline, as target_wrong.py:NAME; there are: one, two."),
    ("target_wrng.py:one", "there is no file target_wrng.py; did you mean target_wrong.py?"),
    ("target_wrng:one", "there is no module 'target_wrng' here; did you mean 'target_wrong'?"),
    ("nowhere/x.py:one", "there is no file nowhere/x.py."),
    (".:one", "no name of a module"),
    ("a..b:one", "no name of a module"),
    ("target_wrong#3", "is the name of a run: `hpo rerun`"),
    (":one", "MODULE:PIPELINE or FILE.py:PIPELINE"),
    ("/tmp:one", "is a folder"),
    ("json:one", "json has no pipeline 'one'. Pipelines there: none."),
]


@pytest.mark.parametrize(("target", "said"), WRONG)
def test_what_is_not_there(hpo: Hpo, target: str, said: str) -> None:
    write("target_wrong.py", PIPELINE.format(added=1) + "\n@pipeline\ndef two(): return 1\ndef plain(): return 1\n")
    refused = hpo("run", target)
    assert refused.code == 19
    assert said in refused.err
    assert "Traceback" not in refused.err
    assert refused.out == ""


def test_a_file_that_is_called_like_another_module(hpo: Hpo) -> None:
    write("types.py")
    refused = hpo("run", "types.py:one")
    assert refused.code == 19
    assert "rename the file" in refused.err


def test_a_file_that_cannot_be_a_module(hpo: Hpo) -> None:
    write("my-pipeline.py")
    refused = hpo("run", "my-pipeline.py:one")
    assert refused.code == 19
    assert "rename it" in refused.err


RAISING = [
    ("def f():\n    raise ValueError('at import')\nf()\n", 1, "ValueError: at import", "line 3, in <module>"),
    ("def f(:\n", 1, "SyntaxError", "def f(:"),
    ("import nonexistent_library\n", 1, "No module named 'nonexistent_library'", "import nonexistent_library"),
    ("from json import nothing\n", 1, "cannot import name 'nothing'", "from json import nothing"),
    (
        "from hpo_pipelines import pipeline\n@pipeline\ndef p(refresh: int = 1): ...\n",
        3,
        "DefinitionError: p has a parameter called 'refresh'",
        "@pipeline",
    ),
    (
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise RuntimeError('second') from error\n",
        1,
        "RuntimeError: second",
        "ZeroDivisionError",
    ),
]


@pytest.mark.parametrize(("text", "code", "message", "line"), RAISING)
@pytest.mark.parametrize("target", ["target_raises.py:p", "target_raises:p"])
def test_a_module_that_raises_shows_its_own_traceback(
    hpo: Hpo, target: str, text: str, code: int, message: str, line: str
) -> None:
    write("target_raises.py", text)
    refused = hpo("run", target)
    assert refused.code == code
    assert message in refused.err
    assert line in refused.err
    assert "target_raises.py" in refused.err
    for ours in ("hpo_pipelines/cli", "hpo_pipelines/component", "hpo_pipelines/pipeline", "importlib"):
        assert ours not in refused.err


def test_a_module_that_exits(hpo: Hpo) -> None:
    write("target_exits.py", "import sys\nsys.exit(3)\n")
    refused = hpo("run", "target_exits.py:p")
    assert refused.code == 19
    assert "__main__" in refused.err
