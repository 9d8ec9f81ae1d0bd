"""``optimize``: start a study over a pipeline or a run, or go on with the one that has its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from hpo_pipelines.errors import StudyError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.run import Run
from hpo_pipelines.study import announcing, basis, pruning, remote, samplers, sampling
from hpo_pipelines.study.basis import Recorded
from hpo_pipelines.study.beginning import Beginning
from hpo_pipelines.study.driver import Driver
from hpo_pipelines.study.fidelity import parsed as parse_fidelity
from hpo_pipelines.study.fidelity import refuse as refuse_besides
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.imported import Pinned
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.means import Means
from hpo_pipelines.study.observed import StudyRecords
from hpo_pipelines.study.options import Options
from hpo_pipelines.study.progress import Progress
from hpo_pipelines.study.reaching import foreseen_reach
from hpo_pipelines.study.repeating import repeats_of
from hpo_pipelines.study.trial import Trial
from hpo_pipelines.study.trialruns import TrialRuns
from hpo_pipelines.study.wanted import Wanted, study_task
from hpo_pipelines.task import Task
from hpo_pipelines.types import new_id
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
    fidelity: Mapping[str, Any] | None = None,
    enqueue: Sequence[Mapping[str, Any]] = (),
    from_study: str | Sequence[str] | None = None,
    from_runs: str | Sequence[str] | None = None,
    name: str | None = None,
    executor: str | None = None,
    queue: str | None = None,
    storage: str | None = None,
    allow_changes: bool = False,
    reuse: bool = True,
    notify: str | Sequence[str] | None = None,
    on_trial: Callable[[Trial], object] | None = None,
    on_best: Callable[[Trial], object] | None = None,
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

    ``fidelity={"param": "sample_rows", "min": 1000, "max": 100000, "eta": 3}`` makes rungs of a parameter: a trial runs
    the pipeline at 1000, at 3000, …, at 100000, as long as its objective is in the best third of those that came to the
    rung before (ASHA; with ``"brackets": 3`` Hyperband); else it is pruned there. Its value is that of the top.

    Base parameters go first, as trial 0, where the space contains them; then the points of ``enqueue``, which count
    among ``n_trials``. A new study begins with the trials of the studies ``from_study``, and with past runs
    (``from_runs="all"``, ``"tag:NAME"``, or references) as finished trials, which do not count: those in the space that
    differ from the base in nothing else (:attr:`Trial.origin`). The same ``name`` resumes: finished trials are
    kept, those left running by a crash are retried. A resumed study must have the same code, space and constraints,
    unless ``allow_changes``. ``reuse=False`` makes trials that neither take nor leave outcomes of steps.
    Ctrl-C lets running trials finish and leaves the study resumable; a second one aborts them.

    ``on_trial`` is called with each :class:`Trial` that ends, ``on_best`` with each that is a new best one (of several
    objectives: one on the Pareto front), one at a time. What they raise is logged, and the study goes on; they are not
    recorded, so whoever resumes the study gives them again. ``notify`` names the webhooks of the settings that are told
    of the study; an empty list means none.

    Raises SpaceError, ParameterError and StudyError before anything runs.
    """
    options = Options.among(locals())
    from hpo_pipelines.defaults import default_workspace

    place = workspace or (pipeline.workspace if isinstance(pipeline, Run) else default_workspace())
    announcing.checked("on_trial", on_trial)
    announcing.checked("on_best", on_best)
    if isinstance(place, RemoteWorkspace):
        remote.refuse_functions(place, on_trial=on_trial, on_best=on_best)
        return Study(place, remote.optimize(place, pipeline, basis.parsed(space), vars(options), progress))
    begun = begin(place, pipeline, space, options)
    begun.driver.announces(on_trial, on_best)
    return begun.drive(progress)


@dataclass(frozen=True)
class Begun:
    """A study that is recorded and checked, not yet driven."""

    driver: Driver
    asked: Mapping[str, Any]
    """What is kept with the study, for whoever resumes it."""

    def drive(self, progress: bool | Callable[[Progress], None] | None = None) -> Study:
        """Run its trials; the study as it is then."""
        self.driver.workspace.follow()
        self.driver.optimize(progress, self.asked)
        place = self.driver.workspace
        return Study(place, place.store.tasks.get(self.driver.study.id))


@dataclass(frozen=True)
class Checked:
    """A study that could be begun: nothing of it is recorded."""

    base: Task
    wanted: Wanted
    limits: Limits
    means: Means


def check(
    place: Workspace,
    pipeline: Pipeline[..., Any] | Run | Recorded,
    space: Space | Mapping[str, Any] | str | Path,
    options: Options,
) -> Checked:
    """What :func:`begin` records. Raises what :func:`optimize` raises before anything runs."""
    goals = Goals.of(options.objective, options.direction, options.constraints)
    means = Means(**{name: getattr(options, name) for name in Means.__dataclass_fields__})
    means.metrics(goals)  # what is wrong is refused before anything is recorded
    limits = Limits.of({name: getattr(options, name) for name in Limits.__dataclass_fields__})
    _refuse_limits(limits, goals, options.sampler)
    if options.queue is not None:
        place.settings.queue(options.queue)
    if options.notify is not None:
        place.settings.webhooks(options.notify)
    parsed, climbing = basis.parsed(space), parse_fidelity(options.fidelity)
    if climbing is not None:
        refuse_besides(repeats=options.repeats, pruner=options.pruner, prune_on=options.prune_on)
        parsed = climbing.within(parsed)
    limits = means.limited(limits, parsed, goals)
    base = basis.base_of(place, pipeline, parsed, options.executor)
    basis.check(parsed, place, base)
    code, _ = place.code(base)
    again = repeats_of(options.repeats, code, base, parsed)
    ladder = None if climbing is None else climbing.ladder(code, goals)
    name = options.name or f"{base.pipeline}-{new_id()[-6:].lower()}"
    return Checked(base, Wanted(name, goals, options.storage, parsed, again, ladder), limits, means)


def begin(
    place: Workspace,
    pipeline: Pipeline[..., Any] | Run | Recorded,
    space: Space | Mapping[str, Any] | str | Path,
    options: Options,
) -> Begun:
    """What :func:`optimize` drives. Raises what that raises before anything runs."""
    found = check(place, pipeline, space, options)
    base, wanted, limits, means = found.base, found.wanted, found.limits, found.means
    asked = {**vars(limits), **means.as_asked()}
    beginning = Beginning.of(options, Pinned(wanted.space, wanted.goals, wanted.ladder))
    task = study_task(place, base, wanted, asked, beginning, allow_changes=options.allow_changes)
    study = Study(place, task)
    return prepared(study, wanted, base, limits, means)


def _refuse_limits(limits: Limits, goals: Goals, sampler: Any) -> None:
    counts = {"n_jobs": limits.n_jobs, "n_trials": limits.n_trials, "plateau": limits.plateau}
    wrong = [f"{name}={count}" for name, count in counts.items() if count is not None and count < 1]
    if wrong:
        raise StudyError(f"{', '.join(wrong)}: it is 1 or more.")
    if limits.target is not None and goals.several:
        raise StudyError("target= is one value, and there are several objectives: leave it out, or give plateau=.")
    if not limits.ends and not samplers.exhaustive(sampler):
        raise StudyError("a study needs an end: give n_trials=, timeout= or plateau=; other limits may never come.")


def prepared(study: Study, wanted: Wanted, base: Task, limits: Limits, means: Means) -> Begun:
    """The recorded ``study``, to be driven to one of its limits."""
    goals, pruner, metrics = wanted.goals, means.pruned_by(), means.metrics(wanted.goals)
    own = not goals.several and goals.objectives[0] in metrics
    brought = len(study.imported.runs)
    sampler = means.sampler_for(wanted.space, goals, len(study.runs) + brought)
    samplers.attach(
        sampler,
        partial(
            StudyRecords,
            study.workspace.store,
            study.id,
            wanted.space,
            follow=partial(foreseen_reach, study.workspace, base, wanted.space),
        ),
    )
    optuna_study = _optuna_study(study, wanted, sampler, pruner if own else optuna.pruners.NopPruner())
    runs = TrialRuns(study, optuna_study, wanted.space, base, queue=means.queue)
    runs.repeats, runs.ladder = wanted.repeats, wanted.ladder
    driver = Driver(runs, limits, pruning.Pruning(pruner, metrics, goals, runs.lock))
    return Begun(driver, {**vars(limits), **means.as_asked()})


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
