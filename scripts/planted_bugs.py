"""Plants bugs into a copy of the product, one after the other, and expects the tests to notice each.

    python scripts/planted_bugs.py [--list] [--only NAME …] [-j 2]

The bugs are in ``planted_bugs.toml``: a text that occurs exactly once in a source file, what takes its place, and the
tests that must go red. Copies of the packages and of the tests are made in a temporary folder; the tests run there, on
the copy (a plugin refuses to run them on anything else), first without any bug: then they must be green.

Ends with 0 if every bug was noticed; with 1, naming them, if one survived or cannot be planted any more.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("hpo_pipelines", "search_spaces", "tests", "pyproject.toml")
PACKAGES = ("hpo_pipelines", "search_spaces")
PATIENCE = 90.0
"""Seconds after which a bug's tests are stopped: a suite that hangs is not green either."""

GUARD = """
from pathlib import Path

import pytest


def pytest_configure(config):
    import hpo_pipelines, search_spaces

    for package in (hpo_pipelines, search_spaces):
        if not Path(package.__file__).is_relative_to(Path(__file__).parent):
            raise pytest.UsageError(f"{package.__file__} is not in the copy with the bug")
"""


@dataclass(frozen=True)
class Bug:
    """``old``, which occurs once in ``file``, becomes ``new``; then ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    patience: float = PATIENCE


def load(path: Path = LIST) -> list[Bug]:
    """The bugs in a list. Raises TypeError for a field that is missing or unknown."""
    return [Bug(**{**bug, "tests": tuple(bug["tests"])}) for bug in tomllib.loads(path.read_text("utf-8"))["bug"]]


def problem(bug: Bug, root: Path = ROOT) -> str | None:
    """Why ``bug`` cannot be planted, or no test could notice it; None if all is well."""
    source = root / bug.file
    if not source.is_file():
        return f"{bug.file} is not there"
    text = source.read_text("utf-8")
    if text.count(bug.old) != 1:
        return f"its old text occurs {text.count(bug.old)} times in {bug.file}, not once"
    try:
        before, after = ast.parse(text), ast.parse(text.replace(bug.old, bug.new))
    except SyntaxError as error:
        return f"with it, {bug.file} is no Python: {error}"
    if ast.dump(before) == ast.dump(after):
        return "its new text means the same as the old"
    return next((f"there is no test {test}" for test in bug.tests if not _exists(test, root)), None)


def _exists(test: str, root: Path) -> bool:
    """Whether a test's file is there and defines it, or inherits it from a suite beside it."""
    name, *within = test.partition("[")[0].split("::")
    file = root / name
    if not file.is_file():
        return False
    defined = _definitions(file)
    if len(within) < 2:
        return all(each in defined for each in within)
    suites = [file, file.with_name("contract.py")]
    return within[0] in defined and any(within[-1] in _definitions(each) for each in suites if each.is_file())


@cache
def _definitions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


# -- copies


class Copy:
    """The product and its tests in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in COPIED:
            source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__", ".*")
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)
        (folder / "planted_guard.py").write_text(GUARD)
        self._time = int(time.time()) - 1_000_000

    @contextmanager
    def planted(self, bug: Bug) -> Iterator[None]:
        """The copy with ``bug`` in it."""
        file = self.folder / bug.file
        text = file.read_text("utf-8")
        self._write(file, text.replace(bug.old, bug.new))
        try:
            yield
        finally:
            self._write(file, text)

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text, "utf-8")
        # Compiled files are told apart by whole seconds and sizes.
        self._time += 10
        os.utime(file, (self._time, self._time))

    def test(self, tests: Sequence[str], patience: float) -> tuple[int | None, str]:
        """Run ``tests`` on the copy: pytest's exit status (None: stopped) and its last words."""
        options = ["-x", "-q", "--no-header", "--tb=line", "-p", "planted_guard", "-p", "no:cacheprovider"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        environment |= {"PYTHONPATH": str(self.folder), "HYPOTHESIS_STORAGE_DIRECTORY": str(self.folder / "examples")}
        with (self.folder / "output").open("w+b") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *options, *tests],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status: int | None = process.wait(patience)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            output.seek(0)
            return status, output.read().decode("utf-8", "replace")


# -- verdicts


@dataclass(frozen=True)
class Verdict:
    """Whether a bug was noticed, how, and after how many seconds."""

    bug: Bug
    noticed: bool
    how: str
    seconds: float = 0.0

    @property
    def line(self) -> str:
        return f"{'noticed ' if self.noticed else 'SURVIVED'}  {self.bug.name}  ({self.how}, {self.seconds:.1f} s)"


def judge(bug: Bug, copies: queue.Queue[Copy]) -> Verdict:
    """Plant ``bug`` into a copy that nobody uses and run its tests there."""
    unsound = problem(bug)
    if unsound is not None:
        return Verdict(bug, False, unsound)
    copy, began = copies.get(), time.monotonic()
    try:
        with copy.planted(bug):
            status, output = copy.test(bug.tests, bug.patience)
    finally:
        copies.put(copy)
    return _verdict(bug, status, output, time.monotonic() - began)


def _verdict(bug: Bug, status: int | None, output: str, seconds: float) -> Verdict:
    if status is None:
        return Verdict(bug, True, "its tests hung and were stopped", seconds)
    if status == 1:
        red = next((line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))), "red")
        return Verdict(bug, True, red.partition(" - ")[0].rpartition("::")[2], seconds)
    if status == 0:
        return Verdict(bug, False, "its tests are green", seconds)
    # Neither green nor red: nothing was collected, the copy was not what ran, …
    return Verdict(bug, False, f"pytest ended with {status}:\n{output[-2000:]}", seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status; see the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="only list the bugs")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="only these")
    parser.add_argument("-j", "--jobs", type=int, default=2, metavar="N", help="bugs at a time (default 2)")
    options = parser.parse_args(arguments)
    bugs = load()
    unknown = set(options.only) - {bug.name for bug in bugs}
    if unknown:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}; --list has all")
    bugs = [bug for bug in bugs if not options.only or bug.name in options.only]
    if options.list:
        for bug in bugs:
            print(f"{bug.name}  {bug.file}  {' '.join(bug.tests)}")
        return 0
    return _run(bugs, max(1, min(options.jobs, len(bugs))))


def _run(bugs: Sequence[Bug], jobs: int) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hpo-planted-") as folder:
        copies: queue.Queue[Copy] = queue.Queue()
        for number in range(jobs):
            copies.put(Copy(Path(folder).resolve() / f"copy{number}"))
        copy = copies.get()
        tests = list(dict.fromkeys(test for bug in bugs for test in bug.tests))
        status, output = copy.test(tests, 10 * PATIENCE)
        copies.put(copy)
        if status != 0:
            print(f"Without any bug the tests are not green, so they prove nothing:\n{output}")
            return 1
        print(f"green without a bug ({time.monotonic() - began:.1f} s)", flush=True)
        survived = []
        with ThreadPoolExecutor(jobs) as pool:
            for verdict in pool.map(lambda bug: judge(bug, copies), bugs):
                print(verdict.line, flush=True)
                survived += [] if verdict.noticed else [verdict.bug.name]
    print(f"{len(bugs) - len(survived)} of {len(bugs)} noticed in {time.monotonic() - began:.0f} s")
    if survived:
        print(f"Not noticed: {', '.join(survived)}")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
