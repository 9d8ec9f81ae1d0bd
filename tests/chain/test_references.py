"""References in texts: what they read as, what they wait for, and what is said of those that are none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines import DefinitionError
from hpo_pipelines.chain import Reference, escaped, filled, looked_at, references
from hpo_pipelines.chain.references import parsed


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("${prep.outputs.train}", Reference("prep", "outputs", "train")),
        ("${prep.output}", Reference("prep", "outputs", "value")),
        ("${prep.metrics.fit.val_auc}", Reference("prep", "metrics", "fit.val_auc")),
        ("${prep.params.lr}", Reference("prep", "params", "lr")),
        ("${ prep.id }", Reference("prep", "id")),
        ("${pipeline.size}", Reference("pipeline", "params", "size")),
        ("${pipeline.url}", Reference("pipeline", "url")),
    ],
)
def test_a_reference(text: str, reference: Reference) -> None:
    assert parsed(text) == (reference,)
    assert parsed(str(reference)) == (reference,)


def test_a_text_with_several() -> None:
    assert parsed("a ${x.id}${y.name} $${z} b") == ("a ", Reference("x", "id"), Reference("y", "name"), " ${z} b")
    assert parsed("") == ("",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${prep}", "a reference is"),
        ("${}", "a reference is"),
        ("${1a.id}", "a reference is"),
        ("${prep.outputs}", "say which"),
        ("${prep.id.x}", "nothing is inside id"),
        ("${prep.artifacts.x}", "a step has outputs"),
        ("${pipeline.size.x}", "nothing is inside size"),
        ("${prep.outputs.train", "ends with"),
        ("${a${b}}", "ends with"),
    ],
)
def test_what_is_no_reference(text: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        parsed(text)


def test_only_what_is_passed_on_whole_is_not_waited_for() -> None:
    plain = {"data": "${a.outputs.x}", "list": ["${b.output}", {"k": "n: ${c.output}"}], "m": "${d.metrics.r}", "n": 3}
    assert [ref.owner for ref in references(plain)] == ["a", "b", "c", "d"]
    assert [ref.owner for ref in looked_at(plain)] == ["c", "d"]
    assert list(looked_at("${e.params.lr} ${e.name} ${pipeline.url}")) == []


def test_a_text_that_is_one_reference_becomes_the_value_itself() -> None:
    value = object()
    plain = {"whole": "${a.output}", "text": "<${a.output}>", "deep": [["${a.output}"]], "number": 1.5}
    made = filled(plain, lambda ref: value, lambda ref: "shown")
    assert made == {"whole": value, "text": "<shown>", "deep": [[value]], "number": 1.5}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["${a.id}", "$${", "${", "$$${x}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(_JSON)
def test_an_escaped_value_refers_to_nothing_and_comes_back(plain: Any) -> None:
    hidden = escaped(plain)
    assert list(references(hidden)) == []

    def none(ref: Reference) -> str:
        raise AssertionError(ref)

    assert filled(hidden, none, none) == plain
