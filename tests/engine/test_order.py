"""What many wait for leaves the line of its executor first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.going import Going, begun
from samples import sharing
from services import wait_until

from hpo_pipelines import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("HPO_LOCAL_CPUS", "1")
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def test_a_step_that_others_wait_for_overtakes_those_that_nobody_waits_for(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    busy = Going(workspace, sharing.shared, executor="local", folder=str(folder), x=1.0)
    begun(folder)  # the only worker
    waiting = []
    for name in ("alone", "alone as well", "wanted"):
        waiting.append(Going(workspace, sharing.noting, executor="local", folder=str(folder), name=name))
        step = waiting[-1]
        wait_until(lambda step=step: step.reason("noted") == "waits for a free worker", "it to wait in line")
    for x in (1, 2):
        waiting.append(Going(workspace, sharing.noting, executor="local", folder=str(folder), name="wanted", x=x))
        waiting[-1].wait_until_computed_elsewhere("noted")
    (folder / "open").touch()
    assert [each.end().error for each in (busy, *waiting)] == [None] * 6
    assert (folder / "order").read_text().splitlines() == ["wanted", "alone", "alone as well"]
