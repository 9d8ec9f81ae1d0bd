"""Drives one study: ask → record a run → drive it → record what it gave → tell, with ``n_jobs`` runs in flight.

Our store is the truth. The order is such that a crash at any point loses nothing that finished: a trial that Optuna has
as running is matched to its run by (study, number); a finished run is told, an unfinished one is run again.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_pipelines.engine import Controller, RunOptions
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.engine.options import Watch
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition, StudyError
from hpo_pipelines.owner import spoken
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.study import sampling
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.progress import Progress, shown
from hpo_pipelines.study.queued import QueuedTrial
from hpo_pipelines.study.samplers import exhaustive
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status
from search_spaces import Space

_INTERRUPTED = "the study was interrupted"


class Driver:
    """Runs the trials of ``study``, cloned from ``base``; with a ``queue``, agents of that drive them."""

    def __init__(
        self,
        study: Study,
        optuna_study: optuna.Study,
        space: Space,
        base: Task,
        limits: Limits,
        *,
        queue: str | None = None,
    ) -> None:
        self.study = study
        self.workspace = study.workspace
        self.optuna = optuna_study
        self.space = space
        self.base = base
        self.limits = limits
        self.queue = queue
        self.progress = Progress(study.name, limits.n_trials)
        self._lock = threading.RLock()
        self._stopping = ""
        self._failed_out = False
        self._aborting = False
        self._controllers: dict[int, Controller | QueuedTrial] = {}
        self._reuse = True
        self._left: dict[int, Task] = {}
        """The runs, by trial, that a crash or an abort left unfinished."""
        self.begun = threading.Event()
        """That it has the study, which is recorded as running."""
        self._first: str | None = None
        """The run of trial 0."""
        self._changed: Callable[[Progress], None] = lambda progress: None
        self._deadline = math.inf if limits.timeout is None else time.monotonic() + limits.timeout

    def optimize(self, progress: bool | Callable[[Progress], None] | None, asked: Mapping[str, Any]) -> None:
        """Run trials until a limit is reached. Raises StudyError when another process is running this study.

        ``asked`` is kept with the study, for whoever resumes it without saying it again.
        """
        with self._leased(), shown(progress, self.progress) as changed:
            self._changed = changed
            self._reuse = asked.get("reuse", True)
            store = self.workspace.store
            store.tasks.update(self.study.id, params={**self.study.task.params, "asked": dict(asked)})
            status = store.tasks.get(self.study.id).status
            if status is Status.COMPLETED:
                store.tasks.reopen(self.study.id)
            elif status is not Status.RUNNING:
                store.tasks.transition(self.study.id, Status.RUNNING)
            self.begun.set()
            try:
                retried = self._reconcile()
                self._enqueue_base()
                self._run(retried)
            except BaseException as error:
                store.tasks.transition(self.study.id, Status.ABORTED, reason=f"{type(error).__name__}: {error}")
                raise
            self._close()

    # -- resuming

    def _reconcile(self) -> list[int]:
        """Bring Optuna's trials in line with the store; returns the numbers of those to run again."""
        runs = {run.task.trial: run.task for run in self.study.runs}
        self._first = runs[min(runs, key=lambda number: number or 0)].id if runs else None
        sampling.journal(self.workspace.home, self.study.id).mend()
        self._recall(runs)
        again: list[int] = []
        for trial in self.optuna.get_trials(deepcopy=False):
            run = runs.get(trial.number)
            if trial.state is TrialState.RUNNING:
                if run is not None and run.status.finished and run.status is not Status.ABORTED:
                    self._redraw(trial, run)
                    self._tell(trial.number, run)
                else:
                    again.append(trial.number)
        self._left = {number: run for number in again if (run := runs.get(number)) is not None}
        self._count()
        return again

    def _recall(self, runs: Mapping[int | None, Task]) -> None:
        """Ask Optuna once more for trials that its storage has lost (a power cut, a deleted file) and ours has."""
        trials = self.optuna.get_trials(deepcopy=False)
        lost = {number for number in runs if number is not None}
        lost -= {trial.number for trial in trials if trial.state is not TrialState.WAITING}
        while lost:
            # What is waiting comes first, then the next number.
            trial = self.optuna.ask()
            if trial.number in lost:
                self._redraw(trial._cached_frozen_trial, runs[trial.number])
                lost.remove(trial.number)
            elif self.space.constraints:
                sampling.refuse(self.optuna, trial, [])  # most likely one that was infeasible
            else:
                # With no run of its number the trial never began: it is sampled anew.
                sampling.suggest(trial, self.space)

    def _redraw(self, trial: FrozenTrial, run: Task) -> None:
        """Give ``trial`` the parameters of its run, those that it has not."""
        pipeline, _ = self.workspace.code(run)
        drawn = sampling.enqueued(self.space, pipeline.parameters.decode(run.params))
        if drawn is not None:
            # What Optuna itself does with an enqueued trial.
            self.optuna._storage.set_trial_system_attr(trial._trial_id, "fixed_params", drawn)
            sampling.suggest(optuna.Trial(self.optuna, trial._trial_id), self.space)

    def _count(self) -> None:
        states = [trial.state for trial in self.optuna.get_trials(deepcopy=False) if sampling.ran(trial)]
        self.progress.failed = states.count(TrialState.FAIL)
        self.progress.pruned = states.count(TrialState.PRUNED)
        self.progress.done = self.progress.done_before = sum(state.is_finished() for state in states)
        self._best()

    def _enqueue_base(self) -> None:
        if self.optuna.get_trials(deepcopy=False) or exhaustive(self.optuna.sampler):
            return
        pipeline, _ = self.workspace.code(self.base)
        values = sampling.enqueued(self.space, pipeline.parameters.decode(self.base.params))
        if values is None:
            self.progress.note = "the base parameters lie outside the space: no trial has them"
        else:
            self.optuna.enqueue_trial(values)

    # -- running

    def _run(self, retried: list[int]) -> None:
        with ThreadPoolExecutor(self.limits.n_jobs, thread_name_prefix="hpo-trial") as pool:
            running: set[Future[None]] = set()
            try:
                while True:
                    try:
                        while len(running) < self.limits.n_jobs and self._may_ask(len(running), len(retried)):
                            number = retried.pop(0) if retried else None
                            running.add(pool.submit(self._trial, number))
                        if not running:
                            return
                        finished, _ = wait(running, self._patience(), FIRST_COMPLETED)
                    except KeyboardInterrupt:
                        if self._stopping == "interrupted":
                            raise
                        self.finish()
                        continue
                    running -= finished
                    for future in finished:
                        future.result()
            except BaseException:
                self._stopping = self._stopping or "an error"
                self.abort()
                raise

    def finish(self) -> None:
        """Begin no more trials; those under way end. Any thread may call it."""
        self._stopping = "interrupted"
        self.progress.note = "finishing what runs; Ctrl-C again aborts it"
        self._changed(self.progress)

    def _patience(self) -> float | None:
        left = self._deadline - time.monotonic()
        return None if math.isinf(left) or left <= 0 else left

    def _may_ask(self, running: int, retried: int) -> bool:
        if self._stopping:
            return False
        limits, progress = self.limits, self.progress
        if limits.max_failures is not None and progress.failed >= limits.max_failures:
            self._failed_out = True
            self._stopping = f"{progress.failed} trials failed (max_failures={limits.max_failures})"
        elif time.monotonic() >= self._deadline:
            self._stopping = "timeout"
        elif limits.n_trials is not None and progress.done + running >= limits.n_trials and not retried:
            return False
        return not self._stopping

    def abort(self) -> None:
        """Stop the trials under way; :meth:`finish` goes before it."""
        with self._lock:
            self._aborting = True
            controllers = list(self._controllers.values())
        for controller in controllers:
            controller.stop(Status.ABORTED, _INTERRUPTED)

    def _trial(self, number: int | None) -> None:
        trial = self._ask(number)
        try:
            controller, values = self._controller(trial, again=number is not None)
        except IllegalTransition:
            raise  # its run is driven elsewhere: the trial is not over
        except HpoPipelinesError:
            self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            raise
        with self._lock:
            self._controllers[trial.number] = controller
            self.progress.running += 1
            self._changed(self.progress)
            late = self._aborting
        if late:
            controller.stop(Status.ABORTED, _INTERRUPTED)
        try:
            finished = controller.drive(values)
        finally:
            with self._lock:
                del self._controllers[trial.number]
                self.progress.running -= 1
        self._finished(trial.number, finished, controller)

    def _controller(
        self, trial: optuna.Trial, *, again: bool
    ) -> tuple[Controller, dict[str, Any]] | tuple[QueuedTrial, dict[str, Any]]:
        """What drives the trial's run: one that a crash left goes on from its journal, if it has today's code."""
        watch = self._watch(trial)
        left = self._left.pop(trial.number, None)
        goes_on = left is not None and left.snapshot == self.base.snapshot
        if left is not None and goes_on:
            self._redraw(trial._cached_frozen_trial, left)
        if self.queue is not None:
            waits = left if left is not None and goes_on and not left.status.finished else None
            return self._with_agents(self._enqueued(trial, waits, again=again), watch), {}
        options = RunOptions(watch=watch, echo=False, reuse=self._reuse)
        if left is None or not goes_on:
            return self.workspace.controller(self._record(trial, again=again), options)
        left = self.workspace.store.tasks.get(left.id)
        if self._is_with_agents(left):
            return self._with_agents(left, watch), {}
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
    def _told(self) -> dict[str, bool]:
        """What the agent that drives a trial is told."""
        return {} if self._reuse else {"reuse": False}

    def _with_agents(self, run: Task, watch: Watch | None) -> QueuedTrial:
        return QueuedTrial(
            self.workspace, run, watch, say=self._note, is_ending=lambda: self._stopping == "interrupted"
        )

    def _note(self, said: str) -> None:
        with self._lock:
            if self.progress.note != said:
                self.progress.note = said
                self._changed(self.progress)

    def _ask(self, number: int | None) -> optuna.Trial:
        with self._lock:
            if number is None:
                return sampling.feasible(self.optuna, self.space)
            frozen = next(trial for trial in self.optuna.get_trials(deepcopy=False) if trial.number == number)
            # A trial that a crash left running is continued under its own number.
            return sampling.feasible(self.optuna, self.space, optuna.Trial(self.optuna, frozen._trial_id))

    def _record(self, trial: optuna.Trial, *, again: bool) -> Task:
        with self._lock:
            sampled = sampling.suggest(trial, self.space)
            clone = self.workspace.cloned(self.base, sampled)
            clone = replace(
                clone,
                cloned_from=self.base.id if self.base.number is not None else self._first,
                status=Status.RUNNING if self.queue is None else Status.QUEUED,
                queue=self.queue,
                study=self.study.id,
                trial=trial.number,
                git=self.base.git,
            )
            with self.workspace.store.transaction():
                if again:
                    self._supersede(trial.number)
                run = self.workspace.store.tasks.create(clone)
                if self.queue is None:
                    self.workspace.engine.liveness.claim(lease_of(run.id), run.label)
                else:
                    self.workspace.store.queues.enter(run.id, self.queue, options=self._told)
            if trial.number == 0 or self._first is None:
                # Trials of a pipeline are clones of the first one, which has the base parameters.
                self._first = run.id
            return run

    def _supersede(self, number: int) -> None:
        """An unfinished run of this trial, left by a crash, makes way for the new one."""
        left = TaskFilter(kind=Kind.PIPELINE, study=self.study.id, trial=number)
        for run in self.workspace.store.tasks.list(left, limit=None):
            if not run.status.finished:
                self.workspace.store.tasks.transition(run.id, Status.ABORTED, reason="its driver went away")
            self.workspace.store.tasks.update(
                run.id, study=None, trial=None, notes=f"left by a crash of {self.study.name}"
            )

    def _watch(self, trial: optuna.Trial) -> Callable[[str, str, float, int], str | None] | None:
        if isinstance(self.optuna.pruner, optuna.pruners.NopPruner):
            return None
        # What a trial reported before it was resumed.
        seen = set(trial._cached_frozen_trial.intermediate_values)

        def watch(component: str, metric: str, value: float, step: int) -> str | None:
            if f"{component}.{metric}" != self.study.objective or step in seen:
                return None
            seen.add(step)
            with self._lock:
                trial.report(value, step)
                if trial.should_prune():
                    return f"pruned at {component} step {step}: {metric} {value:.6g}"
            return None

        return watch

    # -- telling

    def _finished(self, number: int, run: Task, driven: Controller | QueuedTrial) -> None:
        controller = driven if isinstance(driven, Controller) else None
        with self._lock:
            if run.status is Status.ABORTED or not run.status.finished:
                return  # left running in Optuna: resuming runs it again
            self._tell(number, run, controller)
            self.progress.done += 1
            reused = self._reused(run) if controller is None else [step.reused for step in controller.scheduler.steps]
            self.progress.steps += len(reused)
            self.progress.reused += sum(reused)
            self._changed(self.progress)

    def _reused(self, run: Task) -> list[bool]:
        """For each step of ``run``, which an agent has driven, whether it was reused."""
        children = self.workspace.store.tasks.children(run.id)
        return [step.reused_from is not None for step in children if step.kind is Kind.STEP]

    def _tell(self, number: int, run: Task, controller: Controller | None = None) -> None:
        if run.status is Status.PRUNED:
            self.optuna.tell(number, state=TrialState.PRUNED, skip_if_finished=True)
            self.progress.pruned += 1
            return
        value = None
        if run.status is Status.COMPLETED:
            try:
                value = self._objective(run, controller)
            except HpoPipelinesError as error:
                self.workspace.store.tasks.update(run.id, notes=str(error))
                self.progress.note = str(error)
        if value is None or math.isnan(value):
            self.optuna.tell(number, state=TrialState.FAIL, skip_if_finished=True)
            self.progress.failed += 1
            return
        self.optuna.tell(number, value, skip_if_finished=True)
        best, sign = self.progress.best, 1 if self.study.direction == "maximize" else -1
        if best is None or sign * value > sign * best:
            self.progress.best, self.progress.best_run = value, run.label

    def _objective(self, run: Task, controller: Controller | None) -> float:
        """The run's objective: from what its driver heard where that is enough, else from the store."""
        component, dot, metric = (self.study.objective or "").rpartition(".")
        if controller is not None and dot:
            heard = controller.scheduler.metric(component, metric)
            if heard is not None:
                return heard
        return Run(self.workspace, run).objective(self.study.objective)

    def _best(self) -> None:
        try:
            best = self.study.best_trial
        except StudyError:
            return
        self.progress.best, self.progress.best_run = best.value, best.run.label

    def _close(self) -> None:
        store = self.workspace.store
        total, done = self.limits.n_trials, self.progress.done
        if self._stopping == "interrupted":
            store.tasks.transition(self.study.id, Status.ABORTED, reason="interrupted; the same name resumes it")
        elif self._failed_out:
            store.tasks.transition(self.study.id, Status.FAILED, reason=self._stopping)
        else:
            # Not COMPLETED, which is final: the same name with more trials goes on.
            reason = "timeout" if self._stopping else f"{done} of {total} trials"
            store.tasks.transition(self.study.id, Status.COMPLETED, reason=reason)

    # -- one driver at a time

    @contextlib.contextmanager
    def _leased(self) -> Iterator[None]:
        liveness, name = self.workspace.engine.liveness, f"study:{self.study.id}"
        if liveness.holds(name) or not liveness.claim(name, self.study.name):
            holder = liveness.holder(name)
            who = spoken(holder.owner) if holder else "another process"
            raise StudyError(
                f"study {self.study.name!r} is being run by {who}; wait for it, stop it, or choose another name."
            )
        try:
            yield
        finally:
            liveness.give_up(name)
