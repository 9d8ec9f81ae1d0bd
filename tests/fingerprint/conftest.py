"""Small projects on disk, imported fresh, so that edits can be compared."""

from __future__ import annotations

import importlib
import linecache
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

Write = Callable[[str, Mapping[str, str]], Path]
Load = Callable[..., ModuleType]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(folder, {file: text})`` makes a project; gives its folder."""

    def write(folder: str, files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / folder

    return write


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """``load(folder, "train")`` imports a project's module as a fresh process would."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[name]

    def load(folder: Path, module: str = "train") -> ModuleType:
        forget()
        importlib.invalidate_caches()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            loaded = importlib.import_module(module)
        # Import statements inside functions look at the path when they run.
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
        return loaded

    yield load
    forget()


@pytest.fixture
def cell() -> Callable[..., SimpleNamespace]:
    """``cell(code, "<name>")`` runs ``code`` as a notebook does: its lines in linecache, its name that of no file."""

    def cell(code: str, name: str, **names: object) -> SimpleNamespace:
        text = textwrap.dedent(code)
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        space = {"__name__": "__main__", **names}
        exec(compile(text, name, "exec"), space)
        return SimpleNamespace(**space)

    return cell
