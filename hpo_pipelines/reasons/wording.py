"""Differences between two keys as a person would say them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hpo_pipelines.engine.keys import Difference
from hpo_pipelines.reasons.reader import Execution, Fed, Reader
from hpo_pipelines.reasons.record import Change
from hpo_pipelines.reasons.sources import Piece, piece, unified
from hpo_pipelines.task import Task

Story = Callable[[Task], str]
"""What became of another step, in brief: ``ran: never seen before``."""

_MISSING = object()


def change(reader: Reader, old: Execution, new: Execution, found: Difference, story: Story) -> Change:
    """One difference between an earlier execution and a later one, in words."""
    if found.kind == "code":
        return _code(reader, old, new, found)
    if found.kind == "inputs":
        return _input(reader, old, new, found, story)
    text = _WORDS[found.kind](found)
    return Change(found.kind, found.name, text, text, found.old, found.new)


# -- what is declared


def _package(found: Difference) -> str:
    if found.old is None:
        return f"package {found.name} {found.new} is used now"
    if found.new is None:
        return f"package {found.name} {found.old} is no longer used"
    return f"{found.name} {found.old} → {found.new}"


def _environment(found: Difference) -> str:
    if found.name == "python":
        return f"Python {found.old} → {found.new}"
    if found.name.startswith("env."):
        return f"environment variable {found.name.removeprefix('env.')} {_or_none(found.old)} → {_or_none(found.new)}"
    if found.name == "files":
        return f"a file among the environment's packages changed: {', '.join(found.new or found.old)}"
    return f"environment's {found.name} {_or_none(found.old)} → {_or_none(found.new)}"


def _version(found: Difference) -> str:
    return f"version {_or_none(found.old)} → {_or_none(found.new)}"


def _dependency(found: Difference) -> str:
    what = f"dependency {found.name}"
    return f"{what} is new" if found.old is None else f"{what} is gone" if found.new is None else f"{what} changed"


def _outputs(found: Difference) -> str:
    old, new = (", ".join(map(str, names or ())) or "none" for names in (found.old, found.new))
    return f"outputs {old} → {new}"


def _or_none(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


_WORDS: Mapping[str, Callable[[Difference], str]] = {
    "packages": _package,
    "environment": _environment,
    "version": _version,
    "depends": _dependency,
    "outputs": _outputs,
}


# -- code


def _code(reader: Reader, old: Execution, new: Execution, found: Difference) -> Change:
    before, after = piece(reader.content(old.task), found.name), piece(reader.content(new.task), found.name)
    known = after if found.new is not None and after.kind != "piece" else before
    what = f"{_called(known, found.name, str(new.task.component))} in {known.file}"
    if found.old is None:
        text = f"{what} is new"
    elif found.new is None:
        text = f"{what} is gone"
    elif before.value is not None and after.value is not None and before.value != after.value:
        text = f"{what} {before.value} → {after.value}"
    else:
        text = f"{what} changed"
    diff = unified(before, after, old_label=reader.label(old.task), new_label=reader.label(new.task))
    return Change(
        "code", found.name, text + _why_no_diff(found, before, after, diff), text, before.value, after.value, diff
    )


def _called(known: Piece, label: str, component: str) -> str:
    name = known.name.replace("<locals>.", "")
    if known.kind == "function":
        return f"component {name}" if name == component else f"helper {name}"
    return f"{'code' if known.kind == 'piece' else known.kind} {name}"


def _why_no_diff(found: Difference, before: Piece, after: Piece, diff: str) -> str:
    if diff or found.old is None or found.new is None or before.kind in ("default", "captured"):
        return ""
    if before.text is None or after.text is None:
        return f" (its {'old' if before.text is None else 'new'} source is not to be had)"
    return " (its source reads the same; what a name in it stands for changed)"


# -- inputs


def _input(reader: Reader, old: Execution, new: Execution, found: Difference, story: Story) -> Change:
    name = found.name
    sources = _sources(reader, new.task, name)
    before, after = _value(reader, old.task, name), _value(reader, new.task, name)
    if sources:
        brief = _fed(name, sources, before, after)
        stories = dict.fromkeys(f"{fed.step.name} {story(fed.step)}" for fed in sources)
        text = f"{brief} ({'; '.join(stories)})"
    else:
        brief = text = _literal(name, old, new, before, after)
    produced = ", ".join(dict.fromkeys(reader.label(fed.step) for fed in sources)) or None
    shown = [None if value is _MISSING else value for value in (before, after)]
    return Change("inputs", name, text, brief, shown[0], shown[1], source=produced)


def _sources(reader: Reader, task: Task, name: str) -> list[Fed]:
    """The outputs that an argument is, or has inside."""
    fed = reader.fed(task)
    if name in fed:
        return fed[name]
    shown = task.params.get(name)
    inside = shown.get("$from", ()) if isinstance(shown, Mapping) else ()
    return [each for each in fed.get("", []) if f"{each.step.name}.{each.name}" in inside]


def _fed(name: str, sources: list[Fed], before: Any, after: Any) -> str:
    steps = ", ".join(dict.fromkeys(fed.step.name for fed in sources))
    if _is_short(before) and _is_short(after):
        return f"input {name} from {steps} {before} → {after}"
    return f"input {name} from {steps} changed"


def _literal(name: str, old: Execution, new: Execution, before: Any, after: Any) -> str:
    if name not in old.task.params:
        return f"argument {name} is new: {_text(after)}"
    if name not in new.task.params:
        return f"argument {name} is gone: it was {_text(before)}"
    if _text(before) != _text(after):
        return f"{name} {_text(before)} → {_text(after)}"
    return f"{name} changed (both read {_text(after)}; its type, or what is not shown of it, differs)"


def _value(reader: Reader, task: Task, name: str) -> Any:
    """An argument as it was recorded to be shown; of an output, its value if it is short."""
    shown = task.params.get(name, _MISSING)
    if not (isinstance(shown, Mapping) and "$from" in shown):
        return shown
    sources = _sources(reader, task, name)
    if len(sources) != 1 or not isinstance(shown["$from"], str) or sources[0].ref is None:
        return _MISSING
    preview = sources[0].ref.preview
    return preview.get("repr", _MISSING)


def _is_short(value: Any) -> bool:
    return value is not _MISSING and len(_text(value)) <= 40


def _text(value: Any) -> str:
    """A parameter as a person would write it: ``0.1``, ``'svm'``, ``None``."""
    if value is _MISSING:
        return "an output"
    return repr(value) if isinstance(value, str | int | float | bool | None) else json.dumps(value, default=str)
