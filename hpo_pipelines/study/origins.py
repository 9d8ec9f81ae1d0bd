"""Choosing the trials that a new study begins with: those of other studies, and past runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo_pipelines.errors import StudyError, TaskNotFound
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.store.chain import counting, first
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.imported import Imported, Pinned
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

ALL, TAG = "all", "tag:"
Named = str | Sequence[str] | None


@dataclass(frozen=True)
class Origins:
    """``studies`` by name, and ``runs``: references, ``tag:NAME`` or ``all`` of the pipeline."""

    studies: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    @classmethod
    def of(cls, from_study: Named, from_runs: Named) -> Origins | None:
        """As they are given to ``optimize``; None for nothing. Raises StudyError for what is no name."""
        found = cls(_names("from_study", from_study), _names("from_runs", from_runs))
        return found if found != cls() else None

    def chosen(self, place: Workspace, base: Task, pinned: Pinned) -> Imported:
        """The runs that can be trials of a study over clones of ``base``, in the order of their numbers.

        Left out are runs of another pipeline, those that differ from ``base`` in a parameter outside the space, those
        outside the space, and those without the objective. Raises StudyError for an unknown study, TaskNotFound for an
        unknown run.
        """
        taken: dict[str, None] = {}
        left_out: Counter[str] = Counter()
        for run in self._candidates(place, base):
            if run.id in taken:
                continue
            reason = _unfit(first(place.store.tasks, run.task), run.status, base, pinned)
            if reason is None and pinned.trial(run) is None:
                reason = "without the objective"
            if reason is None:
                taken[run.id] = None
            else:
                left_out[reason] += 1
        return Imported(tuple(taken), dict(left_out), self.as_wanted())

    def as_wanted(self) -> dict[str, list[str]]:
        """As it is recorded, to be compared with what is asked for later."""
        return {"from_study": list(self.studies), "from_runs": list(self.runs)}

    def _candidates(self, place: Workspace, base: Task) -> Iterator[Run]:
        for name in self.studies:
            for trial in Study.called(place, name).trials:
                yield trial.run
        for text in self.runs:
            if text != ALL and not text.startswith(TAG):
                yield place.run_called(text)
                continue
            tag = text.removeprefix(TAG) if text != ALL else None
            where = TaskFilter(
                kind=Kind.PIPELINE,
                project=base.project,
                pipeline=base.pipeline,
                status=Status.COMPLETED,
                top=True,
                tag=tag,
                archived=False,
            )
            found = place.store.tasks.list(where, limit=None)
            if tag is not None and not found:
                raise TaskNotFound(f"from_runs={text!r}: no completed run of {base.pipeline} has the tag {tag!r}.")
            for task in sorted(counting(found), key=lambda task: task.id):
                yield Run(place, task)


def refuse_other(known: Task, origins: Origins | None) -> None:
    """Raise StudyError where the study ``known`` began with other trials than those of ``origins``."""
    if origins is not None and Imported.recorded(known.params).wanted != origins.as_wanted():
        raise StudyError(
            f"study {known.name!r} has begun already, and trials are brought into a study when it begins: leave "
            "from_study= and from_runs= out, or give the study another name."
        )


def _unfit(run: Task, status: Status, base: Task, pinned: Pinned) -> str | None:
    """Why ``run``, whose last attempt has ``status``, is no trial of a study over ``base``; None if it may be one."""
    if (run.project, run.pipeline) != (base.project, base.pipeline):
        return "of another pipeline"
    if status not in (Status.COMPLETED, Status.PRUNED):
        return str(status)
    drawn = {name.partition(".")[0] for name in pinned.space}
    names = (run.params.keys() | base.params.keys()) - drawn
    # The others mean another pipeline, as it were: their values would not compare.
    differing = sorted(name for name in names if run.params.get(name) != base.params.get(name))
    if differing:
        return f"with another {differing[0]}"
    return pinned.lacking(run.params)


def _names(option: str, given: Named) -> tuple[str, ...]:
    names = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(name, str) and name for name in names):
        raise StudyError(f"{option}={given!r}: a name, or a list of names.")
    return names
