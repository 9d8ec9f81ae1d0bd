"""Options of commands that drive a study: when it stops asking for trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _seconds(ctx: click.Context, option: click.Parameter, text: str | None) -> float | str | None:
    """``--timeout 90`` is 90 seconds, as it is in Python."""
    return float(text) if text is not None and text.replace(".", "", 1).isdigit() else text


_OPTIONS = (
    click.option("--timeout", metavar="TIME", callback=_seconds, help="Stop asking after this long, such as 2h."),
    click.option(
        "--max-compute", metavar="TIME", callback=_seconds, help="Stop asking once steps have executed for this long."
    ),
    click.option("--target", "target_value", type=float, help="Stop asking once a trial has this value, or better."),
    click.option(
        "--plateau",
        metavar="TRIALS",
        type=click.IntRange(1),
        help="Stop asking after so many trials in a row without a better value.",
    ),
    click.option("--max-failures", type=click.IntRange(1), help="Stop after so many failed trials."),
)


def limit_options(command: F) -> F:
    """``--timeout``, ``--max-compute``, ``--target`` (as ``target_value``), ``--plateau`` and ``--max-failures``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def limits_of(given: dict[str, Any]) -> dict[str, Any]:
    """What was given of these options, by the names that ``optimize`` has for them."""
    return {"target" if name == "target_value" else name: value for name, value in given.items()}
