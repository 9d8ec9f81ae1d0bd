"""How two executions differ, and which earlier one is nearest; where parts were not recorded, from what else was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.canonical import value_digest
from hpo_pipelines.engine.keys import Difference, differences
from hpo_pipelines.reasons.reader import LATEST, Execution, Reader
from hpo_pipelines.reasons.sources import piece
from hpo_pipelines.task import Task

_PLAIN = (type(None), bool, int, float, str)
_SHOWN_WHOLE = 200
"""Longer text is cut when it is recorded."""


@dataclass(frozen=True)
class Nearest:
    """The earlier execution with the fewest differing parts, and these."""

    execution: Execution
    differences: tuple[Difference, ...]


def nearest(reader: Reader, new: Execution) -> Nearest | None:
    """The nearest earlier execution of the same component: of its own pipeline if there is one; of several, the newest.

    None if it never ran before.
    """
    candidates = [reader.execution(task) for task in reader.earlier(new.task)]
    own = [each for each in candidates if _pipeline(each.task) == _pipeline(new.task)]
    chosen = sorted(own or candidates, key=lambda each: each.task.id, reverse=True)[:LATEST]
    compared = [Nearest(old, compare(reader, old, new)) for old in chosen]
    return min(compared, key=lambda found: len(found.differences), default=None)


def _pipeline(task: Task) -> tuple[str, str | None]:
    return task.project, task.pipeline


def compare(reader: Reader, old: Execution, new: Execution) -> tuple[Difference, ...]:
    """The parts in which two executions differ; none if they have one key."""
    if old.task.key is not None and old.task.key == new.task.key:
        return ()
    if old.parts is not None and new.parts is not None:
        return differences(old.parts, new.parts)
    known = old.parts or new.parts or _unrecorded(reader, old, new)
    return differences(_parts(reader, old, new, known), _parts(reader, new, old, known))


def _unrecorded(reader: Reader, old: Execution, new: Execution) -> Mapping[str, Any]:
    """What to compare where neither has parts: the arguments, and the component's own source."""
    content = reader.content(new.task)
    source = None if content is None else content.components.get(str(new.task.component))
    return {
        "code": {} if source is None else {str(new.task.component): ""},
        "inputs": dict.fromkeys([*new.task.params, *old.task.params]),
        "packages": {} if content is None else content.packages,
    }


def _parts(reader: Reader, one: Execution, other: Execution, known: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parts of ``one``, made up where they were not recorded: like ``known`` in all that cannot be told."""
    if one.parts is not None:
        return one.parts
    content = reader.content(one.task)
    made = dict(known)
    made["inputs"] = {
        name: _input(reader, one, other, name) for name in known.get("inputs", {}) if name in one.task.params
    }
    made["code"] = {
        name: digest if _source(reader, one, name) == _source(reader, other, name) else f"of {one.task.id}"
        for name, digest in known.get("code", {}).items()
    }
    if content is not None:
        packages = known.get("packages", {})
        made["packages"] = {name: content.packages.get(name, version) for name, version in packages.items()}
        python = ".".join(content.python.split(".")[:2])
        made["environment"] = {**known.get("environment", {}), "python": python}
    return made


def _source(reader: Reader, execution: Execution, name: str) -> str | None:
    content = reader.content(execution.task)
    if content is None:
        return None
    return piece(content, name).text if ":" in name else content.components.get(name)


def _input(reader: Reader, one: Execution, other: Execution, name: str) -> str:
    """The identity of an argument of ``one``, as far as what is recorded tells."""
    fed = reader.fed(one.task).get(name)
    if fed:
        return fed[0].ref.value_digest if fed[0].ref is not None else "unknown"
    shown = one.task.params[name]
    exact = isinstance(shown, _PLAIN) and not (isinstance(shown, str) and len(shown) > _SHOWN_WHOLE)
    if exact and other.parts is None:
        return value_digest(shown)
    if _same(reader, one, other, name):
        return str((other.parts or {}).get("inputs", {}).get(name, json.dumps(shown)))
    return value_digest(shown) if exact else json.dumps(shown)


def _same(reader: Reader, one: Execution, other: Execution, name: str) -> bool:
    """Whether an argument reads the same in both, and what fed it was the same."""
    shown, compared = (json.dumps(each.task.params.get(name)) for each in (one, other))
    if shown != compared:
        return False
    inside, within = (_digests(reader, each.task) for each in (one, other))
    return "$from" not in shown or inside == within


def _digests(reader: Reader, task: Task) -> list[str]:
    return [fed.ref.value_digest if fed.ref is not None else "" for fed in reader.fed(task).get("", [])]
