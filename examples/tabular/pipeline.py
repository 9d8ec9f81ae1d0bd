"""A table from raw to best model: a check that may end the run, models side by side in a loop, the choice of the best.

    hpo run examples/tabular/pipeline.py:species -P 'forests=[10, 40]'
    hpo run examples/tabular/pipeline.py:two_ways

What ClearML's full_tabular_data_process_pipeline_example.py and tabular_ml_pipeline.ipynb show.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal

import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from hpo_pipelines import component, pipeline, report

LENGTHS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
TARGET = "species"


@component
def load() -> pd.DataFrame:
    """344 penguins; two of them nobody measured."""
    with files("palmerpenguins").joinpath("data/penguins.csv").open("rb") as table:
        return pd.read_csv(table)


@component
def is_whole(table: pd.DataFrame, columns: list[str], rows: int) -> bool:
    """Whether the table has these columns, and at least so many rows in which none of them is missing."""
    return set(columns) <= set(table.columns) and len(table.dropna(subset=columns)) >= rows


@component(outputs=("train", "test"))
def prepare(table: pd.DataFrame, missing: Literal["drop", "mean", "median"], test_share: float, seed: int) -> Any:
    """Two parts of the measured columns; what is missing is left out, or filled with its column's mean or median."""
    table = table[[*LENGTHS, TARGET]]
    if missing == "drop":
        table = table.dropna()
    else:
        table = table.fillna(table[LENGTHS].agg(missing))
    return train_test_split(table, test_size=test_share, random_state=seed, stratify=table[TARGET])


@component
def train(train: pd.DataFrame, test: pd.DataFrame, settings: dict[str, Any]) -> dict[str, Any]:
    """A forest with ``settings``, and its accuracy on ``test``, as one artifact."""
    model = RandomForestClassifier(random_state=0, **settings).fit(train[LENGTHS], train[TARGET])
    accuracy = model.score(test[LENGTHS], test[TARGET])
    report("accuracy", accuracy)
    return {"model": model, "accuracy": accuracy, "settings": settings}


@component
def select_best(candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """The candidate with the highest accuracy, the first of several."""
    best = max(candidates, key=lambda candidate: candidate["accuracy"])
    report("accuracy", best["accuracy"])
    return best


@pipeline(project="examples")
def species(forests: list[int] = [2, 20], depth: int = 3, rows: int = 300, seed: int = 7) -> dict[str, Any] | None:  # noqa: B006
    """The settings and the accuracy of the best of several forests, or None for a table that is not whole."""
    table = load()
    if not is_whole(table, [*LENGTHS, TARGET], rows):
        return None
    train_part, test_part = prepare(table, "drop", test_share=0.3, seed=seed)
    candidates = []
    for trees in forests:  # `train` and `train.2` run at the same time
        candidates.append(train(train_part, test_part, {"n_estimators": trees, "max_depth": depth}))
    best = select_best(candidates)
    return {"accuracy": best["accuracy"], "settings": best["settings"]}


@pipeline(project="examples")
def two_ways(trees: int = 20, seed: int = 7) -> dict[str, Any]:
    """The same table prepared in two ways at the same time, a model of each, and the better one."""
    table = load()
    candidates = []
    for missing in ("mean", "median"):
        parts = prepare(table, missing, test_share=0.3, seed=seed)
        candidates.append(train(*parts, {"n_estimators": trees}))
    best = select_best(candidates)
    return {"accuracy": best["accuracy"]}


if __name__ == "__main__":
    for each in (species, two_ways):
        run = each.run()
        run.raise_for_status()
        print(run.label, run.value, *run.steps)
