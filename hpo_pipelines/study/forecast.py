"""``plan_study``: how often each step of a study will run, and for how long, before anything does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import optuna

from hpo_pipelines.component import Component
from hpo_pipelines.errors import ConfigError, SpaceError, StudyError
from hpo_pipelines.executors.processes import available_cpus
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning import Durations
from hpo_pipelines.planning.planner import resolved
from hpo_pipelines.planning.reaching import Subject, traced
from hpo_pipelines.planning.simulation import Simulation, Work
from hpo_pipelines.planning.symbolic import Called, Recorded
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.run import Run
from hpo_pipelines.snapshot import Code
from hpo_pipelines.study import basis, plans, samplers, sampling
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.means import Means
from hpo_pipelines.study.planned import PlannedStep, Range, StudyPlan
from hpo_pipelines.study.repeating import Given
from search_spaces import Space
from search_spaces.groups import nested

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

ROUNDS = 10
"""So many studies are simulated where samples are random."""
MOST_FOLLOWED = 1000
"""Trials followed in all of the simulated studies, unless two of them have more."""


def plan_study(
    pipeline: Pipeline[..., Any] | Run,
    /,
    space: Space | Mapping[str, Any] | str | Path,
    objective: str | Sequence[str] | None = None,
    direction: str | Sequence[str] = "maximize",
    *,
    n_trials: int | None = None,
    n_jobs: int = 1,
    sampler: str | Mapping[str, Any] | optuna.samplers.BaseSampler | None = None,
    seed: int | None = None,
    repeats: Given | None = None,
    executor: str | None = None,
    workers: int | None = None,
    reuse: bool = True,
    workspace: Workspace | None = None,
) -> StudyPlan:
    """What :func:`optimize` with the same options is expected to execute; the body is followed, no step runs.

    Of ``grid`` and ``bruteforce`` every trial is followed; for other samplers studies with random samples are
    simulated. A sampler that comes back to good values of categorical parameters executes less than that. Steps are
    told apart by their keys: what is recorded already counts as reused, and what different inputs may make equal
    does not. ``workers`` is how many steps run at a time (default: the local executor's CPUs, with ``inline`` one for
    each trial in flight). Limits other than ``n_trials`` are not foreseen, nor are failures and pruning.

    The plan is kept in the workspace's home: the next study that is begun over this pipeline and this space has it
    (:meth:`Study.plan_comparison`).

    Raises SpaceError, ParameterError and StudyError as ``optimize`` does, and where no number of trials is known.
    """
    from hpo_pipelines.defaults import default_workspace

    place = workspace or (pipeline.workspace if isinstance(pipeline, Run) else default_workspace())
    if isinstance(place, RemoteWorkspace):
        raise ConfigError("a study is planned where its store is: unset HPO_SERVER, or ask on the server's machine.")
    parsed, goals, means = basis.parsed(space), Goals.of(objective, direction, ()), Means(sampler, seed=seed)
    limits = means.limited(Limits(n_trials, n_jobs=n_jobs), parsed, goals)
    if limits.n_trials is None:
        raise StudyError("how many trials to plan for? Give n_trials=, or a sampler that ends by itself: grid.")
    made, code, given = resolved(place, pipeline, {})
    basis.check_values(parsed, made)
    forecast = _Forecast(place, made, code, given, _repeated(repeats, made, given, parsed))
    forecast.reuse = reuse
    chosen = means.sampler_for(parsed, goals)
    rounds = list(_rounds(chosen, parsed, limits.n_trials, sampling.enqueued(parsed, given), seed))
    found = forecast.plan(
        rounds,
        n_jobs=n_jobs,
        workers=workers or _workers(executor or place.engine.default_executor, n_jobs),
        sampler=samplers.name_of(chosen),
        exact=samplers.exhaustive(chosen),
    )
    plans.keep(place, made.project, made.name, parsed, found)
    return found


def _workers(executor: str | None, n_jobs: int) -> int:
    return n_jobs if executor == "inline" else max(1, int(available_cpus("HPO_LOCAL_CPUS")))


def _repeated(
    repeats: Given | None, pipeline: Pipeline[..., Any], given: Mapping[str, Any], space: Space
) -> list[dict[str, Any]]:
    """What is laid over the parameters of each repeat."""
    from hpo_pipelines.study.repeating import repeats_over

    found = repeats_over(repeats, pipeline, pipeline.parameters.encode(given), space)
    if found is None:
        return [{}]
    return [pipeline.parameters.decode({found.parameter: value}) for value in found.values]


def _rounds(
    chosen: optuna.samplers.BaseSampler, space: Space, n_trials: int, base: Any, seed: int | None
) -> Iterator[list[dict[str, Any]]]:
    """The samples of each study that is followed."""
    if samplers.exhaustive(chosen):
        points = chosen.points if isinstance(chosen, samplers.Grid) else None
        yield list(itertools.islice(space.samples(points), n_trials))
        return
    random = Random(seed)
    for _ in range(max(2, min(ROUNDS, MOST_FOLLOWED // n_trials))):
        # The base parameters go first, as in a study.
        first = [] if base is None else [sampling.unlabelled(space, base)]
        yield [*first, *(_drawn(space, random) for _ in range(n_trials - len(first)))]


def _drawn(space: Space, random: Random) -> dict[str, Any]:
    for _ in range(sampling.DRAWS):
        values = space.draw(random)
        if not space.violated(values):
            return values
    raise SpaceError(f"none of {sampling.DRAWS} random samples satisfies the constraints of the space.")


class _Forecast:
    """Follows trials, and counts what they have in common."""

    def __init__(
        self,
        workspace: Workspace,
        pipeline: Pipeline[..., Any],
        code: Code,
        given: Mapping[str, Any],
        repeats: Sequence[Mapping[str, Any]],
    ) -> None:
        self.reuse = True
        self._subject = Subject(Recorded(workspace.engine), pipeline, code, given)
        self._durations = Durations(workspace.store)
        self._pipeline, self._given, self._repeats = pipeline, given, repeats
        self._components: dict[str, Component[..., Any]] = {}
        self._stops: dict[str, int] = {}
        self._is_cut = False
        """Whether some body was not followed to its end."""
        self._followed: dict[str, tuple[list[str], list[Work], list[str]]] = {}

    def plan(
        self, rounds: Sequence[Sequence[Mapping[str, Any]]], *, n_jobs: int, workers: int, sampler: str, exact: bool
    ) -> StudyPlan:
        counted = [[self._trial(values) for values in samples] for samples in rounds]
        counts = [_counts(trials) for trials in counted]
        schedules = [
            Simulation([works for _, works in trials], n_jobs=n_jobs, workers=workers).run() for trials in counted
        ]
        total = sum(map(len, rounds))
        return StudyPlan(
            pipeline=self._pipeline.name,
            n_trials=len(rounds[0]),
            n_jobs=n_jobs,
            workers=workers,
            sampler=sampler,
            exact=exact and not self._is_cut,
            rounds=len(rounds),
            steps=tuple(
                PlannedStep(
                    name,
                    component.name,
                    Range.of([count.get(name, (0, 0))[0] for count in counts]),
                    Range.of([count.get(name, (0, 0))[1] for count in counts]),
                    self._durations.of(component),
                )
                for name, component in self._components.items()
            ),
            seconds=Range.of([schedule.compute for schedule in schedules]),
            wall=Range.of([schedule.wall for schedule in schedules]),
            stops={said: count / total for said, count in self._stops.items()},
        )

    def _trial(self, values: Mapping[str, Any]) -> tuple[list[str], list[Work]]:
        """The names of the steps that a trial calls, and what each does."""
        said = repr(sorted(values.items()))
        if said not in self._followed:
            self._followed[said] = self._follow(nested(values))
        names, works, stops = self._followed[said]
        for stop in stops:
            self._stops[stop] = self._stops.get(stop, 0) + 1
        return names, works

    def _follow(self, sampled: Mapping[str, Any]) -> tuple[list[str], list[Work], list[str]]:
        names: list[str] = []
        works: list[Work] = []
        stops: list[str] = []
        parameters = self._pipeline.parameters
        for number, repeat in enumerate(self._repeats, 1):
            trace = traced(self._subject, parameters.bind({**self._given, **sampled, **repeat}))
            before = len(works)
            inside = self._pipeline.name if number == 1 else f"{self._pipeline.name}.{number}"
            for call in trace.calls:
                name = call.name if len(self._repeats) == 1 else f"{inside}/{call.name}"
                self._components.setdefault(name, call.component)
                names.append(name)
                works.append(self._work(call, before))
            self._is_cut |= trace.stop is not None
            stops += [said for said in (trace.stop, trace.raised) if said is not None and said not in stops]
        return names, works, stops

    def _work(self, call: Called, before: int) -> Work:
        # Repeats come one after another: what a later one calls waits for all of the one before.
        uses = tuple(before + used for used in call.uses) or tuple(range(before))
        seconds = self._durations.of(call.component) or 0.0
        return Work(call.identity if self.reuse else None, seconds, uses, call.is_recorded and self.reuse)


def _counts(trials: Sequence[tuple[Sequence[str], Sequence[Work]]]) -> dict[str, tuple[int, int]]:
    """Of each step: calls, and executions. What has one identity is executed for the first that calls it."""
    counts: dict[str, tuple[int, int]] = {}
    done: set[str] = set()
    for names, works in trials:
        for name, work in zip(names, works, strict=True):
            runs = not work.is_recorded and (work.identity is None or work.identity not in done)
            if work.identity is not None:
                done.add(work.identity)
            calls, executions = counts.get(name, (0, 0))
            counts[name] = calls + 1, executions + runs
    return counts
