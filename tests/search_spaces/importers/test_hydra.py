from __future__ import annotations

from typing import Any

import pytest

from search_spaces import Categorical, Fixed, Float, Int, SpaceError
from search_spaces.importers import Imported, import_space


def overrides(*texts: str) -> Imported:
    return import_space(list(texts), "hydra" if any("(" in text or "," in text for text in texts) else None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("choice(1, 2, 4)", Categorical([1, 2, 4])),
        ("choice(a,'b c',null,true)", Categorical(["a", "b c", None, True])),
        ("choice([64,32],{a:1})", Categorical([[64, 32], "{a:1}"])),
        ("adam,sgd", Categorical(["adam", "sgd"])),
        ("interval(1, 5)", Float(1, 5)),
        ("interval(start=0.5, end=1)", Float(0.5, 1)),
        ("int(interval(1, 5))", Int(1, 5)),
        ("tag(log, interval(1e-5, 1e-1))", Float(1e-5, 1e-1, log=True)),
        ("tag(log, int(interval(1, 1000)))", Int(1, 1000, log=True)),
        ("int(tag(log, interval(1, 1000)))", Int(1, 1000, log=True)),
        ("float(choice(1, 2))", Categorical([1.0, 2.0])),
        ("shuffle(range(1, 8, step=3))", Categorical([1, 4, 7])),
        ("sort(3, 1, reverse=true)", Categorical([3, 1])),
        ("shuffle([a, b])", Categorical(["a", "b"])),
    ],
)
def test_sweeps(text: str, expected: Any) -> None:
    if "{a:1}" in text:
        text = text.replace("{a:1}", "{a: 1}")
        expected = Categorical([[64, 32], {"a": 1}])
    found = overrides(f"x={text}")
    assert found.space["x"] == expected
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("range(1, 8)", Int(1, 8)),
        ("range(1,8,step=2)", Int(1, 7, step=2)),
        ("range(8)", Int(0, 8)),
        ("range(0, 1, step=0.25)", Float(0, 1, step=0.25)),
        ("float(range(1, 3))", Float(1, 3, step=1)),
        ("range(start=2, stop=4)", Int(2, 4)),
    ],
)
def test_a_range_includes_its_end_as_the_optuna_sweeper_does(text: str, expected: Any) -> None:
    found = overrides(f"x={text}")
    assert found.space["x"] == expected
    assert len(found.warnings) == 1
    assert "range includes its end" in found.warnings[0]


def test_names_fixed_values_and_what_is_no_parameter() -> None:
    found = overrides("+model.lr=interval(0.1, 1)", "model/kind=a,b", "seed=7", "name='x, y'", "~old=1", "hydra.job=x")
    assert list(found.space) == ["model.lr", "model.kind", "seed", "name"]
    assert found.space["seed"] == Fixed(7)
    assert found.space["name"] == Fixed("x, y")
    assert len(found.warnings) == 2


@pytest.mark.parametrize("key", ["nested", "dotted"])
def test_the_sweepers_section_of_a_config(key: str) -> None:
    sweeper = {"params": {"x": "range(1, 3)", "y": "choice(a, b)", "z": 3}, "n_trials": 20}
    found = import_space({"hydra": {"sweeper": sweeper}} if key == "nested" else {"hydra.sweeper": sweeper})
    assert found.format == "hydra"
    assert dict(found.space) == {"x": Int(1, 3), "y": Categorical(["a", "b"]), "z": Fixed(3)}
    assert "n_trials" in found.warnings[0]


def test_the_search_space_of_hydra_1_1() -> None:
    old = {
        "x": {"type": "float", "low": -5.5, "high": 5.5, "step": 0.5},
        "y": {"type": "categorical", "choices": [1, 2]},
    }
    found = import_space({"hydra": {"sweeper": {"search_space": old}}})
    assert dict(found.space) == {"x": Float(-5.5, 5.5, step=0.5), "y": Categorical([1, 2])}


def test_lines_of_a_command() -> None:
    found = import_space("# a comment\nlr=tag(log, interval(1e-5, 1e-1))\n\nepochs=3\n")
    assert dict(found.space) == {"lr": Float(1e-5, 1e-1, log=True), "epochs": Fixed(3)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("glob(*)", "'glob' of .* has no counterpart"),
        ("intervall(1, 2)", "Did you mean 'interval'"),
        ("interval(1)", "an interval has start and end"),
        ("interval(a, 2)", "numbers called start, end are wanted; got 'a'"),
        ("interval(1, 2, 3)", "numbers called start, end"),
        ("range()", "a range has start and stop"),
        ("range(1, 3, stpe=1)", "numbers called start, stop, step"),
        ("range(8, 1, step=-1)", "step above 0"),
        ("tag(log, 3)", "tag is about a sweep"),
        ("str(interval(1, 2))", "str of a interval has no counterpart"),
        ("shuffle(interval(1, 2))", "a choice or a range is wanted"),
    ],
)
def test_wrong_sweeps_are_refused_with_their_name(text: str, words: str) -> None:
    with pytest.raises(SpaceError, match=rf"^x: .*{words}|{words}"):
        import_space([f"x={text}", "y=choice(1,2)"])
