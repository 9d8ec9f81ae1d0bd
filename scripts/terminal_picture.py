"""Draws docs/images/terminal.svg, the picture in README.md: a study while it runs, and a run as it is left standing.

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
TRIALS, DRAWN_AT = 30, 21
WIDTH = 98


def recorded(folder: str) -> tuple[Any, Any]:
    """A study's progress while it ran, and the tree of a run that came after it."""
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
    midway = [progress for progress in seen if progress.done >= DRAWN_AT and progress.running == 2]
    return midway[0], tree


def drawn(progress: Any, tree: Any) -> str:
    """Both as SVG, WIDTH letters wide."""
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
    console.print("\n[green]$[/] hpo run examples/digits/pipeline.py:digits -P model=svm -P C=0.2", highlight=False)
    console.print(drawn_tree(lines(tree, time.time()), summary(tree)))
    svg = console.export_svg(title="hpo", unique_id="hpo")
    # rich names a font on a server of others: a picture should need none.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "terminal.svg")
    out = arguments.parse_args().out
    os.environ["MLFLOW_TRACKING_URI"] = ""
    with tempfile.TemporaryDirectory(prefix="hpo-picture-") as folder:
        svg = drawn(*recorded(folder))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(svg, "utf-8")
    print(f"{out}: {len(svg)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
