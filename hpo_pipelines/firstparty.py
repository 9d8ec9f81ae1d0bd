"""Which modules are the user's own code, which belong to installed distributions, and what their text is.

A module is *first-party* when it belongs neither to the standard library nor to an installed distribution. A
distribution installed from a folder or a repository (``pip install ./features``, ``pip install -e .``,
``pip install git+https://…``) is first-party too, and so is whatever ``extra`` names. This project itself never is.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import linecache
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

_OURS = frozenset({"hpo_pipelines", "search_spaces"})
_SCRIPTS = ("__main__", "__mp_main__")
_STANDARD = frozenset(sys.stdlib_module_names) | frozenset(sys.builtin_module_names)
_STANDARD_FOLDER = os.path.dirname(os.__file__) + os.sep
_INSTALLED_FOLDERS = ("site-packages", "dist-packages")
_RUNS = re.compile(r"[-_.]+")
_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)


@dataclass(frozen=True)
class Distribution:
    """An installed distribution: normalised name (``scikit-learn``), version, and its metadata folder."""

    name: str
    version: str
    folder: Path

    @property
    def first_party(self) -> bool:
        """Whether it was installed from a folder or a repository (PEP 610's ``direct_url.json``).

        A local archive is a mirror of an index more often than somebody's own code, and what conda built always
        names the folder in which it was built: neither makes a distribution first-party.
        """
        try:
            origin = json.loads((self.folder / "direct_url.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return ("dir_info" in origin or "vcs_info" in origin) and self._installer() != "conda"

    def _installer(self) -> str:
        try:
            return (self.folder / "INSTALLER").read_text("utf-8").strip()
        except OSError:
            return ""


def is_first_party(module: str | ModuleType, extra: Collection[str] = frozenset()) -> bool:
    """Whether ``module`` (or its name, dotted) is the user's own code.

    ``extra`` names further modules or distributions to count as first-party. ``__main__``, and names that nothing
    importable has (a notebook's, a module made by hand), are first-party. Nothing is imported to find out.
    """
    name = str(module if isinstance(module, str) else module.__name__)
    top = name.partition(".")[0]
    if top in _OURS or top == "builtins":
        return False
    if name in _SCRIPTS:
        return True  # Also under a launcher such as `python -m pytest`: what it holds was defined here and now.
    file = _file_of(name)
    if extra and _is_named(name, file, frozenset(extra)):
        return True
    return _verdict(name, file)


def is_standard(name: str) -> bool:
    """Whether the module called ``name`` is part of Python (and not a file of the user's that shadows it)."""
    top = name.partition(".")[0]
    if top not in _STANDARD or top == "__main__":
        return False
    file = _file_of(name)
    if file is None or file.endswith(_COMPILED):
        return True
    return file.startswith(_STANDARD_FOLDER) and not any(part in file for part in _INSTALLED_FOLDERS)


def distribution_of(name: str) -> Distribution | None:
    """The installed distribution that the module called ``name`` belongs to, None if there is none."""
    file = _file_of(name)
    return None if file is None or is_standard(name) else _owner(name, file)


def distributions_of(modules: Iterable[str | ModuleType]) -> dict[str, str]:
    """``{distribution: version}`` of the installed distributions that ``modules`` (or their names) belong to.

    Modules of the standard library, of this project and of no distribution are left out.
    """
    found = {}
    for module in modules:
        name = str(module if isinstance(module, str) else module.__name__)
        owner = None if name.partition(".")[0] in _OURS else distribution_of(name)
        if owner is not None:
            found[owner.name] = owner.version
    return dict(sorted(found.items()))


def module_source(module: ModuleType) -> str | None:
    """The text of ``module``: what its loader gives, else what was registered in ``linecache``.

    For ``__main__`` in a notebook: the cells that define its functions, in the order in which they ran. None when
    there is no text, as for a compiled module. A file edited since it was imported gives the edited text.
    """
    get_source = getattr(getattr(module, "__loader__", None), "get_source", None)
    if get_source is not None:
        try:
            text = get_source(module.__name__)
        except (ImportError, OSError, SyntaxError, UnicodeDecodeError):
            text = None
        if isinstance(text, str):
            return text
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return "".join(linecache.getlines(file, vars(module))) or None
    cells = dict.fromkeys(code.co_filename for code in _codes_in(module))
    order = {name: place for place, name in enumerate(linecache.cache)}
    texts = ["".join(linecache.getlines(name)) for name in sorted(cells, key=lambda name: order.get(name, -1))]
    return "\n".join(text for text in texts if text) or None


def _codes_in(module: ModuleType) -> Iterable[CodeType]:
    for value in list(vars(module).values()):
        members = vars(value).values() if isinstance(value, type) else (getattr(value, "function", value),)
        for member in members:
            if isinstance(member, FunctionType) and member.__globals__ is vars(module):
                yield member.__code__


def _file_of(name: str) -> str | None:
    """The file of the module ``name`` or, while that is not imported, of the nearest of its packages that is."""
    prefix = name
    while prefix:
        file = getattr(sys.modules.get(prefix), "__file__", None)
        if isinstance(file, str):
            return file
        prefix = prefix.rpartition(".")[0]
    return _unloaded_file(name, tuple(sys.path))


@lru_cache(maxsize=1024)
def _unloaded_file(name: str, path: tuple[str, ...]) -> str | None:
    """Where a module that is not imported would come from, by this ``sys.path``; nothing is imported to find out."""
    prefix, _, rest = name.partition(".")
    try:
        spec = importlib.util.find_spec(prefix)
    except (ImportError, ValueError):
        return None
    folders = list(path)
    while spec is not None and not spec.has_location and rest and spec.submodule_search_locations is not None:
        step, _, rest = rest.partition(".")
        prefix = f"{prefix}.{step}"
        folders = _folders(spec.submodule_search_locations, folders, spec.name.rpartition(".")[2])
        spec = importlib.machinery.PathFinder.find_spec(prefix, folders)
    return spec.origin if spec is not None and spec.has_location else None


def _folders(known: Iterable[str], above: list[str], name: str) -> list[str]:
    try:
        return list(known)
    except KeyError:  # a namespace package asks the one above it, which is not imported
        return [folder for each in above if os.path.isdir(folder := os.path.join(each, name))]


@lru_cache(maxsize=4096)
def _verdict(name: str, file: str | None) -> bool:
    if is_standard(name):
        return False
    owner = None if file is None else _owner(name, file)
    return owner is None or owner.first_party


def _is_named(name: str, file: str | None, extra: frozenset[str]) -> bool:
    if any(name == prefix or name.startswith(f"{prefix}.") for prefix in extra):
        return True
    owner = None if file is None or is_standard(name) else _owner(name, file)
    return owner is not None and owner.name in {_normal(wanted) for wanted in extra}


def _normal(distribution: str) -> str:
    """PEP 503's normal form of a distribution's name."""
    return _RUNS.sub("-", distribution).lower()


def _owner(name: str, file: str) -> Distribution | None:
    """The distribution whose installed files hold ``file``, looked for in the folder that ``name`` is imported from."""
    parts = Path(file).parts
    for depth in range(name.count(".") + 1, -1, -1):
        if len(parts) > depth + 1:
            folder, relative = Path(*parts[: -depth - 1]), "/".join(parts[-depth - 1 :])
            if _metadata_folders(str(folder)):
                return _holder(str(folder), relative)
    return None


@lru_cache(maxsize=1024)
def _metadata_folders(folder: str) -> Mapping[str, str]:
    """Metadata folders by distribution (normalised name) in one folder of ``sys.path``."""
    # A project's own folder holds an egg-info as soon as it was installed for development: not an installed copy.
    endings = (".dist-info", ".egg-info") if folder.endswith(_INSTALLED_FOLDERS) else (".dist-info",)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {_normal(name.partition("-")[0]): os.path.join(folder, name) for name in names if name.endswith(endings)}


@lru_cache(maxsize=4096)
def _holder(folder: str, relative: str) -> Distribution | None:
    top = relative.partition("/")[0].partition(".")[0]
    wanted = _normal(top)
    # Names mostly resemble what they install (scikit-learn: sklearn); every RECORD that need not be read saves time.
    candidates = _metadata_folders(folder)
    likely = sorted(candidates, key=lambda name: (name != wanted, wanted not in name, name[-4:] != wanted[-4:]))
    for path in map(candidates.__getitem__, likely):
        if _holds(path, relative, top):
            name, _, version = os.path.basename(path).rpartition(".")[0].partition("-")
            return Distribution(_normal(name), version.partition("-py")[0], Path(path))
    return None


def _holds(metadata: str, relative: str, top: str) -> bool:
    """Whether a distribution lists ``relative`` (RECORD) or, where distributors strip that, its top-level name."""
    record = _read(os.path.join(metadata, "RECORD"))
    if record is not None:
        line = relative.encode() + b","
        return record.startswith(line) or b"\n" + line in record
    names = _read(os.path.join(metadata, "top_level.txt"))
    return names is not None and top.encode() in names.split()


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
