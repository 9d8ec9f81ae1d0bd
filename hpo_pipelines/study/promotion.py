"""Promoting a trial: a run of its own with the trial's parameters and outcomes, and its model in MLflow's registry."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cloudpickle import register_pickle_by_value, unregister_pickle_by_value

from hpo_pipelines.engine import RunOptions
from hpo_pipelines.engine.controller import VALUE
from hpo_pipelines.engine.options import completed
from hpo_pipelines.errors import StudyError, TaskNotFound, TrackingError
from hpo_pipelines.firstparty import distributions_of
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.run import Run
from hpo_pipelines.snapshot import Content
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.study.handle import Study
    from hpo_pipelines.study.trial import Trial
    from hpo_pipelines.tracking.registry import Logged, Registry

TAG = "promoted"
MIRROR_SECONDS = 90.0
"""How long MLflow is waited for to have the promoted run."""


def promote(study: Study, trial: int | None = None, register: str | None = None, output: str | None = None) -> Run:
    """See :meth:`Study.promote`."""
    if output is not None and register is None:
        raise StudyError(f"output={output!r} says which output is the model that is registered: give register= too.")
    chosen = _chosen(study, trial)
    if register is None:
        return _cloned(study, chosen)
    registry = _registry(study, register)
    # Whether there is a model is seen at the trial, before anything runs.
    model = _logged(chosen.run, registry) if output is None else _value(chosen.run, output)
    run = _cloned(study, chosen)
    shown = _in_mlflow(run)
    if isinstance(model, _Value):
        model = registry.log(
            model.value, model.name, shown, requirements=model.requirements, saving=_by_value(model.modules)
        )
    made = registry.register(model, register, shown, _lineage(study, chosen, run))
    return run.annotate(tags=(*run.tags, f"model={made.name}/{made.version}"))


@dataclass(frozen=True)
class _Value:
    """An output that predicts, what loading it needs, and the first-party modules that it may be of."""

    name: str
    value: Any
    requirements: list[str]
    modules: frozenset[str]


def _chosen(study: Study, number: int | None) -> Trial:
    if number is None:
        if study.goals.several:
            front = ", ".join(str(trial.number) for trial in study.best_trials) or "none yet"
            raise StudyError(
                f"study {study.name} has several objectives, so no one trial is best: say which of its front is "
                f"promoted (trial=, --trial): {front}."
            )
        return study.best_trial
    found = next((trial for trial in study.trials if trial.number == number), None)
    if found is None:
        raise StudyError(f"study {study.name} has no trial {number}: hpo study trials {study.name} lists them.")
    if found.status is not Status.COMPLETED:
        raise StudyError(f"trial {number} of study {study.name} is {found.status}: only a completed one is promoted.")
    return found


def _cloned(study: Study, trial: Trial) -> Run:
    """The trial's run once more: all that it completed is kept, also of components whose reuse is off."""
    draft = trial.run.clone()
    draft = draft.annotate(tags=(*dict.fromkeys((*trial.run.tags, TAG)),))
    run = study.workspace.start(draft.id, RunOptions(prior=completed(study.workspace.store, trial.run.id), echo=False))
    run.raise_for_status()
    return run


# -- its model


def _registry(study: Study, name: str) -> Registry:
    """MLflow's registry, with a model called ``name`` in it: what is wrong with that is said before anything runs."""
    if isinstance(study.workspace, RemoteWorkspace):
        raise StudyError(
            f"register={name!r}: MLflow is where {study.workspace.place} runs. Promote and register there, or promote "
            "from here without register=."
        )
    from hpo_pipelines.tracking.registry import Registry

    registry = Registry(study.workspace.settings)
    registry.make(name)
    return registry


def _lineage(study: Study, trial: Trial, run: Run) -> dict[str, str]:
    """The tags of a model: where it came from."""
    values = dict(zip(study.goals.names, trial.values or (), strict=False))
    return {
        "hpo.study": study.name,
        "hpo.study_id": study.id,
        "hpo.trial": str(trial.number),
        "hpo.trial_run": trial.run.label,
        "hpo.run": run.label,
        "hpo.task": run.id,
        "hpo.snapshot": str(run.task.snapshot),
        **{f"hpo.objective.{goal}": repr(value) for goal, value in values.items()},
    }


def _in_mlflow(run: Run) -> str:
    """The id of the MLflow run that shows ``run``. Raises TrackingError when there is none in time."""
    from hpo_pipelines.tracking import run_id_of

    place = run.workspace
    place.follow()
    place.drain(MIRROR_SECONDS)
    found = run_id_of(place.store, place.settings, run.id)
    if found is None:
        why = place.tracking_problem() or "another process is bringing it there; try again in a while"
        raise TrackingError(
            f"{run.label} is promoted, but not yet in MLflow, so that its model is not registered: {why}."
        )
    return found


def _logged(run: Run, registry: Registry) -> Logged:
    """The model that a step of ``run``, or the one that it reused, logged last into MLflow."""
    below = run.workspace.store.tasks.below([run.id])
    steps = [task.reused_from or task.id for task in below if task.kind is Kind.STEP]
    models = registry.logged_by(_in_mlflow(run), steps)
    if not models:
        known = ", ".join(_outputs(run)) or "none"
        raise StudyError(
            f"no step of {run.label} logged a model into MLflow: say which output is the model (output=, --output); "
            f"there are {known}."
        )
    return models[-1]


def _value(run: Run, output: str) -> _Value:
    from hpo_pipelines.tracking.registry import predicts

    task, name = _named(run, output)
    place = run.workspace
    _, code = place.code(run.task)
    value = place.artifacts.get(place.store.tasks.outputs(task)[name], code=code)
    if not predicts(value):
        raise StudyError(
            f"{output} of {run.label} is {type(value).__name__}, which neither has a predict method nor can be called: "
            "it is no model."
        )
    content = Content.decode(place.artifacts.read_bytes(place.engine.snapshot_ref(run.task.snapshot or "")))
    return _Value(output, value, requirements(content.packages, value), frozenset(content.modules))


def _outputs(run: Run) -> dict[str, tuple[str, str]]:
    """Which task and output each name stands for: ``fit.model``, ``fit`` with one output, a key of what is returned."""
    found: dict[str, tuple[str, str]] = {}
    store = run.workspace.store
    for name in store.tasks.outputs(run.id):
        found[name.removeprefix(f"{VALUE}.")] = run.id, name
    steps = store.tasks.children(run.id)
    outputs = store.tasks.outputs_of([step.id for step in steps])
    for step in steps:
        if step.kind is Kind.STEP:
            for name in outputs[step.id]:
                found[f"{step.name}.{name}"] = step.id, name
            if len(outputs[step.id]) == 1:
                found[step.name] = step.id, next(iter(outputs[step.id]))
    return found


def _named(run: Run, output: str) -> tuple[str, str]:
    known = _outputs(run)
    if output not in known:
        raise TaskNotFound(f"{run.label} has no output {output!r}; it has {', '.join(known) or 'none'}.")
    return known[output]


def requirements(packages: Mapping[str, str], value: Any) -> list[str]:
    """What loading a pickled ``value`` needs, as pip takes it: what its code imports, and the library it is from."""
    wanted = dict(packages)
    for name, version in distributions_of([type(value).__module__, "cloudpickle"]).items():
        wanted.setdefault(name, version)
    return sorted(f"{name}=={version}" for name, version in wanted.items())


@contextmanager
def _by_value(modules: Collection[str]) -> Iterator[None]:
    """Pickle what these first-party modules define by value: whoever loads the model need not have them."""
    ours = [module for module in _loaded(modules) if module.__name__ in sys.modules]
    for module in ours:
        register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in ours:
            unregister_pickle_by_value(module)


def _loaded(names: Collection[str]) -> list[ModuleType]:
    """The modules of these names: the process's own, and those of snapshots, whose names are keys of their own."""
    # A snapshot's names are equal to the plain ones, but hash otherwise; their text does not.
    return [module for name, module in list(sys.modules.items()) if module is not None and str(name) in names]
