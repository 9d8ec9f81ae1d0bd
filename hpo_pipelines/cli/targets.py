"""From ``MODULE:PIPELINE`` or ``FILE.py:PIPELINE`` to the pipeline, and what to say when it is not there."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hpo_pipelines.errors import ConfigError

if TYPE_CHECKING:
    from hpo_pipelines.pipeline import Pipeline

CHAIN_FILES = (".yaml", ".yml", ".toml")
"""How files with chains end."""

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NOT_THEIRS = (_OURS, "<frozen importlib", importlib.__file__)


class ImportFailed(Exception):
    """The user's module raised ``error`` while it was imported; ``text`` is its traceback, without frames of ours."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error
        shown = traceback.TracebackException.from_exception(error)
        _leave_out_ours(shown)
        self.text = "".join(shown.format())


def _leave_out_ours(shown: traceback.TracebackException | None) -> None:
    """Drop the frames of this project and of the import system, here and in what led to it."""
    while shown is not None:
        theirs = [frame for frame in shown.stack if not frame.filename.startswith(_NOT_THEIRS)]
        shown.stack = traceback.StackSummary.from_list(theirs)
        shown = shown.__cause__ or shown.__context__


def pipeline_called(target: str) -> Pipeline[..., Any]:
    """The pipeline ``MODULE:NAME`` or ``FILE.py:NAME``; without a name, the only pipeline there.

    The name of a component stands for the pipeline of one call of it, a file that ends with .yaml for the chain in it.

    Raises ConfigError when the module, or the pipeline in it, is not there, and says what is; ImportFailed when the
    module raises.
    """
    from hpo_pipelines.component import Component
    from hpo_pipelines.pipeline import Pipeline
    from hpo_pipelines.standalone import standalone

    if target.endswith(CHAIN_FILES):
        from hpo_pipelines.assembly import load_chain
        from hpo_pipelines.cli.options import workspace

        return load_chain(target, workspace=workspace())
    place, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    if not place:
        raise ConfigError(f"{target!r}: a pipeline is named MODULE:PIPELINE or FILE.py:PIPELINE.")
    module = _module(place, target)
    there = {key: value for key, value in vars(module).items() if isinstance(value, Pipeline)}
    if name in there:
        return there[name]
    if isinstance(found := vars(module).get(name), Component):
        return standalone(found)
    if not name and len(there) == 1:
        return next(iter(there.values()))
    known = ", ".join(there) or "none"
    if not name:
        raise ConfigError(f"{target!r}: say which pipeline, as {place}:NAME; there are: {known}.")
    raise ConfigError(f"{target!r}: {place} has no pipeline {name!r}{_instead(module, name, list(there))}")


def _instead(module: ModuleType, name: str, there: list[str]) -> str:
    near = difflib.get_close_matches(name, there, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    known = f" Pipelines there: {', '.join(there) or 'none'}."
    if hasattr(module, name):
        return f": {name} there is a {type(getattr(module, name)).__name__.lower()}, not under @pipeline.{known}"
    return f".{known}"


def _module(place: str, target: str) -> ModuleType:
    path = Path(place)
    if path.suffix == ".py" or os.sep in place:
        return _file(path, target)
    if "#" in place:
        raise ConfigError(f"{target!r} is the name of a run: `hpo rerun` runs it again, `hpo clone` with changes.")
    if not all(part.isidentifier() for part in place.split(".")):
        raise ConfigError(f"{target!r}: {place!r} is no name of a module; write package.module:PIPELINE.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return _imported(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(f"{error.name}.")):
            raise ImportFailed(error) from error
        near = difflib.get_close_matches(place, [each.stem for each in Path.cwd().glob("*.py")], 1)
        hint = f"did you mean {near[0]!r}?" if near else "run hpo in the folder that has it, or give FILE.py:PIPELINE."
        raise ConfigError(f"{target!r}: there is no module {error.name!r} here; {hint}") from None
    except ImportError as error:
        raise ImportFailed(error) from error


def _file(path: Path, target: str) -> ModuleType:
    if path.is_dir():
        raise ConfigError(f"{target!r}: {path} is a folder; name a file in it.")
    if not path.is_file():
        names = [str(each) for each in sorted(path.parent.glob("*.py"))] if path.parent.is_dir() else []
        near = difflib.get_close_matches(str(path), names, 1)
        raise ConfigError(f"{target!r}: there is no file {path}" + (f"; did you mean {near[0]}?" if near else "."))
    path = path.resolve()
    # A file of a package is imported as that: its relative imports work, and its steps have the keys they have from
    # elsewhere. Its folder is on the path as well, as it is for `python FILE.py`.
    parts, root = [] if path.stem == "__init__" else [path.stem], path.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts)
    sys.path[:0] = [str(folder) for folder in dict.fromkeys((root, path.parent))]
    if not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{target!r}: {path.name} cannot be imported under the name {name!r}; rename it.")
    try:
        module = _imported(name)
    except ImportError as error:
        raise ImportFailed(error) from error
    origin = getattr(module, "__file__", None)
    if origin is None or Path(origin).resolve() != path:
        raise ConfigError(
            f"{target!r}: its module would be called {name!r}, and {origin or 'a built-in module'} is called that; "
            "rename the file."
        )
    return module


def _imported(name: str) -> ModuleType:
    """Import ``name``. Raises ImportFailed for whatever the module raises but an ImportError."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise
    except SystemExit as error:
        raise ConfigError(
            f"{name} ended the process while it was imported (exit {error.code}); put what starts it under "
            'if __name__ == "__main__".'
        ) from None
    except Exception as error:
        raise ImportFailed(error) from error
