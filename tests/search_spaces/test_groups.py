from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from search_spaces import Categorical, Float, Int, Space, SpaceError, dumps, gallery, loads
from search_spaces.groups import flattened, nested

NET = Space(
    {"hidden": Int(2, 64), "heads": Int(1, 16), "kind": ["a", "b"], "rate": Float(0, 1, when={"kind": "b"})},
    constraints=["hidden >= 2 * heads"],
)


def test_a_space_in_a_space_is_a_group() -> None:
    space = Space({"fit": NET, "seed": 7})
    assert list(space) == ["fit.hidden", "fit.heads", "fit.kind", "fit.rate", "seed"]
    assert space["fit.rate"].when.as_dict() == {"fit.kind": "b"}
    assert [found.text for found in space.constraints] == ["fit.hidden >= 2 * fit.heads"]
    assert space.groups == ("fit",)
    assert space.group("fit") == NET
    assert Space(space.as_dict()) == space


def test_groups_nest() -> None:
    space = Space({"fit": {"params": {"net": NET, "lr": 0.1}}})
    assert list(space)[-2:] == ["fit.net.rate", "fit.lr"]
    assert space.group("fit").group("net") == NET


def test_a_group_may_have_a_prefix_overrides_and_a_condition() -> None:
    space = Space(
        {
            "model": ["net", "tree"],
            "net": {"space": NET, "prefix": "net_", "when": {"model": "net"}, "overrides": {"hidden": Int(8, 16)}},
            "tree": {"params": {"depth": Int(1, 9)}, "prefix": "", "when": {"model": "tree"}},
        }
    )
    assert list(space) == ["model", "net_hidden", "net_heads", "net_kind", "net_rate", "depth"]
    assert space["net_hidden"] == Int(8, 16, when={"model": "net"})
    assert space["net_rate"].when.as_dict() == {"net_kind": "b", "model": "net"}
    assert [found.text for found in space.constraints] == ["net_hidden >= 2 * net_heads"]
    values = {"model": "tree", "depth": 3}
    assert [name for name, active in space.active(values).items() if active] == ["model", "depth"]
    assert space.violated(values) == []


@pytest.mark.parametrize("format", ["yaml", "toml", "json"])
def test_round_trip(format: Any) -> None:
    space = Space({"fit": NET, "seed": 7})
    assert loads(dumps(space, format), format) == space


@pytest.mark.parametrize(
    "text",
    ["fit: !space svm", "fit: {space: svm}", "params:\n  fit: !space 'svm'", "fit:\n  space: svm\n  prefix: fit."],
)
def test_a_named_space_in_a_file(text: str) -> None:
    space = loads(text, "yaml")
    assert space.group("fit") == gallery("svm")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nfit: !space xgbost", r"^x:2: fit\.space: there is no space called 'xgbost'.*mean 'xgboost'"),
        ("fit:\n  space: svm\n  overides: {C: 1}", r"^x:3: fit\.overides: a group has .*mean 'overrides'"),
        ("fit: {space: svm, params: {}}", r"^x:1: fit: a group has space or params, not both"),
        ("fit:\n  space: svm\n  prefix: 3", r"^x:3: fit\.prefix: a prefix is text; got 3"),
        ("fit:\n  space: svm\n  constraints: []", r"^x:3: fit\.constraints: .* stand in its overrides"),
        ("fit:\n  space: svm\n  overrides:\n    C: {low: 2, high: 1}", r"^x:4: fit\.overrides\.C"),
        ("C: 1\nfit: {space: svm, prefix: ''}", r"a parameter is written once; 'C' is in two groups"),
        ("fit:\n  params:\n    a: {low: 3, high: 1}", r"^x:3: fit\.params\.a\.low"),
        ("m: [1, 2]\nfit:\n  params: {a: 1}\n  when: {m: 3}", r"^x:\d: fit.*m never takes 3"),
    ],
)
def test_wrong_groups_are_refused_with_their_place(text: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        loads(text, "yaml", name="x")


def test_merged_and_prefixed() -> None:
    both = NET.merged({"lr": 0.1})
    assert list(both)[-1] == "lr"
    assert both.constraints == NET.constraints
    with pytest.raises(SpaceError, match="both spaces have heads, hidden"):
        NET.merged({"heads": 1, "hidden": 2})
    assert [found.text for found in NET.prefixed("fit_").constraints] == ["fit_hidden >= 2 * fit_heads"]


def test_a_group_of_a_space_must_stand_alone() -> None:
    space = Space({"m": [1, 2], "fit": {"params": {"a": Int(1, 2)}, "when": {"m": 1}}})
    with pytest.raises(SpaceError, match=r"fit\.a depends on m, which is outside"):
        space.group("fit")
    with pytest.raises(SpaceError, match=r"no group 'fti'\. Did you mean 'fit'"):
        space.group("fti")


def test_values_reach_the_pipeline_nested() -> None:
    values = {"fit.lr": 1, "fit.net.hidden": 8, "seed": 7}
    params = nested(values)
    assert params == {"fit": {"lr": 1, "net": {"hidden": 8}}, "seed": 7}
    assert flattened([*values, "fit.gone", "seed.x"], params) == values


@pytest.mark.parametrize("names", [("fit", "fit.lr"), ("fit.lr", "fit"), ("a.b", "a.b.c"), ("a.b.c", "a.b")])
def test_a_name_is_a_value_or_a_group(names: tuple[str, str]) -> None:
    with pytest.raises(SpaceError, match="is a parameter and a group"):
        nested({name: {} for name in names})


def test_a_group_cannot_be_overridden_by_a_value() -> None:
    with pytest.raises(SpaceError, match=r"fit\.hidden: a name is a parameter or a group; 'fit' is both"):
        Space({"fit": NET}).override({"fit": 3})


@pytest.mark.parametrize("slots", [False, True])
def test_a_group_may_reach_the_pipeline_as_a_dataclass(slots: bool) -> None:
    @dataclass(slots=slots)
    class Fit:
        lr: float

    assert flattened(["fit.lr", "fit.gone"], {"fit": Fit(0.5)}) == {"fit.lr": 0.5}


def test_check_asks_for_a_group_as_a_dict() -> None:
    asked: dict[str, list[Any]] = {}

    def accepts(name: str, value: Any) -> str | None:
        asked.setdefault(name, []).append(value)
        return "it is text" if name == "fit" and value["a"] == 2 else None

    space = loads("fit:\n  params:\n    a: {low: 1, high: 2}\n    b: [x, y]\nseed: 7", "yaml", name="x")
    with pytest.raises(SpaceError, match=r"^x:3: fit\.params\.a: the members of a group .* 'fit': it is text"):
        space.check(["fit", "seed"], accepts=accepts)
    assert asked == {"seed": [7], "fit": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}
    with pytest.raises(SpaceError, match=r"the pipeline has no parameter 'fit\.a'"):
        space.check(["seed"])


def test_override_reaches_a_member() -> None:
    space = Space({"fit": NET}).override({"fit.kind": "a"})
    assert "fit.rate" not in space
    assert space["fit.kind"] != Categorical(["a"])
