"""A real server on a free port, and a real Chromium that tolerates no error and no request off the origin."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, expect, sync_playwright
from server_process import Served, start
from services import missing

from hpo_pipelines import Workspace

LIMIT_MS = 60_000
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """What the tests of a module record runs in, beside the server."""
    home = tmp_path_factory.mktemp("served")
    (home / "config.toml").write_text('executor = "local"\n')
    with Workspace(home=home) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    server = start(workspace.home, "--no-mlflow")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        missing("Chromium", "apt-get install chromium, or put one on the PATH.")
    expect.set_options(timeout=LIMIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Watch:
    """What went wrong in a page; ``allow`` takes patterns of what is meant to."""

    origin: str
    wrong: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        self.allowed.append(pattern)

    def on(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", self._raised)
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console {message.type}: {message.text}")

    def _raised(self, error: Error) -> None:
        self.wrong.append(f"page error: {error}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.wrong.append(f"off the origin: {request.url}")

    def _failed(self, request: Request) -> None:
        # A page that is left ends what it had under way.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"failed: {request.url} {request.failure}")

    def left(self) -> list[str]:
        return [text for text in self.wrong if not any(re.search(each, text) for each in self.allowed)]


@pytest.fixture
def watch(served: Served) -> Watch:
    return Watch(served.url)


@pytest.fixture
def page(chromium: Browser, served: Served, watch: Watch) -> Iterator[Page]:
    """A page of 1440 x 900 at the server; the test fails for whatever ``watch`` has not allowed."""
    context = chromium.new_context(base_url=served.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(LIMIT_MS)
    opened = context.new_page()
    watch.on(opened)
    yield opened
    context.close()
    assert watch.left() == []
