"""The runs of a study's trials: each is recorded as a clone of the base run, and driven here or by agents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo_pipelines.engine import Controller, RunOptions
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.engine.options import Watch
from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.store.chain import first
from hpo_pipelines.study import sampling
from hpo_pipelines.study.continuing import CONTINUES, continued, note, run_of
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.imported import Pinned
from hpo_pipelines.study.lease import supersede
from hpo_pipelines.study.queued import QueuedTrial
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status
from hpo_pipelines.waiting import recorded
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
        self.ladder: Ladder | None = None
        """Set where each trial is the pipeline at one rung after another."""
        self.lock = threading.RLock()
        """Guards Optuna's study, which is not safe to use from several threads."""

    @property
    def pinned(self) -> Pinned:
        """What the trials are measured by."""
        return Pinned(self.space, self.study.goals, self.ladder)

    def ask(self, number: int | None) -> optuna.Trial:
        """A new trial, or the one with this ``number``, which a crash left running: it goes on under its number."""
        with self.lock:
            if number is None:
                return sampling.feasible(self.optuna, self.space)
            frozen = next(trial for trial in self.optuna.get_trials(deepcopy=False) if trial.number == number)
            return sampling.feasible(self.optuna, self.space, optuna.Trial(self.optuna, frozen._trial_id))

    def continues(self, trial: optuna.Trial) -> int | None:
        """The number of the pruned trial that ``trial`` continues; None for any other trial."""
        of = trial.user_attrs.get(CONTINUES)
        return self._continued.get(trial.number) if of is None else int(of)

    @cached_property
    def _continued(self) -> Mapping[int, int]:
        """What earlier drivers have recorded: Optuna may have lost that, or be another machine's."""
        return continued(self.study.task.params)

    def continue_(self, number: int) -> None:
        """Have the parameters of the pruned trial ``number`` be the next trial's, which continues it."""
        run = run_of(self.study, number)
        point = None if run is None else self._drawn(run)
        if point is not None:
            self.optuna.enqueue_trial(point, user_attrs={CONTINUES: number})

    def _drawn(self, run: Task) -> dict[str, Any] | None:
        """The parameters of ``run`` as Optuna drew them; None where the space has them no more."""
        pipeline, _ = self.workspace.code(run)
        began = first(self.workspace.store.tasks, run)
        return sampling.enqueued(self.space, pipeline.parameters.decode(began.params))

    def redraw(self, trial: FrozenTrial, run: Task) -> None:
        """Give ``trial`` the parameters of its run, those that it has not."""
        drawn = self._drawn(run)
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
        options = replace(options, ladder=self._ladder(trial))
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
            self.workspace.store.queues.enter(left.id, str(self.queue), options=self._told(trial))
        return left

    def _told(self, trial: optuna.Trial) -> Mapping[str, Any]:
        """What the agent that drives a trial is told."""
        return recorded(RunOptions(repeats=self.repeats, ladder=self._ladder(trial), reuse=self.reuse))

    def _ladder(self, trial: optuna.Trial) -> Ladder | None:
        """The rungs that the trial climbs; one that is continued goes to the top."""
        free = self.ladder is not None and self.continues(trial) is not None
        return replace(self.ladder, free=True) if self.ladder is not None and free else self.ladder

    def _record(self, trial: optuna.Trial, *, again: bool) -> Task:
        with self.lock:
            sampled = sampling.suggest(trial, self.space)
            clone = self.workspace.cloned(self.base, sampled)
            of = self.continues(trial)
            clone = replace(
                clone,
                cloned_from=self._origin(of),
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
                if of is not None:
                    note(self.workspace.store, self.study.id, trial.number, of)
                if self.queue is None:
                    self.workspace.engine.liveness.claim(lease_of(run.id), run.label)
                else:
                    self.workspace.store.queues.enter(run.id, self.queue, options=self._told(trial))
            if trial.number == 0 or self.first is None:
                # Trials of a pipeline are clones of the first one, which has the base parameters.
                self.first = run.id
            return run

    def _origin(self, of: int | None) -> str | None:
        """What a trial's run is a clone of: the run of the trial that it continues, else the base."""
        if of is not None:
            pruned = run_of(self.study, of)
            return self.first if pruned is None else pruned.id
        return self.base.id if self.base.number is not None else self.first
