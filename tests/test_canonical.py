"""Python's own values: what has one identity and what has two."""

from __future__ import annotations

import math
import os
import pickle
import re
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.canonical import NotCanonical, hash_buffer, value_digest
from hpo_pipelines.errors import HpoPipelinesError


class Color(Enum):
    RED = 1
    BLUE = 2


class Number(IntEnum):
    RED = 1


class Mode(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: object
    y: object = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    x: object
    y: object = 0


@dataclass
class Hidden(Point):
    note: str = field(default="", compare=False)


@dataclass
class Caching:
    x: int

    @cached_property
    def double(self) -> int:
        return 2 * self.x


class Pair(NamedTuple):
    x: object
    y: object


OtherPair = namedtuple("OtherPair", "x y")

NOON = datetime(2024, 6, 1, 12)
LOOK_ALIKES: list[Any] = [
    *(None, ..., True, 1, 1.0, 1 + 0j, "1", b"1", bytearray(b"1"), Decimal(1), Fraction(1), Decimal("1.0"), Color.RED),
    *(Number.RED, Color.BLUE, Mode.READ, Mode.READ | Mode.WRITE, Mode(0)),
    *(False, 0, 0.0, -0.0, 0j, complex(0.0, -0.0), "", b"", bytearray(), [], (), {}, set(), frozenset()),
    *(OrderedDict(), Counter(), deque(), deque(maxlen=3), defaultdict(list), defaultdict(None), range(0), range(1)),
    *(math.nan, math.inf, -math.inf, "nan", Decimal("nan"), Decimal("-0"), Decimal(0), -1, 255, -255, 2**64, 2**70000),
    *([1], [1.0], [True], (1,), {1}, frozenset({1}), {1: 1}, [[1]], [[], 1], [1, []], [1, 1], {1: 1.0}, {1.0: 1}),
    *(["ab", "c"], ["a", "bc"], ["abc"], [b"ab", b"c"], ("ab", "c"), ["a", "b", "c"], "['ab', 'c']"),
    *(
        [1] * 9,
        [1.0] * 9,
        [True] * 9,
        ["1"] * 9,
        (1,) * 9,
        [2**63] * 9,
        [1] * 8 + [1.0],
        [b"1"] * 9,
        ["11"] + ["1"] * 8,
    ),
    *([0.0] * 9, [-0.0] * 9, [math.nan] * 9, [math.inf] * 9, [math.inf] * 8 + [-math.inf], [*"abcdefghi"], ["abc"] * 9),
    *(
        {"a": 1, "b": 2},
        {"a": 2, "b": 1},
        {"a": {"b": 1}},
        {"a": ("b", 1)},
        OrderedDict(a=1, b=2),
        OrderedDict(b=2, a=1),
    ),
    *(date(2024, 6, 1), NOON, NOON.replace(fold=1), NOON.replace(tzinfo=UTC)),
    *(
        NOON.replace(tzinfo=ZoneInfo("Europe/Paris")),
        NOON.replace(tzinfo=timezone(timedelta(hours=2))),
        NOON.isoformat(),
    ),
    *(time(12), time(12, tzinfo=UTC), timedelta(1), timedelta(0, 1), timedelta(0, 0, 1), timedelta(-1)),
    *(
        UUID(int=1),
        UUID(int=2),
        Path("a"),
        PurePosixPath("a"),
        PureWindowsPath("a"),
        Path("a/b"),
        slice(1),
        slice(1, 1),
    ),
    *(re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a")),
    *(Point(1), Point(1.0), Slotted(1), Hidden(1), Hidden(1, 0, "x"), Pair(1, 0), OtherPair(1, 0), (1, 0), Point(1, 1)),
    *(b"\0" * 65535, b"\0" * 65536, bytearray(65536), b"\0" * 65537, "\0" * 65536, "\ud800", "\ufffd", "é", "e\u0301"),
]


def ids(value: object) -> str:
    return f"{type(value).__name__}:{str(value)[:20]!r}" if not isinstance(value, int) else f"int:{value % 10**6}"


def test_look_alikes_differ() -> None:
    seen: dict[str, object] = {}
    for value in LOOK_ALIKES:
        digest = value_digest(value)
        assert digest not in seen, f"{value!r:.60} and {seen[digest]!r:.60} have one identity"
        seen[digest] = value


@pytest.mark.parametrize("value", LOOK_ALIKES, ids=ids)
def test_identity_survives_a_pickle(value: object) -> None:
    assert value_digest(pickle.loads(pickle.dumps(value))) == value_digest(value)


def test_digest_is_64_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{64}", value_digest("x"))
    assert re.fullmatch("[0-9a-f]{64}", value_digest([1, {"x": (2, 3)}]))


def test_encoding_is_pinned() -> None:
    """A change here makes everyone's recorded keys miss: do it on purpose, and say so in the changelog."""
    assert value_digest(None)[:16] == "a74e0b1433b54b7a"
    assert value_digest({"lr": 0.1, "layers": [1, 2], "name": "é"})[:16] == "a113dcf12266f916"


def test_every_nan_is_one() -> None:
    other = -math.nan
    assert math.copysign(1, other) != math.copysign(1, math.nan)
    assert value_digest(other) == value_digest(math.nan)
    assert value_digest([other] * 20) == value_digest([math.nan] * 20)
    assert value_digest([other, 1]) == value_digest([math.nan, 1])
    assert value_digest(complex(1, other)) == value_digest(complex(1, math.nan))


def test_order_of_dicts_and_sets_does_not_count() -> None:
    assert value_digest({"a": 1, "b": [2]}) == value_digest({"b": [2], "a": 1})
    assert value_digest(Counter("abca")) == value_digest(Counter("caab"))
    items = [*range(1000), *map(str, range(1000)), None, (1, "x")]
    backwards = items[::-1]
    assert value_digest(set(items)) == value_digest(set(backwards))
    assert value_digest(frozenset(items)) == value_digest(frozenset(backwards))


def test_order_of_keys_that_are_nan_does_not_count() -> None:
    left, right = float("nan"), float("nan")
    assert value_digest({left: [1], right: [2]}) == value_digest({left: [2], right: [1]})
    assert value_digest({left: [1], right: [1]}) != value_digest({left: [1]})


def test_decimal_does_not_depend_on_the_context() -> None:
    value = Decimal("1E+10")
    expected = value_digest(value)
    with localcontext() as context:
        context.capitals, context.prec = 0, 2
        assert value_digest(value) == expected


def test_long_containers_are_hashed_in_bounded_memory_like_short_ones() -> None:
    many = [(number, "x" * 200) for number in range(6_000)]  # More than the encoder keeps at once.
    assert value_digest(many) == value_digest(list(many))
    assert value_digest(many) != value_digest(many[:-1])
    assert value_digest(dict(many)) == value_digest(dict(reversed(many)))


def test_a_cached_property_does_not_count() -> None:
    value, same = Caching(2), Caching(2)
    assert value.double == 4
    assert value_digest(value) == value_digest(same)


def test_an_unset_field_is_not_none() -> None:
    @dataclass
    class Lazy:
        x: object = field(init=False)

    unset, none = Lazy(), Lazy()
    none.x = None
    assert value_digest(unset) != value_digest(none)


def test_large_buffers_are_offered_for_reuse() -> None:
    asked: list[int] = []

    def digest(view: memoryview) -> bytes:
        asked.append(view.nbytes)
        return hash_buffer(view)

    value = [b"x" * 100_000, bytearray(70_000), b"small"]
    assert value_digest(value, buffer_digest=digest) == value_digest(value)
    assert asked == [100_000, 70_000]


class Opaque:
    pass


class StrangeInt(int):
    pass


class StrangeDict(dict):  # type: ignore[type-arg]
    pass


@dataclass
class DataDict(dict):  # type: ignore[type-arg]
    x: int


class Undecorated(Point):
    pass


class SlottedBase:
    __slots__ = ("secret",)


@dataclass
class OnSlots(SlottedBase):
    x: int


def with_attribute() -> Point:
    value = Point(1)
    value.extra = threading.Lock()  # type: ignore[attr-defined]
    return value


@pytest.mark.parametrize(
    ("value", "path", "type_name", "why"),
    [
        (Opaque(), "", "Opaque", "use plain values"),
        (StrangeInt(1), "", "StrangeInt", "subclass of int"),
        ({"a": StrangeDict()}, "['a']", "StrangeDict", "subclass of dict"),
        ([1, 2, (3, Opaque())], "[2][1]", "Opaque", ""),
        ([0] * 5000 + [Opaque()], "[5000]", "Opaque", ""),
        ({"model": Point(1, [Opaque()])}, "['model'].y[0]", "Opaque", ""),
        (OrderedDict(a=1, b=Opaque()), "[1]", "Opaque", ""),
        ({Opaque(): 1}, "<key <", "Opaque", ""),
        ({1, Opaque}, "{", "type", ""),
        (deque([Opaque()]), "[0]", "Opaque", ""),
        (slice(1, Opaque()), ".stop", "Opaque", ""),
        (defaultdict(Opaque), ".default_factory", "type", "built-in"),
        (Pair(1, Opaque()), "[1]", "Opaque", ""),
        (with_attribute(), ".extra", "lock", "make it a field"),
        (DataDict(1), "", "DataDict", "subclass of dict"),
        (Undecorated(1), "", "Undecorated", ""),
        (OnSlots(1), "", "OnSlots", ""),
        (lambda: 1, "", "function", ""),
        (int, "", "type", ""),
        (memoryview(b"x"), "", "memoryview", ""),
        (threading.Lock(), "", "lock", ""),
    ],
    ids=lambda item: item if isinstance(item, str) and "0x" not in item else "",
)
def test_what_has_no_identity_is_named(value: object, path: str, type_name: str, why: str) -> None:
    with pytest.raises(NotCanonical) as caught:
        value_digest(value)
    refusal = caught.value
    assert refusal.path.startswith(path) if path.startswith(("<", "{")) else refusal.path == path
    assert refusal.type_name.endswith(type_name)
    assert why in refusal.why
    assert refusal.path in str(refusal)
    assert refusal.type_name in str(refusal)


def test_refusals_are_ours_and_travel() -> None:
    refusal = NotCanonical("[0]", "x.Y", "because")
    assert isinstance(refusal, HpoPipelinesError)
    assert isinstance(refusal, TypeError)
    assert str(pickle.loads(pickle.dumps(refusal))) == str(refusal)


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotCanonical, match="contains itself"):
        value_digest(endless)


def test_a_key_whose_repr_raises_is_named_by_its_type() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(NotCanonical, match=r"Mute"):
        value_digest({Mute(): 1})


# A model of identity that shares no code with the encoder: nested tuples that compare equal exactly when they should.


def model(value: Any) -> object:
    cls = type(value).__name__
    if isinstance(value, float) and value != value:
        return cls, "nan"
    if isinstance(value, complex):
        return cls, model(value.real), model(value.imag)
    if isinstance(value, list | tuple):
        return cls, tuple(model(item) for item in value)
    if isinstance(value, set | frozenset):
        return cls, frozenset(model(item) for item in value)
    if isinstance(value, dict):
        return cls, frozenset((model(key), model(item)) for key, item in value.items())
    if isinstance(value, Point):
        return cls, model(value.x), model(value.y)
    return cls, repr(value)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, math.nan, 0j, 1 + 0j, "", "1", b"", b"1", Decimal(1), Decimal("1.0")]),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.timedeltas(),
    st.sampled_from(Color),
)
HASHABLE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2).map(tuple) | st.frozensets(inner, max_size=2), max_leaves=3
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(st.sampled_from([0, 1, 2]), min_size=7, max_size=9),
        st.lists(st.sampled_from([0.0, 1.0, math.nan]), min_size=7, max_size=9),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
        st.builds(Point, inner, inner),
    ),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_law_one_digest_if_and_only_if_one_identity(left: object, right: object) -> None:
    assert (value_digest(left) == value_digest(right)) == (model(left) == model(right))


@given(VALUES)
def test_law_identity_survives_a_pickle(value: object) -> None:
    assert value_digest(pickle.loads(pickle.dumps(value))) == value_digest(value)


@given(st.lists(st.tuples(HASHABLE, SCALARS), max_size=6), st.randoms())
def test_law_order_of_insertion_does_not_count(items: list[tuple[Any, Any]], random: Any) -> None:
    value = dict(items)
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert value_digest(dict(shuffled)) == value_digest(value)


PROBE = """
import sys
from hpo_pipelines.canonical import value_digest
print(value_digest({"a": {1, "x", None, (2, "y")}, "b": frozenset(map(str, range(50))), 3: {"z": [1.5, -0.0]}}))
assert "numpy" not in sys.modules and "pandas" not in sys.modules, "plain values need neither"
import numpy as np, pandas as pd
frame = pd.DataFrame({"n": [1, 2], "s": ["x", None], "o": [{1, "q", "r"}, None], "c": pd.Categorical(["u", "v"])})
print(value_digest(frame), value_digest({"w": np.arange(5), "k": {np.float32(1), np.int8(2), "t"}}))
"""


@pytest.mark.integration
def test_identity_is_the_same_in_every_process_and_hash_seed() -> None:
    def run(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first = run("0")
    assert len(first.split()) == 3
    assert run("1") == first
    assert run("12345") == first
