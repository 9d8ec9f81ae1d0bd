"""An output stands in for the value a step will have.

Passing it on makes an edge and waits for nothing; looking at it (truth, comparison, arithmetic, formatting, iteration,
attribute) waits for that value alone. wrapt carries the forwarding; this module adds only what a stand-in must not
forward: in-place operators rebind instead of changing the stand-in, and copying or pickling gives the value.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import wrapt

T = TypeVar("T")


class Source(Protocol):
    """The step behind an output."""

    def look(self, name: str) -> Any:
        """Wait for the output ``name`` and return its value; raises what the step raised."""
        ...


class _Interface:
    """The special methods looked up on the type that an unseen value may turn out to have."""

    def __call__(self) -> None: ...
    def __iter__(self) -> None: ...
    def __next__(self) -> None: ...
    def __fspath__(self) -> None: ...
    def __length_hint__(self) -> None: ...


class Output(wrapt.LazyObjectProxy[Any]):
    """The output ``name`` of ``source``: behaves as its value, which is fetched when first looked at."""

    def __new__(cls, source: Source, name: str) -> Output:
        made: Output = super().__new__(cls, None, interface=_Interface)
        return made

    def __init__(self, source: Source, name: str) -> None:
        super().__init__(lambda: source.look(name), interface=_Interface)
        self._self_source = source
        self._self_name = name

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __copy__(self) -> Any:
        return copy.copy(self.__wrapped__)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.__wrapped__, memo)

    def __reduce__(self) -> Any:
        return result, (self.__wrapped__,)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


def _rebinding(operation: Callable[[Any, Any], Any]) -> Callable[[Output, Any], Any]:
    def method(self: Output, other: Any) -> Any:
        return operation(self.__wrapped__, result(other))

    return method


_IN_PLACE = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "xor", "or", "matmul",
)  # fmt: skip

# `x += 1` on a proxy would change what every other name for x sees; a plain int would not.
for _name in _IN_PLACE:
    setattr(Output, f"__i{_name}__", _rebinding(getattr(operator, f"__i{_name}__")))


def is_output(value: object) -> bool:
    """Whether ``value`` is an output, asked without looking at it."""
    return issubclass(type(value), Output)


def result(value: T) -> T:
    """The real object behind an output, waiting for it; any other value unchanged.

    Needed where a stand-in cannot pass for the value: ``result(x) is None``, ``type(result(x))``, ``json.dumps``, C
    code. Outputs inside lists, tuples, dicts, sets and dataclasses are replaced too (in a copy).
    """
    if is_output(value):
        return value.__wrapped__  # type: ignore[attr-defined,no-any-return]
    return substitute(value, lambda output: output.__wrapped__)  # type: ignore[no-any-return]


def substitute(value: Any, replace: Callable[[Any], Any], leaf: type = Output) -> Any:
    """``value`` with every ``leaf`` inside it replaced, however deep in lists, tuples, dicts, sets and dataclasses.

    Containers without a leaf are returned as they are, the same objects; the others are copied. A container that holds
    itself is left alone below its second appearance.
    """
    return _substitute(value, replace, leaf, set())


def _substitute(value: Any, replace: Callable[[Any], Any], leaf: type, above: set[int]) -> Any:
    kind = type(value)
    if issubclass(kind, leaf):
        return replace(value)
    if kind in _ATOMS or id(value) in above:
        return value
    above.add(id(value))
    try:
        return _rebuilt(value, kind, lambda item: _substitute(item, replace, leaf, above))
    finally:
        above.discard(id(value))


_ATOMS = frozenset({int, float, str, bool, bytes, type(None), complex, type})


def _rebuilt(value: Any, kind: type, inner: Callable[[Any], Any]) -> Any:
    if issubclass(kind, dict):
        items = [(inner(key), inner(item)) for key, item in value.items()]
        if _same((part for pair in value.items() for part in pair), (part for pair in items for part in pair)):
            return value
        rebuilt = copy.copy(value)
        rebuilt.clear()
        rebuilt.update(items)
        return rebuilt
    if issubclass(kind, list | tuple | set | frozenset):
        members = [inner(item) for item in value]
        if _same(value, members):
            return value
        return kind._make(members) if hasattr(kind, "_make") else kind(members)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if hasattr(value, field.name)]
        fields = [inner(getattr(value, name)) for name in names]
        if _same((getattr(value, name) for name in names), fields):
            return value
        rebuilt = copy.copy(value)
        for name, item in zip(names, fields, strict=True):
            # Not `replace`: __post_init__ has already judged these values, and must not judge their stand-ins.
            object.__setattr__(rebuilt, name, item)
        return rebuilt
    return value


def _same(before: Iterable[Any], after: Iterable[Any]) -> bool:
    return all(old is new for old, new in zip(before, after, strict=True))
