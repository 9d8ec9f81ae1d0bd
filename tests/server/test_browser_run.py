"""The page of a run, driven in a browser as the tutorial of any pipeline tool would."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect
from samples import shown
from services import wait_until

from hpo_pipelines import Workspace
from hpo_pipelines.run import Run
from hpo_pipelines.store import TaskFilter
from hpo_pipelines.types import Kind

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def base(workspace: Workspace, folder: Path) -> Run:
    """A completed run."""
    run = workspace.run(shown.churn, {"folder": str(folder)})
    run.raise_for_status()
    return run


gates = (f"gate{i}" for i in itertools.count())


@pytest.fixture
def gated(served: Any, base: Run, folder: Path) -> Iterator[tuple[Run, Path]]:
    """A run that the server drives, whose ``fit`` waits for a file."""
    gate = next(gates)
    run = submitted(served.url, base, gate=gate)
    wait_until((folder / f"{gate}.began").exists, "fit to begin")
    yield run, folder / gate
    (folder / gate).touch()
    wait_until(lambda: run.refreshed().status.finished, "the run to end")


def submitted(url: str, base: Run, **params: Any) -> Run:
    answer = httpx2.post(f"{url}/api/v1/runs/{base.id}/clone", json={"params": params, "submit": True})
    assert answer.status_code == 201, answer.text
    return base.workspace.run_called(answer.json()["id"])


def node(page: Page, name: str) -> Any:
    return page.locator(f'#dag a.node[data-name="{name}"]')


def runs_of(workspace: Workspace, pipeline: str = "churn") -> int:
    return len(workspace.store.tasks.list(TaskFilter(kind=Kind.PIPELINE, pipeline=pipeline), limit=None))


def test_pipelines_lead_to_the_runs_newest_first(page: Page, base: Run, gated: tuple[Run, Path]) -> None:
    page.goto("/")
    page.get_by_role("link", name="churn", exact=True).click()
    expect(page).to_have_url(re.compile("/pipelines/"))
    labels = page.locator("tbody tr td:nth-child(2) a").all_inner_texts()
    numbers = [int(label.split("#")[1]) for label in labels]
    assert numbers == sorted(numbers, reverse=True)
    assert {base.number, gated[0].number} <= set(numbers)
    page.get_by_role("link", name=base.label, exact=True).click()
    expect(page).to_have_url(re.compile(base.id))


def test_the_whole_graph_stands_before_the_steps_have_started(page: Page, gated: tuple[Run, Path]) -> None:
    run, _ = gated
    page.goto(f"/runs/{run.id}")
    names = ["load", "split", "fit", "audit", "evaluate"]
    for name in names:
        expect(node(page, name)).to_be_visible()
    expect(page.locator("#dag .edge")).to_have_count(5)
    boxes = [node(page, name).locator(".box").bounding_box() for name in names]
    for one, other in itertools.combinations(boxes, 2):
        assert one is not None
        assert other is not None
        apart = (
            one["x"] + one["width"] <= other["x"]
            or other["x"] + other["width"] <= one["x"]
            or one["y"] + one["height"] <= other["y"]
            or other["y"] + other["height"] <= one["y"]
        )
        assert apart, (one, other)


def test_steps_run_before_ones_eyes(page: Page, base: Run, gated: tuple[Run, Path]) -> None:
    run, gate = gated
    page.goto(f"/runs/{run.id}")
    expect(node(page, "fit")).to_have_attribute("data-shown", "running")
    expect(node(page, "load")).to_have_attribute("data-shown", "reused")
    expect(node(page, "load")).to_contain_text(f"reused from #{base.number}")
    expect(node(page, "evaluate")).to_have_attribute("data-shown", re.compile("queued|planned|draft"))
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.stayed = true")
    gate.touch()
    expect(node(page, "fit")).to_have_attribute("data-shown", "completed")
    # The same model as before: what it gives is known already.
    expect(node(page, "evaluate")).to_have_attribute("data-shown", "reused")
    expect(page.locator("#head .pill")).to_have_text("Completed")
    expect(page.locator(f"#run-{run.id} svg.s")).to_have_attribute("aria-label", "Completed")
    assert page.evaluate("window.stayed"), "the page was loaded anew"


def test_what_waits_for_nothing_goes_on_beside_what_waits(page: Page, served: Any, base: Run, folder: Path) -> None:
    gate = next(gates)
    run = submitted(served.url, base, gate=gate, rows=77)
    page.goto(f"/runs/{run.id}")
    expect(node(page, "audit")).to_have_attribute("data-shown", "completed")
    expect(node(page, "fit")).to_have_attribute("data-shown", "running")
    assert not (folder / gate).exists()
    (folder / gate).touch()
    expect(page.locator("#head .pill")).to_have_text("Completed")


def test_without_a_selection_the_run_itself_is_described(page: Page, base: Run) -> None:
    page.goto(f"/runs/{base.id}?step=fit")
    inspector = page.locator("#inspector")
    expect(inspector.locator("h2")).to_contain_text("fit")
    page.locator("#canvas").click(position={"x": 8, "y": 8})
    expect(inspector.locator("h2")).to_contain_text(base.label)
    expect(inspector.locator("#params")).to_contain_text("tree")
    expect(inspector).to_contain_text("fit.auc")
    assert "step=" not in page.url


def test_details_show_what_the_controller_prints_while_it_runs(page: Page, gated: tuple[Run, Path]) -> None:
    run, gate = gated
    page.goto(f"/runs/{run.id}")
    page.get_by_role("button", name="Details").click()
    expect(page.locator("#console")).to_contain_text("controller says lr=0.1")
    gate.touch()
    expect(page.locator("#console")).to_contain_text("controller has called everything")
    text = page.locator("#console").inner_text()
    assert text.index("controller says") < text.index("controller has called")


def test_a_step_shows_inputs_outputs_metrics_console_and_source(page: Page, base: Run) -> None:
    page.goto(f"/runs/{base.id}")
    node(page, "fit").click()
    inspector = page.locator("#inspector")
    expect(inspector.locator("section", has=page.get_by_role("heading", name="Inputs"))).to_contain_text("split")
    expect(inspector.locator(".spark")).to_be_visible()
    expect(inspector).to_contain_text("auc0.89")
    page.keyboard.press("l")
    expect(page.locator("#console")).to_contain_text("epoch 3 done")
    page.keyboard.press("c")
    # Pygments gives the source line by line.
    code = page.locator("#out pre.code")
    expect(code).to_be_visible()
    assert code.inner_text().rstrip() == inspect.getsource(shown.fit.function).rstrip()
    page.locator("#inspector a[data-tab=outputs]").click()
    with page.expect_download() as downloading:
        page.locator("#out").get_by_role("link", name="Download").click()
    stored = base.workspace.store.tasks.outputs(base.steps["fit"].id)["value"]
    assert Path(downloading.value.path()).read_bytes() == base.workspace.artifacts.read_bytes(stored)


def test_a_new_run_gets_the_edited_parameter_and_reuses_the_rest(page: Page, base: Run, folder: Path) -> None:
    before = shown.ran(folder)
    page.goto(f"/runs/{base.id}")
    page.get_by_role("button", name="New run").click()
    dialog = page.locator("#dialog")
    expect(dialog.get_by_label("lr", exact=True)).to_have_value("0.1")
    dialog.get_by_label("lr", exact=True).fill("0.25")
    expect(dialog.locator("#h-lr")).to_have_text("was 0.1")
    expect(dialog.locator("#forecast")).to_contain_text("3 reused")
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(lambda url: base.id not in url)
    expect(page.locator("#head .pill")).to_have_text("Completed")
    expect(page.locator("#head")).to_contain_text(f"cloned from {base.label}")
    for name in ("load", "split", "audit"):
        expect(node(page, name)).to_contain_text(f"reused from #{base.number}")
    fresh = base.workspace.run_called(page.url.rpartition("/")[2])
    assert fresh.params["lr"] == 0.25
    assert fresh.value["score"] == 0.25 * 10
    assert base.refreshed().params["lr"] == 0.1
    assert shown.ran(folder)[len(before) :] == ["fit:0.25", "evaluate"]
    node(page, "fit").click()
    expect(page.locator("#inspector")).to_contain_text("lr 0.1 → 0.25")


def test_what_does_not_fit_is_said_at_its_field_and_nothing_is_recorded(
    page: Page, watch: Any, base: Run, workspace: Workspace
) -> None:
    watch.allow("422")
    before = runs_of(workspace)
    page.goto(f"/runs/{base.id}")
    page.get_by_role("button", name="New run").click()
    dialog = page.locator("#dialog")
    dialog.get_by_label("rows", exact=True).fill("")
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("rows needs a value")
    expect(dialog.get_by_label("rows", exact=True)).to_have_attribute("aria-invalid", "true")
    refused = httpx2.post(
        f"{page.url.partition('/runs')[0]}/api/v1/runs/{base.id}/clone", json={"params": {"rows": "many"}}
    )
    assert refused.status_code == 422
    assert "rows" in refused.json()["detail"]
    assert runs_of(workspace) == before


def test_abort_stops_the_run(page: Page, gated: tuple[Run, Path]) -> None:
    run, _ = gated
    page.goto(f"/runs/{run.id}")
    page.get_by_role("button", name="Abort").click()
    expect(page.locator("#ask")).to_contain_text(f"Abort {run.label}?")
    page.locator("#ask").get_by_role("button", name="Yes").click()
    expect(page.locator("#head .pill")).to_have_text("Aborted")
    expect(node(page, "fit")).to_have_attribute("data-shown", "aborted")
    assert run.refreshed().status == "aborted"


def test_a_failure_is_what_one_sees_first_and_a_rerun_keeps_the_rest(
    page: Page, served: Any, base: Run, folder: Path
) -> None:
    run = submitted(served.url, base, broken=True)
    wait_until(lambda: run.refreshed().status.finished, "the run to fail")
    page.goto(f"/runs/{run.id}")
    expect(page.locator("#head .pill")).to_have_text("Failed")
    inspector = page.locator("#inspector")
    expect(inspector.locator(".note.s-failed").first).to_contain_text("lr=0.1 diverges")
    node(page, "fit").click()
    inspector.get_by_text("Traceback", exact=True).click()
    expect(inspector.locator("pre")).to_contain_text("raise ValueError")
    expect(node(page, "evaluate")).to_have_attribute("data-shown", "skipped")
    expect(node(page, "evaluate")).not_to_contain_text("0.0s")
    node(page, "evaluate").click()
    expect(inspector.locator("dl").first).to_contain_text("Duration–")
    before = len(shown.ran(folder))
    page.get_by_role("button", name="Rerun failed").click()
    page.wait_for_url(lambda url: run.id not in url)
    expect(page.locator("#head .pill")).to_have_text("Failed")
    expect(page.locator("#head")).to_contain_text(f"rerun of {run.label}")
    assert shown.ran(folder)[before:] == ["fit:0.1"]


def test_every_state_has_an_address(page: Page, base: Run) -> None:
    tabs = ("", "console", "code", "outputs", "why")
    for step, (tab, view) in itertools.product(("", "fit"), zip(tabs, itertools.cycle(("", "timeline")))):
        query = "&".join(f"{n}={v}" for n, v in (("step", step), ("tab", tab), ("view", view)) if v)
        page.goto(f"/runs/{base.id}?{query}")
        expect(page.locator("#inspector h2")).to_contain_text(step or base.label)
        expect(page.locator("#drawer")).to_be_visible(visible=bool(tab))
        expect(page.locator("#center .tl")).to_have_count(1 if view else 0)
        if tab:
            expect(page.locator("#drawer [aria-current=true]")).to_have_text(tab.capitalize())
    page.goto(f"/runs/{base.id}")
    node(page, "fit").click()
    page.locator("a[data-view=steps]").click()
    expect(page.locator("#center table")).to_be_visible()
    page.go_back()
    expect(page.locator("#dag")).to_be_visible()
    expect(page.locator("#inspector h2")).to_contain_text("fit")
    page.go_back()
    expect(page.locator("#inspector h2")).to_contain_text(base.label)
    page.go_forward()
    expect(page.locator("#inspector h2")).to_contain_text("fit")


def test_what_is_not_there_says_so_and_leads_back(page: Page, watch: Any, base: Run) -> None:
    watch.allow("404")
    answer = page.goto("/runs/01NOSUCHRUN")
    assert answer is not None
    assert answer.status == 404
    page.get_by_role("link", name="All pipelines").click()
    expect(page.locator("h1")).to_have_text("Pipelines")


def test_the_keyboard_is_enough(page: Page, base: Run) -> None:
    page.goto(f"/runs/{base.id}")
    expect(page.locator("#zoom-value")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#dag a.node')"):
            break
    assert page.evaluate("document.activeElement.dataset.name") == "load"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.name") == "split"
    page.keyboard.press("ArrowDown")
    first = page.evaluate("document.activeElement.dataset.name")
    page.keyboard.press("ArrowRight")
    if page.evaluate("document.activeElement.dataset.name") == first:
        page.keyboard.press("ArrowLeft")
    assert {first, page.evaluate("document.activeElement.dataset.name")} == {"fit", "audit"}
    page.keyboard.press("Enter")
    expect(page.locator("#inspector h2")).to_contain_text(re.compile("fit|audit"))
    page.keyboard.press("c")
    expect(page.locator("#out pre.code")).to_contain_text("def ")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    page.locator("#new").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#dialog form")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "new"


def test_a_run_is_started_by_keys_alone(page: Page, base: Run) -> None:
    page.goto(f"/runs/{base.id}")
    expect(page.locator("#live")).to_have_text("Live")
    page.keyboard.press("n")
    field = page.locator("#dialog").get_by_label("lr", exact=True)
    for _ in range(30):
        if field.evaluate("field => field === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("0.275")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: base.id not in url)
    expect(page.locator("#head .pill")).to_have_text("Completed")
    assert base.workspace.run_called(page.url.rpartition("/")[2]).params["lr"] == 0.275


EDITED = """
from hpo_pipelines import component, pipeline

@component
def base() -> int:
    return {value}

@component
def twice(number: int) -> int:
    return 2 * number

@pipeline(project="edits")
def edited() -> int:
    return twice(base())
"""


def test_an_edit_is_why_a_step_ran_and_its_value_why_the_next_did(
    page: Page, workspace: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "edited.py"
    for value in (20, 21):
        source.write_text(EDITED.format(value=value))
        command = [sys.executable, "-m", "hpo_pipelines", "run", f"{source}:edited", "--executor", "inline"]
        subprocess.run(command, env={**os.environ, "HPO_HOME": str(workspace.home)}, check=True, capture_output=True)
    run = workspace.run_called("edited")
    page.goto(f"/runs/{run.id}?step=base&tab=why")
    reason = page.locator("#out")
    expect(reason).to_contain_text("component base in edited.py changed")
    expect(reason.locator(".diff")).to_contain_text("return 21")
    expect(page.locator("#inspector")).to_contain_text("component base in edited.py changed")
    node(page, "twice").click()
    expect(reason).to_contain_text("20 → 21")
    expect(reason).to_contain_text("base")


def test_the_palette_finds_a_step_by_its_name(page: Page, base: Run) -> None:
    page.goto("/studies")
    page.keyboard.press("Control+k")
    page.locator("#palette-q").fill(f"{base.label}/fit")
    expect(page.locator("#palette-found a").first).to_contain_text(f"{base.label}/fit")
    page.keyboard.press("Enter")
    expect(page.locator("#inspector h2")).to_contain_text("fit")


def test_compare_shows_differences_and_the_base_can_be_another(
    page: Page, served: Any, base: Run, workspace: Workspace
) -> None:
    other = submitted(served.url, base, lr=0.3, rows=44)
    wait_until(lambda: other.refreshed().status.finished, "the run to end")
    page.goto(f"/compare?runs={base.id},{other.id}")
    table = page.locator("table.cmp")
    names = table.locator("tbody td:first-child").all_inner_texts()
    assert {"lr", "rows"} <= set(names)
    assert "share" not in names
    row = table.locator("tr", has=page.get_by_text("fit.auc", exact=True))
    expect(row.locator(".delta")).to_have_text("+0.04")
    page.get_by_label("Differences only").uncheck()
    expect(table).to_contain_text("share")
    fit = table.locator("tr", has=page.get_by_text("fit", exact=True))
    expect(fit.locator("svg.b")).to_have_count(2)
    third = submitted(served.url, base)
    wait_until(lambda: third.refreshed().status.finished, "the run to end")
    page.goto(f"/compare?runs={base.id},{third.id}&all=1")
    expect(fit.locator("svg.b")).to_have_count(1)
    expect(fit.locator("td").nth(1)).to_have_text(re.compile(r"\d"))
    expect(fit.locator("td").nth(2)).to_have_text(re.compile(f"from {base.label}"))
    expect(fit.get_by_role("link", name=base.label)).to_have_attribute("href", f"/runs/{base.id}")
    page.goto(f"/compare?runs={base.id},{other.id}&all=1")
    page.get_by_role("link", name="make base").click()
    expect(row.locator(".delta")).to_have_text("-0.04")
    assert json.loads(httpx2.get(f"{served.url}/api/v1/runs/{other.id}").text)["params"]["rows"] == 44


def test_a_run_in_a_paused_queue_says_why_it_waits_and_goes_on_when_it_is_opened(
    page: Page, served: Any, base: Run
) -> None:
    page.goto("/cluster")
    # The page is read anew by itself when the answer is there, which would end a navigation of the test's own.
    with page.expect_navigation():
        page.get_by_role("button", name="Pause services").click()
    expect(page.get_by_role("button", name="Open services")).to_be_visible()
    run = submitted(served.url, base, lr=0.456)
    page.goto(f"/runs/{run.id}")
    expect(page.locator("#head .pill")).to_have_text("Queued")
    expect(page.locator("#head")).to_contain_text("queue services is paused")
    page.get_by_role("link", name="Cluster").click()
    expect(page.get_by_role("region", name="Waiting in services")).to_contain_text(run.label)
    with page.expect_navigation():
        page.get_by_role("button", name="Open services").click()
    page.goto(f"/runs/{run.id}")
    expect(page.locator("#head .pill")).to_have_text("Completed")
