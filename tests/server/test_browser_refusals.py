"""What is refused is said where it was asked for, with its cure, and what one has typed stays."""

from __future__ import annotations

import itertools
from typing import Any

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from samples import shown

from hpo_pipelines import Float, Workspace, optimize
from hpo_pipelines.run import Run

pytestmark = [pytest.mark.integration, pytest.mark.browser]

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def base(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return workspace.run(shown.churn, {"folder": str(tmp_path_factory.mktemp("marks"))}, executor="inline")


def gone(served: Any, draft: Run) -> None:
    assert httpx2.delete(f"{served.url}/api/v1/runs/{draft.id}").status_code == 200


def test_a_button_says_why_not_in_the_page(page: Page, watch: Any, base: Run) -> None:
    watch.allow("409")
    tuned = base.clone(lr=0.2).run()
    name = f"of it {next(NUMBERS)}"
    optimize(tuned, {"lr": Float(0.1, 1.0)}, "fit.auc", n_trials=2, name=name, executor="inline", progress=False)
    page.goto(f"/runs/{tuned.id}?step=fit")
    page.locator("summary", has_text="More").click()
    page.get_by_role("button", name="Delete…").click()
    page.locator("#ask").get_by_role("button", name="Yes").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Conflict")
    expect(alert).to_contain_text(tuned.label)
    expect(page.locator("h1")).to_contain_text(tuned.label)
    assert page.url.endswith("?step=fit"), "the page was left"
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}
    found = Axe().run(page, options=rules).response["violations"]
    assert [node["html"] for violation in found for node in violation["nodes"]] == []
    page.get_by_role("button", name="Dismiss").click()
    expect(alert).to_have_count(0)


def test_a_dialog_says_it_and_keeps_what_was_typed(page: Page, watch: Any, served: Any, base: Run) -> None:
    watch.allow("404")
    draft = base.clone(lr=0.4)
    page.goto(f"/runs/{draft.id}")
    page.get_by_role("button", name="New run").click()
    dialog = page.locator("#dialog")
    dialog.get_by_label("lr", exact=True).fill("0.7")
    expect(dialog.locator("#forecast")).to_contain_text("reused")
    gone(served, draft)
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Not Found")
    expect(dialog.get_by_label("lr", exact=True)).to_have_value("0.7")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New run").click()
    expect(page.locator("#problems").get_by_role("alert")).to_contain_text("Not Found")
    expect(dialog).to_be_hidden()


def test_a_server_that_is_away_is_said(page: Page, watch: Any, base: Run) -> None:
    watch.allow("ERR_FAILED|failed")
    page.goto(f"/runs/{base.id}")
    page.route("**/do/rerun", lambda route: route.abort())
    page.get_by_role("button", name="Rerun", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    page.unroute("**/do/rerun")
    page.get_by_role("button", name="Rerun", exact=True).click()
    expect(page.locator("#head")).to_contain_text(f"rerun of {base.label}")


def test_without_scripts_it_is_a_page_with_a_way_back(served: Any, base: Run) -> None:
    address = f"{served.url}/runs/{base.id}/do/abort"
    seen = httpx2.post(address, headers={"Accept": "text/html"})
    assert (seen.status_code, seen.headers["content-type"]) == (409, "text/html; charset=utf-8")
    assert "409 Conflict" in seen.text
    assert "Back" in seen.text
    told = httpx2.post(address, headers={"Accept": "text/html", "HX-Request": "true"})
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json()["title"] == "Conflict"
