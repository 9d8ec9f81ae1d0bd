"""Code and studies that clients bring, asked for as any client would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import bodies
from services import wait_until

from hpo_pipelines import Workspace
from hpo_pipelines.server import create_app
from hpo_pipelines.server.api import submission
from hpo_pipelines.snapshot import Captured, Content, capture

API = "/api/v1"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    home = tmp_path_factory.mktemp("submitted")
    (home / "config.toml").write_text('executor = "inline"\n')
    with Workspace(home=home) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture(scope="module")
def simple() -> Captured:
    return capture(bodies.simple)


def send(client: TestClient, content: bytes) -> Any:
    return client.post(f"{API}/snapshots", content=content, headers={"Content-Type": "application/octet-stream"})


def post(client: TestClient, path: str, status: int, body: Any = None) -> Any:
    answer = client.post(f"{API}{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_code_is_kept_under_its_digest_and_run_from_there(
    client: TestClient, workspace: Workspace, simple: Captured
) -> None:
    refused = post(client, "/runs", 409, {"snapshot": simple.digest})
    assert refused["type"] == "CodeUnavailable"
    for _ in range(2):
        answer = send(client, simple.content)
        assert (answer.status_code, answer.json()["digest"]) == (201, simple.digest)
    git = {"commit": "abc", "branch": "main", "dirty": False, "diff": ""}
    wanted = {"snapshot": simple.digest, "params": {"x": 40}, "tags": ["sent"], "git": git}
    made = post(client, "/runs", 201, wanted)
    assert (made["run"], made["status"], made["params"]) == ("simple#1", "draft", {"x": 40, "y": 2})
    assert (made["tags"], made["git"]["commit"]) == (["sent"], "abc")
    post(client, f"/runs/{made['id']}/submit", 202, {"refresh": ["add"], "priority": 3})
    run = workspace.run_called(made["id"])
    wait_until(lambda: run.refreshed().status.finished, "it to end")
    assert run.value == 42
    assert [event.data for event in workspace.store.events.story(run.id) if event.kind == "asked"] == [
        {"refresh": ["add"]}
    ]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"params": {"z": 1}}, 422, "no parameter 'z'"),
        ({"params": {"x": "one"}}, 422, "takes int"),
        ({"executor": "abacus"}, 422, "executor"),
        ({"code": "import os"}, 422, "code"),
    ],
)
def test_a_draft_that_does_not_fit_is_refused(
    client: TestClient, simple: Captured, body: dict[str, Any], status: int, said: str
) -> None:
    send(client, simple.content)
    assert said in post(client, "/runs", status, {"snapshot": simple.digest, **body})["detail"]


def test_what_is_no_code_or_not_that_of_its_digest_is_refused(
    client: TestClient, simple: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = json.loads(simple.content)
    name = next(iter(other["modules"]))
    other["modules"][name][0] += "\nimport os"
    for content, said in (
        (b"", "0 bytes"),
        (b"not code", "no code snapshot"),
        (b"[]", "no code snapshot"),
        (b'{"format": 1}', "no code snapshot"),
        (json.dumps(other).encode(), "not that of its digest"),
    ):
        answer = send(client, content)
        assert (answer.status_code, answer.json()["type"]) == (422, "ParameterError")
        assert said in answer.json()["detail"] or not content
    monkeypatch.setattr(submission, "MOST_BYTES", 10)
    assert "10 are the most" in send(client, simple.content).json()["detail"]


def test_code_that_travels_by_value_is_taken_at_its_word(client: TestClient, simple: Captured) -> None:
    found = Content.decode(simple.content)
    by_value = json.loads(Content("ab" * 32, found.entry, {}, payload=b"pickled").encode())
    assert send(client, json.dumps(by_value).encode()).status_code == 201


def test_only_a_drafts_executor_is_set(client: TestClient, simple: Captured) -> None:
    send(client, simple.content)
    made = post(client, "/runs", 201, {"snapshot": simple.digest})
    answer = client.patch(f"{API}/runs/{made['id']}", json={"executor": "local"})
    assert answer.json()["executor"] == "local"
    post(client, f"/runs/{made['id']}/abort", 200)
    assert client.patch(f"{API}/runs/{made['id']}", json={"executor": "local"}).status_code == 409


def test_a_rerun_may_be_left_a_draft(client: TestClient, workspace: Workspace, simple: Captured) -> None:
    base = workspace.run(bodies.simple, {"x": 1})
    made = post(client, f"/runs/{base.id}/rerun", 201, {"submit": False, "failed": True})
    assert (made["status"], made["rerun_of"]) == ("draft", base.id)
    post(client, f"/runs/{made['id']}/submit", 202, {"keep": base.id})
    run = workspace.run_called(made["id"])
    wait_until(lambda: run.refreshed().status.finished, "it to end")
    assert run.steps["add"].task.reason == f"kept from {base.label}/add"


# -- studies


def test_a_study_is_driven_here(client: TestClient, workspace: Workspace, simple: Captured) -> None:
    send(client, simple.content)
    wanted = {"snapshot": simple.digest, "space": {"x": [1, 2, 3]}, "n_trials": 3, "seed": 1, "name": "rest"}
    made = post(client, "/records/studies", 201, wanted)
    wait_until(lambda: not client.get(f"{API}/records/studies/rest/progress").json()["driven"], "the study to end")
    said = client.get(f"{API}/records/studies/{made['id']}/progress").json()
    assert (said["progress"]["done"], said["progress"]["total"], said["problem"]) == (3, 3, None)
    assert post(client, "/records/studies/rest/stop", 409)["type"] == "StudyError"
    assert post(client, "/records/studies/rest/resume", 409)["type"] == "StudyError"
    assert post(client, "/records/studies/rest/resume", 202, {"n_trials": 4})["id"] == made["id"]
    wait_until(lambda: not client.get(f"{API}/records/studies/rest/progress").json()["driven"], "the study to end")
    assert client.get(f"{API}/records/studies/rest/journal").content.count(b"\n") > 4


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({}, 422, "ParameterError"),
        ({"run": "simple#1", "snapshot": "x"}, 422, "ParameterError"),
        ({"run": "nothing#1"}, 404, "TaskNotFound"),
        ({"snapshot": "none"}, 409, "CodeUnavailable"),
        ({"run": "simple", "n_trials": None}, 409, "StudyError"),
        ({"run": "simple", "space": {"z": [1]}}, 422, "SpaceError"),
        ({"run": "simple", "space": {"x": {"low": 3, "high": 1}}}, 422, "SpaceError"),
        ({"run": "simple", "storage": "sqlite:///x"}, 422, "ParameterError"),
        ({"run": "simple", "queue": "nowhere"}, 422, "ConfigError"),
    ],
)
def test_a_study_that_cannot_be_is_refused(
    client: TestClient, workspace: Workspace, body: dict[str, Any], status: int, kind: str
) -> None:
    if not workspace.runs():
        workspace.run(bodies.simple, {"x": 1})
    wanted = {"space": {"x": [1]}, "n_trials": 1, "name": "refused", **body}
    assert post(client, "/records/studies", status, wanted)["type"] == kind


def test_how_far_a_study_of_others_is_they_say_and_what_has_ended_is_not_stopped(
    client: TestClient, workspace: Workspace
) -> None:
    from hpo_pipelines import optimize

    optimize(bodies.simple, {"x": [1]}, n_trials=1, name="elsewhere", progress=False, workspace=workspace)
    assert "is not running" in post(client, "/records/studies/elsewhere/stop", 409)["detail"]
    answer = client.get(f"{API}/records/studies/elsewhere/progress")
    assert answer.status_code == 409
    assert "was not started by this server" in answer.json()["detail"]


# -- records


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/records/tasks?status=done", 422),
        ("/records/tasks?limit=0", 422),
        ("/records/tasks/none", 404),
        ("/records/tasks/none/why", 404),
        ("/records/tasks/none/accounting", 404),
        ("/records/called?reference=none", 404),
        ("/records/children", 422),
        ("/records/children?run=none", 200),
        ("/records/executions?project=none&pipeline=none&before=0", 200),
        ("/records/executions?project=none", 422),
        ("/records/edges?run=none", 200),
        ("/records/runs/none/consoles", 404),
        ("/records/runs/none/consoles/x", 404),
        ("/records/outcomes", 422),
        ("/records/snapshots/none", 404),
        ("/records/leases?prefix=", 422),
        ("/records/leases?prefix=run:", 200),
    ],
)
def test_records_that_are_not_there_are_said(client: TestClient, path: str, status: int) -> None:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == status, answer.text


def test_a_console_stays_below_its_run(client: TestClient, workspace: Workspace) -> None:
    run = workspace.run(bodies.loud, {"x": 1})
    base = f"{API}/records/runs/{run.id}/consoles"
    assert set(client.get(base).json()["sizes"]) == {"controller", "noisy.1"}
    for name in ("..%2F..%2Fstore", "%2e%2e", "..", "noisy.1.log"):
        assert client.get(f"{base}/{name}").status_code == 404
    whole = client.get(f"{base}/controller").content
    assert client.get(f"{base}/controller", params={"offset": 3}).content == whole[3:]
    assert client.get(f"{base}/controller", params={"offset": 10**6}).content == b""


def test_a_run_has_reasons_a_task_only_where_it_is_a_step(client: TestClient, workspace: Workspace) -> None:
    run = workspace.run(bodies.simple, {"x": 1})
    step = run.steps["add"]
    assert client.get(f"{API}/records/tasks/{step.id}/why").json()["verdict"] in ("ran", "reused")
    assert client.get(f"{API}/records/tasks/{run.id}/why").status_code == 404
