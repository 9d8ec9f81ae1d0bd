"""Spaces of the gallery, over pipelines that fit the estimators they are for."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
from services import missing

from hpo_pipelines import Status, Workspace, component, optimize, pipeline

SKLEARN = [
    ("logistic_regression", "sklearn.linear_model:LogisticRegression", {"max_iter": 50}),
    ("ridge", "sklearn.linear_model:RidgeClassifier", {}),
    ("ridge", "sklearn.linear_model:Ridge", {}),
    ("elastic_net", "sklearn.linear_model:ElasticNet", {}),
    # Some corners of the space take hours over any data; this is about whether the parameters are right.
    ("svm", "sklearn.svm:SVC", {"max_iter": 500}),
    ("svm", "sklearn.svm:SVR", {"max_iter": 500}),
    ("random_forest", "sklearn.ensemble:RandomForestClassifier", {"n_estimators": 10}),
    ("random_forest", "sklearn.ensemble:RandomForestRegressor", {"n_estimators": 10}),
    ("extra_trees", "sklearn.ensemble:ExtraTreesClassifier", {"n_estimators": 10}),
    ("extra_trees", "sklearn.ensemble:ExtraTreesRegressor", {"n_estimators": 10}),
    ("hist_gradient_boosting", "sklearn.ensemble:HistGradientBoostingClassifier", {"max_iter": 20}),
    ("hist_gradient_boosting", "sklearn.ensemble:HistGradientBoostingRegressor", {"max_iter": 20}),
    ("mlp", "sklearn.neural_network:MLPClassifier", {"max_iter": 5}),
    ("mlp", "sklearn.neural_network:MLPRegressor", {"max_iter": 5}),
]
OTHERS = [
    ("xgboost", "xgboost:XGBClassifier", {"n_estimators": 10}),
    ("lightgbm", "lightgbm:LGBMClassifier", {"n_estimators": 10, "verbosity": -1}),
    ("catboost", "catboost:CatBoostClassifier", {"iterations": 10, "allow_writing_files": False, "verbose": False}),
]


@component
def fitted(estimator: str, fit: dict[str, Any]) -> float:
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    module, _, name = estimator.partition(":")
    features, target = load_breast_cancer(return_X_y=True)
    features = StandardScaler().fit_transform(features[::4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a few iterations do not converge
        model = getattr(importlib.import_module(module), name)(**fit)
        return float(model.fit(features, target[::4]).score(features, target[::4]))


@pipeline
def scored(estimator: str, fit: dict[str, Any]) -> Any:
    return fitted(estimator, fit)


def two_trials(tmp_path: Path, name: str, estimator: str, overrides: dict[str, Any]) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(f"estimator: '{estimator}'\nfit:\n  space: {name}\n  overrides: {overrides}\n")
    with Workspace(home=tmp_path) as workspace:
        study = optimize(
            scored, file, n_trials=2, sampler="random", seed=3, executor="inline", progress=False, workspace=workspace
        )
        assert [run.status for run in study.runs] == [Status.COMPLETED] * 2, [run.error for run in study.runs]
        assert study.best_params["estimator"] == estimator


@pytest.mark.integration
@pytest.mark.parametrize(("name", "estimator", "overrides"), SKLEARN, ids=lambda value: str(value).rpartition(":")[2])
def test_a_pipeline_over_scikit_learn_runs(
    tmp_path: Path, name: str, estimator: str, overrides: dict[str, Any]
) -> None:
    two_trials(tmp_path, name, estimator, overrides)


@pytest.mark.integration
@pytest.mark.parametrize(("name", "estimator", "overrides"), OTHERS, ids=lambda value: str(value).rpartition(":")[2])
def test_a_pipeline_over_another_library_runs(
    tmp_path: Path, name: str, estimator: str, overrides: dict[str, Any]
) -> None:
    library = estimator.partition(":")[0]
    if importlib.util.find_spec(library) is None:
        missing(library, f"pip install {library}")
    two_trials(tmp_path, name, estimator, overrides)
