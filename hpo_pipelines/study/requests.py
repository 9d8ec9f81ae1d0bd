"""What is asked of a study while it runs, wherever its driver is: to stop, to have more trials, to try a point.

It stands in the study's record, which the driver looks at before each trial, and every half second. What asks and what
ends the study both lock the record first, so nothing that is asked of a running study is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.errors import ParameterError, StudyError
from hpo_pipelines.store import Store
from hpo_pipelines.study import sampling
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.samplers import exhaustive
from hpo_pipelines.types import Status

LOOK_SECONDS = 0.5
FINISH, ABORT = "finish", "abort"
_STOP, _POINTS = "stop", "enqueued"


@dataclass(frozen=True)
class Asked:
    """What a study's record asks for: ``stop`` is None, ``finish`` (what runs) or ``abort``; ``points`` are new."""

    n_trials: int | None
    stop: str | None
    points: Sequence[Mapping[str, Any]]


def stop(study: Study, *, abort: bool = False) -> None:
    """Have ``study`` end: what runs is finished or, with ``abort``, or asked a second time, aborted. It can be resumed.

    Raises StudyError if nobody drives it.
    """

    def change(params: dict[str, Any]) -> dict[str, Any]:
        return {**params, _STOP: ABORT if abort or params.get(_STOP) is not None else FINISH}

    if not is_driven(study):
        raise StudyError(f"study {study.name} is not running: there is nothing to stop.")
    if not _change(study, change):
        raise StudyError(f"study {study.name} has just ended: there is nothing to stop.")


def extend(study: Study, more: int) -> bool:
    """Have ``study`` run ``more`` trials. False if nobody drives it: then it is for the caller to resume it.

    Raises StudyError for a study that ends by itself, or that has no number of trials.
    """
    if more < 1:
        raise ParameterError(f"more={more}: a study is extended by 1 trial or more.")

    def change(params: dict[str, Any]) -> dict[str, Any]:
        return {**params, "asked": _more(study, params, more)}

    return _change(study, change)


def enqueue(study: Study, params: Mapping[str, Any]) -> bool:
    """Have ``study`` run one more trial next, with these parameters, decoded, a group's members in a dict.

    False if nobody drives it: then it is for the caller to resume it. Raises ParameterError for what is not a point
    of the space, StudyError for a study that takes no point but its own.
    """
    space = study.space
    unknown = [name for name in params if name not in {each.partition(".")[0] for each in space.order()}]
    point = sampling.enqueued(space, params)
    if unknown or point is None:
        wrong = f"{unknown[0]!r} is not in it" if unknown else "a value is missing, out of range, or infeasible"
        raise ParameterError(f"{dict(params)} is not a point of the space of {study.name}: {wrong}.")

    def change(recorded: dict[str, Any]) -> dict[str, Any]:
        points = [*recorded.get(_POINTS, ()), point]
        return {**recorded, _POINTS: points, "asked": _more(study, recorded, 1)}

    return _change(study, change)


def is_driven(study: Study) -> bool:
    """Whether a process drives ``study`` now."""
    return study.workspace.engine.liveness.is_held(f"study:{study.id}")


def _more(study: Study, params: Mapping[str, Any], more: int) -> dict[str, Any]:
    asked = dict(params.get("asked") or {})
    sampler = asked.get("sampler")
    if isinstance(sampler, str | Mapping) and "object" not in sampler and exhaustive(sampler):
        raise StudyError(f"study {study.name} takes every point of its space once ({sampler}): it has no more trials.")
    if asked.get("n_trials") is not None:
        asked["n_trials"] += more
    elif asked.get("timeout") is None:
        asked["n_trials"] = len(study.runs) + more
    return asked


def _change(study: Study, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
    """Change the record; whether somebody drives the study who sees it."""
    store = study.workspace.store
    with store.transaction():
        store.tasks.update(study.id)  # locks the row
        task = store.tasks.get(study.id)
        store.tasks.update(study.id, params=change(dict(task.params)))
        return task.status is Status.RUNNING and is_driven(study)


class Requests:
    """The driver's side: what the record of its study asks for."""

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._study = study

    def begin(self) -> None:
        """Forget an earlier request to stop."""
        with self._store.transaction():
            self._store.tasks.update(self._study)
            params = dict(self._store.tasks.get(self._study).params)
            if params.pop(_STOP, None) is not None:
                self._store.tasks.update(self._study, params=params)

    def look(self) -> Asked:
        """What is asked, the points of it for the first and last time."""
        params = self._store.tasks.get(self._study).params
        if params.get(_POINTS):
            params = self._taken()
        asked = params.get("asked") or {}
        return Asked(asked.get("n_trials"), params.get(_STOP), params.get(_POINTS) or ())

    def _taken(self) -> Mapping[str, Any]:
        with self._store.transaction():
            self._store.tasks.update(self._study)
            params = self._store.tasks.get(self._study).params
            self._store.tasks.update(self._study, params={**params, _POINTS: []})
        return params
