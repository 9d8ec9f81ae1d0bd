"""Studies that are large or odd: ten thousand trials, several objectives, nothing to show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import optuna
import pytest
from playwright.sync_api import Page, expect
from samples import shown

from benchmarks.trials import many_trials
from hpo_pipelines import Float, Study, Workspace, optimize
from hpo_pipelines.study import Analysis, sampling
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status, new_id
from search_spaces import Space

pytestmark = [pytest.mark.integration, pytest.mark.browser]

MANY = 10_000
SECONDS = 30.0
"""Two, on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def crowd(workspace: Workspace) -> Study:
    return many_trials(workspace, MANY)


def test_ten_thousand_trials_are_drawn_at_once(page: Page, crowd: Study) -> None:
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(f"/studies/{crowd.id}")
    page.wait_for_function("performance.getEntriesByName('drawn').length")
    assert page.evaluate("performance.getEntriesByName('drawn')[0].startTime") < 1000 * SECONDS
    assert sum(sizes) < 1_000_000
    expect(page.locator("#trial-count")).to_have_text(str(MANY))
    expect(page.locator("#importance svg")).to_have_count(6)
    assert _is_inked(page, "#history canvas")
    assert _is_inked(page, "#parallel .lines")


def test_the_table_of_many_trials_is_read_page_by_page(page: Page, crowd: Study) -> None:
    runs, values = crowd.workspace.store.tasks.trials([crowd.id]), Analysis(crowd).values
    ranked = sorted(values, key=lambda number: (-values[number][0], number))
    page.goto(f"/studies/{crowd.id}")
    rows = page.locator("#trials tr[data-trial]")
    for pages in (1, 2, 3):
        expect(rows).to_have_count(60 * pages)
        if pages < 3:
            page.get_by_role("link", name="More trials").click()
    assert rows.evaluate_all("rows => rows.map(row => Number(row.dataset.trial))") == ranked[:180]
    page.get_by_role("button", name="Duration").click()
    expect(page).to_have_url(f"{page.url.partition('?')[0]}?sort=seconds")
    quickest = min(runs, key=lambda run: run.seconds or 0.0)
    expect(rows.first).to_have_attribute("data-trial", str(quickest.trial))
    page.reload()
    expect(rows.first).to_have_attribute("data-trial", str(quickest.trial))


def _is_inked(page: Page, canvas: str) -> bool:
    """Whether something was drawn on the canvas."""
    return bool(
        page.locator(canvas).first.evaluate(
            "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v > 0)"
        )
    )


Given = Sequence[tuple[Status, tuple[float, ...] | None]]


def recorded(
    workspace: Workspace, name: str, trials: Given, directions: Sequence[str] = ("maximize",), *, ends: bool = True
) -> Study:
    """A study whose trials had these statuses and values, as a driver would have recorded them."""
    space = Space({"lr": Float(0.1, 1.0)})
    base = workspace.record_of(shown.churn, {})
    several = len(directions) > 1
    params = {
        "objective": ["fit.auc", "fit.size"] if several else "fit.auc",
        "direction": list(directions) if several else directions[0],
        "storage": None,
        "space": space.as_dict(),
        "space_digest": space.digest(),
        "base": dict(base.params),
    }
    study = workspace.store.tasks.create(
        Task(
            new_id(), Kind.STUDY, name, base.project, status=Status.RUNNING, pipeline=base.pipeline, params=params,
            snapshot=base.snapshot,
        )
    )  # fmt: skip
    storage = sampling.storage(None, workspace.home, study.id)
    ways = [optuna.study.StudyDirection[way.upper()] for way in directions]
    ident = storage.create_new_study(ways, name)
    states = {
        Status.COMPLETED: optuna.trial.TrialState.COMPLETE,
        Status.FAILED: optuna.trial.TrialState.FAIL,
        Status.PRUNED: optuna.trial.TrialState.PRUNED,
    }
    for number, (status, values) in enumerate(trials):
        lr = 0.1 + 0.8 * number / max(1, len(trials))
        clone = workspace.cloned(base, {"lr": lr})
        workspace.store.tasks.create(
            Task(**{**vars(clone), "status": status, "study": study.id, "trial": number, "cloned_from": None})
        )
        told = storage.create_new_trial(ident)
        storage.set_trial_param(told, "lr", lr, optuna.distributions.FloatDistribution(0.1, 1.0))
        state = states.get(status) if values is not None or status is not Status.COMPLETED else states[Status.FAILED]
        if state is not None:
            storage.set_trial_state_values(told, state, values)
    if ends:
        workspace.store.tasks.transition(study.id, Status.COMPLETED, reason="recorded")
    return Study(workspace, workspace.store.tasks.get(study.id))


ODD: dict[str, Given] = {
    "none": [],
    "one": [(Status.COMPLETED, (0.5,))],
    "one-running": [(Status.RUNNING, None)],
    "only-failed": [(Status.FAILED, None)] * 3,
    "constant": [(Status.COMPLETED, (0.5,))] * 4,
    "infinite": [(Status.COMPLETED, (math.inf,)), (Status.COMPLETED, (-math.inf,)), (Status.COMPLETED, (1e300,))],
    "no-number": [(Status.COMPLETED, None), (Status.COMPLETED, (0.5,))],
    "pruned": [(Status.PRUNED, None), (Status.COMPLETED, (0.5,)), (Status.ABORTED, None)],
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_studies_have_a_page(page: Page, workspace: Workspace, kind: str) -> None:
    study = recorded(workspace, f"odd-{kind}", ODD[kind], ends=kind != "one-running")
    page.goto(f"/studies/{study.id}")
    if not ODD[kind]:
        expect(page.get_by_role("heading", name="No trial yet").first).to_be_visible()
    else:
        page.wait_for_function("performance.getEntriesByName('drawn').length")
        expect(page.locator("#trials tr[data-trial]")).to_have_count(len(ODD[kind]))
        expect(page.locator("#importance")).not_to_contain_text("Computing")
    expect(page.locator("#trial h2")).to_be_visible()


def test_the_front_of_two_objectives_is_optunas(page: Page, served: Any, workspace: Workspace) -> None:
    values = [(0.1 * ((7 * i) % 11), float((5 * i) % 13)) for i in range(40)] + [(0.7, 1.0), (0.7, 1.0)]
    trials = [(Status.COMPLETED, each) for each in values]
    study = recorded(workspace, "two", trials, ("maximize", "minimize"))
    expected = sorted(trial.number for trial in study.optuna_study.best_trials)
    page.goto(f"/studies/{study.id}")
    expect(page.locator("#pareto")).to_have_attribute("data-front", ",".join(map(str, expected)))
    expect(page.locator("#facts")).to_contain_text(f"{len(expected)} on the front")
    expect(page.locator("#trials thead")).to_contain_text("fit.size")
    page.get_by_role("button", name="fit.size").click()
    expect(page.locator("#trials")).not_to_have_attribute("aria-busy", "true")
    lowest = min(range(len(values)), key=lambda number: (values[number][1], number))
    expect(page.locator("#trials tr[data-trial]").first).to_have_attribute("data-trial", str(lowest))
    found = httpx2.get(f"{served.url}/api/v1/studies/{study.id}/trials").json()
    assert found["values"] == [list(each) for each in values]
    inside = sum(0.45 <= one <= 0.85 for one, _ in values)
    page.goto(f"/studies/{study.id}?brush=fit.auc:0.45..0.85")
    expect(page.locator("#trial-count")).to_have_text(f"{inside} of {len(values)}")
    for chart in ("#pareto", "#history"):
        expect(page.locator(chart)).to_have_attribute("data-lit", str(inside))


def test_a_space_whose_parameters_come_and_go_has_a_page(page: Page, workspace: Workspace) -> None:
    space = {"model": ["tree", "linear"], "share": Float(0.2, 0.6, when={"model": "linear"})}
    study = optimize(
        shown.churn, space, "fit.auc", n_trials=8, seed=2, name="comes and goes", sampler="random", executor="inline",
        progress=False, workspace=workspace,
    )  # fmt: skip
    linear = {trial.number for trial in study.optuna_study.trials if "share" in trial.params}
    assert 0 < len(linear) < 8
    page.goto(f"/studies/{study.id}")
    page.wait_for_function("performance.getEntriesByName('drawn').length")
    heads = page.locator("#trials thead th").all_inner_texts()
    place = next(i for i, head in enumerate(heads) if head.startswith("share"))
    cells = page.locator("#trials tr[data-trial]").evaluate_all(
        f"rows => rows.map(row => [Number(row.dataset.trial), row.cells[{place}].innerText])"
    )
    assert {number for number, text in cells if text != "–"} == linear
    assert _is_inked(page, "#parallel .lines")
    # Of trials without the parameter none lies within any range of it.
    page.goto(f"/studies/{study.id}?brush=share:0..1")
    expect(page.locator("#trial-count")).to_have_text(f"{len(linear)} of 8")
    expect(page.locator("#history")).to_have_attribute("data-lit", str(len(linear)))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_a_study_fits(page: Page, crowd: Study, theme: Any, tmp_path: Path) -> None:
    page.emulate_media(color_scheme=theme)
    page.goto(f"/studies/{crowd.id}")
    for width in (1024, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function("performance.getEntriesByName('drawn').length")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for part in (".kpis", "#history", "#parallel", ".head .acts"):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width, part
        page.screenshot(path=tmp_path / f"study-{width}-{theme}.png")
