"""Options of commands that drive a study: when it stops asking for trials, and how often each is repeated."""

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


def repeats(ctx: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    """``seed=5``, or ``seed=1,7,42``, as ``optimize`` takes it."""
    if text is None:
        return None
    name, equals, value = (part.strip() for part in text.partition("="))
    if not name or not equals or not value:
        raise click.BadParameter(f"{text!r} is no PARAMETER=N or PARAMETER=A,B,…, such as seed=5.")
    if "," not in value:
        if not value.isdigit() or int(value) < 2:
            raise click.BadParameter(f"{text!r}: how many values {name} takes is 2 or more.")
        return {name: int(value)}
    return {name: [int(item) if item.strip().lstrip("-").isdigit() else item.strip() for item in value.split(",")]}
