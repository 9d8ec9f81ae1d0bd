"""Draws docs/images/terminal.svg, the recording in README.md: a study while it runs, and a run as it is left standing.

Runs the digits example in a home of its own, so it takes a minute; what it draws is what `hpo` draws.

    .venv/bin/python scripts/terminal_picture.py
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRIALS = 30
FRAMES, SECONDS, STAY = 14, 0.4, 5.0
"""How many pictures of the study, for how long each is shown, and the last."""
WIDTH = 98


def recorded(folder: str) -> tuple[list[Any], Any]:
    """A study's progress whenever it changed, and the tree of a run that came after it."""
    from hpo_pipelines import Workspace, optimize
    from hpo_pipelines.cli.targets import pipeline_called
    from hpo_pipelines.cli.tree import read

    digits = pipeline_called(str(ROOT / "examples" / "digits" / "pipeline.py"))
    seen: list[Any] = []
    with Workspace(home=folder) as place:
        optimize(
            digits,
            ROOT / "examples" / "digits" / "space.yaml",
            objective="evaluate.accuracy",
            n_trials=TRIALS,
            n_jobs=2,
            seed=0,
            name="digits",
            executor="local",
            workspace=place,
            progress=lambda progress: seen.append(replace(progress)),
        )
        run = place.run(digits, {"model": "svm", "C": 0.2})
        run.raise_for_status()
        tree = read(place.store, run.id)
    return seen, tree


def drawn(progress: Any, tree: Any = None, *, name: str = "hpo", lines_in_all: int = 0) -> str:
    """Both as SVG, WIDTH letters wide, ids beginning with ``name``; with ``lines_in_all`` lines, if it has fewer."""
    from rich.console import Console

    from hpo_pipelines.cli.live import drawn as drawn_tree
    from hpo_pipelines.cli.tree import lines, summary
    from hpo_pipelines.progress import drawn as drawn_bar

    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(
        "[green]$[/] hpo optimize examples/digits/pipeline.py:digits --space examples/digits/space.yaml \\\n"
        f"    --objective evaluate.accuracy --n-trials {TRIALS} --n-jobs 2 --name digits",
        highlight=False,
    )
    console.print(drawn_bar(progress))
    if tree is not None:
        console.print("\n[green]$[/] hpo run examples/digits/pipeline.py:digits -P model=svm -P C=0.2", highlight=False)
        console.print(drawn_tree(lines(tree, time.time()), summary(tree)))
    console.print("\n" * max(0, lines_in_all - console.export_text(clear=False).count("\n")), end="")
    svg = console.export_svg(title="hpo", unique_id=name)
    # rich names a font on a server of others: a picture should need none.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def recording(seen: list[Any], tree: Any) -> str:
    """The study as it went, and then the run, as one SVG that moves; the last frame where motion is not wanted."""
    step = max(1, len(seen) // FRAMES)
    moments = [*seen[::step][:FRAMES], seen[-1]]
    height = lines_of(drawn(seen[-1], tree))
    frames = [drawn(moment, name=f"hpo{i}", lines_in_all=height) for i, moment in enumerate(moments)]
    frames.append(drawn(seen[-1], tree, name="hpo-last"))
    return joined(frames)


def lines_of(svg: str) -> int:
    """How many lines of text a picture of rich's has."""
    return len(set(re.findall(r'<clipPath id="hpo-line-(\d+)"', svg))) + 1


def joined(frames: list[str]) -> str:
    """``frames``, pictures of one size, one after another; the last stays for longer."""
    seconds = [SECONDS] * (len(frames) - 1) + [STAY]
    whole, at = sum(seconds), 0.0
    rules: list[str] = []
    bodies: list[str] = []
    for number, (frame, each) in enumerate(zip(frames, seconds, strict=True)):
        start, end = 100 * at / whole, 100 * (at + each) / whole
        shown = "visible" if number == 0 else "hidden"
        rules.append(
            f"@keyframes f{number}{{0%{{visibility:{shown}}}{start:.2f}%{{visibility:visible}}"
            f"{end:.2f}%,100%{{visibility:hidden}}}}"
            f".f{number}{{visibility:hidden;animation:f{number} {whole:.1f}s step-end infinite}}"
        )
        body = frame[frame.index(">", frame.index("<svg")) + 1 : frame.rindex("</svg>")]
        bodies.append(f'<g class="f{number}">{body}</g>')
        at += each
    still = f"[class^=f]{{animation:none!important}}.f{len(frames) - 1}{{visibility:visible!important}}"
    style = f"{''.join(rules)}@media (prefers-reduced-motion:reduce){{{still}}}"
    head = frames[-1][frames[-1].index("<svg") : frames[-1].index(">", frames[-1].index("<svg")) + 1]
    return f"{head}<style>{style}</style>{''.join(bodies)}</svg>\n"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "terminal.svg")
    out = arguments.parse_args().out
    os.environ["MLFLOW_TRACKING_URI"] = ""
    with tempfile.TemporaryDirectory(prefix="hpo-picture-") as folder:
        svg = recording(*recorded(folder))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(svg, "utf-8")
    print(f"{out}: {len(svg)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
