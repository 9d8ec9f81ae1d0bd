"""``python -m benchmarks.environments [--packages REQUIREMENT …] [--image NAME] [--rounds N]``: milliseconds of a step.

A no-op step, from submit to its recorded end: in a plain worker; as the first with its packages, which builds their
folder; with packages that are built, in a new process; in the process that is kept; in a container of an image.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from hpo_pipelines import Environment, Workspace, component, pipeline


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.environments", description=__doc__)
    parser.add_argument("--packages", nargs="+", default=["six==1.17.0"], metavar="REQUIREMENT")
    parser.add_argument("--image", help="an image that the engine here has, with this Python as python3")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpo-bench-", ignore_cleanup_errors=True) as home:
        os.environ["HPO_HOME"] = home
        os.environ["MLFLOW_TRACKING_URI"] = ""
        os.environ["HPO_LOCAL_CPUS"] = "1"
        with Workspace() as workspace:
            for name, times in measured(options, workspace):
                print(f"{name:45} {statistics.median(times):8.0f} ms  ({min(times):.0f} to {max(times):.0f})")


def measured(options: argparse.Namespace, workspace: Workspace) -> Iterator[tuple[str, list[float]]]:
    """Each case with its times in milliseconds."""
    rounds, packages = options.rounds, tuple(options.packages)

    def timed(environments: Callable[[int], Environment]) -> list[float]:
        return [_milliseconds(environments(number), workspace) for number in range(rounds)]

    def variable(number: int) -> dict[str, str]:
        return {"NUMBER": str(number)}

    _milliseconds(Environment(), workspace)
    yield "in a plain worker", timed(lambda number: Environment())
    # Variables of the installer, such as this one would be, make another folder.
    yield (
        "first with its packages: builds, starts",
        timed(lambda number: Environment(packages=packages, env={"UV_HPO_BENCHMARK": str(number)})),
    )
    _milliseconds(Environment(packages=packages), workspace)
    yield "packages are built: starts", timed(lambda number: Environment(packages=packages, env=variable(number)))
    _milliseconds(Environment(packages=packages), workspace)
    yield "in the process that is kept", timed(lambda number: Environment(packages=packages))
    if options.image:
        yield "in a container", timed(lambda number: Environment(image=options.image))


def _milliseconds(environment: Environment, workspace: Workspace) -> float:
    step = component(environment=environment, cache=False)(_nothing)

    @pipeline
    def one() -> Any:
        return step()

    begun = time.perf_counter()
    run = one.run(executor="local", workspace=workspace)
    spent = 1000 * (time.perf_counter() - begun)
    assert run.status == "completed", run.error
    return spent


def _nothing() -> None:
    """What is timed is all around it."""


if __name__ == "__main__":
    main()
