"""What a recorded task brings into a chain: its code, its arguments, and the names that others may refer to."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo_pipelines.chain import RUN, STEP, Chain, Recorded, escaped
from hpo_pipelines.component import Component
from hpo_pipelines.engine.borrowing import Lent, component_at, place_of
from hpo_pipelines.engine.chaining import decoded, parameters_of
from hpo_pipelines.engine.keys import argument_digest
from hpo_pipelines.errors import CodeUnavailable, DefinitionError, ParameterError, TaskNotFound
from hpo_pipelines.parameters import Parameters
from hpo_pipelines.parameters.encoding import Mismatch, encode
from hpo_pipelines.pipeline import components_of, pipeline_in
from hpo_pipelines.snapshot import Content
from hpo_pipelines.standalone import Standalone
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.store.chain import last as last_attempt
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

_LATEST = re.compile(r"latest\s+of\s+(?P<name>.+)")
_MISSING = object()


@dataclass(frozen=True)
class Block:
    """A recorded task as a building block.

    ``params`` and ``inputs`` are the arguments that it had, as far as they are recorded in full; ``unrecorded`` names
    the others. ``parameters`` says how arguments are read, None where a signature is no help. ``metrics`` is None where
    it has not completed, so that nobody knows what it reports.
    """

    kind: str
    label: str
    id: str
    snapshot: str
    component: str = ""
    names: tuple[str, ...] = ()
    open: bool = False
    """Whether it takes further names (``**kwargs``)."""
    required: frozenset[str] = frozenset()
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Recorded] = field(default_factory=dict)
    unrecorded: frozenset[str] = frozenset()
    outputs: tuple[str, ...] = ()
    metrics: tuple[str, ...] | None = None
    parameters: Parameters | None = field(default=None, repr=False)
    source: str = field(default="", repr=False)
    packages: Mapping[str, str] = field(default_factory=dict, repr=False)


def block_of(workspace: Workspace, reference: str) -> Block:
    """The block that ``reference`` names: a step (``churn#12/fit``), a run (``churn#12``), a component's own run
    (``load#3``), the id of one, or ``latest of PROJECT/PIPELINE`` and ``latest of PROJECT/PIPELINE/STEP``.

    Raises TaskNotFound, CodeUnavailable, and DefinitionError for what is no block.
    """
    task = task_called(workspace, reference)
    if task.kind is Kind.STUDY:
        raise DefinitionError(f"task={reference!r} is a study; chain a step or a run of it, such as its best run.")
    if task.snapshot is None:
        raise CodeUnavailable(f"{task.label} was recorded without its code; run its pipeline again, and chain that.")
    lent = workspace.engine.borrowing.pipeline(task.snapshot, task.label)
    if task.kind is Kind.STEP:
        return _step_block(workspace, task, lent)
    if isinstance(lent.pipeline, Standalone):
        step = next((each for each in workspace.store.tasks.children(task.id) if each.kind is Kind.STEP), None)
        if step is None:
            raise DefinitionError(f"task={reference!r}: {task.label} has not called its component; run it first.")
        return _step_block(workspace, step, lent)
    return _run_block(workspace, task, lent)


def task_called(workspace: Workspace, reference: str) -> Task:
    """The recorded task that ``reference`` names, see :func:`block_of`. Raises TaskNotFound."""
    if not isinstance(reference, str):
        raise DefinitionError(f'task={reference!r}: a task is named by text, such as "churn#12/fit", or by its id.')
    latest = _LATEST.fullmatch(reference.strip())
    if latest:
        return _latest(workspace, latest["name"].strip())
    return workspace.get(re.sub(r"\s*#\s*", "#", reference.strip())).task


def _latest(workspace: Workspace, name: str) -> Task:
    """The latest completed run of ``PROJECT/PIPELINE``, or the step of it that is named behind."""
    tasks = workspace.store.tasks
    parts = name.split("/")
    for cut in range(len(parts), 1, -1):
        project, pipeline, steps = "/".join(parts[: cut - 1]), parts[cut - 1], parts[cut:]
        wanted = TaskFilter(kind=Kind.PIPELINE, project=project, pipeline=pipeline, status=Status.COMPLETED, top=True)
        found = tasks.list(wanted, limit=1)
        if found:
            return workspace.get("/".join([found[0].id, *steps])).task if steps else found[0]
    known = sorted(
        {f"{task.project}/{task.pipeline}" for task in tasks.list(TaskFilter(kind=Kind.PIPELINE), limit=1000)}
    )
    raise TaskNotFound(
        f"'latest of {name}': no completed run of that; write latest of PROJECT/PIPELINE, or "
        f"PROJECT/PIPELINE/STEP. Recorded: {', '.join(known) or 'nothing'}."
    )


def recorded_output(workspace: Workspace, text: str) -> Recorded:
    """The output that ``RUN/STEP.OUTPUT`` names (``RUN/STEP`` for the only one). Raises TaskNotFound."""
    reference, _, output = text.rpartition(".")
    for named, name in ((reference, output), (text, "value")):
        try:
            task = task_called(workspace, named) if named else None
        except TaskNotFound:
            continue
        if task is not None and task.kind is Kind.STEP:
            outputs = workspace.store.tasks.outputs(task.id)
            if name not in outputs:
                raise TaskNotFound(f"{text!r}: {named} has no output {name!r}; it has {', '.join(outputs) or 'none'}.")
            return Recorded(task.id, name, f"{_label(workspace, task)}.{name}")
    raise TaskNotFound(
        f"{text!r} is no recorded output; write RUN/STEP.OUTPUT, or a reference such as ${{STEP.outputs.NAME}}."
    )


# -- whole runs


def _run_block(workspace: Workspace, task: Task, lent: Lent) -> Block:
    pipeline = pipeline_in(lent.pipeline, task)
    store, parameters = workspace.store, pipeline.parameters
    ended = last_attempt(store.tasks, task)  # which is what a call of the pipeline gives
    children = store.tasks.children(ended.id)
    done = ended.status is Status.COMPLETED
    return Block(
        kind=RUN,
        label=_label(workspace, task),
        id=task.id,
        snapshot=lent.snapshot,
        component="" if pipeline is lent.pipeline else place_of(pipeline),
        names=parameters.names,
        open=parameters.extra is not None,
        required=frozenset(name for name, parameter in parameters.items() if parameter.required),
        params=escaped(dict(task.params)),
        outputs=tuple(name.removeprefix("value.") for name in store.tasks.outputs(ended.id)),
        metrics=tuple(store.metrics.named(ended.id, children)) if done else None,
        parameters=parameters,
        packages=_content(workspace, lent).packages,
    )


# -- steps


def _step_block(workspace: Workspace, task: Task, lent: Lent) -> Block:
    label = _label(workspace, task)
    parts = _parts(workspace, task)
    chained = _chained(workspace, task)
    place = chained.component if chained is not None else parts.get("component") or _place(lent, task, label)
    component = component_at(lent.pipeline, lent.code, place, label)
    variadic = [each.name for each in component.signature.parameters.values() if each.kind is each.VAR_POSITIONAL]
    arguments = _Arguments(workspace, task, component, parts.get("inputs", {}))
    inputs = {**arguments.inputs(), **(_kept(chained.inputs, task) if chained is not None else {})}
    params = arguments.params()
    names = [name for name in component.signature.parameters if name not in variadic]
    extra = [each.name for each in component.signature.parameters.values() if each.kind is each.VAR_KEYWORD]
    unrecorded = frozenset(task.params) - set(params) - set(inputs)
    if any("[" in name for name in unrecorded):
        raise DefinitionError(f"{label} was called with further arguments by position (*{variadic[0]}); chain its run.")
    content, metrics = _content(workspace, lent), workspace.store.metrics.latest([task.id])
    return Block(
        kind=STEP,
        label=label,
        id=task.id,
        snapshot=lent.snapshot,
        component=place,
        names=tuple(name for name in names if name not in extra),
        open=bool(extra),
        required=frozenset(_required(component)),
        params=escaped(params),
        inputs=inputs,
        unrecorded=unrecorded,
        outputs=component.form.names,
        metrics=tuple(sorted(name for _, name in metrics)) if task.status is Status.COMPLETED else None,
        parameters=parameters_of(component),
        source=content.components.get(component.name, ""),
        packages=content.packages,
    )


def _required(component: Component[..., Any]) -> Iterator[str]:
    for name, parameter in component.signature.parameters.items():
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            yield name


def _parts(workspace: Workspace, task: Task) -> Mapping[str, Any]:
    """The parts of the step's key, where its outcome is recorded for reuse."""
    entry = workspace.store.cache.lookup(task.key) if task.key is not None else None
    return {} if entry is None else entry.parts


def _chained(workspace: Workspace, task: Task) -> Any:
    """What the step is in its chain, if its run is one of a chain."""
    run = workspace.store.tasks.get(str(task.parent))
    if run.snapshot is None or run.snapshot == task.snapshot:
        return None
    pipeline = workspace.engine.borrowing.pipeline(run.snapshot, run.label).pipeline
    return pipeline.definition.step(str(task.component)) if isinstance(pipeline, Chain) else None


def _kept(inputs: Mapping[str, str | Recorded], task: Task) -> dict[str, Recorded]:
    return {name: given for name, given in inputs.items() if isinstance(given, Recorded) and name in task.params}


def _place(lent: Lent, task: Task, label: str) -> str:
    """Where the component of a step without a recorded key is: the one of its name that the body names."""
    named = {each.name: each for each in components_of(lent.pipeline)}
    if task.component not in named:
        known = ", ".join(named) or "none"
        raise CodeUnavailable(f"the component of {label} is not to be found in its code; the body names {known}.")
    return place_of(named[task.component])


class _Arguments:
    """The arguments that a step had, as far as its record has them whole.

    A record shows values as text where JSON has none; whether a value read from that is the one is said by its digest
    in the step's key.
    """

    def __init__(
        self, workspace: Workspace, task: Task, component: Component[..., Any], digests: Mapping[str, str]
    ) -> None:
        self._workspace = workspace
        self._task = task
        self._component = component
        self._digests = digests
        self._parameters = parameters_of(component)

    def inputs(self) -> dict[str, Recorded]:
        """The arguments that were outputs of other steps."""
        tasks, task = self._workspace.store.tasks, self._task
        edges = [edge for edge in tasks.edges(str(task.parent)) if edge.target == task.id and edge.kind == "data"]
        sources = tasks.get_all([edge.source for edge in edges])
        return {
            edge.input: Recorded(
                edge.source, edge.output, f"{_label(self._workspace, sources[edge.source])}.{edge.output}"
            )
            for edge in edges
            if edge.input and edge.source in sources
        }

    def params(self) -> dict[str, Any]:
        """The other arguments, as plain JSON."""
        found = {name: self._plain(name, shown) for name, shown in self._task.params.items()}
        return {name: plain for name, plain in found.items() if plain is not _MISSING}

    def _plain(self, name: str, shown: Any) -> Any:
        if isinstance(shown, Mapping):  # an output, or something that holds some
            return _MISSING
        digest = self._digests.get(name)
        for candidate in self._candidates(name, shown):
            try:
                plain = encode(candidate)
                value = decoded(self._parameters, name, plain)
            except (Mismatch, ParameterError):
                continue
            if digest is None:
                if type(value) is type(shown) and self._says_what_it_is(name, shown):
                    return plain
            elif argument_digest(name, value) == (digest, None):
                return plain
        return _MISSING

    def _candidates(self, name: str, shown: Any) -> Iterator[Any]:
        yield shown
        parameter = self._component.signature.parameters.get(name)
        if parameter is not None and parameter.default is not parameter.empty:
            yield parameter.default
        if isinstance(shown, str):
            try:
                yield ast.literal_eval(shown)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return

    def _says_what_it_is(self, name: str, shown: Any) -> bool:
        """Whether a value without a recorded digest is what it looks like: a text may be that of any object."""
        if not isinstance(shown, str):
            return True
        parameter = self._component.signature.parameters.get(name, inspect.Parameter.empty)
        annotation = getattr(parameter, "annotation", None)
        return annotation in (str, "str") and not shown.endswith("…")


# -- what both have


def _label(workspace: Workspace, task: Task) -> str:
    """What a person calls the task: ``churn#12/fit``."""
    return workspace.engine.label_of(task.id) if task.kind is Kind.STEP else task.label


def _content(workspace: Workspace, lent: Lent) -> Content:
    return Content.decode(workspace.artifacts.read_bytes(workspace.engine.snapshot_ref(lent.snapshot)))
