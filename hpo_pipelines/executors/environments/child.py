"""A process of this worker's own for one environment: its packages and variables are there before anything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from hpo_pipelines.executors.environments.annex import Annex
from hpo_pipelines.types import Environment

BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hpo_pipelines.executors.environments.inside import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)


def child(environment: Environment, overlay: Path | None) -> Annex:
    """A child process with ``overlay`` ahead on its path. It has this process's variables, but for the secrets."""
    path = [*([] if overlay is None else [str(overlay)]), *sys.path]

    def start(orders: int, messages: int, prints: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            # -P: a types.py in the working folder must not stand in for the library's before sys.path is set.
            [sys.executable, "-P", "-c", BOOTSTRAP, json.dumps(path), str(orders), str(messages)],
            pass_fds=(orders, messages),
            stdin=subprocess.DEVNULL,
            stdout=prints,
            stderr=prints,
            env=_variables(environment, overlay),
        )

    return Annex(start)


def _variables(environment: Environment, overlay: Path | None) -> Mapping[str, str]:
    variables = {name: value for name, value in os.environ.items() if name not in environment.secrets}
    variables.update(environment.env)
    if overlay is not None:  # for programs that the step starts
        for name, place in (("PYTHONPATH", overlay), ("PATH", overlay / "bin")):
            variables[name] = os.pathsep.join([str(place), *([variables[name]] if variables.get(name) else [])])
    return variables
