from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from hpo_pipelines import Workspace
from hpo_pipelines.server import create_app


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with (
        Workspace(home=tmp_path_factory.mktemp("guard")) as workspace,
        TestClient(create_app(workspace), base_url="http://127.0.0.1:8264") as opened,
    ):
        yield opened


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8264", "127.0.0.1.evil.example", "192.168.0.4", ""])
def test_another_name_of_this_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/v1/runs", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["type"] == "Forbidden"


@pytest.mark.parametrize("host", ["127.0.0.1:8264", "localhost:8264", "localhost", "[::1]:8264"])
def test_loopback_by_any_name_is_welcome(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
    ],
)
def test_another_sites_page_may_look_at_nothing_and_change_nothing(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/api/v1/runs/x/abort", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in client.get("/api/v1/runs", headers=headers).headers


def test_our_own_pages_may_change_things(client: TestClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8264", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/runs/x/abort", headers=headers).status_code == 404


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/pipelines", "/api/v1/runs", "/api/v1/runs/x", "/static/app.js", "/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
