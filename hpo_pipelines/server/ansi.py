"""Console text as HTML: colours of terminals as classes, everything else as the text it is."""

from __future__ import annotations

import re
from html import escape

_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


def to_html(text: str) -> str:
    """``text`` for the inside of a ``<pre>``: SGR sequences become spans with classes, others are dropped."""
    out: list[str] = []
    classes: dict[str, str] = {}
    at = 0
    for match in _SEQUENCE.finditer(text):
        _add(out, text[at : match.start()], classes)
        at = match.end()
        if match.group(1) is not None:
            _apply(match.group(1), classes)
    _add(out, text[at:], classes)
    return "".join(out)


def _add(out: list[str], text: str, classes: dict[str, str]) -> None:
    if not text:
        return
    safe = escape(_CONTROL.sub("", text))
    out.append(f'<span class="{" ".join(classes.values())}">{safe}</span>' if classes else safe)


def _apply(codes: str, classes: dict[str, str]) -> None:
    numbers = [int(code) if code else 0 for code in codes.split(";")]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            classes.clear()
        elif code in (1, 2, 3, 4):
            classes["style"] = f"a-{('bold', 'dim', 'italic', 'underline')[code - 1]}"
        elif code in (22, 23, 24):
            classes.pop("style", None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            classes["colour"] = f"a-{_COLOURS[code % 10]}"
        elif code == 39:
            classes.pop("colour", None)
        elif code in (38, 48):
            # 256 colours (5;n) and RGB (2;r;g;b): the first eight have a class, the others stay as they are.
            kind = numbers.pop(0) if numbers else 0
            values = [numbers.pop(0) for _ in range(min(len(numbers), 1 if kind == 5 else 3))]
            if code == 38 and kind == 5 and values and values[0] < 16:
                classes["colour"] = f"a-{_COLOURS[values[0] % 8]}"
