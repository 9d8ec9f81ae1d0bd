"""Bringing Optuna's side of a resumed study in line with the store, which is the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optuna.trial import TrialState

from hpo_pipelines.study import sampling
from hpo_pipelines.study.imported import bring
from hpo_pipelines.study.pruning import Pruning
from hpo_pipelines.study.reports import series
from hpo_pipelines.study.trialruns import TrialRuns
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status


def reconcile(runs: TrialRuns, tell: Callable[[int, Task], object]) -> list[int]:
    """Tell what finished untold; returns the numbers of the trials to run again, whose runs are ``runs.left``."""
    known = {run.task.trial: run.task for run in runs.study.runs}
    runs.first = known[min(known, key=lambda number: number or 0)].id if known else None
    sampling.journal(runs.workspace.home, runs.study.id).mend()
    began_with = runs.study.imported.found(runs.workspace)
    bring(runs.optuna, [run for _, run in began_with], runs.pinned)
    _recall(runs, known)
    again: list[int] = []
    for trial in runs.optuna.get_trials(deepcopy=False):
        run = known.get(trial.number)
        if trial.state is TrialState.RUNNING:
            if run is not None and run.status.finished and run.status is not Status.ABORTED:
                runs.redraw(trial, run)
                tell(trial.number, run)
            else:
                again.append(trial.number)
    runs.left = {number: run for number in again if (run := known.get(number)) is not None}
    return again


def _recall(runs: TrialRuns, known: Mapping[int | None, Task]) -> None:
    """Ask Optuna once more for trials that its storage has lost (a power cut, a deleted file) and ours has."""
    trials = runs.optuna.get_trials(deepcopy=False)
    lost = {number for number in known if number is not None}
    lost -= {trial.number for trial in trials if trial.state is not TrialState.WAITING}
    while lost:
        # What is waiting comes first, then the next number.
        trial = runs.optuna.ask()
        if trial.number in lost:
            runs.redraw(trial._cached_frozen_trial, known[trial.number])
            lost.remove(trial.number)
        elif runs.space.constraints:
            sampling.refuse(runs.optuna, trial, [])  # most likely one that was infeasible
        else:
            # With no run of its number the trial never began: it is sampled anew.
            sampling.suggest(trial, runs.space)


def remember(runs: TrialRuns, pruning: Pruning) -> None:
    """Have the pruner know what trials of earlier drivers reported of metrics that Optuna does not keep."""
    if not pruning.shadowed:
        return
    known = {run.task.trial: run.task for run in runs.study.runs}
    for trial in runs.optuna.get_trials(deepcopy=False):
        run = known.get(trial.number)
        if trial.state.is_finished() and run is not None:
            pruning.replay(series(runs.workspace.store, run), trial.state)
