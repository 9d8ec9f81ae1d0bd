"""Which sampled parameters reach which step, read from the recorded runs of a study.

What is recorded of a step says what it was called with and whose outputs it used. A parameter reaches a step where an
argument has its value, moves with it, or is decided by it, in all runs; and where it reaches a step whose output the
step uses, or the body looked at before the call. An argument that none of that explains is taken to depend on every
parameter: the safe side, for then nothing is kept in vain; or, after a look of the body, on what reaches what was
seen. What is found is checked against the recorded keys: steps that agree in all that should reach them have one key,
or else every parameter reaches them.

A mistake costs time, never a result: whether a step is reused is decided by its key alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hpo_pipelines.engine.step import shown
from hpo_pipelines.planning import Reach as Followed
from hpo_pipelines.study.reuse import Stage, Stages
from hpo_pipelines.task import Edge, Task
from search_spaces import Space
from search_spaces.groups import flattened

_MOVES = 6
"""Runs in which an argument has to move with a parameter, always in one direction, before that is no chance."""
_ABSENT = "<absent>"


@dataclass(frozen=True)
class RunRecord:
    """A completed run: its parameters, its steps, and the edges between them."""

    params: Mapping[str, Any]
    steps: Sequence[Task]
    edges: Sequence[Edge]


@dataclass
class _Seen:
    """One step over the runs that have it, by the index of each run."""

    arguments: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    keys: dict[int, str | None] = field(default_factory=dict)
    sources: dict[int, frozenset[str]] = field(default_factory=dict)
    looked: bool = False
    """Whether the body had looked at an output before the call, in some run."""


@dataclass(frozen=True)
class Reach:
    """The stages, and of which stage each step is a part; steps that no parameter reaches are of none."""

    stages: Stages
    stage_of: Mapping[str, str]


def reach(runs: Sequence[RunRecord], space: Space) -> Reach | None:
    """The stages that ``runs`` show; None while they do not show every parameter at two values or more.

    Steps that the same parameters reach are one stage, since they are kept, or computed, together; a stage is after
    those whose parameters are among its own.
    """
    columns = _columns(runs, space)
    if not columns or any(_is_constant(values) for values in columns.values()):
        return None
    seen = _seen(runs)
    reaching: dict[str, frozenset[str]] = {}
    for name in _in_order(seen):
        found = _read_by(name, seen[name], columns, runs)
        for source in frozenset().union(*seen[name].sources.values()):
            found |= reaching.get(source, frozenset())
        reaching[name] = found if _agrees(seen[name], found, columns) else frozenset(columns)
    # A step without a key is computed each time; what it gives may be the same, and what comes after is kept then.
    anew = {name for name, each in seen.items() if not any(each.keys.values())}
    return _grouped({name: frozenset(columns) if name in anew else found for name, found in reaching.items()})


def foreseen(found: Followed, space: Space) -> Reach | None:
    """The stages that following the body shows before any run; None where that leaves something open."""
    names = [name for name in space.order() if space[name].size() != 1]
    if not found.complete:
        return None
    reaching = {
        step: frozenset(name for name in names if name.partition(".")[0] in found.of(step)) for step in found.steps
    }
    return _grouped({step: frozenset(names) if step in found.anew else params for step, params in reaching.items()})


def holds(known: Reach, steps: Collection[str], runs: Sequence[RunRecord], space: Space) -> bool:
    """Whether ``runs`` have no other ``steps``, and where all agrees that should reach a step, one key of it."""
    columns = _columns(runs, space)
    for name, seen in _seen(runs).items():
        if name not in steps:
            return False
        if name in known.stage_of:
            reaching = known.stages.reaching(known.stage_of[name])
        else:
            reaching = frozenset()
        if any(seen.keys.values()) and not _agrees(seen, reaching, columns):
            return False
    return True


def _columns(runs: Sequence[RunRecord], space: Space) -> dict[str, list[Any]]:
    """The value of each sampled parameter in each run."""
    flat = [flattened(space, run.params) for run in runs]
    names = [name for name in space.order() if space[name].size() != 1]
    return {name: [_hashable(each.get(name, _ABSENT)) for each in flat] for name in names}


def _seen(runs: Sequence[RunRecord]) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    for index, run in enumerate(runs):
        names = {step.id: step.name for step in run.steps}
        for step in run.steps:
            entry = seen.setdefault(step.name, _Seen())
            entry.arguments[index] = step.params
            entry.keys[index] = step.key
            before = [edge for edge in run.edges if edge.target == step.id and edge.source in names]
            entry.sources[index] = frozenset(names[edge.source] for edge in before)
            entry.looked |= any(edge.kind == "control" for edge in before)
    return seen


def _in_order(seen: Mapping[str, _Seen]) -> list[str]:
    """The steps, each after those that it uses in some run."""
    ordered: dict[str, None] = {}
    left = dict(seen)
    while left:
        ready = [
            name
            for name, each in left.items()
            if not (frozenset().union(*each.sources.values()) & left.keys()) - {name}
        ]
        # Two runs may use two steps in opposite order; then neither is certain, and both come now.
        for name in ready or list(left):
            ordered[name] = None
            del left[name]
    return list(ordered)


def _read_by(name: str, seen: _Seen, columns: Mapping[str, list[Any]], runs: Sequence[RunRecord]) -> frozenset[str]:
    """The parameters that the arguments of a step come from, and those that decide whose outputs it uses."""
    here = sorted(seen.arguments)
    values = {param: [column[index] for index in here] for param, column in columns.items()}
    whole = _whole(columns, runs, here)
    arguments = {argument for each in seen.arguments.values() for argument in each}
    found: set[str] = set()
    for argument in arguments:
        given = [seen.arguments[index].get(argument, _ABSENT) for index in here]
        found |= _explaining([_hashable(each) for each in given], values, whole, looked=seen.looked)
    used = [tuple(sorted(seen.sources[index])) for index in here]
    return frozenset(found | _explaining(used, values, {}, looked=seen.looked))


def _whole(columns: Mapping[str, list[Any]], runs: Sequence[RunRecord], here: Sequence[int]) -> dict[str, list[Any]]:
    """The parameters of the pipeline that have sampled members, as a step is shown to have them whole."""
    groups = {name.partition(".")[0] for name in columns if "." in name}
    return {group: [_hashable(shown(runs[index].params.get(group))) for index in here] for group in groups}


def _explaining(
    given: Sequence[Any], columns: Mapping[str, Sequence[Any]], whole: Mapping[str, Sequence[Any]], *, looked: bool
) -> set[str]:
    """The parameters that explain what an argument was in each run.

    What none explains came from what the body had looked at, if it had: what reaches that reaches this anyhow. Else it
    may come from all.
    """
    if _is_constant(given):
        return set()
    equal = {name for name, column in columns.items() if all(map(_same, given, column))}
    groups = [group for group, column in whole.items() if all(map(_same, given, column))]
    equal |= {name for name in columns for group in groups if name.startswith(f"{group}.")}
    moving = equal or {name for name, column in columns.items() if _moves_with(given, column)}
    deciding = moving or {name for name, column in columns.items() if _decides(column, given)}
    return deciding or (set() if looked else set(columns))


def _moves_with(given: Sequence[Any], column: Sequence[Any]) -> bool:
    """Whether numbers rise with a parameter, or fall, in enough runs."""
    if not all(isinstance(each, int | float) for each in (*given, *column)) or len(set(column)) < _MOVES:
        return False
    ordered = [value for _, value in sorted(zip(column, given, strict=True))]
    pairs = list(pairwise(ordered))
    return all(one <= other for one, other in pairs) or all(one >= other for one, other in pairs)


def _decides(column: Sequence[Any], given: Sequence[Any]) -> bool:
    """Whether a parameter, some of whose values came more than once, says what was given."""
    said: dict[Any, Any] = {}
    for value, each in zip(column, given, strict=True):
        if said.setdefault(value, each) != each:
            return False
    return len(said) < len(column)


def _agrees(seen: _Seen, found: frozenset[str], columns: Mapping[str, list[Any]]) -> bool:
    """Whether runs with the same values of all that reaches the step have the same key."""
    keys: dict[tuple[Any, ...], str | None] = {}
    for index, key in seen.keys.items():
        values = tuple(columns[name][index] for name in sorted(found))
        if keys.setdefault(values, key) != key:
            return False
    return True


def _grouped(reaching: Mapping[str, frozenset[str]]) -> Reach | None:
    members: dict[frozenset[str], list[str]] = {}
    for step, params in reaching.items():
        if params:
            members.setdefault(params, []).append(step)
    if not members:
        return None
    names = {params: "+".join(steps) for params, steps in members.items()}
    stages = []
    for params in sorted(members, key=lambda each: (len(each), sorted(each))):
        within = [other for other in members if other < params]
        nearest = [other for other in within if not any(other < between for between in within)]
        own = params.difference(*nearest)
        stages.append(Stage(names[params], tuple(sorted(own)), tuple(sorted(names[each] for each in nearest))))
    return Reach(Stages(stages), {step: names[params] for params, steps in members.items() for step in steps})


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_constant(values: Sequence[Any]) -> bool:
    return all(each == values[0] for each in values)


def _hashable(value: Any) -> Any:
    """``value``, or text that stands for it."""
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
