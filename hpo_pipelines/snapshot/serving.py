"""The code of a snapshot in a worker: served under its own module names, through ``sys.modules``."""

from __future__ import annotations

import importlib
import importlib.abc
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from hpo_pipelines.snapshot import codec, loaded
from hpo_pipelines.snapshot.code import Code, SnapshotCode, found_in
from hpo_pipelines.snapshot.content import Content
from hpo_pipelines.snapshot.modules import Shelves, UnitLoader, hide_lines, show_lines, spec_of


class ServedCode(SnapshotCode, importlib.abc.MetaPathFinder):
    """A snapshot whose modules take the place of this process's own of the same names."""

    def __init__(self, content: Content) -> None:
        super().__init__(content)
        self._shelves = Shelves(content.modules)
        self._texts = {
            **content.texts,
            **{unit.origin: unit.source for unit in content.modules.values() if unit.origin is not None},
        }

    def owns(self, module: str) -> bool:
        return module in self.content.modules

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(name)

    def find(self, module: str, qualname: str) -> object:
        return found_in(sys.modules.get(module), qualname)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        unit = self.content.modules.get(fullname)
        if unit is None:
            return None
        if unit.is_namespace:
            # Others may have a part in it that is installed here.
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.submodule_search_locations is not None:
                return spec
        return spec_of(fullname, unit, UnitLoader(unit), self._shelves.folder(unit))

    def start(self) -> None:
        """Take the place of the process's own modules."""
        self._purge()
        show_lines(self._texts.items())
        self._shelves.put_up()
        sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Leave the process as if these modules had never been imported."""
        sys.meta_path.remove(self)
        self._shelves.take_down()
        hide_lines(self._texts)
        self._purge()

    def _purge(self) -> None:
        modules = self.content.modules
        packages = tuple(f"{name}." for name, unit in modules.items() if unit.is_package and not unit.is_namespace)
        for name in [name for name in sys.modules if name in modules or name.startswith(packages)]:
            del sys.modules[name]

    def _unpickler(self, file: Any, buffers: Iterable[Any], *, redefine: bool) -> codec.Unpickler:
        return codec.Unpickler(self, file, buffers, redefine=redefine)


_lock = threading.Lock()
_served: ServedCode | None = None


def install(content: bytes) -> Code:
    """Serve the snapshot ``content`` in this worker process from now on.

    A process serves one snapshot at a time: another one's modules are removed first, and so are modules that the
    process itself imported under the same names. Installing what is served already changes nothing.

    Raises CodeUnavailable if ``content`` is no snapshot.
    """
    global _served
    decoded = Content.decode(content)
    with _lock:
        if _served is not None and _served.digest == decoded.digest:
            return _served
        if _served is not None:
            _served.stop()
        loaded.stop_remembering()
        _served = ServedCode(decoded)
        _served.start()
        return _served
