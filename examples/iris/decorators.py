"""Four components over a pickled table: load, split, train, score; a second run reuses all four.

Runs it twice: python examples/iris/decorators.py. What ClearML's pipeline_from_decorator.py shows, in our words.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from hpo_pipelines import component, pipeline, report


def write_iris(path: str | Path) -> None:
    """150 flowers as a pickled DataFrame: four lengths in cm, and the ``target``, 0 to 2."""
    load_iris(as_frame=True).frame.to_pickle(path)


@component
def load(pickle_path: str) -> pd.DataFrame:
    """The table; known by the path, so a file that changes in place asks for ``--refresh load``."""
    return pd.read_pickle(pickle_path)


@component(outputs=("train_x", "test_x", "train_y", "test_y"))
def split(flowers: pd.DataFrame, test_share: float) -> Any:
    x, y = flowers.drop(columns="target").to_numpy(), flowers["target"].to_numpy()
    return train_test_split(x, y, test_size=test_share, random_state=42)


@component
def train(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(x, y)


@component
def score(model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> float:
    accuracy = model.score(x, y)
    report("accuracy", accuracy)
    return accuracy


@pipeline(project="examples")
def iris(pickle_path: str, test_share: float = 0.2) -> float:
    """The share of flowers that are told rightly, in percent."""
    train_x, test_x, train_y, test_y = split(load(pickle_path), test_share)  # nothing is loaded here, and nothing waits
    model = train(train_x, train_y)
    print("the model:", model)  # looking at it waits for it, and brings it here
    percent = 100 * score(model, test_x, test_y)
    print(f"{percent:.1f} % right")
    return percent


if __name__ == "__main__":
    path = Path(tempfile.gettempdir(), "hpo-iris.pkl")
    write_iris(path)
    for _ in range(2):
        run = iris.run(pickle_path=str(path))
        run.raise_for_status()
        reused = [name for name, step in run.steps.items() if step.reused_from]
        print(f"{run.label}: {run.value:.1f} %, reused: {', '.join(reused) or 'nothing'}")
