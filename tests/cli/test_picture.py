"""The picture in README.md, and what draws it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from hpo_pipelines.cli.tree import Node
from hpo_pipelines.study.progress import Progress
from hpo_pipelines.task import Task
from hpo_pipelines.types import Kind, Status

ROOT = Path(__file__).resolve().parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("terminal_picture", ROOT / "scripts" / "terminal_picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn_by_the_script(**options: Any) -> str:
    run = Task(
        "r", Kind.PIPELINE, "digits", "p", Status.COMPLETED, "digits", number=31, started_at=1.0, finished_at=2.0
    )
    step = Task(
        "s", Kind.STEP, "load", "p", Status.COMPLETED, component="load", reused_from="x", reason="reused from y"
    )
    svg: str = script().drawn(
        Progress("digits", 30, done=21, best=0.99, best_run="digits#7"), Node(run, {}, (Node(step),)), **options
    )
    return svg


def size_of(svg: str) -> str | None:
    return ElementTree.fromstring(svg).get("viewBox", "").split()[2]


def test_the_picture_is_of_one_width_and_needs_nothing_from_elsewhere() -> None:
    kept = (ROOT / "docs" / "images" / "terminal.svg").read_text("utf-8")
    fresh = drawn_by_the_script()
    assert size_of(kept) == size_of(fresh)
    for svg in (kept, fresh):
        assert "font-face" not in svg
        assert set(re.findall(r"https?://[^\"'\s<]+", svg)) <= {
            "http://www.w3.org/2000/svg",
            "https://www.textualize.io",
        }
    for text in ("21/30", "digits#31", "reused&#160;from&#160;y"):
        assert text in fresh


def test_a_recording_shows_each_frame_in_its_turn_and_the_last_where_nothing_moves() -> None:
    frames = [drawn_by_the_script(name=f"hpo{number}", lines_in_all=12) for number in range(3)]
    assert len({ElementTree.fromstring(frame).get("viewBox") for frame in frames}) == 1
    moving = script().joined(frames)
    groups = ElementTree.fromstring(moving).findall("{http://www.w3.org/2000/svg}g")
    assert [group.get("class") for group in groups] == ["f0", "f1", "f2"]
    starts = [float(start) for start in re.findall(r"([\d.]+)%\{visibility:visible\}", moving)]
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert "prefers-reduced-motion:reduce){[class^=f]{animation:none!important}.f2{" in moving


def test_pictures_are_small() -> None:
    large = [path.name for path in (ROOT / "docs" / "images").iterdir() if path.stat().st_size > 300_000]
    assert not large
