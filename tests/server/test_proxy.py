"""MLflow's own pages below /mlflow, from the real MLflow."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, expect
from samples import shown
from server_process import Served, start
from services import wait_until
from starlette.requests import Request

from hpo_pipelines import Workspace
from hpo_pipelines.run import Run
from hpo_pipelines.server.proxy import _passed_on
from hpo_pipelines.server.roles import Role
from hpo_pipelines.server.tokens import TokenFile

pytestmark = [pytest.mark.integration, pytest.mark.browser]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    return TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.json")


@pytest.fixture(scope="module")
def known(tokens: TokenFile) -> dict[str, dict[str, str]]:
    """What somebody of each role sends."""
    return {str(role): {"Authorization": f"Bearer {tokens.create(str(role), role)}"} for role in Role}


@pytest.fixture(scope="module")
def tracked(
    tmp_path_factory: pytest.TempPathFactory, tokens: TokenFile, known: dict[str, dict[str, str]]
) -> Iterator[tuple[Served, Run]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        home = tmp_path_factory.mktemp("tracked")
        with Workspace(home=home) as workspace:
            run = workspace.run(shown.churn, {"folder": str(home), "lr": 0.3}, executor="inline")
            assert workspace.drain(90)
            server = start(home, "--token-file", str(tokens.path))
            yield server, run
            server.stop()


def test_a_run_leads_to_itself_in_mlflow_for_a_viewer_too(
    chromium: Browser, tracked: tuple[Served, Run], known: dict[str, dict[str, str]]
) -> None:
    server, run = tracked
    context = chromium.new_context(base_url=server.url, extra_http_headers=known["viewer"])
    page = context.new_page()
    off, refused = [], []
    page.on("response", lambda r: refused.append(f"{r.request.method} {r.url}") if r.status in (401, 403) else None)
    page.on("request", lambda r: off.append(r.url) if not r.url.startswith((server.url, "data:", "blob:")) else None)
    page.goto(f"/runs/{run.id}")
    page.get_by_role("link", name="in MLflow").click(timeout=90_000)
    expect(page.get_by_role("heading", name=run.label)).to_be_visible(timeout=90_000)
    assert page.url.startswith(f"{server.url}/mlflow/#/experiments/")
    expect(page.get_by_text("fit.auc")).to_be_visible()
    expect(page.get_by_text("Welcome to MLflow")).to_have_count(0)
    assert off == []
    # Its pages ask much by POST; only what they would change is refused, and the assistant is closed.
    assert [each for each in refused if "/assistant/" not in each] == []
    context.close()


def test_mlflows_rest_is_there_and_behind_our_guard(
    tracked: tuple[Served, Run], known: dict[str, dict[str, str]]
) -> None:
    server, run = tracked
    search, change = (f"{server.url}/mlflow/api/2.0/mlflow/runs/{what}" for what in ("search", "set-tag"))
    answer = httpx2.post(
        search,
        headers=known["viewer"],
        json={"experiment_ids": ["1"], "filter": f"tags.`hpo.task` = '{run.id}'"},
        timeout=90,
    )
    (found,) = answer.json()["runs"]
    metrics = {metric["key"]: metric["value"] for metric in found["data"]["metrics"]}
    assert {name: metrics.get(name) for name in run.metrics} == pytest.approx(dict(run.metrics))
    params = {param["key"]: param["value"] for param in found["data"]["params"]}
    assert {name: params.get(name) for name in run.params} == {name: str(value) for name, value in run.params.items()}
    assert httpx2.post(search, json={}, timeout=90).status_code == 401
    tag = {"run_id": found["info"]["run_id"], "key": "seen", "value": "by a runner"}
    refused = httpx2.post(change, json=tag, headers=known["viewer"], timeout=90)
    assert (refused.status_code, refused.json()["type"]) == (403, "Forbidden")
    assert httpx2.post(change, json=tag, headers=known["runner"], timeout=90).status_code == 200
    path = f"{server.url}/mlflow/get-artifact?run_id={tag['run_id']}&path=code.py"
    file = httpx2.get(path, headers=known["viewer"], timeout=90)
    assert file.status_code == 200
    assert file.headers["content-security-policy"] == "default-src 'none'; sandbox"
    headers = {"Host": "evil.example"}
    assert httpx2.get(f"{server.url}/mlflow/", headers=headers, timeout=90).status_code == 403
    foreign = {"Origin": "http://evil.example", **known["author"]}
    assert (
        httpx2.post(f"{server.url}/mlflow/api/2.0/mlflow/runs/search", headers=foreign, timeout=90).status_code == 403
    )
    assistant = f"{server.url}/mlflow/ajax-api/3.0/mlflow/assistant/config"
    assert httpx2.get(assistant, headers=known["author"], timeout=90).status_code == 403


def test_mlflow_follows_what_is_archived_and_deleted_over_rest(
    tracked: tuple[Served, Run], known: dict[str, dict[str, str]]
) -> None:
    server, run = tracked
    api, author = f"{server.url}/api/v1/runs/{run.id}", known["author"]

    def stages() -> list[str]:
        body = {"experiment_ids": ["1"], "filter": f"tags.`hpo.task` = '{run.id}'", "run_view_type": "ALL"}
        search = f"{server.url}/mlflow/api/2.0/mlflow/runs/search"
        answer = httpx2.post(search, headers=author, json=body, timeout=90).json()
        return [found["info"]["lifecycle_stage"] for found in answer.get("runs", [])]

    assert stages() == ["active"]
    for path, stage in (("/archive", "deleted"), ("/restore", "active")):
        assert httpx2.post(f"{api}{path}", headers=author, timeout=90).status_code == 200
        wait_until(lambda stage=stage: stages() == [stage], f"MLflow to follow: {stage}", 90)  # type: ignore[misc]
    assert httpx2.delete(api, headers=author, timeout=90).json()["runs"] == [run.label]
    wait_until(lambda: stages() == ["deleted"], "MLflow to follow", 90)


def test_who_asks_is_not_told_to_mlflow() -> None:
    sent = {"authorization": "Bearer hpo_x", "cookie": "a=b; hpo_token=hpo_x; c=d", "host": "h", "accept": "*/*"}
    request = Request({"type": "http", "headers": [(name.encode(), value.encode()) for name, value in sent.items()]})
    assert dict(_passed_on(request)) == {b"accept": b"*/*", b"cookie": b"a=b; c=d"}
