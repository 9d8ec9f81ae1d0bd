"""What the form of a new study asks for beside its space, read from fields that may come several times."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from pydantic import ValidationError

from hpo_pipelines.errors import HpoPipelinesError, ParameterError
from hpo_pipelines.server.api.studies import StudyRequest
from hpo_pipelines.study.goals import DIRECTIONS, Constraint
from hpo_pipelines.types import duration
from hpo_pipelines.waiting import CONTROLLERS

Given = Mapping[str, Sequence[str]]
"""The fields of a form that was sent; empty of one that is new."""

RELATIONS = ("<=", ">=", "<", ">")
MOST_REPEATS = 1000
_FILLED = {"n_trials": "30", "n_jobs": "2", "queue": CONTROLLERS}
"""What a new form has."""
_ENDS = ("timeout", "max_compute", "target", "plateau", "max_failures")
_MEANS = ("sampler", "options", "seed", "pruner", "prune_on", "repeats", "reuse")
_FIELDS = ("objective", "constraints", "n_trials", "n_jobs", "name", "queue", *_ENDS, *_MEANS)


def given_lists(body: bytes) -> Given:
    """The fields of a form that was sent, each with all of its values."""
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)


def named_in(message: str, space: Collection[str]) -> str:
    """The field that an error is about, as it names it (``target=``, ``constraint 'x'``); empty for none."""
    found = re.search(rf"\b({'|'.join(_FIELDS)})=", message)
    if found:
        return found[1]
    if message.startswith("constraint "):
        return "constraints"
    if "called" in message and "already" in message:
        return "name"
    return next((f"s.{name}" for name in space if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", message)), "")


@dataclass(frozen=True)
class StudyForm:
    """The fields of the form as they were sent, or as a new one has them."""

    given: Given

    def text(self, name: str) -> str:
        """What stands in the field ``name``."""
        if name not in self.given:
            return "" if self.given else _FILLED.get(name, "")
        return self.given[name][-1].strip()

    def on(self, name: str) -> bool:
        """Whether the box ``name`` is ticked; those of a new form are."""
        return not self.given or self.text(name) == "true"

    @property
    def goals(self) -> list[tuple[str, str]]:
        """(objective, direction) of each row, one at least."""
        found = list(zip(self._all("objective"), self._all("direction"), strict=False))
        return found or [("", DIRECTIONS[0])]

    @property
    def constraints(self) -> list[tuple[str, str, str]]:
        """(metric, relation, bound) of each row."""
        parts = (self._all(f"constraint.{part}") for part in ("name", "relation", "bound"))
        return list(zip(*parts, strict=False))

    @property
    def has_ends(self) -> bool:
        """Whether something is filled in among the rules that end it, beside the number of trials."""
        return any(self.text(name) for name in _ENDS)

    @property
    def has_means(self) -> bool:
        """Whether something is filled in of how trials are chosen, pruned and repeated."""
        return any(self.text(name) for name in _MEANS if name != "reuse") or not self.on("reuse")

    def folded(self, wrong: Mapping[str, str], part: str) -> bool:
        """Whether a part of the form, ``ends`` or ``means``, stays folded: nothing in it is filled in, or wrong."""
        filled, names = (self.has_ends, (*_ENDS, "n_trials")) if part == "ends" else (self.has_means, _MEANS)
        return not filled and not any(name in wrong for name in names)

    # -- reading

    def read(self, run: str, space: Mapping[str, Any]) -> tuple[StudyRequest | None, dict[str, str]]:
        """What is asked for, None where it cannot be read; and what is wrong, by field."""
        wrong: dict[str, str] = {}
        asked: dict[str, Any] = {"run": run, "space": space, "reuse": self.on("reuse")}

        def put(name: str, read: Callable[[], Any]) -> None:
            try:
                value = read()
            except HpoPipelinesError as error:
                wrong[name] = str(error)
            else:
                asked.update({name: value} if value is not None else {})

        put("objective", self._objective)
        asked["direction"] = [direction for _, direction in self.goals]
        put("constraints", self._constraints)
        for name in ("n_trials", "n_jobs", "plateau", "max_failures", "seed"):
            put(name, lambda name=name: _whole(name, self.text(name)))  # type: ignore[misc]
        for name in ("timeout", "max_compute"):
            put(name, lambda name=name: _seconds(self.text(name)))  # type: ignore[misc]
        put("target", lambda: _number("target", self.text("target")))
        put("repeats", self._repeats)
        asked |= {name: self.text(name) for name in ("name", "queue", "pruner") if self.text(name)}
        asked |= self._sampler()
        heard = [each.strip() for each in re.split(r"[,\n]", self.text("prune_on")) if each.strip()]
        asked |= {"prune_on": heard} if heard else {}
        if not (asked.keys() | wrong.keys()) & {"n_trials", "timeout", "plateau"} and not self._is_exhaustive:
            wrong["n_trials"] = "a study needs an end: say how many trials, or how long, or give a plateau."
        if wrong:
            return None, wrong
        try:
            return StudyRequest.model_validate(asked), {}
        except ValidationError as error:
            return None, {str(each["loc"][0]): each["msg"] for each in error.errors()}

    def _all(self, name: str) -> list[str]:
        return [each.strip() for each in self.given.get(name, ())]

    def _objective(self) -> str | list[str] | None:
        names = [name for name, _ in self.goals]
        if len(names) > 1 and "" in names:
            raise ParameterError("of several objectives each is a metric, or a key of what is returned.")
        return names if len(names) > 1 else names[0] or None

    def _constraints(self) -> list[str]:
        rows = [row for row in self.constraints if row[0] or row[2]]
        return [str(Constraint.parse(" ".join(row))) for row in rows]

    def _repeats(self) -> dict[str, int] | None:
        name, text = self.text("repeats"), self.text("repeats.count")
        if not name:
            return None
        count = _whole("repeats", text)
        if count is None or not 2 <= count <= MOST_REPEATS:
            raise ParameterError(f"each trial is repeated 2 to {MOST_REPEATS} times; got {text or 'nothing'}.")
        return {name: count}

    def _sampler(self) -> dict[str, str]:
        name, options = self.text("sampler"), self.text("options")
        if not name:
            return {"sampler": f"tpe({options})"} if options else {}
        return {"sampler": f"{name}({options})" if options else name}

    @property
    def _is_exhaustive(self) -> bool:
        return self.text("sampler") in ("grid", "bruteforce")


def _whole(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ParameterError(f"{name}: it is a whole number; got {text[:40]!r}.") from None


def _seconds(text: str) -> float | None:
    if not text:
        return None
    return duration(float(text) if re.fullmatch(r"[\d.]*\d", text) and text.count(".") < 2 else text)


def _number(name: str, text: str) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise ParameterError(f"{name}: it is a number; got {text[:40]!r}.")
    return value
