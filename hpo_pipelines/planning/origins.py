"""Values that carry the names of the parameters they come from, for bodies that are traced and never for real runs.

They stand in for the values and are no subclasses of theirs: C code that reads a subclass of ``int`` or ``str`` asks
nobody, and what it makes of it has lost its origin unseen. A stand-in it has to ask, or to refuse. So an origin goes
with arithmetic, text, containers, attributes and methods; and where a plain value is handed out, or a truth is decided,
the :class:`Watch` hears of it: what the body does from then on may depend on it.
"""

from __future__ import annotations

import copy
import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from hpo_pipelines.output import substitute

Origins = frozenset[str]


class Watch(Protocol):
    """Hears where tracking ends."""

    def escape(self, origins: Origins, how: str) -> None:
        """A plain value with these origins is in the body's hands."""

    def typed(self, origins: Origins) -> None:
        """The type of a value was asked for."""

    def decide(self, origins: Origins, truth: bool | None) -> bool:
        """Which way a body goes that asks whether a value is true, as it is by itself if ``truth`` says so."""

    def unforeseen(self, what: str) -> BaseException:
        """What is raised where a body wants to have what only running tells."""


class Traced:
    """Stands in for ``value``; see the module. Kinds of values have subclasses, so that each can what its value can."""

    __slots__ = ("_origins", "_value", "_watch")

    _value: Any
    _origins: Origins
    _watch: Watch

    __array_ufunc__ = None
    """Arrays leave arithmetic with it to this class."""

    def __init__(self, value: Any, origins: Origins, watch: Watch) -> None:
        put = object.__setattr__
        put(self, "_value", value)
        put(self, "_origins", origins)
        put(self, "_watch", watch)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        self._watch.typed(self._origins)
        return type(self._value)

    def __bool__(self) -> bool:
        return self._watch.decide(self._origins, bool(self._value))

    def __hash__(self) -> int:
        return hash(plain(self, "as a key"))

    def __str__(self) -> str:
        return str(plain(self, "as text"))

    def __repr__(self) -> str:
        return repr(plain(self, "as text"))

    def __format__(self, spec: str) -> str:
        return format(plain(self, "as text"), spec)

    def __copy__(self) -> Any:
        return carrying(copy.copy(self._value), self._origins, self._watch)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return carrying(copy.deepcopy(self._value, memo), self._origins, self._watch)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return copy.copy, (plain(self, "by pickling"),)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._value, name)
        return self._method(name, found) if callable(found) else carrying(found, self._origins, self._watch)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._value, name, self._taken(value))

    def _taken(self, value: Any) -> Any:
        """``value`` as it is put into this one."""
        object.__setattr__(self, "_origins", self._origins | origins_of(value))
        return unwrapped(value)

    def _method(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if any(callable(each) for each in (*args, *kwargs.values())):
                plain(self, f"to a function, in {name}")  # which gets the values themselves
            found = method(*self._taken(args), **self._taken(kwargs))
            return carrying(found, self._origins, self._watch)

        return call


class Number(Traced):
    """An int, a float, a bool, a complex."""

    __slots__ = ()

    def __int__(self) -> int:
        return int(plain(self, "by int()"))

    def __float__(self) -> float:
        return float(plain(self, "by float()"))

    def __complex__(self) -> complex:
        return complex(plain(self, "by complex()"))

    def __index__(self) -> int:
        return operator.index(plain(self, "as an index or a count"))


class Sized(Traced):
    """A container, or a text."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(plain(self, "by len()"))

    def __iter__(self) -> Iterator[Any]:
        for item in plain(self, "by going through its items"):
            # Keys are wanted as they are: Python takes no others as names of arguments.
            yield item if isinstance(self._value, Mapping) else carrying(item, self._origins, self._watch)

    def __contains__(self, item: Any) -> Any:
        found = unwrapped(item) in self._value
        return self._watch.decide(self._origins | origins_of(item), found)

    def __getitem__(self, key: Any) -> Any:
        return carrying(self._value[unwrapped(key)], self._origins | origins_of(key), self._watch)


class Text(Sized):
    """A str or bytes."""

    __slots__ = ()

    def __fspath__(self) -> str:
        return str(os.fspath(plain(self, "as a path")))


class Filled(Sized):
    """A list, a tuple, a dict, a set: anything with items."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._value[self._taken(key)] = self._taken(value)

    def __delitem__(self, key: Any) -> None:
        del self._value[self._taken(key)]


class Place(Traced):
    """A path."""

    __slots__ = ()

    def __fspath__(self) -> str:
        return str(os.fspath(plain(self, "as a path")))


class Unseen(Traced):
    """Stands in for what only running tells: what is made of it is unseen too, and any truth of it may be either.

    Handed out it cannot be: that raises what ``watch.escape`` is to raise for it.
    """

    __slots__ = ("_of",)

    _of: Traced | None

    def __init__(self, origins: Origins, watch: Watch, of: Traced | None = None) -> None:
        super().__init__(UNSEEN, origins, watch)
        object.__setattr__(self, "_of", of)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise self._watch.unforeseen("the type")

    def __bool__(self) -> bool:
        return self._watch.decide(self._origins, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unseen(self._origins, self._watch, of=self)

    def __setattr__(self, name: str, value: Any) -> None:
        self._taken(value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A method of what is not seen, which may put its arguments into that."""
        for each in (self, self._of):
            if each is not None:
                each._taken((args, kwargs))
        return Unseen(self._origins, self._watch)

    def __getitem__(self, key: Any) -> Any:
        return Unseen(self._origins | origins_of(key), self._watch)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._taken((key, value))

    def __iter__(self) -> Iterator[Any]:
        raise self._watch.unforeseen("the items")

    def __len__(self) -> int:
        raise self._watch.unforeseen("the length")

    def __int__(self) -> int:
        raise self._watch.unforeseen("the number")

    __float__ = __index__ = __int__


class _Nothing:
    """The value of what is not seen."""

    def __repr__(self) -> str:
        return "<not known before it has run>"


UNSEEN = _Nothing()


def carrying(value: Any, origins: Origins, watch: Watch) -> Any:
    """``value`` with its origins; None, which cannot carry any, hands them out."""
    if isinstance(value, Traced) or not origins:
        return value
    if value is None:
        watch.escape(origins, "as None, which carries no origin")
        return None
    return _kind(value)(value, origins, watch)


def _kind(value: Any) -> type[Traced]:
    if isinstance(value, int | float | complex):
        return Number
    if isinstance(value, str | bytes):
        return Text
    if isinstance(value, os.PathLike):
        return Place
    return Filled if hasattr(value, "__len__") else Traced


def is_traced(value: object) -> bool:
    """Whether ``value`` is a stand-in, asked without its being asked anything."""
    return issubclass(type(value), Traced)


def plain(value: Traced, how: str) -> Any:
    """The value of a stand-in, handed out to the body."""
    if value._value is UNSEEN:
        raise value._watch.unforeseen("the value")
    value._watch.escape(value._origins, how)
    return value._value


def unwrapped(value: Any) -> Any:
    """``value`` without its stand-ins, however deep; nobody hears of it."""
    return substitute(value, lambda traced: unwrapped(traced._value), leaf=Traced)


def origins_of(value: Any) -> Origins:
    """The origins of all stand-ins in ``value``, however deep."""
    found: set[str] = set()

    def note(traced: Traced) -> Traced:
        found.update(traced._origins, origins_of(traced._value))
        return traced

    substitute(value, note, leaf=Traced)
    return frozenset(found)


def has_unseen(value: Any) -> bool:
    """Whether something that only running tells is in ``value``, however deep."""
    found: list[bool] = []

    def note(traced: Traced) -> Traced:
        found.append(traced._value is UNSEEN or has_unseen(traced._value))
        return traced

    substitute(value, note, leaf=Traced)
    return any(found)


def watch_of(*values: Any) -> Watch | None:
    """Who hears of some stand-in among ``values``; None where there is none."""
    found: list[Watch] = []

    def note(traced: Traced) -> Traced:
        found.append(traced._watch)
        return traced

    substitute(values, note, leaf=Traced)
    return found[0] if found else None


def applied(operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What an operation makes of the plain values, carrying all of their origins."""
    watch = watch_of(args, kwargs)
    if watch is not None and has_unseen((args, kwargs)):
        return Unseen(origins_of((args, kwargs)), watch)
    made = operation(*unwrapped(args), **unwrapped(kwargs))
    return made if watch is None else carrying(made, origins_of((args, kwargs)), watch)


def _unary(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *rest: applied(operation, self, *rest)


def _reflected(operation: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: applied(operation, other, self)


_BINARY = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "xor", "or", "matmul",
)  # fmt: skip

for _name in _BINARY:
    _operation = getattr(operator, f"__{_name}__")
    setattr(Traced, f"__{_name}__", _unary(_operation))
    setattr(Traced, f"__r{_name}__", _reflected(_operation))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Traced, f"__{_name}__", _unary(getattr(operator, f"__{_name}__")))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(Number, f"__{_name}__", _unary(getattr(operator, f"__{_name}__")))
_NUMERIC: dict[str, Callable[..., Any]] = {
    "round": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "divmod": divmod,
    "rdivmod": lambda one, other: divmod(other, one),
}
for _name, _function in _NUMERIC.items():
    setattr(Number, f"__{_name}__", _unary(_function))
