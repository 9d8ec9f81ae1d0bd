"""Why a step stands where it stands: the recorded reason; where that is too little, the nearest execution before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo_pipelines.reasons.compare import Nearest, nearest
from hpo_pipelines.reasons.reader import Execution, Reader
from hpo_pipelines.reasons.record import REMOVED, Change, Why, listed
from hpo_pipelines.reasons.wording import Story, change
from hpo_pipelines.task import Task, names_within
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

_CAUSES = (
    ("never seen before", "new"),
    ("refresh", "refresh"),
    ("ttl", "ttl"),
    ("reuse is off", "off"),
    ("not reusable", "not reusable"),
    ("missing artifact", "missing artifact"),
)
"""How the reasons begin that the engine records of steps that it runs, and the word for each."""

_REUSED = (("kept from", "kept"), ("computed meanwhile", "computed meanwhile"))
_VERDICTS = {
    Status.DRAFT: "waits",
    Status.QUEUED: "waits",
    Status.SKIPPED: "skipped",
    Status.ABORTED: "stopped",
    Status.PRUNED: "stopped",
}


def why(workspace: Workspace, task: Task) -> Why:
    """Why the step ``task`` of ``workspace`` was reused, or ran, or waits.

    Reads what is recorded, and changes nothing. Raises TaskNotFound when the step is no longer there.
    """
    return _Explainer(Reader(workspace.store, workspace.artifacts)).of(workspace.store.tasks.get(task.id))


def why_run(workspace: Workspace, run: Task) -> tuple[Why, ...]:
    """:func:`why` of every step of the run ``run``, in the order of the calls, those of runs inside it too."""
    reader = Reader(workspace.store, workspace.artifacts)
    reader.know([run])
    explainer = _Explainer(reader)

    def steps(task: Task, prefix: str) -> Iterator[tuple[str, Task]]:
        # By id, which is the order of the calls: a run inside has no position among the steps.
        children = sorted(workspace.store.tasks.children(task.id), key=lambda child: child.id)
        reader.expect(children)
        names = names_within(children)
        for child in children:
            path = f"{prefix}{names[child.id]}"
            if child.kind is Kind.PIPELINE:
                yield from steps(child, f"{path}/")
            else:
                yield path, child

    return tuple(_with(explainer.of(step), path=path) for path, step in steps(run, ""))


class _Explainer:
    """Explains steps, each once, since the reason of one may be that of another before it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, Why] = {}

    def of(self, task: Task) -> Why:
        if task.id not in self._known:
            self._known[task.id] = self._explained(task)
        return self._known[task.id]

    def _explained(self, task: Task) -> Why:
        if task.reused_from is not None:
            return self._reused(task)
        if task.status in (Status.RUNNING, Status.COMPLETED, Status.FAILED):
            return self._ran(task)
        verdict = _VERDICTS[task.status]
        return self._why(task, verdict, verdict, task.reason or str(task.status))

    def _why(self, task: Task, verdict: str, cause: str, reason: str) -> Why:
        return Why(task.id, self._reader.label(task), str(task.component), verdict, cause, reason, path=task.name)

    def _reused(self, task: Task) -> Why:
        origin = self._reader.origin(str(task.reused_from))
        said = task.reason or f"reused from {origin.label}"
        cause = next((word for start, word in _REUSED if said.startswith(start)), "recorded")
        if origin.status == REMOVED:
            reason = f"{said}, which was deleted since"
        else:
            reason = said if origin.label in said else f"{said} (by {origin.label})"
        return _with(self._why(task, "reused", cause, reason), origin=origin)

    def _ran(self, task: Task) -> Why:
        verdict = "runs" if task.status is Status.RUNNING else "ran"
        said, _, dropped = self._launched(task).partition("; dropped: ")
        if not said and task.key is None:
            # A step that began without a key can have none; one that did not begin could not be sent anywhere.
            attempts = self._reader.store.tasks.attempts(task.id)
            said = "not reusable" if attempts or task.status is Status.RUNNING else "it could not be started"
        cause = next((word for start, word in _CAUSES if said.startswith(start)), "other" if said else "new")
        found = self._why(task, verdict, cause, said or "never seen before")
        if dropped:
            found = _with(found, note=f"its own outcome was dropped: {dropped}")
        if task.status is Status.FAILED:
            error = task.error or {}
            message = str(error.get("message", task.reason)).partition("\n")[0]
            found = _with(found, failure=f"{error['type']}: {message}" if "type" in error else message)
        return self._compared(task, found) if cause == "new" else found

    def _launched(self, task: Task) -> str:
        """Why the step was started rather than reused; what a failed one failed of stands in its place later."""
        if task.status is not Status.FAILED:
            return task.reason or ""
        story = self._reader.store.events.story(task.id)
        moves = [event.data for event in story if event.kind in ("created", "status")]
        began = (move for move in reversed(moves) if move.get("to", move.get("status")) == Status.RUNNING)
        return next((str(move.get("reason") or "") for move in began), "")

    def _compared(self, task: Task, found: Why) -> Why:
        new = self._reader.execution(task)
        known = compared(self._reader, new, lambda step: self.of(step).brief)
        if known is None:
            return found
        before = known.earlier.execution
        found = _with(found, origin=self._reader.origin(before.task.id), reason=known.reason)
        if not known.changes:
            return _with(found, cause="repeated")
        note = "; ".join(filter(None, (found.note, self._lost(before, new)))) or None
        return _with(found, cause="changed", changes=known.changes, note=note)

    def _lost(self, *executions: Execution) -> str | None:
        """What keeps the sources, or parts, of one of the two from being shown."""
        notes = []
        for execution in executions:
            label = self._reader.label(execution.task)
            self._reader.content(execution.task)
            lost = self._reader.lost.get(execution.task.snapshot or "")
            notes += [f"{label}: {lost}"] if lost else []
        if all(execution.parts is None for execution in executions):
            notes.append("both failed, so that of their code only the component's own source was compared")
        return "; ".join(notes) or None


def _with(found: Why, **changes: object) -> Why:
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Compared:
    """What a step that ran, or will, is measured by: the nearest ``earlier`` execution, and what is other now.

    ``changes`` are none if that did the same work; ``reason`` says it in words either way.
    """

    earlier: Nearest
    changes: tuple[Change, ...]
    reason: str


def compared(reader: Reader, new: Execution, story: Story) -> Compared | None:
    """``new``, for which nothing recorded stands, against the nearest earlier execution; None if there is none.

    ``story`` says in brief what became of a step that fed it.
    """
    earlier = nearest(reader, new)
    if earlier is None:
        return None
    if not earlier.differences:
        return Compared(earlier, (), _repeated(reader, new.task, earlier.execution.task))
    changes = tuple(change(reader, earlier.execution, new, each, story) for each in earlier.differences)
    return Compared(earlier, changes, listed([each.text for each in changes]))


def _repeated(reader: Reader, task: Task, before: Task) -> str:
    label = reader.label(before)
    if before.status is Status.FAILED:
        return f"never completed: {label} did the same work and failed"
    if before.status in (Status.ABORTED, Status.PRUNED):
        return f"never completed: {label} did the same work and was stopped"
    made_of = reader.made_of(str(task.key))
    if made_of is not None and made_of.created_at < (task.started_at or 0.0):
        return f"anew, though its outcome was recorded by {label}"
    if before.finished_at is None or (task.started_at or 0.0) < before.finished_at:
        return f"{label} had begun the same work and was not done"
    return f"the outcome of {label} was no longer recorded"
