from __future__ import annotations

from typing import Any

import pytest

from hpo_pipelines import context, report


class Listening:
    def __init__(self) -> None:
        self.heard: list[tuple[str, float, int | None]] = []

    def report(self, name: str, value: float, step: int | None) -> None:
        self.heard.append((name, value, step))


def test_outside_a_run_a_report_goes_nowhere_but_is_checked() -> None:
    report("auc", 0.5)
    with pytest.raises(TypeError, match="a metric is a number"):
        report("auc", "0.5")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [("", 1.0, None), (3, 1.0, None), ("a", None, None), ("a", 1.0, -1), ("a", 1.0, True), ("a", 1.0, 0.5)]
)
def test_wrong_reports(wrong: tuple[Any, Any, Any]) -> None:
    with pytest.raises(TypeError):
        report(*wrong)


def test_a_step_hears_before_its_pipeline_would() -> None:
    listening = Listening()
    token = context.reporter.set(listening)
    try:
        report("auc", 1, step=3)
        report("loss", float("inf"))
    finally:
        context.reporter.reset(token)
    assert listening.heard == [("auc", 1.0, 3), ("loss", float("inf"), None)]
