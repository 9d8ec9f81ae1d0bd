"""An extension of griffe: docstrings name things as ``:class:`~a.b.C```, which the site shows as ``C``."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?([\w.]+\.)?(\w+)`")


class Roles(Extension):
    """What griffe calls once for each object that it has read."""

    def on_object(self, *, obj: Object, **options: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """``text`` with the last name of each role in backticks."""
    return ROLE.sub(r"`\2`", text)
