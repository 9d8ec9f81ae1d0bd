"""``python -m benchmarks.samplers [PROBLEM …] [--seeds N] [--budget SHARE]``: samplers on one cache.

By a virtual clock: each method runs on each problem with the same seeds, until the problem's budget, in virtual
seconds of compute, is spent; the first trials count too. A stage whose parameters are those of an earlier trial costs
0.1 s, whoever asks. Printed are medians over seeds with bootstrap intervals of 95 %. ``GP without memoisation
(ours)`` is the same process and search as MemoGP, blind to costs and to what is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.samplers.clock import METHODS, Story, run
from benchmarks.samplers.figures import markdown, table
from benchmarks.samplers.problems import problems

DEFAULT = [method for method in METHODS if "Gittins" not in method]


def main(arguments: Sequence[str] | None = None) -> int:
    known = problems()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--seeds", type=int, default=30, help="how many (default: 30)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (default: 0)")
    parser.add_argument("--budget", type=float, default=1.0, metavar="SHARE", help="of each problem's (default: 1)")
    parser.add_argument("--methods", nargs="*", default=DEFAULT, choices=list(METHODS), help="(default: five)")
    parser.add_argument("--out", type=Path, help="append each study, as a line of JSON, and go on from what is there")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.problems if name not in known]:
        parser.error(f"no problem is called {unknown[0]!r}; there are {', '.join(known)}")
    if "TPE" not in asked.methods:
        parser.error("TPE is what the others are compared with: have it among --methods")
    there = _read(asked.out)
    for name in asked.problems or known:
        problem = known[name]
        budget = asked.budget * problem.budget
        stories: dict[str, list[Story]] = {method: [] for method in asked.methods}
        began = time.perf_counter()
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            for method in asked.methods:
                story = there.get((name, method, seed)) or run(problem, method, seed, budget)
                stories[method].append(story)
                if (name, method, seed) not in there:
                    _write(asked.out, story)
        print(f"\n### {name} (B = {budget:.0f} s of compute; {time.perf_counter() - began:.0f} s here)\n")
        print(markdown(table(stories, budget)), flush=True)
    return 0


def _read(path: Path | None) -> dict[tuple[str, str, int], Story]:
    if path is None or not path.exists():
        return {}
    stories = [Story(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    return {(story.problem, story.method, story.seed): story for story in stories}


def _write(path: Path | None, story: Story) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(story)) + os.linesep)


if __name__ == "__main__":
    sys.exit(main())
