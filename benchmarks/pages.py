"""``python -m benchmarks.pages [--trials N] [--rounds N] [--home FOLDER]``: how soon a large study is drawn.

A study of N (10,000) trials of four steps is recorded through the store, ``hpo up`` serves it, and each of the
requests of its page is asked for alone (seconds to the first byte, bytes as they are sent, the server's CPU seconds);
then Chromium opens the page: seconds from the click until both charts and the table are drawn, what it was sent in
all, and the CPU seconds of the server and of Chromium. The first round finds a server that has just started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
from playwright.sync_api import Page, Response, sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
REST = "#importance svg"
DRAWN = "() => performance.getEntriesByName('drawn').length > 0"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, help="where the study is, or is to be, recorded (default: thrown away)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-", ignore_cleanup_errors=True) as folder:
        home = options.home or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        os.environ.update(HPO_HOME=str(home), MLFLOW_TRACKING_URI="")
        study = _recorded(options.trials)
        with _served() as (url, server):
            _say(_requests(url, study, server, "cold"))
            _say(_requests(url, study, server, "warm"))
        with _served() as (url, server):
            _say(_drawn(url, study, server, options.rounds))


def _say(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}), flush=True)


def _recorded(trials: int) -> str:
    """The id of the study; one that is recorded already is taken as it is."""
    from benchmarks.trials import many_trials
    from hpo_pipelines import Study, Workspace
    from hpo_pipelines.errors import StudyError

    name = f"crowd-{trials}"
    with Workspace() as workspace:
        try:
            return Study.called(workspace, name).id
        except StudyError:
            began = time.perf_counter()
            study = many_trials(workspace, trials, name=name)
            _say([{"case": "recorded", "trials": trials, "seconds": time.perf_counter() - began}])
            return study.id


@contextmanager
def _served() -> Iterator[tuple[str, psutil.Process]]:
    command = [sys.executable, "-m", "hpo_pipelines", "up", "--no-open", "--json", "--port", "0", "--no-mlflow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        httpx2.get(f"{json.loads(said)['url']}/cluster", timeout=120)  # what every page needs is loaded
        yield json.loads(said)["url"], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _cpu(*processes: psutil.Process) -> float:
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _requests(url: str, study: str, server: psutil.Process, when: str) -> list[dict[str, Any]]:
    rows = []
    for path in (f"/studies/{study}", *PARTS):
        address = path.format(study=study)
        before, began = _cpu(server), time.perf_counter()
        with httpx2.stream("GET", url + address, headers={"Accept-Encoding": "gzip"}, timeout=300) as answer:
            first = time.perf_counter() - began
            sent = sum(len(chunk) for chunk in answer.iter_raw())
        rows.append(
            {
                "case": f"request, {when}",
                "path": address.replace(study, "ID"),
                "status": answer.status_code,
                "first_byte_s": first,
                "seconds": time.perf_counter() - began,
                "server_cpu_s": _cpu(server) - before,
                "bytes_sent": sent,
                "encoding": answer.headers.get("content-encoding", "none"),
            }
        )
    return rows


PARTS = (
    "/api/v1/studies/{study}/trials",
    "/studies/{study}/part/trial",
    "/studies/{study}/part/facts",
)
"""What the page asks for once it is there."""


def _drawn(url: str, study: str, server: psutil.Process, rounds: int) -> list[dict[str, Any]]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert binary is not None, "Chromium is missing: apt-get install chromium, or put one on the PATH."
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=list(FLAGS))
        for round in range(rounds):
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto(f"{url}/cluster")
            rows.append({"case": f"page, round {round}", **_opened(page, f"{url}/studies/{study}", server)})
            page.wait_for_selector(REST, timeout=300_000)  # not a part of the next round
            page.context.close()
        browser.close()
    return rows


def _opened(page: Page, address: str, server: psutil.Process) -> dict[str, Any]:
    answers: list[Response] = []
    page.on("response", lambda response: answers.append(response) if "/events" not in response.url else None)
    browser = [one for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]
    spent, used, began = _cpu(server), _alive(browser), time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(DRAWN, timeout=300_000)
    seconds = time.perf_counter() - began
    spent, used = _cpu(server) - spent, _alive(browser) - used
    drawn = page.evaluate("performance.getEntriesByName('drawn')[0].startTime") / 1000
    sizes = {answer.url: answer.request.sizes()["responseBodySize"] for answer in answers}
    return {
        "drawn_s": drawn,
        "seconds": seconds,
        "server_cpu_s": spent,
        "chromium_cpu_s": used,
        "bytes_sent": sum(sizes.values()),
        "of_them_static": sum(size for url, size in sizes.items() if "/static/" in url),
    }


def _alive(processes: list[psutil.Process]) -> float:
    return sum(_cpu(one) for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE)


if __name__ == "__main__":
    main()
