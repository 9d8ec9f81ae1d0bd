"""The composition root: one store, its artifacts and an engine, and the use cases that every door goes through."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo_pipelines.accounting import Accounting, accounting
from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.consoles import Consoles
from hpo_pipelines.engine import Controller, Engine, Refresh, RunOptions
from hpo_pipelines.engine.journal import Journal, lease_of, reopen, take_over
from hpo_pipelines.engine.options import asked_again, completed
from hpo_pipelines.engine.step import StepCall
from hpo_pipelines.errors import CodeUnavailable, IllegalTransition, StoreError, TaskNotFound
from hpo_pipelines.lookup import called
from hpo_pipelines.nodes import NodeWatch
from hpo_pipelines.pipeline import Pipeline, components_of, pipeline_in
from hpo_pipelines.planning import Plan, plan
from hpo_pipelines.provenance import git_state
from hpo_pipelines.reasons import Why, why, why_run
from hpo_pipelines.run import Run
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.settings import Settings, server_of
from hpo_pipelines.snapshot import Code, live, load_private
from hpo_pipelines.standalone import as_pipeline
from hpo_pipelines.store import Store, TaskFilter
from hpo_pipelines.store.chain import last
from hpo_pipelines.task import Snapshot, Task
from hpo_pipelines.tracking import MirrorProcess, NotifierProcess, StepTracking
from hpo_pipelines.types import Kind, Status, new_id
from hpo_pipelines.waiting import enqueue, waiting_options

RefreshOption = bool | str | Sequence[str]


class Workspace:
    """Where runs are recorded: by default under ``$HPO_HOME``; any SQL store and artifact folder by URL.

    With the setting ``server`` (``HPO_SERVER=http://…``), or such an address in place of the store, it is what that
    ``hpo up`` serves, and runs are driven there. Open one for as long as it is used, as a context manager or with
    :meth:`close`.
    """

    def __new__(
        cls, store: str | None = None, *, artifacts: str | None = None, home: str | Path | None = None
    ) -> Workspace:
        if cls is Workspace and server_of(store, home):
            # One that is itself built on this class: imported by name, since imports keep one direction.
            cls = importlib.import_module("hpo_pipelines.remote").RemoteWorkspace
        return super().__new__(cls)

    def __init__(
        self, store: str | None = None, *, artifacts: str | None = None, home: str | Path | None = None
    ) -> None:
        settings = Settings.load(home)
        settings = replace(
            settings, store=store or settings.store, artifacts=artifacts or settings.artifacts, server=""
        )
        self.settings = settings
        settings.home.mkdir(parents=True, exist_ok=True)
        self.home = settings.home
        self.store = Store.open(settings.store)
        self.artifacts = ArtifactStore(settings.artifacts)
        self.consoles = Consoles(self.store, self.home, shared=not settings.store.startswith("sqlite"))
        self.engine = Engine(self.store, self.artifacts, self.consoles)
        self.engine.default_executor = settings.executor
        self.engine.queue = settings.queue
        self.engine.pages = settings.pages.rstrip("/")
        self.nodes = NodeWatch(self.engine)
        """Tells others what the runs that are driven here use."""
        self._mirror = MirrorProcess(settings)
        self._notifier = NotifierProcess(settings)
        self._tracking = StepTracking(settings, self.store)
        self.engine.track_step = self._track
        self._codes: dict[str, tuple[Pipeline[..., Any], Code]] = {}
        self._entries: dict[str, str] = {}
        """The digest of the live code of each entry (``module:qualname``)."""
        self._lock = threading.Lock()

    # -- runs from pipelines

    def run(
        self,
        pipeline: Pipeline[..., Any],
        params: Mapping[str, Any],
        *,
        executor: str | None = None,
        refresh: RefreshOption = False,
        reuse: bool = True,
        tags: Sequence[str] = (),
    ) -> Run:
        """Record a run of ``pipeline`` and run it to its end. Raises ParameterError before anything runs."""
        draft = self.draft(pipeline, params, executor=executor, tags=tags)
        return self.start(draft.id, RunOptions(refresh=Refresh.of(refresh), reuse=reuse))

    def draft(
        self,
        pipeline: Pipeline[..., Any],
        params: Mapping[str, Any],
        *,
        executor: str | None = None,
        tags: Sequence[str] = (),
    ) -> Run:
        """Record a draft of ``pipeline`` with ``params`` over its defaults."""
        return Run(self, self.store.tasks.create(self.record_of(pipeline, params, executor=executor, tags=tags)))

    def record_of(
        self,
        pipeline: Pipeline[..., Any],
        params: Mapping[str, Any],
        *,
        executor: str | None = None,
        tags: Sequence[str] = (),
        snapshot: str | None = None,
    ) -> Task:
        """The record of a draft, its code stored (under the digest ``snapshot`` if it is already), itself not yet.

        Raises ParameterError, and ConfigError for a component whose queue is not declared.
        """
        values = pipeline.parameters.bind(params)
        for component in components_of(pipeline):
            if component.options.resources.queue is not None:
                self.settings.queue(component.options.resources.queue)
        return Task(
            id=new_id(),
            kind=Kind.PIPELINE,
            name=pipeline.name,
            project=pipeline.project,
            pipeline=pipeline.name,
            params=pipeline.parameters.encode(values),
            snapshot=snapshot or self.record_code(pipeline),
            executor=executor,
            git=git_state(os.getcwd()),
            tags=tuple(tags),
        )

    def record_code(self, pipeline: Pipeline[..., Any]) -> str:
        """Store the pipeline's code by value, once; returns the digest of its snapshot."""
        captured = pipeline.captured()
        with self._lock:
            if captured.digest not in self._codes:
                # The process has one version of a module: what it was before a reload is now loaded from its snapshot.
                self._codes.pop(self._entries.get(captured.entry, ""), None)
                self._entries[captured.entry] = captured.digest
                content = self.artifacts.put_bytes(captured.content)
                self.store.snapshots.add(
                    Snapshot(captured.digest, captured.entry, content, captured.python, captured.packages)
                )
                self._codes[captured.digest] = (pipeline, live())
        return captured.digest

    def code(self, task: Task) -> tuple[Pipeline[..., Any], Code]:
        """The pipeline and the code that ``task`` was recorded with, whatever its files are now.

        A run inside another has the code of that. Raises CodeUnavailable when it cannot be loaded here, or is not found
        there.
        """
        digest = task.snapshot
        if digest is None:
            raise CodeUnavailable(f"{task.label} was recorded without its code; run its pipeline again instead.")
        with self._lock:
            if digest not in self._codes:
                content = self.artifacts.read_bytes(self.engine.snapshot_ref(digest))
                try:
                    code = load_private(content)
                    self._codes[digest] = (as_pipeline(code.entry()), code)
                except Exception as error:
                    raise CodeUnavailable(
                        f"the code of {task.label} does not load here: {type(error).__name__}: {error}. "
                        "It may need a library that is missing, or another Python version."
                    ) from error
            pipeline, code = self._codes[digest]
        return pipeline_in(pipeline, task), code

    # -- acting on runs

    def start(self, run: str, options: RunOptions | None = None) -> Run:
        """Run the draft or queued task ``run`` here, to its end; without ``options`` as it was enqueued."""
        task = self.store.tasks.get(run)
        if task.status not in (Status.DRAFT, Status.QUEUED):
            cure = "rerun it" if task.status is Status.COMPLETED else "resume it, or rerun it"
            raise IllegalTransition(f"{task.label} is {task.status}: only a draft is started; {cure}.")
        controller, values = self.controller(task, options or waiting_options(self.store, task))
        return Run(self, controller.drive(values))

    def enqueue(
        self, run: str, *, queue: str | None = None, priority: int | None = None, options: RunOptions | None = None
    ) -> Run:
        """Have the draft ``run`` wait in ``queue`` (default: services) for an agent; higher ``priority`` goes first.

        One that waits already is moved, and keeps what is not given. Raises ConfigError for a queue that is not
        declared, IllegalTransition for a run that neither is a draft nor waits, ParameterError for a priority beyond
        32 bits.
        """
        return Run(self, enqueue(self, run, queue=queue, priority=priority, options=options))

    def controller(self, task: Task, options: RunOptions | None = None) -> tuple[Controller, dict[str, Any]]:
        """What drives the run ``task``, not yet started, and its decoded parameters."""
        pipeline, code = self.code(task)
        self.follow()
        self.nodes.start()
        options = replace(options or RunOptions(), executor=task.executor, first_party=frozenset(pipeline.first_party))
        return Controller(self.engine, task, pipeline, code, options), pipeline.parameters.decode(task.params)

    def clone(self, run: str, params: Mapping[str, Any], *, executor: str | None = None) -> Run:
        """A draft of the same code with ``params`` over the run's own. Raises ParameterError for what does not fit."""
        task = self.store.tasks.get(run)
        return Run(self, self.store.tasks.create(self.cloned(task, params, executor=executor)))

    def cloned(self, task: Task, params: Mapping[str, Any], *, executor: str | None = None) -> Task:
        """The record of a clone of ``task``, not yet in the store."""
        pipeline, _ = self.code(task)
        values = pipeline.parameters.bind({**pipeline.parameters.decode(task.params), **params})
        clone = task.clone(pipeline.parameters.encode(values))
        return replace(clone, executor=executor or task.executor)

    def rerun(
        self,
        run: str,
        *,
        failed: bool = False,
        from_step: str | None = None,
        refresh: RefreshOption = False,
        reuse: bool = True,
    ) -> Run:
        """Run again with the same code and parameters; what is unchanged is reused.

        ``failed`` keeps every completed step, also of components whose reuse is off; ``from_step`` runs that step and
        what uses it anew; ``refresh`` runs everything, or the named steps, anew; with ``reuse=False`` nothing is
        reused, nor left to be. Raises TaskNotFound for a step that the run does not have.
        """
        draft, options = self.rerun_draft(run, failed=failed, from_step=from_step, refresh=refresh)
        return self.start(draft.id, replace(options, reuse=reuse))

    def rerun_draft(
        self, run: str, *, failed: bool = False, from_step: str | None = None, refresh: RefreshOption = False
    ) -> tuple[Run, RunOptions]:
        """What :meth:`rerun` starts, and how."""
        task = self.store.tasks.get(run)
        steps = self.store.tasks.children(run)
        wanted = Refresh.of(refresh, from_step)
        for name in sorted(wanted.steps | wanted.from_steps):
            if not any(name in (step.name, step.component) for step in steps):
                names = ", ".join(step.name for step in steps) or "none"
                raise TaskNotFound(f"{task.label} has no step {name!r}; it has {names}.")
        prior = completed(self.store, run) if failed else {}
        again = replace(task.clone(), cloned_from=task.cloned_from, rerun_of=task.id)
        return Run(self, self.store.tasks.create(again)), RunOptions(refresh=wanted, prior=prior)

    def resume(self, run: str, *, from_step: str | None = None) -> Run:
        """Drive an unsuccessful or abandoned run on, to its end.

        Its body runs again from the beginning and gets every recorded outcome from the journal; what was under way, and
        the failure that ended the run, are tried again. ``from_step`` runs that step and every call after it anew.
        Raises IllegalTransition for a run that completed, never started, or is being driven; the run fails with
        NonDeterministicBody if its body takes another path than before.
        """
        task = self.store.tasks.get(run)
        refuse_trial(self.store, task)
        controller, values = self.resumed(task, from_step)
        return Run(self, controller.drive(values))

    def resumed(
        self, task: Task, from_step: str | None = None, *, options: RunOptions | None = None
    ) -> tuple[Controller, dict[str, Any]]:
        """What drives the run ``task`` on, not yet started, and its decoded parameters."""
        self.code(task)  # before anything changes
        return self._going_on(reopen(self.store, self.engine.liveness, task, from_step), options)

    def taken_over(
        self, task: Task, gone_at: float | None, options: RunOptions | None = None
    ) -> tuple[Controller, dict[str, Any]]:
        """:meth:`resumed` for a run whose driver went away at ``gone_at``, and whose lease this process has taken.

        Raises IllegalTransition if it has ended meanwhile.
        """
        self.code(task)
        return self._going_on(take_over(self.store, task, gone_at), options)

    def _going_on(self, running: Task, options: RunOptions | None) -> tuple[Controller, dict[str, Any]]:
        try:
            journal = Journal.of(self.store, running)
            options = asked_again(self.store, running, options or RunOptions())
            return self.controller(running, replace(options, journal=journal))
        except StoreError:
            self.engine.liveness.give_up(lease_of(running.id))  # not its end: it can be resumed once the store is back
            raise
        except BaseException as error:
            self.store.tasks.transition(running.id, Status.ABORTED, reason=f"could not be resumed: {error}")
            self.engine.liveness.give_up(lease_of(running.id))
            raise

    def is_driving(self, run: str) -> bool:
        """Whether this process drives the run, which is not one inside another."""
        return self.engine.liveness.holds(lease_of(run))

    def abort(self, run: str) -> Run:
        """Mark the run aborted at once; whoever drives it stops its steps within 2 s."""
        return self.end(run, Status.ABORTED, "aborted")

    def end(self, run: str, status: Status, reason: str) -> Run:
        """Mark the run aborted or pruned at once, for ``reason``; whoever drives it stops its steps within 2 s.

        Of one that was retriggered it is the attempt that is under way that ends.
        """
        with self.store.transaction():
            task = last(self.store.tasks, self.store.tasks.get(run))
            run = task.id
            ended = self.store.tasks.transition(run, status, reason=reason)
            for step in self.store.tasks.children(run):
                if not step.status.finished:
                    try:
                        if step.kind is Kind.PIPELINE:
                            self.end(step.id, status, reason)
                        else:
                            self.store.tasks.transition(step.id, Status.ABORTED, reason=f"{task.label} was {status}")
                    except IllegalTransition:
                        continue  # it ended by itself just now
        return Run(self, ended)

    # -- finding

    def get(self, reference: str) -> Run | RunStep:
        """The run called ``reference``: an id, ``churn#48``, ``project/churn#48``; its step ``churn#48/fit``, the run
        ``churn#48/prepare.2`` inside it, a step ``churn#48/prepare.2/load`` of that.

        Raises TaskNotFound, also for a study, which :meth:`hpo_pipelines.Study.called` finds.
        """
        task = called(self.store, reference)
        if task.kind is Kind.STUDY:
            raise TaskNotFound(
                f"{reference!r} is a study, not a run; `hpo show {task.name}` shows it, "
                f"`hpo resume {task.name}` goes on with it."
            )
        return RunStep(self, task) if task.kind is Kind.STEP else Run(self, task)

    def run_called(self, reference: str) -> Run:
        """Like :meth:`get`, for what must be a run."""
        found = self.get(reference)
        if isinstance(found, Run):
            return found
        raise TaskNotFound(f"{reference!r} is the step {found.name}; name a run, such as churn#48.")

    def runs(self, filter: TaskFilter | None = None, *, limit: int = 100) -> list[Run]:
        """Runs, newest first."""
        wanted = replace(filter or TaskFilter(), kind=Kind.PIPELINE)
        return [Run(self, task) for task in self.store.tasks.list(wanted, limit=limit)]

    @property
    def place(self) -> str:
        """Where it is, for a person: its folder, or the address of its server."""
        return str(self.home)

    # -- what is known of tasks

    def why(self, step: Task) -> Why:
        """Why ``step`` was reused, or ran, or waits. Raises TaskNotFound when it is no longer there."""
        return why(self, step)

    def why_run(self, run: Task) -> tuple[Why, ...]:
        """:meth:`why` of every step of ``run``, those of runs inside it too."""
        return why_run(self, run)

    def accounting(self, task: Task) -> Accounting:
        """What the run or study ``task`` has cost and saved."""
        return accounting(self.store, task)

    def plan(
        self, target: Pipeline[..., Any] | Run, params: Mapping[str, Any], *, refresh: Refresh | None = None
    ) -> Plan:
        """What a run of a pipeline, or a clone of a run, would do; see :func:`hpo_pipelines.planning.plan`."""
        return plan(self, target, params, refresh=refresh)

    # -- tracking

    def follow(self) -> None:
        """Have MLflow shown, and webhooks told, what happens from here on, as a run that is driven has anyway.

        Idempotent.
        """
        self._mirror.start()
        self._notifier.start(self.store)

    def _track(self, run: Task, step: StepCall) -> Mapping[str, str]:
        return self._tracking.step_variables(step.id, step.attempt, name=step.name, run=run)

    def drain(self, timeout: float = 5.0) -> bool:
        """Wait until MLflow has all that is recorded; False when that takes longer than ``timeout`` seconds."""
        return self._mirror.drain(timeout)

    def notification_problem(self) -> str | None:
        """One line on why a webhook is not told, None while all is well."""
        return self._notifier.problem()

    def tracking_problem(self) -> str | None:
        """One line on why MLflow is not being fed, None while all is well."""
        return self._mirror.problem()

    # -- the end

    def close(self) -> None:
        """Stop executors and close the store; idempotent. The mirror into MLflow finishes by itself, within seconds."""
        self.nodes.close()
        self.engine.close()
        self._tracking.close()
        self._mirror.stop()
        self._notifier.stop()
        self.store.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def refuse_trial(store: Store, run: Task) -> None:
    """Raise IllegalTransition for a trial, which is not resumed alone."""
    if run.study is not None and run.parent is None:
        study = store.tasks.get(run.study).name
        raise IllegalTransition(
            f"{run.label} is {_trial(run)} of {study}, which goes on as a whole: `hpo resume {study}`."
        )


def _trial(run: Task) -> str:
    return "an attempt of a trial" if run.trial is None else f"trial {run.trial}"
