"""What values an annotation admits, and how they are read from text and from JSON: a frozen ``Shape`` for each."""

from __future__ import annotations

import difflib
import json
import numbers
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum
from pathlib import PurePath
from typing import Any

from hpo_pipelines.parameters.encoding import JSONABLE, Mismatch, decode, encode, tag_of


def closest(name: str, known: list[str]) -> str:
    """``did you mean 'lr'?`` for a misspelt ``name``, else the list of what is ``known``."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}."


class Shape(ABC):
    """What one annotation admits."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The type as a person writes it: ``float``, ``list[int]``, ``Color``."""

    @abstractmethod
    def accept(self, value: Any) -> Any:
        """``value`` as this type, converted where nothing is lost by it. Raises Mismatch."""

    @abstractmethod
    def exact(self, value: Any) -> bool:
        """Whether ``value`` has this type already."""

    def parse(self, text: str) -> Any:
        """The value of ``text`` from a command line: JSON unless a type says otherwise. Raises Mismatch."""
        try:
            plain = json.loads(text)
        except ValueError:
            raise Mismatch(text, self.name, cure=f"Write {self.name} as JSON.") from None
        return self.decode(plain)

    def decode(self, plain: Any) -> Any:
        """The value that ``encode`` wrote as ``plain``, or that a person wrote as plain JSON. Raises Mismatch."""
        return self.accept(decode(plain))

    def describe(self) -> dict[str, Any]:
        """What a page needs to offer a fitting input, as plain JSON."""
        return {"type": self.name}


@dataclass(frozen=True)
class Scalar(Shape):
    """``bool``, ``int``, ``float``, ``str`` or ``None``; numpy's scalars count as the Python ones that they equal."""

    cls: type

    @property
    def name(self) -> str:
        return "None" if self.cls is type(None) else self.cls.__name__

    def accept(self, value: Any) -> Any:
        value = without_numpy(value)
        if self.exact(value):
            return value
        if self.cls is str and isinstance(value, str):
            return str(value.value if isinstance(value, Enum) else value)
        if self.cls is int and isinstance(value, int) and not isinstance(value, bool):
            return int(value)
        if self.cls is float and type(value) is not bool and isinstance(value, numbers.Real):
            try:
                return float(value)
            except OverflowError:
                raise Mismatch(value, self.name) from None
        raise Mismatch(value, self.name)

    def exact(self, value: Any) -> bool:
        return type(value) is self.cls

    def parse(self, text: str) -> Any:
        if self.cls is str:
            return text
        try:
            words = _WORDS.get(self.cls)
            return self.cls(text) if words is None else words[text.lower()]
        except (ValueError, KeyError):
            cure = "Write true or false." if self.cls is bool else ""
            raise Mismatch(text, self.name, cure=cure) from None


@dataclass(frozen=True)
class Choice(Shape):
    """``Literal``: one of some values, told apart by type as well (``1`` is not ``True``)."""

    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"

    def accept(self, value: Any) -> Any:
        value = without_numpy(value)
        if self.exact(value):
            return value
        raise Mismatch(value, self.name, cure=_choose(value, [v for v in self.values if isinstance(v, str)]))

    def exact(self, value: Any) -> bool:
        return any(type(value) is type(known) and value == known for known in self.values)

    def parse(self, text: str) -> Any:
        for value in sorted(self.values, key=lambda known: not isinstance(known, str)):
            if text == str(value.name if isinstance(value, Enum) else value):
                return value
            if (value is None or isinstance(value, bool)) and text.lower() in (str(value).lower(), json.dumps(value)):
                return value
        raise Mismatch(text, self.name, cure=_choose(text, [v for v in self.values if isinstance(v, str)]))

    def decode(self, plain: Any) -> Any:
        matches = (value for value in self.values if json.dumps(encode(value)) == json.dumps(plain))
        found = next(matches, None)
        return self.accept(plain if found is None else found)

    def describe(self) -> dict[str, Any]:
        return {"type": "choice", "choices": [encode(value) for value in self.values]}


@dataclass(frozen=True)
class Member(Shape):
    """An ``Enum``: a member, its name, or its value."""

    cls: type[Enum]

    @property
    def name(self) -> str:
        return f"{self.cls.__qualname__} (one of {', '.join(self.cls.__members__)})"

    def accept(self, value: Any) -> Any:
        if self.exact(value):
            return value
        if is_same_class(type(value), self.cls):  # The module was loaded again since: a new class, the same member.
            return self.decode(encode(value))
        if isinstance(value, str) and value in self.cls.__members__:
            return self.cls[value]
        for member in self.cls:
            if type(member.value) is type(value) and member.value == value:
                return member
        raise Mismatch(value, self.name, cure=_choose(value, list(self.cls.__members__)))

    def exact(self, value: Any) -> bool:
        return type(value) is self.cls

    def parse(self, text: str) -> Any:
        texts = {str(member.value): member for member in self.cls}
        return self.accept(text if text in self.cls.__members__ else texts.get(text, text))

    def decode(self, plain: Any) -> Any:
        tag = tag_of(plain)
        if tag in ("$enum", "$flag") and plain.get("of", self.cls.__qualname__) == self.cls.__qualname__:
            content = plain[tag]
            if tag == "$enum" and content in self.cls.__members__:
                return self.cls[content]
            try:
                return self.cls(content)
            except ValueError:
                raise Mismatch(content, self.name, cure=_choose(content, list(self.cls.__members__))) from None
        if tag is not None:
            raise Mismatch(plain, self.name)
        return self.accept(plain)

    def describe(self) -> dict[str, Any]:
        return {"type": self.cls.__qualname__, "choices": list(self.cls.__members__)}


@dataclass(frozen=True)
class Written(Shape):
    """A value that is written as text: ``date``, ``datetime``, ``time``, ``Path`` and its kin."""

    cls: type
    read: Callable[[str], Any]

    @property
    def name(self) -> str:
        return self.cls.__name__

    def accept(self, value: Any) -> Any:
        if self.exact(value):
            return value
        try:
            if isinstance(value, str):
                return self.read(value)
            if self.cls is datetime and isinstance(value, datetime):  # A subclass such as pandas' Timestamp.
                return datetime.combine(value.date(), value.timetz())
            if issubclass(self.cls, PurePath) and isinstance(value, os.PathLike):
                return self.read(os.fspath(value))
        except (ValueError, TypeError) as error:
            raise Mismatch(value, self.name, cure=str(error)) from None
        raise Mismatch(value, self.name)

    def exact(self, value: Any) -> bool:
        return type(value) is self.cls or (issubclass(self.cls, PurePath) and isinstance(value, self.cls))

    def parse(self, text: str) -> Any:
        return self.accept(text)

    def decode(self, plain: Any) -> Any:
        if issubclass(self.cls, PurePath) and tag_of(plain) == "$path":
            return self.accept(plain["$path"])
        return self.accept(decode(plain))


@dataclass(frozen=True)
class OneOf(Shape):
    """``A | B``: the member whose type the value has, else the first that admits it."""

    members: tuple[Shape, ...]

    @property
    def name(self) -> str:
        return " | ".join(member.name for member in self.members)

    def accept(self, value: Any) -> Any:
        value = without_numpy(value)
        exact = [member for member in self.members if member.exact(value)]
        for member in [*exact, *self.members]:
            try:
                return member.accept(value)
            except Mismatch:
                continue
        raise Mismatch(value, self.name)

    def exact(self, value: Any) -> bool:
        return any(member.exact(value) for member in self.members)

    def parse(self, text: str) -> Any:
        """What the strictest member reads in ``text``; ``str`` can read anything and therefore excludes ``None``."""
        strict = [member for member in self.members if not _is_text(member)]
        if any(member == Scalar(str) for member in self.members):
            strict = [member for member in strict if member != Scalar(type(None))]
        order = sorted(strict, key=lambda member: _STRICTNESS.index(member.cls) if isinstance(member, Scalar) else 9)
        for member in [*order, *(member for member in self.members if _is_text(member))]:
            try:
                return member.parse(text)
            except Mismatch:
                continue
        raise Mismatch(text, self.name)

    def decode(self, plain: Any) -> Any:
        found: list[Any] = []
        for member in self.members:
            try:
                value = member.decode(plain)
            except Mismatch:
                continue
            if json.dumps(encode(value)) == json.dumps(plain):
                return value
            found.append(value)
        if not found:
            raise Mismatch(plain, self.name)
        return found[0]

    def describe(self) -> dict[str, Any]:
        return {"type": self.name, "any_of": [member.describe() for member in self.members]}


@dataclass(frozen=True)
class Anything(Shape):
    """No annotation, ``Any``, or one that is not known here: what JSON can carry, or an instance of ``cls``.

    An instance that JSON cannot carry is accepted, and refused when the parameters are recorded.
    """

    cls: Any = None

    @property
    def name(self) -> str:
        return "any" if self.cls is None else getattr(self.cls, "__name__", str(self.cls))

    def accept(self, value: Any) -> Any:
        value = without_numpy(value)
        if self.cls is not None and self.exact(value):
            return value
        try:
            return decode(encode(value))  # A copy: runs must not share a mutable default.
        except Mismatch:
            raise Mismatch(value, JSONABLE, cure="Annotate the parameter with the class of what it holds.") from None

    def exact(self, value: Any) -> bool:
        try:
            return self.cls is not None and isinstance(value, self.cls)
        except TypeError:  # An annotation that isinstance does not know.
            return False

    def parse(self, text: str) -> Any:
        try:
            return decode(json.loads(text))
        except ValueError:
            return text


_WORDS: dict[type, dict[str, bool | None]] = {
    bool: {"true": True, "false": False},
    type(None): {"none": None, "null": None},
}
_STRICTNESS = [type(None), bool, int, float, str]


def _is_text(shape: Shape) -> bool:
    """Whether nearly any text would do: tried after every other member of a union."""
    return shape == Scalar(str) or isinstance(shape, Anything) or (isinstance(shape, Written) and shape.cls not in _ISO)


_ISO = (date, datetime, time)


def at(step: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except Mismatch as mismatch:
        raise mismatch.below(step) from None


def _choose(value: object, names: list[str]) -> str:
    return f"For {value!r}: {closest(value, names)}" if isinstance(value, str) and names else ""


def is_same_class(one: type, other: type) -> bool:
    """Whether two classes have one definition: a module that is loaded again makes a new class of the same name."""
    return one.__module__ == other.__module__ and one.__qualname__ == other.__qualname__


def without_numpy(value: Any) -> Any:
    """A numpy scalar as the Python scalar that it equals; anything else as it is."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value
