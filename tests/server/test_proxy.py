"""MLflow's own pages below /mlflow, from the real MLflow."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, expect
from samples import shown
from server_process import Served, start

from hpo_pipelines import Workspace
from hpo_pipelines.run import Run

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Run]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        home = tmp_path_factory.mktemp("tracked")
        with Workspace(home=home) as workspace:
            run = workspace.run(shown.churn, {"folder": str(home), "lr": 0.3}, executor="inline")
            assert workspace.drain(90)
            server = start(home)
            yield server, run
            server.stop()


def test_a_run_leads_to_itself_in_mlflow(chromium: Browser, tracked: tuple[Served, Run]) -> None:
    server, run = tracked
    context = chromium.new_context(base_url=server.url)
    page = context.new_page()
    off = []
    page.on("request", lambda r: off.append(r.url) if not r.url.startswith((server.url, "data:", "blob:")) else None)
    page.goto(f"/runs/{run.id}")
    page.get_by_role("link", name="in MLflow").click(timeout=90_000)
    expect(page.get_by_role("heading", name=run.label)).to_be_visible(timeout=90_000)
    assert page.url.startswith(f"{server.url}/mlflow/#/experiments/")
    expect(page.get_by_text("fit.auc")).to_be_visible()
    expect(page.get_by_text("Welcome to MLflow")).to_have_count(0)
    assert off == []
    context.close()


def test_mlflows_rest_is_there_and_behind_our_guard(tracked: tuple[Served, Run]) -> None:
    server, run = tracked
    answer = httpx2.post(
        f"{server.url}/mlflow/api/2.0/mlflow/runs/search",
        json={"experiment_ids": ["1"], "filter": f"tags.`hpo.task` = '{run.id}'"},
        timeout=90,
    )
    (found,) = answer.json()["runs"]
    assert {metric["key"]: metric["value"] for metric in found["data"]["metrics"]}["fit.auc"] == pytest.approx(
        run.metrics["fit.auc"]
    )
    headers = {"Host": "evil.example"}
    assert httpx2.get(f"{server.url}/mlflow/", headers=headers, timeout=90).status_code == 403
    foreign = {"Origin": "http://evil.example"}
    assert (
        httpx2.post(f"{server.url}/mlflow/api/2.0/mlflow/runs/search", headers=foreign, timeout=90).status_code == 403
    )
    assistant = f"{server.url}/mlflow/ajax-api/3.0/mlflow/assistant/config"
    assert httpx2.get(assistant, timeout=90).status_code == 403
