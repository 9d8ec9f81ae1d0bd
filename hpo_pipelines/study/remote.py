"""Studies that a server drives: started, followed and stopped from here, with the same progress and the same Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from hpo_pipelines.errors import HpoPipelinesError, StudyError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.remote.connection import Connection, error_of, quoted
from hpo_pipelines.run import Run
from hpo_pipelines.study.progress import Progress, shown
from hpo_pipelines.task import Task
from search_spaces import Space

LOOK_SECONDS = 0.2
"""Between two looks at how far the server is."""


def optimize(
    place: RemoteWorkspace,
    target: Pipeline[..., Any] | Run,
    space: Space,
    asked: Mapping[str, Any],
    progress: bool | Callable[[Progress], None] | None,
) -> Task:
    """Have the server of ``place`` begin a study, or go on with the one of its name, and follow it to its end.

    ``asked`` are the options of :func:`hpo_pipelines.optimize`. Raises StudyError for those that stay here: objects of
    Optuna, and a storage.
    """
    for what in ("sampler", "pruner"):
        if asked[what] is not None and not isinstance(asked[what], str | Mapping):
            raise StudyError(
                f"{what}={type(asked[what]).__name__}(…): an object does not travel to {place.place}; give its name, "
                'with options as in "tpe(multivariate=true)".'
            )
    if asked["storage"] is not None:
        raise StudyError(f"storage={asked['storage']!r}: {place.place} keeps its studies where it runs; leave it out.")
    if isinstance(target, Run):
        what_is_tuned = {"run": target.id}
    elif isinstance(target, Pipeline):
        what_is_tuned = place.brought(target)
    else:
        raise StudyError(f"optimize takes a pipeline or a run, not {target!r}; is it under @pipeline?")
    wanted = {name: value for name, value in asked.items() if name != "storage"}
    begun = place.server.post("/records/studies", {**what_is_tuned, "space": space.as_dict(), **wanted})
    return _followed(place, begun["id"], progress)


def refuse_functions(place: RemoteWorkspace, **given: object) -> None:
    """Raise StudyError for what would be called in the process that drives the study."""
    for name, function in given.items():
        if function is not None:
            raise StudyError(
                f"{name}=…: {place.place} drives the study, and a function of this process does not travel there; "
                "leave it out, or have a webhook of the server told: notify=NAME."
            )


def resume(
    place: RemoteWorkspace,
    study: Task,
    limits: Mapping[str, Any],
    progress: bool | Callable[[Progress], None] | None,
) -> Task:
    """Have the server go on with a recorded study, and follow it to its end."""
    place.server.post(f"/records/studies/{quoted(study.id)}/resume", dict(limits))
    return _followed(place, study.id, progress)


def enqueue(place: RemoteWorkspace, study: str, params: Mapping[str, Any]) -> bool:
    """Have the server run one more trial of a study, which it drives then."""
    place.server.post(f"/studies/{quoted(study)}/trials", {"params": dict(params)})
    return True


def continue_trial(place: RemoteWorkspace, study: str, number: int) -> bool:
    """Have the server run a trial that continues a pruned one; it drives the study then."""
    place.server.post(f"/studies/{quoted(study)}/trials/{number}/continue")
    return True


def _followed(place: RemoteWorkspace, study: str, wanted: bool | Callable[[Progress], None] | None) -> Task:
    following = _Following(place.server, study)
    with shown(wanted, following.progress) as changed:
        try:
            while following.goes_on(changed):
                pass
        except BaseException:
            following.stop(abort=True)
            raise
    if following.problem is not None:
        raise following.problem
    return place.store.tasks.get(study)


class _Following:
    """What a server says of a study that it drives."""

    def __init__(self, server: Connection, study: str) -> None:
        self._server = server
        self._path = f"/records/studies/{quoted(study)}"
        self._interrupted = False
        said = self._asked()["progress"]
        self.progress = Progress(**{**said, "began": time.monotonic() - said["began"]})
        self.problem: HpoPipelinesError | None = None
        """What ended it otherwise than by itself."""

    def goes_on(self, changed: Callable[[Progress], None]) -> bool:
        """Show how far it is, and wait a moment; whether it goes on.

        The first Ctrl-C has the server finish what runs, the second is raised.
        """
        try:
            driven = self._look(changed)
            if driven:
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            if self._interrupted:
                raise
            self._interrupted = driven = True
            self.stop(abort=False)
        return driven

    def _look(self, changed: Callable[[Progress], None]) -> bool:
        said = self._asked()
        for name, value in said["progress"].items():
            if name != "began":
                setattr(self.progress, name, value)
        changed(self.progress)
        if said["problem"] is not None:
            self.problem = error_of(500, said["problem"])
        return bool(said["driven"])

    def stop(self, *, abort: bool) -> None:
        """Have the server begin no more trials; with ``abort`` also stop those under way."""
        with suppress(HpoPipelinesError):  # it has ended meanwhile, or the server is gone
            self._server.post(f"{self._path}/stop", {"abort": abort})

    def _asked(self) -> Any:
        return self._server.get(f"{self._path}/progress")
