"""A chain as a pipeline: recorded as a readable module that holds it as data, run by whoever traces."""

from __future__ import annotations

import pprint
import re
from collections.abc import Callable, Mapping
from typing import Any

from hpo_pipelines import context
from hpo_pipelines.chain.definition import Definition
from hpo_pipelines.errors import DefinitionError
from hpo_pipelines.pipeline import Pipeline
from hpo_pipelines.snapshot import Captured, Content, Unit, identity

_ATTRIBUTE = "chain"
"""What the recorded module calls the chain."""


class Chain(Pipeline[..., Any]):
    """Recorded tasks put together: a pipeline whose body is its ``definition``.

    Each step runs with the code that its task was recorded with, so there is no plain function to call outside a run.
    ``sources`` are texts of its steps' code to be read, ``packages`` the distributions that it uses.
    """

    def __init__(
        self,
        definition: Definition,
        *,
        sources: Mapping[str, str] | None = None,
        packages: Mapping[str, str] | None = None,
    ) -> None:
        self.definition = definition
        self._sources = dict(sources or {})
        self._packages = dict(packages or {})
        super().__init__(_body(self), project=definition.project, name=definition.name, first_party=())

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Chain:
        """The chain of a recorded module."""
        return Chain(Definition.of(data))

    def captured(self) -> Captured:
        """See :meth:`Pipeline.captured`: one module, written here. Its digest depends on the definition alone."""
        if not self.definition.steps:
            raise DefinitionError(f"the chain {self.name} has no step yet; add one.")
        module, text = source_of(self.definition)
        units = {module: Unit(text, False, f"{module}.py")}
        entry = f"{module}:{_ATTRIBUTE}"
        digest = identity(entry, units, "")
        content = Content(digest, entry, units, components=self._sources, packages=self._packages)
        return Captured(digest, entry, content.encode(), content.python, content.packages)


def source_of(definition: Definition) -> tuple[str, str]:
    """The name and the text of the module that ``definition`` is recorded as."""
    module = "chain_" + (re.sub(r"\W+", "_", definition.name, flags=re.ASCII).strip("_").lower() or "of_tasks")
    title = definition.name.replace("\\", "\\\\").replace('"', '\\"')
    written = pprint.pformat(definition.data(), width=116, sort_dicts=False)
    text = (
        f'"""The chain {title}: recorded tasks put together.\n\n'
        "Each step runs with the code that its task was recorded with, under the digest of its snapshot.\n"
        '"""\n\n'
        "from hpo_pipelines.chain import Chain\n\n"
        f"{_ATTRIBUTE} = Chain.of(\n{_indented(written)}\n)\n"
    )
    return module, text


def _indented(text: str) -> str:
    # pprint breaks long texts into pieces on lines of their own; none has a line break inside.
    return "\n".join(f"    {line}" for line in text.splitlines())


def _body(chain: Chain) -> Callable[..., Any]:
    def body(**params: Any) -> Any:
        listening = context.tracer.get()
        if listening is None:
            raise DefinitionError(
                f"{chain.name} is a chain of recorded tasks, which has no plain function: run it with .run(…)."
            )
        return listening.chain(chain.definition, params)

    body.__name__ = body.__qualname__ = chain.definition.name
    body.__signature__ = chain.definition.signature  # type: ignore[attr-defined]
    body.__doc__ = f"The chain {chain.definition.name}."
    return body
