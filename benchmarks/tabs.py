"""``python -m benchmarks.tabs [--tabs N] [--minutes M] [--restarts N] [--no-browser]``: many pages, open for long.

A run is under way whose step prints a line and tells an event twenty times a second. N (50) tabs follow it as the page
does: each a stream of events that is resumed by ``Last-Event-ID``, and the console read on by its offset when something
was said. One more tab is a real Chromium. Half-way the server is stopped and started again. Said in the end: what each
tab has missed or had twice (the count has to be zero), the server's memory from minute to minute, and its CPU seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import psutil

from hpo_pipelines import Workspace
from hpo_pipelines.task import Attempt, Task
from hpo_pipelines.types import Kind, Status, new_id

PAUSE = 0.05
"""Seconds between two lines."""
READ = 1.5
"""Seconds between two looks of one tab at the console, as in a page."""
LAST = 120.0
"""Seconds that the tabs may take for what was written last."""


class Server:
    """``hpo up`` for a home, to be stopped and started again on its port."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.url = ""
        self.cpu = 0.0
        """CPU seconds of those that ended."""
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        port = self.url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "hpo_pipelines", "up", "--no-open", "--json", "--port", port, "--no-mlflow"]
        environment = {**os.environ, "HPO_HOME": str(self._home), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        self.url = json.loads(self._process.stdout.readline())["url"]
        self._process.stdout.close()
        self.began = time.monotonic()

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    def stop(self) -> None:
        """Stop it, as Ctrl-C does."""
        times = self.process.cpu_times()
        self.cpu += times.user + times.system
        self._process.terminate()
        self._process.wait(30)


@dataclass
class Tab:
    """One page that follows a run: what it was told, in the order in which it came."""

    url: str
    run: str
    cursor: int
    told: list[int] = field(default_factory=list)
    """The number of each event."""
    console: str = ""
    streams: int = 0
    _id: str = ""
    _retry: float = 3.0
    _read: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, client: httpx2.AsyncClient) -> None:
        """Follow until cancelled, whatever the server does."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(client))
            group.create_task(self._look(client))

    async def _listen(self, client: httpx2.AsyncClient) -> None:
        address = f"{self.url}/api/v1/events?run={self.run}&after={self.cursor}"
        while True:
            headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
            if self._id:
                headers["Last-Event-ID"] = self._id
            try:
                async with client.stream("GET", address, headers=headers) as answer:
                    if answer.status_code == 200:
                        self.streams += 1
                        await self._hear(answer)
            except httpx2.HTTPError:
                pass  # its server is away: a browser asks again, too
            await asyncio.sleep(self._retry)

    async def _hear(self, answer: httpx2.Response) -> None:
        """Messages as https://html.spec.whatwg.org/multipage/server-sent-events.html has them."""
        found: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(":")
            if name:
                found[name] = value.removeprefix(" ")
                continue
            if not line:
                self._dispatch(found)
                found = {}

    def _dispatch(self, message: dict[str, str]) -> None:
        if "retry" in message:
            self._retry = int(message["retry"]) / 1000
        self._id = message.get("id", self._id)
        if message.get("event") == "changes":
            records = json.loads(message["data"])
            self.told += [record["data"]["line"] for record in records if record["kind"] == "line"]
            self._news.set()

    async def _look(self, client: httpx2.AsyncClient) -> None:
        address = f"{self.url}/api/v1/runs/{self.run}/steps/fit/console"
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                part = (await client.get(address, params={"offset": self._read})).raise_for_status().json()
            except httpx2.HTTPError:
                self._news.set()
            else:
                self.console += part["text"]
                self._read = part["end"]
            await asyncio.sleep(READ)


@dataclass(frozen=True)
class Followed:
    """How it went. Each list has one number for each tab."""

    lines: int
    missed: list[int]
    doubled: list[int]
    streams: list[int]
    memory: list[tuple[float, float]]
    """(seconds since this server began, megabytes), one a second."""
    cpu: float
    shown: list[str] | None
    """The console's lines as Chromium shows them."""


@contextmanager
def under_way(workspace: Workspace) -> Iterator[tuple[Task, Callable[[int], None]]]:
    """A run whose step ``fit`` is under way, and what lets that print and tell a line."""
    from benchmarks.trials import crowd

    store = workspace.store
    run = store.tasks.create(workspace.record_of(crowd, {}))
    store.tasks.transition(run.id, Status.RUNNING)
    step = Task(
        new_id(), Kind.STEP, "fit", run.project, status=Status.RUNNING, pipeline=run.pipeline, parent=run.id,
        component="fit", position=0,
    )  # fmt: skip
    step = store.tasks.create(step)
    store.tasks.start_attempt(Attempt(step.id, 1, Status.RUNNING, time.time()))
    path = workspace.consoles.path(run.id, "fit.1")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:

        def tell(number: int) -> None:
            file.write(f"line {number}\n".encode())
            store.events.append(step.id, "line", {"line": number})

        yield store.tasks.get(run.id), tell
    for task in (step, run):
        store.tasks.transition(task.id, Status.COMPLETED)


def followed(home: Path, tabs: int, seconds: float, *, restarts: int = 1, browser: Any = None) -> Followed:
    """Have ``tabs`` follow a run for so long, with the server stopped and started ``restarts`` times meanwhile.

    ``browser``, one of Playwright, opens one page more.
    """
    with Workspace(home=home) as workspace, under_way(workspace) as (run, tell):
        server = Server(home)
        page = _opened(browser, server.url, run.id) if browser is not None else None
        pages = [Tab(server.url, run.id, workspace.store.events.last()) for _ in range(tabs)]
        loop = asyncio.new_event_loop()
        task = loop.create_task(_all(pages))
        thread = threading.Thread(target=_until_cancelled, args=(loop, task))
        thread.start()
        try:
            lines, memory = _written(server, tell, seconds, restarts)
            _until(lambda: all(_is_done(tab, lines) for tab in pages) or not thread.is_alive())
            shown = None if page is None else _shown(page, lines)
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join()
            server.stop()
    every = [tab.told for tab in pages] + [_numbers(tab.console.splitlines()) for tab in pages]
    return Followed(
        lines,
        [lines - len(set(told)) for told in every],
        [len(told) - len(set(told)) + sum(after < before for before, after in pairwise(told)) for told in every],
        [tab.streams for tab in pages],
        memory,
        server.cpu,
        shown,
    )


def _written(
    server: Server, tell: Callable[[int], None], seconds: float, restarts: int
) -> tuple[int, list[tuple[float, float]]]:
    """Write until the time is over; how many lines, and the server's memory second by second."""
    began = last = time.monotonic()
    due = [began + seconds * (number + 1) / (restarts + 1) for number in range(restarts)]
    number, memory = 0, []
    away: threading.Thread | None = None
    while (now := time.monotonic()) < began + seconds or (away is not None and away.is_alive()):
        tell(number)
        number += 1
        if due and now > due[0]:
            due.pop(0)
            away = threading.Thread(target=lambda: (server.stop(), server.start()))  # what is told goes on meanwhile
            away.start()
        if now - last > 1.0 and (away is None or not away.is_alive()):
            last = now
            memory.append((now - server.began, server.process.memory_info().rss / 1e6))
        time.sleep(PAUSE)
    return number, memory


async def _all(tabs: list[Tab]) -> None:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    timeout = httpx2.Timeout(60.0)  # four beats of a stream
    async with httpx2.AsyncClient(limits=limits, timeout=timeout) as client, asyncio.TaskGroup() as group:
        for tab in tabs:
            group.create_task(tab.follow(client))


def _until_cancelled(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        pass
    finally:
        loop.close()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LAST
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)


def _is_done(tab: Tab, lines: int) -> bool:
    return bool(tab.told) and tab.told[-1] == lines - 1 and tab.console.endswith(f"line {lines - 1}\n")


def _numbers(lines: list[str]) -> list[int]:
    return [int(line.removeprefix("line ")) for line in lines]


def _opened(browser: Any, url: str, run: str) -> Any:
    page = browser.new_context(base_url=url).new_page()
    page.goto(f"/runs/{run}?step=fit&tab=console")
    page.wait_for_function("document.querySelector('#live').dataset.state === 'live'")
    return page


def _shown(page: Any, lines: int) -> list[str]:
    page.wait_for_function(
        "last => document.querySelector('#console').innerText.trimEnd().endsWith(last)", arg=f"line {lines - 1}",
        timeout=1000 * LAST,
    )  # fmt: skip
    text = str(page.locator("#console").inner_text())
    page.context.close()
    return text.splitlines()


def growth(memory: list[tuple[float, float]], *, warm: float = 60.0) -> float | None:
    """Megabytes a minute that a server grew by, past its first ``warm`` seconds; None for too short a look."""
    later = [(at / 60.0, size) for at, size in memory if at > warm]
    return statistics.linear_regression(*zip(*later, strict=True)).slope if len(later) > 30 else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabs", description=__doc__)
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-", ignore_cleanup_errors=True) as folder:
        os.environ.update(HPO_HOME=folder, MLFLOW_TRACKING_URI="")
        arguments = (Path(folder), options.tabs, 60.0 * options.minutes)
        if options.no_browser:
            found = followed(*arguments, restarts=options.restarts)
        else:
            from playwright.sync_api import sync_playwright

            from benchmarks.pages import FLAGS

            binary = shutil.which("chromium") or shutil.which("google-chrome")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=binary, args=list(FLAGS))
                found = followed(*arguments, restarts=options.restarts, browser=browser)
                browser.close()
    print(json.dumps(_row(found, options.tabs)))


def _row(found: Followed, tabs: int) -> dict[str, Any]:
    last = _last_server(found.memory)
    minutes = {int(at // 60): round(size, 1) for at, size in last}  # the last of each minute
    return {
        "tabs": tabs,
        "lines": found.lines,
        "missed": sum(found.missed),
        "doubled": sum(found.doubled),
        "streams_of_a_tab": [min(found.streams), max(found.streams)],
        "chromium": None if found.shown is None else found.shown == [f"line {n}" for n in range(found.lines)],
        "server_mb": [round(found.memory[0][1], 1), round(max(size for _, size in found.memory), 1)],
        "server_mb_by_its_minute": minutes,
        "mb_a_minute": None if (slope := growth(last)) is None else round(slope, 2),
        "server_cpu_s": round(found.cpu, 1),
    }


def _last_server(memory: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What was measured of the server that was started last."""
    starts = [index for index in range(1, len(memory)) if memory[index][0] < memory[index - 1][0]]
    return memory[starts[-1] :] if starts else memory


if __name__ == "__main__":
    main()
