"""Values that code reaches, as text that says what they are: data by content, code by reference, the rest by name.

=========================================  =========================================================================
value                                      identity
=========================================  =========================================================================
data                                       its canonical digest (:mod:`hpo_pipelines.canonical`)
a first-party function or class            a reference to its own part
a function or class of a distribution      its module and qualified name; its version is the business of ``packages``
partial, bound method, property, cache     the functions inside, and their arguments
a container with any of these in it        its items
an instance of a first-party class         its class and its attributes (and content, for a subclass of ``list`` …)
an Enum member                             its class and name
a logger; a lock, a ContextVar; object()   its name; its type: none of them holds anything that a result depends on
a wrapper made by a library (``jit``)      its type and the first-party function that it wraps
a path inside the user's project           its place in there, so that two checkouts in different folders agree
an object of a library's Python class      its class and its attributes
anything else                              none: noted as a problem
=========================================  =========================================================================
"""

from __future__ import annotations

import contextlib
import contextvars
import copyreg
import functools
import logging
import operator
import pickle
import sys
import threading
import types
import typing
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

from blake3 import blake3

from hpo_pipelines.canonical import NotCanonical, value_digest
from hpo_pipelines.fingerprint.guards import Guards, items_of_dict, names_of, parts_of_function
from hpo_pipelines.firstparty import is_standard

_PATHS = (PurePosixPath, PureWindowsPath, type(Path()))
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), range, *_PATHS})
_SEQUENCES = (list, tuple, set, frozenset, deque)
_MAPPINGS = (dict, OrderedDict, defaultdict, types.MappingProxyType)
_CONTENT = (dict, list, tuple, set, frozenset, str, int, float, complex, bytes)
_STATELESS = (type(threading.Lock()), type(threading.RLock()), contextvars.ContextVar, threading.local)
_DESCRIPTORS = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)
_NATIVE = (types.WrapperDescriptorType, types.MethodDescriptorType)
_ALIASES = (types.GenericAlias, types.UnionType, type(typing.Optional[int]), type(typing.List[int]))  # noqa: UP006, UP045
_FORMS = (
    typing.TypeVar,
    typing.ParamSpec,
    typing.TypeVarTuple,
    typing.NewType,
    type(typing.Any),
    type(typing.Optional),
)
_DEEP = 50
"""How many objects and containers inside each other are looked into."""


class Follower(Protocol):
    """What follows the code that values lead to."""

    guards: Guards
    root: str

    def is_ours(self, module: str) -> bool:
        """Whether a module is first-party."""

    def function(self, function: types.FunctionType, at: str) -> str:
        """The name of a first-party function's part."""

    def class_(self, cls: type) -> str:
        """The name of a first-party class's part."""

    def is_compiled(self, module: str) -> bool:
        """Whether a module is first-party and made of machine code."""

    def module(self, module: types.ModuleType) -> str:
        """The name of a whole module's part, or of what a distribution installed."""

    def external(self, module: str) -> None:
        """Note that code of a distribution is used."""

    def problem(self, at: str, value: object, why: str) -> str:
        """Note a value without identity; gives what stands for it."""


class Tokens:
    """Writes values as tokens, for one :class:`Follower`. ``at`` names the place of a value for messages."""

    def __init__(self, follow: Follower) -> None:
        self._follow = follow
        self._open: set[int] = set()

    def of(self, value: Any, at: str) -> str:
        """What ``value`` is."""
        cls = type(value)
        if self.is_data(value):
            with contextlib.suppress(NotCanonical):  # It contains itself.
                return self._data(value)
        if cls is str or cls in _PATHS:
            return f"{cls.__name__} in the project: {str(value)[len(self._follow.root) :]}"
        if cls in _SEQUENCES or cls in _MAPPINGS:
            return self._once(value, at, self._container)
        for kinds, write in _WRITERS:
            if issubclass(cls, kinds):  # Not isinstance: a proxy claims to be what it stands for.
                return write(self, value, at)
        module = str(cls.__module__)
        if module.startswith("hpo_pipelines."):
            return self._own(value, at)
        origin = getattr(value, "__module__", None) if callable(value) else None
        if isinstance(origin, str) and self._follow.is_compiled(origin):  # Cython's functions, for instance.
            return f"{getattr(value, '__qualname__', cls.__qualname__)} of {self._module(sys.modules[origin], at)}"
        if isinstance(value, Enum):
            return f"member {self._class(cls, at)}.{value.name or value.value!r}"
        if cls is object:
            return "object()"
        if self.owns(cls):
            return self._once(value, at, self._instance)
        self._follow.external(module)
        return self._foreign(value, at)

    def is_data(self, value: Any) -> bool:
        """Whether ``value`` is built-in data through and through, without a path that lies inside the project."""
        pending, seen = [value], set()
        while pending:
            item = pending.pop()
            cls = type(item)
            if cls is str or cls in _PATHS:
                if self._is_inside(item):
                    return False
            elif cls in (list, tuple, set, frozenset, dict):
                if id(item) not in seen:
                    seen.add(id(item))
                    pending += item
                    pending += item.values() if cls is dict else ()
            elif cls not in _ATOMS:
                return False
        return True

    def owns(self, cls: type) -> bool:
        """Whether a class is first-party. What C code defines is, only if its module is: it may claim any name."""
        module = str(cls.__module__)
        return self._follow.is_compiled(module) if _is_native(cls) else self._follow.is_ours(module)

    def _is_inside(self, value: str | PurePath) -> bool:
        text, root = str(value), self._follow.root
        return bool(root) and text.startswith(root) and text[len(root) : len(root) + 1] in ("", "/", "\\")

    def _data(self, value: Any) -> str:
        digest = value_digest(value)
        if type(value) not in _ATOMS:
            self._follow.guards.content(value, digest)
        return f"value {digest}"

    def _once(self, value: Any, at: str, write: Callable[[Any, str], str]) -> str:
        """``write(value, at)``, unless that is under way: a value may contain itself."""
        if id(value) in self._open:
            return "itself"
        if len(self._open) >= _DEEP:
            return self._follow.problem(at, value, f"is nested more than {_DEEP} deep")
        self._open.add(id(value))
        self._follow.guards.keep(value)
        try:
            return write(value, at)
        finally:
            self._open.discard(id(value))

    def _container(self, value: Any, at: str) -> str:
        name = f"{type(value).__name__} {getattr(value, 'maxlen', '')}"
        if isinstance(value, _SEQUENCES):
            self._follow.guards.members(value, tuple)
            ordered = sorted(value, key=_place) if isinstance(value, set | frozenset) else value
            items = [self.of(item, f"{at}[{index}]") for index, item in enumerate(ordered)]
            return f"{name} {_digest(sorted(items) if isinstance(value, set | frozenset) else items)}"
        self._follow.guards.members(value, items_of_dict)
        pairs = [(self.of(key, f"{at}<key>"), self.of(item, f"{at}{_step(key)}")) for key, item in value.items()]
        factory = self.of(value.default_factory, at) if isinstance(value, defaultdict) else ""
        return f"{name} {factory} {_digest(pairs if isinstance(value, OrderedDict) else sorted(pairs))}"

    def _instance(self, value: Any, at: str) -> str:
        """An object that Python code defines: its class, and what it holds."""
        cls = type(value)
        base = _hiding(cls)
        if base is not None and base not in _CONTENT:
            return self._canonical(value, at, f"what a {base.__name__} holds cannot be seen")
        caches = {
            name
            for owner in cls.__mro__
            for name, item in vars(owner).items()
            if isinstance(item, functools.cached_property)
        }
        state = {**getattr(value, "__dict__", {}), **_slots(value)}
        if hasattr(value, "__dict__"):
            self._follow.guards.members(value, names_of)
        held = [(name, self.of(item, f"{at}.{name}")) for name, item in state.items() if name not in caches]
        content = "" if base is None else self.of(base(value), at)
        return f"instance {self._class(cls, at)} {_digest([content, *sorted(held)])}"

    def _own(self, value: Any, at: str) -> str:
        """An object of this project's: a Component or a Pipeline is its function."""
        if type(value).__module__ in ("hpo_pipelines.component", "hpo_pipelines.pipeline") and hasattr(
            value, "function"
        ):
            self._follow.guards.members(value, lambda owner: (owner.function,))
            return self.of(value.function, at)
        return self._canonical(value, at, "it is not the value of a constant")

    def _foreign(self, value: Any, at: str) -> str:
        """An object of a library's class."""
        try:
            return self._data(value)
        except NotCanonical as refusal:
            why = refusal.said
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, types.FunctionType) and self._follow.is_ours(str(wrapped.__module__)):
            return f"{self._class(type(value), at)} of {self.of(wrapped, at)}"
        if isinstance(value, operator.itemgetter | operator.attrgetter | operator.methodcaller):
            return f"{type(value).__name__} {self.of(value.__reduce__()[1:], at)}"
        if isinstance(value, types.SimpleNamespace):
            self._follow.guards.members(value, names_of)
            return f"namespace {self.of(dict(vars(value)), at)}"
        if _hiding(type(value)) in (None, *_CONTENT):
            return self._once(value, at, self._instance)
        name = _global_name(value)
        return f"external {name}" if name else self._follow.problem(at, value, why)

    def _canonical(self, value: Any, at: str, why: str) -> str:
        try:
            return f"{self._class(type(value), at)} {self._data(value)}"
        except NotCanonical:
            return self._follow.problem(at, value, why)

    def _function(self, value: types.FunctionType, at: str) -> str:
        module = str(value.__globals__.get("__name__", value.__module__))
        if self._follow.is_ours(module):
            return f"function {self._follow.function(value, at)}"
        self._follow.external(module)
        self._follow.guards.members(value, parts_of_function)
        return self._once(value, at, self._library_function)

    def _library_function(self, value: types.FunctionType, at: str) -> str:
        """By name, if the library has it under that; else what its maker put into it counts, such as a rate."""
        module, qualname = str(value.__globals__.get("__name__")), value.__code__.co_qualname
        held = list(parts_of_function(value)[1:])
        if self._leads_home(value):  # A wrapper around the user's own: what it keeps for itself is its business.
            standard = is_standard(module)
            held = [item for item in held if self._is_inner(item) or (not standard and self.is_data(item))]
        else:
            known = _by_name(value.__module__, value.__qualname__) is value
            module, made_as = str(value.__module__), "" if known else f" {qualname}"
            qualname = value.__qualname__ + made_as
            held = list(filter(self._is_inner, held)) if known else held
        inner = [value.__dict__.get("__wrapped__"), value.__dict__.get("registry")]
        held += [item for item in inner if item is not None and self._leads_home(item)]
        return f"external {module}:{qualname} {_digest([self.of(item, at) for item in held]) if held else ''}"

    def _is_inner(self, value: Any) -> bool:
        return isinstance(value, types.FunctionType) and self._leads_home(value)

    def _leads_home(self, value: Any) -> bool:
        if isinstance(value, types.MappingProxyType):
            return any(map(self._leads_home, value.values()))
        return self._follow.is_ours(str(getattr(unwrapped(value), "__module__", "") or "builtins"))

    def _class(self, cls: type, at: str = "") -> str:
        module = str(cls.__module__)
        if self.owns(cls):
            return f"class {self._follow.class_(cls)}"
        self._follow.external(module)
        return f"external {module}:{cls.__qualname__}"

    def _module(self, value: types.ModuleType, at: str) -> str:
        return f"module {self._follow.module(value)}"

    def _builtin(self, value: types.BuiltinFunctionType, at: str) -> str:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType | type):
            module = str(value.__module__ or getattr(owner, "__module__", None) or "builtins")
            if self._follow.is_compiled(module):
                return f"{value.__qualname__} of {self._module(sys.modules[module], at)}"
            self._follow.external(module)
            return f"external {module}:{value.__qualname__}"
        return f"method {value.__name__} of {self.of(owner, at)}"

    def _method(self, value: types.MethodType, at: str) -> str:
        return f"method {self.of(value.__func__, at)} of {self.of(value.__self__, at)}"

    def _partial(self, value: Any, at: str) -> str:
        self._follow.guards.members(value, lambda owner: (owner.func, *owner.args, *owner.keywords.values()))
        inner = (value.func, value.args, dict(value.keywords))
        return f"{type(value).__name__} {_digest([self.of(item, at) for item in inner])}"

    def _property(self, value: property, at: str) -> str:
        return f"property {_digest([self.of(item, at) for item in (value.fget, value.fset, value.fdel)])}"

    def _wrapper(self, value: Any, at: str) -> str:
        names = ("dispatcher", "__wrapped__", "func", "__func__")
        inner = next(filter(None, (getattr(value, name, None) for name in names)), None)
        return f"{type(value).__name__} {self.of(inner, at)}"

    def _logger(self, value: Any, at: str) -> str:
        return f"logger {value.name}"

    def _stateless(self, value: Any, at: str) -> str:
        return f"a {type(value).__name__}"

    def _alias(self, value: Any, at: str) -> str:
        origin, arguments = typing.get_origin(value), typing.get_args(value)
        return f"type {self.of(origin, at)} {_digest([self.of(argument, at) for argument in arguments])}"

    def _form(self, value: Any, at: str) -> str:
        return f"type {value!r} {self.of(getattr(value, '__supertype__', None), at)}"


def _digest(tokens: object) -> str:
    """Tokens inside a token stand there by their digest: quoting them would double the quotes at every level."""
    return blake3(repr(tokens).encode("utf-8", "surrogatepass")).hexdigest()


def _step(key: object) -> str:
    return f"[{key!r:.40}]" if isinstance(key, str | int) else f"[a {type(key).__name__}]"


def _by_name(module: object, qualname: str) -> object:
    """What a module that is imported has under a name."""
    found: object = sys.modules.get(str(module))
    for name in qualname.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    return found


def _global_name(value: object) -> str:
    """The name by which a library's object pickles itself, if it does: ``numpy:sqrt``."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        name = value.__reduce_ex__(2) if reduce is None else reduce(value)
        return f"{pickle.whichmodule(value, name)}:{name}" if isinstance(name, str) else ""  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - somebody's __reduce__, of something that cannot be pickled
        return ""


def _place(item: object) -> tuple[str, str, int, str]:
    """An order for the items of a set, so that the names of what is in there are the same in every process."""
    code = getattr(unwrapped(item), "__code__", None)
    if isinstance(code, types.CodeType):
        return str(item.__module__), code.co_qualname, code.co_firstlineno, str(list(code.co_positions())[-1:])
    return "", type(item).__qualname__, 0, ""


def unwrapped(value: Any) -> Any:
    """What ``value`` wraps in the end."""
    seen = set()
    while hasattr(value, "__wrapped__") and id(value) not in seen:
        seen.add(id(value))
        value = value.__wrapped__
    return value


def _is_native(cls: type) -> bool:
    """Whether C code defines a class: only then it has methods of these kinds of its own."""
    return any(isinstance(value, _NATIVE) for value in vars(cls).values())


def _hiding(cls: type) -> Any:
    """The base of ``cls`` whose objects hold something that Python does not show, None if there is none."""
    return next((base for base in cls.__mro__ if base is not object and _is_native(base)), None)


def _slots(value: Any) -> dict[str, Any]:
    found = {}
    for owner in type(value).__mro__:
        names = vars(owner).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return found


_WRITERS: tuple[tuple[Any, Callable[[Tokens, Any, str], str]], ...] = (
    (types.FunctionType, Tokens._function),
    (_ALIASES, Tokens._alias),
    (type, lambda tokens, value, at: tokens._class(value, at)),
    (types.ModuleType, Tokens._module),
    (types.BuiltinFunctionType, Tokens._builtin),
    (types.MethodType, Tokens._method),
    ((functools.partial, functools.partialmethod), Tokens._partial),
    (property, Tokens._property),
    (
        (
            staticmethod,
            classmethod,
            functools.cached_property,
            functools.singledispatchmethod,
            type(functools.lru_cache(maxsize=1)(lambda: None)),
        ),
        Tokens._wrapper,
    ),
    ((logging.Logger, logging.LoggerAdapter), Tokens._logger),
    ((*_STATELESS, *_DESCRIPTORS), Tokens._stateless),
    (_FORMS, Tokens._form),
)
"""By kind; the first that fits. GenericAlias comes before type, of which ``list[int]`` claims to be an instance."""
