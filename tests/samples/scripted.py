"""Commands as components, with the script that lies beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from hpo_pipelines import command, component, pipeline


@component
def rows(n: int) -> pd.DataFrame:
    return pd.DataFrame({"a": range(n)})


train = command(
    "python scripts/train.py --lr {lr:float=0.1} --data {data} --out {model} --note {note:str=}",
    inputs={"data": "in/data.csv"},
    outputs={"model": "out/model.bin"},
    metrics="metrics.json",
)


@component
def weigh(model: Path) -> float:
    return float(model.read_text())


@pipeline
def scripted(n: int = 3, lr: float = 0.1, note: str = "") -> float:
    return weigh(train(rows(n), lr=lr, note=note)["model"])


exits = command("python -c 'import sys; print(\"so far\"); sys.exit({code:int})'", name="exits")
leaves_nothing = command("python -c pass", outputs={"x": "out/x.bin"}, files=["scripts/*.py"], name="leaves_nothing")
lingers = command(
    'python -c "import subprocess, sys, time; '
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{mark}']); time.sleep(600)\" {mark}",
    name="lingers",
    timeout=2,
)
shelled = command(
    "printf %s {text} > {said} && wc -c < {said}", outputs={"said": "said.txt"}, shell=True, name="shelled"
)


@pipeline
def lingering(mark: str) -> Any:
    return lingers(mark)
