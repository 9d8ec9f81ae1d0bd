"""Shapes that hold other shapes: lists, tuples, sets, dicts and dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hpo_pipelines.parameters.encoding import Mismatch, encode, tag_of
from hpo_pipelines.parameters.shapes import Shape, at, closest, is_same_class


@dataclass(frozen=True)
class Items(Shape):
    """``list[T]``, ``tuple[T, ...]``, ``set[T]``, ``frozenset[T]``; ``cls`` None is ``Sequence[T]``: list or tuple."""

    cls: type | None
    item: Shape

    @property
    def name(self) -> str:
        inner = self.item.name if self.cls is not tuple else f"{self.item.name}, ..."
        return f"{'Sequence' if self.cls is None else self.cls.__name__}[{inner}]"

    def accept(self, value: Any) -> Any:
        allowed = (list, tuple, set, frozenset) if self.cls in (set, frozenset) else (list, tuple)
        if type(value) not in allowed:
            raise Mismatch(value, self.name)
        return self._made(self.cls or type(value), self.item.accept, value)

    def exact(self, value: Any) -> bool:
        return type(value) in ((list, tuple) if self.cls is None else (self.cls,)) and all(map(self.item.exact, value))

    def decode(self, plain: Any) -> Any:
        tag = tag_of(plain)
        items = plain if tag is None else plain[tag]
        if tag not in (None, "$tuple", "$set", "$frozenset") or not isinstance(items, list):
            raise Mismatch(plain, self.name)
        return self._made(self.cls or (tuple if tag else list), self.item.decode, items)

    def _made(self, cls: type, read: Callable[[Any], Any], items: Any) -> Any:
        made = [at(f"[{index}]", read, item) for index, item in enumerate(items)]
        try:
            return cls(made)
        except TypeError as error:  # An item of a set that cannot be hashed.
            raise Mismatch(items, self.name, cure=str(error)) from None

    def describe(self) -> dict[str, Any]:
        return {"type": self.name, "items": self.item.describe()}


@dataclass(frozen=True)
class Fixed(Shape):
    """``tuple[A, B]``: so many items, each with its own type."""

    items: tuple[Shape, ...]

    @property
    def name(self) -> str:
        return f"tuple[{', '.join(item.name for item in self.items) or '()'}]"

    def accept(self, value: Any) -> Any:
        return self._made([item.accept for item in self.items], value, type(value) in (list, tuple))

    def exact(self, value: Any) -> bool:
        return (
            type(value) is tuple
            and len(value) == len(self.items)
            and all(item.exact(part) for item, part in zip(self.items, value, strict=True))
        )

    def decode(self, plain: Any) -> Any:
        items = plain["$tuple"] if tag_of(plain) == "$tuple" else plain
        return self._made([item.decode for item in self.items], items, isinstance(items, list))

    def _made(self, readers: list[Callable[[Any], Any]], items: Any, fits: bool) -> Any:
        if not fits or len(items) != len(readers):
            raise Mismatch(items, self.name)
        return tuple(at(f"[{i}]", read, item) for i, (read, item) in enumerate(zip(readers, items, strict=True)))

    def describe(self) -> dict[str, Any]:
        return {"type": self.name, "items": [item.describe() for item in self.items]}


@dataclass(frozen=True)
class Pairs(Shape):
    """``dict[K, V]``."""

    key: Shape
    item: Shape

    @property
    def name(self) -> str:
        return f"dict[{self.key.name}, {self.item.name}]"

    def accept(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Mismatch(value, self.name)
        return self._made(value.items(), self.key.accept, self.item.accept)

    def exact(self, value: Any) -> bool:
        return type(value) is dict and all(map(self.key.exact, value)) and all(map(self.item.exact, value.values()))

    def decode(self, plain: Any) -> Any:
        tag = tag_of(plain)
        if not isinstance(plain, dict) or tag not in (None, "$dict"):
            raise Mismatch(plain, self.name)
        if tag is None:
            return self._made(plain.items(), self.key.accept, self.item.decode)
        return self._made(plain["$dict"], self.key.decode, self.item.decode)

    def _made(self, pairs: Any, key: Callable[[Any], Any], item: Callable[[Any], Any]) -> dict[Any, Any]:
        return {at(f"<key {name!r}>", key, name): at(f"[{name!r}]", item, value) for name, value in pairs}

    def describe(self) -> dict[str, Any]:
        return {"type": self.name, "items": self.item.describe()}


@dataclass(frozen=True)
class Record(Shape):
    """A dataclass: an instance, or a mapping of its fields (nested ones likewise)."""

    cls: type
    shape_of: Callable[[Any, type], dict[str, Shape]] = dataclasses.field(compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.cls.__qualname__

    @cached_property
    def fields(self) -> dict[str, Shape]:
        """Shapes by field; looked at when first needed, so that a dataclass may contain itself."""
        return self.shape_of(self.cls, self.cls)

    def accept(self, value: Any) -> Any:
        if isinstance(value, self.cls):
            return value
        if isinstance(value, Mapping):
            return self._made(value, "accept")
        if is_same_class(type(value), self.cls):  # The module was loaded again since: a new class, the same fields.
            return self.decode(encode(value))
        raise Mismatch(value, self.name)

    def exact(self, value: Any) -> bool:
        return isinstance(value, self.cls)

    def decode(self, plain: Any) -> Any:
        tag = tag_of(plain)
        if not isinstance(plain, dict) or tag not in (None, "$dataclass"):
            raise Mismatch(plain, self.name)
        if tag is None:
            return self._made(plain, "decode")
        wanted = plain.get("of", self.cls.__qualname__)
        if wanted == self.cls.__qualname__:
            return self._made(plain[tag], "decode")
        heir = next((heir for heir in _heirs(self.cls) if heir.__qualname__ == wanted), None)
        if heir is None:
            raise Mismatch(plain, self.name)
        return Record(heir, self.shape_of).decode(plain)

    def _made(self, values: Mapping[str, Any], how: str) -> Any:
        for name in values:
            if name not in self.fields:
                hint = closest(str(name), list(self.fields))
                raise Mismatch(values, self.name, cure=f"{self.name} has no field {name!r}; {hint}")
        content = {name: at(f".{name}", getattr(self.fields[name], how), value) for name, value in values.items()}
        try:
            return self.cls(**content)
        except (TypeError, ValueError) as error:  # A field is missing, or the class's own __post_init__ refuses.
            raise Mismatch(values, self.name, cure=f"{error}.") from None

    def describe(self) -> dict[str, Any]:
        return {"type": self.name, "fields": {name: shape.describe() for name, shape in self.fields.items()}}


def _heirs(cls: type) -> list[type]:
    children: list[type] = type.__subclasses__(cls)
    return [heir for child in children for heir in (child, *_heirs(child))]
