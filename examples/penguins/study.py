"""Tunes the penguins pipeline with 8 trials; the space is written in Python."""

from __future__ import annotations

from pipeline import penguins

from hpo_pipelines import Categorical, Float, Int, optimize

SPACE = {
    "missing_sex": Categorical(["unknown", "frequent"]),
    "encoding": Categorical(["onehot", "codes"]),
    "learning_rate": Float(0.02, 0.5, log=True),
    "max_depth": Int(1, 4),
}

if __name__ == "__main__":
    study = optimize(
        penguins,
        space=SPACE,
        objective="evaluate.error_grams",
        direction="minimize",
        n_trials=8,
        n_jobs=2,
        seed=0,
        name="penguins",
    )
    print(f"base run {study.runs[0].metrics['evaluate.error_grams']:.0f} g, best trial {study.best_value:.0f} g with")
    print(study.best_params)
    print(study.trials_dataframe().to_string())
