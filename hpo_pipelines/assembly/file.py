"""Chains in YAML, TOML or JSON::

    name: nightly
    project: retention
    parameters:
      size: 1000                            # a default, which says the type
      lr: {type: float, default: 0.1, description: learning rate}
    steps:
      prep:
        task: "prep-data#12/prep"
        params: {size: "${pipeline.size}"}
      train:
        task: latest of retention/churn/fit
        inputs: {data: "${prep.outputs.train}"}
        params: {note: "${prep.id} of ${pipeline.url}"}
        after: [prep]
        when: "${prep.metrics.rows} > 1000"
    returns: {auc: "${train.outputs.auc}"}

What is wrong is said with file and line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_pipelines.assembly.building import Assembly
from hpo_pipelines.errors import CodeUnavailable, ConfigError, DefinitionError, TaskNotFound
from hpo_pipelines.parameters.shapes import closest
from search_spaces.documents import Document, Format, read
from search_spaces.errors import SpaceError
from search_spaces.place import Place

if TYPE_CHECKING:
    from hpo_pipelines.workspace import Workspace

SUFFIXES: Mapping[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}

_KEYS: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    "name": ("text", str),
    "project": ("text", str),
    "parameters": ("a mapping of names to defaults", dict),
    "steps": ("a mapping of names to steps", dict),
    "returns": ("a text with references, or a mapping of names to such", (str, dict)),
}
_STEP_KEYS: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    "task": ("text, such as churn#12/fit", str),
    "params": ("a mapping of arguments to values", dict),
    "inputs": ("a mapping of arguments to references", dict),
    "after": ("a step, or a list of them", (str, list)),
    "when": ("a text, such as ${prep.metrics.rows} > 1000", str),
}


def load_chain(path: str | Path, *, workspace: Workspace | None = None) -> Assembly:
    """The chain in the file ``path``, named after that unless it says otherwise.

    Raises ConfigError for a file that cannot be read, DefinitionError with file and line for anything wrong in it, also
    for a task that is not recorded.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: a chain is in a file that ends with {', '.join(SUFFIXES)}.")
    try:
        document = read(path.read_text("utf-8"), SUFFIXES[path.suffix], str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    except SpaceError as error:
        raise DefinitionError(str(error)) from None
    return _made(document, path.stem, workspace)


def is_chain_file(path: str | Path) -> bool:
    """Whether there is a file ``path`` with the steps of a chain in it; one that cannot be read is none."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        return False
    try:
        value = read(path.read_text("utf-8"), SUFFIXES[path.suffix], str(path)).value
    except (OSError, UnicodeDecodeError, SpaceError):
        return False
    return isinstance(value, dict) and "steps" in value


def _made(document: Document, stem: str, workspace: Workspace | None) -> Assembly:
    place, value = document.place, _checked(document.value, document.place, _KEYS, "a chain")
    if not value.get("steps"):
        raise _wrong(place.at("steps"), "a chain has steps, each under its name.")
    try:
        chain = Assembly(
            value.get("name", stem),
            value.get("project", "default"),
            parameters=value.get("parameters"),
            workspace=workspace,
        )
    except DefinitionError as error:
        raise _wrong(place.at(_blamed(value, str(error))), str(error)) from None
    for name, step in value["steps"].items():
        at = place.at("steps", name)
        given = _checked(step, at, _STEP_KEYS, "a step")
        if "task" not in given:
            raise _wrong(at, "a step repeats a task; name it: task: churn#12/fit.")
        try:
            chain.add(name, **given)
        except (DefinitionError, TaskNotFound, CodeUnavailable) as error:
            raise _wrong(at.at(*getattr(error, "path", ())), str(error)) from None
    returned = value.get("returns", {})
    try:
        return chain.returns(returned) if isinstance(returned, str) else chain.returns(**returned)
    except DefinitionError as error:
        raise _wrong(place.at("returns"), str(error)) from None


def _checked(
    value: Any, place: Place, keys: Mapping[str, tuple[str, type | tuple[type, ...]]], what: str
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(place, f"{what} is a mapping with some of {', '.join(keys)}; this is {value!r:.60}.")
    for key, item in value.items():
        if key not in keys:
            raise _wrong(place.at(key), f"{what} has no {key!r}; {closest(key, list(keys))}")
        rule, kind = keys[key]
        if item is not None and not isinstance(item, kind):
            raise _wrong(place.at(key), f"{key} is {rule}; this is {item!r:.60}.")
    return {key: item for key, item in value.items() if item is not None}


def _blamed(value: Mapping[str, Any], said: str) -> str:
    return "parameters" if "parameter" in said and "parameters" in value else "name"


def _wrong(place: Place, message: str) -> DefinitionError:
    return DefinitionError(str(place.error(message)))
