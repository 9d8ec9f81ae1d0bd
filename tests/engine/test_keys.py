"""Keys: what enters them, what differs between two, and what escape hatches do."""

from __future__ import annotations

import json
import math
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import bodies

from hpo_pipelines import Cache, Environment, component
from hpo_pipelines.component import Component
from hpo_pipelines.engine.keys import Difference, Key, argument_digest, dependencies, differences, step_key
from hpo_pipelines.fingerprint import code_fingerprint

RATE = 3
HERE = "{}.{}".format(*sys.version_info)


def helper(x: int) -> int:
    return x * RATE


def fit(x: int, *rest: int, verbose: bool = False) -> int:
    return x


def made(outputs: tuple[str, ...] = (), **options: Any) -> Component[..., Any]:
    """``fit`` as a component."""
    if "environment" in options:
        options["environment"] = Environment(**options["environment"])
    return component(outputs=outputs, cache=Cache(**options.pop("cache", {})), **options)(fit)


def key(step: Component[..., Any], first_party: frozenset[str] = frozenset(), **arguments: Any) -> Key:
    found = {name: argument_digest(name, value) for name, value in arguments.items()}
    problems = tuple(problem for _, problem in found.values() if problem)
    code = code_fingerprint(step.function, first_party=first_party)
    return step_key(step, code, {name: digest for name, (digest, _) in found.items()}, problems)


def differing(one: Key, other: Key) -> list[tuple[str, str]]:
    """What differs, after both were stored."""
    stored = [json.loads(json.dumps(dict(each.parts))) for each in (one, other)]
    return [(found.kind, found.name) for found in differences(*stored)]


BASE: dict[str, Any] = {"environment": {"env": {"A": "1"}, "packages": ("x==1",)}, "cache": {"version": "1"}}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"retry": 3, "timeout": 5}, []),
        ({"cache": {"version": "1", "ttl": "7d"}}, []),
        ({"cache": {"version": "2"}}, [("version", "version")]),
        ({"cache": {}}, [("version", "version")]),
        ({"outputs": ("a",)}, [("outputs", "outputs")]),
        ({"environment": {"env": {"A": "2"}, "packages": ("x==1",)}}, [("environment", "env.A")]),
        (
            {"environment": {"env": {"B": "1"}, "packages": ("x==1",)}},
            [("environment", "env.A"), ("environment", "env.B")],
        ),
        ({"environment": {"env": {"A": "1"}}}, [("environment", "packages")]),
        ({"environment": {**BASE["environment"], "image": "slim"}}, [("environment", "image")]),
        ({"environment": {**BASE["environment"], "secrets": ("TOKEN",)}}, []),
        ({"cache": {"version": "1", "depends": (1, "x")}}, [("depends", "depends[0]"), ("depends", "depends[1]")]),
    ],
)  # fmt: skip
def test_options_enter_the_key_or_not_and_differences_say_which(options, expected):
    one, other = key(made(**BASE), x=1), key(made(**{**BASE, **options}), x=1)
    assert differing(one, other) == expected
    assert (one.digest == other.digest) is (not expected)


def test_the_order_of_declared_packages_does_not_count():
    one = made(environment={"packages": ("a", "b")})
    assert key(one, x=1).digest == key(made(environment={"packages": ("b", "a")}), x=1).digest


def test_a_difference_has_what_was_and_what_is():
    one, other = key(made(), x=1), key(made(cache={"version": "2"}), x=1)
    assert differences(one.parts, other.parts) == (Difference("version", "version", None, "2"),)
    (found,) = differences(key(made(), x=1).parts, key(made(), x=1, more=2).parts)
    assert (found.kind, found.name, found.old) == ("inputs", "more", None)
    assert found.new == argument_digest("more", 2)[0]


def test_code_and_packages_differ_piece_by_piece():
    old = {"code": {"digest": "1", "m:f": "a", "m:g": "b"}, "packages": {"numpy": "1", "six": "2"}}
    new = {"code": {"digest": "2", "m:f": "c", "m:h": "d"}, "packages": {"numpy": "2", "pandas": "3"}}
    assert differences(old, new) == (
        Difference("code", "m:f", "a", "c"),
        Difference("code", "m:g", "b", None),
        Difference("code", "m:h", None, "d"),
        Difference("packages", "numpy", "1", "2"),
        Difference("packages", "pandas", None, "3"),
        Difference("packages", "six", "2", None),
    )


OPTIONS = st.fixed_dictionaries(
    {
        "outputs": st.sampled_from([(), ("a",), ("b",)]),
        "timeout": st.sampled_from([None, 5]),
        "cache": st.fixed_dictionaries(
            {
                "version": st.sampled_from([None, "1", "2"]),
                "ignore": st.sampled_from([(), ("verbose",)]),
                "depends": st.sampled_from([(), (1,), (1.0,), (helper,), ([1, helper],)]),
            }
        ),
        "environment": st.fixed_dictionaries(
            {
                "env": st.dictionaries(st.sampled_from("AB"), st.sampled_from("12")),
                "image": st.sampled_from([None, "i"]),
            }
        ),
    }
)
ARGUMENTS = st.fixed_dictionaries({"x": st.sampled_from([1, True, 1.0]), "verbose": st.booleans()})


@given(OPTIONS, ARGUMENTS, OPTIONS, ARGUMENTS)
def test_law_keys_are_equal_if_and_only_if_nothing_differs(options, arguments, other_options, other_arguments):
    one, other = key(made(**options), **arguments), key(made(**other_options), **other_arguments)
    assert one.digest is not None
    assert (one.digest == other.digest) is (differing(one, other) == [])


# ignore=


def test_an_ignored_argument_counts_neither_by_value_nor_by_having_none():
    step = made(cache={"ignore": ("verbose", "rest")})
    one = key(step, x=1, verbose=True, **{"rest[0]": 1})
    assert one.digest == key(step, x=1, verbose=iter([]), **{"rest[0]": iter([])}).digest
    assert one.digest != key(step, x=2, verbose=True, **{"rest[0]": 1}).digest
    assert one.digest is not None
    assert set(one.parts["inputs"]) == {"x"}


def test_an_argument_without_identity_is_named():
    found = key(made(cache={"ignore": ("x",)}), x=1, verbose={"a": [iter([])]})
    assert found.digest is None
    assert found.problem is not None
    assert found.problem.startswith(
        "argument verbose holds at ['a'][0] a value of type list_iterator, which has no identity: "
    )


# depends=


@pytest.fixture
def depending(tmp_path: Path):
    """``depending(*items)`` is the key of a component that depends on them."""
    return lambda *items, **options: key(made(cache={"depends": items}), x=1, **options)


def test_a_function_counts_with_what_it_reaches(depending, monkeypatch):
    before = depending(helper)
    assert {name.partition(":")[2] for name in before.parts["depends"]} == {"helper", "RATE"}
    monkeypatch.setitem(globals(), "RATE", 4)
    after = depending(helper)
    assert before.digest != after.digest
    assert [name.rpartition(":")[2] for _, name in differing(before, after)] == ["RATE"]


def test_values_partials_and_other_components_count(depending):
    import functools

    partials = [depending(functools.partial(helper, x)) for x in (1, 1, 2)]
    assert partials[0].digest == partials[1].digest != partials[2].digest
    assert depending({"a": 1}).digest != depending({"a": 2}).digest
    assert depending(1).digest != depending(True).digest
    assert any("number" in name for name in depending(bodies.number).parts["depends"])


def test_functions_of_one_name_are_two(depending):
    def made_of(amount):
        return lambda x: x + amount

    both = depending(made_of(1), made_of(2))
    swapped = depending(made_of(1), made_of(1))
    assert both.digest != swapped.digest


def test_a_module_of_a_distribution_counts_by_its_version(depending):
    found = depending(textwrap, np)
    assert found.parts["packages"]["numpy"] == np.__version__
    assert found.digest is not None


def test_first_party_distributions_are_followed(depending):
    import six

    assert "six:*" in depending(six, first_party=frozenset({"six"})).parts["depends"]
    assert "six:*" not in depending(six).parts["depends"]


def test_paths_count_by_content_wherever_they_lie(depending, tmp_path):
    for folder in ("one", "other"):
        (tmp_path / folder / "data").mkdir(parents=True)
        (tmp_path / folder / "data/x.csv").write_text("1\n")
    paths = [[tmp_path / folder / "data", tmp_path / folder / "data/x.csv"] for folder in ("one", "other")]
    one, other = (depending(*each) for each in paths)
    assert one.digest == other.digest
    assert list(one.parts["depends"]) == ["data", "x.csv"]
    assert depending(paths[0]).digest == one.digest  # A list stands for its items.
    (tmp_path / "one/data/x.csv").write_text("2\n")
    assert differing(one, depending(*paths[0])) == [("depends", "data"), ("depends", "x.csv")]


def test_files_of_one_name_are_two(depending, tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text(folder)
    assert list(depending(tmp_path / "a/x", tmp_path / "b/x").parts["depends"]) == ["x", "x#2"]


def test_what_is_not_there_or_has_no_identity_is_named(depending, tmp_path):
    absent = depending(tmp_path / "absent.csv")
    assert absent.digest is None
    assert absent.problem == f"depends[0] cannot be read: {tmp_path}/absent.csv: No such file or directory"
    stream = depending(1, [iter([])])
    assert stream.digest is None
    assert stream.problem is not None
    assert "depends[1][0]" in stream.problem


def test_without_dependencies_there_is_nothing_to_say():
    assert dependencies(made()).digests == {}
    assert "depends" not in key(made(), x=1).parts


# One key for a scalar, wherever it comes from.


@pytest.mark.parametrize("value", [1, 1.0, True, "1", -0.0, math.nan, None, (1, 2), {"b": 1, "a": 2}])
def test_an_artifact_and_a_literal_have_one_identity(value, tmp_path):
    from hpo_pipelines.artifacts import ArtifactStore

    stored = ArtifactStore(str(tmp_path)).put(value, name="x")
    assert stored.value_digest == argument_digest("x", value)[0]


def test_the_python_is_the_drivers_whether_it_is_named_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    one = key(made(), x=1)
    assert key(made(environment={"python": f"{HERE}.1"}), x=1).digest == one.digest
    monkeypatch.setattr("hpo_pipelines.engine.keys.sys", types.SimpleNamespace(version_info=(3, 99)))
    assert differing(one, key(made(), x=1)) == [("environment", "python")]


def test_what_a_file_among_the_packages_holds_counts(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    step = made(environment={"packages": (f"tiny @ {wheel.as_uri()}",)})
    keys = [key(step, x=1)]
    for content in ("one", "two", "one"):
        wheel.write_text(content)
        keys.append(key(step, x=1))
    assert keys[1].digest == keys[3].digest
    assert len({each.digest for each in keys}) == 3
    assert differing(keys[1], keys[2]) == [("environment", "files")]
