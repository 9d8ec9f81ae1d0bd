"""Options that commands share: ``--refresh [STEP]``, ``-P``, ``--json``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import Hpo
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines import ParameterError
from hpo_pipelines.cli.options import _plain, assignments, refreshed, settled

VALUED = {"-P", "--param", "--from", "--executor"}


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("churn#3 --refresh", "churn#3 --refresh=*"),
        ("--refresh churn#3", "--refresh=* churn#3"),
        ("churn#3 --refresh fit", "churn#3 --refresh=fit"),
        ("--refresh fit churn#3", "--refresh=fit churn#3"),
        ("--refresh churn", "--refresh=* churn"),
        ("--refresh fit churn", "--refresh=fit churn"),
        ("x.py:p --refresh -P lr=1", "x.py:p --refresh=* -P lr=1"),
        ("-P lr=1 --refresh x.py:p", "-P lr=1 --refresh=* x.py:p"),
        ("--refresh x.py --refresh fit", "--refresh=* x.py --refresh=fit"),
        ("--refresh fit --refresh evaluate x:p", "--refresh=fit --refresh=evaluate x:p"),
        ("--refresh fit --refresh x:p", "--refresh=fit --refresh=* x:p"),
        ("--refresh=fit x:p", "--refresh=fit x:p"),
        ("--refresh -- x:p", "--refresh=* -- x:p"),
        ("--refresh fit -- x:p", "--refresh=fit -- x:p"),
        ("x:p -- --refresh", "x:p -- --refresh"),
        ("--refresh --json x:p", "--refresh=* --json x:p"),
        ("--executor local --refresh x:p", "--executor local --refresh=* x:p"),
        ("x:p", "x:p"),
        ("", ""),
    ],
)
def test_what_stands_behind_refresh(typed: str, read: str) -> None:
    assert settled(typed.split(), VALUED) == read.split()


@given(st.lists(st.sampled_from(["--refresh", "--refresh=a", "-P", "x=1", "fit", "churn#3", "--json", "--", "-x"])))
def test_settling_leaves_no_open_refresh_and_loses_no_word(args: list[str]) -> None:
    read = settled(args, VALUED)
    head = read[: read.index("--")] if "--" in read else read
    values = {index + 1 for index, word in enumerate(head) if word in VALUED}
    assert not [word for index, word in enumerate(head) if word == "--refresh" and index not in values]
    words = [word for word in args if not word.startswith("-")]
    kept = [word.removeprefix("--refresh=") for word in read]
    assert [word for word in kept if word in words and word != "*"].count("fit") == words.count("fit")
    assert settled(read, VALUED) == read


def test_refreshing_everything_or_some_steps() -> None:
    assert refreshed(("*",)) is True
    assert refreshed(("fit", "*")) is True
    assert refreshed(("fit", "load")) == ["fit", "load"]
    assert refreshed(()) == []


@pytest.mark.parametrize("refresh", [["--refresh"], ["--refresh", "number"], ["--refresh=number"]])
@pytest.mark.parametrize("first", [True, False])
def test_refresh_through_click(hpo: Hpo, home: Path, refresh: list[str], first: bool) -> None:
    from cli.conftest import BODIES

    target = f"{BODIES}:simple"
    assert hpo("run", target).code == 0
    ended = hpo("run", *([*refresh, target] if first else [target, *refresh]), "--json")
    ran = {step["step"]: step["reused_from"] is None for step in ended.document["steps"]}
    assert ran == {"number": True, "add": refresh == ["--refresh"]}
    again = hpo("rerun", *([*refresh, "simple#1"] if first else ["simple#1", *refresh]), "--json")
    assert {step["step"]: step["reused_from"] is None for step in again.document["steps"]} == ran


def test_assignments() -> None:
    assert assignments(["a=1", " b =x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ParameterError, match="-P"):
            assignments(wrong)


def test_what_json_has_no_word_for_is_text() -> None:
    value = {"a": [float("nan"), float("inf"), (float("-inf"), 1.5)], 2: {"b": None}}
    assert _plain(value) == {"a": ["NaN", "Infinity", ["-Infinity", 1.5]], "2": {"b": None}}
