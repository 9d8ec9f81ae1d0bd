"""How pages look at three widths, in both themes: nothing overlaps, is cut off, or lies off the page.

There are no golden pictures. Glyphs, form controls and the edges of lines are drawn otherwise by each release of
Chromium and FreeType, durations and ages differ between any two runs, and a tolerance that lets all that pass lets pass
what such a picture is for as well: a label that is cut, a button moved by its own height, an icon that is missing. So
the browser is asked about every element that shows something (``looks.js``), and a test of that test breaks a page in
each way. It has no opinion about taste: whoever changes a page looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from samples import shown
from server.conftest import LIMIT_MS
from server_process import Served

from hpo_pipelines import Float, Study, Workspace, optimize
from hpo_pipelines.run import Run

pytestmark = [pytest.mark.integration, pytest.mark.browser]

WIDTHS = (1024, 1440, 1920)
HEIGHT = 900
LONG = "a-name-that-is-as-long-as-such-names-get-where-nobody-minds-how-long-they-are"

FAULTS = (Path(__file__).parent / "looks.js").read_text("utf-8")


@pytest.fixture(scope="module")
def base(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    params = {"folder": str(tmp_path_factory.mktemp(LONG))}
    return workspace.run(shown.churn, params, executor="inline", tags=("kept", LONG))


@pytest.fixture(scope="module")
def broken(workspace: Workspace, base: Run) -> Run:
    return workspace.run(shown.churn, {"folder": base.params["folder"], "broken": True}, executor="inline")


@pytest.fixture(scope="module")
def study(workspace: Workspace, base: Run) -> Study:
    space = {"lr": Float(0.01, 1.0, log=True), "model": ["tree", "linear"], "share": Float(0.2, 0.5)}
    optimize(base, space, "fit.auc", n_trials=1, name="short", progress=False, executor="inline")
    return optimize(base, space, "fit.auc", n_trials=6, seed=1, name=LONG, progress=False, executor="inline")


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, chromium: Browser, served: Served) -> Iterator[Page]:
    context = chromium.new_context(base_url=served.url, color_scheme=request.param, reduced_motion="reduce")
    context.set_default_timeout(LIMIT_MS)
    yield context.new_page()
    context.close()


def test_nothing_overlaps_is_cut_off_or_lies_off_the_page(
    themed: Page, base: Run, broken: Run, study: Study, tmp_path: Path
) -> None:
    found: list[str] = []
    for path in (
        "/pipelines",
        "/pipelines/shop/churn?cols=p.lr,p.folder,m.fit.auc",
        f"/runs/{base.id}",
        f"/runs/{base.id}?step=fit&tab=code&view=timeline",
        f"/runs/{broken.id}?step=fit&tab=console&view=steps",
        f"/runs/{base.id}/new",
        f"/runs/{base.id}/study",
        "/studies",
        f"/studies/{study.id}?trial=1",
        f"/compare?runs={base.id},{broken.id}",
        "/cluster",
        "/runs/01NOTHING",
    ):
        themed.goto(path)
        themed.evaluate("document.fonts.ready")
        if path.startswith("/studies/"):
            themed.wait_for_function("performance.getEntriesByName('drawn').length")
        for width in WIDTHS:
            themed.set_viewport_size({"width": width, "height": HEIGHT})
            # Twice: charts are drawn anew in the first.
            themed.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            faults = [f"{path} at {width}: {each}" for each in themed.evaluate(FAULTS)]
            themed.evaluate("for (const menu of document.querySelectorAll('details.menu')) menu.open = !menu.open")
            faults += [f"{path} at {width}, its menu open: {each}" for each in themed.evaluate(FAULTS)]
            if faults:
                themed.screenshot(path=tmp_path / f"{len(found)}-{width}.png")
            themed.evaluate("for (const menu of document.querySelectorAll('details.menu')) menu.open = !menu.open")
            found += faults
    assert not found, "\n".join(found)


def broken_by(page: Page, script: str) -> list[str]:
    found: list[str] = page.evaluate(FAULTS)
    assert found == []
    page.evaluate(script)
    faults: list[str] = page.evaluate(FAULTS)
    page.reload()
    return faults


def test_what_is_broken_is_found(page: Page, base: Run) -> None:
    page.goto(f"/runs/{base.id}")
    for script, said in (
        ("document.querySelector('#new').style.transform = 'translateX(400px)'", "off the page"),
        ("document.querySelector('#new').style.marginLeft = '-70px'", "overlaps"),
        ("document.querySelector('#inspector h2').style.cssText = 'overflow:hidden;height:4px'", "cut below"),
        ("document.querySelector('#details').style.cssText = 'width:0;padding:0;border:0'", "nothing to click at"),
        ("document.querySelector('#inspector').style.cssText = 'position:fixed;inset:0'", "lies over"),
        ("document.querySelector('#details use').setAttribute('href', '/static/icons.svg#nothing')", "no such icon"),
    ):  # fmt: skip
        assert any(said in each for each in broken_by(page, script)), (said, script)
