"""What a run, or a study, has cost and saved, in seconds of steps' executions.

Counted are executions that have ended, each as long as its recorded attempt: what the body of a pipeline does, and
waiting for workers and between retries, is nobody's execution.

``spent``   all executions; always ``useful + wasted``
``wasted``  executions that gave nothing: failed, timed out, lost, aborted, pruned; and of a pruned run also the
            completed steps that no other step has reused
``saved``   for each reused step the execution it stands for
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

from hpo_pipelines.store import Store
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.types import Kind, Status

_CAUSES = {"StepLost": "lost", "StepTimedOut": "timeout", "StepAborted": "aborted"}
"""The word for an attempt that failed, by the type of its error; any other has ``failed``."""


@dataclass(frozen=True)
class Worked:
    """What one step did: its ended and running ``attempts``; for a reused one how long computing it took elsewhere.

    ``recorded`` is None where that is not known any more. ``pruned`` says that the whole run was, ``shared`` that
    another step has reused this one.
    """

    attempts: Sequence[Attempt] = ()
    reused: bool = False
    recorded: float | None = None
    pruned: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Accounting:
    """Seconds; ``wasted_by`` splits what was wasted by cause. ``unknown`` reused steps saved nobody knows how much."""

    spent: float = 0.0
    useful: float = 0.0
    wasted: float = 0.0
    saved: float = 0.0
    wasted_by: Mapping[str, float] = field(default_factory=dict)
    executions: int = 0
    reused: int = 0
    unknown: int = 0


def account(work: Iterable[Worked]) -> Accounting:
    """The sums over ``work``. Pure."""
    useful: list[float] = []
    wasted: dict[str, list[float]] = {}
    saved: list[float] = []
    unknown = 0
    for step in work:
        if step.reused and step.recorded is None:
            unknown += 1
        elif step.reused:
            saved.append(step.recorded or 0.0)
        for attempt in step.attempts:
            if attempt.finished_at is None:
                continue
            seconds = max(0.0, attempt.finished_at - attempt.started_at)
            cause = _cause(attempt, step)
            (useful if cause is None else wasted.setdefault(cause, [])).append(seconds)
    everything = [*useful, *(seconds for each in wasted.values() for seconds in each)]
    wasted_by = {cause: fsum(each) for cause, each in sorted(wasted.items())}
    return Accounting(
        spent=fsum(everything),
        useful=fsum(useful),
        wasted=fsum(wasted_by.values()),
        saved=fsum(saved),
        wasted_by=wasted_by,
        executions=len(everything),
        reused=len(saved) + unknown,
        unknown=unknown,
    )


def _cause(attempt: Attempt, step: Worked) -> str | None:
    """Why the execution was wasted; None for a useful one."""
    if attempt.status is Status.COMPLETED:
        return "pruned" if step.pruned and not step.shared else None
    if attempt.status is Status.FAILED:
        return _CAUSES.get((attempt.error or {}).get("type", ""), "failed")
    return "pruned" if step.pruned or attempt.status is Status.PRUNED else "aborted"


def accounting(store: Store, *tasks: Task) -> Accounting:
    """What ``tasks`` have cost and saved together: runs with those inside them, studies with all their trials.

    As recorded now: what is under way counts when it has ended. Raises StoreError.
    """
    runs = [task for task in tasks if task.kind is Kind.PIPELINE] + store.tasks.trials(
        [task.id for task in tasks if task.kind is Kind.STUDY]
    )
    below = store.tasks.below([run.id for run in runs])
    attempts = store.tasks.attempts_of([task.id for task in below if task.kind is Kind.STEP])
    return account(_work(store, runs, below, attempts))


def accounting_of(
    store: Store, run: Task, children: Sequence[Task], attempts: Mapping[str, Sequence[Attempt]]
) -> Accounting:
    """:func:`accounting` of ``run`` for who has read its ``children`` and the ``attempts`` of its steps already."""
    if any(child.kind is Kind.PIPELINE for child in children):
        return accounting(store, run)
    return account(_work(store, [run], children, attempts))


def _work(
    store: Store, runs: Sequence[Task], below: Sequence[Task], attempts: Mapping[str, Sequence[Attempt]]
) -> list[Worked]:
    whole = _whole({run.id: run.status for run in runs}, below)
    steps = [task for task in below if task.kind is Kind.STEP]
    recorded = _recorded(store, [step for step in steps if step.reused_from is not None])
    pruned = [step.id for step in steps if whole[step.id] is Status.PRUNED]
    shared = store.tasks.reused(pruned) if pruned else frozenset()
    return [
        Worked(
            attempts[step.id],
            reused=step.reused_from is not None,
            recorded=recorded.get(step.id),
            pruned=whole[step.id] is Status.PRUNED,
            shared=step.id in shared,
        )
        for step in steps
    ]


def _whole(runs: Mapping[str, Status], below: Iterable[Task]) -> dict[str, Status]:
    """The status of the outermost run around each task; ``below`` comes level by level."""
    found = dict(runs)
    for task in below:
        found[task.id] = found[task.parent or ""]
    return found


def _recorded(store: Store, reused: Sequence[Task]) -> dict[str, float]:
    """How long the execution took that each reused step stands for, as far as it is recorded anywhere.

    With the step that was executed, in the event that tells of its deletion, or with the outcome.
    """
    origins = {step.id: step.reused_from or "" for step in reused}
    seconds = executed_seconds(store, set(origins.values()))
    found = {step: seconds[origin] for step, origin in origins.items() if origin in seconds}
    rest = [step for step in reused if step.id not in found and step.key is not None]
    if rest:
        by_key = {outcome.id: outcome.seconds for outcome in store.holdings.outcomes()}
        found |= {step.id: by_key[step.key or ""] for step in rest if step.key in by_key}
    return found


def executed_seconds(store: Store, steps: Collection[str]) -> dict[str, float]:
    """How long each of these steps, by their ids, executed, deleted ones too; those where nobody knows left out."""
    found = {}
    for step, attempts in store.tasks.attempts_of(list(steps)).items():
        for attempt in attempts:
            if attempt.status is Status.COMPLETED and attempt.finished_at is not None:
                found[step] = attempt.finished_at - attempt.started_at
    lost = [step for step in steps if step not in found]
    for step, events in store.events.stories(lost).items() if lost else ():
        told = next((event.data.get("seconds") for event in events if event.kind == "deleted"), None)
        if told is not None:
            found[step] = float(told)
    return found
