"""Streams and consoles: a tab that nobody looks at has none, many tabs load, a long log opens at its end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect
from samples import shown

from hpo_pipelines import Workspace
from hpo_pipelines.run import Run

pytestmark = [pytest.mark.integration, pytest.mark.browser]

TABS = 7
"""One more than a browser has connections to one server (HTTP/1.1)."""
MEGABYTES = 50
SECONDS = 10.0
"""Two, on a machine that has nothing else to do."""

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""What a browser does when another tab is looked at; one without a window shows all of them."""


@pytest.fixture(scope="module")
def base(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return workspace.run(shown.churn, {"folder": str(tmp_path_factory.mktemp("marks"))}, executor="inline")


def test_a_tab_that_is_hidden_has_no_stream_and_goes_on_where_it_was(page: Page, base: Run) -> None:
    opened: list[Request] = []
    page.on("request", lambda request: opened.append(request) if "/api/v1/events" in request.url else None)
    page.goto(f"/runs/{base.id}")
    expect(page.locator("#live")).to_have_text("Live")
    with page.expect_event("requestfailed", lambda request: "/api/v1/events" in request.url):
        page.evaluate(HIDE, True)
    expect(page.locator("#live")).to_have_text("Paused")
    assert len(opened) == 1
    base.annotate(notes="written while nobody looked")
    page.evaluate(HIDE, False)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#inspector")).to_contain_text("written while nobody looked")
    assert len(opened) == 2
    assert re.search(r"after=\d+", opened[1].url)


def test_seven_tabs_load(chromium: Browser, served: Any, base: Run) -> None:
    context = chromium.new_context(base_url=served.url)
    pages: list[Page] = []
    streams: list[str] = []
    for _ in range(TABS):
        for other in pages:
            other.evaluate(HIDE, True)
        pages.append(context.new_page())
        pages[-1].on("request", lambda request: streams.append(request.url) if "/events" in request.url else None)
        pages[-1].goto(f"/runs/{base.id}?tab=console")
        expect(pages[-1].locator("#live")).to_have_text("Live")
        expect(pages[-1].locator("#console")).to_contain_text("controller has called everything")
    assert len(streams) == TABS, "one for each"
    pages[-1].evaluate(HIDE, True)
    pages[0].evaluate(HIDE, False)
    expect(pages[0].locator("#live")).to_have_text("Live")
    context.close()


def test_a_long_log_opens_at_its_end(page: Page, workspace: Workspace) -> None:
    run = workspace.run(shown.talkative, {"count": 3})
    (path,) = run.steps["lines"].console_paths()
    line = "a line that says little, and is as long as most of them are: {:08d}\n"
    count = MEGABYTES * 1_000_000 // len(line.format(0))
    with Path(path).open("a") as file:
        file.writelines(line.format(number) for number in range(count))
    page.goto(f"/runs/{run.id}?step=lines&tab=console")
    console = page.locator("#console")
    expect(console).to_contain_text(f"{count - 1:08d}")
    assert page.evaluate("performance.now()") < 1000 * SECONDS
    assert len(console.inner_text()) < 1_000_000, "all of it was sent"
