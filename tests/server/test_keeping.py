"""Archive, restore and delete over REST and from the pages; ETags."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import shown
from services import wait_until

from hpo_pipelines import Float, Study, Workspace, optimize
from hpo_pipelines.run import Run
from hpo_pipelines.server import create_app
from hpo_pipelines.study.lease import leased
from hpo_pipelines.types import Status, new_id

API = "/api/v1"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), base_url="http://127.0.0.1", follow_redirects=False) as opened:
        yield opened


@pytest.fixture
def run(workspace: Workspace, tmp_path: Path) -> Run:
    return workspace.run(shown.churn, {"folder": str(tmp_path)}, executor="inline")


def ask(client: TestClient, method: str, path: str, expected: int = 200, /, **options: Any) -> Any:
    answer = client.request(method, f"{API}{path}", **options)
    assert answer.status_code == expected, answer.text
    return answer.json()


def listed(client: TestClient, **query: Any) -> list[str]:
    return [item["id"] for item in ask(client, "GET", "/runs", params=query)["items"]]


def test_an_archived_run_is_listed_for_who_asks_and_found_by_name(client: TestClient, run: Run) -> None:
    other = run.clone(lr=0.2).run()
    archived = ask(client, "POST", f"/runs/{run.id}/archive")
    assert archived["archived_at"] == pytest.approx(time.time(), abs=600)
    assert ask(client, "POST", f"/runs/{run.id}/archive")["archived_at"] == archived["archived_at"]
    assert listed(client) == [other.id]
    assert listed(client, archived=True) == [run.id]
    assert ask(client, "GET", f"/runs/{run.label.replace('#', '%23')}")["id"] == run.id
    assert run.label not in client.get("/pipelines/shop/churn").text
    assert run.label in client.get("/pipelines/shop/churn?archived=1").text
    page = client.get(f"/runs/{run.id}").text
    assert "Restore" in page
    assert f"/runs/{run.id}/do/rerun" not in page
    assert ask(client, "POST", f"/runs/{run.id}/restore")["archived_at"] is None
    assert set(listed(client)) == {run.id, other.id}
    kinds = [event.kind for event in run.workspace.store.events.story(run.id)]
    assert kinds[-2:] == ["archived", "restored"]


def test_what_a_run_computed_is_reused_while_it_is_archived(client: TestClient, run: Run) -> None:
    ask(client, "POST", f"/runs/{run.id}/archive")
    assert all(step.reused_from for step in run.clone().run().steps.values())


def test_what_is_under_way_is_neither_archived_nor_deleted(
    client: TestClient, workspace: Workspace, run: Run, tmp_path: Path
) -> None:
    ask(client, "PATCH", "/queues/services", json={"paused": True})
    waiting = ask(client, "POST", f"/runs/{run.id}/clone", 201, json={"params": {"lr": 0.4}, "submit": True})
    for method, path in (("POST", f"/runs/{waiting['id']}/archive"), ("DELETE", f"/runs/{waiting['id']}")):
        problem = ask(client, method, path, 409)
        assert problem["type"] == "IllegalTransition"
        assert "abort it" in problem["detail"]
    assert ask(client, "POST", "/pipelines/shop/churn/archive", 409)["type"] == "IllegalTransition"
    assert ask(client, "DELETE", "/pipelines/shop/churn", 409)["type"] == "IllegalTransition"
    assert set(listed(client)) == {run.id, waiting["id"]}


def test_a_deleted_run_goes_with_what_nobody_else_needs(client: TestClient, workspace: Workspace, run: Run) -> None:
    kept, doomed = run.clone(rows=5000).run(), run.clone(rows=7000).run()
    reuser = kept.clone(lr=0.7).run()
    also_gone = kept.id

    def stored(of: Run) -> set[str]:
        names = {file.name for file in workspace.artifacts.files()}
        outputs = workspace.store.tasks.outputs_of([step.id for step in of.steps.values()])
        return names & {ref.digest for refs in outputs.values() for ref in refs.values()}

    needed, own = stored(reuser), stored(doomed) - stored(kept)
    assert needed
    assert own
    for path in (workspace.home / "artifacts").rglob("*"):  # an hour later
        if path.is_file():
            os.utime(path, (time.time() - 7200, time.time() - 7200))
    gone = ask(client, "DELETE", f"/runs/{doomed.id}")
    assert (gone["runs"], gone["steps"], gone["studies"]) == ([doomed.label], 5, [])
    ask(client, "DELETE", f"/runs/{also_gone}")
    assert ask(client, "GET", f"/runs/{doomed.id}", 404)["type"] == "TaskNotFound"
    assert not (workspace.home / "consoles" / doomed.id).exists()
    wait_until(lambda: not own & {file.name for file in workspace.artifacts.files()}, "files to be swept")
    assert stored(reuser) == needed
    assert reuser.clone(lr=0.9).run().steps["split"].reused_from
    assert ask(client, "DELETE", f"/runs/{doomed.id}", 404)["type"] == "TaskNotFound"


def test_a_pipeline_is_archived_restored_and_deleted_with_its_studies(
    client: TestClient, workspace: Workspace, run: Run
) -> None:
    space = {"lr": Float(0.1, 1.0)}
    study = optimize(run, space, "fit.auc", n_trials=2, seed=1, name="kept", progress=False, executor="inline")
    other = workspace.run(shown.markup, {}, executor="inline")
    trial = ask(client, "DELETE", f"/runs/{study.trials[0].run.id}", 409)
    assert "counts on it" in trial["detail"]
    whole = ask(client, "GET", "/pipelines/shop/churn")
    assert (whole["runs"], whole["archived"]) == (3, 0)
    done = ask(client, "POST", "/pipelines/shop/churn/archive")
    assert (done["studies"], len(done["runs"])) == (["kept"], 3)
    assert [item["pipeline"] for item in ask(client, "GET", "/pipelines")["items"]] == ["markup"]
    assert [item["pipeline"] for item in ask(client, "GET", "/pipelines?archived=true")["items"]] == ["churn"]
    assert ask(client, "GET", "/studies")["items"] == []
    assert [item["name"] for item in ask(client, "GET", "/studies?archived=true")["items"]] == ["kept"]
    assert ask(client, "GET", "/pipelines/shop/churn")["archived"] == 3
    assert len(ask(client, "POST", "/pipelines/shop/churn/restore")["runs"]) == 3
    assert ask(client, "GET", "/studies/kept")["id"] == study.id
    gone = ask(client, "DELETE", "/pipelines/shop/churn")
    assert (gone["studies"], len(gone["runs"])) == (["kept"], 3)
    assert listed(client) == [other.id]
    assert ask(client, "GET", "/pipelines/shop/churn", 404)["type"] == "TaskNotFound"
    assert ask(client, "DELETE", "/pipelines/shop/churn", 404)["type"] == "TaskNotFound"


@pytest.fixture
def study(run: Run) -> Study:
    space = {"lr": Float(0.1, 1.0)}
    return optimize(run, space, "fit.auc", n_trials=2, seed=1, name="kept", progress=False, executor="inline")


def test_a_study_is_archived_restored_and_deleted_with_its_trials(client: TestClient, run: Run, study: Study) -> None:
    trials = {trial.id for trial in study.runs}
    archived = ask(client, "POST", "/studies/kept/archive")
    assert archived["archived_at"] == pytest.approx(time.time(), abs=600)
    assert (archived["name"], archived["trials"]) == ("kept", 2)
    assert ask(client, "POST", f"/studies/{study.id}/archive")["archived_at"] == archived["archived_at"]
    assert listed(client) == [run.id]
    assert set(listed(client, archived=True)) == trials
    assert ask(client, "GET", "/studies")["items"] == []
    assert ask(client, "POST", "/studies/kept/restore")["archived_at"] is None
    assert set(listed(client)) == {run.id, *trials}
    gone = ask(client, "DELETE", "/studies/kept")
    assert (gone["studies"], len(gone["runs"]), gone["steps"]) == (["kept"], 2, 10)
    assert listed(client) == [run.id], "what it was started over stays"
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/archive"), ("POST", "/restore")):
        assert ask(client, method, f"/studies/kept{path}", 404)["type"] == "TaskNotFound"


def test_a_study_under_way_is_neither_archived_nor_deleted(client: TestClient, run: Run, study: Study) -> None:
    store, record = run.workspace.store, study.task
    driven = store.tasks.create(replace(record, id=new_id(), name="driven", status=Status.RUNNING, finished_at=None))
    with leased(Study(run.workspace, driven)):
        for method, path in (("POST", "/studies/driven/archive"), ("DELETE", "/studies/driven")):
            assert ask(client, method, path, 409)["type"] == "IllegalTransition"
        assert "/do/archive" not in client.get(f"/studies/{driven.id}").text
        assert {item["name"] for item in ask(client, "GET", "/studies")["items"]} == {"driven", "kept"}
    # What nobody drives any more can go.
    assert "/do/archive" in client.get(f"/studies/{driven.id}").text
    assert ask(client, "DELETE", "/studies/driven")["studies"] == ["driven"]


def test_what_would_go_is_said_before(client: TestClient, run: Run, study: Study) -> None:
    wanted = {"tasks": [study.id], "dry_run": True}
    told = ask(client, "POST", "/records/delete", json=wanted)
    assert (told["studies"], told["steps"]) == (["kept"], 10)
    assert ask(client, "GET", "/studies/kept")["id"] == study.id
    assert (
        ask(client, "POST", "/records/delete", 409, json={"tasks": [run.id], "dry_run": True})["type"] == "StudyError"
    )
    assert ask(client, "POST", "/records/delete", json={"tasks": [study.id]}) == told
    assert ask(client, "POST", "/records/delete", 404, json={"tasks": [study.id, run.id]})["type"] == "TaskNotFound"
    assert listed(client) == [run.id], "all or none"


def test_the_buttons_of_a_study_do_the_same(client: TestClient, run: Run, study: Study) -> None:
    assert client.post(f"/studies/{study.id}/do/archive").headers["location"] == f"/studies/{study.id}"
    page = client.get(f"/studies/{study.id}").text
    assert ">Archived<" in page
    assert "/do/restore" in page
    assert not any(f"/studies/{study.id}/do/{action}" in page for action in ("archive", "extend", "resume"))
    trial = client.get(f"/runs/{study.runs[0].id}").text
    assert "/do/restore" in trial
    assert "/delete" not in trial, "a trial goes with its study"
    assert "All studies are archived" in client.get("/studies").text
    assert "kept" in client.get("/studies?archived=1").text
    assert client.post(f"/studies/{study.id}/do/restore").status_code == 303
    assert "Nothing is archived" in client.get("/studies?archived=1").text
    assert "kept" in client.get("/studies").text
    problem = client.post(f"/studies/{study.id}/do/burn")
    assert problem.status_code == 404
    assert client.post(f"/studies/{study.id}/delete").headers["location"] == "/studies"
    assert "No study yet" in client.get("/studies").text
    assert listed(client) == [run.id]


def test_the_buttons_do_the_same(client: TestClient, workspace: Workspace, run: Run) -> None:
    assert client.post(f"/runs/{run.id}/do/archive").headers["location"] == f"/runs/{run.id}"
    assert listed(client) == []
    page = client.get("/pipelines").text
    assert "All pipelines are archived" in page
    assert "churn" in client.get("/pipelines?archived=1").text
    assert client.post("/pipelines/shop/churn/do/restore").status_code == 303
    assert listed(client) == [run.id]
    other = run.clone(lr=0.3)
    assert client.post(f"/runs/{other.id}/delete").headers["location"] == "/pipelines/shop/churn"
    assert client.post("/pipelines/shop/churn/do/burn").status_code == 404
    assert client.post("/pipelines/shop/churn/delete").headers["location"] == "/pipelines"
    assert listed(client) == []


# -- ETags


def test_what_one_has_is_not_sent_again(client: TestClient, run: Run) -> None:
    paths = [
        f"/runs/{run.id}",
        f"/runs/{run.id}/steps",
        f"/runs/{run.id}/steps/fit",
        "/pipelines",
        "/pipelines/shop/churn",
    ]
    for path in paths:
        first = client.get(f"{API}{path}")
        tag = first.headers["etag"]
        again = client.get(f"{API}{path}", headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path
        assert client.get(f"{API}{path}", headers={"If-None-Match": f"W/{tag}"}).status_code == 304
        assert client.get(f"{API}{path}", headers={"If-None-Match": '"other"'}).content == first.content
    tag = client.get(f"{API}/runs/{run.id}").headers["etag"]
    run.annotate(notes="seen")
    changed = client.get(f"{API}/runs/{run.id}", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["notes"]) == (200, "seen")


def test_a_study_has_one_too(client: TestClient, run: Run) -> None:
    optimize(run, {"lr": Float(0.1, 1.0)}, "fit.auc", n_trials=1, name="tagged", progress=False, executor="inline")
    tag = client.get(f"{API}/studies/tagged").headers["etag"]
    assert client.get(f"{API}/studies/tagged", headers={"If-None-Match": tag}).status_code == 304


def test_a_study_is_changed_on_a_fresh_view_only(client: TestClient, study: Study) -> None:
    old = client.get(f"{API}/studies/kept").headers["etag"]
    ask(client, "POST", "/studies/kept/archive", headers={"If-Match": old})
    for method, path in (("POST", "/studies/kept/restore"), ("DELETE", "/studies/kept")):
        assert "Read it again" in ask(client, method, path, 412, headers={"If-Match": old})["detail"]
    ask(client, "DELETE", "/studies/kept", headers={"If-Match": client.get(f"{API}/studies/kept").headers["etag"]})


def test_a_change_made_on_an_old_view_is_refused(client: TestClient, run: Run) -> None:
    tag = client.get(f"{API}/runs/{run.id}").headers["etag"]
    first = client.patch(f"{API}/runs/{run.id}", json={"notes": "mine"}, headers={"If-Match": tag})
    assert first.status_code == 200
    for method, path, body in (
        ("PATCH", f"/runs/{run.id}", {"notes": "yours"}),
        ("POST", f"/runs/{run.id}/archive", None),
        ("POST", f"/runs/{run.id}/rerun", None),
        ("DELETE", f"/runs/{run.id}", None),
    ):
        problem = ask(client, method, path, 412, json=body, headers={"If-Match": tag})
        assert "Read it again" in problem["detail"]
    assert run.refreshed().notes == "mine"
    fresh = client.get(f"{API}/runs/{run.id}").headers["etag"]
    ask(client, "POST", f"/runs/{run.id}/archive", headers={"If-Match": fresh})
    whole = client.get(f"{API}/pipelines/shop/churn").headers["etag"]
    ask(client, "POST", "/pipelines/shop/churn/restore", headers={"If-Match": whole})
    ask(client, "DELETE", "/pipelines/shop/churn", 412, headers={"If-Match": whole})
    ask(client, "DELETE", "/pipelines/shop/churn", headers={"If-Match": "*"})
