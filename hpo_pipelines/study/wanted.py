"""What a study is of, pinned when it begins: objectives, space, seeds; and its record in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.errors import StudyError
from hpo_pipelines.study import plans
from hpo_pipelines.study.beginning import Beginning
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.handle import find
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, new_id
from search_spaces import Space

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace


@dataclass(frozen=True)
class Wanted:
    """What a study is of, which is pinned when it begins."""

    name: str
    goals: Goals
    storage: str | None
    space: Space
    repeats: Repeats | None = None
    ladder: Ladder | None = None

    def as_params(self, base: Task) -> dict[str, Any]:
        """As it is recorded with the study."""
        return {
            **self.goals.as_params(),
            "storage": self.storage,
            "space": self.space.as_dict(),
            "space_digest": self.space.digest(),
            "base": dict(base.params),
            "repeats": None if self.repeats is None else self.repeats.as_option(),
            "fidelity": None if self.ladder is None else self.ladder.as_option(),
        }


def study_task(
    workspace: Workspace,
    base: Task,
    wanted: Wanted,
    asked: Mapping[str, Any],
    beginning: Beginning,
    *,
    allow_changes: bool,
) -> Task:
    """The study's record: the one with its name, checked against what is wanted now, or a new one.

    A new one has what is ``asked`` from the first moment: it can be resumed even if its driver never comes to begin.
    """
    params = wanted.as_params(base)
    found = find(workspace, wanted.name)
    if found is None:
        kept = {
            **params,
            "asked": dict(asked),
            **plans.taken(workspace, base, params["space_digest"]),
            **beginning.as_params(workspace, base),
        }
        return workspace.store.tasks.create(_study_over(base, wanted.name, kept))
    beginning.refuse_other(found)
    if _differs(found, base, params, allow_changes=allow_changes):
        workspace.store.tasks.update(found.id, params={**found.params, **params}, snapshot=base.snapshot)
        found = workspace.store.tasks.get(found.id)
    return beginning.added(workspace, found)


def _study_over(base: Task, name: str, params: Mapping[str, Any]) -> Task:
    return Task(
        id=new_id(),
        kind=Kind.STUDY,
        name=name,
        project=base.project,
        pipeline=base.pipeline,
        params=params,
        snapshot=base.snapshot,
        cloned_from=base.id if base.number is not None else None,
        executor=base.executor,
        git=base.git,
    )


def _differs(found: Task, base: Task, params: Mapping[str, Any], *, allow_changes: bool) -> bool:
    """Whether ``params`` over ``base`` is another study than ``found``. Raises StudyError where it may not be."""
    changed = {
        "pipeline": found.pipeline != base.pipeline,
        "code": found.snapshot != base.snapshot,
        "space": found.params["space_digest"] != params["space_digest"],
        "objective": found.params["objective"] != params["objective"],
        "direction": found.params["direction"] != params["direction"],
        "constraints": found.params.get("constraints", []) != params["constraints"],
        "repeats": found.params.get("repeats") != params["repeats"],
        "fidelity": found.params.get("fidelity") != params["fidelity"],
    }
    differing = [name for name, differs in changed.items() if differs]
    fixed = not {"direction", "pipeline"}.isdisjoint(differing)
    if fixed or (differing and not allow_changes):
        cure = "Give the study another name" + (
            "." if fixed else ", or allow_changes=True (in the shell --allow-changes)."
        )
        raise StudyError(f"study {found.name!r} was begun with another {' and '.join(differing)}. {cure}")
    return bool(differing)
