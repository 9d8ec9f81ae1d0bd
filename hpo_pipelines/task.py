"""The recorded, clonable unit: a frozen record, its state machine, and the records that hang on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hpo_pipelines.types import ArtifactRef, Kind, Status, new_id

_LIVE = {Status.COMPLETED, Status.FAILED, Status.ABORTED, Status.PRUNED}

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.DRAFT: frozenset({Status.QUEUED, Status.RUNNING, Status.ABORTED}),
    Status.QUEUED: frozenset(_LIVE | {Status.RUNNING, Status.SKIPPED, Status.DRAFT}),
    Status.RUNNING: frozenset(_LIVE | {Status.QUEUED, Status.SKIPPED}),
    # `resume` starts an unsuccessful run again; a success is final.
    Status.FAILED: frozenset({Status.QUEUED, Status.RUNNING}),
    Status.ABORTED: frozenset({Status.QUEUED, Status.RUNNING}),
    Status.PRUNED: frozenset({Status.QUEUED, Status.RUNNING}),
    Status.SKIPPED: frozenset({Status.QUEUED, Status.RUNNING}),
    Status.COMPLETED: frozenset(),
}
"""Which status may follow which."""


@dataclass(frozen=True)
class Task:
    """One recorded unit of work; a value: change is ``dataclasses.replace``, and :meth:`clone` makes a draft.

    Times are seconds since the epoch. ``params`` is JSON as :mod:`hpo_pipelines.parameters` encodes it.
    """

    id: str
    kind: Kind
    name: str
    """The component's name with its count in the run (``fit``, ``fit.2``); the pipeline's; the study's."""
    project: str
    status: Status = Status.DRAFT
    pipeline: str | None = None
    number: int | None = None
    """Run number within project and pipeline (``churn#48``), given by the store; pipelines only."""
    parent: str | None = None
    """A step's run; a nested run's enclosing run."""
    component: str | None = None
    position: int | None = None
    """A step's place in the order of calls of its run, from 0."""
    params: Mapping[str, Any] = field(default_factory=dict)
    snapshot: str | None = None
    cloned_from: str | None = None
    rerun_of: str | None = None
    study: str | None = None
    trial: int | None = None
    executor: str | None = None
    queue: str | None = None
    key: str | None = None
    reused_from: str | None = None
    """The step that computed what this step reused."""
    reason: str | None = None
    """Why the task stands where it stands, for a person: ``timeout``, ``upstream fit failed``, ``refresh``."""
    error: Mapping[str, Any] | None = None
    """``{"type", "message", "traceback"}`` of the failure, as :class:`hpo_pipelines.failure.Failure` writes it."""
    git: Mapping[str, Any] | None = None
    """``{"commit", "branch", "dirty", "diff"}`` of the working folder when a run was made; ``diff`` is an artifact."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    archived_at: float | None = None
    """Since when it is listed only for who asks; None for what is not archived."""
    attempt_of: str | None = None
    """The run that ended by asking for this one (:func:`hpo_pipelines.retrigger`): the attempt before it."""
    attempt: int = 1
    """Which attempt of its call it is, from 1."""

    def clone(self, params: Mapping[str, Any] | None = None) -> Task:
        """A draft of the same code with ``params`` (encoded) laid over this task's own.

        It stands by itself: the clone of a nested run has no enclosing run, that of a trial belongs to no study.
        """
        return self.unbegun(
            status=Status.DRAFT,
            parent=None,
            position=None,
            params={**self.params, **(params or {})},
            cloned_from=self.id,
            rerun_of=None,
            study=None,
            trial=None,
            attempt_of=None,
            attempt=1,
        )

    def unbegun(self, **changes: Any) -> Task:
        """This record with ``changes``, under another id and as of what has not begun: it has no number, no outcome,
        no notes and no times."""
        fresh: dict[str, Any] = {
            "number": None,
            "key": None,
            "reused_from": None,
            "reason": None,
            "error": None,
            "notes": "",
            "created_at": 0.0,
            "started_at": None,
            "finished_at": None,
            "archived_at": None,
        }
        return replace(self, id=new_id(), **{**fresh, **changes})

    @property
    def label(self) -> str:
        """What a person calls this task: ``churn#48`` for a run, else its name."""
        return f"{self.pipeline}#{self.number}" if self.number is not None else self.name

    @property
    def seconds(self) -> float | None:
        """Wall seconds from start to finish, ``None`` until both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at


@dataclass(frozen=True)
class PastRun:
    """A run that something else has made: ``source`` names it for good; texts among ``params`` may stand for values.

    ``started_at`` and ``finished_at`` are seconds since the epoch; ``status`` is how it ended.
    """

    source: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    status: Status
    started_at: float
    finished_at: float
    notes: str = ""


def names_within(children: Iterable[Task]) -> dict[str, str]:
    """What the steps of a run, and the runs inside it, are called in it, by id.

    A step by its name (``fit``, ``fit.2``), a run inside likewise (``churn``, ``churn.2``); one that was withdrawn, so
    that another took its place, by its label.
    """
    counts: dict[str, int] = {}
    names = {}
    for task in sorted(children, key=lambda child: child.id):  # the order of the calls
        if task.kind is Kind.PIPELINE and task.status is not Status.SKIPPED:
            count = counts[task.name] = counts.get(task.name, 0) + 1
            names[task.id] = task.name if count == 1 else f"{task.name}.{count}"
        else:
            names[task.id] = task.label
    return names


@dataclass(frozen=True)
class Edge:
    """``target`` uses an output of ``source`` (``data``), or was called after the body looked at one (``control``)."""

    source: str
    target: str
    kind: str = "data"
    output: str = ""
    input: str = ""


@dataclass(frozen=True)
class Attempt:
    """One execution of a step; retries and losses make further ones. ``console`` is relative to the console folder."""

    task: str
    number: int
    status: Status
    started_at: float
    finished_at: float | None = None
    error: Mapping[str, Any] | None = None
    worker: str = ""
    console: str = ""


@dataclass(frozen=True)
class Metric:
    """One reported value: of ``task`` (a step or a run), ``name``, at ``step`` (an epoch, say), at time ``at``."""

    task: str
    name: str
    value: float
    step: int
    at: float


@dataclass(frozen=True)
class Event:
    """One thing that happened, in the order in which it became visible; ``id`` increases and never skips back."""

    id: int
    at: float
    task: str
    kind: str
    data: Mapping[str, Any]

    @property
    def line(self) -> str:
        """The event as one line of a task's story: time (UTC), kind, what changed, why."""
        at = datetime.fromtimestamp(self.at, UTC).isoformat(" ", "milliseconds").replace("+00:00", "Z")
        if self.kind != "status":
            return " ".join([at, self.kind, *(f"{name}={value}" for name, value in self.data.items())])
        reason = self.data.get("reason")
        return f"{at} {self.data['from']} -> {self.data['to']}" + (f": {reason}" if reason else "")


@dataclass(frozen=True)
class CacheEntry:
    """A recorded outcome under a key: the step that computed it, its outputs, and the parts of its key."""

    key: str
    task: str
    component: str
    outputs: Mapping[str, ArtifactRef]
    parts: Mapping[str, Any]
    seconds: float
    created_at: float
    hits: int = 0
    """How often the outcome stood in for a run; ``hit_at`` is when it last did."""
    hit_at: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """The code of a pipeline by value: ``payload`` and ``sources`` are artifacts' digests.

    ``digest`` identifies the code by its sources, never by its payload, whose bytes differ between processes.
    """

    digest: str
    entry: str
    """``module:qualname`` of the pipeline."""
    content: ArtifactRef
    """One artifact with everything needed to load the code again (:mod:`hpo_pipelines.snapshot`)."""
    python: str
    packages: Mapping[str, str]
    created_at: float = 0.0
