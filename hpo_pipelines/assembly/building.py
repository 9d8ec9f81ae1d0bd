"""Putting recorded tasks together: each step is checked, with all that it refers to, when it is added."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo_pipelines import context
from hpo_pipelines.assembly.blocks import Block, block_of, recorded_output
from hpo_pipelines.assembly.parameters import declared
from hpo_pipelines.chain import (
    OF_RUN,
    PIPELINE,
    Chain,
    ChainStep,
    Definition,
    Recorded,
    Reference,
    filled,
    references,
)
from hpo_pipelines.engine.chaining import decoded
from hpo_pipelines.errors import DefinitionError, HpoPipelinesError, ParameterError
from hpo_pipelines.parameters.encoding import Mismatch, encode
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.pipeline import check_titles

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace


class Assembly(Chain):
    """A chain that is being made: :meth:`add` its steps, say what it :meth:`returns`, and run it like any pipeline.

    Made by :meth:`hpo_pipelines.Pipeline.from_tasks`.
    """

    def __init__(
        self,
        name: str,
        project: str = "default",
        *,
        parameters: Mapping[str, Any] | None = None,
        workspace: Workspace | None = None,
    ) -> None:
        check_titles(project, name)
        self._workspace = workspace
        self._blocks: dict[str, Block] = {}
        super().__init__(Definition(name, project, declared(parameters or {})))

    @property
    def workspace(self) -> Workspace:
        """Where its tasks are recorded."""
        if self._workspace is None:
            self._workspace = context.defaults_module().default_workspace()
        assert self._workspace is not None, "there is a default workspace or an error"
        return self._workspace

    def add(
        self,
        name: str,
        *,
        task: str,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
        after: Sequence[str] = (),
        when: str | None = None,
    ) -> Assembly:
        """Add the step ``name``, which repeats a recorded ``task`` with the code that it had; returns the chain.

        ``task`` is a step (``"churn#12/fit"``), a run (``"churn#12"``, then a run inside), a component's own run
        (``"load#3"``), the id of one, or ``"latest of PROJECT/PIPELINE"``, also with ``/STEP`` behind. Arguments that
        are not given are those of the task: literals, and outputs of other steps as they are recorded.

        ``params`` gives arguments as values, whose texts may hold references (:mod:`hpo_pipelines.chain.references`);
        ``inputs`` gives outputs, ``"${prep.outputs.train}"``, or recorded ones, ``"churn#12/split.train"``. It waits
        for what it refers to, and for the steps named in ``after``; with ``when``
        (:mod:`hpo_pipelines.chain.condition`) it is skipped unless that holds. Of the steps before it nothing else
        holds it up.

        Raises DefinitionError for a reference, or an argument, to nothing, listing what there is; TaskNotFound and
        CodeUnavailable for the task.
        """
        self._check_name(name)
        with _naming(f"step {name!r} of the chain {self.name}"):
            with _at("task"):
                block = block_of(self.workspace, task)
            step = self._step(name, block, params or {}, inputs or {}, after, when)
            self._check(step, block)
        self._blocks[name] = block
        self.definition = self.definition.with_step(step)
        self._sources |= {name: block.source} if block.source else {}
        self._packages |= block.packages
        return self

    def returns(self, value: str | None = None, /, **values: str) -> Assembly:
        """Say what a run returns: one ``value``, or several by name, each a text with references; returns the chain.

        What refers to a step that was skipped is left out. Raises DefinitionError for a reference to nothing.
        """
        wanted = {"": value} if value is not None else values
        if value is not None and values:
            raise DefinitionError("a chain returns one value, or several by name; not both.")
        for name, text in wanted.items():
            if not isinstance(text, str):
                raise DefinitionError(
                    f"returns({name}={text!r}): it is a text with references, ${{train.outputs.auc}}."
                )
            for ref in references(text):
                self._check_reference(ref)
        self.definition = replace(self.definition, returns=dict(wanted))
        return self

    # -- one step

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name == PIPELINE:
            raise DefinitionError(
                f"a step called {name!r}: a step is called like a Python variable, and not {PIPELINE!r}, which stands "
                "for the chain's own run."
            )
        if name in self._blocks:
            raise DefinitionError(f"the chain {self.name} has a step called {name!r} already; call this one otherwise.")

    def _step(
        self,
        name: str,
        block: Block,
        params: Mapping[str, Any],
        inputs: Mapping[str, str],
        after: Sequence[str],
        when: str | None,
    ) -> ChainStep:
        after = (after,) if isinstance(after, str) else tuple(after)
        for key, given in [*(("params", name) for name in params), *(("inputs", name) for name in inputs)]:
            with _at(key, given):
                if given not in block.names and not block.open:
                    raise DefinitionError(f"{block.label} takes no {given!r}; {closest(given, list(block.names))}")
                if key == "inputs" and given in params:
                    raise DefinitionError(f"{given} is given among both params and inputs; drop one.")
        values, outputs = {}, {}
        for key, value in params.items():
            with _at("params", key):
                values[key] = _plain(key, value, block)
        for key, value in inputs.items():
            with _at("inputs", key):
                outputs[key] = self._input(key, value)
        return ChainStep(
            name,
            block.kind,
            block.label,
            block.id,
            block.snapshot,
            block.component,
            {**{key: value for key, value in block.params.items() if key not in inputs}, **values},
            {**{key: value for key, value in block.inputs.items() if key not in params}, **outputs},
            after,
            when or "",
        )

    def _input(self, name: str, value: Any) -> str | Recorded:
        if not isinstance(value, str):
            raise DefinitionError(f"inputs: {name}={value!r}: an input is a reference, ${{STEP.outputs.NAME}}.")
        if "${" not in value:
            return recorded_output(self.workspace, value)
        found = list(references(value))
        if len(found) != 1 or str(found[0]) != value.strip().replace(".output}", ".outputs.value}"):
            raise DefinitionError(f"inputs: {name}={value!r}: an input is one reference and no more text; see params.")
        if not found[0].is_output:
            raise DefinitionError(f"inputs: {name}={value!r}: an input is an output of a step; give this in params.")
        return value.strip()

    def _check(self, step: ChainStep, block: Block) -> None:
        for other in step.after:
            with _at("after"):
                self.definition.step(other)
        for key, arguments in (("params", step.params), ("inputs", step.inputs)):
            for name, given in arguments.items():
                with _at(key, name):
                    for ref in references(given if not isinstance(given, Recorded) else None):
                        self._check_reference(ref)
        with _at("when"):
            for ref in step.condition.references if step.condition else ():
                self._check_reference(ref)
        lacking = sorted((block.required | block.unrecorded) - {*step.params, *step.inputs})
        if lacking:
            known = [name for name in lacking if name in block.unrecorded]
            said = f"; what {block.label} had for {', '.join(known)} is not recorded in full" if known else ""
            raise DefinitionError(f"it needs a value for {', '.join(lacking)}{said}. Give it among params or inputs.")

    def _check_reference(self, ref: Reference) -> None:
        """Raise DefinitionError, listing what there is, for a reference to nothing."""
        if ref.owner == PIPELINE:
            known = [parameter.name for parameter in self.definition.parameters]
            if ref.kind == "params" and ref.name not in known:
                there = [*known, *OF_RUN]
                raise DefinitionError(f"{ref}: the chain has no parameter {ref.name!r}; {_known(ref.name, there)}")
            return
        step = self.definition.step(ref.owner)
        block = self._blocks[ref.owner]
        named = {
            "outputs": block.outputs,
            "metrics": block.metrics,
            "params": (*step.params, *step.inputs),
        }.get(ref.kind)
        if named is not None and ref.name not in named:
            raise DefinitionError(
                f"{ref}: {ref.owner}, which repeats {block.label}, has no {ref.kind.removesuffix('s')} {ref.name!r}; "
                f"{_known(ref.name, list(named))}"
            )


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """What is wrong inside is said of ``what``."""
    try:
        yield
    except DefinitionError as error:
        named = DefinitionError(f"{what}: {error}")
        named.__dict__.update(vars(error))
        raise named from None


@contextmanager
def _at(*path: str) -> Iterator[None]:
    """What is wrong inside is so at ``path`` in what :meth:`Assembly.add` was given: its error has it as ``path``."""
    try:
        yield
    except HpoPipelinesError as error:
        vars(error).setdefault("path", path)
        raise


def _known(name: str, there: list[str]) -> str:
    """The nearest, and all that there are."""
    near = closest(name, there)
    return near if near.startswith("known") else f"{near} Known: {', '.join(there)}."


def _plain(name: str, value: Any, block: Block) -> Any:
    """A given argument as it is recorded. Raises DefinitionError for what cannot be, or is of a wrong type."""
    try:
        plain = encode(value)
    except Mismatch as mismatch:
        raise DefinitionError(f"params: {name}={value!r:.100}: an argument is {mismatch.expected}.") from None
    if next(references(plain), None) is not None:
        if plain != value:
            raise DefinitionError(f"params: {name}={value!r:.100}: references stand in texts, lists and dicts only.")
        return plain
    try:
        decoded(block.parameters, name, filled(plain, _nothing, str))
    except (ParameterError, Mismatch) as error:
        raise DefinitionError(f"params: {error}") from None
    return plain


def _nothing(ref: Reference) -> Any:
    raise HpoPipelinesError(f"{ref} in a text without references")
