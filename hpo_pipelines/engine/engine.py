"""What the runs of one process share: the store, the artifacts, executors, keys in flight, and who is alive."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.component import Component
from hpo_pipelines.consoles import Consoles
from hpo_pipelines.engine import retriggers
from hpo_pipelines.engine.borrowing import Borrowing, Lent, code_of, first_party_of, snapshot_of
from hpo_pipelines.engine.controller import Controller
from hpo_pipelines.engine.flights import Flights
from hpo_pipelines.engine.keys import Key, step_key
from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.engine.recorder import WATCH_SECONDS
from hpo_pipelines.engine.refresh import Refresh
from hpo_pipelines.engine.scheduler import Scheduler
from hpo_pipelines.engine.step import StepCall
from hpo_pipelines.errors import CodeUnavailable, ConfigError, HpoPipelinesError
from hpo_pipelines.executors.base import Assignment, ConsoleChunk, Executor, NodeUse
from hpo_pipelines.executors.inline import InlineExecutor
from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.snapshot import Code, Locator, component_locator
from hpo_pipelines.store import Store
from hpo_pipelines.task import CacheEntry, Metric, Task
from hpo_pipelines.types import ArtifactRef, Queue, Resources, Status, new_id

log = logging.getLogger(__name__)

CLOSED = "its workspace was closed"

CONSOLE_SECONDS = 1.0
"""How old what other machines see of a console may be."""

EXECUTORS = ("inline", "local", "ray")

DEFAULT_QUEUE = "default"
"""Of steps that name none."""

STEP_RUN = "hpo_pipelines.tracking.inside:step_run"
"""What a step that uses MLflow runs in, so that its calls land in an MLflow run of its own."""

_REMEMBERED = 512
"""Of each kind of what is recorded for good, how much is kept in memory: a study's trials reuse the same steps."""

TrackStep = Callable[[Task, StepCall], Mapping[str, str]]


class Engine:
    """Shared by the controllers of one process."""

    def __init__(self, store: Store, artifacts: ArtifactStore, consoles: Consoles) -> None:
        self.store = store
        self.artifacts = artifacts
        self.consoles = consoles
        self.default_executor: str | None = None
        self.pages = ""
        """The address under which people open the pages."""
        self.queue: Callable[[str], Queue] = Queue
        """The queue of a name; raises ConfigError for one that there is not."""
        self.track_step: TrackStep | None = None
        """Asked for the variables of steps that use MLflow themselves; an empty answer leaves them alone."""
        self._executors: dict[str, Executor] = {}
        self._active: dict[str, Controller] = {}
        self._stopped: set[str] = set()
        """Active runs that somebody else has ended."""
        self._starting = threading.Lock()
        self.liveness = Liveness(store)
        self.borrowing = Borrowing(self)
        self.flights = Flights(store, self.liveness)
        self._locators: WeakKeyDictionary[Component[..., Any], tuple[str, Locator]] = WeakKeyDictionary()
        # What never changes once it is recorded, of what is used again and again.
        self.snapshot_ref = lru_cache(_REMEMBERED)(self._snapshot_ref)
        self.label_of = lru_cache(_REMEMBERED)(self._label_of)
        self.metrics_of = lru_cache(_REMEMBERED)(self._metrics_of)
        self._timers: set[threading.Timer] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self._told = 0.0

    # -- executors

    def executor(self, name: str) -> Executor:
        """The executor ``name``, started when first asked for."""
        with self._starting:
            if name not in self._executors:
                self._executors[name] = _start(name)
            return self._executors[name]

    def nodes(self) -> list[tuple[str, NodeUse]]:
        """(executor, node) of every node that the executors which were started so far have steps run on."""
        with self._starting:
            started = dict(self._executors)
        return [(name, node) for name, executor in started.items() for node in executor.nodes()]

    def executor_for(self, resources: Resources) -> str:
        """The executor of a step when the run names none: local, or ray as soon as something only Ray has is named."""
        if self.default_executor:
            return self.default_executor
        beyond = resources.gpu or resources.custom or self._is_placed(resources.queue)
        return "ray" if beyond or os.environ.get("RAY_ADDRESS") else "local"

    def _is_placed(self, queue: str | None) -> bool:
        name = queue or DEFAULT_QUEUE
        try:
            return name != DEFAULT_QUEUE or self.queue(name).places
        except ConfigError:
            return True  # said when the step is submitted

    def submit(self, scheduler: Scheduler, step: StepCall, assignment: Assignment) -> None:
        scheduler.recorder.refuse_if_taken()
        executor = self.executor(scheduler.executor_of(step))
        if isinstance(executor, InlineExecutor):
            executor.use(assignment.snapshot_digest, code_of(step.component, scheduler.code))
        try:
            executor.submit(assignment, scheduler.attempts.listened(assignment, scheduler.hear))
        except HpoPipelinesError:
            scheduler.attempts.forget(assignment)
            raise
        waiting = self.flights.waiting_for(step)  # those that came before it was in the executor's line
        if waiting:
            executor.urge(assignment.id, waiting)

    def urge(self, executor: str, step: StepCall, waiting: int) -> None:
        """So many steps wait for ``step``: it is to leave the line of its executor before those with fewer."""
        started = self._executors.get(executor)
        if started is not None:
            started.urge(f"{step.id}.{step.attempt}", waiting)

    def assignment(self, scheduler: Scheduler, step: StepCall) -> Assignment:
        """What a worker needs for the step's current attempt."""
        run, options = scheduler.run, step.component.options
        snapshot = snapshot_of(step.component, run) or ""
        tracked: Mapping[str, str] = {}
        if self.track_step is not None and "mlflow" in step.key.parts["packages"]:
            tracked = self.track_step(run, step)
        return Assignment(
            task=step.id,
            attempt=step.attempt,
            label=f"{run.label}/{step.name}",
            locator=self._locator(step, scheduler.code),
            arguments=step.arguments.pickled,
            inputs=step.arguments.refs(),
            artifacts=self.artifacts.url,
            snapshot=self.snapshot_ref(snapshot),
            snapshot_digest=snapshot,
            resources=options.resources,
            timeout=options.timeout,
            console=self.console_path(run.id, f"{step.name}.{step.attempt}"),
            environment=options.environment,
            variables=tracked,
            around=STEP_RUN if tracked else "",
            queue=self.queue(options.resources.queue or DEFAULT_QUEUE),
        )

    def _locator(self, step: StepCall, code: Code) -> Locator:
        """Pickled anew only when the component's code has changed: the bytes name what a worker keeps loaded."""
        fingerprint = step.key.parts["code"]["digest"]
        known = self._locators.get(step.component)
        if known is None or known[0] != fingerprint:
            home = step.component.home
            component, code = (step.component, code) if home is None else (home.component, home.code)
            known = fingerprint, component_locator(component, code)
            self._locators[step.component] = known
        return known[1]

    def cancel(self, executor: str, step: StepCall) -> None:
        self.executor(executor).cancel(f"{step.id}.{step.attempt}")

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after ``seconds``, in a thread of its own."""

        def run() -> None:
            self._timers.discard(timer)
            action()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()

    @property
    def is_driving(self) -> bool:
        """Whether runs are under way here."""
        return bool(self._active)

    @property
    def is_closed(self) -> bool:
        """Whether its workspace was closed."""
        return self._stop.is_set()

    def close(self) -> None:
        """Stop executors and threads; idempotent."""
        self._stop.set()
        with self._lock:
            active = list(self._active.values())
        for controller in active:
            # In threads: what runs inline does not let go before it reports.
            threading.Thread(target=controller.stop, args=(Status.ABORTED, CLOSED), daemon=True).start()
        self.flights.close()
        for timer in list(self._timers):
            timer.cancel()
        self.liveness.close()
        with self._starting:
            executors, self._executors = self._executors, {}
        for executor in executors.values():
            executor.close()

    # -- runs that are alive

    def enter(self, controller: Controller) -> None:
        self.consoles.fetch(controller.run.id)  # what it printed on another machine, before it was resumed here
        with self._lock:
            self._active[controller.run.id] = controller
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="hpo-aborts", daemon=True)
                self._watcher.start()

    def leave(self, controller: Controller) -> None:
        with self._lock:
            self._active.pop(controller.run.id, None)
            self._stopped.discard(controller.run.id)
        if controller.let_go:
            return self.consoles.drop(controller.run.id)
        try:
            self._tell(controller, self.consoles.forget)
        except HpoPipelinesError:
            log.warning(
                "what %s printed last is only in %s", controller.run.label, self.consoles.folder(controller.run.id)
            )

    def _tell(self, controller: Controller, tell: Callable[[str], None]) -> None:
        """What other machines see of the run's consoles; of one that another process has taken, that is its to say."""
        if self.consoles.shared and not self.liveness.is_taken(controller.scheduler.lease):
            tell(controller.run.id)

    def _watch(self) -> None:
        """Write what is noted, stop controllers whose run somebody else has ended in the store."""
        while not self._stop.wait(WATCH_SECONDS):
            try:
                self._tend()
            except HpoPipelinesError:
                # Whoever has to write meets the same error, and says it where it is heard.
                log.debug("the store could not be reached", exc_info=True)

    def _tend(self) -> None:
        with self._lock:
            active = dict(self._active)
        for controller in active.values():
            controller.scheduler.write()
        if time.monotonic() - self._told > CONSOLE_SECONDS:
            for controller in active.values():
                self._tell(controller, self.consoles.tell)
            self._told = time.monotonic()
        for controller in active.values():
            if not self.liveness.holds(controller.scheduler.lease) and not controller.closing:
                self._stop_from_elsewhere(controller, Status.ABORTED, "another process drives it by now")
        for id, status in self.store.tasks.statuses(list(active)).items():
            controller = active[id]
            if status.finished and not controller.closing:
                self._stop_from_elsewhere(controller, status, f"{status} from elsewhere")

    def _stop_from_elsewhere(self, controller: Controller, status: Status, reason: str) -> None:
        if controller.run.id not in self._stopped:
            self._stopped.add(controller.run.id)
            # A step that runs inline holds its run's lock; the other runs are not to wait for it.
            threading.Thread(target=controller.stop, args=(status, reason), daemon=True).start()

    def nested(self, outer: Controller, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """Run ``pipeline`` inside ``outer``'s run, in the same thread; returns its value, outputs still stand-ins."""
        values = pipeline.parameters.bind(params)
        lent = Lent(pipeline, outer.code, outer.run.snapshot or "")
        return self.inside(outer, lent, values).drive_inside(outer, values)

    def inside(
        self,
        outer: Controller,
        lent: Lent,
        values: Mapping[str, Any],
        *,
        name: str = "",
        after: Task | None = None,
    ) -> Controller:
        """What drives the next run inside ``outer``'s, recorded but not begun; the attempt ``after`` that, if given.

        With a ``name`` it is one of a chain, which knows its runs by these; without, the next of the body.
        """
        pipeline = lent.pipeline
        params, journal = pipeline.parameters.encode(values), outer.options.journal
        first_party = outer.options.first_party | frozenset(pipeline.first_party)
        options = replace(outer.options, prior={}, journal=None, recalled=False, first_party=first_party)
        options = replace(options, repeats=None, ladder=None, outer=outer.scheduler)
        recalled = None if journal is None else journal.inner(name or pipeline.name, params, ordered=not name)
        if recalled is not None:
            task, journal = recalled
            over = task.status is Status.COMPLETED or (task.status is Status.FAILED and not journal.again)
            options = replace(options, journal=journal, recalled=over)
        else:
            outer.scheduler.recorder.refuse_if_taken()
            made = _inside(outer.run, lent, params, name or pipeline.name)
            attempt = 1 if after is None else after.attempt + 1
            task = self.store.tasks.create(
                replace(made, attempt_of=None if after is None else after.id, attempt=attempt)
            )
        inner = Controller(self, task, pipeline, lent.code, options)
        inner.called = name
        return inner

    def inner_skipped(self, outer: Controller, lent: Lent, shown: Mapping[str, Any], *, name: str, reason: str) -> None:
        """Record that a run inside ``outer``'s does not take place, for ``reason``."""
        outer.scheduler.recorder.refuse_if_taken()
        task = _inside(outer.run, lent, shown, name)
        self.store.tasks.transition(self.store.tasks.create(task).id, Status.SKIPPED, reason=reason)

    # -- keys

    def key(self, scheduler: Scheduler, step: StepCall) -> Key:
        """The step's key, now that its inputs are known."""
        digests, problems = step.arguments.identities(code_of(step.component, scheduler.code))
        first_party = first_party_of(step.component, scheduler.options.first_party)
        code = code_fingerprint(step.component.function, first_party=first_party)
        return step_key(step.component, code, digests, tuple(problems))

    def reusable(self, scheduler: Scheduler, step: StepCall) -> tuple[CacheEntry | None, str]:
        """The recorded outcome that stands for the step, and the reason why it does or why none does."""
        key, cache, refresh = step.key, step.component.options.cache, scheduler.options.refresh
        if key.digest is None:
            return None, f"not reusable: {key.problem}"
        prior = scheduler.options.prior.get(step.name)
        if prior is not None and prior.key == key.digest:
            outputs = self.store.tasks.outputs(prior.id)
            step.kept = True
            kept = CacheEntry(key.digest, prior.id, step.component.name, outputs, key.parts, 0.0, 0.0)
            return kept, f"kept from {self.label_of(prior.id)}"
        if not scheduler.shares(step):
            return None, "reuse is off for this component" if scheduler.options.reuse else "reuse is off for this run"
        entry = self.store.cache.lookup(key.digest)
        step.supersedes = None if entry is None else entry.task
        withdrawn = step.recalled is not None and step.recalled.is_withdrawn
        if withdrawn or (_is_refreshed(step, refresh) and not self._is_of_call(scheduler, entry)):
            return None, "refresh"
        if entry is None:
            return None, "never seen before"
        age = self.store.now() - entry.created_at if cache.ttl is not None else 0.0
        if cache.ttl is not None and age > float(cache.ttl):
            return None, f"ttl: its outcome is {age:.3g} s old, and good for {float(cache.ttl):.3g} s"
        missing = next((name for name, ref in entry.outputs.items() if not self.artifacts.exists(ref)), None)
        if missing is not None:
            self.store.cache.delete(key.digest)
            return None, f"missing artifact: {missing} of {self.label_of(entry.task)}"
        return entry, f"reused from {self.label_of(entry.task)}"

    def _is_of_call(self, scheduler: Scheduler, entry: CacheEntry | None) -> bool:
        """Whether the outcome was computed since the first attempt began of what is now at a later one."""
        run = scheduler.run
        return entry is not None and run.attempt > 1 and entry.created_at >= retriggers.since(self.store, run)

    def _label_of(self, task: str) -> str:
        """What a person calls the step ``task``: ``churn#48/fit``."""
        step = self.store.tasks.get(task)
        run = self.store.tasks.get(step.parent) if step.parent else step
        return f"{run.label}/{step.name}"

    def forget(self) -> None:
        """A step that ended is run again: what it reported is no longer all."""
        self.metrics_of.cache_clear()

    def _metrics_of(self, task: str) -> tuple[Metric, ...]:
        """What a completed step reported; it reports no more."""
        return tuple(self.store.metrics.of([task]))

    # -- places

    def console_path(self, run: str, name: str) -> str:
        """The console file of one attempt of a step, or of the controller."""
        return str(self.consoles.path(run, name))

    def write_console(self, path: str, chunk: ConsoleChunk) -> None:
        """Write console bytes at their offset: the same chunk twice changes nothing."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, chunk.data, chunk.offset)
        finally:
            os.close(descriptor)

    def _snapshot_ref(self, digest: str) -> ArtifactRef:
        recorded = self.store.snapshots.get(digest)
        if recorded is None:
            raise CodeUnavailable(f"the store has no code snapshot {digest!r}; it may have been removed.")
        return recorded.content


def _inside(outer: Task, lent: Lent, params: Mapping[str, Any], name: str) -> Task:
    """The record of a run of ``lent`` inside ``outer``, called ``name`` there."""
    return replace(
        outer,
        id=new_id(),
        name=name,
        project=lent.pipeline.project,
        pipeline=lent.pipeline.name,
        number=None,
        status=Status.QUEUED,
        parent=outer.id,
        params=params,
        snapshot=lent.snapshot or None,
        cloned_from=None,
        rerun_of=None,
        started_at=None,
        study=None,
        trial=None,
        created_at=0.0,
    )


def _start(name: str) -> Executor:
    if name == "inline":
        return InlineExecutor()
    if name == "local":
        from hpo_pipelines.executors.local import LocalExecutor

        return LocalExecutor()
    if name == "ray":
        from hpo_pipelines.executors.ray import RayExecutor

        return RayExecutor()
    raise ConfigError(f"executor={name!r}: there are {', '.join(EXECUTORS)}.")


def _is_refreshed(step: StepCall, refresh: Refresh) -> bool:
    """Whether the step, or one that it uses and from which on everything is to run anew, is to be refreshed."""
    after = bool(refresh.from_steps) and any(source.reason == "refresh" for source in step.arguments.sources)
    return after or refresh.names(step.name, step.component.name)
