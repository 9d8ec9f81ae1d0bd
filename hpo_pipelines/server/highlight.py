"""Python source and diffs as HTML, by Pygments; the colours are classes of our stylesheet."""

from __future__ import annotations

from functools import lru_cache

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import DiffLexer, PythonLexer


@lru_cache(maxsize=256)
def python(source: str) -> str:
    """``source`` as lines for the inside of a ``<pre>``, each in ``<span class="line">``."""
    return _lines(highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)))


@lru_cache(maxsize=256)
def diff(text: str) -> str:
    """A unified diff, likewise."""
    return _lines(highlight(text, DiffLexer(stripnl=False), HtmlFormatter(nowrap=True)))


def _lines(html: str) -> str:
    # Pygments closes every span at the end of a line, so that lines can be wrapped.
    return "\n".join(f'<span class="line">{line}</span>' for line in html.rstrip("\n").split("\n"))
