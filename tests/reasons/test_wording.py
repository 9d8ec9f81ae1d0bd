"""Differences that need no run to be said."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hpo_pipelines.engine.keys import Difference, differences
from hpo_pipelines.reasons.record import Change, Origin, Why, described, listed
from hpo_pipelines.reasons.wording import change

PARTS: dict[str, Any] = {
    "code": {"digest": "d", "m:f": "1"},
    "packages": {"pandas": "3.1.0"},
    "inputs": {"x": "i"},
    "environment": {"python": "3.11", "packages": [], "env": {}, "image": None},
    "version": "1",
    "depends": {"data.csv": "a"},
    "outputs": ["value"],
}


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        ({"packages": {"pandas": "3.1.1"}}, "pandas 3.1.0 → 3.1.1"),
        ({"packages": {}}, "package pandas 3.1.0 is no longer used"),
        ({"packages": {"pandas": "3.1.0", "numpy": "2.0"}}, "package numpy 2.0 is used now"),
        ({"environment": {**PARTS["environment"], "python": "3.12"}}, "Python 3.11 → 3.12"),
        ({"environment": {**PARTS["environment"], "image": "a:1"}}, "environment's image none → a:1"),
        ({"environment": {**PARTS["environment"], "packages": ["x"]}}, "environment's packages none → x"),
        ({"environment": {**PARTS["environment"], "env": {"N": "2"}}}, "environment variable N none → 2"),
        (
            {"environment": {**PARTS["environment"], "files": {"x @ file:///x.whl": "ab"}}},
            "a file among the environment's packages changed: x @ file:///x.whl",
        ),
        ({"version": "2"}, "version 1 → 2"),
        ({"depends": {"data.csv": "b"}}, "dependency data.csv changed"),
        ({"depends": {}}, "dependency data.csv is gone"),
        ({"depends": {"data.csv": "a", "y": "b"}}, "dependency y is new"),
        ({"outputs": ["train", "test"]}, "outputs value → train, test"),
    ],
)
def test_what_is_declared(edit: dict[str, Any], text: str) -> None:
    (found,) = differences(PARTS, {**PARTS, **edit})
    unused = cast("Any", None)
    said = change(unused, unused, unused, found, unused)
    assert said.text == said.brief == text
    assert (said.kind, said.name) == (found.kind, found.name)


def test_every_kind_of_difference_has_words() -> None:
    from hpo_pipelines.engine import keys
    from hpo_pipelines.reasons import wording

    assert {*wording._WORDS, "code", "inputs"} == set(keys._KINDS)
    assert Difference("version", "version", None, "1")


def test_a_line_names_the_first_and_counts_the_rest() -> None:
    assert listed(["a", "b", "c", "d"]) == "a; b; c; d"
    assert listed(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"


def test_the_brief_form_leaves_out_what_stands_behind() -> None:
    changed = Change("inputs", "x", "input x from load changed (load ran: …)", "input x from load changed")
    found = Why("id", "p#1/fit", "fit", "ran", "changed", changed.text, changes=(changed,))
    assert found.brief == "ran: input x from load changed"
    assert found.line == "ran: input x from load changed (load ran: …)"


def test_an_origin_without_times() -> None:
    assert described(Origin("id", "p#1/fit", "queued", None, None)) == "p#1/fit"
    assert described(Origin("id", "id", "removed", None, None)) == "a step that was deleted since (id)"
