"""What reaches which step of a study: its body followed before anything runs, and what its trials' keys show."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import HpoPipelinesError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning import Evidence, Reach
from hpo_pipelines.planning.following import followed
from hpo_pipelines.snapshot import Code
from hpo_pipelines.study.derivation import RunRecord
from hpo_pipelines.study.observed import recorded
from hpo_pipelines.task import Task
from hpo_pipelines.types import Status
from search_spaces import Categorical, Fixed, Int, Space

if TYPE_CHECKING:
    from hpo_pipelines.study.handle import Study
    from hpo_pipelines.workspace import Workspace

MOST_RUNS = 100
"""So many of the latest completed trials are compared, each with each."""
MOST_VALUES = 16
"""Parameters with more values are not followed value by value."""

_log = logging.getLogger(__name__)


def reach_of(study: Study) -> Reach:
    """See :meth:`Study.reach`. Raises CodeUnavailable when the study's code cannot be loaded here."""
    from hpo_pipelines.study.basis import recorded_base

    place = study.workspace
    base = recorded_base(place, study.task)
    found = tracked(place, base, study.space)
    runs = [run.task for run in study.runs if run.status is Status.COMPLETED and run.task.snapshot == base.snapshot]
    return found.with_keys(evidence([recorded(place.store, run) for run in runs[-MOST_RUNS:]], found.params))


def tracked(workspace: Workspace, base: Task, space: Space) -> Reach:
    """What reaches the steps of the pipeline of ``base``, over the values of ``space``; members of a group as one."""
    pipeline, code = workspace.code(base)
    return _followed(workspace, pipeline, code, base.params, space)


def _followed(
    workspace: Workspace, pipeline: Pipeline[..., Any], code: Code, base: Mapping[str, Any], space: Space
) -> Reach:
    # What has no default has any of the values that it may have.
    first = {name.partition(".")[0]: item.examples()[0] for name, item in space.items() if "." not in name}
    missing = {name: value for name, value in first.items() if name not in base}
    values = {**missing, **pipeline.parameters.decode(base)}
    values |= {name: item.value for name, item in space.items() if isinstance(item, Fixed) and "." not in name}
    names = list(dict.fromkeys(name.partition(".")[0] for name in space.order() if space[name].size() != 1))
    return followed(workspace, pipeline, code, values, names, _domains(space))


def _domains(space: Space) -> dict[str, list[Any]]:
    """All values of the parameters that have few."""
    found: dict[str, list[Any]] = {}
    for name, item in space.items():
        size = item.size()
        if "." not in name and size is not None and size <= MOST_VALUES and isinstance(item, Categorical | Int):
            found[name] = [sample[name] for sample in Space({name: _bare(item)}).samples()]
    return found


def _bare(item: Any) -> dict[str, Any]:
    """``item`` without the condition under which it exists."""
    return {key: value for key, value in item.as_dict().items() if key != "when"}


def evidence(runs: Sequence[RunRecord], params: Sequence[str]) -> dict[str, dict[str, Evidence]]:
    """What the keys of ``runs`` show of each step and parameter, each run compared with each."""
    values = [{name: repr(run.params.get(name)) for name in params} for run in runs]
    keys = [{step.name: step.key for step in run.steps if step.key is not None} for run in runs]
    counts: dict[str, dict[str, list[int]]] = {}
    for one, other in itertools.combinations(range(len(runs)), 2):
        varying = [name for name in params if values[one][name] != values[other][name]]
        for step in keys[one].keys() & keys[other].keys():
            row = counts.setdefault(step, {name: [0, 0] for name in params})
            if keys[one][step] == keys[other][step]:
                for name in varying:
                    row[name][0] += 1
            elif len(varying) == 1:
                row[varying[0]][1] += 1
    steps = dict.fromkeys(step.name for run in runs for step in run.steps)
    return {
        step: {name: Evidence(*counts[step][name]) if step in counts else Evidence() for name in params}
        for step in steps
    }


def foreseen_reach(workspace: Workspace, base: Task, space: Space) -> Reach | None:
    """:func:`tracked`; None where the body cannot be followed: no reason for a study not to begin."""
    try:
        return tracked(workspace, base, space)
    except HpoPipelinesError as error:
        _log.debug("what reaches which step is not known before the first trial: %s", error)
        return None
