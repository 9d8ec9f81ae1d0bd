"""How the cases of this project's authors are written down: one replacement in one file."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

from mutations.case import Case

Changed = tuple[str, str] | None


def case(
    name: str, files: Mapping[str, str], path: str, edit: tuple[str, str], changed: Changed = None, **rest: Any
) -> Case:
    """In the file at ``path`` the first text of ``edit`` becomes the second; no ``changed`` means a hit."""
    before = {file: dedent(source).lstrip("\n") for file, source in files.items()}
    old, new = edit
    assert before[path].count(old) == 1, f"{name}: {old!r} stands {before[path].count(old)} times"
    after = {path: before[path].replace(old, new)}
    return Case(name, before, after, "miss" if changed else "hit", changed, **rest)
