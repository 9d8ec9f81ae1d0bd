"""Pickling of values that hold first-party code: by name where there is a name, by value where there is none.

The pickles are those of pickle protocol 5, with cloudpickle for what has no name. A first-party class or function is
written as ``reference(module, qualname)`` whoever writes it, and whoever reads it gets its own one, so that an instance
travels between a worker, a controller with old code and a live process.
"""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import importlib
import operator
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, ClassVar, Protocol

import cloudpickle
from cloudpickle import cloudpickle as by_value

from hpo_pipelines.snapshot.names import attribute


class Names(Protocol):
    """What the codec asks of the code that it reads and writes names of."""

    def owns(self, module: str) -> bool:
        """Whether ``module`` is one of this code's own."""
        ...

    def find(self, module: str, qualname: str) -> object:
        """What the loaded ``module`` holds there, None if there is nothing; imports nothing."""
        ...

    def module(self, name: str) -> ModuleType:
        """The module, imported if need be."""
        ...

    def resolve(self, module: str, qualname: str) -> Any:
        """What ``module`` holds there; imports it."""
        ...


def reference(module: str, qualname: str) -> Any:
    """What a first-party name stands for, for readers that know no snapshot: ``pickle.loads``."""
    return attribute(importlib.import_module(module), qualname)


def module_reference(name: str) -> ModuleType:
    """What a first-party module's name stands for, for readers that know no snapshot."""
    return importlib.import_module(name)


def inner_function(module: str, code: CodeType, cells: int) -> FunctionType:
    """A function defined inside one of ``module``'s, for readers that know no snapshot."""
    return make_inner(module_reference(module), code, cells)


def make_inner(module: ModuleType, code: CodeType, cells: int) -> FunctionType:
    """A function that runs ``code`` among the names of ``module``; its ``cells`` are still empty."""
    closure = tuple(CellType() for _ in range(cells))
    return FunctionType(code, module.__dict__, code.co_name, None, closure)


_SLOTS = ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__")


def fill_inner(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any], tuple[CellType, ...]]) -> None:
    """Give an inner function what may refer back to it: attributes, defaults, and what it closes over."""
    attributes, slots, cells = state
    function.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(function, name, value)
    for cell, filled in zip(function.__closure__ or (), cells, strict=True):
        try:
            cell.cell_contents = filled.cell_contents
        except ValueError:  # an empty cell stays empty
            continue


class Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Writes one pickle in the names of ``names``."""

    def __init__(self, names: Names, file: Any, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        self._names = names
        self._table = self._reducers()
        self._plain: set[type] = set()
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)

    def _reducers(self) -> dict[type, Any]:
        """How values of some types are taken apart."""
        return _dispatch_table(len(copyreg.dispatch_table)).copy()

    @property
    def dispatch_table(self) -> dict[type, Any]:
        return self._table

    def reducer_override(self, obj: Any) -> Any:
        # Called for every object but those of the simplest built-in types: what is common comes first.
        kind = type(obj)
        if kind in self._plain:
            return NotImplemented
        if kind is FunctionType or issubclass(kind, type):
            return self._named(obj) or self._unnamed(obj)
        if issubclass(kind, ModuleType):
            return (module_reference, (str(obj.__name__),)) if self._names.owns(obj.__name__) else NotImplemented
        if callable(obj):
            # A component, a cached function, a wrapper with its function's name: anything that a module may hold.
            return self._named(obj) or NotImplemented
        self._plain.add(kind)
        # What the pickler does anyway for a type without an entry, at less than what it costs to find no entry.
        self._table.setdefault(kind, _reduce)
        return NotImplemented

    def _named(self, obj: Any) -> Any:
        module, qualname = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(qualname, str) or not self._names.owns(module):
            return None
        if self._names.find(module, qualname) is not obj:
            return None
        # A pickle writes a string once for each object that it is: interned, equal values give equal bytes.
        return reference, (sys.intern(str(module)), sys.intern(str(qualname)))

    def _unnamed(self, obj: Any) -> Any:
        """Classes and functions that are not first-party, or are and have no name: cloudpickle tells the two apart."""
        if isinstance(obj, FunctionType):
            home = obj.__globals__.get("__name__")
            if isinstance(home, str) and self._names.owns(home):
                module = self._names.module(home)
                if module.__dict__ is obj.__globals__:
                    return self._inner(obj, str(home))
        return super().reducer_override(obj)

    def _inner(self, function: FunctionType, module: str) -> Any:
        """A function by value whose global names stay those of its module, instead of copies of some of them."""
        cells = function.__closure__ or ()
        state = (function.__dict__, {name: getattr(function, name) for name in _SLOTS}, cells)
        return inner_function, (module, function.__code__, len(cells)), state, None, None, fill_inner


_reduce = operator.methodcaller("__reduce_ex__", 5)


@functools.lru_cache(maxsize=1)
def _dispatch_table(registered: int) -> dict[type, Any]:
    """cloudpickle's reducers and those in copyreg as one dict; its own chain of two is slow for every single object."""
    return {**cloudpickle.CloudPickler.dispatch_table, **_SENTINELS}


_SENTINELS: dict[type, Callable[[Any], str]] = {
    type(getattr(dataclasses, name)): functools.partial(lambda name, _: name, name)
    for name in ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")
}
"""What the fields of a dataclass are compared with by ``is``: written as a name of :mod:`dataclasses`."""


class Unpickler(pickle.Unpickler):
    """Reads one pickle in the names of ``names``.

    ``redefine``: a class by value that this process knows already takes the definition in the pickle. Right where the
    pickle brings newer code, wrong where it brings a value, whose class may be older.
    """

    def __init__(self, names: Names, file: Any, buffers: Iterable[Any] | None = (), *, redefine: bool = False) -> None:
        super().__init__(file, buffers=buffers)
        self._names = names
        self._redefine = redefine
        self._settled: set[int] = set()

    def find_class(self, module: str, name: str) -> Any:
        made = self.substitutes.get((module, name))
        if made is not None:
            return functools.partial(made, self)
        if self._names.owns(module):
            return self._names.resolve(module, name)
        return super().find_class(module, name)

    def _reference(self, module: str, qualname: str) -> Any:
        return self._names.resolve(module, qualname)

    def _module_reference(self, name: str) -> ModuleType:
        return self._names.module(name)

    def _inner_function(self, module: str, code: CodeType, cells: int) -> FunctionType:
        return make_inner(self._names.module(module), code, cells)

    def _class(self, build: Callable[..., Any], *args: Any) -> Any:
        tracker = args[-2]
        known = by_value._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
        made = build(*args)
        if known is not None and not self._redefine:
            self._settled.add(id(made))
        return made

    def _skeleton_class(self, *args: Any) -> Any:
        return self._class(by_value._make_skeleton_class, *args)

    def _skeleton_enum(self, *args: Any) -> Any:
        return self._class(by_value._make_skeleton_enum, *args)

    def _class_state(self, cls: Any, state: Any) -> Any:
        return cls if id(cls) in self._settled else by_value._class_setstate(cls, state)

    substitutes: ClassVar[Mapping[tuple[str, str], Callable[..., Any]]] = {
        (__name__, reference.__name__): _reference,
        (__name__, module_reference.__name__): _module_reference,
        (__name__, inner_function.__name__): _inner_function,
        (by_value.__name__, by_value._make_skeleton_class.__name__): _skeleton_class,
        (by_value.__name__, by_value._make_skeleton_enum.__name__): _skeleton_enum,
        (by_value.__name__, by_value._class_setstate.__name__): _class_state,
    }
