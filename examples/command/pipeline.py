"""A script as a step: `train.py` trains, Python makes its data and reads its model.

hpo run examples/command/pipeline.py:lines -P ridge=2
hpo run examples/command/pipeline.py:points -P count=5
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from hpo_pipelines import command, component, pipeline


@component
def points(count: int = 50, noise: float = 0.5) -> pd.DataFrame:
    x = [index / count for index in range(count)]
    return pd.DataFrame({"x": x, "y": [2 * each + noise * math.sin(50 * each) for each in x]})


train = command(
    "python train.py --data {data} --out {model} --ridge {ridge:float=0.0}",
    inputs={"data": "in/points.csv"},
    outputs={"model": "out/model.json"},
    metrics="metrics.json",
)


@component
def slope(model: Path) -> float:
    return float(json.loads(model.read_text())["slope"])


@pipeline(project="examples")
def lines(count: int = 50, ridge: float = 0.0) -> float:
    return slope(train(points(count), ridge=ridge)["model"])


if __name__ == "__main__":
    first, second = lines.run(), lines.run(ridge=5.0)
    print("slope", first.value, "with a ridge", second.value)
    print("error", first.metrics["train.error"], "points reused from", second.steps["points"].reused_from)
