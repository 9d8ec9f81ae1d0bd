"""Studies are started, stopped, extended and given points from the page, and are driven by the server."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect
from samples import shown, varied
from server_process import start
from services import wait_until

from hpo_pipelines import Study, Workspace
from hpo_pipelines.run import Run
from hpo_pipelines.types import Status

pytestmark = [pytest.mark.integration, pytest.mark.browser]

NUMBERS = itertools.count(1)
"""Names are of one try: in a second one a gate of the first would stand open."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def base(workspace: Workspace, folder: Path) -> Run:
    return workspace.run(shown.churn, {"folder": str(folder)})


@dataclass(frozen=True)
class Held:
    """A draft whose clones wait in ``fit`` for the file ``gate``, one that no other test has made."""

    run: Run
    gate: Path

    @property
    def began(self) -> Path:
        """What stands there once one of them waits."""
        return Path(f"{self.gate}.began")


@pytest.fixture
def held(base: Run, folder: Path) -> Held:
    gate = f"gate {next(NUMBERS)}"
    return Held(base.clone(gate=gate), folder / gate)


def test_a_study_is_started_over_a_run(page: Page, watch: Any, workspace: Workspace, base: Run) -> None:
    watch.allow("422")
    page.goto(f"/runs/{base.id}")
    page.get_by_role("button", name="New study").click()
    dialog = page.locator("#dialog")
    expect(dialog.get_by_role("heading", name="New study of churn")).to_be_visible()
    # From its type and its value, 0.1.
    expect(dialog.get_by_label("lr, lowest")).to_have_value("0.01")
    expect(dialog.get_by_label("lr, highest")).to_have_value("1")
    expect(dialog.get_by_label("model, choices as a JSON list")).to_have_value('["tree", "linear"]')
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_role("alert")).to_contain_text("tick one parameter or more")
    dialog.get_by_label("lr", exact=True).check()
    dialog.get_by_label("model", exact=True).check()
    dialog.get_by_label("lr, lowest").fill("2")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_role("alert")).to_contain_text("low")
    dialog.get_by_label("lr, lowest").fill("0.1")
    dialog.get_by_label("Objective").select_option("fit.auc")
    dialog.get_by_label("Trials").fill("4")
    dialog.get_by_label("Name").fill("from the page")
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/studies/"))
    expect(page.locator("h1")).to_contain_text("Completed")
    expect(page.locator("#trials tr[data-trial]")).to_have_count(4)
    study = Study.called(workspace, "from the page")
    assert (study.objective, study.direction) == ("fit.auc", "maximize")
    assert set(study.space) == {"lr", "model"}
    assert study.task.cloned_from == base.id
    assert study.trials[0].params["lr"] == 0.1, "the run's own values go first"


def test_a_study_with_several_objectives_constraints_repeats_and_rules(
    page: Page, watch: Any, served: Any, workspace: Workspace
) -> None:
    watch.allow("422")
    base, name = workspace.run(varied.noisy, {}, executor="inline"), f"all of it {next(NUMBERS)}"
    page.goto(f"/runs/{base.id}")
    page.get_by_role("button", name="New study").click()
    dialog = page.locator("#dialog")
    expect(dialog.get_by_label("Plateau")).to_be_hidden()
    dialog.get_by_label("x", exact=True).check()
    dialog.get_by_label("x, lowest").fill("0.1")
    dialog.get_by_label("x, highest").fill("1")
    dialog.get_by_label("Objective", exact=True).select_option("measured.score")
    dialog.get_by_role("button", name="+ objective").click()
    dialog.get_by_label("Another objective").select_option("measured.cost")
    dialog.get_by_label("Which way is better").nth(1).select_option("minimize")
    dialog.get_by_role("button", name="+ constraint").click()
    dialog.get_by_label("Constrained metric").fill("measured.cost")
    dialog.get_by_label("Bound").fill("cheap")
    dialog.get_by_label("Trials").fill("")
    dialog.get_by_text("When it ends sooner").click()
    dialog.get_by_text("How trials are chosen").click()
    dialog.get_by_label("Sampler", exact=True).select_option("prefix-reuse")
    dialog.get_by_label("Options of the sampler").fill("base=random")
    dialog.get_by_label("Sampler’s seed").fill("1")
    dialog.get_by_label("Repeat over").select_option("seed")
    dialog.get_by_label("How many repeats").fill("3")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.locator("#e-constraints")).to_contain_text("write STEP.METRIC <= NUMBER")
    expect(dialog.locator("#e-n_trials")).to_contain_text("needs an end")
    dialog.get_by_label("Bound").fill("0.5")
    dialog.get_by_label("Plateau").fill("2")
    dialog.get_by_label("Target").fill("3")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.locator("#e-target")).to_contain_text("several objectives")
    expect(dialog.get_by_label("Target")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Target").fill("")
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/studies/"))
    expect(page.locator("h1")).to_contain_text("Completed")
    expect(page.locator("#stopped-by")).to_contain_text("stopped by plateau")
    study = Study.called(workspace, name)
    assert str(study.goals) == "maximize measured.score, minimize measured.cost; measured.cost <= 0.5"
    assert study.repeats == {"seed": [0, 1, 2]}
    assert study.stopped_by == "plateau"
    worst = max(study.trials, key=lambda trial: max(trial.violations.values()))
    assert not worst.is_feasible
    row = page.locator(f"#trials tr[data-trial='{worst.number}']")
    assert worst.spreads is not None
    expect(row).to_contain_text(f"± {worst.spreads[0].ci95:.2g}")
    expect(row).to_contain_text(f"measured.cost <= 0.5 by {worst.violations['measured.cost <= 0.5']:.5g}")
    row.get_by_role("link", name=str(worst.number), exact=True).click()
    inspector = page.locator("#trial")
    expect(inspector).to_contain_text("infeasible: never best")
    expect(inspector.get_by_role("link", name=re.compile("^noisy#"))).to_have_count(4)
    found = httpx2.get(f"{served.url}/api/v1/studies/{study.id}/trials").json()
    assert found["feasible"] == [trial.is_feasible for trial in study.trials]
    assert found["violations"] == [dict(trial.violations) for trial in study.trials]
    assert found["ci95"] == [[each.ci95 for each in trial.spreads or ()] for trial in study.trials]
    said = httpx2.get(f"{served.url}/api/v1/studies/{study.id}").json()
    assert (said["stopped_by"], said["constraints"]) == ("plateau", ["measured.cost <= 0.5"])


def test_a_running_study_is_stopped_resumed_and_extended(page: Page, held: Held) -> None:
    study = started(page, held.run, "to be stopped", trials=3)
    wait_until(held.began.exists, "the first trial to begin")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Abort")).to_be_visible()
    held.gate.touch()
    expect(page.locator("h1")).to_contain_text("Aborted")
    assert [run.status for run in study.runs] == [Status.COMPLETED] * len(study.runs)
    assert len(study.runs) < 3
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1")).to_contain_text("Completed")
    expect(page.locator("#trials tr[data-trial]")).to_have_count(3)
    page.get_by_label("How many more trials").fill("2")
    page.get_by_role("button", name="More trials").click()
    expect(page.locator("#trials tr[data-trial]")).to_have_count(5)
    expect(page.locator("h1")).to_contain_text("Completed")


def test_trials_come_by_themselves_and_the_line_of_the_best_only_climbs(page: Page, held: Held) -> None:
    study = started(page, held.run, "live", 6)
    wait_until(held.began.exists, "the first trial to begin")
    rows = page.locator("#trials tr[data-trial]")
    expect(rows).to_have_count(1)
    page.evaluate("window.stayed = true")
    held.gate.touch()
    expect(page.locator("h1")).to_contain_text("Completed")
    expect(rows).to_have_count(6)
    best: list[tuple[int, float]] = []
    for trial in study.trials:
        assert trial.value is not None
        if not best or trial.value > best[-1][1]:
            best.append((trial.number, trial.value))
    last = re.compile(rf"(^| ){best[-1][0]}:\S+$")
    expect(page.locator("#history")).to_have_attribute("data-best", last)
    drawn = [point.split(":") for point in (page.locator("#history").get_attribute("data-best") or "").split()]
    assert [int(number) for number, _ in drawn] == [number for number, _ in best]
    assert [float(value) for _, value in drawn] == pytest.approx([value for _, value in best], rel=1e-4)
    assert page.evaluate("window.stayed"), "the page was loaded anew"


def test_stopping_twice_aborts_what_runs(page: Page, held: Held) -> None:
    study = started(page, held.run, "to be aborted", trials=3)
    wait_until(held.began.exists, "the first trial to begin")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Abort").click()
    expect(page.locator("h1")).to_contain_text("Aborted")
    assert {run.status for run in study.runs} == {Status.ABORTED}


def test_a_trial_is_enqueued_with_other_values(page: Page, watch: Any, base: Run) -> None:
    watch.allow("422")
    study = started(page, base, "for a point", trials=2)
    expect(page.locator("h1")).to_contain_text("Completed")
    page.locator("#trials tr[data-trial='1'] a").click()
    inspector = page.locator("#trial")
    expect(inspector.locator("h2")).to_contain_text("Trial 1")
    inspector.get_by_role("button", name="Enqueue in study").click()
    dialog = page.locator("#dialog")
    expect(dialog.get_by_label("lr", exact=True)).to_have_value(repr(study.runs[1].params["lr"]))
    dialog.get_by_label("lr", exact=True).fill("7")
    dialog.get_by_role("button", name="Enqueue").click()
    expect(dialog.get_by_role("alert")).to_contain_text("got 7")
    dialog.get_by_label("lr", exact=True).fill("0.3")
    dialog.get_by_role("button", name="Enqueue").click()
    page.wait_for_url(re.compile(f"/studies/{study.id}$"))
    expect(page.locator("#trials tr[data-trial='2']")).to_contain_text("0.3")
    expect(page.locator("h1")).to_contain_text("Completed")
    assert study.runs[2].params["lr"] == 0.3
    assert study.best_trial.number == 2


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_the_next_server_goes_on_with_what_one_has_left(tmp_path: Path, end: str) -> None:
    home, folder = tmp_path / "home", tmp_path / "ran"
    for each in (home, folder):
        each.mkdir()
    (home / "config.toml").write_text('executor = "local"\n')
    with Workspace(home=home) as workspace:
        base = workspace.run(shown.churn, {"folder": str(folder)})
        held = base.clone(gate="go")
        first = start(home, "--no-mlflow")
        wanted: dict[str, Any] = {
            "run": held.id, "space": {"lr": {"low": 0.1, "high": 1.0}}, "objective": "fit.auc", "n_trials": 3,
            "name": "left",
        }  # fmt: skip
        assert httpx2.post(f"{first.url}/api/v1/studies", json=wanted, timeout=60).status_code == 201
        wait_until((folder / "go.began").exists, "the first trial to begin")
        getattr(first.process, end)()
        first.process.wait(30)
        study = Study.called(workspace, "left")
        assert study.is_abandoned
        (folder / "go").touch()
        second = start(home, "--no-mlflow")
        try:
            wait_until(lambda: study.status is Status.COMPLETED, "the next server to go on")
            assert [run.status for run in study.runs] == [Status.COMPLETED] * 3
        finally:
            second.stop()


def started(page: Page, base: Run, name: str, trials: int) -> Study:
    """A study over ``base`` from the form, running; its name begins with ``name``."""
    name = f"{name} {next(NUMBERS)}"
    page.goto(f"/runs/{base.id}/study")
    page.get_by_label("lr", exact=True).check()
    page.get_by_label("lr, lowest").fill("0.1")
    page.get_by_label("Objective").select_option("fit.auc")
    page.get_by_label("Trials").fill(str(trials))
    page.get_by_label("In flight").fill("1")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/studies/"))
    expect(page.locator("h1")).to_contain_text(name)
    return Study.called(base.workspace, name)
