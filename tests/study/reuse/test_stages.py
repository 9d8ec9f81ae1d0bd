from __future__ import annotations

from typing import Any

import pytest

from hpo_pipelines.study.reuse import Stage, Stages

CHAIN = Stages({"load": ["rows"], "prepare": ["scale", "keep"], "fit": ["lr"]})
DIAMOND = Stages(
    [
        Stage("join", ("c",), ("left", "right")),
        Stage("left", ("a",), ("root",)),
        Stage("right", ("b",), ("root",)),
        Stage("root", ("r",)),
    ]
)
SPACE = ("rows", "scale", "keep", "lr")


def test_a_mapping_is_a_chain_and_a_list_any_graph() -> None:
    assert (
        Stages(
            [
                Stage("load", ("rows",)),
                Stage("prepare", ("scale", "keep"), ("load",)),
                Stage("fit", ("lr",), ("prepare",)),
            ]
        )
        == CHAIN
    )
    assert DIAMOND.names == ("root", "left", "right", "join")
    given = {"root": ["r"], "left": ["a"], "right": {"params": ["b"], "after": ["root"]}}
    assert Stages(given).closure("right") == {"root", "right"}


def test_what_reaches_a_stage_is_what_reaches_those_it_uses() -> None:
    assert CHAIN.reaching("prepare") == {"rows", "scale", "keep"}
    assert DIAMOND.reaching("left") == {"r", "a"}
    assert DIAMOND.reaching("join") == {"r", "a", "b", "c"}


def test_of_a_chain_the_prefixes_can_be_kept() -> None:
    assert CHAIN.reuse_sets(SPACE) == [{"load"}, {"load", "prepare"}]
    # Without a parameter of its own in the space a stage is kept with what it is after, or always.
    assert CHAIN.reuse_sets(("scale", "lr")) == [{"load", "prepare"}]
    assert CHAIN.reuse_sets(("lr",)) == []


def test_of_a_graph_branches_and_all_but_one_change_can_be_kept() -> None:
    assert DIAMOND.reuse_sets(("r", "a", "b", "c")) == [
        {"root"},
        {"root", "left"},
        {"root", "right"},
        {"root", "left", "right"},
    ]
    assert DIAMOND.branches(("r", "a", "b", "c")) == [({"root", "left"}, {"root", "right"})]
    assert CHAIN.branches(SPACE) == []


def test_settled_is_what_no_free_parameter_reaches() -> None:
    assert CHAIN.settled((), SPACE) == set()
    assert CHAIN.settled((), ("lr",)) == {"load", "prepare"}
    assert CHAIN.settled(("rows",), SPACE) == {"load"}
    assert CHAIN.settled(("scale",), SPACE) == set()
    assert DIAMOND.settled(("r", "b"), ("r", "a", "b", "c")) == {"root", "right"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "one at least"),
        ([Stage("a"), Stage("a")], "a name each"),
        ([Stage("a", after=("b",))], "'b', which is none of a"),
        ([Stage("a", after=("b",)), Stage("b", after=("a",))], "wait for each other: a, b"),
        ({"a": "x"}, "a list of names; got the text 'x'"),
        ({"a": {"param": ["x"]}}, "params and after; got param"),
    ],
)
def test_impossible_stages(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Stages(given)
