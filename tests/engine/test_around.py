"""Callbacks before and after steps, in a run and in plain functions: with the same meaning."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import called

from hpo_pipelines import Callbacks, DefinitionError, ParameterError, Status, StepSkipped, Workspace, component, skip
from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.run import Run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("called")) as opened:
        yield opened


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(called.LOG, str(tmp_path / "log"))
    return tmp_path / "log"


def lines(log: Path) -> list[str]:
    found = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def run(workspace: Workspace, pipeline: Any, executor: str = "inline", **params: Any) -> Run:
    return pipeline.run(executor=executor, workspace=workspace, **params)  # type: ignore[no-any-return]


@pytest.mark.parametrize("executor", ["inline", "local", pytest.param("ray", marks=pytest.mark.integration)])
def test_before_and_after_a_step(workspace: Workspace, log: Path, executor: str) -> None:
    x = {"inline": 3, "local": 4, "ray": 5}[executor]
    assert run(workspace, called.calling, executor, x=x).value == {"second": 2 * x + 1, "third": 5}
    expected = [f"before fit x={x} y=2", f"after fit completed {{'value': {2 * x}}}"]
    assert lines(log) == expected
    again = run(workspace, called.calling, executor, x=x)
    assert again.steps["fit"].reused_from is not None
    assert lines(log) == expected  # whatever stands in for it
    assert called.calling(x=x) == again.value
    assert lines(log) == expected


def test_a_skipped_step_and_what_depends_on_it(workspace: Workspace, log: Path) -> None:
    left_out = run(workspace, called.calling, x=11, look="nothing")
    assert (left_out.status, left_out.value) == (Status.COMPLETED, {"third": 5})
    assert [(step.status, step.reason) for step in left_out.steps.values()][:2] == [
        (Status.SKIPPED, "skipped by its callback: x is large"),
        (Status.SKIPPED, "upstream fit was skipped"),
    ]
    assert left_out.steps["use.2"].status is Status.COMPLETED
    assert lines(log) == ["before fit x=11 y=2"]
    assert workspace.store.check() == []
    assert called.calling(x=11, look="nothing") == {"third": 5}
    assert run(workspace, called.calling, x=-1, look="nothing").steps["fit"].reason == "skipped by its callback"


def test_its_value_cannot_be_looked_at(workspace: Workspace, log: Path) -> None:
    message = "step fit was skipped by its callback: x is large"
    for look in ("caught",):
        assert run(workspace, called.calling, x=12, look=look).value == {"caught": message, "third": 5}
        assert called.calling(x=12, look=look) == {"caught": message, "third": 5}
    failed = run(workspace, called.calling, x=12)  # it is returned
    assert (failed.status, failed.reason) == (Status.FAILED, "step fit was skipped")
    assert (failed.error or {})["type"] == "StepSkipped"
    with pytest.raises(StepSkipped, match=message):
        called.calling(x=12)


def test_a_callback_looks_at_arguments_as_the_body_does(workspace: Workspace, log: Path) -> None:
    assert run(workspace, called.chained, "local", x=2).value == called.chained(x=2) == 4
    assert [line for line in lines(log) if line.startswith("before")] == [
        "before fit x=2 y=2",
        "before fit x=4 y=1",
        "before fit x=2 y=2",
        "before fit x=4 y=1",
    ]
    for failed in (run(workspace, called.chained, x=20), run(workspace, called.chained, x=6)):
        assert failed.reason in ("step fit was skipped", "step fit.2 was skipped")
    with pytest.raises(StepSkipped):
        called.chained(x=6)


def test_a_failed_step_is_told_of(workspace: Workspace, log: Path) -> None:
    assert run(workspace, called.calling, x=1, y=0).status is Status.FAILED
    expected = ["before fit x=1 y=0", "after fit failed ZeroDivisionError: 1 / 0"]
    assert lines(log) == expected
    with pytest.raises(ZeroDivisionError):
        called.calling(x=1, y=0)
    assert lines(log) == expected


def test_what_a_callback_after_raises_changes_nothing(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "hpo_pipelines"):
        assert run(workspace, called.tripped).value == 5
        assert called.tripped() == 5
    assert [record.message for record in caplog.records] == ["the callback after split raised; the run goes on"] * 2


def test_what_a_callback_before_raises_is_raised_by_the_call(workspace: Workspace) -> None:
    failed = run(workspace, called.refused)
    assert (failed.status, (failed.error or {})["type"]) == (Status.FAILED, "OSError")
    assert failed.steps == {}
    with pytest.raises(OSError, match="the callback is broken"):
        called.refused()


def test_an_answer_is_skip_or_none(workspace: Workspace) -> None:
    message = r"before unclear returned False; it returns skip, skip\(reason\), or None"
    with pytest.raises(ParameterError, match=message):
        called.answered()
    assert (run(workspace, called.answered).error or {})["type"] == "ParameterError"


def test_a_resumed_run_asks_again_and_tells_once(workspace: Workspace, log: Path) -> None:
    failed = run(workspace, called.calling, x=13)
    lines(log)
    resumed = failed.resume()
    assert resumed.reason == "step fit was skipped"
    assert lines(log) == ["before fit x=13 y=2"]
    assert [step.status for step in resumed.steps.values()] == [Status.SKIPPED, Status.SKIPPED, Status.COMPLETED]
    assert workspace.store.check() == []
    broken = run(workspace, called.calling, x=9, y=0)
    lines(log)
    broken.resume()  # fails again, and is told of again: it was tried again
    assert lines(log) == ["before fit x=9 y=0", "after fit failed ZeroDivisionError: 9 / 0"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=st.integers(-2, 14), y=st.integers(0, 2), look=st.sampled_from(["", "caught", "nothing"]))
def test_erased_is_traced(workspace: Workspace, log: Path, x: int, y: int, look: str) -> None:
    try:
        erased: Any = called.calling(x=x, y=y, look=look)
    except (ZeroDivisionError, StepSkipped) as error:
        erased = type(error).__name__
    said = lines(log)
    traced = run(workspace, called.calling, x=x, y=y, look=look)
    got = traced.value if traced.status is Status.COMPLETED else (traced.error or {})["type"]
    assert got == erased
    assert lines(log) == said


def test_callbacks_are_no_part_of_a_key() -> None:
    def body(x: int) -> int:
        return x

    plain, watched = component(body), component(callbacks=Callbacks(before=lambda call: skip))(body)
    assert code_fingerprint(plain.function) == code_fingerprint(watched.function)


@pytest.mark.parametrize("wrong", ["print", 1])
def test_a_callback_is_a_function(wrong: Any) -> None:
    with pytest.raises(DefinitionError, match="is a function that takes a Call"):
        Callbacks(after=wrong)
    with pytest.raises(DefinitionError, match="callbacks takes a Callbacks"):
        component(callbacks=wrong)(lambda: None)
