"""The agent: takes runs from queues and drives them, until it is told to stop.

A run is taken by the lease on driving it, so no two agents drive one. An agent that dies leaves its runs to the others,
which drive them on from their journals.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.errors import HpoPipelinesError, IllegalTransition, StoreError, TaskNotFound
from hpo_pipelines.failure import Failure
from hpo_pipelines.owner import is_gone
from hpo_pipelines.store.queues import Entry
from hpo_pipelines.types import Status
from hpo_pipelines.waiting import Listening, options_of
from hpo_pipelines.workspace import Workspace

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often runs whose agent went away are looked for."""

PAUSE_SECONDS = 0.02
"""How long at least between two looks at the queues: a busy store has news all the time."""

MOST_DEATHS = 10
"""After so many agents that died with it, and no step that ended, a run is given up: it may be what kills them."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 15.0
"""Seconds between two attempts to reach the store: twice as long each time."""


@dataclass(frozen=True)
class Taken:
    """A run that is ours to drive: ``deaths`` agents died with it since a step ended, the last one at ``gone_at``."""

    entry: Entry
    gone_at: float | None
    deaths: int


class Reach:
    """Whether the store can be reached, as an agent and its runs have found it; how long to leave it alone if not."""

    def __init__(self) -> None:
        self.is_doubtful = False
        self._is_lost = False
        self._tries = 0
        self._troubled_at = self._again_at = float("-inf")
        self._lock = threading.Lock()

    @property
    def pause(self) -> float:
        """How many seconds to wait before the store is asked again."""
        return self._again_at - time.monotonic()

    def doubt(self) -> None:
        """A run found that it cannot."""
        with self._lock:
            self.is_doubtful = True
            now = time.monotonic()
            if now - self._troubled_at > 2 * LONGEST_PAUSE:
                self._tries = 0
            self._troubled_at = now
            if now >= self._again_at:  # what runs find out together counts once
                self._again_at = now + min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**self._tries)
                self._tries += 1

    def lose(self, error: StoreError) -> None:
        """It cannot; said once."""
        self.doubt()
        if not self._is_lost:
            self._is_lost = True
            log.warning("the store cannot be reached; the agent goes on trying: %s", error)

    def regain(self) -> None:
        """It can be reached."""
        self.is_doubtful = False
        if self._is_lost:
            self._is_lost = False
            log.warning("the store can be reached again")


class Agent:
    """Drives runs of ``queues``, at most ``max_runs`` at a time, each in a thread of its own that holds no slot.

    Raises ConfigError for a queue that is not declared.
    """

    def __init__(self, workspace: Workspace, queues: Sequence[str], *, max_runs: int = 8) -> None:
        self.workspace = workspace
        self.queues = tuple(dict.fromkeys(workspace.settings.queue(name).name for name in queues))
        self.max_runs = max_runs
        self.driven = 0
        """How many runs it has driven to their end."""
        self._store = workspace.store
        self._liveness = workspace.engine.liveness
        self._reach = Reach()
        self._runs: dict[str, threading.Thread] = {}
        self._changed = threading.Condition()
        self._draining = threading.Event()
        self._said = -1
        self._looked = 0.0

    @property
    def listening(self) -> Listening:
        """How others see it."""
        return Listening(self._liveness.owner, self.queues, self.max_runs, len(self._runs))

    def run(
        self,
        *,
        until_idle: bool = False,
        last_look: Callable[[], object] | None = None,
        idle_besides: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take and drive runs until :meth:`drain`; or, ``until_idle``, until none waits and none is under way, and
        nothing else that this process does (``idle_besides``), which may have runs wait again.

        ``last_look`` is called before that is said of the queues: what it enqueues is driven as well.

        An exception that ends it, such as KeyboardInterrupt, leaves the runs under way to other agents, which go on
        from their journals; the process is to end then.
        """
        nodes = self.workspace.nodes
        nodes.stays = True
        try:
            while not (self._draining.is_set() and not self._runs):
                if self._reach.pause > 0:
                    self._sleep(self._reach.pause)
                    continue
                try:
                    news = self._store.events.last()
                    self._announce()
                    self._regain()
                    if not self._fill() and until_idle and self._is_idle(last_look) and idle_besides():
                        return
                    self._rest(news)
                except StoreError as error:
                    if self.workspace.engine.is_closed:
                        raise  # by us, not by a server that comes back
                    # Its runs meet the same error. Whoever brings the store back finds the agent waiting.
                    self._reach.lose(error)
        except BaseException:
            self.hand_over()
            raise
        finally:
            nodes.stays = False
            self._liveness.give_up(self.listening.lease)

    def drain(self) -> None:
        """Take no more runs; :meth:`run` returns when those under way have ended. Safe in a signal's action."""
        self._draining.set()

    def hand_over(self) -> None:
        """Leave the runs under way to other agents, which go on from their journals; the process is to end then.

        Not in a signal's action: it waits for a lock.
        """
        self._draining.set()
        with self._changed:
            runs = list(self._runs)
        for run in runs:
            self._liveness.renounce(lease_of(run))

    # -- the store

    def _regain(self) -> None:
        if self._reach.is_doubtful:
            self._reach.regain()
            self._liveness.beat()  # which frees the runs that were let go of

    def _sleep(self, seconds: float) -> None:
        if not self._draining.is_set():
            self._draining.wait(seconds)
            return
        with self._changed:
            if self._runs:
                self._changed.wait(seconds)

    # -- taking

    def _announce(self) -> None:
        listening = self.listening
        if self._said != listening.runs:
            self._liveness.claim(listening.lease, listening.note())
            self._said = listening.runs

    def _fill(self) -> bool:
        taken = False
        while len(self._runs) < self.max_runs and not self._draining.is_set():
            # What another has begun goes first: it came before all that waits.
            found = self._abandoned() or self._waiting()
            if found is None:
                break
            taken = True
            self._start(found)
        return taken

    def _waiting(self) -> Taken | None:
        """The next of the runs that wait, now ours."""
        while not self._draining.is_set():
            with self._store.transaction():
                entry = self._store.queues.first(self.queues)
                taken = None if entry is None else self._take(entry)
            if entry is None or taken is not None:
                return taken
            # Another was quicker by a moment. What is behind it waits no longer for that.
        return None

    def _abandoned(self) -> Taken | None:
        """A run under way that nobody drove any more, now ours."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return None
        for entry, owner in self._store.queues.under_way(self.queues):
            if entry.task not in self._runs and (owner is None or is_gone(owner)):
                taken = self._take(entry)
                if taken is not None:
                    return taken
        self._looked = time.monotonic()
        return None

    def _take(self, entry: Entry) -> Taken | None:
        """The run of ``entry`` under our lease; None if another was quicker."""
        lease, label = lease_of(entry.task), self._store.tasks.get(entry.task).label
        with self._store.transaction():
            gone_at = self._liveness.last_beat(lease)
            if not self._liveness.claim(lease, label):
                return None
            # Who leaves a run gives the lease back; who did not has died.
            deaths = entry.claims if gone_at is None else self._store.queues.orphaned(entry.task)
            return Taken(entry, gone_at, deaths)

    def _is_idle(self, last_look: Callable[[], object] | None) -> bool:
        if last_look is not None and not self._runs:
            last_look()
        counts = self._store.queues.counts()
        return not self._runs and not any(sum(counts.get(name, (0, 0))) for name in self.queues)

    def _rest(self, news: int) -> None:
        with self._changed:
            full = len(self._runs) >= self.max_runs or self._draining.is_set()
            self._changed.wait(LOOK_SECONDS if full else PAUSE_SECONDS)
        if not full:
            self._store.events.wait(news, LOOK_SECONDS)

    # -- driving

    def _start(self, taken: Taken) -> None:
        run = taken.entry.task
        thread = threading.Thread(target=self._drive, args=(taken,), name=f"hpo-run-{run}", daemon=True)
        with self._changed:
            self._runs[run] = thread
        thread.start()

    def _drive(self, taken: Taken) -> None:
        entry = taken.entry
        try:
            self._carry(taken)
        except (IllegalTransition, TaskNotFound):
            log.debug("%s is another's, or has ended", entry.task, exc_info=True)
        except StoreError as error:
            # Not its end: it is taken again once the store is back.
            log.warning("run %s is let go of, until it can be recorded again: %s", entry.task, error)
            self._liveness.drop(lease_of(entry.task))
            self._reach.doubt()
        except HpoPipelinesError as error:
            self._refuse(entry, error)
        except Exception as error:
            # A fault of ours. Left as it is, the run would be taken again at once, and for ever.
            log.exception("run %s stopped by a fault of hpo_pipelines", entry.task)
            self._refuse(entry, error)
        except (SystemExit, KeyboardInterrupt):
            log.info("the body of run %s left", entry.task, exc_info=True)  # which has ended it, not the agent
        finally:
            self._leave(entry)

    def _carry(self, taken: Taken) -> None:
        options = replace(options_of(taken.entry), shared=True)
        if taken.deaths >= MOST_DEATHS:
            raise HpoPipelinesError(
                f"{MOST_DEATHS} agents died while they drove it, and none of its steps ended meanwhile; it may be what "
                "ends them."
            )
        task = self._store.tasks.get(taken.entry.task)
        if task.status is Status.QUEUED:
            self.workspace.start(task.id, options)
        else:
            controller, values = self.workspace.taken_over(task, taken.gone_at, options)
            controller.drive(values)
        self.driven += 1

    def _refuse(self, entry: Entry, error: Exception) -> None:
        """The run cannot be driven here: its code does not load, say. One that has ended meanwhile stays as it is."""
        try:
            record = Failure.of(error).record()
            self._store.tasks.transition(
                entry.task, Status.FAILED, reason=f"could not be driven: {error}", error=record
            )
        except HpoPipelinesError:
            log.warning("run %s could not be driven: %s", entry.task, error, exc_info=True)

    def _leave(self, entry: Entry) -> None:
        lease = lease_of(entry.task)
        if self._liveness.holds(lease):
            self._liveness.give_up(lease)
        with self._changed:
            del self._runs[entry.task]
            self._changed.notify_all()
