"""Palmer penguins: a table with categories and missing values; how heavy is a penguin, by its looks?

hpo run examples/penguins/pipeline.py:penguins -P max_depth=3
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal

import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split

from hpo_pipelines import component, pipeline, report

CATEGORIES = ["species", "island", "sex"]
TARGET = "body_mass_g"


@component
def load() -> pd.DataFrame:
    """344 penguins: species, island, bill length and depth, flipper length (mm), body mass (g), sex, year."""
    with files("palmerpenguins").joinpath("data/penguins.csv").open("rb") as table:
        return pd.read_csv(table).astype(dict.fromkeys(CATEGORIES, "category"))


@component
def clean(penguins: pd.DataFrame, missing_sex: Literal["unknown", "frequent"]) -> pd.DataFrame:
    """Drops the penguins nobody measured; an unrecorded sex becomes a category of its own, or the more frequent one."""
    measured = penguins.dropna(subset=[TARGET]).reset_index(drop=True)
    if missing_sex == "unknown":
        sex = measured["sex"].cat.add_categories("unknown").fillna("unknown")
    else:
        sex = measured["sex"].fillna(measured["sex"].mode()[0])
    return measured.assign(sex=sex)


@component
def encode(penguins: pd.DataFrame, encoding: Literal["onehot", "codes"]) -> pd.DataFrame:
    """Categories as one column each of zeros and ones, or as their code numbers."""
    if encoding == "onehot":
        return pd.get_dummies(penguins, columns=CATEGORIES, dtype=float)
    return penguins.assign(**{name: penguins[name].cat.codes for name in CATEGORIES})


@component(outputs=("train", "test"))
def split(table: pd.DataFrame, test_share: float, seed: int) -> Any:
    return train_test_split(table, test_size=test_share, random_state=seed)


@component
def train(table: pd.DataFrame, learning_rate: float, max_depth: int, seed: int) -> GradientBoostingRegressor:
    model = GradientBoostingRegressor(
        learning_rate=learning_rate, n_estimators=60, max_depth=max_depth, random_state=seed
    )
    return model.fit(table.drop(columns=TARGET), table[TARGET])


@component
def evaluate(model: GradientBoostingRegressor, table: pd.DataFrame) -> float:
    """The mean absolute error in grams."""
    guesses = model.predict(table.drop(columns=TARGET))
    error = mean_absolute_error(table[TARGET], guesses)
    report("error_grams", error)
    report("r2", r2_score(table[TARGET], guesses))
    return error


@pipeline(project="examples")
def penguins(
    missing_sex: Literal["unknown", "frequent"] = "unknown",
    encoding: Literal["onehot", "codes"] = "codes",
    learning_rate: float = 0.02,
    max_depth: int = 1,
    seed: int = 7,
) -> dict[str, float]:
    """Returns the mean absolute error on held-out penguins, in grams."""
    table = encode(clean(load(), missing_sex), encoding)
    train_table, test_table = split(table, test_share=0.3, seed=seed)
    model = train(train_table, learning_rate, max_depth, seed)
    return {"error_grams": evaluate(model, test_table)}
