from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Constraint, Float, Int, Space, SpaceError, dumps, loads


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("hidden >= 2 * heads", {"hidden": 8, "heads": 4}, True),
        ("hidden >= 2 * heads", {"hidden": 7, "heads": 4}, False),
        ("hidden % heads == 0", {"hidden": 12, "heads": 5}, False),
        ("1 < a <= 3 < b", {"a": 2, "b": 3}, False),
        ("1 < a <= 3 < b", {"a": 2, "b": 4}, True),
        ("leaves <= 2 ** depth", {"leaves": 33, "depth": 5}, False),
        ("not (a and b)", {"a": True, "b": True}, False),
        ("a or b", {"a": False, "b": True}, True),
        ("kind != 'hash' or bits // 2 > 3", {"kind": "hash", "bits": 7}, False),
        ("kind in ['a', 'b']", {"kind": "c"}, False),
        ("kind not in [null, 'b']", {"kind": None}, False),
        ("depth is None or depth > 3", {"depth": None}, True),
        ("depth == null or depth > 3", {"depth": 2}, False),
        ("layers == [64, 32]", {"layers": [64, 32]}, True),
        ("flag == true", {"flag": True}, True),
        ("flag == 1", {"flag": True}, False),
        ("a == 3.0", {"a": 3}, True),
        ("-a + +b == 1 / 2", {"a": 1, "b": 1.5}, True),
        ("fit.hidden >= 2 * fit.heads", {"fit.hidden": 4, "fit.heads": 2}, True),
        ("name < 'm'", {"name": "k"}, True),
        ("a / b > 1", {"a": 1, "b": 0}, False),
        ("a ** b > 1", {"a": 10, "b": 10**6}, False),
        ("a ** 0.5 > 1", {"a": -4}, False),
        ("a *\n  2 > 1", {"a": 1}, True),
    ],
)
def test_what_holds(text: str, values: dict[str, Any], holds: bool) -> None:
    assert Constraint(text).holds(values) is holds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a constraint is text"),
        (3, "a constraint is text"),
        ("a >", "is no expression: invalid syntax"),
        ("1 < 2", "names a parameter; '1 < 2' names none"),
        ("f(a) > 1", r"'f\(a\)' in 'f\(a\) > 1' is none of these"),
        ("a.__class__() == 1", "is none of these"),
        ("(1).real < a", "is none of these"),
        ("a[0] > 1", r"'a\[0\]'"),
        ("[x for x in a] == 1", "is none of these"),
        ("(lambda: a) == 1", "is none of these"),
        ("a if b else c", "is none of these"),
        ("a := 3", "is no expression"),
        ("a & b", "'a & b'"),
        ("~a > 1", "'~a'"),
        ("a == b'x'", "is none of these"),
        ("a == 1j", "is none of these"),
        ("a == ...", "is none of these"),
        ("f'{a}' == 'b'", "is none of these"),
        ("{a} == 1", "is none of these"),
        ("a > 1; b", "is no expression"),
        ("import os", "is no expression"),
        ("a > " + "1 + " * 300 + "1", "at most 1000 characters"),
        ("(" * 400 + "a" + ")" * 400, "is no expression"),
    ],
)
def test_what_is_no_constraint(text: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        Constraint(text)


@given(st.text(alphabet="ab1.+-*/%<>=!()[], 'andotrielu_xf:\\\"", max_size=30))
def test_any_text_is_a_constraint_or_a_space_error(text: str) -> None:
    try:
        constraint = Constraint(text)
    except SpaceError:
        return
    assert constraint.names
    with contextlib.suppress(SpaceError):  # types that do not fit
        assert constraint.holds(dict.fromkeys(constraint.names, 1)) in (True, False)


def test_names_and_renaming_leave_the_rest_of_the_text() -> None:
    constraint = Constraint("a+ä  >=  2*fit.a  and 'a' != b or null in [a]")
    expected = "x.a+x.ä  >=  2*x.fit.a  and 'a' != x.b or null in [x.a]"
    assert constraint.names == ("a", "ä", "fit.a", "b")
    assert constraint.renamed(lambda name: f"x.{name}").text == expected


SPACE = {
    "hidden": Int(2, 64),
    "heads": Int(1, 16),
    "kind": ["mlp", "attention"],
    "dim": Int(1, 9, when={"kind": "mlp"}),
}


def test_a_space_says_what_a_sample_violates() -> None:
    space = Space(SPACE, constraints=["hidden >= 2 * heads", "hidden % heads == 0", "dim < heads"])
    assert space.violated({"hidden": 8, "heads": 4, "kind": "attention"}) == []
    assert space.violated({"hidden": 7, "heads": 4, "kind": "attention"}) == [
        "hidden >= 2 * heads",
        "hidden % heads == 0",
    ]
    assert space.violated({"hidden": 8, "heads": 4, "kind": "mlp", "dim": 4}) == ["dim < heads"]
    # What else the pipeline takes does not wake an inactive parameter.
    assert space.violated({"hidden": 8, "heads": 4, "kind": "attention", "dim": 9}) == []
    with pytest.raises(SpaceError, match="dim is active and has no value"):
        space.violated({"hidden": 8, "heads": 4, "kind": "mlp"})


def test_fixed_parameters_need_no_value() -> None:
    space = Space({"a": Int(1, 9), "b": 5, "constraints": ["a < b"]})
    assert space.violated({"a": 5}) == ["a < b"]


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        (["hidden > headz"], r"^constraints\.0: a constraint names parameters of the space; 'headz'.*mean 'heads'"),
        (
            ["hidden > 1", "kind > 3"],
            r"^constraints\.1: 'kind > 3' has no meaning for kind='mlp': arithmetic is of",
        ),
        (["hidden + 'a' == 1"], "has no meaning for hidden=2"),
        ([3], r"^constraints\.0: a constraint is text"),
        ({"hidden": 1}, "constraints is a list of expressions"),
        (7, "constraints is a list of expressions"),
    ],
)
def test_wrong_constraints_are_refused_with_their_place(constraints: Any, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        Space(SPACE, constraints=constraints)


def test_a_constraint_on_types_is_asked_only_where_its_parameters_meet() -> None:
    # depth is a number wherever kind is mlp: the choice null belongs to the other kind.
    Space({"kind": ["mlp", "tree"], "depth": {"choices": [None, 3]}, "constraints": ["depth is None or depth > 2"]})
    with pytest.raises(SpaceError, match="has no meaning for depth=None"):
        Space({"depth": [None, 3], "constraints": ["depth > 2"]})


FILE = """\
hidden: {low: 2, high: 64}
heads: {low: 1, high: 16}
constraints:
  - hidden >= 2 * heads
  - hidden %% %s == 0
"""


@pytest.mark.parametrize("under", [False, True])
def test_files_name_the_line(under: bool) -> None:
    text = FILE
    if under:
        first, second, *rest = FILE.splitlines()
        text = "\n".join(["params:", f"  {first}", f"  {second}", *rest])
    space = loads(text % "heads", "yaml")
    assert [found.text for found in space.constraints] == ["hidden >= 2 * heads", "hidden % heads == 0"]
    with pytest.raises(SpaceError, match=rf"^x\.yaml:{5 + under}: (params\.)?constraints\.1: .*'haeds'.*mean 'heads'"):
        loads(text % "haeds", "yaml", name="x.yaml")
    with pytest.raises(SpaceError, match=rf"^x\.yaml:{5 + under}: .*'open\(heads\)'"):
        loads(text % "open(heads)", "yaml", name="x.yaml")


@pytest.mark.parametrize("format", ["yaml", "toml", "json"])
@pytest.mark.parametrize("extra", [{}, {"params": Float(0, 1)}])
def test_round_trip_and_digest(format: Any, extra: dict[str, Any]) -> None:
    space = Space({**SPACE, **extra}, constraints=["hidden >= 2 * heads", "kind != 'mlp' or \"x\" != kind"])
    twin = loads(dumps(space, format), format)
    assert twin == space
    assert twin.digest() == space.digest()
    assert Space(space.as_dict()) == space == Space(space)
    bare = Space({**SPACE, **extra})
    assert bare != space
    assert bare.digest() != space.digest()
    backwards = Space(bare, constraints=[found.text for found in reversed(space.constraints)])
    assert backwards == space
    assert hash(backwards) == hash(space)
    assert "hidden >= 2 * heads" in repr(space)


def test_override_keeps_constraints_on_what_is_left_and_adds_others() -> None:
    space = Space(SPACE, constraints=["hidden >= 2 * heads", "dim < heads"])
    over = space.override({"kind": "attention", "constraints": "hidden < 50"})
    assert [found.text for found in over.constraints] == ["hidden >= 2 * heads", "hidden < 50"]


def test_no_parameter_has_the_reserved_name() -> None:
    with pytest.raises(SpaceError, match=r"constraints is a list of expressions.*no parameter's name"):
        Space({"constraints": Float(0, 1)})
    with pytest.raises(SpaceError, match=r"^x:3: params\.constraints: constraints stand once"):
        loads("params:\n  a: 1\n  constraints: [a > 1]\nconstraints: [a > 0]", "yaml", name="x")
