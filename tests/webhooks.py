"""A receiver of notifications on loopback, for tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from services import wait_until


class Receiver:
    """Keeps what it is sent. ``answers`` are the codes of the next answers, then 200; None hangs up without one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[int | None] = []
        self.got: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        """Path, headers and content of each message that was answered with 200."""
        self.tries = 0

    @property
    def kinds(self) -> list[str]:
        return [content["event"] for _, _, content in self.got]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The contents, once there are ``count``."""
        wait_until(lambda: len(self.got) >= count, f"{count} notifications", 60)
        return [content for _, _, content in self.got]


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.tries += 1
            answer = made.answers.pop(0) if made.answers else 200
            if answer is None:
                self.close_connection = True
                return
            if answer == 200:
                made.got.append((self.path, dict(self.headers), content))
            self.send_response(answer)
            if answer in (301, 302):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/hook/s3cret")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
