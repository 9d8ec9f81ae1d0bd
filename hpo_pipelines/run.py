"""A recorded run, as the person who started it sees it."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine import Refresh, RunOptions
from hpo_pipelines.engine.controller import VALUE
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.errors import IllegalTransition, StepFailed, TaskError, TaskNotFound
from hpo_pipelines.handle import Handle
from hpo_pipelines.runstep import RunStep
from hpo_pipelines.store.chain import chain, last
from hpo_pipelines.task import names_within
from hpo_pipelines.types import Kind, Status
from hpo_pipelines.waiting import waits_for

if TYPE_CHECKING:
    from hpo_pipelines.accounting import Accounting
    from hpo_pipelines.planning import Plan
    from hpo_pipelines.reasons import Why
    from hpo_pipelines.workspace import RefreshOption

WAIT_SECONDS = 5.0
"""How long :meth:`Run.wait` trusts that it would have been told."""


class Run(Handle):
    """A run of a pipeline: recorded, to be looked at, cloned and rerun."""

    @property
    def label(self) -> str:
        """``churn#48``."""
        return self._task.label

    @property
    def reason(self) -> str | None:
        """Why it stands where it stands; what it waits for, in a queue."""
        return waits_for(self.workspace.store, self.task) or self.task.reason

    @property
    def number(self) -> int | None:
        return self._task.number

    @property
    def params(self) -> dict[str, Any]:
        """The run's parameters, with their types."""
        pipeline, _ = self.workspace.code(self._task)
        return pipeline.parameters.decode(self._task.params)

    @property
    def is_abandoned(self) -> bool:
        """Whether it is recorded as running while nobody drives it: its process is gone. :meth:`resume` goes on."""
        task = self.task
        if task.status is not Status.RUNNING:
            return False
        while task.parent is not None:
            task = self.workspace.store.tasks.get(task.parent)
        return not self.workspace.engine.liveness.is_held(lease_of(task.id))

    @property
    def value(self) -> Any:
        """What the pipeline returned, None while it has not; of a run that was retriggered what its last attempt did.

        Raises StepFailed for a failed run, TaskError for one that was aborted or pruned.
        """
        task = self.task
        if task.status is Status.COMPLETED:
            ended = self.last_attempt
            return self._value if ended is self else ended.value
        if task.status.finished:
            self.raise_for_status()
        return None

    @cached_property
    def _value(self) -> Any:
        outputs = self.workspace.store.tasks.outputs(self.id)
        if VALUE in outputs:
            return self._output(VALUE)
        return {name.removeprefix(f"{VALUE}."): self._output(name) for name in outputs} or None

    def raise_for_status(self) -> None:
        """Raise StepFailed for a failed run, TaskError for one that was aborted or pruned; nothing otherwise."""
        task = self.task
        if task.status is Status.FAILED:
            error = task.error or {}
            raised = StepFailed(f"{task.label} failed: {error.get('type')}: {error.get('message')}")
            raised.add_note(str(error.get("traceback", "")))
            raise raised
        if task.status in (Status.ABORTED, Status.PRUNED):
            raise TaskError(f"{task.label} was {task.status}: {task.reason}")

    @property
    def steps(self) -> dict[str, RunStep]:
        """The run's steps by name (``fit``, ``fit.2``), in the order of their calls."""
        children = self.workspace.store.tasks.children(self.id)
        return {task.name: RunStep(self.workspace, task) for task in children if task.component is not None}

    @property
    def metrics(self) -> dict[str, float]:
        """Last values: ``fit.val_auc`` of the last call of ``fit``, ``fit.2.val_auc`` of that call, the run's own."""
        store = self.workspace.store
        return store.metrics.named(self.id, store.tasks.children(self.id))

    @property
    def accounting(self) -> Accounting:
        """Seconds that its steps took, wasted, and saved by reuse."""
        return self.workspace.accounting(self.task)

    @property
    def tags(self) -> tuple[str, ...]:
        return self._task.tags

    @property
    def notes(self) -> str:
        return self._task.notes

    def annotate(self, *, tags: tuple[str, ...] | None = None, notes: str | None = None) -> Run:
        """Set tags or notes, whatever the run's status; returns the run as it is then."""
        changes: dict[str, Any] = {}
        if tags is not None:
            changes["tags"] = tuple(tags)
        if notes is not None:
            changes["notes"] = notes
        self.workspace.store.tasks.update(self.id, **changes)
        return Run(self.workspace, self.workspace.store.tasks.get(self.id))

    def clone(self, /, **params: Any) -> Run:
        """A draft of the same code with ``params`` over this run's. Raises ParameterError for what does not fit."""
        return self.workspace.clone(self.id, params)

    def run(self, *, executor: str | None = None, refresh: RefreshOption = False, reuse: bool = True) -> Run:
        """Run this draft to its end; the draft itself becomes the run. Options as for :meth:`Pipeline.run`.

        One that waits in a queue is driven here; without ``refresh`` and ``reuse`` as it was enqueued.
        """
        if executor is not None:
            self.workspace.store.tasks.update(self.id, executor=executor)
        options = RunOptions(refresh=Refresh.of(refresh), reuse=reuse) if refresh or not reuse else None
        return self.workspace.start(self.id, options)

    def enqueue(self, *, queue: str | None = None, priority: int | None = None, refresh: RefreshOption = False) -> Run:
        """Have this draft wait in ``queue`` for an agent; see :meth:`Workspace.enqueue`. :meth:`wait` for its end."""
        options = RunOptions(refresh=Refresh.of(refresh)) if refresh else None
        return self.workspace.enqueue(self.id, queue=queue, priority=priority, options=options)

    def wait(self, timeout: float | None = None) -> Run:
        """Wait until the run has ended, whoever drives it, or ``timeout`` seconds are over; the run as it is then.

        One that is retriggered has ended when its last attempt has, which is what is returned.

        Raises IllegalTransition for a draft, which nobody drives.
        """
        if self.status is Status.DRAFT:
            raise IllegalTransition(f"{self.label} is a draft, which nobody drives: run it, or enqueue it first.")
        events = self.workspace.store.events
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        run = self
        while time.monotonic() < deadline:
            seen = events.last()
            run = run.last_attempt
            if run.status.finished:
                break
            events.wait(seen, min(WAIT_SECONDS, max(0.0, deadline - time.monotonic())))
        return run

    def rerun(
        self,
        *,
        failed: bool = False,
        from_step: str | None = None,
        refresh: RefreshOption = False,
        reuse: bool = True,
    ) -> Run:
        """A new run with the same code and parameters; see :meth:`Workspace.rerun`."""
        return self.workspace.rerun(self.id, failed=failed, from_step=from_step, refresh=refresh, reuse=reuse)

    def resume(self, *, from_step: str | None = None) -> Run:
        """Drive this run on to its end, from what it has done; see :meth:`Workspace.resume`."""
        return self.workspace.resume(self.id, from_step=from_step)

    def abort(self) -> Run:
        """Stop the run wherever it is driven from."""
        return self.workspace.abort(self.id)

    def archive(self) -> Run:
        """Leave the run, and those inside it, out of lists; nothing else changes. Raises IllegalTransition for one that
        waits or is under way, TaskError for one inside another."""
        self.workspace.store.tasks.archive(self.id)
        self.workspace.follow()
        return self.refreshed()

    def restore(self) -> Run:
        """Have an archived run listed again."""
        self.workspace.store.tasks.restore(self.id)
        self.workspace.follow()
        return self.refreshed()

    def why(self, step: str | None = None) -> tuple[Why, ...]:
        """Why each step, or the one called ``step``, was reused or ran. Raises TaskNotFound."""
        if step is None:
            return self.workspace.why_run(self.task)
        found = self.workspace.get(f"{self.id}/{step}")
        return (found.why(),) if isinstance(found, RunStep) else found.why()

    def plan(self, /, **params: Any) -> Plan:
        """What a clone with ``params`` would reuse and what it would run; nothing is run."""
        return self.workspace.plan(self, params)

    def console_path(self) -> Path:
        """The file of what the pipeline's body printed; there is none before it prints."""
        self.workspace.consoles.fetch(self.id)
        return self.workspace.consoles.path(self.id, "controller")

    def console(self) -> str:
        """What the pipeline's body printed."""
        path = self.console_path()
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def attempt(self) -> int:
        """Which attempt of its call it is, from 1; see :func:`hpo_pipelines.retrigger`."""
        return self._task.attempt

    @property
    def attempts(self) -> list[Run]:
        """The attempts of its call, this one among them, in their order."""
        return [Run(self.workspace, task) for task in chain(self.workspace.store.tasks, self.task)]

    @property
    def last_attempt(self) -> Run:
        """The last attempt of its call, so far; the run itself unless it was retriggered."""
        task = self.task
        found = last(self.workspace.store.tasks, task)
        return self if found is task else Run(self.workspace, found)

    def lineage(self) -> list[Run]:
        """The runs this one came from, nearest first: its earlier attempts, then what it was cloned from."""
        return [Run(self.workspace, task) for task in self.workspace.store.tasks.ancestry(self.id)]

    def objective(self, name: str | None) -> float:
        """The number called ``name``: a metric (``fit.val_auc``), a key of the returned dict, or either of a run inside
        (``churn.fit.val_auc``); without a name the returned number itself.

        Raises TaskNotFound, listing what there is.
        """
        if name is not None:
            metrics = self.metrics
            if name in metrics:
                return metrics[name]
        outputs = self.workspace.store.tasks.outputs(self.id)
        wanted = VALUE if name is None or (name == VALUE and VALUE in outputs) else f"{VALUE}.{name}"
        if wanted in outputs:
            value = self._output(wanted)
            try:
                return float(value)
            except (TypeError, ValueError):
                raise TaskNotFound(
                    f"{self.label}: objective {name or 'the returned value'} is {value!r}, not a number."
                ) from None
        inside = self._inside()
        around = max((each for each in inside if str(name).startswith(f"{each}.")), key=len, default=None)
        if around is not None:
            return inside[around].objective(str(name).removeprefix(f"{around}."))
        known = ", ".join(sorted(self._objectives())) or "none"
        raise TaskNotFound(f"{self.label} has no metric or returned value called {name!r}; it has {known}.")

    def _objectives(self) -> set[str]:
        """The names that :meth:`objective` may know, those of runs inside too."""
        outputs = self.workspace.store.tasks.outputs(self.id)
        inside = (f"{name}.{each}" for name, run in self._inside().items() for each in run._objectives())
        return {*self.metrics, *(output.removeprefix(f"{VALUE}.") for output in outputs), *inside}

    def _inside(self) -> dict[str, Run]:
        """The runs inside this one by name (``churn``, ``churn.2``); without a number the last one of its name, as the
        last call of a component has the last word."""
        children = self.workspace.store.tasks.children(self.id)
        names = names_within(children)
        runs = [task for task in children if task.kind is Kind.PIPELINE and task.status is not Status.SKIPPED]
        runs.sort(key=lambda task: task.id)  # the order of the calls
        found = {names[task.id]: Run(self.workspace, task) for task in runs}
        return found | {task.name: Run(self.workspace, task) for task in runs}

    def refreshed(self) -> Run:
        """The same run read anew."""
        return Run(self.workspace, dataclasses.replace(self.workspace.store.tasks.get(self.id)))

    def __repr__(self) -> str:
        return f"<run {self.label} {self.status}>"
