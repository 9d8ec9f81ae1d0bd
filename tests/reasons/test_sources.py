"""Pieces of code found by name in recorded text."""

from __future__ import annotations

import pytest

from hpo_pipelines.reasons.sources import piece, unified
from hpo_pipelines.snapshot import Content, Unit

TEXT = """
import functools

RATE: float = 0.1
TABLE = {}
TABLE = {"a": 1}
double = lambda x: x * 2

if True:
    def guarded():
        return 1
else:
    def guarded():
        return 2

@functools.cache
def outer(a, b=1, *, c="x"):
    def inner():
        return b
    return inner

class Net:
    depth = 3

    def forward(self, x):
        return x
"""
CONTENT = Content("d", "pkg.mod:p", {"pkg.mod": Unit(TEXT, False, "/somewhere/pkg/mod.py")})


@pytest.mark.parametrize(
    ("label", "kind", "name", "text"),
    [
        ("pkg.mod:outer", "function", "outer", "@functools.cache\ndef outer(a,"),
        ("pkg.mod:outer.<locals>.inner", "function", "outer.<locals>.inner", "def inner():\n    return b"),
        ("pkg.mod:guarded", "function", "guarded", "def guarded():\n    return 2"),
        ("pkg.mod:Net", "class", "Net", "class Net:"),
        ("pkg.mod:Net.forward", "method", "Net.forward", "def forward(self, x):\n    return x"),
        ("pkg.mod:RATE", "constant", "RATE", "RATE: float = 0.1"),
        ("pkg.mod:RATE#2", "constant", "RATE", "RATE: float = 0.1"),
        ("pkg.mod:TABLE", "constant", "TABLE", 'TABLE = {}\nTABLE = {"a": 1}'),
        ("pkg.mod:<lambda>", "function", "<lambda>", "double = lambda x: x * 2"),
        ("pkg.mod:*", "module", "pkg.mod", TEXT),
    ],
)
def test_a_piece_is_found_by_its_name(label: str, kind: str, name: str, text: str) -> None:
    found = piece(CONTENT, label)
    assert (found.kind, found.name, found.file) == (kind, name, "mod.py")
    assert found.text is not None
    assert found.text.startswith(text)


def test_values_of_constants_and_defaults() -> None:
    assert piece(CONTENT, "pkg.mod:RATE").value == "0.1"
    assert piece(CONTENT, "pkg.mod:TABLE").value is None  # assigned twice: no one expression is its value
    assert piece(CONTENT, "pkg.mod:Net.depth").value == "3"
    assert piece(CONTENT, "pkg.mod:outer(b=)").value == "1"
    assert piece(CONTENT, "pkg.mod:outer(c=)").value == "'x'"
    assert piece(CONTENT, "pkg.mod:outer(a=)").value is None
    assert piece(CONTENT, "pkg.mod:outer(b=)").name == "b of outer"


def test_a_captured_value_names_who_captured_it() -> None:
    found = piece(CONTENT, "pkg.mod:outer.<locals>.inner[b]")
    assert (found.kind, found.name) == ("captured", "b in outer.<locals>.inner")


@pytest.mark.parametrize("label", ["pkg.mod:gone", "pkg.other:outer", "pkg.mod:outer.<locals>.gone"])
def test_what_is_not_there_has_no_text(label: str) -> None:
    found = piece(CONTENT, label)
    assert (found.kind, found.text) == ("piece", None)
    assert piece(None, label).text is None


def test_a_script_is_found_under_its_files_name_and_a_cell_in_any_text() -> None:
    script = Content("d", "__main__:p", {}, texts={"/x/tune.py": "def f():\n    return 1\n"})
    assert piece(script, "tune:f").text == "def f():\n    return 1"
    assert piece(script, "tune:f").file == "tune.py"
    cells = {"/tmp/ipykernel_7/1.py": "def f():\n    return 1\n", "/tmp/ipykernel_7/2.py": "def g():\n    return 2\n"}
    assert piece(Content("d", "__main__:p", {}, texts=cells), "__main__:g").text == "def g():\n    return 2"
    one = Content("d", "__main__:p", {}, texts={"/tmp/ipykernel_7/1.py": "def f():\n    return 1\n"})
    assert piece(one, "__main__:f").file == "a notebook cell"


def test_a_package_is_called_by_its_folder() -> None:
    content = Content("d", "pkg:p", {"pkg": Unit("X = 1", True, "/somewhere/pkg/__init__.py")})
    assert piece(content, "pkg:X").file == "pkg/__init__.py"


def test_text_that_is_no_python_has_no_pieces() -> None:
    assert piece(Content("d", "m:p", {"m": Unit("def (", False, "m.py")}), "m:f").text is None


def test_a_diff_needs_two_texts_that_differ() -> None:
    old, new = piece(CONTENT, "pkg.mod:RATE"), piece(CONTENT, "pkg.mod:TABLE")
    assert unified(old, old, old_label="a", new_label="b") == ""
    assert unified(old, piece(None, "pkg.mod:RATE"), old_label="a", new_label="b") == ""
    assert unified(old, new, old_label="a#1/f", new_label="a#2/f").splitlines()[:2] == [
        "--- mod.py (a#1/f)",
        "+++ mod.py (a#2/f)",
    ]
