"""The port between the engine and whatever runs steps: one call in, a stream of messages back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hpo_pipelines.failure import Failure
from hpo_pipelines.snapshot import Locator
from hpo_pipelines.types import ArtifactRef, Environment, Queue, Resources


@dataclass(frozen=True)
class Slot:
    """Marks, inside the pickled arguments of a step, the place of input number ``index``."""

    index: int


@dataclass(frozen=True)
class Assignment:
    """Everything a worker needs for one attempt of one step; it travels as references, never as big values."""

    task: str
    attempt: int
    label: str
    """For people: ``churn#48/fit``."""
    locator: Locator
    arguments: bytes
    """Pickled ``(args, kwargs)`` with a :class:`Slot` for each input."""
    inputs: tuple[ArtifactRef, ...]
    artifacts: str
    """URL of the artifact store."""
    snapshot: ArtifactRef
    snapshot_digest: str
    resources: Resources = field(default_factory=Resources)
    timeout: float | None = None
    console: str = ""
    """Path of the attempt's console file in the driver's file system."""
    environment: Environment = field(default_factory=Environment)
    """What the step asks of the process it runs in."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables set while the step runs."""
    around: str = ""
    """``module:function`` of a context manager that the component runs in; empty for none."""
    queue: Queue = field(default_factory=lambda: Queue("default"))
    """What of a cluster serves it."""

    @property
    def id(self) -> str:
        """Names the attempt: ``<task>.<attempt>``."""
        return f"{self.task}.{self.attempt}"


@dataclass(frozen=True)
class Waiting:
    """The attempt is in the executor's line; ``reason`` says what for: ``waits: needs 1 GPU, cluster has 0``."""

    reason: str


@dataclass(frozen=True)
class Started:
    """The attempt left the executor's line and runs; ``worker`` says where, for a person.

    ``at`` is when, by the worker's clock, where this is heard late; 0: just now.
    """

    worker: str
    at: float = 0.0


@dataclass(frozen=True)
class Begun:
    """What the attempt runs in is there, and its timeout counts from now. Between worker and executor only."""


@dataclass(frozen=True)
class Reported:
    """The step reported a metric. ``step`` None: count on from the last of that name."""

    name: str
    value: float
    step: int | None
    at: float


@dataclass(frozen=True)
class ConsoleChunk:
    """Console bytes from ``offset``, of a worker that does not write the driver's file itself."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Completed:
    """The component returned; its outputs are stored. ``seconds`` is its own running time."""

    outputs: Mapping[str, ArtifactRef]
    seconds: float


@dataclass(frozen=True)
class Failed:
    """The user's code raised, or its value could not be stored. ``error`` is the exception, where it never left us."""

    failure: Failure
    error: BaseException | None = None


@dataclass(frozen=True)
class Lost:
    """The worker went away; ``reason`` says how: ``killed by signal 9``, ``out of memory: used 7.9 GB of 8 GB``."""

    reason: str


@dataclass(frozen=True)
class TimedOut:
    """The attempt ran longer than ``seconds``; its processes are gone."""

    seconds: float


@dataclass(frozen=True)
class Cancelled:
    """The attempt was stopped because :meth:`Executor.cancel` asked for it."""


Ended: TypeAlias = Completed | Failed | Lost | TimedOut | Cancelled
Message: TypeAlias = Waiting | Started | Reported | ConsoleChunk | Ended
Listener: TypeAlias = Callable[[Assignment, Message], None]


@dataclass(frozen=True)
class NodeUse:
    """One node: what it has, by resource (CPU, GPU, memory in bytes, custom ones), and of that what is promised."""

    name: str
    resources: Mapping[str, float]
    used: Mapping[str, float]
    """By anybody, as far as the executor knows."""
    holders: Mapping[str, Mapping[str, float]]
    """Our own steps there: a step's task -> what is promised to it."""
    dashboard: str = ""
    """Where the pages of the cluster are that it belongs to (``host:port``, or a URL); empty where there are none."""


class Executor(ABC):
    """Runs assignments.

    The promises every executor keeps, tested by the inherited contract suite:

    * For each submitted assignment the listener gets any number of ``Waiting``, then at most one ``Started``, then any
      number of ``Reported`` and ``ConsoleChunk``, then exactly one ``Ended``, in this order.
    * Messages of one executor come from one thread at a time. ``submit`` may call the listener itself, before it
      returns, with ``Started`` (and, for ``inline``, with all the rest).
    * After ``cancel`` an ``Ended`` comes within 2 s, and the step's processes, children included, are gone.
    * Nothing is retried: losses and failures are reported once, trying again is the engine's business.
    """

    name: str

    @abstractmethod
    def submit(self, assignment: Assignment, listener: Listener) -> None:
        """Run ``assignment`` as soon as its resources are free.

        Raises ConfigError for what this executor can never serve: more CPUs than there are, a GPU where there is none.
        """

    @abstractmethod
    def cancel(self, attempt: str) -> None:
        """Stop the attempt with this id: softly first (KeyboardInterrupt), then by force. Unknown: nothing."""

    def urge(self, attempt: str, waiting: int) -> None:  # noqa: B027 - an executor without a line has nothing to do
        """So many steps wait for what this attempt computes: the more, the sooner it is to leave the line."""

    @abstractmethod
    def close(self) -> None:
        """Stop what runs and free what is held; idempotent."""

    def nodes(self) -> Sequence[NodeUse]:
        """Where steps run, and what is in use there; none of an executor that promises nothing, or cannot say now."""
        return ()


def ended(message: Any) -> bool:
    """Whether ``message`` is the last of its attempt."""
    return isinstance(message, Completed | Failed | Lost | TimedOut | Cancelled)
