"""What samplers that know stages are told of a study over a pipeline: all of it read from the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from hpo_pipelines.planning import Reach as Followed
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study.derivation import Reach, RunRecord, foreseen, holds, reach
from hpo_pipelines.study.reuse import Stages, Standing
from hpo_pipelines.study.sampling import ORIGIN
from hpo_pipelines.task import Edge, Task, names_within
from hpo_pipelines.types import Kind, Status
from search_spaces import Categorical, Fixed, Space

if TYPE_CHECKING:
    from hpo_pipelines.store import Store

_RUNS = 200
"""So many of the latest completed runs are looked at to see which parameters reach which step."""


@dataclass(frozen=True)
class _Step:
    """A finished step as a sampler sees it."""

    name: str
    key: str | None
    seconds: float | None
    """What it took, if this trial was the first to need it; else None."""


class StudyRecords:
    """Reads the runs of one study; see :class:`hpo_pipelines.study.reuse.Records`. For one thread at a time.

    ``stages``, if given, are those of the pipeline, with the names of steps; else they are what ``follow``, which is
    asked once, says of the body, as long as the runs' keys agree with that; or else derived from the runs.
    """

    def __init__(
        self,
        store: Store,
        study: str,
        space: Space,
        stages: Stages | None = None,
        *,
        follow: Callable[[], Followed | None] = lambda: None,
    ) -> None:
        self._store = store
        self._study = study
        self._space = space
        self._given = stages
        self._follow = follow
        self._followed: Followed | None = None
        self._finished: dict[int, tuple[_Step, ...]] = {}
        """The steps of finished trials, which change no more."""
        self._reach: Reach | None = None
        self._looked_at: int | None = None
        """How many completed trials there were when the stages were derived."""
        self._has: dict[str, bool] = {}
        self._first: dict[str, int] = {}
        """Which trial took each key, when first seen, from the cache."""

    def stages(self, trials: Sequence[FrozenTrial]) -> Stages | None:
        # Each proposal begins here: what was in the cache for the last one may be gone.
        self._has.clear()
        if self._given is not None:
            return self._given
        if self._looked_at is None:
            self._followed = self._follow()
        if self._reach is None or self._looked_at is None or len(trials) >= 1.25 * self._looked_at:
            self._reach = self._learnt(self._completed(trials))
            self._looked_at = len(trials)
        return None if self._reach is None else self._reach.stages

    def _learnt(self, runs: Sequence[RunRecord]) -> Reach | None:
        """The stages that following the body shows, while ``runs`` agree; else those that ``runs`` show."""
        if self._followed is not None:
            found = foreseen(self._followed, self._space)
            if found is not None and holds(found, self._followed.steps, runs, self._space):
                return found
            self._followed = None
        return reach(runs, self._space)

    def seconds(self, trial: FrozenTrial) -> Mapping[str, float]:
        """Of the stages all of whose steps ``trial`` was the first to need."""
        found: dict[str, float] = {}
        partly: set[str] = set()
        for step in self._steps(trial):
            stage = self._stage(step)
            if step.seconds is None:
                partly.add(stage)
            else:
                found[stage] = found.get(stage, 0.0) + step.seconds
        return {stage: seconds for stage, seconds in found.items() if stage and stage not in partly}

    def standing(self, trial: FrozenTrial, stage: str) -> Standing:
        if trial.state.is_finished() and not self._steps(trial):
            return Standing.GONE  # its run was deleted
        steps = [step for step in self._steps(trial) if self._stage(step) == stage]
        if all(step.key is not None and self._is_kept(step.key) for step in steps):
            # A running trial may not have come to all of its steps.
            return Standing.KEPT if trial.state.is_finished() or len(steps) == self._size(stage) else Standing.UNDER_WAY
        return Standing.GONE if trial.state.is_finished() else Standing.UNDER_WAY

    def allows(self, params: Mapping[str, Any]) -> bool:
        values = {name: item.value for name, item in self._space.items() if isinstance(item, Fixed)}
        for name, value in params.items():
            item = self._space[name]
            values[name] = item.choice_of(value) if isinstance(item, Categorical) else value
        known = (constraint for constraint in self._space.constraints if values.keys() >= set(constraint.names))
        return all(constraint.holds(values) for constraint in known)

    def _stage(self, step: _Step) -> str:
        """The stage that the step is a part of; for given stages, whose names are those of steps, itself."""
        return step.name if self._reach is None else self._reach.stage_of.get(step.name, step.name)

    def _size(self, stage: str) -> int:
        return 1 if self._reach is None else list(self._reach.stage_of.values()).count(stage)

    def _is_kept(self, key: str) -> bool:
        if key not in self._has:
            self._has[key] = self._store.cache.has(key)
        return self._has[key]

    def _steps(self, trial: FrozenTrial) -> tuple[_Step, ...]:
        if trial.number in self._finished:
            return self._finished[trial.number]
        run = self._run(trial)
        steps = () if run is None else tuple(self._seen(trial, step) for step in recorded(self._store, run).steps)
        if trial.state.is_finished():
            self._finished[trial.number] = steps
        return steps

    def _seen(self, trial: FrozenTrial, step: Task) -> _Step:
        if step.status is not Status.COMPLETED:
            return _Step(step.name, None, None)
        if step.reused_from is None or step.key is None:
            return _Step(step.name, step.key, step.seconds)
        origin = self._store.tasks.get_all([step.reused_from]).get(step.reused_from)
        around = None if origin is None else self._store.tasks.get_all([origin.parent or ""]).get(origin.parent or "")
        is_ours = around is not None and around.study == self._study
        if origin is None or is_ours or self._first.setdefault(step.key, trial.number) != trial.number:
            return _Step(step.name, step.key, None)
        return _Step(step.name, step.key, origin.seconds)

    def _run(self, trial: FrozenTrial) -> Task | None:
        origin = trial.user_attrs.get(ORIGIN)
        if origin is not None:  # it was run elsewhere
            return self._store.tasks.get_all([origin]).get(origin)
        where = TaskFilter(kind=Kind.PIPELINE, study=self._study, trial=trial.number, top=True)
        return next(iter(self._store.tasks.list(where, limit=1)), None)

    def _completed(self, trials: Sequence[FrozenTrial]) -> list[RunRecord]:
        runs = [run for trial in trials[-_RUNS:] if (run := self._run(trial)) is not None]
        # Other code has other steps.
        runs = [run for run in runs if run.status is Status.COMPLETED and run.snapshot == runs[-1].snapshot]
        return [recorded(self._store, run) for run in runs]


def recorded(store: Store, run: Task) -> RunRecord:
    """The steps of a run, those of runs inside it too under the names of these, and the edges between them."""
    below = store.tasks.below([run.id])
    inner = {task.id: task for task in below if task.kind is not Kind.STEP}
    names: dict[str, str] = {}
    for parent in (run.id, *inner):
        names |= names_within(task for task in inner.values() if task.parent == parent)
    steps = [replace(task, name=_path(task, inner, names)) for task in below if task.kind is Kind.STEP]
    members: dict[str, list[str]] = {task.id: [] for task in inner.values()}
    for step in steps:
        for around in _around(step, inner):
            members[around.id].append(step.id)
    edges = [edge for each in (run.id, *inner) for edge in store.tasks.edges(each)]
    # What a run inside uses, its steps may use; what it gives, any of them may have made.
    spread = [
        Edge(source, target, edge.kind)
        for edge in edges
        for source in members.get(edge.source, [edge.source])
        for target in members.get(edge.target, [edge.target])
    ]
    return RunRecord(run.params, steps, spread)


def _around(task: Task, inner: Mapping[str, Task]) -> Iterator[Task]:
    parent = inner.get(task.parent or "")
    while parent is not None:
        yield parent
        parent = inner.get(parent.parent or "")


def _path(step: Task, inner: Mapping[str, Task], names: Mapping[str, str]) -> str:
    around = [names[each.id] for each in _around(step, inner)]
    return "/".join((*reversed(around), step.name))
