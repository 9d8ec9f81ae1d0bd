"""The page of a study in a browser: what it shows agrees with the store and with Optuna."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import optuna
import pytest
from playwright.sync_api import Page, expect
from samples import shown

from hpo_pipelines import Categorical, Float, Study, Workspace, optimize

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture(scope="module")
def study(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Study:
    space = {
        "lr": Float(0.001, 1.0, log=True),
        "model": Categorical(["tree", "linear"]),
        "share": Categorical([0.25, 0.5]),
        "folder": Categorical([str(tmp_path_factory.mktemp("marks"))]),
    }
    return optimize(
        shown.churn, space, "fit.auc", n_trials=14, n_jobs=1, seed=3, name="pages", progress=False, workspace=workspace,
        sampler="random",
    )  # fmt: skip


def values(study: Study) -> dict[int, float]:
    done = study.optuna_study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return {trial.number: trial.value for trial in done}  # type: ignore[misc]


def test_the_list_names_the_best(page: Page, study: Study) -> None:
    page.goto("/studies")
    row = page.locator("tr", has=page.get_by_role("link", name="pages", exact=True))
    expect(row).to_contain_text(f"{study.best_value:.5g}")
    expect(row).to_contain_text(study.best_run.label)
    row.get_by_role("link", name="pages", exact=True).click()
    expect(page.locator("h1")).to_contain_text("pages")


def test_the_trials_come_best_first_and_one_can_be_cloned_as_a_run(page: Page, study: Study) -> None:
    page.goto(f"/studies/{study.id}")
    rows = page.locator("#trials tbody tr")
    expect(rows).to_have_count(14)
    shown_values = [float(text) for text in page.locator("#trials tbody tr td:nth-child(2)").all_inner_texts()]
    assert shown_values == sorted(shown_values, reverse=True)
    assert int(rows.first.get_attribute("data-trial") or -1) == study.best_trial.number
    page.get_by_role("button", name="Clone best as run").click()
    dialog = page.locator("#dialog")
    best = study.best_params
    expect(dialog.get_by_label("lr", exact=True)).to_have_value(repr(best["lr"]))
    expect(dialog.get_by_label("model", exact=True)).to_have_value(best["model"])
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/runs/"))
    expect(page.locator("#head .pill")).to_have_text("Completed")
    run = study.workspace.run_called(page.url.rpartition("/")[2])
    assert {name: run.params[name] for name in best} == best
    assert run.task.study is None


def test_a_brush_filters_as_python_would_and_is_kept_in_the_address(page: Page, study: Study) -> None:
    low, high = 0.01, 0.4
    inside = {trial.number for trial in study.trials if low <= trial.params["lr"] <= high}
    assert 0 < len(inside) < 14
    page.goto(f"/studies/{study.id}?brush=lr:{low}..{high}")
    for _ in range(2):
        expect(page.locator("#trial-count")).to_have_text(f"{len(inside)} of 14")
        shown_rows = page.locator("#trials tbody tr").evaluate_all("rows => rows.map(row => Number(row.dataset.trial))")
        assert set(shown_rows) == inside
        expect(page.locator("#history")).to_have_attribute("data-lit", str(len(inside)))
        page.reload()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#trials tbody tr")).to_have_count(14)
    assert "brush" not in page.url


def test_dragging_along_an_axis_filters(page: Page, study: Study) -> None:
    page.goto(f"/studies/{study.id}")
    expect(page.locator("#trials tbody tr")).to_have_count(14)
    chart = page.locator("#parallel")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    # The objective's axis is the last one, 70 px from the right edge; its upper half holds the better trials.
    x = box["x"] + box["width"] - 70
    page.mouse.move(x, box["y"] + 42)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 90, steps=6)
    page.mouse.move(x, box["y"] + 150, steps=6)
    page.mouse.up()
    expect(page.locator("#trial-count")).to_contain_text("of 14")
    page.wait_for_url(re.compile("brush=fit.auc"))
    match = re.search(r"fit\.auc(?::|%3A)(-?[\d.e-]+)\.\.(-?[\d.e-]+)", page.url)
    assert match is not None
    low, high = float(match[1]), float(match[2])
    slack = 1e-4 * (high - low)  # the address has five digits
    expect(page.locator("#trials")).not_to_have_attribute("aria-busy", "true")
    sure = {number for number, value in values(study).items() if low + slack <= value <= high - slack}
    shown_rows = page.locator("#trials tbody tr").evaluate_all("rows => rows.map(row => Number(row.dataset.trial))")
    assert sure <= set(shown_rows)
    assert len(shown_rows) < 14


def test_shared_work_and_importances_are_those_that_are_recorded(page: Page, served: Any, study: Study) -> None:
    counted: dict[str, list[int]] = {}
    for run in study.runs:
        for step in run.steps.values():
            counted.setdefault(step.component, [0, 0])[step.reused_from is not None] += 1
    page.goto(f"/studies/{study.id}")
    for ran, reused in counted.values():
        bar = page.locator(".work").get_by_role("img", name=f"{ran} ran, {reused} reused")
        expect(bar.first).to_be_visible()
    executions = Path(study.runs[0].params["folder"], "ran").read_text().split()
    assert sum(ran for ran, _ in counted.values()) == len(executions)
    expected = optuna.importance.get_param_importances(study.optuna_study)
    found = httpx2.get(f"{served.url}/api/v1/studies/{study.id}").json()["importances"]
    assert found == pytest.approx(expected)
    expect(page.locator(".imp svg")).to_have_count(len(expected))
    texts = page.locator(".imp").inner_text().split()
    assert texts[: 2 * len(expected) : 2] == list(expected)


def test_a_selected_trial_is_described_and_linked(page: Page, study: Study) -> None:
    page.goto(f"/studies/{study.id}?trial=5")
    trial = study.trials[5]
    inspector = page.locator("#trial")
    expect(inspector.locator("h2")).to_contain_text("Trial 5")
    page.locator("#trials tr[data-trial='7'] a").click()
    expect(inspector.locator("h2")).to_contain_text("Trial 7")
    page.go_back()
    expect(inspector.locator("h2")).to_contain_text("Trial 5")
    inspector.get_by_role("link", name="Open run").click()
    expect(page.locator("h1")).to_contain_text(trial.run.label)
    expect(page.locator("#head")).to_contain_text("trial 5")
