"""From one attempt of a call to the next: the run that ends, the run that begins, and who drives that.

Both are recorded in one write, so that a crash leaves either the first attempt, whose body asks again when it is
resumed, or the second, recorded once and waiting for whoever takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine.borrowing import Lent
from hpo_pipelines.engine.deadline import deadline
from hpo_pipelines.engine.journal import lease_of
from hpo_pipelines.engine.options import ASKED, asked
from hpo_pipelines.errors import NonDeterministicBody, Retriggered
from hpo_pipelines.store import Store
from hpo_pipelines.store.chain import RETRIGGERED, first
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status

if TYPE_CHECKING:
    from hpo_pipelines.engine.controller import Controller


def driven(controller: Controller, params: Mapping[str, Any]) -> Task:
    """Drive the run, and the attempts that it asks for, one after the other; the last one's task as it ended.

    Of a run that agents drive the next attempt waits in its queue instead, and the task is that of this one.
    """
    while True:
        with deadline(controller):
            ended = controller.attempt(params)
        if controller.successor is None:
            return ended
        controller = controller.successor
        params = controller.pipeline.parameters.decode(controller.run.params)


def superseded(controller: Controller, wanted: Retriggered) -> None:
    """End the run of ``controller``, whose body has asked for another attempt, and have that follow."""
    run, parameters = controller.run, controller.pipeline.parameters
    values = parameters.bind({**parameters.decode(run.params), **wanted.params})
    if controller.outer is not None:
        _follow_inside(controller, wanted, values)
    else:
        _follow(controller, wanted, parameters.encode(values))
    if controller.successor is not None and controller.scheduler.stopping is not None:
        # Whoever stopped the run a moment ago did not know of the next one.
        controller.successor.stop(*controller.scheduler.stopping)


def since(store: Store, run: Task) -> float:
    """From when on an outcome is as new as a run that refreshes steps wants it: it, or an attempt before it, began."""
    began = first(store.tasks, run)
    return began.started_at or began.created_at


def _follow(controller: Controller, wanted: Retriggered, params: Mapping[str, Any]) -> None:
    engine, options, run = controller.engine, controller.options, controller.run
    store = engine.store
    with store.transaction():
        entry = store.queues.entry(run.id)
        controller.close(Status.COMPLETED, reason=_reason(run, wanted), error=None, trial=None)
        if controller.run.status is not Status.COMPLETED:
            return  # it was aborted meanwhile, or another process drives it by now
        waits = entry is not None and options.shared
        made = store.tasks.create(_next(run, params, Status.QUEUED if waits else Status.RUNNING))
        if entry is not None:
            # In the place that the call has had all along.
            store.queues.enter(
                made.id, entry.queue, priority=entry.priority, options=entry.options, position=entry.position
            )
        if waits:
            return
        engine.liveness.claim(lease_of(made.id), made.label)
        # What the call was asked for holds for all of its attempts.
        options = replace(options, journal=None, recalled=False)
        if asked(options):
            store.events.append(made.id, ASKED, asked(options))
    controller.successor = controller.again(made, options)


def _follow_inside(controller: Controller, wanted: Retriggered, values: Mapping[str, Any]) -> None:
    """As a further run inside the run around, or the one that its journal has there."""
    outer, run = controller.outer, controller.run
    assert outer is not None
    if controller.options.recalled and run.status is not Status.COMPLETED:
        raise NonDeterministicBody(
            f"{outer.run.label} cannot go on: its journal says that {run.label} inside it {run.status}, and its body "
            "now asks for another attempt. What a body does may depend only on its parameters and on values of steps."
        )
    with controller.engine.store.transaction():
        controller.close(Status.COMPLETED, reason=_reason(run, wanted), error=None)
        if controller.run.status is not Status.COMPLETED:
            return
        lent = Lent(controller.pipeline, controller.code, controller.run.snapshot or "")
        controller.successor = controller.engine.inside(
            outer, lent, values, name=controller.called, after=controller.run
        )
    controller.successor.outer = outer


def _next(run: Task, params: Mapping[str, Any], status: Status) -> Task:
    return run.unbegun(status=status, params=params, attempt_of=run.id, attempt=run.attempt + 1)


def _reason(run: Task, wanted: Retriggered) -> str:
    said = f"{RETRIGGERED}attempt {run.attempt + 1} of at most {wanted.max_attempts} follows"
    return f"{said} ({wanted.reason})" if wanted.reason else said
