"""Three components that ran alone, chained: parameters go over theirs, callbacks are called before and after.

python examples/chain/callbacks.py. What ClearML's pipeline_from_tasks.py shows, in our words.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from hpo_pipelines import Call, Callbacks, Pipeline, Workspace, component, report, skip
from hpo_pipelines.callbacks import Skip


def enough(call: Call) -> Skip | None:
    """Called before ``train``, with its arguments; it decides whether there is such a step."""
    rows = call.arguments["rows"]
    print(f"{call.run}: {call.name} is to have {rows:g} rows")
    return skip(f"{rows:g} rows are too few") if rows < 50 else None


def tell(call: Call) -> None:
    """Called when a step has ended; no step waits for it."""
    print(f"{call.run}: {call.name} {'reused' if call.reused else call.status}")


@component(callbacks=Callbacks(after=tell))
def flowers(step: int = 1) -> pd.DataFrame:
    """Each ``step``-th of 150 flowers: four lengths in cm, and the ``target``, 0 to 2."""
    return load_iris(as_frame=True).frame.iloc[::step]


@component(callbacks=Callbacks(after=tell))
def split(table: pd.DataFrame | None = None, test_share: float = 0.5) -> Any:
    """What to learn from and what to test with, of a table; alone, of all flowers."""
    table = flowers.function() if table is None else table
    x, y = table.drop(columns="target").to_numpy(), table["target"].to_numpy()
    report("rows", len(table))
    return train_test_split(x, y, test_size=test_share, random_state=42)


@component(callbacks=Callbacks(before=enough, after=tell))
def train(parts: Any = None, rows: float = 150, note: str = "alone", strength: float = 1.0) -> float:
    """The share of the flowers to be tested that are told rightly; alone, of a model of half of them."""
    train_x, test_x, train_y, test_y = split.function() if parts is None else parts
    print("training", note)
    accuracy = float(LogisticRegression(C=strength, max_iter=1000).fit(train_x, train_y).score(test_x, test_y))
    report("accuracy", accuracy)
    return accuracy


def chained(workspace: Workspace | None = None) -> Pipeline[..., Any]:
    """The latest run of each, chained; what is not given here is as it was there."""
    chain = Pipeline.from_tasks(
        "iris_of_tasks", "examples", parameters={"step": 1, "test_share": 0.25}, workspace=workspace
    )
    chain.add("data", task="latest of examples/flowers", params={"step": "${pipeline.step}"})
    chain.add(
        "parts",
        task="latest of examples/split",
        inputs={"table": "${data.output}"},
        params={"test_share": "${pipeline.test_share}"},
    )
    chain.add(
        "train",
        task="latest of examples/train",
        inputs={"parts": "${parts.output}"},
        params={"rows": "${parts.metrics.rows}", "note": "with ${parts.metrics.rows} rows, of ${pipeline.label}"},
    )
    return chain


if __name__ == "__main__":
    for part in (flowers, split, train):  # what is chained: each has run once, alone
        part.run(project="examples").raise_for_status()
    run = chained().run()
    run.raise_for_status()
    print("accuracy", run.metrics["train.accuracy"])
    few = run.clone(step=5).run()
    print("few flowers:", few.steps["train"].reason)
