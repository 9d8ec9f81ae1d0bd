"""Commands as they are written: their words, and the arguments that placeholders make."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_pipelines import DefinitionError
from hpo_pipelines.scripts.template import MISSING, Placeholder, Template


def test_words_and_placeholders() -> None:
    made = Template.of("python 'a b.py' --lr={lr:float=0.1} {data} {n:int} {data} {{x}}")
    assert made.words == ("python", "a b.py", "--lr={lr:float=0.1}", "{data}", "{n:int}", "{data}", "{{x}}")
    assert list(made.placeholders()) == [Placeholder("lr", float, 0.1), Placeholder("data"), Placeholder("n", int)]
    assert made.filled({"lr": "1", "data": "d", "n": "2"}) == ["python", "a b.py", "--lr=1", "d", "2", "d", "{x}"]


@pytest.mark.parametrize(
    ("written", "placeholder"),
    [
        ("{a}", Placeholder("a", MISSING, MISSING)),
        ("{a:str=}", Placeholder("a", str, "")),
        ("{a:=x}", Placeholder("a", str, "x")),
        ("{a:bool=true}", Placeholder("a", bool, True)),
        ("{a:int=-3}", Placeholder("a", int, -3)),
    ],
)
def test_types_and_defaults(written: str, placeholder: Placeholder) -> None:
    assert list(Template.of(f"x {written}").placeholders()) == [placeholder]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a command is text"),
        ("  ", "a command is text"),
        ("echo 'x", "does not split into words"),
        ("echo {", "a brace itself is written twice"),
        ("echo {}", "is no name of an argument"),
        ("echo {0}", "is no name of an argument"),
        ("echo {a.b}", "is no name of an argument"),
        ("echo {a!r}", "is no name of an argument"),
        ("echo {a:flot}", "a type is one of"),
        ("echo {a:int=x}", "is no int"),
        ("echo {a:int} {a:float}", "declared in two ways"),
    ],
)
def test_what_is_no_command(text: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Template.of(text)


@given(st.text())
def test_a_value_is_never_split_nor_read(value: str) -> None:
    assert Template.of("run -x={a} {a}").filled({"a": value}) == ["run", f"-x={value}", value]


@settings(max_examples=20)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30))
def test_a_shell_gets_it_quoted(value: str) -> None:
    words = Template.of("printf %s {a}", shell=True).filled({"a": value})
    assert words[:2] == ["/bin/sh", "-c"]
    assert shlex.split(words[2])[2:] == [value]
    assert subprocess.run(words, capture_output=True, check=True).stdout.decode() == value
