"""``${prep.outputs.train}``: references inside the texts of a chain, parsed once.

``${STEP.…}`` names something of another step: ``outputs.NAME`` (``output`` for the only one), ``metrics.NAME``,
``params.NAME``, ``id``, ``name``, ``status``, ``url``. ``${pipeline.…}`` names a parameter of the chain, or ``id``,
``name``, ``number``, ``label``, ``project``, ``url`` of its run. ``$${`` stands for the two characters ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hpo_pipelines.errors import DefinitionError

PIPELINE = "pipeline"
"""Stands for the chain's own run in references; no step has this name."""

OF_RUN = ("id", "name", "number", "label", "project", "url")
"""What ``${pipeline.…}`` names beside parameters."""

OF_STEP = ("outputs", "output", "metrics", "params", "id", "name", "status", "url")
"""What ``${STEP.…}`` names."""

_KEYED = ("outputs", "metrics", "params")
_PIECE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Reference:
    """``kind`` of ``owner``, a step or ``pipeline``; ``name`` is what is named of it: an output, a metric, a parameter.

    Of the run, a parameter has the kind ``params``; anything else has its own word as kind, and no name.
    """

    owner: str
    kind: str
    name: str = ""

    @property
    def is_output(self) -> bool:
        return self.kind == "outputs"

    @property
    def waits(self) -> bool:
        """Whether a step has to be over before this can be had, rather than only called."""
        return self.owner != PIPELINE and self.kind in ("outputs", "metrics", "status", "id", "url")

    def __str__(self) -> str:
        inside = self.name if self.owner == PIPELINE and self.kind == "params" else f"{self.kind}.{self.name}"
        return f"${{{self.owner}.{inside.rstrip('.')}}}"


Template: TypeAlias = tuple["str | Reference", ...]
"""A text as its pieces, in order."""


def parsed(text: str) -> Template:
    """The pieces of ``text``. Raises DefinitionError for a reference that is none."""
    pieces: list[str | Reference] = []
    literal, end = "", 0
    for found in _PIECE.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        if found[0] == "$${":
            literal += "${"
        elif found[1] is None:
            raise DefinitionError(
                f"{text!r}: a reference that begins with '${{' ends with '}}'; write $${{ for the text."
            )
        else:
            pieces += [literal, reference(found[1])] if literal else [reference(found[1])]
            literal = ""
    literal += text[end:]
    return (*pieces, literal) if literal or not pieces else tuple(pieces)


def reference(inside: str) -> Reference:
    """What stands between ``${`` and ``}``. Raises DefinitionError."""
    owner, *rest = inside.strip().split(".")
    kind, name = rest[0] if rest else "", ".".join(rest[1:])
    if not _NAME.fullmatch(owner) or not kind:
        raise DefinitionError(
            f"${{{inside}}}: a reference is ${{STEP.outputs.NAME}}, or another of {', '.join(OF_STEP[2:])} of a step, "
            f"or ${{{PIPELINE}.PARAMETER}}."
        )
    if owner == PIPELINE:
        if name and kind != "params":
            raise DefinitionError(
                f"${{{inside}}}: nothing is inside {kind}; name a parameter as ${{{PIPELINE}.{kind}}}."
            )
        return Reference(owner, kind) if kind in OF_RUN and not name else Reference(owner, "params", name or kind)
    if kind not in OF_STEP:
        raise DefinitionError(f"${{{inside}}}: a step has {', '.join(OF_STEP)}, not {kind!r}.")
    if (kind in _KEYED) != bool(name):
        said = f"say which: ${{{owner}.{kind}.NAME}}" if kind in _KEYED else f"nothing is inside {kind}"
        raise DefinitionError(f"${{{inside}}}: {said}.")
    return Reference(owner, "outputs", "value") if kind == "output" else Reference(owner, kind, name)


def escaped(plain: Any) -> Any:
    """``plain`` JSON such that no text in it refers to anything."""
    return _mapped(plain, lambda text: text.replace("${", "$${"))


def references(plain: Any) -> Iterator[Reference]:
    """Every reference in the texts inside ``plain`` JSON. Raises DefinitionError."""
    for template in _templates(plain):
        yield from (piece for piece in template if isinstance(piece, Reference))


def looked_at(plain: Any) -> Iterator[Reference]:
    """Those whose step has to be over before the argument can be made: all but outputs that are passed on whole."""
    for template in _templates(plain):
        whole = len(template) == 1
        for piece in template:
            if isinstance(piece, Reference) and piece.waits and not (whole and piece.is_output):
                yield piece


def _templates(plain: Any) -> Iterator[Template]:
    if isinstance(plain, str):
        yield parsed(plain)
    elif isinstance(plain, list | tuple | Mapping):
        for item in plain.values() if isinstance(plain, Mapping) else plain:
            yield from _templates(item)


def filled(plain: Any, value_of: Callable[[Reference], Any], shown: Callable[[Reference], str]) -> Any:
    """``plain`` JSON with what its references name: as it is where one is all of a text, else as ``shown``."""

    def fill(text: str) -> Any:
        pieces = parsed(text)
        if len(pieces) == 1 and isinstance(pieces[0], Reference):
            return value_of(pieces[0])
        return "".join(shown(piece) if isinstance(piece, Reference) else piece for piece in pieces)

    return _mapped(plain, fill)


def _mapped(plain: Any, change: Callable[[str], Any]) -> Any:
    if isinstance(plain, str):
        return change(plain)
    if isinstance(plain, list | tuple):
        return [_mapped(item, change) for item in plain]
    if isinstance(plain, Mapping):
        return {key: _mapped(item, change) for key, item in plain.items()}
    return plain
