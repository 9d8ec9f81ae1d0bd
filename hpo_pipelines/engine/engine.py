"""What the runs of one process share: the store, the artifacts, executors, keys in flight, and who is alive."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.component import Options
from hpo_pipelines.engine.controller import Controller, needs_cluster
from hpo_pipelines.engine.keys import Key, step_key
from hpo_pipelines.engine.step import StepCall
from hpo_pipelines.errors import CodeUnavailable, ConfigError
from hpo_pipelines.executors.base import Assignment, ConsoleChunk, Executor
from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.snapshot import Code
from hpo_pipelines.store import Store
from hpo_pipelines.task import CacheEntry, Metric, Task
from hpo_pipelines.types import ArtifactRef, Kind, Resources, Status, new_id

EXECUTORS = ("inline", "local", "ray")


@dataclass(frozen=True)
class Refresh:
    """Which steps of a run must be run anew: all, those called like one of ``steps``, or from some step on."""

    everything: bool = False
    steps: frozenset[str] = frozenset()
    from_steps: frozenset[str] = frozenset()

    def names(self, step: StepCall) -> bool:
        """Whether ``step`` is one of those."""
        titles = {step.name, step.component.name}
        return self.everything or bool(titles & self.steps) or bool(titles & self.from_steps)


@dataclass
class Flight:
    """A key being computed by a step of this process, and the steps that wait for it."""

    label: str
    owner: StepCall
    waiters: list[tuple[Controller, StepCall]] = field(default_factory=list)
    entry: CacheEntry | None = None


class Engine:
    """Shared by the controllers of one process. ``home`` holds console files."""

    no_refresh = Refresh()

    def __init__(self, store: Store, artifacts: ArtifactStore, home: Path) -> None:
        self.store = store
        self.artifacts = artifacts
        self.home = home
        self.default_executor: str | None = None
        self.step_variables: Callable[[StepCall], Mapping[str, str]] = lambda step: {}
        self._executors: dict[str, Executor] = {}
        self._active: dict[str, Controller] = {}
        self._flights: dict[str, Flight] = {}
        self._snapshots: dict[str, ArtifactRef] = {}
        self._timers: set[threading.Timer] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    # -- executors

    def executor(self, name: str) -> Executor:
        """The executor ``name``, started when first asked for."""
        with self._lock:
            if name not in self._executors:
                self._executors[name] = _start(name)
            return self._executors[name]

    def executor_for(self, resources: Resources) -> str:
        """The executor of a step when the run names none: local, or ray as soon as something only Ray has is named."""
        if self.default_executor:
            return self.default_executor
        return "ray" if os.environ.get("RAY_ADDRESS") or needs_cluster(resources) else "local"

    def submit(self, controller: Controller, step: StepCall, assignment: Assignment) -> None:
        executor = self.executor(controller.executor_of(step))
        if executor.name == "inline":
            executor.use(assignment.snapshot_digest, controller.code)  # type: ignore[attr-defined]
        executor.submit(assignment, controller.hear)

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

    def close(self) -> None:
        """Stop executors and threads; idempotent."""
        self._stop.set()
        for timer in list(self._timers):
            timer.cancel()
        with self._lock:
            executors, self._executors = self._executors, {}
        for executor in executors.values():
            executor.close()

    # -- runs that are alive

    def enter(self, controller: Controller) -> None:
        with self._lock:
            self._active[controller.run.id] = controller
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="hpo-aborts", daemon=True)
                self._watcher.start()

    def leave(self, controller: Controller) -> None:
        with self._lock:
            self._active.pop(controller.run.id, None)

    def _watch(self) -> None:
        """Stop controllers whose run somebody else has ended in the store."""
        while not self._stop.wait(0.25):
            with self._lock:
                active = dict(self._active)
            for id, status in self.store.tasks.statuses(list(active)).items():
                if status.finished and active[id].stopping is None:
                    active[id].stop(status, f"{status} from elsewhere")

    def nested(self, outer: Controller, pipeline: Pipeline[..., Any], params: Mapping[str, Any]) -> Any:
        """Run ``pipeline`` inside ``outer``'s run, in the same thread; returns its value, outputs still stand-ins."""
        values = pipeline.parameters.bind(params)
        task = replace(
            outer.run,
            id=new_id(),
            name=pipeline.name,
            project=pipeline.project,
            pipeline=pipeline.name,
            number=None,
            status=Status.QUEUED,
            parent=outer.run.id,
            params=pipeline.parameters.encode(values),
            cloned_from=None,
            rerun_of=None,
            started_at=None,
            study=None,
            trial=None,
        )
        inner = Controller(self, self.store.tasks.create(task), pipeline, outer.code)
        inner.executor, inner.refresh, inner.watch = outer.executor, outer.refresh, outer.watch
        return inner.drive_inside(outer, values)

    # -- keys

    def key(self, controller: Controller, step: StepCall) -> Key:
        """The step's key, now that its inputs are known."""
        digests, problems = step.arguments.identities(controller.code)
        first_party = frozenset(controller.pipeline.first_party)
        code = code_fingerprint(step.component.function, first_party=first_party)
        return step_key(step.component, code, digests, tuple(problems))

    def reusable(self, controller: Controller, step: StepCall) -> tuple[CacheEntry | None, str]:
        """The recorded outcome that stands for the step, and the reason why it does or why none does."""
        key, cache = step.key, step.component.options.cache
        if key.digest is None:
            return None, f"not reusable: {key.problem}"
        prior = controller.prior.get(step.name)
        if prior is not None and prior.key == key.digest:
            outputs = self.store.tasks.outputs(prior.id)
            entry = CacheEntry(key.digest, prior.id, step.component.name, outputs, key.parts, prior.seconds or 0.0, 0.0)
            return entry, f"kept from run {prior.parent}"
        if controller.refresh.names(step) or self._downstream(controller, step):
            return None, "refresh"
        if not cache.enabled:
            return None, "reuse is off for this component"
        entry = self.store.cache.lookup(key.digest)
        if entry is None:
            return None, "never seen before"
        age = self.store.now() - entry.created_at if cache.ttl is not None else 0.0
        if cache.ttl is not None and age > float(cache.ttl):
            return None, f"ttl: recorded {age:.0f} s ago, kept for {float(cache.ttl):.0f} s"
        missing = next((name for name, ref in entry.outputs.items() if not self.artifacts.exists(ref)), None)
        if missing is not None:
            self.store.cache.delete(key.digest)
            return None, f"missing artifact: {missing} of {entry.task}"
        return entry, f"reused from {self._label(entry.task)}"

    def _downstream(self, controller: Controller, step: StepCall) -> bool:
        """Whether the step comes after one from which on everything is to run anew."""
        if not controller.refresh.from_steps:
            return False
        return any(source.reason == "refresh" for source in step.arguments.sources)

    def _label(self, task: str) -> str:
        step = self.store.tasks.get(task)
        run = self.store.tasks.get(step.parent) if step.parent else step
        return f"{run.label}/{step.name}"

    def fly(self, controller: Controller, step: StepCall) -> Flight | None:
        """The flight that computes the step's key in another run; None when this step is now the one to compute it."""
        if step.key.digest is None or not step.component.options.cache.enabled or step.reason == "refresh":
            return None
        with self._lock:
            flight = self._flights.get(step.key.digest)
            if flight is None:
                self._flights[step.key.digest] = Flight(f"{controller.run.label}/{step.name}", step)
                return None
            flight.waiters.append((controller, step))
            return flight

    def land(self, step: StepCall, entry: CacheEntry | None) -> None:
        """The step is over: whoever waited for its key takes the outcome, or has a try of its own."""
        if step.key is None or step.key.digest is None:
            return
        with self._lock:
            flight = self._flights.get(step.key.digest)
            if flight is None or flight.owner is not step:
                return
            del self._flights[step.key.digest]
        flight.entry = entry
        for controller, waiter in flight.waiters:
            # In a thread of its own: the waiter's run has a lock of its own, and we hold ours.
            threading.Thread(target=controller.landed, args=(waiter, flight), daemon=True).start()

    def metrics_of(self, task: str) -> list[Metric]:
        return self.store.metrics.of([task])

    # -- places

    def console_path(self, run: str, name: str) -> str:
        """The console file of one attempt of a step, or of the controller."""
        return str(self.home / "consoles" / run / f"{name}.log")

    def write_console(self, path: str, chunk: ConsoleChunk) -> None:
        """Write console bytes at their offset: the same chunk twice changes nothing."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, chunk.data, chunk.offset)
        finally:
            os.close(descriptor)

    def variables(self, step: StepCall, options: Options) -> Mapping[str, str]:
        return {**options.environment.env, **self.step_variables(step)}

    def snapshot_ref(self, digest: str) -> ArtifactRef:
        if digest not in self._snapshots:
            recorded = self.store.snapshots.get(digest)
            if recorded is None:
                raise CodeUnavailable(f"the store has no code snapshot {digest!r}; it may have been removed.")
            self._snapshots[digest] = recorded.content
        return self._snapshots[digest]


def _start(name: str) -> Executor:
    if name == "inline":
        from hpo_pipelines.executors.inline import InlineExecutor

        return InlineExecutor()
    if name == "local":
        from hpo_pipelines.executors.local import LocalExecutor

        return LocalExecutor()
    if name == "ray":
        from hpo_pipelines.executors.ray import RayExecutor

        return RayExecutor()
    raise ConfigError(f"executor={name!r}: there are {', '.join(EXECUTORS)}.")
