"""Webhooks as the settings declare them: where notifications go, of what, and how patiently."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from urllib.parse import urlsplit

from hpo_pipelines.errors import ConfigError, ParameterError
from hpo_pipelines.types import duration

EVENTS = (
    "run.completed", "run.failed", "run.aborted", "study.best", "study.completed", "study.failed", "study.aborted",
)  # fmt: skip
"""All that a webhook can be told of. Runs that are trials are told of by their study."""

USUAL = ("run.failed", "study.best", "study.completed", "study.failed")

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Webhook:
    """One URL that is told of what happens. ``${NAME}`` in the URL and in headers stands for a variable, which is read
    when something is sent, so that the settings need not hold the secret."""

    name: str
    url: str = field(repr=False)
    events: tuple[str, ...] = USUAL
    only_asked: bool = False
    """Told only of studies that name it (``notify``), and of no runs."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float | str = 10.0
    """Seconds that one attempt may take."""
    retries: int = 12
    """How often a message is tried again, the waits between doubled each time: 1 s, 2 s, … up to 5 min."""
    expires: float | str = "1d"
    """What happened longer ago than this is no news any more, and is not sent."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(self.events))
        for name in ("timeout", "expires"):
            object.__setattr__(self, name, duration(getattr(self, name)))

    def address(self, environment: Mapping[str, str] = os.environ) -> str:
        """The URL with its variables filled in. Raises ConfigError, which does not tell it."""
        url = self._filled(self.url, environment)
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ConfigError(f"{_at(self.name)}.url: it is an http:// or https:// address, once its variables are in.")
        return url

    def sent_headers(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The headers with their variables filled in. Raises ConfigError, which does not tell them."""
        return {name: self._filled(text, environment) for name, text in self.headers.items()}

    def _filled(self, text: str, environment: Mapping[str, str]) -> str:
        def value(match: re.Match[str]) -> str:
            if match[1] not in environment:
                raise ConfigError(f"{_at(self.name)} names the variable {match[1]}, which is not set here.")
            return environment[match[1]]

        return _VARIABLE.sub(value, text)


def webhooks(tables: object) -> dict[str, Webhook]:
    """The webhooks that ``tables`` (name -> what it holds) declare. Raises ConfigError for what is wrong with one."""
    if not isinstance(tables, Mapping):
        raise ConfigError("setting notifications: it is a table of webhooks, [notifications.NAME] for each.")
    return {name: _webhook(name, table) for name, table in tables.items()}


def _webhook(name: str, table: object) -> Webhook:
    at = _at(name)
    if not isinstance(table, Mapping):
        raise ConfigError(
            f'{at}: a webhook is a table with a url, such as [notifications.{name}] and url = "${{HOOK}}".'
        )
    known = [each.name for each in fields(Webhook) if each.name != "name"]
    for key in table:
        if key not in known:
            raise ConfigError(f"{at}: a webhook has no {key!r}{_nearest(key, known)}")
    _check(at, table)
    try:
        made = Webhook(name, **table)
    except ParameterError as error:
        raise ConfigError(f"{at}: {error}") from None
    if "${" not in made.url:
        made.address({})
    return made


def _check(at: str, table: Mapping[str, object]) -> None:
    """Raise ConfigError for a value of a wrong kind; that of a secret is not told."""
    url, headers = table.get("url"), table.get("headers", {})
    if not isinstance(url, str) or not url:
        raise ConfigError(f'{at}: it needs a url, such as "https://…", or "${{NAME}}" for one in a variable.')
    if not (isinstance(headers, Mapping) and all(isinstance(text, str) for text in headers.values())):
        raise ConfigError(f'{at}.headers: headers are text by name, such as {{Authorization = "Bearer ${{TOKEN}}"}}.')
    wanted = table.get("events", USUAL)
    if isinstance(wanted, str) or not isinstance(wanted, list | tuple):
        raise ConfigError(f"{at}.events={wanted!r}: it is a list of {', '.join(EVENTS)}.")
    for event in wanted:
        if event not in EVENTS:
            raise ConfigError(f"{at}.events: there is no {event!r}{_nearest(str(event), list(EVENTS))}")
    retries = table.get("retries", 0)
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ConfigError(f"{at}.retries={retries!r}: it is a whole number, 0 or more.")
    if not isinstance(table.get("only_asked", False), bool):
        raise ConfigError(f"{at}.only_asked={table['only_asked']!r}: it is true or false.")


def _at(name: str) -> str:
    return f"setting notifications.{name}"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f". Known: {', '.join(known)}."
