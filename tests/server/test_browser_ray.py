"""The page of a cluster that is Ray's, which has pages of its own: a link leads there."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from clusters import Head, free_address, short_folder
from playwright.sync_api import Page, expect
from samples import shown
from server_process import Served, start
from services import missing

from hpo_pipelines import Workspace

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A cluster with a dashboard, as ``ray start --head`` makes it."""
    if importlib.util.find_spec("aiohttp_cors") is None:
        missing("Ray's dashboard", "pip install 'ray[default]'")
    with short_folder() as folder:
        port = free_address().partition(":")[2]
        options = ("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}")
        made = Head(folder, free_address(), "--num-cpus=1", *options)
        made.dashboard = f"http://127.0.0.1:{port}"
        try:
            made.start()
            yield made
        finally:
            made.kill()


@pytest.fixture(scope="module")
def served(head: Head, workspace: Workspace) -> Iterator[Served]:
    """A server that is attached to it, once a run asks for that."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**head.variables, "RAY_ADDRESS": head.address}.items():
            patched.setenv(name, value)
        server = start(workspace.home, "--no-mlflow")
    yield server
    server.stop()


def test_a_link_leads_to_rays_own_pages(
    page: Page, served: Served, head: Head, workspace: Workspace, tmp_path: Path
) -> None:
    page.goto("/cluster")
    link = page.get_by_role("link", name="Ray dashboard")
    expect(page.get_by_role("heading", name="Nodes")).to_be_visible()
    expect(link).to_have_count(0)
    draft = workspace.draft(shown.churn, {"folder": str(tmp_path)}, executor="ray")
    httpx2.post(f"{served.url}/api/v1/runs/{draft.id}/submit", timeout=60).raise_for_status()
    expect(link).to_have_attribute("href", head.dashboard)
    expect(page.get_by_role("img", name="1 CPU in use")).to_be_visible()
    told = httpx2.get(f"{served.url}/api/v1/nodes").json()["items"]
    assert [each["dashboard"] for each in told] == [head.dashboard]
    # It leaves our origin, and says nothing of where it came from.
    assert set((link.get_attribute("rel") or "").split()) == {"noopener", "noreferrer"}
    with page.context.expect_page() as opening:
        link.click()
    opened = opening.value
    expect(opened).to_have_title("Ray Dashboard")
    assert opened.url.startswith(head.dashboard)
    assert opened.evaluate("window.opener") is None
    opened.close()
    expect(page.get_by_role("heading", name="Cluster")).to_be_visible()
