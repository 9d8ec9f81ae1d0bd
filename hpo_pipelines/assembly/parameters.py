"""The parameters of a chain, as they are declared in Python and in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_pipelines.chain import OF_RUN, REQUIRED, TYPES, ChainParameter
from hpo_pipelines.errors import DefinitionError
from hpo_pipelines.parameters.encoding import Mismatch, encode
from hpo_pipelines.parameters.shapes import closest
from hpo_pipelines.pipeline import RUN_OPTIONS

_KEYS = ("type", "default", "choices", "description")
_NAMES = {cls: name for name, cls in TYPES.items()}


def declared(parameters: Mapping[str, Any]) -> tuple[ChainParameter, ...]:
    """What ``parameters`` declares: for each name a default, a type (bool, int, float, str, list, dict) for one without
    a default, or a mapping with some of ``type``, ``default``, ``choices`` and ``description``.

    Raises DefinitionError.
    """
    return tuple(parameter(name, written) for name, written in parameters.items())


def parameter(name: str, written: Any) -> ChainParameter:
    """One parameter, see :func:`declared`."""
    if not isinstance(name, str) or not name.isidentifier() or name in RUN_OPTIONS or name in OF_RUN:
        raise DefinitionError(
            f"a parameter called {name!r}: it is called like a Python variable, and not {', '.join(RUN_OPTIONS)} "
            f"(options of run) or {', '.join(OF_RUN)} (what ${{pipeline.…}} names of a run)."
        )
    if isinstance(written, type):
        return ChainParameter(name, _type(name, _NAMES.get(written, written.__name__)))
    if isinstance(written, Mapping) and written and set(written) <= set(_KEYS):
        return _described(name, written)
    return _with_default(name, "", written, ())


def _described(name: str, written: Mapping[str, Any]) -> ChainParameter:
    choices = tuple(written.get("choices", ()))
    if not all(isinstance(choice, str | int | bool | None) for choice in choices):
        raise DefinitionError(
            f"parameter {name}: choices={list(choices)!r}: choices are texts, whole numbers or booleans."
        )
    type = written.get("type", "")
    kind = _type(name, _NAMES.get(type, "") if isinstance(type, _Class) else type) if type else ""
    default = written.get("default", REQUIRED)
    if default is REQUIRED:
        found = ChainParameter(name, kind or "any", REQUIRED, choices)
    else:
        found = _with_default(name, kind, default, choices)
    return ChainParameter(found.name, found.type, found.default, choices, str(written.get("description", "")))


_Class = type


def _with_default(name: str, kind: str, default: Any, choices: tuple[Any, ...]) -> ChainParameter:
    try:
        encode(default)
    except Mismatch as mismatch:
        raise DefinitionError(f"parameter {name}: the default {default!r:.100} is not {mismatch.expected}.") from None
    if choices and default not in choices:
        raise DefinitionError(f"parameter {name}: the default {default!r} is none of {list(choices)!r}.")
    if kind == "float" and type(default) is int:
        default = float(default)
    return ChainParameter(name, kind or _NAMES.get(type(default), "any"), default, choices)


def _type(name: str, written: str) -> str:
    if written not in TYPES:
        raise DefinitionError(f"parameter {name}: type={written!r}: {closest(str(written), list(TYPES))}")
    return written
