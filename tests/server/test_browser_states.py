"""States that pages are seldom in: nothing recorded yet, runs that are odd; and they are accessible there, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from samples import odd, shown
from server.conftest import Watch
from server_process import Served, start
from services import wait_until
from serving import serving

from hpo_pipelines import Workspace
from hpo_pipelines.run import Run
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking import MlflowServer
from hpo_pipelines.types import Status

pytestmark = [pytest.mark.integration, pytest.mark.browser]

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{page.url} {each['id']} {node['html'][:120]}" for each in found for node in each["nodes"]]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = start(tmp_path_factory.mktemp("empty"), "--no-mlflow")
    yield server
    server.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_of_an_empty_home_say_what_to_do(chromium: Browser, empty: Served, theme: Any) -> None:
    context = chromium.new_context(base_url=empty.url, color_scheme=theme)
    page = context.new_page()
    found: list[str] = []
    for path, said in (
        ("/pipelines", "sums.run(a=40)"),
        ("/pipelines?archived=1", "Nothing is archived"),
        ("/pipelines?q=nothing", "No pipeline is called like that"),
        ("/studies", "hpo optimize"),
        ("/compare", "Choose two runs or more"),
        ("/cluster", "Nodes appear here while steps run"),
    ):
        page.goto(path)
        expect(page.locator("main")).to_contain_text(said)
        found += violations(page)
    context.close()
    assert found == []


def draft(workspace: Workspace) -> Run:
    return workspace.draft(shown.churn, {})


def queued(workspace: Workspace) -> Run:
    workspace.store.queues.pause("services")
    return draft(workspace).enqueue(queue="services")


def abandoned(workspace: Workspace) -> Run:
    """Recorded as running, by nobody."""
    run = draft(workspace)
    workspace.store.tasks.transition(run.id, Status.QUEUED)
    workspace.store.tasks.transition(run.id, Status.RUNNING)
    return run.refreshed()


def ran(pipeline: Any, executor: str = "inline") -> Callable[[Workspace], Run]:
    return lambda workspace: workspace.run(pipeline, {}, executor=executor)


ODD: dict[str, tuple[Callable[[Workspace], Run], str]] = {
    "draft": (draft, "not started"),
    "queued": (queued, "queue services is paused"),
    "abandoned": (abandoned, "its driver is gone; resume it"),
    "without-steps": (ran(odd.nothing), "It returned nothing."),
    "failed-in-its-body": (ran(odd.refuses), "no step will ever run"),
    "lost-its-worker": (ran(odd.lost, "local"), "killed by signal 9"),
    "not-a-number": (ran(odd.infinite), "nan"),
    "nested": (ran(odd.outer), "nothing"),
}


@pytest.mark.parametrize("state", ODD)
def test_runs_in_odd_states_have_a_page(page: Page, workspace: Workspace, state: str) -> None:
    make, said = ODD[state]
    run = make(workspace)
    view = ("graph", "timeline", "steps")[[*ODD].index(state) % 3]
    page.goto(f"/runs/{run.id}?view={view}&tab=console")
    expect(page.locator("#inspector h2")).to_contain_text(run.label)
    expect(page.locator("body")).to_contain_text(said)
    expect(page.locator("#drawer")).to_be_visible()
    assert violations(page) == []
    if state == "queued":
        workspace.store.queues.pause("services", False)
        wait_until(lambda: run.refreshed().status.finished, "the run to end")


def test_where_mlflow_is_down_the_pages_are_there_and_say_it(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo_pipelines.tracking.process.RESTARTS", ())  # down for good the first time
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/mlflow.db")
    with MlflowServer(Settings.load(tmp_path)) as mlflow, serving(tmp_path, mlflow=mlflow) as server:
        run = server.workspace.run(shown.churn, {}, executor="inline")
        context, watch = chromium.new_context(base_url=server.url), Watch(server.url)
        page = context.new_page()
        watch.on(page)
        for path in ("/pipelines", f"/runs/{run.id}?step=fit", "/studies"):
            page.goto(path)
            expect(page.locator("#live")).to_have_text("Live")
        wait_until(lambda: mlflow.problem() is not None, "MLflow to have ended")
        watch.allow("status of 502")
        page.get_by_role("link", name="MLflow").click()
        expect(page.locator("main")).to_contain_text("MLflow does not answer: the server process ended")
        assert violations(page) == []
        page.get_by_role("link", name="Studies").click()
        expect(page.locator("h1")).to_have_text("Studies")
        context.close()
        assert watch.left() == []


def test_a_step_that_was_not_called_says_so(page: Page, workspace: Workspace, tmp_path: Path) -> None:
    done = workspace.run(shown.churn, {"folder": str(tmp_path), "broken": True}, executor="inline")
    page.goto(f"/runs/{done.id}?step=nowhere&tab=outputs")
    expect(page.locator("#inspector")).to_contain_text("This run did not call it.")
    page.goto(f"/runs/{done.id}?step=fit&tab=outputs")
    expect(page.locator("#drawer")).to_contain_text("No outputs")


@pytest.mark.parametrize("medium", [{"forced_colors": "active"}, {"reduced_motion": "reduce"}], ids=str)
def test_other_colours_and_no_motion(page: Page, workspace: Workspace, tmp_path: Path, medium: dict[str, Any]) -> None:
    page.emulate_media(**medium)
    run = workspace.run(shown.churn, {"folder": str(tmp_path)}, executor="inline")
    found: list[str] = []
    for path in ("/pipelines", f"/runs/{run.id}?step=fit&tab=code", "/studies", "/cluster"):
        page.goto(path)
        page.evaluate("document.fonts.ready")
        found += violations(page)
    assert found == []
    page.goto(f"/runs/{run.id}")
    moving = "getComputedStyle(document.querySelector('#dag .box')).animationName"
    if "reduced_motion" in medium:
        assert page.evaluate(moving) == "none"
        durations = (
            "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).animationName !== 'none').length"
        )
        assert page.evaluate(durations) == 0
    page.get_by_role("button", name="New study").click()
    page.locator("#dialog summary").first.click()
    page.locator("#dialog summary").last.click()
    page.get_by_role("button", name="+ objective").click()
    page.get_by_role("button", name="+ constraint").click()
    assert violations(page) == []
