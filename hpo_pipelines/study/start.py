"""``optimize``: start a study over a pipeline or a run, or resume the one that has its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from hpo_pipelines.errors import ParameterError, SpaceError, StudyError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.run import Run
from hpo_pipelines.study import remote, samplers, sampling
from hpo_pipelines.study.driver import Driver
from hpo_pipelines.study.handle import Study, find
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.progress import Progress
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status, duration, new_id
from search_spaces import Fixed, Space, load
from search_spaces.errors import SpaceError as PlainSpaceError
from search_spaces.groups import nested

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

DIRECTIONS = ("maximize", "minimize")


def optimize(
    target: Pipeline[..., Any] | Run,
    space: Space | Mapping[str, Any] | str | Path,
    objective: str | None = None,
    direction: str = "maximize",
    *,
    n_trials: int | None = None,
    timeout: float | str | None = None,
    n_jobs: int = 1,
    sampler: str | Mapping[str, Any] | optuna.samplers.BaseSampler | None = None,
    pruner: str | optuna.pruners.BasePruner | None = None,
    seed: int | None = None,
    name: str | None = None,
    executor: str | None = None,
    queue: str | None = None,
    max_failures: int | None = None,
    storage: str | None = None,
    allow_changes: bool = False,
    reuse: bool = True,
    progress: bool | Callable[[Progress], None] | None = None,
    workspace: Workspace | None = None,
) -> Study:
    """Optimise ``objective`` over ``space``: each trial is a clone of the whole pipeline with sampled parameters.

    ``space`` is a Space, a mapping, the path of a YAML, TOML or JSON file, or a name of the gallery. ``objective`` is
    a step's metric (``fit.val_auc``), a key of the returned dict, or None for the returned number itself. ``n_trials``
    is the total, those of earlier calls with the same ``name`` included; ``timeout`` ends the asking after that long.
    ``n_jobs`` trials are in flight at a time, without batches. With a ``queue`` its agents (``hpo agent``) drive them,
    wherever they are. ``max_failures`` failed trials stop the study. ``storage`` is an Optuna storage URL; the
    default is a journal file beside the store. ``sampler`` and ``pruner`` are names or Optuna objects; a sampler has
    options: ``"tpe(multivariate=true)"`` or ``{"name": "tpe", "multivariate": True}``. ``grid``
    and ``bruteforce`` end by themselves. Samples that violate a constraint of the space are told as infeasible without
    running, and count as no trial.

    Base parameters go first, as trial 0, where the space contains them. The same ``name`` resumes: finished trials are
    kept, those left running by a crash are retried. A resumed study must have the same code and space, unless
    ``allow_changes``. ``reuse=False`` makes trials that neither take nor leave outcomes of steps.
    Ctrl-C lets running trials finish and leaves the study resumable; a second one aborts them.

    Raises SpaceError, ParameterError and StudyError before anything runs.
    """
    from hpo_pipelines.workspace import default_workspace

    place = workspace or (target.workspace if isinstance(target, Run) else default_workspace())
    asked: dict[str, Any] = {
        "objective": objective, "direction": direction, "n_trials": n_trials, "timeout": timeout, "n_jobs": n_jobs,
        "sampler": sampler, "pruner": pruner, "seed": seed, "name": name, "executor": executor, "queue": queue,
        "max_failures": max_failures, "storage": storage, "allow_changes": allow_changes, "reuse": reuse,
    }  # fmt: skip
    if isinstance(place, RemoteWorkspace):
        return Study(place, remote.optimize(place, target, _parsed(space), asked, progress))
    return begin(place, target, space, **asked).drive(progress)


@dataclass(frozen=True)
class Recorded:
    """A pipeline whose code is recorded, by its digest: what is tuned where its files are not."""

    pipeline: Pipeline[..., Any]
    snapshot: str
    git: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Begun:
    """A study that is recorded and checked, not yet driven."""

    driver: Driver
    asked: Mapping[str, Any]

    def drive(self, progress: bool | Callable[[Progress], None] | None = None) -> Study:
        """Run its trials; the study as it is then."""
        self.driver.optimize(progress, self.asked)
        place = self.driver.workspace
        return Study(place, place.store.tasks.get(self.driver.study.id))


def begin(
    place: Workspace,
    target: Pipeline[..., Any] | Run | Recorded,
    space: Space | Mapping[str, Any] | str | Path,
    *,
    objective: str | None = None,
    direction: str = "maximize",
    n_trials: int | None = None,
    timeout: float | str | None = None,
    n_jobs: int = 1,
    sampler: str | Mapping[str, Any] | optuna.samplers.BaseSampler | None = None,
    pruner: str | optuna.pruners.BasePruner | None = None,
    seed: int | None = None,
    name: str | None = None,
    executor: str | None = None,
    queue: str | None = None,
    max_failures: int | None = None,
    storage: str | None = None,
    allow_changes: bool = False,
    reuse: bool = True,
) -> Begun:
    """What :func:`optimize` drives. Raises what it raises before anything runs."""
    if direction not in DIRECTIONS:
        raise StudyError(f"direction={direction!r}: it is maximize or minimize.")
    if n_trials is None and timeout is None and not samplers.exhaustive(sampler):
        raise StudyError("a study needs an end: give n_trials=, timeout=, or both.")
    if n_jobs < 1 or (n_trials is not None and n_trials < 1):
        raise StudyError(f"n_jobs={n_jobs}, n_trials={n_trials}: both are 1 or more.")
    if queue is not None:
        place.settings.queue(queue)
    pruned_by = sampling.pruner(pruner)
    parsed = _parsed(space)
    chosen = samplers.sampler(sampler, seed, parsed)  # refused before anything is recorded
    n_trials = samplers.limit(chosen, parsed, n_trials, timed=timeout is not None)
    limits = Limits(n_trials, None if timeout is None else duration(timeout), n_jobs, max_failures)
    base = _base(place, target, parsed, executor)
    _check(parsed, place, base)
    wanted = _Wanted(name or f"{base.pipeline}-{new_id()[-6:].lower()}", objective, direction, storage, parsed)
    study = Study(place, _study_task(place, base, wanted, allow_changes=allow_changes))
    # A seeded sampler that began anew would propose the points of the earlier trials again.
    fresh_seed = None if seed is None else seed + len(study.runs)
    optuna_study = _optuna_study(study, wanted, samplers.sampler(sampler, fresh_seed, parsed), pruned_by)
    asked = {**vars(limits), "sampler": _named(sampler), "pruner": _named(pruner), "seed": seed, "reuse": reuse}
    driver = Driver(study, optuna_study, parsed, base, limits, queue=queue)
    return Begun(driver, {**asked, "queue": queue})


def resume(
    workspace: Workspace,
    study: Task,
    *,
    n_trials: int | None = None,
    progress: bool | Callable[[Progress], None] | None = None,
) -> Study:
    """Go on with a recorded study as it was asked for last, with the code and the space that it has.

    ``n_trials``, the total, takes the place of the one that was asked for. Raises StudyError when all of its trials are
    there, when another process runs it, and when it had a sampler or pruner that is no name and so is not recorded.
    """
    if isinstance(workspace, RemoteWorkspace):
        return Study(workspace, remote.resume(workspace, study, n_trials, progress))
    return begin_again(workspace, study, n_trials=n_trials).drive(progress)


def begin_again(workspace: Workspace, study: Task, *, n_trials: int | None = None) -> Begun:
    """What :func:`resume` drives. Raises what it raises before anything runs."""
    asked = {**study.params.get("asked", {})}
    asked["n_trials"] = n_trials or asked.get("n_trials")
    _refuse_to_resume(workspace, study, asked)
    origin = None if study.cloned_from is None else workspace.store.tasks.get(study.cloned_from)
    base = origin or Task(
        new_id(),
        Kind.PIPELINE,
        str(study.pipeline),
        study.project,
        pipeline=study.pipeline,
        params=study.params["base"],
        snapshot=study.snapshot,
        git=study.git,
    )
    base = replace(base, executor=study.executor)
    space = Space(study.params["space"])
    wanted = _Wanted(study.name, study.params["objective"], study.params["direction"], study.params["storage"], space)
    handle = Study(workspace, study)
    seed = asked.get("seed")
    sampler = samplers.sampler(asked.get("sampler"), None if seed is None else seed + len(handle.runs), space)
    asked["n_trials"] = samplers.limit(sampler, space, asked["n_trials"], timed=asked.get("timeout") is not None)
    optuna_study = _optuna_study(handle, wanted, sampler, sampling.pruner(asked.get("pruner")))
    limits = Limits(asked["n_trials"], asked.get("timeout"), asked.get("n_jobs", 1), asked.get("max_failures"))
    return Begun(Driver(handle, optuna_study, space, base, limits, queue=asked.get("queue")), asked)


def _refuse_to_resume(workspace: Workspace, study: Task, asked: Mapping[str, Any]) -> None:
    for what in ("sampler", "pruner"):
        if isinstance(asked.get(what), Mapping) and "object" in asked[what]:
            raise StudyError(
                f"study {study.name} was begun with {what}={asked[what]['object']}, an object, which is not recorded. "
                f"Go on from Python: optimize(…, {what}=…, name={study.name!r})."
            )
    total = asked["n_trials"]
    if total is None and asked.get("timeout") is None:
        raise StudyError(
            f"study {study.name} does not say how many trials it is to have; say it: hpo resume {study.name} -n TRIALS."
        )
    there = [run for run in Study(workspace, study).runs if run.status.finished and run.status is not Status.ABORTED]
    if total is not None and len(there) >= total:
        raise StudyError(
            f"study {study.name} has its {total} trials; there is nothing to resume. For more: "
            f"hpo resume {study.name} -n {total + max(1, total // 2)}."
        )


def _named(choice: object) -> Any:
    """A sampler or pruner as it is recorded: its name and options, or, of an object, only what it is."""
    if isinstance(choice, Mapping):
        return dict(choice)
    return choice if choice is None or isinstance(choice, str) else {"object": type(choice).__name__}


@dataclass(frozen=True)
class _Wanted:
    name: str
    objective: str | None
    direction: str
    storage: str | None
    space: Space


def _base(
    workspace: Workspace, target: Pipeline[..., Any] | Run | Recorded, space: Space, executor: str | None
) -> Task:
    """The record that trials are clones of: a run, or one of the pipeline's defaults that is never stored.

    What a pipeline has no default for comes from the space: fixed values now, the others with each trial.
    """
    if isinstance(target, Run):
        return replace(target.task, executor=executor or target.task.executor)
    recorded = target if isinstance(target, Recorded) else None
    target = target.pipeline if isinstance(target, Recorded) else target
    if not isinstance(target, Pipeline):
        raise StudyError(f"optimize takes a pipeline or a run, not {target!r}; is it under @pipeline?")
    _check_names(space, target)  # before what it lacks is missed: a misspelt name is the likelier reason
    given = nested({name: item.examples()[0] for name, item in space.items()})
    needed = {
        name: value for name, value in given.items() if name in target.parameters and target.parameters[name].required
    }
    snapshot = None if recorded is None else recorded.snapshot
    base = workspace.record_of(target, needed, executor=executor, snapshot=snapshot)
    if recorded is not None:
        base = replace(base, git=recorded.git)
    drawn = {name for name in needed if not isinstance(space.get(name), Fixed)}
    return replace(base, params={name: value for name, value in base.params.items() if name not in drawn})


def _parsed(space: Space | Mapping[str, Any] | str | Path) -> Space:
    try:
        return load(space) if isinstance(space, str | Path) else Space(space)
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None


def _check(space: Space, workspace: Workspace, base: Task) -> None:
    """Raise SpaceError unless the pipeline of ``base`` has every parameter of ``space`` and accepts its values."""
    pipeline, _ = workspace.code(base)

    def accepts(name: str, value: Any) -> str | None:
        try:
            pipeline.parameters.check(name, value)
        except ParameterError as error:
            return str(error)
        return None

    try:
        space.check(pipeline.parameters.names, accepts=accepts)
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None


def _check_names(space: Space, pipeline: Pipeline[..., Any]) -> None:
    try:
        space.check(pipeline.parameters.names)
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None


def _study_task(workspace: Workspace, base: Task, wanted: _Wanted, *, allow_changes: bool) -> Task:
    """The study's record: the one with its name, checked against what is wanted now, or a new one."""
    params = {
        "objective": wanted.objective,
        "direction": wanted.direction,
        "storage": wanted.storage,
        "space": wanted.space.as_dict(),
        "space_digest": wanted.space.digest(),
        "base": dict(base.params),
    }
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
        "objective": found.params["objective"] != wanted.objective,
        "direction": found.params["direction"] != wanted.direction,
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
    study: Study, wanted: _Wanted, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the study says itself what happens
    try:
        return optuna.create_study(
            storage=sampling.storage(wanted.storage, study.workspace.home, study.id),
            sampler=sampler,
            pruner=pruner,
            study_name=wanted.name,
            direction=wanted.direction,
            load_if_exists=True,
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
