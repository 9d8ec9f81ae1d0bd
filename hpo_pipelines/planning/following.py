"""From a pipeline or a run to what reaches its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import ParameterError
from hpo_pipelines.parameters import Parameter, Parameters
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.planning.matrix import Reach
from hpo_pipelines.planning.planner import resolved
from hpo_pipelines.planning.reaching import Subject, reaching
from hpo_pipelines.planning.symbolic import Recorded

if TYPE_CHECKING:
    from hpo_pipelines.run import Run
    from hpo_pipelines.snapshot import Code
    from hpo_pipelines.workspace import Workspace

_PLAIN = (bool, int, float, str)


def reach(
    workspace: Workspace,
    target: Pipeline[..., Any] | Run,
    values: Mapping[str, Any] | None = None,
    *,
    params: Sequence[str] | None = None,
    domains: Mapping[str, Sequence[Any]] | None = None,
) -> Reach:
    """Which parameters reach which steps of ``target``, a pipeline or a run's recorded code; no step runs.

    ``values`` are laid over the defaults, or the run's own; ``params`` (default: all) are those that are followed,
    the others stay as they are. ``domains`` has the values that parameters may have, of those with few; for bool, Enum
    and ``Literal`` they are known.

    Raises ParameterError for names and values that do not fit, CodeUnavailable when a run's code cannot be loaded here.
    """
    pipeline, code, given = resolved(workspace, target, values or {})
    names = list(dict.fromkeys(params)) if params is not None else list(pipeline.parameters.names)
    return followed(workspace, pipeline, code, given, names, domains or {})


def followed(
    workspace: Workspace,
    pipeline: Pipeline[..., Any],
    code: Code,
    given: Mapping[str, Any],
    names: Sequence[str],
    domains: Mapping[str, Sequence[Any]],
) -> Reach:
    """:func:`reach` of a pipeline with its code."""
    bound = pipeline.parameters.bind(given)
    for name in names:
        if name not in pipeline.parameters:
            known = list(pipeline.parameters)
            raise ParameterError(f"{pipeline.name} has no parameter {name!r}; {closest(name, known)}")
    known_domains = {name: found for name in names if (found := _domain(pipeline.parameters[name], bound[name]))}
    known_domains |= {name: list(found) for name, found in domains.items() if name in names and found}
    varied = frozenset(name for name in names if _is_varied(pipeline.parameters, name, known_domains.get(name)))
    subject = Subject(Recorded(workspace.engine), pipeline, code, bound, known_domains, varied)
    return reaching(subject, list(names))


def _domain(parameter: Parameter, value: Any) -> list[Any]:
    """All values, where the type has few."""
    if isinstance(value, bool) and parameter.annotation in (bool, "bool"):
        return [False, True]
    if isinstance(value, Enum) and parameter.annotation is type(value):
        return list(type(value))
    return []


def _is_varied(parameters: Parameters, name: str, domain: Sequence[Any] | None) -> bool:
    """Whether values of several types may be given."""
    if domain:
        return len({type(value) for value in domain}) > 1
    return parameters[name].annotation not in _PLAIN
