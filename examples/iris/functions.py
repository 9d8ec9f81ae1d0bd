"""Components made of functions that somebody else wrote, without a decorator over them.

    hpo run examples/iris/functions.py:iris_of_functions -P flowers=100

What ClearML's pipeline_from_functions.py shows: a parameter of the pipeline, edges found by what is passed on, and a
tuple that stays one artifact.
"""

from __future__ import annotations

import pandas as pd
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from hpo_pipelines import component, pipeline

# Plain functions, as they may stand in a library of yours.


def step_one(flowers: int) -> pd.DataFrame:
    return load_iris(as_frame=True).frame.sample(flowers, random_state=0)


def step_two(table: pd.DataFrame, test_share: float = 0.2):
    x, y = table.drop(columns="target").to_numpy(), table["target"].to_numpy()
    return tuple(train_test_split(x, y, test_size=test_share, random_state=42))


def step_three(data) -> LogisticRegression:
    train_x, _, train_y, _ = data
    return LogisticRegression(max_iter=1000).fit(train_x, train_y)


def step_four(model: LogisticRegression, data) -> float:
    _, test_x, _, test_y = data
    return model.score(test_x, test_y)


one, two, three, four = (component(function) for function in (step_one, step_two, step_three, step_four))


@pipeline(project="examples")
def iris_of_functions(flowers: int = 150) -> float:
    """The accuracy on a fifth of ``flowers`` flowers."""
    data = two(one(flowers))
    return four(three(data), data)


if __name__ == "__main__":
    run = iris_of_functions.run()
    run.raise_for_status()
    print(run.label, run.value, *run.steps)
