"""Attempts of a run, on its page and over REST."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import retriggered
from serving import Serving, serving

from hpo_pipelines import Workspace
from hpo_pipelines.run import Run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def last(served: Serving) -> Run:
    return retriggered.tuned.run(workspace=served.workspace)


def page(served: Serving, path: str) -> str:
    with urllib.request.urlopen(f"{served.url}{path}", timeout=60) as answer:
        return str(answer.read().decode())


def test_the_page_shows_which_attempt_it_is(served: Serving, last: Run) -> None:
    first, second, third = last.attempts
    shown = page(served, f"/runs/{first.id}")
    assert f'superseded by <a href="/runs/{third.id}">{third.label}</a>' in shown
    assert "retriggered: attempt 2 of at most 4 follows" in shown
    shown = page(served, f"/runs/{third.id}")
    assert f'<a href="/runs/{first.id}" title="{first.label}">1</a> → <a href="/runs/{second.id}"' in shown
    assert "superseded" not in shown
    listed = page(served, "/pipelines/samples/tuned")
    assert "attempt 3" in listed


def test_rest_says_it_too(served: Serving, last: Run) -> None:
    found = json.loads(page(served, f"/api/v1/runs/{last.id}"))
    assert (found["attempt"], found["attempt_of"]) == (3, last.attempts[1].id)
    records = json.loads(page(served, f"/api/v1/records/tasks?attempt_of={last.attempts[0].id}"))
    assert [each["id"] for each in records["items"]] == [last.attempts[1].id]


@pytest.mark.integration
def test_a_client_follows_a_run_to_its_last_attempt(served: Serving, last: Run, tmp_path: Path) -> None:
    with Workspace(served.url) as place:
        far = retriggered.tuned.run(workspace=place, rows=5)
        assert (far.attempt, far.value) == (3, retriggered.tuned(rows=5))
        assert [each.attempt for each in far.attempts] == [1, 2, 3]
        assert far.attempts[0].value == far.value
        assert [each.id for each in far.lineage()] == [each.id for each in far.attempts[1::-1]]
