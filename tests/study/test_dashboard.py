"""Optuna's own dashboard, served for real."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from samples import studied

from hpo_pipelines import Categorical, ConfigError, Study, StudyError, Workspace, optimize
from hpo_pipelines.study.dashboard import Dashboard
from hpo_pipelines.study.sampling import journal_path

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("dashboard") / "home") as opened:
        yield opened


def _study(workspace: Workspace, name: str) -> Study:
    return optimize(
        studied.halved, {"x": Categorical([1.0, 2.0])}, sampler="grid", executor="inline", progress=False,
        workspace=workspace, name=name,
    )  # fmt: skip


@pytest.fixture(scope="module")
def one(workspace: Workspace) -> Study:
    return _study(workspace, "one")


@contextmanager
def served(*studies: Study) -> Iterator[Dashboard]:
    dashboard = Dashboard(studies)
    thread = threading.Thread(target=dashboard.serve, daemon=True)
    thread.start()
    try:
        yield dashboard
    finally:
        dashboard.stop()
        thread.join(timeout=60)
        assert not thread.is_alive()


def asked(dashboard: Dashboard, path: str, *, method: str = "GET", host: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(dashboard.url).netloc, timeout=60)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_a_study_is_shown(one: Study) -> None:
    with served(one) as dashboard:
        assert urlsplit(dashboard.url).hostname == "127.0.0.1"
        status, page = asked(dashboard, "/dashboard")
        assert (status, "<div id=" in page) == (200, True)
        listed = json.loads(asked(dashboard, "/api/studies")[1])["study_summaries"]
        assert [each["study_name"] for each in listed] == ["one"]
        path = f"/api/studies/{listed[0]['study_id']}"
        trials = json.loads(asked(dashboard, path)[1])["trials"]
        assert [trial["values"] for trial in trials] == [[0.5], [1.0]]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/api/studies/0"), ("POST", "/api/studies"), ("PUT", "/x")])
def test_it_only_shows(one: Study, method: str, path: str) -> None:
    with served(one) as dashboard:
        status, said = asked(dashboard, path, method=method)
        assert (status, "only shows" in said) == (405, True)
        assert asked(dashboard, "/api/studies")[0] == 200
    assert one.optuna_study.study_name == "one"


def test_it_answers_to_its_own_name_alone(one: Study) -> None:
    with served(one) as dashboard:
        port = urlsplit(dashboard.url).port
        assert asked(dashboard, "/api/meta", host=f"localhost:{port}")[0] == 200
        assert asked(dashboard, "/api/meta", host="elsewhere.example")[0] == 403


def test_several_studies_and_one_whose_storage_is_gone(workspace: Workspace, one: Study) -> None:
    lost = _study(workspace, "lost")
    Path(journal_path(workspace.home, lost.id)).unlink()
    for studies in ((one, lost), (lost,)):
        with served(*studies) as dashboard:
            listed = json.loads(asked(dashboard, "/api/studies")[1])["study_summaries"]
            assert [each["study_name"] for each in listed] == [study.name for study in studies]
            trials = json.loads(asked(dashboard, f"/api/studies/{listed[-1]['study_id']}")[1])["trials"]
            assert [trial["values"] for trial in trials] == [[0.5], [1.0]]


def test_what_cannot_be_served_is_refused_with_the_cure(one: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyError, match="there is no study"):
        Dashboard([])
    with served(one) as dashboard, pytest.raises(ConfigError, match="any free port"):
        Dashboard([one], port=int(urlsplit(dashboard.url).port or 0))
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(StudyError, match=r"pip install 'hpo-pipelines\[dashboard\]'"):
        Dashboard([one])
