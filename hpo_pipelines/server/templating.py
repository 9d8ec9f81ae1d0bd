"""Templates and how values look in them: durations as ``4m 52s``, times relative, numbers short."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from blake3 import blake3
from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from hpo_pipelines.description import parameter, picture
from hpo_pipelines.server import ansi, highlight

_HERE = Path(__file__).parent
WORDS = {"reused": "Reused", "planned": "Not yet"}
"""What a person reads for what is shown; a status for itself."""


def duration(seconds: float | None) -> str:
    """``85ms``, ``1.4s``, ``12s``, ``4m 52s``, ``1h 05m``, ``2d 3h``; empty when unknown."""
    if seconds is None:
        return ""
    if 0 < seconds < 0.9995:
        return f"{max(1, round(seconds * 1000))}ms"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def ago(moment: float | None) -> str:
    """``just now``, ``5 min ago``, ``yesterday``, a date."""
    if not moment:
        return ""
    seconds = time.time() - moment
    if seconds < 45:
        return "just now"
    for unit, size in (("min", 60), ("h", 3600), ("d", 86400)):
        count = round(seconds / size)
        if count < {"min": 60, "h": 24, "d": 14}[unit]:
            return f"{max(1, count)} {unit} ago"
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def when(moment: float | None) -> str:
    """The moment in local time, to the second."""
    return "" if not moment else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def number(value: Any) -> str:
    """Five significant digits; integers as they are, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return str(value) if isinstance(value, int) else f"{value:.5g}"


def values(metrics: Mapping[str, Any]) -> str:
    """``loss 0.31, auc 0.9``."""
    return ", ".join([f"{name} {number(value)}" for name, value in metrics.items()])


def value_text(value: Any) -> str:
    """An encoded parameter, short enough for a cell."""
    if isinstance(value, Mapping) and "$from" in value:
        source = value["$from"]
        return source if isinstance(source, str) else ", ".join(map(str, source))
    if isinstance(value, str):
        return value if value and value == value.strip() else repr(value)
    return number(value) if isinstance(value, float) else parameter(value)


def size(count: int) -> str:
    """``512 B``, ``18.2 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def word(shown: str) -> str:
    return WORDS.get(shown, shown.capitalize())


@lru_cache(maxsize=1)
def version() -> str:
    """Changes with our static files, so that a browser never mixes two releases."""
    files = sorted(path for path in (_HERE / "static").rglob("*") if path.suffix in (".js", ".css", ".svg"))
    return blake3(b"".join(path.read_bytes() for path in files)).hexdigest()[:10]


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        duration=duration, ago=ago, when=when, number=number, values=values, value_text=value_text,
        size=size, word=word,
        picture=picture, quoted=lambda text: quote(str(text), safe=""),
        python=lambda text: Markup(highlight.python(text)),  # Pygments has escaped it
        diff=lambda text: Markup(highlight.diff(text)),
        ansi=lambda text: Markup(ansi.to_html(text)),
    )  # fmt: skip
    made.globals.update(version=version, query=query)
    return made


def query(**values: Any) -> str:
    """``?a=1&b=2`` of what is given."""
    given = {name: value for name, value in values.items() if value not in (None, "", False)}
    return f"?{urlencode(given)}" if given else "?"


def rendered(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """A page, or a part of one."""
    site = request.app.state.site
    text = (
        environment()
        .get_template(template)
        .render(
            request=request,
            who=request.scope.get("hpo.who"),
            has_mlflow=site.has_mlflow,
            path=request.url.path,
            now=time.time(),
            **context,
        )
    )
    return Response(text.encode("utf-8", "replace"), status, media_type="text/html; charset=utf-8")


def onward(request: Request, address: str) -> Response:
    """The answer to what was done: our scripts, or the browser itself, open the page at ``address``."""
    return Response(headers={"HX-Redirect": address}) if is_part(request) else RedirectResponse(address, 303)


def is_part(request: Request) -> bool:
    """Whether htmx asks for a part of the page."""
    return request.headers.get("hx-request") == "true"
