"""What holds for every page: accessible, inert, fitting, live across a restart, and still while one reads."""

from __future__ import annotations

import itertools
import re
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from samples import shown
from server_process import start
from services import wait_until

from hpo_pipelines import Float, Study, Workspace, optimize
from hpo_pipelines.run import Run

pytestmark = [pytest.mark.integration, pytest.mark.browser]

RULES = {
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
"""What else than colours could differ between the themes?"""

TRIES = itertools.count(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def base(workspace: Workspace, folder: Path) -> Run:
    return workspace.run(shown.churn, {"folder": str(folder)})


@pytest.fixture(scope="module")
def broken(workspace: Workspace, folder: Path) -> Run:
    return workspace.run(shown.churn, {"folder": str(folder), "broken": True})


@pytest.fixture(scope="module")
def study(workspace: Workspace, folder: Path) -> Study:
    space = {"lr": Float(0.01, 1.0), "folder": {"value": str(folder)}}
    return optimize(shown.churn, space, "fit.auc", n_trials=5, seed=1, name="axe", progress=False, workspace=workspace)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(chromium: Browser, served: Any, base: Run, broken: Run, study: Study, theme: str) -> None:
    context = chromium.new_context(base_url=served.url, viewport={"width": 1440, "height": 900}, color_scheme=theme)
    page = context.new_page()
    pages = [
        "/pipelines",
        "/pipelines/shop/churn",
        f"/runs/{base.id}",
        f"/runs/{base.id}?step=fit&tab=code&view=timeline",
        f"/runs/{base.id}?tab=console&view=steps",
        f"/runs/{broken.id}?step=fit&tab=why",
        f"/runs/{base.id}/new",
        "/studies",
        "/cluster",
        f"/studies/{study.id}",
        f"/studies/{study.id}/enqueue?trial=1",
        f"/runs/{base.id}/study",
        f"/compare?runs={base.id},{broken.id}",
        "/runs/01NOTHING",
    ]
    found = []
    for address in pages:
        page.goto(address)
        page.wait_for_load_state("load")
        page.evaluate("document.fonts.ready")
        results = Axe().run(page, options=RULES[theme])
        for violation in results.response["violations"]:
            found += [
                f"{address} {violation['id']} {node['target']} {node['failureSummary']}" for node in violation["nodes"]
            ]
    context.close()
    assert not found, "\n".join(found[:20])


def test_markup_in_names_values_and_logs_stays_text(page: Page, workspace: Workspace) -> None:
    run = workspace.run(shown.markup, {})
    for address in (
        f"/runs/{run.id}?tab=console",
        f"/runs/{run.id}?step=spelled&tab=console",
        f"/runs/{run.id}?step=spelled&tab=outputs",
        f"/runs/{run.id}?view=steps",
        f"/runs/{run.id}/new",
        "/pipelines/shop/markup",
        f"/compare?runs={run.id},{run.id}",
    ):
        page.goto(address)
        page.wait_for_load_state("networkidle") if "console" not in address else None
        assert page.title() != "owned", address
        assert page.locator("main script, main img").count() == 0
    page.goto(f"/runs/{run.id}?step=spelled&tab=console")
    console = page.locator("#console")
    expect(console).to_contain_text("<script>")
    expect(console.locator(".a-red")).to_have_text("red")
    # A progress bar is its last frame.
    assert [line for line in console.inner_text().splitlines() if "%" in line] == ["100%"]


def test_a_console_follows_at_its_end_and_stays_put_when_one_has_scrolled_up(page: Page, workspace: Workspace) -> None:
    run = workspace.run(shown.talkative, {"count": 20_000})
    page.goto(f"/runs/{run.id}?step=lines&tab=console")
    out = page.locator("#out")
    expect(page.locator("#console")).to_contain_text("line 019999")
    wait_until(lambda: _at_end(page), "the console to stand at its end")
    assert "line 000000" not in page.locator("#console").inner_text()
    out.evaluate("out => { out.scrollTop = 0 }")
    wait_until(lambda: page.locator("#console").inner_text().count("\n") > 8000, "older lines to come")
    assert not _at_end(page)
    assert not page.locator("#follow").is_checked()
    lines = page.locator("#console").inner_text().split()[1::2]
    assert lines == sorted(set(lines)), "a line is doubled or lost"


def _at_end(page: Page) -> bool:
    return bool(page.evaluate("(() => { const o = document.querySelector('#out'); "
                              "return o.scrollHeight - o.scrollTop - o.clientHeight < 40 })()"))  # fmt: skip


def test_a_restart_of_the_server_loses_nothing(
    chromium: Browser, workspace: Workspace, base: Run, folder: Path
) -> None:
    """The run is driven by this process; the server only shows it."""
    first = start(workspace.home, "--no-mlflow")
    port = int(first.url.rpartition(":")[2])
    context = chromium.new_context(base_url=first.url)
    page = context.new_page()
    gate = f"restart {next(TRIES)}"  # one that no earlier try has opened
    draft = base.clone(gate=gate, lr=0.77)
    driver = threading.Thread(target=lambda: workspace.start(draft.id))
    driver.start()
    try:
        wait_until((folder / f"{gate}.began").exists, "fit to begin")
        page.goto(f"/runs/{draft.id}?step=fit&tab=console")
        expect(page.locator("#console")).to_contain_text("fitting tree with lr=0.77")
        expect(page.locator("#live")).to_have_text("Live")
        first.stop()
        expect(page.locator("#live")).to_have_text("Reconnecting")
        (folder / gate).touch()
        driver.join(60)
        second = start(workspace.home, "--no-mlflow", port=port)
        expect(page.locator("#live")).to_have_text("Live")
        expect(page.locator('#dag a.node[data-name="fit"]')).to_have_attribute("data-shown", "completed")
        expect(page.locator("#console")).to_contain_text("epoch 3 done")
        text = page.locator("#console").inner_text()
        assert [line for line in text.splitlines() if line.startswith("epoch")] == [f"epoch {i} done" for i in range(4)]
        second.stop()
    finally:
        (folder / gate).touch()
        driver.join(60)
        context.close()


def test_every_answer_of_ours_forbids_what_is_inline_or_elsewhere(served: Any, base: Run) -> None:
    for address in ("/pipelines", f"/runs/{base.id}", "/static/app.css", "/api/v1/runs"):
        policy = httpx2.get(f"{served.url}{address}").headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert not re.search("unsafe|http", policy)
