"""``optimize``: start a study over a pipeline or a run, or go on with the one that has its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.errors import StudyError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.run import Run
from hpo_pipelines.study import basis, pruning, samplers, sampling
from hpo_pipelines.study.driver import Driver
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.handle import Study, find
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.progress import Progress
from hpo_pipelines.study.repeating import repeats_of
from hpo_pipelines.study.trialruns import TrialRuns
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, duration, new_id
from search_spaces import Space

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace


def optimize(
    pipeline: Pipeline[..., Any] | Run,
    /,
    space: Space | Mapping[str, Any] | str | Path,
    objective: str | Sequence[str] | None = None,
    direction: str | Sequence[str] = "maximize",
    *,
    constraints: str | Sequence[str] = (),
    n_trials: int | None = None,
    timeout: float | str | None = None,
    max_compute: float | str | None = None,
    target: float | None = None,
    plateau: int | None = None,
    max_failures: int | None = None,
    n_jobs: int = 1,
    sampler: str | Mapping[str, Any] | optuna.samplers.BaseSampler | None = None,
    pruner: str | optuna.pruners.BasePruner | None = None,
    prune_on: str | Sequence[str] | None = None,
    seed: int | None = None,
    repeats: Mapping[str, int | Sequence[Any]] | None = None,
    name: str | None = None,
    executor: str | None = None,
    queue: str | None = None,
    storage: str | None = None,
    allow_changes: bool = False,
    reuse: bool = True,
    progress: bool | Callable[[Progress], None] | None = None,
    workspace: Workspace | None = None,
) -> Study:
    """Optimise ``objective`` over ``space``: each trial is a clone of the whole pipeline with sampled parameters.

    ``space`` is a Space, a mapping, the path of a YAML, TOML or JSON file, or a name of the gallery. ``objective`` is
    a step's metric (``fit.val_auc``), a key of the returned dict, or None for the returned number itself; a list of
    them, with a list of directions, is optimised for its Pareto front (:attr:`Study.best_trials`). ``constraints``
    bound any step's metric, or a returned key: ``["fit.memory <= 8e9"]``; trials that violate one are never best.

    The study stops asking for trials at the first of its limits: ``n_trials`` in all, those of earlier calls with the
    same ``name`` included; ``timeout`` after that long; ``max_compute`` seconds of steps' executions in all;
    ``target`` once a trial has this value or a better one; ``plateau`` trials in a row that ended without a better
    value; ``max_failures`` failed trials. What is in flight is finished; :attr:`Study.stopped_by` says which it was.
    ``grid`` and ``bruteforce`` end by themselves.

    ``n_jobs`` trials are in flight at a time, without batches. With a ``queue`` its agents (``hpo agent``) drive them,
    wherever they are. ``storage`` is an Optuna storage URL; the default is a journal file beside the store.
    ``sampler`` (default TPE; NSGA-II for several objectives) and ``pruner`` are names or Optuna objects; a sampler has
    options: ``"tpe(multivariate=true)"`` or ``{"name": "tpe", "multivariate": True}``. The pruner hears the objective,
    or the metrics of ``prune_on``, such as ``["validate.auc", "validate.loss:minimize"]``, which any step may report;
    with several objectives ``prune_on`` is needed, and without a ``pruner`` it means ``"median"``. Samples that
    violate a constraint of the space are told as infeasible without running, and count as no trial.

    ``repeats={"seed": 5}`` makes each trial five runs inside its run, one after another, that differ in ``seed`` alone
    (from the base's value on; ``{"seed": [1, 7, 42]}`` names them): its value is their mean, with the spread recorded
    (:attr:`Trial.spreads`), and steps that do not depend on the seed run once. A trial fails with its first repeat that
    fails; a pruner hears the first repeat.

    Base parameters go first, as trial 0, where the space contains them. The same ``name`` resumes: finished trials are
    kept, those left running by a crash are retried. A resumed study must have the same code, space and constraints,
    unless ``allow_changes``. ``reuse=False`` makes trials that neither take nor leave outcomes of steps.
    Ctrl-C lets running trials finish and leaves the study resumable; a second one aborts them.

    Raises SpaceError, ParameterError and StudyError before anything runs.
    """
    from hpo_pipelines.workspace import default_workspace

    place = workspace or (pipeline.workspace if isinstance(pipeline, Run) else default_workspace())
    goals = Goals.of(objective, direction, constraints)
    means = Means(sampler, pruner, prune_on, seed, queue, reuse)
    means.metrics(goals)  # what is wrong is refused before anything is recorded
    limits = Limits(n_trials, _seconds(timeout), n_jobs, max_failures, _seconds(max_compute), target, plateau)
    _refuse_limits(limits, goals, sampler)
    if queue is not None:
        place.settings.queue(queue)
    parsed = basis.parsed(space)
    limits = means.limited(limits, parsed, goals)
    base = basis.base_of(place, pipeline, parsed, executor)
    basis.check(parsed, place, base)
    again = repeats_of(repeats, place.code(base)[0], base, parsed)
    wanted = Wanted(name or f"{base.pipeline}-{new_id()[-6:].lower()}", goals, storage, parsed, again)
    study = Study(place, _study_task(place, base, wanted, allow_changes=allow_changes))
    drive(study, wanted, base, limits, means, progress)
    return Study(place, place.store.tasks.get(study.id))


def _seconds(given: float | str | None) -> float | None:
    return None if given is None else duration(given)


def _refuse_limits(limits: Limits, goals: Goals, sampler: Any) -> None:
    counts = {"n_jobs": limits.n_jobs, "n_trials": limits.n_trials, "plateau": limits.plateau}
    wrong = [f"{name}={count}" for name, count in counts.items() if count is not None and count < 1]
    if wrong:
        raise StudyError(f"{', '.join(wrong)}: it is 1 or more.")
    if limits.target is not None and goals.several:
        raise StudyError("target= is one value, and there are several objectives: leave it out, or give plateau=.")
    if not limits.ends and not samplers.exhaustive(sampler):
        raise StudyError("a study needs an end: give n_trials=, timeout= or plateau=; other limits may never come.")


@dataclass(frozen=True)
class Wanted:
    """What a study is of, which is pinned when it begins."""

    name: str
    goals: Goals
    storage: str | None
    space: Space
    repeats: Repeats | None = None

    def as_params(self, base: Task) -> dict[str, Any]:
        """As it is recorded with the study."""
        return {
            **self.goals.as_params(),
            "storage": self.storage,
            "space": self.space.as_dict(),
            "space_digest": self.space.digest(),
            "base": dict(base.params),
            "repeats": None if self.repeats is None else self.repeats.as_option(),
        }


@dataclass(frozen=True)
class Means:
    """How the trials of a study are chosen, pruned and driven, as ``optimize`` is asked for it."""

    sampler: str | Mapping[str, Any] | optuna.samplers.BaseSampler | None = None
    pruner: str | optuna.pruners.BasePruner | None = None
    prune_on: str | Sequence[str] | None = None
    seed: int | None = None
    queue: str | None = None
    reuse: bool = True

    @classmethod
    def asked(cls, asked: Mapping[str, Any]) -> Means:
        """As they were recorded by :meth:`as_asked`."""
        given = {name: asked[name] for name in cls.__dataclass_fields__ if name in asked}
        return cls(**given)

    def as_asked(self) -> dict[str, Any]:
        """As they are kept with the study; of an object only what it is."""
        return {**vars(self), "sampler": _named(self.sampler), "pruner": _named(self.pruner)}

    def sampler_for(self, space: Space, goals: Goals, begun: int = 0) -> optuna.samplers.BaseSampler:
        """The sampler. A seeded one that began anew would propose the points of the ``begun`` trials again."""
        default = "nsgaii" if goals.several else "tpe"
        seed = None if self.seed is None else self.seed + begun
        made = samplers.sampler(default if self.sampler is None else self.sampler, seed, space)
        if goals.several and isinstance(made, optuna.samplers.CmaEsSampler):
            raise StudyError("sampler='cmaes' is for one objective; for several there are nsgaii, nsgaiii, tpe and gp.")
        return made

    def limited(self, limits: Limits, space: Space, goals: Goals) -> Limits:
        """``limits`` with the end that an exhaustive sampler has by itself. Raises StudyError for a wrong sampler."""
        timed = limits.timeout is not None or limits.plateau is not None
        return replace(
            limits, n_trials=samplers.limit(self.sampler_for(space, goals), space, limits.n_trials, timed=timed)
        )

    def pruned_by(self) -> optuna.pruners.BasePruner:
        return sampling.pruner("median" if self.pruner is None and self.prune_on is not None else self.pruner)

    def metrics(self, goals: Goals) -> dict[str, str]:
        """What the pruner hears; see :func:`pruning.directions`."""
        prunes = not isinstance(self.pruned_by(), optuna.pruners.NopPruner)
        if self.prune_on is not None and not prunes:
            raise StudyError("prune_on= says what is pruned on, and pruner='none' that nothing is: leave one out.")
        return pruning.directions(self.prune_on, goals, prunes=prunes)


def _named(choice: object) -> Any:
    """A sampler or pruner as it is recorded: its name and options, or, of an object, only what it is."""
    if isinstance(choice, Mapping):
        return dict(choice)
    return choice if choice is None or isinstance(choice, str) else {"object": type(choice).__name__}


def drive(
    study: Study,
    wanted: Wanted,
    base: Task,
    limits: Limits,
    means: Means,
    progress: bool | Callable[[Progress], None] | None,
) -> None:
    """Drive the recorded ``study`` to one of its limits."""
    goals, pruner, metrics = wanted.goals, means.pruned_by(), means.metrics(wanted.goals)
    own = not goals.several and goals.objectives[0] in metrics
    sampler = means.sampler_for(wanted.space, goals, len(study.runs))
    optuna_study = _optuna_study(study, wanted, sampler, pruner if own else optuna.pruners.NopPruner())
    runs = TrialRuns(study, optuna_study, wanted.space, base, queue=means.queue)
    runs.repeats = wanted.repeats
    driver = Driver(runs, limits, pruning.Pruning(pruner, metrics, goals, runs.lock))
    driver.optimize(progress, {**vars(limits), **means.as_asked()})


def _study_task(workspace: Workspace, base: Task, wanted: Wanted, *, allow_changes: bool) -> Task:
    """The study's record: the one with its name, checked against what is wanted now, or a new one."""
    params = wanted.as_params(base)
    found = find(workspace, wanted.name)
    if found is None:
        return workspace.store.tasks.create(
            Task(
                id=new_id(),
                kind=Kind.STUDY,
                name=wanted.name,
                project=base.project,
                pipeline=base.pipeline,
                params=params,
                snapshot=base.snapshot,
                cloned_from=base.id if base.number is not None else None,
                executor=base.executor,
                git=base.git,
            )
        )
    changed = {
        "pipeline": found.pipeline != base.pipeline,
        "code": found.snapshot != base.snapshot,
        "space": found.params["space_digest"] != params["space_digest"],
        "objective": found.params["objective"] != params["objective"],
        "direction": found.params["direction"] != params["direction"],
        "constraints": found.params.get("constraints", []) != params["constraints"],
        "repeats": found.params.get("repeats") != params["repeats"],
    }
    differing = [name for name, differs in changed.items() if differs]
    fixed = {"direction", "pipeline"} & set(differing)
    if fixed or (differing and not allow_changes):
        cure = "Give the study another name" + (
            ", or allow_changes=True (in the shell --allow-changes)." if not fixed else "."
        )
        raise StudyError(f"study {wanted.name!r} was begun with another {' and '.join(differing)}. {cure}")
    if differing:
        workspace.store.tasks.update(found.id, params={**found.params, **params}, snapshot=base.snapshot)
        return workspace.store.tasks.get(found.id)
    return found


def _optuna_study(
    study: Study, wanted: Wanted, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the study says itself what happens
    try:
        return optuna.create_study(
            storage=sampling.storage(wanted.storage, study.workspace.home, study.id),
            sampler=sampler,
            pruner=pruner,
            study_name=wanted.name,
            directions=wanted.goals.directions,
            load_if_exists=True,
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
