"""What hypothesis draws for distributions and spaces: tests ask for them by type."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from search_spaces import Categorical, Condition, Distribution, Fixed, Float, Int, Space, SpaceError

AWKWARD = [
    "", "no", "Null", "~", "1e-5", "1_000", ".inf", "TRUE", "2024-01-01", "12:30", "a: b", "#x", "a #b", "- a",
    "<<", "=", "params", "low", "when", "type", "uniform(0, 1)", "choice(", "{value}", "[1]", "'", '"', "\\", "*x",
    "!x", "%x", "@x", "`", "|", ">", "?", " a ", "\t", "\n", "\r", "\x00", "\x7f", "\x85", "\u2028", "\ufeff",
    "é", "😀", "&x", "0o17",
]  # fmt: skip
TEXTS = st.sampled_from(AWKWARD) | st.text(max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2), max_leaves=4
)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    low, high = sorted([draw(st.floats(-1e12, 1e12)), draw(st.floats(-1e12, 1e12))])
    shape = draw(st.sampled_from(["even", "log", "step"]))
    if shape == "log":
        return Float(abs(low) + 1e-9, abs(low) + abs(high) + 1e-9, log=True)
    if shape == "even":
        return Float(low, high)
    low, thousandths = draw(st.integers(-(10**6), 10**6)), draw(st.integers(1, 10**6))
    step = draw(st.integers(1, max(1, thousandths // 2)))
    return Float(low / 1000, (low + thousandths) / 1000, step=step / 1000)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    low = draw(st.integers(-(2**40), 2**40))
    high = low + draw(st.integers(0, 1000))
    if low > 0 and draw(st.booleans()):
        return Int(low, high, log=True)
    return Int(low, high, step=draw(st.integers(1, max(1, high - low))))


def distinct(values: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        try:
            Categorical([*kept, value])
        except SpaceError:
            continue
        kept.append(value)
    return kept


categoricals = st.lists(VALUES, min_size=1, max_size=4).map(lambda values: Categorical(distinct(values)))
distributions = st.one_of(floats(), ints(), categoricals, VALUES.map(Fixed))


def drawable(distribution: Distribution) -> st.SearchStrategy[Any]:
    """Values of a finite distribution."""
    if isinstance(distribution, Int):
        return st.integers(0, distribution.size() - 1).map(lambda k: distribution.low + k * distribution.step)
    if isinstance(distribution, Float):
        step = distribution.step or 0.0
        return st.integers(0, (distribution.size() or 1) - 1).map(
            lambda k: min(distribution.low + k * step, distribution.high)
        )
    return st.sampled_from(distribution.examples())


def conditional(distribution: Distribution, when: dict[str, Any]) -> Distribution:
    return dataclasses.replace(distribution, when=Condition(when))


def nameable(text: str) -> bool:
    """A dot makes a member of a group, which has tests of its own."""
    return bool(text) and "." not in text and text != "constraints"


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    found: dict[str, Distribution] = {}
    for name in draw(st.lists(TEXTS.filter(nameable), max_size=5, unique=True)):
        parents = sorted(parent for parent, known in found.items() if known.size() is not None)
        chosen = draw(st.lists(st.sampled_from(parents), max_size=2, unique=True)) if parents else []
        when = {parent: draw(st.lists(drawable(found[parent]), min_size=1, max_size=2)) for parent in chosen}
        distribution = draw(distributions)
        try:
            Space({**found, name: conditional(distribution, when)} if when else {})
        except SpaceError as error:
            if "a condition can hold" not in str(error):
                raise
            when = {}  # the parents drawn never exist together
        found[name] = conditional(distribution, when)
    return Space({name: found[name] for name in draw(st.permutations(list(found)))})


st.register_type_strategy(Float, floats())
st.register_type_strategy(Int, ints())
st.register_type_strategy(Categorical, categoricals)
st.register_type_strategy(Fixed, VALUES.map(Fixed))
st.register_type_strategy(Space, spaces())
