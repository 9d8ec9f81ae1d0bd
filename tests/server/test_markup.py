"""Markup in whatever users name, write, print or store stays text on every page, and no file is shown as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient
from samples import shown

from hpo_pipelines import Float, Workspace, optimize
from hpo_pipelines.server import create_app
from hpo_pipelines.server.access import Access
from hpo_pipelines.server.roles import Role, rules
from hpo_pipelines.server.tokens import TokenFile

pytestmark = pytest.mark.integration

EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"&"
NAME = "<script>owned()</script>\"'&é漢"
"""Where there is less room, or it stands in an address."""


class Markup(HTMLParser):
    """Collects what could run."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "script" and not given.get("src", "").startswith("/static/"):
            self.bad.append(f"<script {given}>")
        if tag in ("img", "iframe", "object", "embed", "base"):
            self.bad.append(f"<{tag} {given}>")
        for name, value in given.items():
            if name.startswith("on") or name == "style" or value.strip().lower().startswith("javascript:"):
                self.bad.append(f"{tag} {name}={value}")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    home = tmp_path_factory.mktemp("markup")
    (home / "config.toml").write_text(f'[queues.{json.dumps(NAME)}]\nlabels = {{ "<b>x" = "<i>y" }}\n')
    with Workspace(home=home) as opened:
        yield opened


@pytest.fixture(scope="module")
def ids(workspace: Workspace) -> dict[str, list[str]]:
    run = workspace.run(shown.markup, {"text": EVIL}, executor="inline", tags=(EVIL,))
    run.annotate(notes=EVIL)
    workspace.run(shown.churn, {"model": "tree", "lr": 0.9, "broken": True}, executor="inline")
    base = workspace.run(shown.churn, {}, executor="inline")
    study = optimize(base, {"lr": Float(0.1, 1.0)}, "fit.auc", n_trials=2, name=NAME, progress=False, executor="inline")
    workspace.store.tasks.update(study.id, notes=EVIL, tags=(EVIL,))
    named = replace(
        run.task.clone(), name=NAME, pipeline=NAME, project=NAME, tags=(EVIL,), reason=EVIL, notes=EVIL, number=None
    )
    foreign = workspace.store.tasks.create(named)
    waiting = workspace.clone(base.id, {"lr": 0.77})
    (queue,) = [name for name in workspace.settings.queues if "<" in name]
    workspace.enqueue(waiting.id, queue=queue)
    runs = [run.id, *(each.id for each in workspace.runs(limit=50))]
    return {
        "run": list(dict.fromkeys([*runs, foreign.id])), "study": [study.id], "project": ["shop", NAME],
        "pipeline": ["markup", "churn", NAME], "queue": [queue],
    }  # fmt: skip


@pytest.fixture(scope="module")
def client(
    workspace: Workspace, ids: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    tokens = TokenFile(tmp_path_factory.mktemp("tokens") / "t.json")
    headers = {"Authorization": f"Bearer {tokens.create(NAME, Role.AUTHOR)}", "Accept": "text/html"}
    app = create_app(workspace, access=Access(tokens))
    with TestClient(app, base_url="http://127.0.0.1", headers=headers) as opened:
        yield opened


PARTS = {"run": ("head", "list", "center", "inspector", "drawer"), "study": ("facts", "trial")}


def addresses(ids: dict[str, list[str]]) -> Iterator[str]:
    """Every page of the table, with all that there is in the place of its parameters."""
    from itertools import product
    from urllib.parse import quote

    for method, path, _ in rules():
        if method != "GET" or path.startswith(("/api/", "/static", "/mlflow")):
            continue
        names = re.findall(r"\{(\w+)[^}]*\}", path)
        values = [PARTS[names[0]] if name == "part" else ids[name] for name in names]
        for chosen in product(*values):
            filled = path
            for name, value in zip(names, chosen):
                filled = filled.replace(f"{{{name}}}", quote(value, safe=""))
            yield filled
    for run in ids["run"][:4]:
        yield from (
            f"/runs/{run}?tab={tab}&view={view}"
            for tab, view in product(("console", "code", "outputs", "why"), ("steps", "timeline"))
        )
        yield from (
            f"/runs/{run}?step={step}&tab={tab}"
            for step, tab in product(("spelled", "fit", EVIL), ("code", "outputs", "why"))
        )
    evil = quote(EVIL, safe="")
    yield f"/compare?runs={','.join(ids['run'][:5])}&all=1"
    yield from (
        f"{place}={evil}"
        for place in ("/search?q", "/pipelines?q", "/pipelines/shop/churn?tag", "/login?next", "/runs/x?tab")
    )
    yield f"/pipelines/shop/churn?study={quote(NAME, safe='')}&cols=p.{evil}"
    yield f"/runs/{evil}"
    yield f"/{evil}"


def test_no_page_has_anything_that_could_run(client: TestClient, ids: dict[str, list[str]]) -> None:
    bad, seen = [], ""
    for address in addresses(ids):
        answer = client.get(address)
        assert answer.status_code in (200, 404, 422, 409), (address, answer.status_code, answer.text[:300])
        if "text/html" not in answer.headers["content-type"]:
            # Whether one is known, and a study's chart, are JSON, which is never taken for a page.
            if answer.headers["content-type"].startswith("application/json"):
                assert answer.headers["x-content-type-options"] == "nosniff", address
            else:
                assert "attachment" in answer.headers["content-disposition"], address
            continue
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        page = Markup()
        page.feed(answer.text)
        bad += [f"{address}: {each}" for each in page.bad]
        seen += answer.text
    assert bad == []
    # They were there to be seen: names of studies, queues, tokens, tags, notes, pipelines.
    assert seen.count("&lt;script&gt;owned()") > 20
    assert seen.count("&lt;script&gt;document.title") > 20


def test_the_same_as_json_is_no_page(client: TestClient, ids: dict[str, list[str]]) -> None:
    for path in (
        "/runs",
        "/studies",
        "/queues",
        f"/runs/{ids['run'][0]}",
        f"/runs/{ids['run'][0]}/console",
        "/me",
        "/runs/<script>",
    ):
        answer = client.get(f"/api/v1{path}")
        assert answer.headers["content-type"] in ("application/json", "application/problem+json")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_files_are_saved_and_run_nowhere(client: TestClient, ids: dict[str, list[str]]) -> None:
    run = ids["run"][0]
    items = client.get(f"/api/v1/runs/{run}/artifacts").json()["items"]
    paths = [
        f"/artifacts/{items[0]['digest']}/content",
        f"/runs/{run}/console/download",
        f"/runs/{run}/steps/spelled/console/download",
    ]
    for path in paths:
        headers = client.get(f"/api/v1{path}").headers
        assert headers["content-disposition"].startswith("attachment; ")
        assert headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"] in ("application/octet-stream", "text/plain; charset=utf-8")
        assert headers["cross-origin-resource-policy"] == "same-origin"
    csv = client.get("/pipelines/shop/churn/runs.csv").headers
    assert csv["content-disposition"].startswith("attachment; ")
