from __future__ import annotations

from typing import Any

import pytest

from search_spaces import Categorical, Float, Int, SpaceError
from search_spaces.importers import import_space


def one(kind: str, **space: Any) -> Any:
    return import_space([{"name": "x", "parameterType": kind, "feasibleSpace": space}])


@pytest.mark.parametrize(
    ("kind", "space", "expected"),
    [
        ("double", {"min": "0.01", "max": "0.03"}, Float(0.01, 0.03)),
        ("double", {"min": "1", "max": "3"}, Float(1, 3)),
        ("double", {"min": "0", "max": "1", "step": "0.25"}, Float(0, 1, step=0.25)),
        ("double", {"min": "1e-5", "max": "1e-1", "distribution": "logUniform"}, Float(1e-5, 1e-1, log=True)),
        ("int", {"min": "2", "max": "5"}, Int(2, 5)),
        ("int", {"min": "16", "max": "128", "step": "16"}, Int(16, 128, step=16)),
        ("int", {"min": "1", "max": "1000", "distribution": "logUniform"}, Int(1, 1000, log=True)),
        ("discrete", {"list": ["1", "4", "16"]}, Categorical([1, 4, 16])),
        ("discrete", {"list": ["0.5", "1"]}, Categorical([0.5, 1.0])),
        ("categorical", {"list": ["sgd", "adam"]}, Categorical(["sgd", "adam"])),
    ],
)
def test_strings_become_what_they_are(kind: str, space: dict[str, Any], expected: Any) -> None:
    found = one(kind, **space)
    assert found.space["x"] == expected
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("kind", "space", "expected", "warning"),
    [
        (
            "categorical",
            {"list": ["8", "16"]},
            Categorical(["8", "16"]),
            "look like numbers, but a categorical is text",
        ),
        ("double", {"min": "0", "max": "6", "distribution": "normal"}, Float(0, 6), "normal has no counterpart"),
        ("double", {"min": "1", "max": "8", "distribution": "logNormal"}, Float(1, 8, log=True), "evenly in the log"),
        ("int", {"min": "1", "max": "8", "step": "2", "distribution": "logUniform"}, Int(1, 8, log=True), "step 2"),
    ],
)
def test_traps_are_warned_of(kind: str, space: dict[str, Any], expected: Any, warning: str) -> None:
    found = one(kind, **space)
    assert found.space["x"] == expected
    assert len(found.warnings) == 1
    assert warning in found.warnings[0]


def test_a_whole_experiment() -> None:
    found = import_space(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "spec": {
                "objective": {"type": "maximize"},
                "parameters": [{"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.1", "max": "1"}}],
            },
        }
    )
    assert found.format == "katib"
    assert found.space["lr"] == Float(0.1, 1)
    assert found.warnings == ("spec: left out, since a space has only parameters: objective.",)


@pytest.mark.parametrize(
    ("kind", "space", "words"),
    [
        ("int", {"min": "2.5", "max": "5"}, r"0\.feasibleSpace\.?.*whole number; got 2.5"),
        ("int", {"min": "two", "max": "5"}, r"0\.feasibleSpace\..*finite number; got 'two'"),
        ("double", {"min": "2"}, "max is missing"),
        ("doubel", {"min": "2", "max": "3"}, r"0\.parameterType: Katib has no type 'doubel'. Did you mean 'double'"),
        ("double", {"min": "2", "max": "3", "distribution": "loguniform"}, "Did you mean 'logUniform'"),
    ],
)
def test_wrong_parameters_are_refused_with_their_place(kind: str, space: dict[str, Any], words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        one(kind, **space)


def test_a_name_comes_once() -> None:
    parameter = {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "2"}}
    with pytest.raises(SpaceError, match="'x' comes twice"):
        import_space([parameter, parameter])
