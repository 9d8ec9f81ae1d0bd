"""Code: where the names inside pickles are looked up, and how a worker is told which component to run."""

from __future__ import annotations

import importlib
import io
import platform
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, BinaryIO

from blake3 import blake3

from hpo_pipelines.errors import CodeUnavailable
from hpo_pipelines.firstparty import is_first_party
from hpo_pipelines.snapshot import codec
from hpo_pipelines.snapshot.closure import BY_VALUE
from hpo_pipelines.snapshot.content import Content
from hpo_pipelines.snapshot.names import attribute


@dataclass(frozen=True)
class Locator:
    """How a worker finds a component: a name inside a module or, where it has none, the pickled component."""

    module: str
    qualname: str
    payload: bytes | None = None
    python: str | None = None
    """Minor version (``3.11``) whose bytecode is in ``payload``."""

    @cached_property
    def digest(self) -> str:
        """Names what :meth:`Code.locate` gives, within one snapshot."""
        return blake3(f"{self.module}:{self.qualname}".encode() + (self.payload or b"")).hexdigest()


class Code(ABC):
    """One version of the first-party code. What it loads, and what it finds inside pickles, are its own classes.

    ``digest`` is that of the snapshot, None for the code of the current process. Any thread may call any method.
    """

    digest: str | None = None

    @abstractmethod
    def owns(self, module: str) -> bool:
        """Whether ``module`` belongs to this code (and not to an installed distribution)."""

    @abstractmethod
    def module(self, name: str) -> ModuleType:
        """The module ``name``, imported if need be; modules that are not ours come from the process."""

    @abstractmethod
    def find(self, module: str, qualname: str) -> object:
        """What the loaded ``module`` holds at ``qualname``, None if it does not; imports nothing."""

    @abstractmethod
    def entry(self) -> Any:
        """The pipeline. Raises CodeUnavailable when it cannot be loaded here."""

    def resolve(self, module: str, qualname: str) -> Any:
        """What ``module`` holds at ``qualname``; imports it. Raises CodeUnavailable if either is missing."""
        try:
            found = self.module(module)
        except ImportError as error:
            raise CodeUnavailable(f"{module}:{qualname} cannot be imported in {self}: {error}") from error
        try:
            return attribute(found, qualname)
        except AttributeError as error:
            raise CodeUnavailable(
                f"Module {module} has no {qualname} in {self}; read the value with the code of the run that wrote it."
            ) from error

    def dump(self, value: object, file: BinaryIO, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        """Write ``value`` as one pickle (protocol 5); big buffers go to ``buffer_callback``, if given, uncopied.

        Raises what pickle raises for values that cannot be pickled: TypeError, PicklingError, or the value's own error.
        """
        self._pickler(file, buffer_callback).dump(value)

    def dumps(self, value: object) -> bytes:
        """``value`` as one pickle, buffers inside."""
        with io.BytesIO() as file:
            self._pickler(file, None).dump(value)
            return file.getvalue()

    def load(self, source: bytes | bytearray | memoryview | BinaryIO, buffers: Iterable[Any] = ()) -> Any:
        """The value of a pickle, whoever wrote it; ``buffers`` in the order in which ``dump`` gave them.

        Raises CodeUnavailable when it names first-party code that is not to be had here.
        """
        return self._unpickler(_file(source), buffers, redefine=False).load()

    def locate(self, locator: Locator) -> Any:
        """The component that ``locator`` leads to. Raises CodeUnavailable."""
        if locator.payload is None:
            return self.resolve(locator.module, locator.qualname)
        return self._load_code(locator.payload, f"{locator.module}:{locator.qualname}", locator.python)

    def _load_code(self, payload: bytes, name: str, python: str | None) -> Any:
        here = minor(platform.python_version())
        if python not in (None, here):
            raise CodeUnavailable(
                f"{name} has no module to be loaded from, so it travels as bytecode of Python {python}, and this is "
                f"Python {here}. Run it with Python {python}, or define it at the top level of a module."
            )
        return self._unpickler(io.BytesIO(payload), (), redefine=True).load()

    def _pickler(self, file: Any, buffer_callback: Callable[[Any], Any] | None) -> codec.Pickler:
        return codec.Pickler(self, file, buffer_callback)

    def _unpickler(self, file: Any, buffers: Iterable[Any], *, redefine: bool) -> codec.Unpickler:
        return codec.Unpickler(self, file, buffers)


class LiveCode(Code):
    """The ordinary modules of this process, as they are now. ``first_party`` as in :func:`live`."""

    def __init__(self, first_party: frozenset[str] = frozenset()) -> None:
        self._first_party = first_party

    def owns(self, module: str) -> bool:
        return str(module) not in BY_VALUE and is_first_party(module, self._first_party)

    def module(self, name: str) -> ModuleType:
        return importlib.import_module(name)

    def find(self, module: str, qualname: str) -> object:
        return found_in(sys.modules.get(module), qualname)

    def entry(self) -> Any:
        raise CodeUnavailable("The code of the current process has no one entry; use the pipeline object itself.")

    def __str__(self) -> str:
        return "the code of this process"


class SnapshotCode(Code):
    """The code of a captured snapshot."""

    def __init__(self, content: Content) -> None:
        self.digest = content.digest
        self.content = content
        self._entry: Any = None
        self._entering = threading.RLock()

    def entry(self) -> Any:
        with self._entering:
            if self._entry is None:
                self._entry = self._load_entry()
            return self._entry

    def _load_entry(self) -> Any:
        content = self.content
        if content.payload is None:
            module, _, qualname = content.entry.partition(":")
            return self.resolve(module, qualname)
        entry, names = self._load_code(content.payload, content.entry, minor(content.python))
        self._name(names)
        return entry

    def _name(self, names: Mapping[str, Any]) -> None:
        """Take note of what stood in the entry's ``__main__`` under ``names``."""

    def __str__(self) -> str:
        return f"snapshot {self.content.digest[:8]}"


_live = LiveCode()


def live(first_party: frozenset[str] = frozenset()) -> Code:
    """The code of the current process. ``first_party`` names installed modules that are the user's own code."""
    return LiveCode(first_party) if first_party else _live


def found_in(module: ModuleType | None, qualname: str) -> object:
    """What ``module`` holds at ``qualname``, None if there is nothing."""
    if module is None:
        return None
    try:
        return attribute(module, qualname)
    except AttributeError:
        return None


def component_locator(component: Any, code: Code) -> Locator:
    """How a worker that serves ``code`` finds ``component``: by name if a module holds it, else by value."""
    module, qualname = str(component.__module__), str(component.__qualname__)
    if module not in BY_VALUE and code.find(module, qualname) is component:
        return Locator(module, qualname)
    return Locator(module, qualname, code.dumps(component), minor(platform.python_version()))


def minor(python: str) -> str:
    """``3.11`` of ``3.11.7``."""
    return ".".join(python.split(".")[:2])


def _file(source: bytes | bytearray | memoryview | BinaryIO) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
