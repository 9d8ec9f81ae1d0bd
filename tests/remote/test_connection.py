"""Requests, against a server of a few lines that can be told to be away, to refuse, or to say nonsense."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hpo_pipelines.errors import OUTCOMES, ConfigError, HpoPipelinesError, IllegalTransition, StoreError, TaskNotFound
from hpo_pipelines.remote import connection
from hpo_pipelines.remote.connection import BATCH, Connection, error_of


class Odd(ThreadingHTTPServer):
    """Hangs up on the first ``away`` requests, then answers ``status`` and ``body``; ``asked`` is what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.away = 0
        self.status = 200
        self.body = b'{"items": []}'
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Odd

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), content))
        self.close_connection = True
        if self.server.away > 0:
            self.server.away -= 1
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST = do_PATCH = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.001)
    with Odd() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(60)


def test_a_request_that_reads_is_tried_again(odd: Odd) -> None:
    odd.away = 2
    assert Connection(odd.url).get("/runs") == {"items": []}
    assert len(odd.asked) == 3


def test_a_request_that_changes_something_is_not(odd: Odd) -> None:
    odd.away = 1
    with pytest.raises(StoreError, match="does not answer"):
        Connection(odd.url).post("/runs", {})
    assert len(odd.asked) == 1


def test_a_download_that_broke_off_begins_anew(odd: Odd) -> None:
    odd.away, odd.body = 1, b"whole"
    file = io.BytesIO()
    Connection(odd.url).download("/artifacts/a/content", file)
    assert file.getvalue() == b"whole"


def test_the_token_goes_with_every_request(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPO_TOKEN", "hpo_secret")
    asking = Connection(odd.url)
    asking.get("/runs")
    asking.post_bytes("/snapshots", b"code")
    asking.patch("/runs/a", {"notes": "x"})
    assert [headers["Authorization"] for _, _, headers, _ in odd.asked] == ["Bearer hpo_secret"] * 3
    assert [content for *_, content in odd.asked] == [b"", b"code", b'{"notes":"x"}']
    monkeypatch.delenv("HPO_TOKEN")
    Connection(odd.url).get("/runs")
    assert "Authorization" not in odd.asked[-1][2]
    with pytest.raises(ConfigError, match="HPO_TOKEN"):
        Connection(odd.url, "two\nlines")


def test_many_ids_are_asked_for_in_parts(odd: Odd) -> None:
    list(Connection(odd.url).get_all("/records/tasks", "id", [f"{i:026d}" for i in range(2 * BATCH + 1)]))
    assert [path.count("id=") for _, path, *_ in odd.asked] == [BATCH, BATCH, 1]


def test_an_answer_of_something_else_says_what_answered(odd: Odd) -> None:
    odd.status, odd.body = 404, b"<html>not here</html>"
    with pytest.raises(HpoPipelinesError, match=r"/api/v1/runs answers 404: is it the address of an `hpo up`"):
        Connection(odd.url).get("/runs")


def test_a_problem_is_raised_as_what_it_is(odd: Odd) -> None:
    odd.status, odd.body = 409, json.dumps({"type": "IllegalTransition", "detail": "churn#1 is completed."}).encode()
    with pytest.raises(IllegalTransition, match=r"^churn#1 is completed\.$"):
        Connection(odd.url).post("/runs/churn%231/abort")


def test_a_server_of_another_release_is_said(odd: Odd) -> None:
    odd.status, odd.body = 404, json.dumps({"type": "HTTPException", "detail": "Not Found"}).encode()
    with pytest.raises(HpoPipelinesError, match=r"no GET /api/v1/records/edges: it is of another release"):
        Connection(odd.url).get("/records/edges")


@pytest.mark.parametrize("kind", [kind for kind in OUTCOMES if issubclass(kind, HpoPipelinesError)])
def test_every_error_of_the_table_comes_back(kind: type[HpoPipelinesError]) -> None:
    found = error_of(OUTCOMES[kind].http_status, {"type": kind.__name__, "detail": "the rule, the value, the cure"})
    assert type(found) is kind
    assert str(found) == "the rule, the value, the cure"


def test_a_role_that_is_too_little_is_a_matter_of_the_token() -> None:
    said = "This asks for the role author (who sends code), and 'me' is a runner."
    found = error_of(403, {"type": "Forbidden", "detail": said})
    assert type(found) is ConfigError
    assert str(found) == f"{said} A token is given as HPO_TOKEN."


@pytest.mark.parametrize(("status", "kind"), [(500, StoreError), (502, StoreError), (418, HpoPipelinesError)])
def test_what_is_in_no_table_goes_by_its_status(status: int, kind: type[HpoPipelinesError]) -> None:
    assert type(error_of(status, {"type": "HTTPException", "detail": "?"})) is kind
    assert type(error_of(404, {"type": "TaskNotFound", "detail": "?"})) is TaskNotFound


@pytest.mark.parametrize("url", ["http://", "http://host?x=1", "http://host#x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a server"):
        Connection(url)
