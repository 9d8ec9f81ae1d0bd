"""A study that the server drives is one thing, whichever route it was asked for by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from samples import bodies
from services import wait_until
from serving import Serving, serving

from hpo_pipelines import Status, Study
from hpo_pipelines.run import Run

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("driving")) as server:
        yield server


@pytest.fixture(scope="module")
def base(served: Serving) -> Run:
    return bodies.simple.run(x=1, y=5, workspace=served.workspace)


def post(served: Serving, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
    return httpx2.post(f"{served.url}/api/v1{path}", json=body, timeout=60)


@pytest.mark.parametrize("path", ["/studies", "/records/studies"])
def test_how_far_it_is_and_who_drives_it_are_said_of_each(served: Serving, base: Run, path: str) -> None:
    name = f"by {path}"
    asked = {"run": base.id, "space": {"x": [1, 2, 3]}, "n_trials": 3, "name": name}
    assert post(served, path, asked).status_code == 201
    study = Study.called(served.workspace, name)
    wait_until(lambda: study.status is Status.COMPLETED, "the study to end")
    said = httpx2.get(f"{served.url}/api/v1/records/studies/{study.id}/progress").json()
    assert (said["progress"]["done"], said["problem"]) == (3, None)
    assert study.task.params["driver"] == "server"
    again = post(served, f"/records/studies/{study.id}/stop")
    assert again.status_code == 409
    assert "is not running" in again.json()["detail"]


def test_all_options_of_a_study_are_taken(served: Serving, base: Run) -> None:
    asked = {
        "run": base.id, "space": {"x": [1, 2, 3]}, "plateau": 1, "max_failures": 5, "timeout": "10min",
        "sampler": "prefix-reuse(base=random)", "seed": 2, "name": "much is asked", "direction": "minimize",
    }  # fmt: skip
    assert post(served, "/studies", asked).status_code == 201
    study = Study.called(served.workspace, "much is asked")
    wait_until(lambda: study.status is Status.COMPLETED, "the study to end")
    assert study.stopped_by == "plateau"
    assert study.direction == "minimize"
    taken = post(served, "/studies", asked)
    assert taken.status_code == 409
    assert "choose another name" in taken.json()["detail"]
