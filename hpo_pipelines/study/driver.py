"""Drives one study: ask → record a run → drive it → record what it gave → tell, with ``n_jobs`` runs in flight.

Our store is the truth. The order is such that a crash at any point loses nothing that finished: a trial that Optuna has
as running is matched to its run by (study, number); a finished run is told, an unfinished one is run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from optuna.trial import TrialState

from hpo_pipelines.accounting import accounting
from hpo_pipelines.engine import Controller
from hpo_pipelines.engine.options import Watch
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition
from hpo_pipelines.store.chain import chain
from hpo_pipelines.study import fidelity, reconciliation, sampling
from hpo_pipelines.study.announcing import Announcing, OnTrial
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.interrupt import held_interrupt
from hpo_pipelines.study.lease import leased
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.outcome import Outcome, outcome_of
from hpo_pipelines.study.progress import Progress, shown
from hpo_pipelines.study.pruning import Pruning
from hpo_pipelines.study.queued import QueuedTrial
from hpo_pipelines.study.requests import ABORT, LOOK_SECONDS, Requests
from hpo_pipelines.study.samplers import exhaustive
from hpo_pipelines.study.stopping import Ended, Stop, StopRules
from hpo_pipelines.study.trialruns import Driven, TrialRuns
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

_INTERRUPTED = "the study was interrupted"


class Driver:
    """Runs the trials of a study until one of ``limits`` is reached, or ``pruning`` stops them."""

    def __init__(self, runs: TrialRuns, limits: Limits, pruning: Pruning) -> None:
        self.runs = runs
        self.study = runs.study
        self.workspace = runs.workspace
        self.optuna = runs.optuna
        self.goals: Goals = runs.study.goals
        self.limits = limits
        self.pruning = pruning
        self.rules = StopRules(limits, self.goals)
        self.progress = Progress(self.study.name, limits.n_trials)
        self._lock = runs.lock
        self._stopping = ""
        """What ends the study that is no rule of it."""
        self._stop: Stop | None = None
        self.begun = threading.Event()
        """That it has the study, which is recorded as running."""
        self._aborting = False
        self._driven: dict[int, Driven] = {}
        self._requests = Requests(self.workspace.store, self.study.id)
        self._changed: Callable[[Progress], None] = lambda progress: None
        self.announcing = Announcing(self.study, say=self._note)

    def announces(self, on_trial: OnTrial | None, on_best: OnTrial | None) -> None:
        """Have these called with trials that end from here on; see :class:`Announcing`."""
        self.announcing = Announcing(self.study, on_trial, on_best, say=self._note)

    def optimize(self, progress: bool | Callable[[Progress], None] | None, asked: Mapping[str, Any]) -> None:
        """Run trials until a limit is reached. Raises StudyError when another process is running this study.

        ``asked`` is kept with the study, for whoever resumes it without saying it again.
        """
        with leased(self.study), shown(progress, self.progress) as changed:
            self._changed = changed
            self.runs.reuse = asked.get("reuse", True)
            self.runs.results = frozenset(self.pruning.metrics)
            store = self.workspace.store
            params = {**self.study.task.params, "asked": dict(asked), "stopped_by": None}
            store.tasks.update(self.study.id, params=params)
            self._requests.begin()
            status = store.tasks.get(self.study.id).status
            if status is Status.COMPLETED:
                store.tasks.reopen(self.study.id)
            elif status is not Status.RUNNING:
                store.tasks.transition(self.study.id, Status.RUNNING)
            self.begun.set()
            try:
                retried = reconciliation.reconcile(self.runs, self._tell)
                reconciliation.remember(self.runs, self.pruning)
                self._count()
                self.announcing.catch_up(self.rules.best)
                self._enqueue_base()
                self._run(retried)
                while not self._has_ended():
                    self._run(retried)
            except BaseException as error:
                store.tasks.transition(self.study.id, Status.ABORTED, reason=f"{type(error).__name__}: {error}")
                raise

    def _has_ended(self) -> bool:
        """Record the end, unless something was asked at the last moment that keeps the study going."""
        store = self.workspace.store
        with store.transaction():
            store.tasks.update(self.study.id)  # locks its row: what is asked from now on finds it ended
            self._heed()
            if self._may_ask(0, 0):
                return False
            self._close()
            return True

    def _heed(self) -> None:
        """Follow what was asked of the study meanwhile."""
        asked = self._requests.look()
        with self._lock:
            for point in asked.points:
                self.optuna.enqueue_trial(point)
            for number in asked.continued:
                self.runs.continue_(number)
        if asked.n_trials != self.limits.n_trials:
            self.limits = replace(self.limits, n_trials=asked.n_trials)
            self.progress.total = asked.n_trials
        if asked.stop is not None and not self._stopping:
            self.finish("asked to stop: finishing what runs; hpo study stop again aborts it")
        if asked.stop == ABORT and not self._aborting:
            self.abort()

    # -- resuming

    def _count(self) -> None:
        """Take into account what earlier drivers have done, and what the study began with."""
        self._know_imported()
        states = {trial.number: trial.state for trial in self.optuna.get_trials(deepcopy=False) if sampling.ran(trial)}
        over = [trial for trial in self.study.trials if states.get(trial.number, TrialState.RUNNING).is_finished()]
        for trial in sorted(over, key=lambda trial: (trial.run.task.finished_at or 0.0, trial.number)):
            self._ended(trial.run.task, Outcome(trial.values, trial.violations), states.pop(trial.number))
        for state in states.values():
            if state.is_finished():  # its run could not even be recorded
                self._ended(None, Outcome(), state)
        self.progress.done_before = self.progress.done

    def _know_imported(self) -> None:
        """What was run elsewhere is nothing that this study has done, but may be better than what it does."""
        brought = self.study.imported
        if not brought.wanted:
            return
        self.progress.note = str(brought)
        for trial in self.study.trials:
            if trial.origin is not None and trial.values is not None:
                where = dict.fromkeys((trial.run.label, trial.origin))  # one and the same of a run of no study
                self.rules.known(Ended(", ".join(where), trial.values, trial.is_feasible))
        self._show_best()

    def _ended(self, run: Task | None, outcome: Outcome, state: TrialState) -> None:
        """Count one more trial that is told."""
        timed = self.limits.max_compute is not None
        store = self.workspace.store
        seconds = accounting(store, *chain(store.tasks, run)).spent if timed and run is not None else 0.0
        failed = state is TrialState.FAIL
        label = "" if run is None else run.label
        self.rules.ended(Ended(label, outcome.values, outcome.is_feasible, failed, seconds))
        progress = self.progress
        progress.done += 1
        progress.failed += failed
        progress.pruned += state is TrialState.PRUNED
        self._show_best()

    def _show_best(self) -> None:
        progress, front = self.progress, self.rules.best
        if self.goals.several:
            progress.front = len(front)
        elif front:
            (progress.best_run, (progress.best,)) = front[-1]

    def _enqueue_base(self) -> None:
        trials = self.optuna.get_trials(deepcopy=False)
        if any(sampling.ORIGIN not in trial.user_attrs for trial in trials) or exhaustive(self.optuna.sampler):
            return
        base, space = self.runs.base, self.runs.space
        pipeline, _ = self.workspace.code(base)
        values = sampling.enqueued(space, pipeline.parameters.decode(base.params))
        if values is None:
            self.progress.note = "the base parameters lie outside the space: no trial has them"
        elif not any(trial.params == values for trial in trials):  # brought in
            self.optuna.enqueue_trial(values)

    # -- running

    def _run(self, retried: list[int]) -> None:
        with ThreadPoolExecutor(self.limits.n_jobs, thread_name_prefix="hpo-trial") as pool, held_interrupt() as held:
            running: set[Future[None]] = set()
            try:
                while True:
                    try:
                        held.check()
                        self._heed()
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

    def finish(self, note: str = "finishing what runs; Ctrl-C again aborts it") -> None:
        """Begin no more trials; those under way end. Any thread may call it."""
        self._stopping = "interrupted"
        self.progress.note = note
        self._changed(self.progress)

    def _patience(self) -> float:
        left = self.rules.seconds_left
        return LOOK_SECONDS if left is None else min(left, LOOK_SECONDS)

    def _may_ask(self, running: int, retried: int) -> bool:
        if self._stopping or self._stop is not None:
            return False
        with self._lock:
            self._stop = self.rules.fired()
        total = self.limits.n_trials
        if self._stop is None and total is not None and self.progress.done + running >= total and not retried:
            return False
        return self._stop is None

    def abort(self) -> None:
        """Stop the trials under way; :meth:`finish` goes before it."""
        with self._lock:
            self._aborting = True
            driven = list(self._driven.values())
        for each in driven:
            each.stop(Status.ABORTED, _INTERRUPTED)

    def _trial(self, number: int | None) -> None:
        trial = self.runs.ask(number)
        try:
            watch = None if self.runs.continues(trial) is not None else self.pruning.watch(trial)
            driven, values = self.runs.driven(trial, watch, self._with_agents(watch), again=number is not None)
        except IllegalTransition:
            raise  # its run is driven elsewhere: the trial is not over
        except HpoPipelinesError:
            self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            raise
        with self._lock:
            self._driven[trial.number] = driven
            self.progress.running += 1
            self._changed(self.progress)
            late = self._aborting
        if late:
            driven.stop(Status.ABORTED, _INTERRUPTED)
        try:
            finished = driven.drive(values)
        finally:
            with self._lock:
                del self._driven[trial.number]
                self.progress.running -= 1
        self._finished(trial.number, finished, driven)

    def _with_agents(self, watch: Watch | None) -> Callable[[Task], QueuedTrial]:
        return lambda run: QueuedTrial(
            self.workspace,
            run,
            watch,
            say=self._note,
            is_ending=lambda: self._stopping == "interrupted",
            results=self.pruning.metrics,
        )

    def _note(self, said: str) -> None:
        with self._lock:
            if self.progress.note != said:
                self.progress.note = said
                self._changed(self.progress)

    # -- telling

    def _finished(self, number: int, run: Task, driven: Driven) -> None:
        controller = driven.last if isinstance(driven, Controller) else None
        with self._lock:
            if run.status is Status.ABORTED or not run.status.finished:
                return  # left running in Optuna: resuming runs it again
            outcome, state = self._tell(number, run, controller)
            self._ended(run, outcome, state)
            self.announcing.ended(number, run, outcome, self.rules.best)
            steps = [] if controller is None else controller.scheduler.steps
            reused = [step.reused for step in steps] or self._reused(run)
            self.progress.steps += len(reused)
            self.progress.reused += sum(reused)
            self._changed(self.progress)
        self.announcing.call()

    def _reused(self, run: Task) -> list[bool]:
        """For each step of ``run``, and of the runs inside it, whether it was reused."""
        below = self.workspace.store.tasks.below([run.id])
        return [step.reused_from is not None for step in below if step.kind is Kind.STEP]

    def _tell(self, number: int, run: Task, controller: Controller | None = None) -> tuple[Outcome, TrialState]:
        """Tell Optuna what ``run`` gave, unless it knows already."""
        outcome = outcome_of(self.workspace, run, self.goals, controller)
        state = TrialState.PRUNED if run.status is Status.PRUNED else TrialState.FAIL
        if outcome.problem:
            self.workspace.store.tasks.update(run.id, notes=outcome.problem)
            self.progress.note = outcome.problem
        if self.runs.ladder is not None:
            fidelity.hear(self.optuna, number, self.workspace, run, self.runs.ladder)
        if outcome.values is None:
            self.optuna.tell(number, state=state, skip_if_finished=True)
        else:
            state = TrialState.COMPLETE
            sampling.constrain(self.optuna, number, outcome.violations)
            self.optuna.tell(number, list(outcome.values), skip_if_finished=True)
        self.pruning.ended(number, state)
        return outcome, state

    def _close(self) -> None:
        store, done = self.workspace.store, self.progress.done
        if self._stopping == "interrupted":
            store.tasks.transition(self.study.id, Status.ABORTED, reason="interrupted; the same name resumes it")
            return
        stop = self._stop or Stop("n_trials", f"{done} of {self.limits.n_trials} trials")
        unheard = ", ".join(sorted(self.pruning.unheard)) if done else ""
        if unheard:
            self._note(f"no trial reported {unheard}, so that it pruned none")
        # COMPLETED is not final for a study: the same name with more trials goes on.
        status = Status.FAILED if stop.rule == "max_failures" else Status.COMPLETED
        with store.transaction():
            store.tasks.update(self.study.id, params={**self.study.task.params, "stopped_by": stop.rule})
            store.tasks.transition(self.study.id, status, reason=stop.reason)
