"""What is asked of a study while it runs, wherever its driver is: to stop, to have more trials, to try a point.

It stands in the study's record, which the driver looks at before each trial, and every half second. What asks and what
ends the study both lock the record first, so nothing that is asked of a running study is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.errors import ParameterError, StudyError
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.store import Store
from hpo_pipelines.study import continuing, remote, sampling
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.samplers import exhaustive
from hpo_pipelines.types import Status
from search_spaces import Fixed, Space
from search_spaces.groups import flattened

LOOK_SECONDS = 0.5
FINISH, ABORT = "finish", "abort"
_STOP, POINTS, _CONTINUED = "stop", "enqueued", "to_continue"


@dataclass(frozen=True)
class Asked:
    """What a study's record asks for: ``stop`` is None, ``finish`` (what runs) or ``abort``; ``points`` are new,
    and so are the numbers of the trials that are ``continued``."""

    n_trials: int | None
    stop: str | None
    points: Sequence[Mapping[str, Any]]
    continued: Sequence[int] = ()


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
    point = point_of(study.space, params, study.name)
    if isinstance(study.workspace, RemoteWorkspace):
        return remote.enqueue(study.workspace, study.id, params)

    def change(recorded: dict[str, Any]) -> dict[str, Any]:
        points = [*recorded.get(POINTS, ()), point]
        return {**recorded, POINTS: points, "asked": _more(study, recorded, 1)}

    return _change(study, change)


def point_of(space: Space, params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``params`` as Optuna takes them. Raises ParameterError for what is not a point of ``space``, the study
    ``name``'s."""
    if not isinstance(params, Mapping):
        raise ParameterError(f"{params!r} is not a point of the space of {name}: a mapping has a value for each name.")
    known = {each.partition(".")[0] for each in space.order()}
    unknown = [each for each in params if each not in known]
    point = None if unknown else sampling.enqueued(space, params)
    if point is None:
        wrong = f"{unknown[0]!r} is not in it" if unknown else _wrong(space, params)
        raise ParameterError(f"{dict(params)} is not a point of the space of {name}: {wrong}.")
    return point


def _wrong(space: Space, params: Mapping[str, Any]) -> str:
    """What keeps ``params`` from being a point of ``space``."""
    given = flattened(space, params)
    values: dict[str, Any] = {}
    for each in space.order():
        item = space[each]
        if not space.is_active(each, values):
            continue
        if not isinstance(item, Fixed) and each not in given:
            return f"{each} is missing"
        values[each] = item.value if isinstance(item, Fixed) else getattr(given[each], "value", given[each])
        if not item.contains(values[each]):
            return f"{each} is {item!r}, not {values[each]!r}"
    return f"it violates {' and '.join(space.violated(values))}"


def continue_trial(study: Study, number: int) -> bool:
    """Have ``study`` run one more trial next that continues trial ``number``, which was pruned.

    It has its parameters, takes what that has computed, and nothing prunes it; of a study with ``fidelity`` it climbs
    to the top. False if nobody drives the study: then it is for the caller to resume it. Raises StudyError for a trial
    that was not pruned, or is continued already.
    """

    if isinstance(study.workspace, RemoteWorkspace):
        return remote.continue_trial(study.workspace, study.id, number)

    def change(recorded: dict[str, Any]) -> dict[str, Any]:
        waiting = list(recorded.get(_CONTINUED, ()))
        continuing.check(study, number, waiting)
        return {**recorded, _CONTINUED: [*waiting, number], "asked": _more(study, recorded, 1)}

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
        if params.get(POINTS) or params.get(_CONTINUED):
            params = self._taken()
        asked = params.get("asked") or {}
        return Asked(asked.get("n_trials"), params.get(_STOP), params.get(POINTS) or (), params.get(_CONTINUED) or ())

    def _taken(self) -> Mapping[str, Any]:
        with self._store.transaction():
            self._store.tasks.update(self._study)
            params = self._store.tasks.get(self._study).params
            self._store.tasks.update(self._study, params={**params, POINTS: [], _CONTINUED: []})
        return params
