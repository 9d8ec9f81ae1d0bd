"""Optuna's side of a study, made again from our store: where its own storage is another machine's, or is behind."""

from __future__ import annotations

import time
from collections.abc import Sequence

import optuna
from optuna.trial import TrialState

from hpo_pipelines.run import Run
from hpo_pipelines.store.chain import first
from hpo_pipelines.study import sampling
from hpo_pipelines.study.fidelity import hear
from hpo_pipelines.study.imported import Pinned, bring
from hpo_pipelines.study.outcome import outcome_of
from hpo_pipelines.types import Status

_TOLD_SECONDS = 5.0
"""How long whoever drives a study may take to tell Optuna what is in our store."""

_STATES = {Status.PRUNED: TrialState.PRUNED, Status.FAILED: TrialState.FAIL}


def is_behind(known: optuna.Study, runs: Sequence[Run]) -> bool:
    """Whether ``known`` lacks trials that have runs, or how these ended."""
    states = {trial.number: trial.state for trial in known.get_trials(deepcopy=False)}
    late = time.time() - _TOLD_SECONDS
    for run in runs:
        state = states.get(run.task.trial or 0)
        over = run.status.finished and run.status is not Status.ABORTED and (run.task.finished_at or late) < late
        if state is None or (over and not state.is_finished()):
            return True
    return False


def rebuilt(runs: Sequence[Run], pinned: Pinned, *, name: str, began_with: Sequence[Run | None] = ()) -> optuna.Study:
    """A study in memory with a trial for each of ``runs``, its parameters, and the values or state that it ended with.

    The first are those of ``began_with``. A later number without a run is one of a sample that was infeasible. What
    runs, or is to be resumed, is running.
    """
    space, goals = pinned.space, pinned.goals
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        made = optuna.create_study(
            study_name=name, directions=list(goals.directions), sampler=optuna.samplers.RandomSampler(0)
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    bring(made, began_with, pinned)
    of = {run.task.trial or 0: run for run in runs}
    for number in range(len(began_with), max(of, default=-1) + 1):
        trial = made.ask()
        if number not in of:
            sampling.refuse(made, trial, [])
            continue
        run = of[number]
        drawn = sampling.enqueued(space, first(run.workspace.store.tasks, run.task).params)
        if drawn is not None:
            made._storage.set_trial_system_attr(trial._trial_id, "fixed_params", drawn)
            sampling.suggest(optuna.Trial(made, trial._trial_id), space)
        if run.status.finished and run.status is not Status.ABORTED:
            outcome = outcome_of(run.workspace, run.task, goals)
            sampling.constrain(made, number, outcome.violations)
            if pinned.ladder is not None:
                hear(made, number, run.workspace, run.task, pinned.ladder)
            values = None if outcome.values is None else list(outcome.values)
            made.tell(number, values, state=_STATES.get(run.status, TrialState.FAIL) if values is None else None)
    return made
