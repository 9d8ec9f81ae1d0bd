"""The language of ``when``: what it computes, and that it is nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines import DefinitionError, ParameterError
from hpo_pipelines.chain import Condition, Reference

VALUES = {"rows": 1200.0, "name": "fast", "n": 3, "flag": False, "none": None, "many": [1, 2]}


def holds(text: str) -> bool:
    return Condition.of(text).holds(lambda ref: VALUES[ref.name])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${p.metrics.rows} > 1000", True),
        ("${p.metrics.rows} > 1000 and ${pipeline.name} == 'x'", False),
        ("not ${pipeline.flag}", True),
        ("1 < ${pipeline.n} <= 3", True),
        ("1 < ${pipeline.n} < 3", False),
        ("${pipeline.n} in [1, 2, 3]", True),
        ("${pipeline.n} not in (1, 2)", True),
        ("(${pipeline.n} + 1) * 2 - 8 // 4 == 6 and 7 % 4 / 2 == 1.5", True),
        ("-${pipeline.n} < 0", True),
        ("${pipeline.none} == None or ${pipeline.n} / 0", True),
        ("${pipeline.many}", True),
        ("0", False),
        ("'quo\"ted' != ''", True),
    ],
)
def test_what_it_computes(text: str, expected: bool) -> None:
    text = text.replace("${pipeline.name}", "${p.metrics.name}")
    assert holds(text) is expected


def test_the_side_that_does_not_count_is_not_computed() -> None:
    assert holds("${pipeline.n} == 3 or ${pipeline.absent}")
    assert not holds("${pipeline.flag} and ${pipeline.absent}")


def test_its_references() -> None:
    found = Condition.of("${a.metrics.x.y} > ${pipeline.n} or ${a.status} == 'skipped'").references
    assert found == (Reference("a", "metrics", "x.y"), Reference("pipeline", "params", "n"), Reference("a", "status"))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('x')",
        "[x for x in (1, 2)]",
        "(lambda: 1)()",
        "${a.id}.denominator",
        "${a.id}[0]",
        "x > 1",
        "reference_0 > 1",
        "${a.id} and reference_1",
        "2 ** 9",
        "1 << 3",
        "f'{1}'",
        "b'x'",
        "{'a': 1}",
        "1 if 2 else 3",
        "(y := 1)",
        "...",
        "1j",
        "a b",
        "",
        "   ",
        "1 >",
        "'${a.id}' == 'x'",
        "\0",
        "not " * 400 + "1",
        "(" * 300 + "1" + ")" * 300,
        "1 + " * 999 + "1",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="when="):
        Condition.of(text)


@pytest.mark.parametrize("text", ["'a' * 9999999999", "[1] * 3", "1 / 0", "'a' < 1", "1e308 * 10 // 0", "1 in 2"])
def test_what_cannot_be_computed_is_said(text: str) -> None:
    with pytest.raises(ParameterError, match="cannot be computed"):
        Condition.of(text).holds(lambda ref: None)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        condition = Condition.of(text)
        condition.holds(lambda ref: 1)
    except (DefinitionError, ParameterError):
        pass


@given(st.integers(-50, 50), st.integers(-50, 50), st.sampled_from(["<", "<=", "==", "!=", ">", ">="]))
def test_comparisons_are_those_of_python(a: int, b: int, sign: str) -> None:
    values: dict[str, Any] = {"a": a, "b": b}
    made = Condition.of(f"${{pipeline.a}} {sign} ${{pipeline.b}}").holds(lambda ref: values[ref.name])
    assert made is eval(f"{a} {sign} {b}")
