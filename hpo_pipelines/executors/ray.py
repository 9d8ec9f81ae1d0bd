"""The ray executor: steps as tasks of a Ray cluster, a local one on demand or the one at ``RAY_ADDRESS``.

One generic remote function runs every step (:mod:`.ray_worker`). What a step says while it runs comes by an actor; what
it says in its last fifth of a second, for a short step all of it, comes with its result. One thread of ours, the
dispatcher, hears of both and calls the listeners.
"""

from __future__ import annotations

import atexit
import functools
import heapq
import itertools
import logging
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hpo_pipelines.errors import ConfigError
from hpo_pipelines.executors import ray_cluster, ray_runtime
from hpo_pipelines.executors.base import (
    Assignment,
    Begun,
    Cancelled,
    Ended,
    Executor,
    Listener,
    Lost,
    Message,
    NodeUse,
    Started,
    TimedOut,
    Waiting,
    ended,
)
from hpo_pipelines.executors.ray_capacity import Capacity, options, ray_nodes
from hpo_pipelines.executors.ray_cluster import Cluster, Demand
from hpo_pipelines.executors.ray_errors import meaning
from hpo_pipelines.executors.ray_lookout import Lookout
from hpo_pipelines.executors.ray_window import Windows

if TYPE_CHECKING:
    from hpo_pipelines.executors.ray_mail import Mail

CANCEL_BY_FORCE_SECONDS = 1.3
"""A cancelled step ends by itself, or its worker ends with it after a second; this is for a worker that cannot."""

CANCEL_SECONDS = 1.9
"""When a cancelled attempt is called ended, whatever its worker does."""

TIMEOUT_SLACK_SECONDS = 3.0
"""How much longer than its timeout a step may be seen to run: its worker enforces it, unless it cannot."""

MAILBOX_SECONDS = 0.3
"""The actor for messages is started when a step has been under way for so long."""

ABSENCES = 3
"""After so many looks at a cluster without the node that we are attached to, we attach to another."""

LATE_SECONDS = 5.0
"""How long the end of an attempt waits for messages that its worker knows to have arrived."""

LAST_WORDS_SECONDS = 0.5
"""How long the death of a worker waits for what the worker said before."""

_log = logging.getLogger(__name__)

Action: TypeAlias = Callable[[], None]


@dataclass(eq=False)
class _Attempt:
    """One attempt from submit to its end; all but the first four fields belong to the dispatcher."""

    assignment: Assignment
    listener: Listener
    demand: Demand
    started: bool
    """Whether its start was reported; until then it waits in Ray's line, as far as we know."""
    held: bool = False
    """Whether it waits in our line, and Ray has not heard of it."""
    waits: str = ""
    """What it was last said to wait for."""
    host: str = ""
    """Where its worker is, once that is known."""
    ref: Any = None
    cancelled: bool = False
    verdict: Ended | None = None
    """What the worker, or we, ended it for."""
    outcome: Ended | None = None
    """How Ray says it ended."""
    count: int | None = None
    """How many messages it sent, once known."""
    heard: int = 0
    """How many of them the listener has heard."""
    early: dict[int, Message | Begun] = field(default_factory=dict)
    """Messages, by number, that arrived before others sent before them."""

    @property
    def shape(self) -> Hashable:
        """What it asks Ray for."""
        return frozenset(self.demand.items()), frozenset(self.assignment.queue.labels.items())

    def accept(self, messages: Iterable[tuple[int, Message | Begun]]) -> list[Message | Begun]:
        """Take numbered messages, some perhaps again; returns those whose turn it is."""
        self.early.update((number, message) for number, message in messages if number >= self.heard)
        ready = []
        while self.heard in self.early:
            ready.append(self.early.pop(self.heard))
            self.heard += 1
        return ready


class RayExecutor(Executor):
    """Runs steps on Ray; made when first needed, since it connects to a cluster or starts one (seconds).

    ``home`` is where a Ray of our own is kept (default ``$HPO_HOME``). Executors of one process share one connection;
    :meth:`close` ends what this one runs and leaves Ray up for others until the process ends. ``shared_files`` says
    whether workers may write console files themselves; by default they do where Ray is our own, on this machine.

    Raises ConfigError when Ray cannot be had.
    """

    name = "ray"

    def __init__(self, home: Path | None = None, *, shared_files: bool | None = None) -> None:
        default = Path(os.environ.get("HPO_HOME") or Path.home() / ".hpo_pipelines")
        runtime = ray_runtime.connect((home or default).expanduser().absolute())
        self.address = runtime.address
        self._here = runtime.here
        self._shared_files = runtime.here if shared_files is None else shared_files
        self._capacity = Capacity(ray_nodes, fixed=runtime.here)
        self._attempts: dict[str, _Attempt] = {}
        self._in_line = 0
        self._windows: Windows[_Attempt] = Windows(self._capacity.cpus)
        self._closed = False
        self._absences = 0
        """For how many looks in a row the node that we are attached to was not among the living."""
        self._lock = threading.Lock()
        self._calling = threading.Lock()
        """Held while Ray is called, and while the connection is made anew."""
        self._inbox: queue.SimpleQueue[Action] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Action]] = []
        self._count = itertools.count()
        self._lookout = Lookout(lambda: ray_cluster.look(), self._hear_look)
        self._mail = self._new_mail()
        self._thread = threading.Thread(target=self._dispatch, name="hpo-ray", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def submit(self, assignment: Assignment, listener: Listener) -> None:
        demand = self._capacity.demand(assignment)
        function = _remote_function(assignment, demand)
        with self._lock:
            if self._closed:
                raise ConfigError("this ray executor is closed; open the workspace again.")
            # Whoever is in line already is served first.
            started = not self._in_line and self._capacity.take(demand)
            attempt = self._attempts[assignment.id] = _Attempt(assignment, listener, demand, started)
            self._in_line += not started
            attempt.held = held = not started and self._windows.hold(attempt.shape, assignment.id, attempt)
        if started:
            _tell(attempt, Started(f"ray:{self.address}"))
        else:
            self._lookout.watch()
        if not held:
            self._send(attempt, function)
        if not self._mail.started:
            self._inbox.put(partial(self._later, MAILBOX_SECONDS, partial(self._start_mail, attempt)))

    def cancel(self, attempt: str) -> None:
        self._inbox.put(partial(self._cancel, attempt))

    def urge(self, attempt: str, waiting: int) -> None:
        with self._lock:
            self._windows.urge(attempt, waiting)

    def close(self) -> None:
        """End what runs and what waits as cancelled, and the threads; Ray itself stays. Idempotent."""
        with self._lock:
            self._closed = True
        for attempt in list(self._attempts):
            self.cancel(attempt)
        self._inbox.put(lambda: None)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        atexit.unregister(self.close)

    def nodes(self) -> Sequence[NodeUse]:
        running = [each for each in list(self._attempts.values()) if each.started and each.outcome is None]
        return ray_cluster.uses([(each.assignment.task, each.host, each.demand) for each in running])

    def _new_mail(self) -> Mail:
        # Ray is there to be imported only now that its environment was set.
        from hpo_pipelines.executors.ray_mail import Mail

        return Mail(lambda letters: self._inbox.put(partial(self._hear_mail, letters)))

    # -- to Ray

    def _send(self, attempt: _Attempt, function: Any) -> None:
        from hpo_pipelines.executors.ray_worker import Terms

        assignment = attempt.assignment
        # The clock of a timeout runs from where the worker says that it started.
        announce = not attempt.started or assignment.timeout is not None
        terms = Terms(self._mail.name, announce, self._shared_files, _working_folder())
        try:
            with self._calling:
                ray_runtime.check()
                attempt.ref = function.remote(pickle.dumps((assignment, terms), protocol=5))
                attempt.ref._on_completed(lambda value: self._inbox.put(partial(self._hear_result, attempt, value)))
        except Exception as error:  # noqa: BLE001 - Ray is gone, in whichever way
            self._inbox.put(partial(self._hear_result, attempt, error))
        if attempt.cancelled:
            self.cancel(assignment.id)  # it was asked for before there was anything to cancel

    def _cancel(self, id: str) -> None:
        attempt = self._attempts.get(id)
        if attempt is None:
            return
        attempt.cancelled = True
        with self._lock:
            held = self._windows.remove(attempt.shape, id)
        if held:
            self._finish(attempt)
        elif attempt.ref is not None:
            self._stop(attempt, force=False)
            self._later(CANCEL_BY_FORCE_SECONDS, partial(self._stop, attempt, force=True))
            self._later(CANCEL_SECONDS, partial(self._finish, attempt))

    def _stop(self, attempt: _Attempt, *, force: bool) -> None:
        import ray

        if attempt.assignment.id not in self._attempts:
            return
        try:
            with self._calling:
                ray_runtime.check()
                ray.cancel(attempt.ref, force=force)
        except Exception:  # noqa: BLE001 - Ray is gone, and the step with it
            _log.debug("cancelling %s", attempt.assignment.label, exc_info=True)
            self._finish(attempt)

    def _overdue(self, attempt: _Attempt) -> None:
        if attempt.verdict is None and attempt.assignment.id in self._attempts:
            attempt.verdict = TimedOut(attempt.assignment.timeout or 0.0)
            self._stop(attempt, force=True)
            self._later(LAST_WORDS_SECONDS, partial(self._finish, attempt))

    # -- the dispatcher

    def _dispatch(self) -> None:
        while not self._closed or self._attempts:
            patience = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            try:
                action = self._inbox.get(timeout=patience)
            except queue.Empty:
                action = heapq.heappop(self._timers)[2]
            try:
                action()
            except Exception:  # noqa: BLE001 - one attempt's trouble is not that of the others
                _log.exception("the ray executor stumbled")
        self._lookout.close()
        self._mail.close()

    def _later(self, seconds: float, action: Action) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), action))

    def _start_mail(self, attempt: _Attempt) -> None:
        if attempt.assignment.id in self._attempts and not self._closed:
            self._mail.start()

    def _hear_look(self, cluster: Cluster) -> bool:
        """Have those in line told what they wait for, as ``cluster`` stands; whether there are any."""
        self._absences = 0 if cluster.here else self._absences + 1
        if self._absences >= ABSENCES:
            try:
                with self._calling:
                    ray_runtime.reconnect(self._mail.leave)
            except ConfigError as error:
                _log.debug("no new connection: %s", error)
                return True
            self._absences = 0
            self._inbox.put(self._begin_again)
            return True
        self._inbox.put(partial(self._tell_line, cluster))
        return self._in_line > 0

    def _begin_again(self) -> None:
        """The node that we were attached to died, and Ray has forgotten us: what ran is lost, what waited is not."""
        self._mail = self._new_mail()
        for attempt in list(self._attempts.values()):
            attempt.ref = None
            if attempt.held and not attempt.cancelled:
                continue
            if attempt.started or attempt.cancelled:
                attempt.outcome = Lost("the node that its driver was attached to died")
                self._finish(attempt)
            else:
                self._send(attempt, _remote_function(attempt.assignment, attempt.demand))
                self._later(MAILBOX_SECONDS, partial(self._start_mail, attempt))

    def _tell_line(self, cluster: Cluster) -> None:
        for attempt in list(self._attempts.values()):
            if attempt.started or attempt.cancelled or attempt.outcome is not None:
                continue
            reason = ray_cluster.waits(cluster, attempt.demand, attempt.assignment.queue.labels)
            if attempt.waits and not reason:
                reason = "waits for a worker to start"
            if reason != attempt.waits:
                attempt.waits = reason
                _tell(attempt, Waiting(reason))

    def _hear_mail(self, letters: Sequence[bytes]) -> None:
        for letter in letters:
            id, messages = pickle.loads(letter)
            attempt = self._attempts.get(id)
            if attempt is not None:
                self._hear(attempt, attempt.accept(messages))

    def _hear_result(self, attempt: _Attempt, value: Any) -> None:
        if attempt.assignment.id not in self._attempts:
            return
        if isinstance(value, BaseException):
            attempt.outcome = meaning(value)
            # A worker that died may have had the time to say why.
            explained = attempt.cancelled or attempt.verdict or not isinstance(attempt.outcome, Lost)
            wait = 0.0 if explained else LAST_WORDS_SECONDS
        else:
            self._hear_report(attempt, value)
            wait = LATE_SECONDS
        if attempt.assignment.id in self._attempts:
            self._later(wait, partial(self._finish, attempt))

    def _hear_report(self, attempt: _Attempt, value: bytes) -> None:
        try:
            report = pickle.loads(value)
        except Exception as error:  # noqa: BLE001 - written by another version of this package
            attempt.outcome = Lost(f"the report of its worker cannot be read here: {type(error).__name__}: {error}")
            return self._finish(attempt)
        attempt.outcome, attempt.count = report.ended, report.count
        return self._hear(attempt, attempt.accept(report.rest))

    def _hear(self, attempt: _Attempt, messages: list[Message | Begun]) -> None:
        for message in messages:
            if isinstance(message, Started):
                self._begin(attempt, message)
            elif isinstance(message, Begun):
                self._limit(attempt)
            elif ended(message):
                attempt.verdict = message  # type: ignore[assignment]
            else:
                _tell(attempt, message)
        if attempt.outcome is not None and (attempt.heard == attempt.count or attempt.verdict is not None):
            self._finish(attempt)

    def _begin(self, attempt: _Attempt, message: Started) -> None:
        if not attempt.assignment.environment.apart:
            self._limit(attempt)
        attempt.host = message.worker.partition(":")[2].partition(":")[0]
        if not attempt.started:
            attempt.started = True
            with self._lock:
                self._in_line -= 1
                self._capacity.use(attempt.demand)
            _tell(attempt, message)
            self._move_up(attempt.shape)

    def _move_up(self, shape: Hashable) -> None:
        """One of this shape has left Ray's line, and others may come into it."""
        with self._lock:
            entering = self._windows.left(shape)
            for attempt in entering:
                attempt.held = False
        for attempt in entering:
            self._send(attempt, _remote_function(attempt.assignment, attempt.demand))

    def _limit(self, attempt: _Attempt) -> None:
        if attempt.assignment.timeout is not None:
            late = attempt.assignment.timeout + TIMEOUT_SLACK_SECONDS
            self._later(late, partial(self._overdue, attempt))

    def _finish(self, attempt: _Attempt) -> None:
        with self._lock:
            if self._attempts.pop(attempt.assignment.id, None) is None:
                return
            if attempt.started:
                self._capacity.give(attempt.demand)
            else:
                self._in_line -= 1
        if not attempt.started and not attempt.held:
            self._move_up(attempt.shape)
        attempt.ref = None
        if attempt.assignment.environment.image is not None and attempt.count is None and self._here:
            # Its worker was ended, perhaps before it could do this. On other machines it is swept.
            from hpo_pipelines.executors.environments import container

            container.remove_soon(attempt.assignment.id)
        for number in sorted(attempt.early):  # behind one that never arrived
            message = attempt.early[number]
            if not isinstance(message, Started | Begun) and not ended(message):
                _tell(attempt, message)
        if attempt.cancelled:
            # Whatever it returned: a task whose child was killed may return normally.
            _tell(attempt, Cancelled())
        else:
            _tell(attempt, attempt.verdict or attempt.outcome or Lost("its worker does not answer"))


def _tell(attempt: _Attempt, message: Message) -> None:
    try:
        attempt.listener(attempt.assignment, message)
    except Exception:  # noqa: BLE001 - the thread serves other runs too
        _log.exception("the listener of %s failed at %s", attempt.assignment.label, type(message).__name__)


@functools.cache
def _generic_function() -> Any:
    import ray

    from hpo_pipelines.executors.ray_worker import execute

    return ray.remote(execute)


def _remote_function(assignment: Assignment, demand: Demand) -> Any:
    try:
        return _generic_function().options(**options(assignment, demand))
    except ValueError as error:
        raise ConfigError(f"{assignment.label}: Ray refuses what it asks for: {error}.") from error


def _working_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # deleted under us; then the workers stay where they are
        return ""
