"""What the body of an interrupted run saw, so that it sees the same again when the run is resumed.

The journal is the store's own record of the run's steps: a step's end is recorded before the body goes on. A resumed
body is run from its beginning; every call whose outcome is recorded gets that outcome, a failure that it caught
included, whatever the reuse of its component says. What was under way, and what ended the run, is tried again.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.engine.liveness import Liveness
from hpo_pipelines.errors import IllegalTransition, NonDeterministicBody, TaskNotFound
from hpo_pipelines.owner import spoken
from hpo_pipelines.store import Store
from hpo_pipelines.store.chain import last
from hpo_pipelines.store.records import to_json
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.types import ArtifactRef, Kind, Status

ENDED_BY = "ended_by"
"""In the error of a failed run: the ids of the failed steps that are tried again when it is resumed."""

_GONE = "its driver went away"
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def lease_of(run: str) -> str:
    """The name of the lease on driving a run."""
    return f"run:{run}"


@dataclass(frozen=True)
class Recorded:
    """One call as it is in the journal: its step, what that gave, and whether it is to be tried again."""

    task: Task
    outputs: Mapping[str, ArtifactRef]
    metrics: Mapping[str, float]
    attempts: int
    again: bool

    @property
    def is_withdrawn(self) -> bool:
        """Whether its outcome was taken back, so that the call is made anew, whatever it now is."""
        return self.task.position is None


class Journal:
    """The calls of one run, in their order; and the journals of the runs inside it."""

    def __init__(
        self,
        run: Task,
        calls: Sequence[Recorded],
        inner: Sequence[tuple[Task, Journal]],
        reported: Mapping[tuple[str, int], list[float]],
        ended_by: Collection[str],
    ) -> None:
        self.run = run
        self.ended_by = tuple(ended_by)
        """The ids of the failures that ended the run, which are tried again."""
        self._left = {call.task.name: call for call in calls}
        self._at = {call.task.position: call for call in calls if not call.is_withdrawn}
        self._inner = list(inner)
        self._met: list[tuple[Task, Journal]] = []
        self._tried: set[str] = set()
        self._reported = reported
        self._said: dict[tuple[str, int], list[float]] = {}

    @classmethod
    def of(cls, store: Store, run: Task, ended_by: Collection[str] | None = None) -> Journal:
        """The journal of a run, as the store has it. ``ended_by`` is that of the run which it is inside of."""
        ended_by = tuple((run.error or {}).get(ENDED_BY, ())) if ended_by is None else ended_by
        children = store.tasks.children(run.id)
        steps = [task for task in children if task.kind is Kind.STEP]
        latest = store.metrics.latest([step.id for step in steps])
        outputs = store.tasks.outputs_of([step.id for step in steps])
        attempts = store.tasks.attempts_of([step.id for step in steps])
        calls = [
            Recorded(
                step,
                outputs[step.id],
                {name: value for (task, name), value in latest.items() if task == step.id},
                max((attempt.number for attempt in attempts[step.id]), default=0),
                again=step.status not in (Status.COMPLETED, Status.FAILED) or step.id in ended_by,
            )
            for step in steps
        ]
        # A run that is skipped was withdrawn.
        runs = [task for task in children if task.kind is Kind.PIPELINE and task.status is not Status.SKIPPED]
        inner = sorted(runs, key=lambda task: task.id)
        reported: dict[tuple[str, int], list[float]] = {}
        for metric in store.metrics.of([run.id]):
            reported.setdefault((metric.name, metric.step), []).append(metric.value)
        return cls(run, calls, [(task, cls.of(store, task, ended_by)) for task in inner], reported, ended_by)

    @property
    def again(self) -> bool:
        """Whether the outermost run ended by this one, or by something in it."""
        known = {self.run.id, *(call.task.id for call in self._left.values())}
        return not known.isdisjoint(self.ended_by) or any(journal.again for _, journal in self._inner)

    @property
    def goes_on(self) -> bool:
        """Whether there is another run inside that the body has not called again yet."""
        return bool(self._inner)

    @property
    def untried(self) -> frozenset[str]:
        """What ended the run before and has not been tried again, here or in a run inside."""
        return frozenset(self.ended_by) - self._taken()

    def _taken(self) -> frozenset[str]:
        return frozenset(self._tried).union(*(journal._taken() for _, journal in self._met))

    def take(self, position: int, name: str, arguments: Mapping[str, Any]) -> Recorded | None:
        """What is recorded of the body's call number ``position``; None for one that is new.

        Raises NonDeterministicBody when the journal has another call in its place.
        """
        recorded = self._at.get(position)
        if recorded is None:
            # Its record may not have been written before the end; or it was withdrawn, and the body is free.
            recorded = self._left.get(name)
            if recorded is not None and not recorded.is_withdrawn:
                raise self._differs(recorded.task, name, arguments, position)
        elif recorded.task.name != name or not _same(recorded.task, arguments):
            raise self._differs(recorded.task, name, arguments, position)
        taken = self._left.pop(name, None)
        if taken is not None:
            self._tried.add(taken.task.id)
        return taken

    def has_outcome(self, position: int) -> bool:
        """Whether call number ``position`` has an outcome that it gets again."""
        recorded = self._at.get(position)
        return recorded is not None and not recorded.again

    def inner(self, name: str, params: Mapping[str, Any], *, ordered: bool = True) -> tuple[Task, Journal] | None:
        """The next run inside this one; None when the journal has no more. Raises NonDeterministicBody if it is another
        than that of the pipeline ``name`` with ``params``.

        If they are not ``ordered``, the one of that name, wherever it stands.
        """
        if not ordered:
            self._inner.sort(key=lambda inner: inner[0].name != name)
            if self._inner and self._inner[0][0].name != name:
                return None
        if not self._inner:
            return None
        task = self._inner[0][0]
        if task.name != name or to_json(task.params) != to_json(params):
            raise NonDeterministicBody(
                f"{self.run.label} cannot go on: its journal has the run {_call(task.name, task.params)} inside it, "
                f"and its body now calls {_call(name, params)}. {_RULE}"
            )
        met = self._inner.pop(0)
        self._tried.add(met[0].id)
        self._met.append(met)
        return met

    def reported(self, name: str, step: int, value: float) -> tuple[bool, list[float]]:
        """The body reports ``value``: which values are to be recorded, and whether in place of those that are.

        None are if it reported the same before; others where a step that it looked at was run anew.
        """
        left, said = self._reported.get((name, step), []), self._said.setdefault((name, step), [])
        said.append(value)
        if not left:
            return False, [value]
        if left[0] == value or (math.isnan(left[0]) and math.isnan(value)):
            left.pop(0)
            return False, []
        left.clear()
        return True, list(said)

    def check_complete(self) -> None:
        """Raise NonDeterministicBody if the body ended without a call whose outcome the journal has."""
        for task, _ in self._inner:
            if task.status in (Status.COMPLETED, Status.FAILED) and task.id not in self.ended_by:
                raise NonDeterministicBody(
                    f"{self.run.label} cannot go on: its journal has the run {_call(task.name, task.params)} inside "
                    f"it, and its body now ends without calling it. {_RULE}"
                )
        for call in sorted(self._left.values(), key=lambda call: call.task.position or 0):
            if not call.again:
                raise NonDeterministicBody(
                    f"{self.run.label} cannot go on: its journal has {_call(call.task.name, call.task.params)}, and "
                    f"its body now ends without calling it. {_cure(self.run, call.task.name)}"
                )

    def _differs(self, task: Task, name: str, arguments: Mapping[str, Any], position: int) -> NonDeterministicBody:
        return NonDeterministicBody(
            f"{self.run.label} cannot go on: as call {position + 1} its journal has {_call(task.name, task.params)}, "
            f"and its body now calls {_call(name, arguments)}. {_cure(self.run, task.name)}"
        )


_RULE = (
    "What a body does may depend only on its parameters and on values of steps: no clock and no random numbers outside "
    "of components."
)


def _cure(run: Task, step: str) -> str:
    if run.parent is not None:
        return f"{_RULE} The run around it, run again (`hpo rerun`), reuses what is unchanged."
    return f"{_RULE} `hpo resume {run.label} --from {step}` keeps what was before that call and runs the rest anew."


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    shown = (
        f"{argument}={value['$from'] if isinstance(value, Mapping) and '$from' in value else repr(value)}"
        for argument, value in arguments.items()
    )
    return f"{name}({', '.join(shown)})"


def _same(task: Task, arguments: Mapping[str, Any]) -> bool:
    """Whether the call is the recorded one. One that was skipped has no outcome, and its arguments no part in any."""
    return task.status is Status.SKIPPED or _text(task.params) == _text(arguments)


def _text(arguments: Mapping[str, Any]) -> str:
    """The arguments as they are shown, without the addresses of objects that have no better text."""
    return _ADDRESS.sub("", to_json(arguments))


# -- making a run ready to be driven again


def reopen(store: Store, liveness: Liveness, run: Task, from_step: str | None = None) -> Task:
    """Set an unsuccessful or abandoned run running again, under our lease; what was under way in it has ended.

    ``from_step`` withdraws that step's outcome and those of all calls after it. Raises IllegalTransition for a run that
    completed, was never started, or is being driven by a process that lives; TaskNotFound for a step it does not have.
    """
    run = store.tasks.get(run.id)
    if run.status in (Status.COMPLETED, Status.DRAFT, Status.QUEUED):
        done = run.status is Status.COMPLETED
        after = last(store.tasks, run)
        cure = f"`hpo rerun {run.label}` runs it again." if done else f"`hpo run {run.label}` starts it."
        if after.id != run.id:
            cure = f"It was retriggered: `hpo resume {after.label}` goes on with its last attempt."
        raise IllegalTransition(f"{run.label} is {run.status}; there is nothing to resume. {cure}")
    if run.parent is not None:
        raise IllegalTransition(f"{run.label} ran inside another run; resume that one.")
    with store.transaction():
        gone_at = liveness.last_beat(lease_of(run.id))
        if not liveness.claim(lease_of(run.id), run.label):
            raise driven(run, liveness)
        try:
            _queue_what_was_under_way(store, run, gone_at)
            if from_step is not None:
                _withdraw(store, run, from_step)
            if run.status is not Status.RUNNING:
                # The error stays until there is another end: it says what is tried again.
                return store.tasks.transition(run.id, Status.RUNNING, reason="resumed", error=run.error)
            store.events.append(run.id, "resumed", {"reason": _GONE})
            return run
        except BaseException:
            liveness.drop(lease_of(run.id))
            raise


def take_over(store: Store, run: Task, gone_at: float | None) -> Task:
    """Make a run ready to be driven on, under the lease that we hold, whose driver went away at ``gone_at``.

    Raises IllegalTransition if it has ended meanwhile.
    """
    with store.transaction():
        run = store.tasks.get(run.id)
        if run.status is not Status.RUNNING:
            raise IllegalTransition(f"{run.label} is {run.status} by now; nobody drives it on.")
        _queue_what_was_under_way(store, run, gone_at)
        store.events.append(run.id, "resumed", {"reason": _GONE})
    return run


def driven(run: Task, liveness: Liveness) -> IllegalTransition:
    """The refusal to drive a run that another process drives."""
    holder = liveness.holder(lease_of(run.id))
    who = spoken(holder.owner) if holder else "another process"
    return IllegalTransition(f"{run.label} is being driven by {who}. Wait for it, or abort the run first.")


def _queue_what_was_under_way(store: Store, run: Task, gone_at: float | None) -> None:
    """Queue the steps, and the runs inside, that were under way in ``run`` when its driver went, at ``gone_at``."""
    for task in store.tasks.children(run.id):
        if task.kind is Kind.PIPELINE:
            _queue_what_was_under_way(store, task, gone_at)
        if task.status is Status.RUNNING:
            if task.kind is Kind.STEP:
                store.tasks.finish_attempt(_lost_attempt(store, task, gone_at))
            store.tasks.transition(task.id, Status.QUEUED, reason=_GONE)


def _lost_attempt(store: Store, step: Task, gone_at: float | None) -> Attempt:
    number = 1 + max((attempt.number for attempt in store.tasks.attempts(step.id)), default=0)
    began = step.started_at or time.time()
    # The driver's last heartbeat: how long it has been gone is no time that the step took.
    ended = max(began, gone_at or began)
    error = {"type": "StepLost", "message": _GONE, "traceback": "", "log": ""}
    return Attempt(step.id, number, Status.ABORTED, began, ended, error)


def _withdraw(store: Store, run: Task, from_step: str) -> None:
    steps = [task for task in store.tasks.children(run.id) if task.kind is Kind.STEP]
    start = next((step for step in steps if from_step in (step.name, step.component)), None)
    if start is None or start.position is None:
        names = ", ".join(step.name for step in steps) or "none"
        raise TaskNotFound(f"{run.label} has no step {from_step!r} to resume from; it has {names}.")
    reason = f"resumed from {start.name}"
    for step in steps:
        if step.position is not None and step.position >= start.position:
            store.tasks.withdraw(step.id, reason=reason)
    for task in store.tasks.children(run.id):
        # Ids are in the order of the calls.
        if task.kind is Kind.PIPELINE and task.id > start.id:
            store.tasks.withdraw(task.id, reason=reason)
