"""Pipelines whose trials make models: of scikit-learn, of a class of their own, and logged into MLflow by a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from hpo_pipelines import component, pipeline, report

X = np.arange(12.0).reshape(6, 2)
Y = X @ [1.0, 2.0]


def shifted(x: Any) -> Any:
    return np.asarray(x, float) - X.mean()


class Scaled:
    """A model of nobody's library."""

    def __init__(self, by: float) -> None:
        self.by = by

    def predict(self, x: Any) -> Any:
        return shifted(x) * self.by


@component(outputs=("model", "own"), cache=False)
def fitted(alpha: float) -> tuple[Pipeline, Scaled]:
    model = make_pipeline(FunctionTransformer(shifted), Ridge(alpha=alpha)).fit(X, Y)
    report("error", float(abs(model.predict(X) - Y).mean()))
    return model, Scaled(alpha)


@pipeline(project="samples")
def modelled(alpha: float = 1.0) -> dict[str, Any]:
    _, own = fitted(alpha)
    return {"final": own, "alpha": alpha}


@component
def logged(alpha: float) -> float:
    import mlflow.sklearn

    model = Ridge(alpha=alpha).fit(X, Y)
    mlflow.sklearn.log_model(model, name="ridge", serialization_format="cloudpickle", pip_requirements=[])
    report("error", float(abs(model.predict(X) - Y).mean()))
    return alpha


@pipeline(project="samples")
def logging(alpha: float = 1.0) -> float:
    return logged(alpha)
