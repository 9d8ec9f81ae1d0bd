from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import Categorical, Distribution, Float, Int, SpaceError
from search_spaces.calls import parse_call

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uniform(0, 1)", Float(0, 1)),
        (" uniform ( 0 , 1 ) ", Float(0, 1)),
        ("uniform(0,1,step=0.25)", Float(0, 1, step=0.25)),
        ("uniform(low=0, high=1)", Float(0, 1)),
        ("uniform(1e-5, 1e-1, log)", Float(1e-5, 1e-1, log=True)),
        ("loguniform(1e-5,1e-1)", Float(1e-5, 1e-1, log=True)),
        ("loguniform(1, 10, log)", Float(1, 10, log=True)),
        ("int(1,9)", Int(1, 9)),
        ("int(1, 64, log)", Int(1, 64, log=True)),
        ("int(1,9,step=2)", Int(1, 9, step=2)),
        ("int(1,9,log=false)", Int(1, 9)),
        ("choice(a)", Categorical(["a"])),
        ("choice(1, 2.5, true, null, no)", Categorical([1, 2.5, True, None, "no"])),
        ("choice(a b, c#d, e=f)", Categorical(["a b", "c#d", "e=f"])),
        ("choice('a,b', \"c\\n\", '1')", Categorical(["a,b", "c\n", "1"])),
        ("choice([64, 64], {a: 1}, null)", Categorical([[64, 64], {"a": 1}, None])),
    ],
)
def test_calls(text: str, expected: Distribution) -> None:
    assert parse_call(text) == expected


@pytest.mark.parametrize(
    "text", ["", "adam", "uniform", "uniform(1", "f(x)", "RBF(1.0)", "(1, 2)", "1e-5", "a uniform(0,1)"]
)
def test_other_text_is_no_call(text: str) -> None:
    assert parse_call(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uniform(1, 0)", r"^uniform\(1, 0\): low must not exceed high"),
        ("loguniform(0, 1)", "low must be above 0 with log"),
        ("loguniform(1, 2, step=0.1)", "log and step exclude each other"),
        ("uniform(0)", "needs low and high"),
        ("uniform()", "low is a finite number; got None|needs low and high"),
        ("uniform(a, b)", "low is a finite number; got 'a'"),
        ("uniform(0, 1, 2)", "after low and high comes log or step=…; got '2'"),
        ("uniform(0, 1, low=2)", "low comes once"),
        ("int(1, 9, step=2, step=3)", "step comes once"),
        ("int(1, 9, stpe=2)", "got 'stpe'. Did you mean 'step'"),
        ("int(1, 9.5)", "high of an integer range is an integer"),
        ("int(1, 9, log=yes)", "log is true or false; got 'yes'"),
        ("choice()", "choices are not empty"),
        ("choice(a,,b)", "nothing before or after a comma"),
        ("choice(a, a)", "'a' comes twice"),
        ("choice([1, 2)", "not YAML"),
        ("logunifrom(1, 2)", r"^logunifrom\(1, 2\): 'logunifrom' is no distribution. Did you mean 'loguniform'"),
        ("randint(1, 5)", r"'randint' is no distribution"),
        ("float(0, 1)", r"'float' is no distribution"),
        ("choices(a, b)", "Did you mean 'choice'"),
    ],
)
def test_wrong_calls_are_refused(text: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        parse_call(text)


@PATIENT
@given(st.from_type(Float) | st.from_type(Int))
def test_a_range_written_as_a_call_is_read_back(distribution: Float | Int) -> None:
    name = "uniform" if isinstance(distribution, Float) else "int"
    arguments = ", ".join(f"{key}={str(value).lower()}" for key, value in distribution.fields().items())
    assert parse_call(f"{name}({arguments})") == distribution


@PATIENT
@given(st.lists(st.text("abc019.+ e_", min_size=1, max_size=5).map(str.strip).filter(bool), min_size=1, unique=True))
def test_bare_choices_mean_what_they_mean_in_brackets(words: list[str]) -> None:
    text = ", ".join(words)
    try:
        bare = parse_call(f"choice({text})")
    except SpaceError:
        with pytest.raises(SpaceError):
            parse_call(f"choice({text}, [])")
        return
    bracketed = parse_call(f"choice({text}, [])")
    assert isinstance(bare, Categorical)
    assert isinstance(bracketed, Categorical)
    assert bracketed.choices == (*bare.choices, [])
