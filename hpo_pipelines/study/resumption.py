"""``resume``: go on with a recorded study as it was asked for last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hpo_pipelines.engine.repeats import Repeats
from hpo_pipelines.engine.rungs import Ladder
from hpo_pipelines.errors import StudyError
from hpo_pipelines.remote import RemoteWorkspace
from hpo_pipelines.study import basis, remote
from hpo_pipelines.study.goals import Goals
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.limits import Limits
from hpo_pipelines.study.means import Means
from hpo_pipelines.study.progress import Progress
from hpo_pipelines.study.start import Begun, prepared
from hpo_pipelines.study.wanted import Wanted
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status, duration
from search_spaces import Space

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

_RULES = ("target", "plateau", "max_compute", "max_failures")
"""The limits that a study which has reached them would stop at again at once."""


def resume(
    workspace: Workspace,
    study: Task,
    *,
    progress: bool | Callable[[Progress], None] | None = None,
    **limits: Any,
) -> Study:
    """Go on with a recorded study as it was asked for last, with the code and the space that it has.

    ``limits``, by the names that ``optimize`` gives them (``n_trials=40``), take the place of those that were asked
    for. Raises StudyError when the study would stop at once: all of its trials are there, or the limit that ended it
    is still the same; when another process runs it; and when it had a sampler or pruner that is no name and so is not
    recorded.
    """
    if isinstance(workspace, RemoteWorkspace):
        return Study(workspace, remote.resume(workspace, study, limits, progress))
    return begin_again(workspace, study, **limits).drive(progress)


def begin_again(workspace: Workspace, study: Task, **limits: Any) -> Begun:
    """What :func:`resume` drives. Raises what that raises before anything runs."""
    given = {name: value for name, value in limits.items() if value is not None}
    for name in limits.keys() - Limits.__dataclass_fields__.keys():
        raise TypeError(f"resume() got an unexpected keyword argument {name!r}")
    for name in ("timeout", "max_compute"):
        if name in given:
            given[name] = duration(given[name])
    before = study.params.get("asked", {})
    asked = {**before, **given}
    _refuse_objects(study, asked)
    goals, space = Goals.recorded(study.params), Space(study.params["space"])
    repeats = Repeats.of_option(study.params.get("repeats"))
    ladder = Ladder.of_option(study.params.get("fidelity"))
    wanted = Wanted(study.name, goals, study.params["storage"], space, repeats, ladder)
    means = Means.asked(asked)
    known = {name: asked[name] for name in Limits.__dataclass_fields__ if name in asked}
    whole = means.limited(Limits(**known), space, goals)
    _refuse_the_end(workspace, study, whole, before)
    return prepared(Study(workspace, study), wanted, basis.recorded_base(workspace, study), whole, means)


def _refuse_objects(study: Task, asked: Mapping[str, Any]) -> None:
    for what in ("sampler", "pruner"):
        if isinstance(asked.get(what), Mapping) and "object" in asked[what]:
            raise StudyError(
                f"study {study.name} was begun with {what}={asked[what]['object']}, an object, which is not recorded. "
                f"Go on from Python: optimize(…, {what}=…, name={study.name!r})."
            )


def _refuse_the_end(workspace: Workspace, study: Task, limits: Limits, before: Mapping[str, Any]) -> None:
    """Raise StudyError if the study would stop at once."""
    if not limits.ends:
        raise StudyError(
            f"study {study.name} does not say how many trials it is to have; say it: hpo resume {study.name} -n TRIALS."
        )
    there = [run for run in Study(workspace, study).runs if run.status.finished and run.status is not Status.ABORTED]
    total = limits.n_trials
    if total is not None and len(there) >= total:
        raise StudyError(
            f"study {study.name} has its {len(there)} trials; there is nothing to resume. For more: "
            f"hpo resume {study.name} -n {len(there) + max(1, len(there) // 2)}."
        )
    rule = study.params.get("stopped_by")
    if rule in _RULES and getattr(limits, rule) == before.get(rule):
        option = rule.replace("_", "-")
        raise StudyError(
            f"study {study.name} was stopped by {rule}={before[rule]}: {study.reason}. To go on, loosen it: "
            f"hpo resume {study.name} --{option} …"
        )
