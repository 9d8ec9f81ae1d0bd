"""The tutorial, gone through from top to bottom: files written, commands run, what they print is what it says."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clusters import Head, free_address, short_folder

from hpo_pipelines.types import new_id

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:6379"
START = "ray start --head --port=6379\n"


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str


def blocks() -> list[Block]:
    return [Block(*match.groups(default="")) for match in FENCE.finditer(PAGE.read_text("utf-8"))]


def is_as_shown(shown: str, printed: str) -> bool:
    """Whether ``printed`` is ``shown``: ``…`` stands for anything, alone on a line for any lines; spaces for spaces."""
    pattern = ""
    for line in shown.splitlines():
        words = [r"\s+".join(map(re.escape, part.split(" "))) for part in re.split(" *… *", line)]
        pattern += r"(?:.*\n)*?" if line == "…" else r"[^\n]*".join(words) + r" *\n"
    return re.fullmatch(pattern, printed) is not None


def script(parts: list[Block]) -> str:
    """One shell that goes through ``parts``: what is exported stays, the first failure ends it, outputs go to files."""
    lines = ["set -euo pipefail"]
    for number, block in enumerate(parts):
        if block.title:
            end = f"END_{new_id()}"
            lines.append(f"cat > {block.title} <<'{end}'\n{block.text}{end}")
        elif block.language == "bash":
            lines.append(f"echo 'block {number}' >&2\n{{\n{block.text}}} > {number}.out")
    return "\n".join(lines) + "\n"


@pytest.fixture
def head() -> Iterator[Head]:
    """What `ray start --head` makes, on a port that is free."""
    with short_folder() as folder:
        head = Head(folder, free_address(), "--num-cpus=2", "--include-dashboard=false")
        try:
            head.start()
            yield head
        finally:
            head.kill()


def test_every_block_is_one_that_the_test_knows() -> None:
    found = blocks()
    assert {block.language for block in found} == {"python", "yaml", "bash", "text"}
    for before, block in itertools.pairwise(found):
        assert bool(block.title) == (block.language in ("python", "yaml"))
        assert block.language != "text" or before.language == "bash"
    assert [block.text.count(START) for block in found].count(1) == 1


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a  1\n", "a     1\n", True),
        ("a\n", "a\nb\n", False),
        ("…\nb\n", "a\na\nb\n", True),
        ("…\nb\n", "a\nb\nc\n", False),
        ("acc=0.9…\n", "acc=0.93\n", True),
        ("acc=0.9…\n", "acc=0.83\n", False),
    ],
)
def test_what_is_shown_is_compared(shown: str, printed: str, same: bool) -> None:
    assert is_as_shown(shown, printed) is same


@pytest.mark.integration
def test_the_tutorial_works_as_it_stands(tmp_path: Path, head: Head) -> None:
    found = blocks()
    folder = tmp_path / "tutorial"
    folder.mkdir()
    # The head is there already, since 6379 may be somebody else's.
    text = script(found).replace(START, "").replace(ADDRESS, head.address)
    environment = {
        **os.environ,
        **head.variables,
        "HPO_HOME": str(tmp_path / "home"),
        "HPO_LOCAL_CPUS": "1",  # every worker of a command is a process that imports numpy
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONWARNINGS": "default",
    }
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    for number, block in enumerate(found):
        if block.language == "text":
            printed = (folder / f"{number - 1}.out").read_text("utf-8")
            assert is_as_shown(block.text, printed), f"says:\n{block.text}\nprinted:\n{printed}"
