"""The page of the cluster: what is in use and by what, why steps wait, and how that changes before one's eyes."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from samples import shown
from server_process import Served, start
from services import wait_until

from hpo_pipelines import Workspace
from hpo_pipelines.run import Run

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    """A server whose machine has one CPU."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HPO_LOCAL_CPUS", "1")
        server = start(workspace.home, "--no-mlflow")
    yield server
    server.stop()


def submitted(served: Served, base: Run, **params: Any) -> Run:
    answer = httpx2.post(f"{served.url}/api/v1/runs/{base.id}/clone", json={"params": params, "submit": True})
    assert answer.status_code == 201, answer.text
    return base.workspace.run_called(answer.json()["id"])


def test_a_step_waits_for_what_another_holds_and_starts_when_it_is_free(
    page: Page, served: Served, workspace: Workspace, tmp_path: Path
) -> None:
    base = workspace.run(shown.churn, {"folder": str(tmp_path)})
    first = submitted(served, base, lr=0.2, gate="one")
    wait_until((tmp_path / "one.began").exists, "the first step to begin")
    page.goto("/cluster")
    node = page.get_by_role("region", name=re.compile("^Node "))
    expect(node.get_by_role("img", name="1 of 1 CPU in use")).to_be_visible()
    expect(node).to_contain_text(f"fit of {first.label}")
    expect(node).to_contain_text("1 CPU")
    second = submitted(served, base, lr=0.3, gate="two")
    waiting = page.get_by_role("region", name="Steps that wait")
    line = waiting.locator("tr", has=page.get_by_role("link", name=second.label, exact=True)).filter(has_text="fit")
    reason = f"waits for a free worker: 1 of 1 CPU in use by {first.label}/fit"
    expect(line.filter(has_text=reason)).to_be_visible()
    told = httpx2.get(f"{served.url}/api/v1/nodes").json()["items"]
    assert [each["resources"]["CPU"] for each in told] == [{"used": 1.0, "total": 1.0}]
    assert [(one["run"], one["step"], one["holds"]) for one in told[0]["steps"]] == [(first.label, "fit", {"CPU": 1.0})]
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}
    assert Axe().run(page, options=rules).response["violations"] == []
    (tmp_path / "one").touch()
    wait_until((tmp_path / "two.began").exists, "the second step to begin")
    expect(node).to_contain_text(f"fit of {second.label}")
    expect(line.filter(has_text="free worker")).to_have_count(0)
    (tmp_path / "two").touch()
    expect(node.get_by_role("img", name="0 of 1 CPU in use")).to_be_visible()
    expect(node).to_contain_text("No step of ours is there")


def test_what_another_process_runs_by_itself_is_seen_while_it_runs(
    page: Page, workspace: Workspace, tmp_path: Path
) -> None:
    draft = workspace.draft(shown.churn, {"folder": str(tmp_path), "gate": "bare"})
    driving = threading.Thread(target=lambda: workspace.start(draft.id))
    driving.start()
    page.goto("/cluster")
    node = page.get_by_role("region", name=re.compile("^Node ")).filter(has_text=draft.label)
    try:
        expect(node).to_contain_text(f"fit of {draft.label}")
        expect(node).to_contain_text(f"local, of the process {os.getpid()} on ")
        expect(page.get_by_role("link", name="Ray dashboard")).to_have_count(0)
    finally:
        (tmp_path / "bare").touch()
        driving.join(60)
    expect(page.get_by_text(f"of the process {os.getpid()} on ")).to_have_count(0)
