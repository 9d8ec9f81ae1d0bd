"""The runs of a study's trials: each is recorded as a clone of the base run, and driven here or by agents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo_pipelines.engine import Controller, RunOptions
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.engine.options import Watch
from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.store.chain import first
from hpo_pipelines.study import sampling
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.lease import supersede
from hpo_pipelines.study.queued import QueuedTrial
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status
from search_spaces import Space

Driven = Controller | QueuedTrial
"""What drives the run of one trial, or waits for the agent that does."""


class TrialRuns:
    """Makes the runs of the trials of ``study``, cloned from ``base``; with a ``queue``, agents of that drive them."""

    def __init__(
        self, study: Study, optuna_study: optuna.Study, space: Space, base: Task, *, queue: str | None = None
    ) -> None:
        self.study = study
        self.workspace = study.workspace
        self.optuna = optuna_study
        self.space = space
        self.base = base
        self.queue = queue
        self.reuse = True
        self.results: frozenset[str] = frozenset()
        """The results of steps that are watched; see :attr:`RunOptions.results`."""
        self.left: dict[int, Task] = {}
        """The runs, by trial, that a crash or an abort left unfinished."""
        self.first: str | None = None
        """The run of trial 0."""
        self.repeats: Repeats | None = None
        """Set where each trial is the pipeline several times."""
        self.lock = threading.RLock()
        """Guards Optuna's study, which is not safe to use from several threads."""

    def ask(self, number: int | None) -> optuna.Trial:
        """A new trial, or the one with this ``number``, which a crash left running: it goes on under its number."""
        with self.lock:
            if number is None:
                return sampling.feasible(self.optuna, self.space)
            frozen = next(trial for trial in self.optuna.get_trials(deepcopy=False) if trial.number == number)
            return sampling.feasible(self.optuna, self.space, optuna.Trial(self.optuna, frozen._trial_id))

    def redraw(self, trial: FrozenTrial, run: Task) -> None:
        """Give ``trial`` the parameters of its run, those that it has not."""
        pipeline, _ = self.workspace.code(run)
        began = first(self.workspace.store.tasks, run)
        drawn = sampling.enqueued(self.space, pipeline.parameters.decode(began.params))
        if drawn is not None:
            # What Optuna itself does with an enqueued trial.
            self.optuna._storage.set_trial_system_attr(trial._trial_id, "fixed_params", drawn)
            sampling.suggest(optuna.Trial(self.optuna, trial._trial_id), self.space)

    def driven(
        self, trial: optuna.Trial, watch: Watch | None, wait: Callable[[Task], QueuedTrial], *, again: bool
    ) -> tuple[Driven, dict[str, Any]]:
        """What drives the trial's run, and the run's parameters; ``wait`` makes it for a run that agents drive.

        A run that a crash left goes on from its journal, if it has today's code.
        """
        left = self.left.pop(trial.number, None)
        goes_on = left is not None and left.snapshot == self.base.snapshot
        if left is not None and goes_on:
            self.redraw(trial._cached_frozen_trial, left)
        if self.queue is not None:
            waits = left if left is not None and goes_on and not left.status.finished else None
            return wait(self._enqueued(trial, waits, again=again)), {}
        options = RunOptions(watch=watch, results=self.results, repeats=self.repeats, echo=False, reuse=self.reuse)
        if left is None or not goes_on:
            return self.workspace.controller(self._record(trial, again=again), options)
        left = self.workspace.store.tasks.get(left.id)
        if self._is_with_agents(left):
            return wait(left), {}
        self.workspace.store.queues.leave(left.id)
        if left.status is Status.QUEUED:
            return self.workspace.controller(left, options)
        return self.workspace.resumed(left, options=options)

    def _is_with_agents(self, left: Task) -> bool:
        """Whether an agent drives the run ``left``, which waited in a queue, or has brought it to its end meanwhile."""
        if left.status.finished:
            return left.status is not Status.ABORTED
        queued = self.workspace.store.queues.entry(left.id) is not None
        return queued and self.workspace.engine.liveness.is_held(lease_of(left.id))

    def _enqueued(self, trial: optuna.Trial, left: Task | None, *, again: bool) -> Task:
        """The trial's run in its queue: one that is there already, or that its driver has left, is waited for."""
        if left is None:
            return self._record(trial, again=again)
        entry = self.workspace.store.queues.entry(left.id)
        if entry is not None and entry.queue == self.queue:
            return left
        with self.workspace.store.transaction():
            left = self.workspace.store.tasks.update(left.id, queue=self.queue)
            self.workspace.store.queues.enter(left.id, str(self.queue), options=self._told)
        return left

    @property
    def _told(self) -> Mapping[str, Any]:
        """What the agent that drives a trial is told."""
        repeated = {} if self.repeats is None else {"repeats": self.repeats.as_option()}
        return repeated if self.reuse else {**repeated, "reuse": False}

    def _record(self, trial: optuna.Trial, *, again: bool) -> Task:
        with self.lock:
            sampled = sampling.suggest(trial, self.space)
            clone = self.workspace.cloned(self.base, sampled)
            clone = replace(
                clone,
                cloned_from=self.base.id if self.base.number is not None else self.first,
                status=Status.RUNNING if self.queue is None else Status.QUEUED,
                queue=self.queue,
                study=self.study.id,
                trial=trial.number,
                git=self.base.git,
            )
            with self.workspace.store.transaction():
                if again:
                    supersede(self.study, trial.number)
                run = self.workspace.store.tasks.create(clone)
                if self.queue is None:
                    self.workspace.engine.liveness.claim(lease_of(run.id), run.label)
                else:
                    self.workspace.store.queues.enter(run.id, self.queue, options=self._told)
            if trial.number == 0 or self.first is None:
                # Trials of a pipeline are clones of the first one, which has the base parameters.
                self.first = run.id
            return run
