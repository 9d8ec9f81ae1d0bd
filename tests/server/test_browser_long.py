"""What is long: a run of 500 steps, a list of 5,000 runs while more come, twenty tabs across a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect
from server_process import Served

from benchmarks.runs import long_run, many_runs
from benchmarks.tabs import followed
from hpo_pipelines import Workspace
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.types import Kind

pytestmark = [pytest.mark.integration, pytest.mark.browser]

RUNS = TaskFilter(kind=Kind.PIPELINE, top=True, archived=False)
SECONDS = 15.0
"""Two, on a machine that has nothing else to do."""


def test_a_run_of_500_steps_can_be_used_at_once(page: Page, workspace: Workspace) -> None:
    run = long_run(workspace, 500)
    page.goto(f"/runs/{run.id}")
    expect(page.locator("#center tr a[data-step]")).to_have_count(500)
    expect(page.locator("#live")).to_have_text("Live")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive") < 1000 * SECONDS
    row = page.locator('#center tr:has(a[data-step="part_321"])')
    taken = page.evaluate(
        """() => new Promise(done => {
            const link = document.querySelector('#center a[data-step="part_321"]'), began = performance.now();
            const seen = new MutationObserver(() => { seen.disconnect(); done(performance.now() - began); });
            seen.observe(link.closest("tr"), { attributes: true, attributeFilter: ["aria-selected"] });
            link.click();
        })"""
    )
    expect(row).to_have_attribute("aria-selected", "true")
    assert taken < 100 * SECONDS / 2, f"{taken} ms"


def test_a_list_of_5000_runs_neither_repeats_nor_hides_while_more_come(served: Served, workspace: Workspace) -> None:
    many_runs(workspace, 5000)
    with httpx2.Client(base_url=f"{served.url}/api/v1", timeout=60) as client:
        for sort in ("-created", "seconds"):
            known = {run.id for run in workspace.store.tasks.list(RUNS, limit=None)}
            seen = []
            for count, item in enumerate(_pages(client, sort)):
                seen.append(item["id"])
                if count % 1000 == 0:
                    workspace.store.tasks.create(workspace.store.tasks.get(item["id"]).clone())
            assert len(seen) == len(set(seen)), sort
            assert known <= set(seen), sort
            assert len(known) >= 5000
    project = next(each for each in workspace.store.overview.pipelines() if each.pipeline == "grown")
    page = httpx2.get(f"{served.url}/pipelines/{project.project}/grown", timeout=60)
    assert f"{project.runs}" in page.text


def _pages(client: httpx2.Client, sort: str) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        answer = client.get("/runs", params={"sort": sort, "limit": 500, **cursor}).raise_for_status().json()
        yield from answer["items"]
        if answer["next"] is None:
            return
        cursor = {"cursor": answer["next"]}


def test_tabs_lose_and_double_nothing_across_a_restart(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    home = tmp_path / "home"
    home.mkdir()
    found = followed(home, 20, 15.0, browser=chromium)
    assert found.missed == [0] * 40
    assert found.doubled == [0] * 40
    assert min(found.streams) >= 2, "each tab came back after the restart"
    assert found.shown == [f"line {number}" for number in range(found.lines)]
