"""Fires schedules: every agent looks, and the store sees to it that each firing is one agent's.

A firing is one transaction: the schedule's row is locked, what is started is recorded, and the row says when the next
one is due. So an agent that dies has either fired or not, and two that look at once fire once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import HpoPipelinesError, StoreError, TaskNotFound
from hpo_pipelines.schedules.target import PreparedRun, PreparedStudy, StudyTarget, is_left, take_up, target_of
from hpo_pipelines.schedules.trigger import MARK, Clock, Trigger, trigger_of
from hpo_pipelines.store.chain import last as last_attempt
from hpo_pipelines.store.schedules import Schedule
from hpo_pipelines.task import Task

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often the clock is looked at."""
PAUSE_SECONDS = 0.2
"""How long at least between two looks: a busy store has news all the time."""
LATE_SECONDS = 60.0
"""A firing that comes later than this was missed: no agent was there."""
AT_ONCE = 1000
"""Events that are looked at in one go."""


@dataclass(frozen=True)
class _Tried:
    """What is about to be started, or why it cannot be; ``is_gone``: since what it is made from is no longer there."""

    prepared: PreparedRun | PreparedStudy | None = None
    refused: str | None = None
    is_gone: bool = False


class Firing:
    """Fires what is due in ``workspace``, until it is closed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._store = workspace.store
        self._closed = threading.Event()
        self._looking = threading.Lock()
        self._looked: dict[str, int] = {}
        """Up to which event there was nothing for a schedule, beyond what the store knows."""
        self._studies: dict[str, threading.Thread] = {}
        """What drives the studies that were begun, or gone on with, here."""

    @contextmanager
    def beside(self) -> Iterator[Firing]:
        """Look in a thread of its own while the block runs."""
        thread = threading.Thread(target=self.run, name="hpo-schedules", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.close()
            thread.join(2 * LOOK_SECONDS)

    def close(self) -> None:
        """Look no more. Studies that it started go on with whoever looks next."""
        self._closed.set()

    @property
    def is_idle(self) -> bool:
        """Whether no study of a schedule is under way here, and none waits to be begun, or gone on with, here.

        One that was given up here waits for others.
        """
        with self._looking:  # a study is left, or is driven here; never between the two
            if any(thread.is_alive() for thread in self._studies.values()):
                return False
            last = [each.last_task for each in self._store.schedules.all() if each.target["kind"] == "study"]
            started = self._store.tasks.get_all([task for task in last if task and task not in self._studies])
            holds = self._workspace.engine.liveness.holds
            return not any(holds(f"study:{id}") or is_left(self._workspace, study) for id, study in started.items())

    def run(self) -> None:
        """Look until it is closed."""
        lost = False
        while not self._closed.is_set():
            try:
                news = self._store.events.last()
                self.look()
                lost = False
                self._closed.wait(PAUSE_SECONDS)
                self._store.events.wait(news, LOOK_SECONDS)
            except StoreError as error:
                if self._workspace.engine.is_closed:
                    return
                if not lost:
                    log.warning("schedules cannot be read; they are tried again: %s", error)
                lost = True
                self._closed.wait(LOOK_SECONDS)
            except Exception:
                # A fault of ours, or of what a target's code loads. The other schedules are not to stop for it.
                log.exception("a look at the schedules failed; they are looked at again in %g s", LATE_SECONDS)
                self._closed.wait(LATE_SECONDS)

    def look(self) -> None:
        """Fire all that is due now, and go on with studies whose driver went away."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        schedules = self._store.schedules.all()
        if not schedules:
            return
        now = self._store.now()
        for schedule in schedules:
            if schedule.paused:
                continue
            trigger = trigger_of(schedule.trigger)
            if not isinstance(trigger, Clock):
                self._events(schedule, trigger)
            elif schedule.next_at is not None and schedule.next_at <= now:
                self._clock(schedule, trigger, now)
        for schedule in schedules:
            self._take_up(schedule, now)

    def fire(self, name: str) -> Task:
        """Fire the schedule ``name`` now, whatever it waits for; an agent takes what is recorded.

        Raises ScheduleError for an unknown one, and what starting its target raises.
        """
        schedule, at = self._store.schedules.get(name), self._store.now()
        prepared = self._prepared(schedule, at, None)
        with self._store.transaction():
            task = self._record(schedule, prepared, None)
            self._note(schedule, at, task, "fired by hand")
        return task

    # -- the clock

    def _clock(self, schedule: Schedule, trigger: Clock, now: float) -> None:
        late = now - (schedule.next_at or now) > LATE_SECONDS
        if late and schedule.options["missed"] == "skip":
            return self._fire_by_clock(schedule, trigger, now, _Tried())
        try:
            return self._fire_by_clock(schedule, trigger, now, self._tried(schedule, now, None))
        except StoreError:
            raise
        except HpoPipelinesError as error:  # of a study, which is checked anew when it is recorded
            return self._fire_by_clock(schedule, trigger, now, _refusal(schedule, error))

    def _fire_by_clock(self, schedule: Schedule, trigger: Clock, now: float, tried: _Tried) -> None:
        due = schedule.next_at
        assert due is not None
        late = now - due > LATE_SECONDS
        said = f"missed at {trigger.shown(due)}: no agent was there" if late else None
        with self._store.transaction():
            locked = self._store.schedules.lock(schedule.name)
            if locked is None or locked.next_at != due or locked.paused:
                return  # another has fired it
            busy = self._busy(locked)
            task = None if tried.prepared is None or busy else self._record(locked, tried.prepared, None)
            said = tried.refused or busy or said
            self._note(locked, now, task, said, next_at=trigger.after(now), paused=tried.is_gone)
        if task is not None and tried.prepared is not None:
            self._begun(task, tried.prepared.begin())

    # -- events

    def _events(self, schedule: Schedule, trigger: Trigger) -> None:
        assert not isinstance(trigger, Clock)
        start = max(schedule.cursor, self._looked.get(schedule.name, 0))
        events = self._store.events.after(start, AT_ONCE)
        if not events:
            return
        runs = self._store.tasks.get_all(list({event.task for event in events}))
        found = [runs[event.task] for event in events if event.task in runs and trigger.is_met(event, runs[event.task])]
        passed = {*schedule.seen, *(run.id for run in found if f"{MARK}{schedule.name}" in run.tags)}
        met = [run for run in {run.id: run for run in found}.values() if run.id not in passed]
        last = events[-1].id
        if not met:
            self._looked[schedule.name] = last
            if last - schedule.cursor < AT_ONCE:
                return
        now = self._store.now()
        try:
            self._fire_for(schedule, now, start, last, [(run, self._tried(schedule, now, run)) for run in met])
        except StoreError:
            raise
        except HpoPipelinesError as error:
            self._fire_for(schedule, now, start, last, [(run, _refusal(schedule, error)) for run in met])

    def _fire_for(
        self, schedule: Schedule, now: float, start: int, last: int, tries: Sequence[tuple[Task, _Tried]]
    ) -> None:
        """Fire for each run of the events from ``start`` to ``last``, unless another has."""
        begun: list[tuple[Task, PreparedRun | PreparedStudy]] = []
        with self._store.transaction():
            locked = self._store.schedules.lock(schedule.name)
            if locked is None or locked.cursor > start or locked.paused:
                return
            for run, tried in tries:
                said = tried.refused or self._busy(locked)
                task = None
                if said is None and tried.prepared is not None:
                    task = self._record(locked, tried.prepared, run)
                    begun.append((task, tried.prepared))
                locked = self._note(locked, now, task, said, paused=tried.is_gone)
            seen = (*locked.seen, *(run.id for run, _ in tries))[-AT_ONCE:]
            self._store.schedules.update(schedule.name, cursor=last, seen=seen)
        for task, prepared in begun:
            self._begun(task, prepared.begin())

    def _begun(self, study: Task, drive: threading.Thread | None) -> None:
        if drive is not None:
            self._studies[study.id] = drive

    # -- one firing

    def _tried(self, schedule: Schedule, at: float, run: Task | None) -> _Tried:
        try:
            return _Tried(self._prepared(schedule, at, run))
        except StoreError:
            raise
        except HpoPipelinesError as error:
            return _refusal(schedule, error)

    def _prepared(self, schedule: Schedule, at: float, run: Task | None) -> PreparedRun | PreparedStudy:
        target, trigger = target_of(schedule.target), trigger_of(schedule.trigger)
        clock = trigger if isinstance(trigger, Clock) else Clock("0 0 * * *")
        words = {"at": clock.shown(at)}
        if run is not None:
            words |= {"trigger.id": run.id, "trigger.label": run.label}
        name = f"{target.name}-{clock.stamp(at)}" if isinstance(target, StudyTarget) else ""
        return target.prepare(self._workspace, words, name)

    def _busy(self, schedule: Schedule) -> str | None:
        """Why the schedule does not fire now, if it is for what it started last."""
        if schedule.options["overlap"] == "allow" or schedule.last_task is None:
            return None
        try:
            last = last_attempt(self._store.tasks, self._store.tasks.get(schedule.last_task))
        except TaskNotFound:
            return None
        return None if last.status.finished else f"left out: {last.label} is {last.status}"

    def _record(self, schedule: Schedule, prepared: PreparedRun | PreparedStudy, run: Task | None) -> Task:
        # Those that led here as well, so that schedules that start each other come to an end.
        before = [] if run is None else [tag for tag in run.tags if tag.startswith(MARK)]
        tags = dict.fromkeys([*before, f"{MARK}{schedule.name}"])
        return prepared.record(tuple(tags), schedule.options["queue"], schedule.options["priority"])

    def _note(self, schedule: Schedule, at: float, task: Task | None, said: str | None, **changes: Any) -> Schedule:
        fired: Mapping[str, Any] = {}
        if task is not None:
            fired = {"fired": schedule.fired + 1, "last_at": at, "last_task": task.id}
        return self._store.schedules.update(schedule.name, said=said, **fired, **changes)

    def _take_up(self, schedule: Schedule, now: float) -> None:
        if schedule.last_task is None or schedule.target["kind"] != "study":
            return
        if now - (schedule.last_at or 0.0) < 5 * LOOK_SECONDS:
            return  # it is just being begun
        try:
            study = self._store.tasks.get(schedule.last_task)
            self._begun(study, take_up(self._workspace, study))
        except TaskNotFound:
            return
        except StoreError:
            raise
        except HpoPipelinesError as error:
            log.warning("the study of schedule %s cannot go on: %s", schedule.name, error)
            self._store.schedules.update(schedule.name, said=f"its study cannot go on: {error}", last_task=None)


def _refusal(schedule: Schedule, error: HpoPipelinesError) -> _Tried:
    log.warning("schedule %s could not fire: %s", schedule.name, error)
    return _Tried(None, f"could not fire: {error}", isinstance(error, TaskNotFound))
