"""What a study begins with besides its space: points that go first, and trials that were run elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import StudyError
from hpo_pipelines.study import requests
from hpo_pipelines.study.imported import Pinned
from hpo_pipelines.study.origins import Origins, refuse_other
from hpo_pipelines.study.samplers import exhaustive
from hpo_pipelines.task import Task

if TYPE_CHECKING:
    from hpo_pipelines.study.options import Options
    from hpo_pipelines.workspace import Workspace

_GIVEN = "given"
"""In the study's record: the points that ``optimize`` was given, which it may be given again."""


@dataclass(frozen=True)
class Beginning:
    """``points`` as Optuna takes them, and where other trials come from."""

    pinned: Pinned
    points: tuple[Mapping[str, Any], ...] = ()
    origins: Origins | None = None

    @classmethod
    def of(cls, options: Options, pinned: Pinned) -> Beginning:
        """As it is asked for. Raises ParameterError for what is no point of the space, StudyError for a sampler that
        takes none but its own."""
        given = options.enqueue
        if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
            raise StudyError(f"enqueue={given!r}: a list of points, such as [{{'lr': 0.1}}].")
        points = tuple(requests.point_of(pinned.space, params, "this study") for params in given)
        origins = Origins.of(options.from_study, options.from_runs)
        if (points or origins is not None) and exhaustive(options.sampler):
            raise StudyError(
                f"sampler={options.sampler!r} takes every point of the space once: leave enqueue=, from_study= and "
                "from_runs= out, or take another sampler."
            )
        return cls(pinned, points, origins)

    def as_params(self, place: Workspace, base: Task) -> dict[str, Any]:
        """What is recorded with a new study over clones of ``base``. Raises what :meth:`Origins.chosen` raises."""
        brought = {} if self.origins is None else self.origins.chosen(place, base, self.pinned).as_params()
        points = [dict(point) for point in self.points]
        return {**brought, **({requests.POINTS: points, _GIVEN: points} if points else {})}

    def refuse_other(self, known: Task) -> None:
        """Raise StudyError where the study ``known`` began with other trials."""
        refuse_other(known, self.origins)

    def added(self, place: Workspace, known: Task) -> Task:
        """The study ``known`` with the points that it was not given before."""
        before = list(known.params.get(_GIVEN, ()))
        new = [dict(point) for point in self.points if dict(point) not in before]
        if not new:
            return known
        with place.store.transaction():
            place.store.tasks.update(known.id)  # locks its row
            params = place.store.tasks.get(known.id).params
            waiting = [*params.get(requests.POINTS, ()), *new]
            place.store.tasks.update(known.id, params={**params, requests.POINTS: waiting, _GIVEN: [*before, *new]})
        return place.store.tasks.get(known.id)
