"""Which modules a text names in its import statements."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from hpo_pipelines.snapshot.imports import absolute, exported, imports_in_code, imports_of


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import a", {"a"}),
        ("import a.b as c", {"a.b"}),
        ("from a import b, c as d", {"a", "a.b", "a.c"}),
        ("from . import b", {"pkg.sub", "pkg.sub.b"}),
        ("from .b import c", {"pkg.sub.b", "pkg.sub.b.c"}),
        ("from ..b import c", {"pkg.b", "pkg.b.c"}),
        ("from ...b import c", set()),
        ("from a import *", {"a"}),
        ("importlib.import_module('a.b')", {"a.b"}),
        ("import_module('.b', __package__)", {"pkg.sub.b"}),
        ("__import__('a')", {"a"}),
        ("print('a')", set()),
    ],
)
def test_names_of_an_import(line: str, names: set[str]) -> None:
    assert imports_of(line, "pkg.sub").names == names


def test_imports_are_found_wherever_they_stand() -> None:
    text = """
    try:
        import fast
    except ImportError:
        fast = None
    if TYPE_CHECKING:
        import hints
    class Model:
        import inner
        def fit(self):
            if self.big:
                from deep import fit
            return lambda: __import__("lazy")
    """
    assert imports_of(textwrap.dedent(text), "").names == {"fast", "hints", "inner", "deep", "deep.fit", "lazy"}


@pytest.mark.parametrize(
    ("line", "computed"),
    [
        ("import_module(name)", True),
        ("importlib.import_module(f'pkg.{name}')", True),
        ("for info in pkgutil.iter_modules(__path__): pass", True),
        ("import_module('a')", False),
        ("load(name)", False),
    ],
)
def test_computed_imports_are_noticed(line: str, computed: bool) -> None:
    assert imports_of(line, "pkg").computed is computed


def test_a_star_is_told_apart_from_a_name() -> None:
    assert imports_of("from a import *", "").stars == {"a"}


def test_a_text_that_is_no_python_imports_nothing() -> None:
    assert imports_of("import (", "").names == frozenset()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("__all__ = ['a', 'b']", ("a", "b")),
        ("__all__: list[str] = ['a']", ("a",)),
        ("__all__ = ('a',)\n__all__ += ['b']", ("a", "b")),
        ("__all__ = names()", ()),
        ("x = ['a']", ()),
        ("(", ()),
    ],
)
def test_names_that_a_star_brings(text: str, names: tuple[str, ...]) -> None:
    assert exported(text) == names


def test_absolute_stops_at_the_top() -> None:
    assert absolute("a", 1, "") is None
    assert absolute("", 2, "pkg.sub") == "pkg"


def _lazy() -> Any:
    def inner() -> Any:
        from json import decoder

        return decoder

    import xml.dom

    return inner, xml, [__import__("never") for _ in ()]


@pytest.mark.parametrize("function", [_lazy])
def test_imports_in_bytecode(function: Callable[[], Any]) -> None:
    assert imports_in_code(function.__code__, "").names == {"json", "json.decoder", "xml.dom"}


def test_relative_imports_in_bytecode() -> None:
    code = compile("from . import a\nfrom ..b import c\nfrom d import *", "cell", "exec")
    found = imports_in_code(code, "pkg.sub")
    assert found.names == {"pkg.sub", "pkg.sub.a", "pkg.b", "pkg.b.c", "d"}
    assert found.stars == {"d"}
