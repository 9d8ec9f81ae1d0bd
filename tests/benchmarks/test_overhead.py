from __future__ import annotations

import json

import pytest

from benchmarks import overhead


def test_places_are_the_begin_doublings_and_the_end() -> None:
    assert overhead._places(10_000) == [150, 500, 1000, 2000, 4000, 8000, 10_000]
    assert overhead._places(300) == [150, 300]


def test_a_short_study_has_no_two_windows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        overhead.main(["-n", "299"])
    assert "at least 300" in capsys.readouterr().err


@pytest.mark.integration
def test_a_small_one_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert overhead.main(["-n", "300", "--without", "--json"]) in (0, 1)  # how quick it is is no matter of a test
    early, late, verdict = map(json.loads, capsys.readouterr().out.splitlines())
    assert (early["trials"], late["trials"]) == (150, 300)
    for row in (early, late):
        assert min(row[name] for name in ("wall_ms", "cpu_ms", "random_ms", "tpe_ms", "memory_mb")) > 0
    assert verdict["cpu_ratio"] == pytest.approx(late["cpu_ms"] / early["cpu_ms"])
    assert verdict["store_mb"] > 0
