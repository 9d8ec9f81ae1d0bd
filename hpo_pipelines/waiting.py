"""Runs that wait in queues: putting them there, who listens, and what a run waits for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine import Refresh, RunOptions
from hpo_pipelines.engine.journal import driven, lease_of
from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.errors import IllegalTransition, ParameterError
from hpo_pipelines.owner import is_gone, spoken
from hpo_pipelines.store import Store
from hpo_pipelines.store.queues import Entry
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

CONTROLLERS = "services"
"""The queue of runs that name none."""

MOST_PRIORITY = 2**31 - 1
"""What the store holds."""

_AGENT = "agent:"


@dataclass(frozen=True)
class Listening:
    """An agent that lives: the queues it takes runs from, how many it drives at most, and how many now."""

    owner: str
    queues: tuple[str, ...]
    max_runs: int
    runs: int = 0

    @property
    def lease(self) -> str:
        """The name of the lease by which others see that it lives."""
        return f"{_AGENT}{self.owner}"

    @property
    def name(self) -> str:
        """What a person calls it."""
        return spoken(self.owner)

    def note(self) -> str:
        """What its lease says of it."""
        return json.dumps({"queues": self.queues, "max_runs": self.max_runs, "runs": self.runs})


def agents(store: Store) -> list[Listening]:
    """The agents that live."""
    found = []
    for lease in store.leases.named(_AGENT):
        if not is_gone(lease.owner):
            note = json.loads(lease.note)
            found.append(Listening(lease.owner, tuple(note["queues"]), note["max_runs"], note["runs"]))
    return found


def enqueue(
    workspace: Workspace,
    run: str,
    *,
    queue: str | None = None,
    priority: int | None = None,
    options: RunOptions | None = None,
) -> Task:
    """Have the draft ``run`` wait in ``queue`` until an agent drives it; one that waits already is moved.

    What is not given stays as it is for one that waits. Raises ParameterError for a priority that is no 32-bit number,
    ConfigError for a queue that is not declared, IllegalTransition for a run that neither is a draft nor waits.
    """
    if priority is not None and abs(priority) > MOST_PRIORITY:
        raise ParameterError(f"priority={priority}: it is a number from {-MOST_PRIORITY} to {MOST_PRIORITY}.")
    store = workspace.store
    task = store.tasks.get(run)
    name = workspace.settings.queue(queue or task.queue or CONTROLLERS).name
    if task.status not in (Status.DRAFT, Status.QUEUED) or task.parent is not None:
        what = f"is {task.status}" if task.parent is None else "runs inside another run"
        raise IllegalTransition(f"{task.label} {what}: only a draft waits in a queue; clone it, and enqueue the clone.")
    with store.transaction():
        if task.status is Status.DRAFT:
            task = store.tasks.transition(run, Status.QUEUED, queue=name)
        elif workspace.engine.liveness.is_held(lease_of(run)):
            raise driven(task, workspace.engine.liveness)
        else:
            task = store.tasks.update(run, queue=name)
        entry = store.queues.entry(run)
        if priority is None:
            priority = entry.priority if entry is not None else 0
        kept = entry.options if entry is not None and options is None else recorded(options or RunOptions())
        store.queues.enter(run, name, priority=priority, options=kept)
    return task


def recorded(options: RunOptions) -> dict[str, Any]:
    """What of ``options`` waits with a run, as JSON."""
    refresh = options.refresh
    found: dict[str, Any] = {}
    if refresh != Refresh():
        found["refresh"] = {
            "everything": refresh.everything,
            "steps": sorted(refresh.steps),
            "from_steps": sorted(refresh.from_steps),
        }
    if options.repeats is not None:
        found["repeats"] = options.repeats.as_option()
    if options.ladder is not None:
        found["ladder"] = options.ladder.as_option()
    if not options.reuse:
        found["reuse"] = False
    return found


def options_of(entry: Entry) -> RunOptions:
    """How the run of ``entry`` is to be driven."""
    refresh: Mapping[str, Any] = entry.options.get("refresh", {})
    wanted = Refresh(
        refresh.get("everything", False), frozenset(refresh.get("steps", ())), frozenset(refresh.get("from_steps", ()))
    )
    return RunOptions(
        refresh=wanted,
        reuse=entry.options.get("reuse", True),
        repeats=Repeats.of_option(entry.options.get("repeats")),
        ladder=Ladder.of_option(entry.options.get("ladder")),
        echo=False,
    )


def waiting_options(store: Store, task: Task) -> RunOptions:
    """How the run ``task`` is to be driven when nobody says how: as it waits for, if it is in a queue."""
    entry = store.queues.entry(task.id) if task.status is Status.QUEUED else None
    return RunOptions() if entry is None else replace(options_of(entry), echo=True)


def waits_for(store: Store, task: Task) -> str | None:
    """Why the run ``task`` waits in its queue, for a person; None for one that does not."""
    if task.kind is not Kind.PIPELINE or task.status is not Status.QUEUED:
        return None
    entry = store.queues.entry(task.id)
    if entry is None:
        return None
    queue, state = entry.queue, store.queues.states().get(entry.queue)
    listening = [agent for agent in agents(store) if queue in agent.queues]
    if not listening:
        return f"waits: no agent listens to queue {queue}; `hpo agent --queue {shlex.quote(queue)}` starts one"
    if state is not None and state.paused:
        return f"waits: queue {queue} is paused; `hpo queues resume {_argument(queue)}` opens it"
    _, running = store.queues.counts().get(queue, (0, 0))
    if state is not None and state.capacity is not None and running >= state.capacity:
        return f"waits: queue {queue} has {running} under way, and a capacity of {state.capacity}"
    return f"waits: {_place(store.queues.ahead(entry))} in queue {queue}{_busy(listening)}"


def _argument(name: str) -> str:
    """``name`` as it stands in a shell behind a command: no option, whatever it begins with."""
    return f"-- {shlex.quote(name)}" if name.startswith("-") else shlex.quote(name)


def _place(ahead: int) -> str:
    return "next" if ahead == 0 else f"{ahead} ahead of it"


def _busy(listening: list[Listening]) -> str:
    if any(agent.runs < agent.max_runs for agent in listening):
        return ""
    most = sum(agent.max_runs for agent in listening)
    who = "its agent drives" if len(listening) == 1 else f"its {len(listening)} agents drive"
    return f"; {who} {most} run{'' if most == 1 else 's'}, as many as may be"
