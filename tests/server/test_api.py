"""REST, asked as any client would; what needs another process or a browser stands elsewhere."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from samples import shown, studied
from services import wait_until

from hpo_pipelines import Categorical, Float, Study, Workspace, optimize
from hpo_pipelines.errors import OUTCOMES, TaskNotFound
from hpo_pipelines.run import Run
from hpo_pipelines.server import create_app

API = "/api/v1"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("api")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture(scope="module")
def base(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = str(tmp_path_factory.mktemp("marks"))
    return workspace.run(shown.churn, {"folder": folder}, executor="inline", tags=("first",))


@pytest.fixture(scope="module")
def broken(base: Run) -> Run:
    return base.clone(broken=True).run()


def get(client: TestClient, path: str, expected: int = 200, /, **query: Any) -> Any:
    answer = client.get(f"{API}{path}", params=query)
    assert answer.status_code == expected, answer.text
    return answer.json()


def post(client: TestClient, path: str, status: int, body: Any = None) -> Any:
    answer = client.post(f"{API}{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def ended(run: Run) -> Run:
    wait_until(lambda: run.refreshed().status.finished, f"{run.label} to end")
    return run.refreshed()


# -- looking


def test_pipelines_and_runs_are_listed(client: TestClient, base: Run, broken: Run) -> None:
    assert "churn" in [item["pipeline"] for item in get(client, "/pipelines")["items"]]
    found = get(client, "/runs", pipeline="churn", status="failed")["items"]
    assert [item["id"] for item in found] == [broken.id]
    first = get(client, "/runs", tag="first", status="completed")["items"][-1]
    assert first["run"] == base.label
    assert first["params"]["lr"] == 0.1
    assert first["metrics"]["fit.auc"] == pytest.approx(0.89)
    assert first["steps"] == {"completed": 5}


@pytest.mark.parametrize("sort", ["-created", "created", "-seconds", "seconds", "status", "-number"])
def test_pages_of_runs_neither_repeat_nor_leave_out(client: TestClient, base: Run, broken: Run, sort: str) -> None:
    for _ in range(3):
        base.clone()
    everything = [item["id"] for item in get(client, "/runs", sort=sort, limit=500)["items"]]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        found = get(client, "/runs", sort=sort, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["id"] for item in found["items"]]
        cursor = found["next"]
        if cursor is None:
            break
    assert seen == everything
    assert len(set(seen)) == len(seen)


def test_a_run_is_found_by_its_name_and_described_with_its_steps(client: TestClient, base: Run) -> None:
    found = get(client, f"/runs/{base.label.replace('#', '%23')}")
    assert found["id"] == base.id
    assert [step["step"] for step in found["steps"]] == ["load", "split", "fit", "audit", "evaluate"]
    step = get(client, f"/runs/{base.id}/steps/fit")
    assert step["arguments"]["lr"] == 0.1
    assert step["metrics"] == {"auc": pytest.approx(0.89)}


def test_the_page_of_a_run_says_from_where_on_it_is_to_be_told(client: TestClient, base: Run) -> None:
    """Its parts are read one after the other: what happens meanwhile must come by the stream."""
    page = client.get(f"/runs/{base.id}").text
    assert f'data-cursor="{base.workspace.store.events.last()}"' in page


def test_the_graph_has_places_for_every_step_and_edges_that_go_down(client: TestClient, base: Run) -> None:
    graph = get(client, f"/runs/{base.id}/graph")
    places = {node["name"]: node for node in graph["nodes"]}
    edges = {(edge["source"], edge["target"]) for edge in graph["edges"]}
    assert edges == {
        ("load", "split"), ("split", "fit"), ("split", "audit"), ("fit", "evaluate"), ("split", "evaluate"),
    }  # fmt: skip
    assert all(places[source]["y"] < places[target]["y"] for source, target in edges)


def test_metrics_are_columns(client: TestClient, base: Run) -> None:
    series = get(client, f"/runs/{base.id}/metrics")["items"]["fit.auc"]
    assert series["step"] == [0, 1, 2, 3]
    assert series["value"] == pytest.approx([0.86, 0.87, 0.88, 0.89])
    assert get(client, f"/runs/{base.id}/steps/fit/metrics")["items"]["auc"]["step"] == [0, 1, 2, 3]


def test_a_console_is_read_on_by_offset(client: TestClient, base: Run) -> None:
    whole = get(client, f"/runs/{base.id}/steps/fit/console")
    assert whole["text"].splitlines()[0] == "fitting tree with lr=0.1"
    assert whole["ended"]
    assert whole["end"] == whole["size"]
    offset, text = 0, ""
    while offset < whole["size"]:
        part = get(client, f"/runs/{base.id}/steps/fit/console", offset=offset, limit=256)
        offset, text = part["end"], text + part["text"]
    assert text == whole["text"]
    raw = client.get(f"{API}/runs/{base.id}/steps/fit/console/download")
    assert raw.text == whole["text"]
    assert "attachment" in raw.headers["content-disposition"]
    assert "controller says" in get(client, f"/runs/{base.id}/console")["text"]


def test_artifacts_come_as_they_are_stored_and_never_as_a_page(client: TestClient, base: Run) -> None:
    found = {(item["step"], item["name"]): item for item in get(client, f"/runs/{base.id}/artifacts")["items"]}
    assert (None, "value.score") in found
    train = found["split", "train"]
    answer = client.get(f"{API}/artifacts/{train['digest']}/content")
    ref = base.workspace.store.tasks.outputs(base.steps["split"].id)["train"]
    assert answer.content == base.workspace.artifacts.read_bytes(ref)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-security-policy"].endswith("sandbox")
    holders = get(client, f"/artifacts/{train['digest']}")["holders"]
    assert {"task": base.steps["split"].id, "output": "train"} in holders
    assert get(client, "/artifacts/none", 404)["type"] == "TaskNotFound"


def test_source_is_what_was_recorded(client: TestClient, base: Run) -> None:
    found = get(client, f"/runs/{base.id}/steps/fit/source")
    assert found["source"].rstrip() == inspect.getsource(shown.fit.function).rstrip()
    whole = get(client, f"/runs/{base.id}/source")
    assert whole["sources"]["churn"].startswith('@pipeline(project="shop")\ndef churn(')


def test_every_step_says_why(client: TestClient, base: Run, broken: Run) -> None:
    items = {item["label"].split("/")[1]: item for item in get(client, f"/runs/{broken.id}/why")["items"]}
    assert items["load"]["verdict"] == "reused"
    assert items["fit"]["verdict"] == "ran"
    assert "broken" in get(client, f"/runs/{broken.id}/steps/fit/why")["line"]


# -- acting


def test_a_plan_says_what_a_clone_would_do_and_records_nothing(client: TestClient, base: Run) -> None:
    before = base.workspace.store.events.last()
    found = post(client, f"/runs/{base.id}/plan", 200, {"params": {"lr": 0.5}})
    assert found["totals"]["reuse"] == 3
    assert {step["name"] for step in found["steps"] if step["verdict"] != "reuse"} == {"fit", "evaluate"}
    assert base.workspace.store.events.last() == before


def test_a_clone_is_a_draft_until_it_is_submitted(client: TestClient, base: Run) -> None:
    made = post(client, f"/runs/{base.id}/clone", 201, {"params": {"lr": 0.2}})
    assert made["status"] == "draft"
    assert made["cloned_from"] == base.id
    assert post(client, f"/runs/{made['id']}/submit", 202)["status"] in ("queued", "running", "completed")
    run = ended(base.workspace.run_called(made["id"]))
    assert run.value["score"] == pytest.approx(0.2 * 10)
    assert post(client, f"/runs/{made['id']}/submit", 409)["type"] == "IllegalTransition"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"params": {"lr": "fast"}}, "lr"),
        ({"params": {"learning_rate": 1}}, "learning_rate"),
        ({"params": {"model": "forest"}}, "forest"),
        ({"parameters": {}}, "parameters"),
        ({"executor": "abacus"}, "executor"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_recorded(
    client: TestClient, base: Run, body: dict[str, Any], said: str
) -> None:
    before = base.workspace.store.events.last()
    problem = post(client, f"/runs/{base.id}/clone", 422, body)
    assert said in problem["detail"]
    assert problem["status"] == 422
    assert base.workspace.store.events.last() == before


def test_a_failed_run_is_rerun_and_resumed(client: TestClient, base: Run, broken: Run) -> None:
    again = post(client, f"/runs/{broken.id}/rerun", 201, {"failed": True})
    assert again["rerun_of"] == broken.id
    run = ended(base.workspace.run_called(again["id"]))
    assert run.status == "failed"
    assert post(client, f"/runs/{run.id}/resume", 202)["id"] == run.id
    wait_until(lambda: run.refreshed().status == "failed" and len(run.steps["fit"].attempts) == 2, "it to fail again")
    assert post(client, f"/runs/{base.id}/resume", 409)["type"] == "IllegalTransition"
    assert post(client, f"/runs/{base.id}/rerun", 409, {"failed": True, "from_step": "fit"})["status"] == 409
    assert post(client, f"/runs/{base.id}/rerun", 404, {"from_step": "fitt"})["type"] == "TaskNotFound"


def test_a_run_is_aborted_where_it_runs(client: TestClient, base: Run) -> None:
    folder = base.params["folder"]
    made = post(client, f"/runs/{base.id}/clone", 201, {"params": {"gate": "api"}, "executor": "local", "submit": True})
    wait_until(Path(folder, "api.began").exists, "fit to begin")
    assert post(client, f"/runs/{made['id']}/abort", 200)["status"] == "aborted"
    assert post(client, f"/runs/{made['id']}/abort", 409)["type"] == "IllegalTransition"


def test_notes_and_tags_are_set(client: TestClient, base: Run) -> None:
    answer = client.patch(f"{API}/runs/{base.id}", json={"notes": "the base", "tags": ["first", "kept"]})
    assert answer.json()["notes"] == "the base"
    assert get(client, "/runs", tag="kept")["items"][0]["id"] == base.id


# -- studies


def test_a_study_with_its_trials(client: TestClient, base: Run) -> None:
    space = {"lr": Float(0.1, 1.0)}
    study = optimize(base, space, "fit.auc", n_trials=4, seed=1, name="rest", progress=False, executor="inline")
    found = get(client, "/studies/rest")
    assert found["best_value"] == pytest.approx(study.best_value)
    assert found["counts"] == {"completed": 4}
    trials = get(client, f"/studies/{study.id}/trials")
    assert trials["number"] == [0, 1, 2, 3]
    assert trials["value"] == pytest.approx([trial.value for trial in study.trials])
    assert trials["params"]["lr"]["values"] == [trial.params["lr"] for trial in study.trials]
    assert trials["next"] is None
    assert get(client, "/studies/rest/trials", after=2)["number"] == [3]
    some = get(client, "/studies/rest/trials", after=0, limit=2)
    assert (some["number"], some["next"]) == ([1, 2], 2)
    assert some["params"]["lr"]["values"] == trials["params"]["lr"]["values"][1:3]
    assert get(client, "/studies/rest/trials", 422, limit=501)["type"] == "ParameterError"
    best = get(client, "/studies/rest/best")
    assert best["run"]["id"] == study.best_run.id
    assert best["params"] == study.best_params
    assert "rest" in [item["name"] for item in get(client, "/studies")["items"]]
    assert "rest" in get(client, "/studies/rust", 404)["detail"]


def test_what_violates_a_constraint_is_never_best(client: TestClient, workspace: Workspace) -> None:
    study = optimize(
        studied.weighed, {"x": Categorical([0.2, 0.9]), "y": 0.0}, "fitted.auc", n_trials=2, sampler="grid",
        constraints="fitted.size <= 5", name="bounded", executor="inline", progress=False, workspace=workspace,
    )  # fmt: skip
    found = get(client, "/studies/bounded")
    assert (found["best_value"], found["best_trial"]) == (0.2, study.best_trial.number)


def test_the_members_of_a_group_are_columns_of_their_own(client: TestClient, workspace: Workspace) -> None:
    space = {"model": {"params": {"x": Float(0.0, 1.0), "y": Float(2.0, 3.0)}}}
    study = optimize(
        shown.grouped, space, "measured.score", n_trials=3, seed=1, name="grouped", progress=False, executor="inline",
        workspace=workspace,
    )  # fmt: skip
    params = get(client, "/studies/grouped/trials")["params"]
    assert params["model.x"]["values"] == [trial.params["model"]["x"] for trial in study.trials]
    assert set(params) == {"model.x", "model.y"}
    assert "model.y" in client.get(f"/studies/{study.id}/part/trial?trial=1").text


# -- queues


def test_a_paused_queue_keeps_runs_and_says_so(client: TestClient, base: Run) -> None:
    def paused(value: bool) -> Any:
        answer = client.patch(f"{API}/queues/services", json={"paused": value})
        assert answer.status_code == 200, answer.text
        return {item["queue"]: item for item in answer.json()["items"]}["services"]

    assert paused(True)["paused"]
    try:
        run = post(client, f"/runs/{base.id}/clone", 201, {"params": {"lr": 0.61}, "submit": True})
        assert run["status"] == "queued"
        (waiting,) = get(client, "/queues/services")["items"]
        assert (waiting["id"], waiting["run"]) == (run["id"], run["run"])
        assert "queue services is paused" in waiting["reason"]
        (agent,) = get(client, "/agents")["items"]
        assert set(agent["queues"]) == {"services", "default"}
    finally:
        assert not paused(False)["paused"]
    assert ended(base.workspace.run_called(run["id"])).status == "completed"
    assert get(client, "/queues/services")["items"] == []
    assert get(client, "/queues/none", 404)["type"] == "TaskNotFound"
    body = {"params": {"lr": 0.62}, "submit": True, "queue": "none"}
    assert post(client, f"/runs/{base.id}/clone", 422, body)["type"] == "ConfigError"


# -- events


def test_events_can_be_polled_and_go_on_where_one_was(client: TestClient, base: Run) -> None:
    start = get(client, "/events")["next"]
    assert get(client, "/events", after=start)["items"] == []
    run = ended(base.workspace.run_called(post(client, f"/runs/{base.id}/clone", 201, {"submit": True})["id"]))
    found = get(client, "/events", after=start, run=run.id, limit=1000)
    ids = [item["id"] for item in found["items"]]
    assert ids == sorted(set(ids))
    assert {item["name"] for item in found["items"]} >= {run.label, "load", "fit"}
    assert {item["run"] for item in found["items"]} == {run.id}
    others = get(client, "/events", after=start, run=base.id, others=True)["items"]
    assert {item["of"] for item in others} == {"pipeline"}
    assert get(client, "/events", after=ids[-1], run=run.id)["items"] == []


# -- errors


def test_the_answer_to_an_error_follows_the_one_table(client: TestClient) -> None:
    problem = get(client, "/runs/nothing", OUTCOMES[TaskNotFound].http_status)
    assert set(problem) == {"type", "title", "status", "detail", "fields"}
    answer = client.get(f"{API}/runs/nothing")
    assert answer.headers["content-type"] == "application/problem+json"
    assert get(client, "/runs", 422, status="done")["detail"].startswith("status='done'")
    assert "sort" in get(client, "/runs", 422, sort="colour")["detail"]
    assert get(client, "/runs", 422, cursor="!!")["type"] == "ParameterError"
    assert get(client, "/runs", 422, limit=0)["type"] == "ParameterError"


def test_the_schema_names_every_route(client: TestClient) -> None:
    schema = get(client, "/openapi.json")
    for path in ("/runs", "/runs/{run}/steps/{step}/console", "/studies/{study}/trials", "/events", "/runs/{run}/plan"):
        assert f"{API}{path}" in schema["paths"]
    refusals = schema["paths"][f"{API}/runs/{{run}}"]["get"]["responses"]["404"]["content"]
    assert "detail" in refusals["application/problem+json"]["schema"]["properties"]


def test_numbers_that_json_lacks_are_text(client: TestClient, workspace: Workspace, base: Run) -> None:
    draft = base.clone(lr=float("nan"))
    assert get(client, f"/runs/{draft.id}")["params"]["lr"] == {"$float": "nan"}
    ended_run = draft.run()
    assert get(client, f"/runs/{ended_run.id}")["metrics"]["fit.auc"] == "NaN"


def test_requests_at_once_do_not_trip_over_each_other(client: TestClient, base: Run) -> None:
    wrong: list[Any] = []

    def ask() -> None:
        try:
            for path in (f"/runs/{base.id}", f"/runs/{base.id}/graph", "/runs", "/pipelines"):
                get(client, path)
        except BaseException as error:  # noqa: BLE001 - raised by the test below
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- acting on studies


def test_a_study_is_started_stopped_gone_on_with_and_extended(
    client: TestClient, base: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gated")
    space = {
        "lr": {"low": 0.1, "high": 1.0},
        "folder": {"value": str(folder)},
        "gate": {"value": "go"},
    }
    wanted = {"run": base.id, "space": space, "objective": "fit.auc", "n_trials": 3, "name": "asked", "seed": 1}
    study = post(client, "/studies", 201, wanted)
    assert (study["name"], study["asked"], study["objective"]) == ("asked", 3, "fit.auc")
    assert post(client, "/studies", 409, wanted)["type"] == "StudyError"
    wait_until((folder / "go.began").exists, "the first trial to begin")
    assert post(client, "/studies/asked/stop", 202)["status"] == "running"
    (folder / "go").touch()
    wait_until(lambda: get(client, "/studies/asked")["status"] == "aborted", "the study to stop")
    assert get(client, "/studies/asked")["counts"] == {"completed": 1}
    assert "is not running" in post(client, "/studies/asked/stop", 409)["detail"]
    post(client, "/studies/asked/resume", 202)
    wait_until(lambda: get(client, "/studies/asked")["counts"] == {"completed": 3}, "the rest of the trials")
    wait_until(lambda: get(client, "/studies/asked")["status"] == "completed", "the study to end")
    assert post(client, "/studies/asked/resume", 409)["type"] == "StudyError"
    assert post(client, "/studies/asked/extend", 202, {"trials": 2})["asked"] == 5
    wait_until(lambda: get(client, "/studies/asked")["counts"] == {"completed": 5}, "two more trials")
    wait_until(lambda: get(client, "/studies/asked")["status"] == "completed", "the study to end again")
    post(client, "/studies/asked/trials", 202, {"params": {"lr": 0.3}})
    wait_until(lambda: get(client, "/studies/asked")["counts"] == {"completed": 6}, "the trial that was asked for")
    assert get(client, "/studies/asked/trials")["params"]["lr"]["values"][5] == 0.3
    assert get(client, "/studies/asked/best")["number"] == 5, "fit.auc is best at lr=0.3"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/studies", {"run": "churn", "space": {"rl": {"low": 0, "high": 1}}, "n_trials": 1}, 422, "rl"),
        ("/studies", {"run": "churn", "space": {"lr": {"low": 2}}, "n_trials": 1}, 422, "high"),
        ("/studies", {"run": "churn", "space": {"lr": {"low": 0.1, "high": 1}}, "n_trials": 0}, 422, "n_trials"),
        ("/studies", {"run": "none#1", "space": {}, "n_trials": 1}, 404, "none"),
        ("/studies/none/stop", {}, 404, "none"),
        ("/studies/refusing/extend", {"trials": 0}, 422, "trials"),
        ("/studies/refusing/trials", {"params": {"lr": 5.0}}, 422, "is not a point"),
        ("/studies/refusing/trials/0/continue", None, 409, "only a pruned one is continued"),
        ("/studies/refusing/trials/99/continue", None, 409, "has no trial 99"),
        ("/studies/refusing/trials", {"params": {"lr": 0.5, "rows": 3}}, 422, "rows"),
    ],
)
def test_what_cannot_be_asked_of_a_study_is_refused(
    client: TestClient, base: Run, refusing: Study, path: str, body: Any, status: int, said: str
) -> None:
    before = len(get(client, "/studies")["items"])
    assert said in post(client, path, status, body)["detail"]
    assert len(get(client, "/studies")["items"]) == before
    assert refusing.task.params["asked"]["n_trials"] == 1


@pytest.fixture(scope="module")
def refusing(base: Run) -> Study:
    space = {"lr": Float(0.1, 1.0)}
    return optimize(base, space, "fit.auc", n_trials=1, name="refusing", progress=False, executor="inline")


def test_another_sites_page_starts_and_stops_no_study(client: TestClient, refusing: Study) -> None:
    for path in ("/studies", "/studies/refusing/stop", "/studies/refusing/extend", "/studies/refusing/trials"):
        answer = client.post(f"{API}{path}", json={}, headers={"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.json()["type"]) == (403, "Forbidden")


def test_a_study_whose_best_was_run_elsewhere(client: TestClient, base: Run) -> None:
    study = optimize(
        base, {"lr": Float(0.001, 1.0)}, "fit.auc", n_trials=1, name="elsewhere", progress=False, executor="inline",
        from_runs=base.label, target=base.metrics["fit.auc"],
    )  # fmt: skip
    assert study.runs == []
    said = get(client, "/studies/elsewhere")
    assert (said["best_trial"], said["best_run"], said["trials"]) == (0, base.id, 0)
    assert get(client, "/studies/elsewhere/best")["run"]["id"] == base.id
    assert get(client, "/studies/elsewhere/trials")["number"] == []
    for page in ("/studies", f"/studies/{study.id}"):
        answer = client.get(page)
        assert answer.status_code == 200, answer.text
        assert "elsewhere" in answer.text
